"""GGUF's Llama dialect: tensor names, head order, configuration and tokenizer, back to the published Hugging Face form.

Names and the rotary head permutation follow llama.cpp's ``convert_hf_to_gguf.py`` (class LlamaModel), inverted.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from healthfm.errors import CheckpointError
from healthfm.formats.gguf import GGUF
from healthfm.models.files import gguf_keys, sentencepiece_bpe
from healthfm.models.files.sentencepiece_bpe import CONTROL, UNKNOWN, USER_DEFINED, Pieces

TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
TURNS = "rope_freqs.weight"  # by what each rotary frequency is divided
PREFIXES = {"llama-bpe": True}  # whether llama.cpp puts the start token first where the header does not say
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def config(gguf: GGUF) -> dict[str, Any]:
    """Return the architecture numbers of a GGUF header under their transformers names."""
    meta = gguf.metadata
    if meta.get("general.architecture") != "llama":
        raise CheckpointError(
            f"{gguf.path}: its architecture is '{meta.get('general.architecture')}', only llama is read from GGUF"
        )
    gguf_keys.check(gguf.path, meta)
    heads = meta["llama.attention.head_count"]
    width = meta.get("llama.attention.key_length", meta["llama.embedding_length"] // heads)
    for key, wanted in (
        ("llama.attention.value_length", width), ("llama.rope.dimension_count", width),
        ("llama.vocab_size", len(meta["tokenizer.ggml.tokens"])),
    ):  # fmt: skip
        if meta.get(key, wanted) != wanted:
            raise CheckpointError(f"{gguf.path}: {key} is {meta[key]}, only {wanted} is read")
    return {
        "head_dim": width, "rope_parameters": _rope(gguf),
        "vocab_size": len(meta["tokenizer.ggml.tokens"]), "hidden_size": meta["llama.embedding_length"],
        "intermediate_size": meta["llama.feed_forward_length"], "num_hidden_layers": meta["llama.block_count"],
        "num_attention_heads": heads, "num_key_value_heads": meta.get("llama.attention.head_count_kv", heads),
        "max_position_embeddings": meta["llama.context_length"],
        "rms_norm_eps": meta["llama.attention.layer_norm_rms_epsilon"], "tie_word_embeddings": "output.weight" not in gguf,
        "bos_token_id": meta.get("tokenizer.ggml.bos_token_id"), "eos_token_id": meta.get("tokenizer.ggml.eos_token_id"),
    }  # fmt: skip


def _rope(gguf: GGUF) -> dict[str, Any]:
    """Return how positions are turned and stretched, in transformers' words (``rope_freqs.weight`` comes on top, see ``turn``).

    Defaults are llama.cpp's (``llama-model.cpp``): a factor without a type is linear.
    """
    meta = gguf.metadata
    base = {"rope_theta": float(meta.get("llama.rope.freq_base", 10000.0))}
    factor = float(meta.get("llama.rope.scaling.factor", meta.get("llama.rope.scale_linear", 0)) or 1)
    kind = str(meta.get("llama.rope.scaling.type", "linear"))
    if kind not in ("none", "linear", "yarn"):
        raise CheckpointError(f"{gguf.path}: llama.rope.scaling.type is '{kind}'; none, linear and yarn are read")
    if kind == "none" or factor == 1:
        return {"rope_type": "default", **base}
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor, **base}
    first = meta.get("llama.rope.scaling.original_context_length", meta["llama.context_length"])
    beta = {
        f"beta_{end}": meta.get(f"llama.rope.scaling.yarn_beta_{end}", value)
        for end, value in (("fast", 32), ("slow", 1))
    }
    return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": first, **beta, **base}


def turn(network: transformers.PreTrainedModel, gguf: GGUF) -> None:
    """Divide a network's rotary frequencies as ``rope_freqs.weight`` says (Llama 3's factors); without it, nothing is done."""
    if TURNS not in gguf:
        return
    rotary, factors = network.get_decoder().rotary_emb, torch.from_numpy(gguf[TURNS])
    if factors.shape != rotary.inv_freq.shape or not (factors > 0).all():
        raise CheckpointError(f"{gguf.path}: {TURNS} does not fit the heads")
    for frequencies in (rotary.inv_freq, rotary.original_inv_freq):
        frequencies /= factors


def generation(gguf: GGUF) -> dict[str, Any]:
    """Return the tokens that end a text, as the header names them."""
    ends = [gguf.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    return {"eos_token_id": [int(one) for one in dict.fromkeys(ends) if one is not None]}


def to_published(gguf: GGUF) -> dict[str, torch.Tensor]:
    """Return the dequantised tensors under their published names, query and key heads in published order."""
    numbers = config(gguf)
    tensors: dict[str, torch.Tensor] = {}
    for name in gguf:
        value = torch.from_numpy(gguf[name])
        if name.startswith("blk."):
            _, layer, part, kind = name.split(".", 3)
            if part not in LAYER:
                raise CheckpointError(f"{gguf.path}: tensor '{name}' is not one of the Llama architecture's")
            if part in ("attn_q", "attn_k"):
                value = unpermute(value, numbers["num_attention_heads" if part == "attn_q" else "num_key_value_heads"])
            tensors[f"model.layers.{layer}.{LAYER[part]}.{kind}"] = value
        elif name in TOP:
            tensors[TOP[name]] = value
        elif name != TURNS:
            raise CheckpointError(f"{gguf.path}: tensor '{name}' is not one of the Llama architecture's")
    return tensors


def unpermute(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Undo llama.cpp's interleaving of the rotary halves: [heads, half, 2, ...] back to [heads, 2, half, ...]."""
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, half, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape).contiguous()


def tokenizer(gguf: GGUF) -> transformers.PreTrainedTokenizerFast:
    """Rebuild the tokenizer of a GGUF header: byte-level BPE, cut as ``tokenizer.ggml.pre`` names, or sentencepiece's BPE."""
    meta = gguf.metadata
    model, pre = meta.get("tokenizer.ggml.model"), meta.get("tokenizer.ggml.pre", "default")
    if model == "llama" and pre == "default":
        return _sentencepiece(meta)
    if model != "gpt2" or pre not in _splitters() or meta.get("tokenizer.ggml.add_space_prefix"):
        raise CheckpointError(
            f"{gguf.path}: tokenizer '{model}' with pre-tokenizer '{pre}' is not read from GGUF; use the Hugging Face folder"
        )
    tokens, kinds = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in meta["tokenizer.ggml.merges"]]
    core = Tokenizer(
        models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges, ignore_merges=pre == "llama-bpe")
    )
    core.pre_tokenizer = _splitters()[pre]
    core.decoder = decoders.ByteLevel()
    for token, kind in zip(tokens, kinds, strict=True):
        if kind in (CONTROL, UNKNOWN, USER_DEFINED):
            core.add_tokens([AddedToken(token, special=kind != USER_DEFINED, normalized=False)])
    core.post_processor = _around(gguf, core, PREFIXES.get(pre, False))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=core, **_special(meta))
    fast.chat_template = meta.get("tokenizer.chat_template")
    return fast


def _around(gguf: GGUF, core: Tokenizer, start: bool) -> processors.TemplateProcessing:
    """Return what puts the start and the end token around a text, as the header says (``start``: where it does not)."""
    meta, names = gguf.metadata, _special(gguf.metadata)
    wanted = {end: meta.get(f"tokenizer.ggml.add_{end}_token", start and end == "bos") for end in ("bos", "eos")}
    for end in ("bos", "eos"):
        if wanted[end] and f"{end}_token" not in names:
            raise CheckpointError(f"{gguf.path}: every text shall have its {end} token, but the header names none")
    one = [[names[f"{end}_token"]] if wanted[end] else [] for end in ("bos", "eos")]
    return processors.TemplateProcessing(
        single=[*one[0], "$A", *one[1]],
        special_tokens=[(text, core.token_to_id(text)) for text in dict.fromkeys(one[0] + one[1])],
    )


def _special(meta: dict[str, Any]) -> dict[str, str]:
    """Special tokens by transformers' names, from the ids of a GGUF header."""
    words = (("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding"))
    ids = {word: meta.get(f"tokenizer.ggml.{key}_token_id") for word, key in words}
    return {word: meta["tokenizer.ggml.tokens"][i] for word, i in ids.items() if i is not None}


def _sentencepiece(meta: dict[str, Any]) -> transformers.PreTrainedTokenizerFast:
    """Kinds of tokens are numbered as in sentencepiece's own format; llama.cpp puts the start token first unless told not to."""
    pieces = Pieces(
        meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.scores"], meta["tokenizer.ggml.token_type"],
        prefix=bool(meta.get("tokenizer.ggml.add_space_prefix", True)),
    )  # fmt: skip
    policy = {
        f"add_{end}_token": bool(meta.get(f"tokenizer.ggml.add_{end}_token", end == "bos")) for end in ("bos", "eos")
    }
    return sentencepiece_bpe.build(
        pieces, {**_special(meta), **policy, "chat_template": meta.get("tokenizer.chat_template")}
    )


def _splitters() -> dict[str, pre_tokenizers.PreTokenizer]:
    """How text is cut before merging, by llama.cpp's name for it (``llama-vocab.cpp``)."""
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return {
        "gpt-2": gpt2,
        "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2]),
        "llama-bpe": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), bytes_only]),
    }

"""Published key layouts to those of transformers' classes: pure functions from a mapping of tensors to another one.

The layout is told by tensor names alone: configuration files misname it (MMedLM 2 7B says ``internlm`` and holds InternLM 2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from healthfm.errors import CheckpointError
from healthfm.models.files import recognise
from healthfm.models.files.stated import refuse_strange

Tensors = Mapping[str, torch.Tensor]
Config = Mapping[str, Any]
INTERNLM2 = {
    "attention.wo": "self_attn.o_proj", "feed_forward.w1": "mlp.gate_proj", "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj", "attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip
QWEN = {
    "attn.c_proj": "self_attn.o_proj", "mlp.w2": "mlp.gate_proj", "mlp.w1": "mlp.up_proj", "mlp.c_proj": "mlp.down_proj",
    "ln_1": "input_layernorm", "ln_2": "post_attention_layernorm",
}  # fmt: skip
QWEN_TOP = {"transformer.wte.weight": "model.embed_tokens.weight", "transformer.ln_f.weight": "model.norm.weight"}
QWEN_CONFIG = {
    "layer_norm_epsilon": "rms_norm_eps",
    "rotary_emb_base": "rope_theta",
    "seq_length": "max_position_embeddings",
}
DERIVED = ("rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias")  # follow from the configuration
CHATGLM = {
    "self_attention.dense": "self_attn.o_proj", "mlp.dense_h_to_4h": "mlp.gate_up_proj", "mlp.dense_4h_to_h": "mlp.down_proj",
}  # fmt: skip
CHATGLM_TOP = {
    "transformer.embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "transformer.encoder.final_layernorm.weight": "model.norm.weight", "transformer.output_layer.weight": "lm_head.weight",
}  # fmt: skip
CHATGLM_CONFIG = {
    "num_layers": "num_hidden_layers", "padded_vocab_size": "vocab_size", "ffn_hidden_size": "intermediate_size",
    "kv_channels": "head_dim", "multi_query_group_num": "num_key_value_heads", "layernorm_epsilon": "rms_norm_eps",
    "seq_length": "max_position_embeddings", "add_qkv_bias": "attention_bias",
}  # fmt: skip
META = {"attention.wv": "self_attn.v_proj", **INTERNLM2}
META_KEYS = (  # the last four: sizes that the tensors show
    "dim", "n_layers", "n_heads", "n_kv_heads", "norm_eps", "rope_theta", "vocab_size", "multiple_of", "ffn_dim_multiplier", "max_seq_len",
)  # fmt: skip
META_TOP = {
    "tok_embeddings.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight", "output.weight": "lm_head.weight",
}  # fmt: skip


def to_transformers(tensors: Tensors, config: Config) -> Tensors:
    """Return tensors under the names of transformers' classes, from whichever layout their names show.

    ``config``: the architecture numbers under transformers' names. Raises ``CheckpointError``: numbers that do not fit.
    """
    return LAYOUTS[layout(tensors)](tensors, config)


def layout(tensors: Tensors) -> str:
    """Return the layout that tensor names show: internlm2, qwen, chatglm, meta (LLaMA's original .pth) or plain."""
    names = (
        ("internlm2", "model.layers.0.attention.wqkv.weight"),
        ("qwen", "transformer.h.0.attn.c_attn.weight"),
        ("chatglm", "transformer.encoder.layers.0.self_attention.query_key_value.weight"),
        ("meta", "layers.0.attention.wq.weight"),
    )
    found = (name for name, key in names if key in tensors)
    name = next(found, "plain")
    return (
        "plain" if name == "qwen" and "transformer.h.0.mlp.w2.weight" not in tensors else name
    )  # GPT-2 has c_attn too


def config(stated: Config, tensors: Tensors) -> dict[str, Any]:
    """Return the numbers of a published ``config.json`` under transformers' names (Qwen v1, ChatGLM and InternLM have their own)."""
    found = dict(stated)
    if "bias" in found and "attention_bias" not in found:  # InternLM
        found["attention_bias"] = found.pop("bias")
    if layout(tensors) == "qwen":
        for theirs, ours in QWEN_CONFIG.items():
            if theirs in found:
                found[ours] = found.pop(theirs)
        if "intermediate_size" in found:
            found["intermediate_size"] //= 2  # theirs counts both halves of the gated unit
    if layout(tensors) == "chatglm":
        for theirs, ours in CHATGLM_CONFIG.items():
            if theirs in found:
                found[ours] = found.pop(theirs)
        found["rope_theta"] = 10000.0 * found.pop("rope_ratio", 1)
        found["partial_rotary_factor"] = 0.5
    if "num_attention_heads" in found:  # configurations older than grouped queries do not state the second number
        found.setdefault("num_key_value_heads", found["num_attention_heads"])
    return found


def sizes(tensors: Tensors) -> dict[str, int]:
    """Return the sizes that tensors show where no configuration states them: ``vocab_size``, and Llama's ``intermediate_size``."""
    rows = {
        "vocab_size": ("embed_tokens.weight", "word_embeddings.weight", "wte.weight"),
        "intermediate_size": ("layers.0.mlp.up_proj.weight",),
    }
    found = {name: next((key for key in tensors if key.endswith(ends)), None) for name, ends in rows.items()}
    return {name: tensors[key].shape[0] for name, key in found.items() if key is not None}


KINDS = (  # how the names of tensors tell a network's kind of layers; the first that is there decides
    ("bloom", "word_embeddings_layernorm.weight"), ("gpt2", "wpe.weight"), ("phi", "mlp.fc1.weight"), ("biogpt", "self_attn.out_proj.weight"),
    ("glm", "mlp.dense_h_to_4h.weight"), ("glm", "mlp.gate_up_proj.weight"), ("gated", "mlp.gate_proj.weight"),
    ("gated", "mlp.w2.weight"), ("gated", "feed_forward.w1.weight"),
)  # fmt: skip
GATED = ("llama", "mistral", "qwen2")  # the architectures of kind "gated"
WORDS = ("embed_tokens.weight", "word_embeddings.weight", "wte.weight", "tok_embeddings.weight")
INNER = (
    "layers.0.mlp.up_proj.weight",
    "layers.0.mlp.gate_proj.weight",
    "layers.0.feed_forward.w1.weight",
    "h.0.mlp.w1.weight",
    "layers.0.fc1.weight",
)
OUR_WORDS = {  # transformers' several names of one number
    "hidden_size": ("hidden_size", "n_embed", "n_embd"), "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "intermediate_size": ("intermediate_size",), "vocab_size": ("vocab_size",),
}  # fmt: skip


def match(tensors: Tensors, numbers: Config, architecture: str) -> recognise.Match:
    """Return how far published tensors go with a variant's numbers. A vocabulary may have grown, as training adds tokens."""
    kind = next((name for name, end in KINDS if any(key.endswith(end) for key in tensors)), None)
    words, inner = recognise.shape(tensors, *WORDS), recognise.shape(tensors, *INNER)
    keys = recognise.shape(tensors, "layers.0.self_attn.k_proj.weight", "layers.0.attention.wk.weight")
    if kind is None or not words:
        return recognise.Match.OTHER
    shown = {
        "kind": kind, "hidden_size": words[1], "vocab_size": words[0], "intermediate_size": inner[0] if inner else None,
        "layers": recognise.numbered(tensors, r"(?:^|\.)(?:layers|h)\.(\d+)\."), "keys": keys[0] if keys else None,
    }  # fmt: skip
    own = {name: next((numbers[word] for word in ours if word in numbers), None) for name, ours in OUR_WORDS.items()}
    heads, pairs = numbers.get("num_attention_heads"), numbers.get("num_key_value_heads")
    width = numbers.get("head_dim") or (own["hidden_size"] // heads if own["hidden_size"] and heads else None)
    own["keys"] = pairs * width if keys and pairs and width else None
    own["intermediate_size"] = own["intermediate_size"] if inner else None
    own["kind"] = "gated" if architecture in GATED else architecture
    return recognise.compared(shown, own, ("kind",), ("vocab_size",))


def plain(tensors: Tensors, config: Config) -> Tensors:
    """Drop what old releases of transformers saved though it follows from the configuration (Llama, InternLM v1, GPT-2).

    BLOOM's and GPT-2's own releases lack the prefix ``transformer.``; GPT-2's hold the masks of its attention.
    """
    bare = "word_embeddings_layernorm.weight" in tensors or "wpe.weight" in tensors
    kept = {key: value for key, value in tensors.items() if not key.endswith(DERIVED)}
    return {f"transformer.{key}": value for key, value in kept.items()} if bare else kept


def internlm2(tensors: Tensors, config: Config) -> Tensors:
    """InternLM 2 to Llama. ``wqkv``: [key heads x (queries per key head, key, value) x head width, hidden].

    Source: InternLM/InternLM ``tools/convert2llama.py``. No rotary permutation.
    """
    found: dict[str, torch.Tensor] = {}
    for key, value in tensors.items():
        if key.endswith("rotary_emb.inv_freq"):
            continue
        if key.endswith("wqkv.weight"):
            prefix = key.removesuffix("attention.wqkv.weight") + "self_attn."
            for part, rows in zip("qkv", _split_wqkv(key, value, config), strict=True):
                found[f"{prefix}{part}_proj.weight"] = rows
        elif key == "output.weight":
            found["lm_head.weight"] = value
        else:
            found[_renamed(key, INTERNLM2).replace("model.tok_embeddings", "model.embed_tokens")] = value
    return found


def _split_wqkv(key: str, value: torch.Tensor, config: Config) -> tuple[torch.Tensor, ...]:
    heads, keys = int(config["num_attention_heads"]), int(config["num_key_value_heads"])
    group, width = heads // keys, int(config["hidden_size"]) // heads
    if value.shape[0] != keys * (group + 2) * width:
        raise CheckpointError(
            f"{key} has {value.shape[0]} rows, {heads} heads over {keys} key-value heads of width {width} need {keys * (group + 2) * width}"
        )
    packed = value.reshape(keys, group + 2, width, value.shape[-1])
    parts = packed.split([group, 1, 1], dim=1)
    return tuple(part.reshape(-1, value.shape[-1]).contiguous() for part in parts)


def qwen(tensors: Tensors, config: Config) -> Tensors:
    """Qwen v1 to Qwen 2. The feed-forward is w1(x) * silu(w2(x)): w2 is the gate.

    Source: Qwen/Qwen-7B ``modeling_qwen.py``. Its NTK scaling and log-n attention act only beyond 8,192 tokens.
    """
    found: dict[str, torch.Tensor] = {}
    for key, value in tensors.items():
        if key.endswith("rotary_emb.inv_freq"):
            continue
        name = re.sub(r"^transformer\.h\.", "model.layers.", key)
        if ".attn.c_attn." in name:
            if value.shape[0] % 3:
                raise CheckpointError(f"{key} has {value.shape[0]} rows, which is not three equal parts")
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                found[name.replace("attn.c_attn", f"self_attn.{part}_proj")] = rows.contiguous()
        else:
            found[QWEN_TOP.get(key) or _renamed(name, QWEN)] = value
    return found


def chatglm(tensors: Tensors, config: Config) -> Tensors:
    """ChatGLM (GLM-4 in its first form) to transformers' Glm. ``query_key_value``: [queries, keys, values], one below another.

    Source: THUDM/glm-4-9b ``modeling_chatglm.py``. Its rotary pairs are neighbours, as Glm's are.
    """
    heads, keys, width = (int(config[name]) for name in ("num_attention_heads", "num_key_value_heads", "head_dim"))
    rows = [heads * width, keys * width, keys * width]
    found: dict[str, torch.Tensor] = {}
    for key, value in tensors.items():
        if key.endswith("rotary_pos_emb.inv_freq"):
            continue
        name = key.replace("transformer.encoder.layers.", "model.layers.")
        if ".query_key_value." in name:
            if len(value) != sum(rows):
                raise CheckpointError(
                    f"{key} has {len(value)} rows, {heads} heads and {keys} key-value heads of width {width} need {sum(rows)}"
                )
            for part, part_rows in zip("qkv", value.split(rows), strict=True):
                found[name.replace("self_attention.query_key_value", f"self_attn.{part}_proj")] = part_rows.contiguous()
        else:
            found[CHATGLM_TOP.get(key) or _renamed(name, CHATGLM)] = value
    return found


def meta(tensors: Tensors, config: Config) -> Tensors:
    """LLaMA's original layout (``consolidated.00.pth``) to transformers': query and key rows change their rotary order.

    Source: meta-llama/llama ``model.py``, which turns neighbouring pairs where transformers turns halves.
    """
    heads = int(config["num_attention_heads"])
    found: dict[str, torch.Tensor] = {}
    for key, value in tensors.items():
        if key == "rope.freqs":
            continue
        part = re.fullmatch(r"(layers\.\d+\.)attention\.w([qk])\.weight", key)
        if part:
            number = heads if part[2] == "q" else int(config.get("num_key_value_heads") or heads)
            found[f"model.{part[1]}self_attn.{part[2]}_proj.weight"] = halves(value, number)
        else:
            found[META_TOP.get(key) or "model." + _renamed(key, META)] = value
    return found


def meta_config(params: Config, tensors: Tensors) -> dict[str, Any]:
    """Return transformers' names for LLaMA's ``params.json``; sizes that it leaves open are taken from the tensors.

    Raises ``CheckpointError``: a key that is not LLaMA's or Llama 2's (Llama 3.1's stretched positions, experts, images).
    """
    refuse_strange("params.json", [k for k, v in params.items() if k not in META_KEYS and v not in (None, False)])
    return {
        "hidden_size": params["dim"], "num_hidden_layers": params["n_layers"], "num_attention_heads": params["n_heads"],
        "num_key_value_heads": params.get("n_kv_heads", params["n_heads"]), "rms_norm_eps": params["norm_eps"],
        "rope_theta": params.get("rope_theta", 10000.0), "vocab_size": tensors["tok_embeddings.weight"].shape[0],
        "intermediate_size": tensors["layers.0.feed_forward.w1.weight"].shape[0],
    }  # fmt: skip


def halves(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Reorder rows from interleaved rotary pairs, [heads, half, 2, ...], to rotary halves, [heads, 2, half, ...]."""
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, half, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape).contiguous()


def _renamed(key: str, names: Mapping[str, str]) -> str:
    """Replace the part of a key between its layer number and its last word."""
    head, _, last = key.rpartition(".")
    for old, new in names.items():
        if head.endswith("." + old):
            return f"{head.removesuffix(old)}{new}.{last}"
    return key


LAYOUTS: dict[str, Callable[[Tensors, Config], Tensors]] = {
    "plain": plain, "internlm2": internlm2, "qwen": qwen, "chatglm": chatglm, "meta": meta,
}  # fmt: skip

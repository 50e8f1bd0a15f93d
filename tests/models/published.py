"""Small checkpoints in the rows' published file formats: reduced networks, real tokenizers trained on PubMedQA's text."""

from __future__ import annotations

import base64
import functools
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from healthfm.models.files import tiktoken_bpe
from tests.references.recipe_weights import recipe_array

PROJECT = Path(__file__).parent.parent.parent
EXPECTED = PROJECT / "tests" / "data" / "expected"
LONGEST = 4096  # tokens the reduced networks take
SENTENCEPIECE = {
    "llama": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "split_digits": True},
    "internlm": {
        "normalization_rule_name": "identity", "remove_extra_whitespaces": False, "add_dummy_prefix": False,
        "user_defined_symbols": ["<|im_start|>", "<|im_end|>"],
    },
    "nfkc": {},
}  # fmt: skip


@functools.cache
def texts() -> list[str]:
    """The contexts, questions and long answers of PubMedQA's labelled part."""
    path = PROJECT / "examples" / "pubmedqa" / "data" / "ori_pqal.json"
    rows = json.loads(path.read_text(encoding="utf-8")).values()
    return [text for row in rows for text in (*row["CONTEXTS"], row["QUESTION"], row["LONG_ANSWER"])]


# Tokenizers, each written as its owners publish it; a function returns the vocabulary's size. Each is trained once a process ----


@functools.cache
def _sentencepiece(kind: str, size: int) -> bytes:
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts()[:1500]), model_writer=out, vocab_size=size, model_type="bpe", byte_fallback=True,
        character_coverage=0.999, minloglevel=2, max_sentence_length=20000, num_threads=1, **SENTENCEPIECE[kind],
    )  # fmt: skip
    return out.getvalue()


def sentencepiece_model(folder: Path, kind: str = "llama", size: int = 600) -> int:
    """``tokenizer.model``, BPE with byte fallback."""
    (folder / "tokenizer.model").write_bytes(_sentencepiece(kind, size))
    stated = {"tokenizer_class": "LlamaTokenizer", "bos_token": "", "eos_token": "", "unk_token": ""}
    if kind == "internlm":
        own = {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]}
        stated = {"tokenizer_class": "InternLM2Tokenizer", "auto_map": own, "bos_token": "<s>", "eos_token": "</s>"}  # type: ignore[dict-item]
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    return size


def internlm_model(folder: Path) -> int:
    """InternLM's ``tokenizer.model``: no blank before the text, and a class of its own beside it."""
    return sentencepiece_model(folder, "internlm")


def padded_model(folder: Path) -> int:
    """LLaMA's ``tokenizer.model`` with one token more in ``added_tokens.json``."""
    size = sentencepiece_model(folder)
    (folder / "added_tokens.json").write_text(json.dumps({"[PAD]": size}))
    return size + 1


@functools.cache
def _byte_level(size: int) -> Tokenizer:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(texts()[:1500], trainer)
    return core


def byte_level_json(folder: Path, size: int = 600) -> int:
    """``tokenizer.json``, byte-level BPE, as BLOOM, Llama 3, GLM-4 and OmniNA have it."""
    core = _byte_level(size)
    core.save(str(folder / "tokenizer.json"))
    stated = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    return int(core.get_vocab_size())


# How the owners cut a text before they merge its bytes (tokenization_qwen.py, tokenization_chatglm.py): by digits, and by threes of them
DIGITS = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
THREES = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""


def qwen_ranks(folder: Path, size: int = 700, cut: str = DIGITS) -> int:
    """``qwen.tiktoken``: the bytes, then what byte-pair merging of a cut of the text makes, in the order it is made."""
    return _ranks(folder / "qwen.tiktoken", cut, size) + len(tiktoken_bpe.QWEN.special)


def glm4_ranks(folder: Path, size: int = 700) -> int:
    """GLM-4's ``tokenizer.model``: ranks too, with the configuration that says so."""
    template = "[gMASK]<sop>{% for one in messages %}<|{{ one.role }}|>\n{{ one.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"  # fmt: skip
    stated = {"tokenizer_class": "ChatGLM4Tokenizer", "chat_template": template, "eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    return _ranks(folder / "tokenizer.model", THREES, size) + len(tiktoken_bpe.GLM4.special)


def _ranks(path: Path, cut: str, size: int) -> int:
    tokens = _ranked(cut, size)
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)]
    path.write_text("\n".join(lines) + "\n")
    return len(lines)


@functools.cache
def _ranked(cut: str, size: int) -> list[bytes]:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(cut), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        texts()[:1500], trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    )
    letters = {letter: byte for byte, letter in enumerate(tiktoken_bpe._letters())}
    ranked = [text for text, _ in sorted(core.get_vocab().items(), key=lambda item: item[1])]
    return list(dict.fromkeys([bytes([byte]) for byte in range(256)] + [bytes(letters[c] for c in t) for t in ranked]))


def biogpt_files(folder: Path) -> int:
    """``vocab.json`` and ``merges.txt`` of fastBPE over Moses tokens."""
    vocabulary, made = _fast_bpe(300)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(dict.fromkeys(vocabulary))}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b} 1\n" for a, b in made))
    return len(set(vocabulary))


@functools.cache
def _fast_bpe(merges: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Return a vocabulary and the merges that made it."""
    words = Counter(word for text in texts()[:15] for word in text.split())
    split = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    symbols = {symbol for parts in split.values() for symbol in parts}
    symbols |= {s for c in map(chr, range(33, 127)) for s in (c, c + "</w>")}
    made: list[tuple[str, str]] = []
    for _ in range(merges):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in split.items():
            for pair in pairwise(parts):
                pairs[pair] += words[word]
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        made.append(best)
        for parts in split.values():
            i = 0
            while i < len(parts) - 1:
                if (parts[i], parts[i + 1]) == best:
                    parts[i : i + 2] = ["".join(best)]
                i += 1
    return ["<s>", "<pad>", "</s>", "<unk>", *sorted(symbols), *("".join(pair) for pair in made)], made


# Networks ---------------------------------------------------------------------------------------------------------------


def native(name: str, **numbers: Any) -> Callable[[int], tuple[dict[str, torch.Tensor], dict[str, Any]]]:
    """A network of transformers' own class: its tensors and its ``config.json``."""

    def make(vocabulary: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        config = getattr(transformers, f"{name}Config")(vocab_size=vocabulary, **numbers)
        network = getattr(transformers, f"{name}ForCausalLM")(config)
        tied = set(network.all_tied_weights_keys)
        tensors = {
            key: torch.from_numpy(recipe_array(key, tuple(value.shape)))
            for key, value in network.state_dict().items() if key not in tied
        }  # fmt: skip
        return tensors, {**config.to_dict(), "architectures": [f"{name}ForCausalLM"]}

    return make


def remapped(name: str, **changes: Any) -> Callable[[int], tuple[dict[str, torch.Tensor], dict[str, Any]]]:
    """A network in a layout of its owners': key names and shapes from the reference implementation's run."""

    def make(vocabulary: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        made = json.loads((EXPECTED / f"causal_{name}.json").read_text(encoding="utf-8"))
        rows = "padded_vocab_size" if "padded_vocab_size" in made["config"] else "vocab_size"
        old = made["config"][rows]
        shapes = {key: [vocabulary if n == old else n for n in shape] for key, shape in made["keys"].items()}
        tensors = {key: torch.from_numpy(recipe_array(key, tuple(shape))) for key, shape in shapes.items()}
        return tensors, {**made["config"], rows: vocabulary, **changes}

    return make


SMALL = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": LONGEST, "tie_word_embeddings": False,
}  # fmt: skip
LLAMA = native("Llama", **SMALL, num_key_value_heads=4)
GROUPED = native("Llama", **SMALL, num_key_value_heads=2)
MISTRAL = native("Mistral", **SMALL, num_key_value_heads=2, sliding_window=64)
BLOOM = native("Bloom", hidden_size=32, n_layer=2, n_head=4, seq_length=LONGEST)
CHATGLM = remapped("chatglm", seq_length=LONGEST, pad_token_id=0, model_type="chatglm", architectures=["ChatGLMModel"], auto_map={"AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration"})  # fmt: skip
BIOGPT = native("BioGpt", **{k: v for k, v in SMALL.items() if k != "tie_word_embeddings"})
INTERNLM2 = remapped("internlm2", max_position_embeddings=LONGEST, model_type="internlm", architectures=["InternLM2ForCausalLM"], auto_map={"AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM"})  # fmt: skip
QWEN = remapped("qwen", seq_length=LONGEST, model_type="qwen", architectures=["QWenLMHeadModel"], use_logn_attn=True, use_dynamic_ntk=True)  # fmt: skip


# Files ------------------------------------------------------------------------------------------------------------------


def write(folder: Path, tensors: Mapping[str, torch.Tensor], form: str, shards: int = 1) -> None:
    """Write tensors as ``.bin`` or ``.safetensors``, in shards with their index as the hub holds them."""
    stem, suffix = ("model", "safetensors") if form == "safetensors" else ("pytorch_model", "bin")
    names = sorted(tensors)
    files = {name: f"{stem}-{i * shards // len(names) + 1:05}-of-{shards:05}.{suffix}" for i, name in enumerate(names)}
    if shards == 1:
        files = dict.fromkeys(names, f"{stem}.{suffix}")
    else:
        (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    for file in set(files.values()):
        part = {name: tensors[name].contiguous() for name in names if files[name] == file}
        if form == "safetensors":
            save_file(part, folder / file, {"format": "pt"})
        else:
            torch.save(part, folder / file)


def publish(
    folder: Path, network: Callable[[int], tuple[dict[str, torch.Tensor], dict[str, Any]]],
    tokenizer: Callable[[Path], int], form: str = "bin", shards: int = 2,
) -> Path:  # fmt: skip
    """Write a whole checkpoint folder: weights, ``config.json``, tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors, config = network(tokenizer(folder))
    write(folder, tensors, form, shards)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def publish_adapter(folder: Path, base: Path, base_name: str, targets: list[str], seed: int = 1) -> Path:
    """Write a LoRA adapter of rank 8 as peft of 2023 published it, with ``base`` linked beside its files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base").symlink_to(base, target_is_directory=True)
    shapes = _targets(base, targets)
    tensors = {}
    for key, (rows, columns) in shapes.items():
        name = f"base_model.model.{key.removesuffix('.weight')}"
        tensors[f"{name}.lora_A.weight"] = torch.from_numpy(recipe_array(f"{seed} {key} A", (8, columns)))
        tensors[f"{name}.lora_B.weight"] = torch.from_numpy(recipe_array(f"{seed} {key} B", (rows, 8)))
    torch.save(tensors, folder / "adapter_model.bin")
    stated = {
        "base_model_name_or_path": base_name, "bias": "none", "enable_lora": None, "fan_in_fan_out": False,
        "inference_mode": True, "lora_alpha": 16, "lora_dropout": 0.05, "merge_weights": False, "modules_to_save": None,
        "peft_type": "LORA", "r": 8, "target_modules": targets, "task_type": "CAUSAL_LM",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(stated))
    return folder


def bentsao_adapter(folder: Path, name: str) -> Path:
    """Write a small BenTsao: the adapter of ``name`` (on LLaMA, or ":bloom") and its base, whose texts vary."""
    network, target = (BLOOM, ["query_key_value"]) if name.endswith(":bloom") else (LLAMA, ["q_proj", "v_proj"])

    def loud(vocabulary: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        tensors, config = network(vocabulary)
        quiet = ("embed", "norm", "ln_", "lm_head")
        return {k: v if any(word in k for word in quiet) else v * 2 for k, v in tensors.items()}, config

    base = publish(folder / "base-of-it", loud, byte_level_json)
    return publish_adapter(folder / "weights", base, "a base", target)


def _targets(base: Path, targets: list[str]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    while (base / "base").is_dir():
        base = base / "base"
    for file in sorted(base.glob("pytorch_model*.bin")):
        for key, value in torch.load(file, weights_only=True).items():
            if key.endswith(tuple(f"{target}.weight" for target in targets)):
                found[key] = (int(value.shape[0]), int(value.shape[1]))
    return found

"""Ranks files as tiktoken reads them (one base64 token and its rank a line) as fast tokenizers, without tiktoken or the owners' code.

The file says nothing of how text is cut, nor of special tokens: that is the ``Kind``. Sources: Qwen/Qwen-7B
``tokenization_qwen.py``, THUDM/glm-4-9b ``tokenization_chatglm.py``.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from healthfm.errors import CheckpointError
from healthfm.models.files import tokenizer_flags

END = "<|endoftext|>"
CUT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PRINTABLE = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}


@dataclass(frozen=True)
class Kind:
    """How text is ``cut``, the ``special`` tokens behind the ranks, those of them that are ``opening`` every text, and whether
    characters are composed (NFC) first."""

    cut: str
    special: tuple[str, ...]
    opening: tuple[str, ...] = ()
    compose: bool = False


QWEN = Kind(CUT, (END, "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205))), compose=True)
GLM4 = Kind(
    CUT.replace(r"\p{N}| ", r"\p{N}{1,3}| "),
    (
        END, "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>",
        "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>",
    ),
    opening=("[gMASK]", "<sop>"),
)  # fmt: skip
POLICIES = ("add_bos_token", "add_eos_token", "add_prefix_space")
FILES = {"qwen.tiktoken": QWEN, "tokenizer.model": GLM4}


def find(folder: Path) -> Path | None:
    """Return a folder's ranks file: ``qwen.tiktoken``, or GLM-4's ``tokenizer.model``, which ``tokenizer_config.json`` tells from
    sentencepiece's."""
    if (folder / "qwen.tiktoken").is_file():
        return folder / "qwen.tiktoken"
    glm4 = (folder / "tokenizer.model").is_file() and _stated(folder).get("tokenizer_class") == "ChatGLM4Tokenizer"
    return folder / "tokenizer.model" if glm4 else None


def _stated(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (ValueError, OSError, TypeError):
        raise CheckpointError(f"{path}: not valid JSON") from None


def load(path: Path, kind: Kind | None = None) -> transformers.PreTrainedTokenizerFast:
    """Return the tokenizer of a ranks file (``kind`` None: by its name). Raises ``CheckpointError``: damaged or cut short."""
    kind = kind or FILES[path.name]
    ranks = read_ranks(path)
    letters = _letters()
    spell = {token: "".join(letters[byte] for byte in token) for token in ranks}
    pairs = [(spell[a], spell[b]) for a, b in (last_merge(token, ranks) for token in ranks if len(token) > 1)]
    vocabulary = {spell[token]: rank for token, rank in ranks.items()}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=True))
    if kind.compose:
        core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(kind.cut), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in kind.special])
    if kind.opening:
        opened = [(text, core.token_to_id(text)) for text in kind.opening]
        core.post_processor = processors.TemplateProcessing(single=[*kind.opening, "$A"], special_tokens=opened)
    stated = _stated(path.parent)
    _check(path.parent / "tokenizer_config.json", stated, core)
    ends = {name: stated.get(name) if stated.get(name) in kind.special else END for name in ("eos_token", "pad_token")}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=core, **ends)
    fast.chat_template = stated.get("chat_template")
    return fast


def _check(path: Path, stated: dict[str, Any], core: Tokenizer) -> None:
    """Raise ``CheckpointError``: the files state a flag that is not followed, or an added token that the kind has not there."""
    used = (
        "eos_token",
        "pad_token",
        "bos_token",
        "unk_token",
        "chat_template",
        "added_tokens_decoder",
        "additional_special_tokens",
    )
    tokenizer_flags.check(str(path), stated, used, {**tokenizer_flags.HELD, **dict.fromkeys(POLICIES, False)})
    for number, one in stated.get("added_tokens_decoder", {}).items():
        if core.token_to_id(one["content"]) != int(number):
            raise CheckpointError(
                f"{path}: the added token {one['content']} has the id {number}, which these ranks do not give it"
            )


def read_ranks(path: Path) -> dict[bytes, int]:
    """Return token -> rank, lowest first; ranks run from 0 without a gap and every byte is a token."""
    try:
        lines = [line.split() for line in path.read_bytes().splitlines() if line]
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in lines}
    except (ValueError, OSError):
        raise CheckpointError(f"{path}: not a readable file of tiktoken ranks, or cut short") from None
    if list(ranks.values()) != list(range(len(ranks))) or any(bytes([byte]) not in ranks for byte in range(256)):
        raise CheckpointError(f"{path}: its ranks do not run from 0 without a gap over all bytes, or it is cut short")
    return ranks


def last_merge(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Return the two tokens whose merging makes ``token``: merge its bytes by rank until two parts are left."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(parts[i] + parts[i + 1], len(ranks)) for i in range(len(parts) - 1)]
        lowest = min(joined)
        if lowest >= ranks[token]:
            raise CheckpointError(f"the token of rank {ranks[token]} cannot be merged from tokens of lower ranks")
        at = joined.index(lowest)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def _letters() -> list[str]:
    """Return the letter that byte-level BPE writes for each byte: itself where printable, else one from 256 on."""
    odd = iter(range(256, 512))
    return [chr(byte) if byte in PRINTABLE else chr(next(odd)) for byte in range(256)]

"""sentencepiece BPE models (``tokenizer.model``) and GGUF's ``llama`` vocabularies as fast tokenizers, without sentencepiece or protobuf.

Format: sentencepiece's ``sentencepiece_model.proto``. Whatever code a folder carries for its tokenizer is not looked at:
the classes of Llama, InternLM and InternLM 2 differ in nothing that the model file does not say.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from healthfm.errors import CheckpointError
from healthfm.models.files import tokenizer_flags

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # kinds of pieces, in the proto and in GGUF
BPE = 2  # trainer_spec.model_type
SPACE = "▁"
USED = (
    "add_bos_token", "add_eos_token", "bos_token", "eos_token", "unk_token", "pad_token", "added_tokens", "added_tokens_decoder",
    "additional_special_tokens", "extra_special_tokens", "chat_template", "legacy", "add_prefix_space", "add_dummy_prefix",
)  # fmt: skip


@dataclass
class Pieces:
    """A vocabulary: ``texts`` in the order of their ids, ``scores`` (a higher one merges first), ``kinds``; and how text is prepared."""

    texts: list[str]
    scores: list[float]
    kinds: list[int]
    prefix: bool = True  # a blank goes before the text
    squeeze: bool = False  # runs of blanks become one, blanks at both ends go
    charsmap: bytes = b""  # the precompiled normalisation table


def load(path: Path) -> transformers.PreTrainedTokenizerFast:
    """Return the tokenizer of a ``tokenizer.model`` file, with the special tokens that the files beside it name.

    Raises ``CheckpointError``: not a sentencepiece BPE model, or cut short.
    """
    stated = beside(path.parent)
    tokenizer_flags.check(str(path.parent / "tokenizer_config.json"), stated, USED)
    return build(parse(path), stated)


def parse(path: Path) -> Pieces:
    """Read a sentencepiece model file."""
    pieces = Pieces([], [], [])
    kind = 1
    try:
        for number, value in _fields(path.read_bytes()):
            if number == 1:
                piece = dict(_fields(value))
                pieces.texts.append(piece[1].decode())
                pieces.scores.append(struct.unpack("<f", piece[2])[0] if 2 in piece else 0.0)
                pieces.kinds.append(piece.get(3, NORMAL))
            elif number == 2:
                kind = dict(_fields(value)).get(3, 1)
            elif number == 3:
                spec = dict(_fields(value))
                pieces.charsmap = spec.get(2, b"")
                pieces.prefix, pieces.squeeze = bool(spec.get(3, 1)), bool(spec.get(4, 1))
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error, OSError):
        raise CheckpointError(f"{path}: not a readable sentencepiece model, or cut short") from None
    if not pieces.texts or UNKNOWN not in pieces.kinds:
        raise CheckpointError(f"{path}: not a readable sentencepiece model, or cut short")
    if kind != BPE:
        raise CheckpointError(
            f"{path}: a sentencepiece model of another kind than BPE; use the folder's tokenizer.json"
        )
    return pieces


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (field number, value) of a protobuf message: int for varints, bytes for all else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError("not protobuf")
        if at + size > len(data):
            raise ValueError("cut short")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("not protobuf")


def beside(folder: Path) -> dict[str, Any]:
    """Return what the files beside a tokenizer say: ``tokenizer_config.json``, ``special_tokens_map.json``, ``added_tokens.json``."""
    found: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        found.update(_json(folder / name))
    found["added_tokens"] = {
        **_json(folder / "added_tokens.json"),
        **{entry["content"]: int(i) for i, entry in found.get("added_tokens_decoder", {}).items()},
    }
    return found


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, OSError, TypeError):
        raise CheckpointError(f"{path}: not valid JSON") from None


def merges(pieces: Pieces) -> list[tuple[str, str]]:
    """Return the merges, first ones first: sentencepiece joins the pair of pieces whose union has the highest score."""
    mergeable = {t for t, kind in zip(pieces.texts, pieces.kinds, strict=True) if kind in (NORMAL, USER_DEFINED)}
    ids = {text: i for i, text in enumerate(pieces.texts)}
    found = []
    for text, score, kind in zip(pieces.texts, pieces.scores, pieces.kinds, strict=True):
        if kind != NORMAL:
            continue
        halves = [(text[:i], text[i:]) for i in range(1, len(text)) if text[:i] in mergeable and text[i:] in mergeable]
        found += [(-score, ids[text], ids[left], ids[right], left, right) for left, right in halves]
    return [(left, right) for *_, left, right in sorted(found)]


def build(pieces: Pieces, stated: dict[str, Any]) -> transformers.PreTrainedTokenizerFast:
    """Return the fast tokenizer of a vocabulary. ``stated``: special tokens and policy (``add_bos_token``, default true).

    ``legacy`` false: the blank goes before the text only, not before what follows a special token.
    """
    names = _special_names(pieces, stated)
    if any(stated.get(key) is False for key in ("add_prefix_space", "add_dummy_prefix")):
        pieces = replace(pieces, prefix=False)
    once = pieces.prefix and stated.get("legacy") is False
    core = Tokenizer(
        models.BPE(
            vocab={text: i for i, text in enumerate(pieces.texts)}, merges=merges(pieces), fuse_unk=True,
            byte_fallback=BYTE in pieces.kinds, unk_token=pieces.texts[pieces.kinds.index(UNKNOWN)],
        )
    )  # fmt: skip
    steps = _normalizers(pieces)
    core.normalizer = normalizers.Sequence(steps[:-2] if once else steps)
    if once:
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    core.decoder = decoders.Sequence(_decoders(pieces))
    kinds = dict(zip(pieces.texts, pieces.kinds, strict=True))
    special = [text for text, kind in kinds.items() if kind in (CONTROL, UNKNOWN)]
    core.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in special])
    own = [text for text, kind in kinds.items() if kind == USER_DEFINED]
    core.add_tokens([AddedToken(text, normalized=False, special=False) for text in own])
    added = sorted(stated.get("added_tokens", {}).items(), key=lambda item: item[1])
    core.add_tokens([_added(t, stated, names) for t, _ in added if t not in kinds])
    for text, number in added:
        if core.token_to_id(text) != number:
            raise CheckpointError(f"the added token {text} has the id {number}, but {core.token_to_id(text)} is next")
    start = [names["bos_token"]] if stated.get("add_bos_token", True) and "bos_token" in names else []
    end = [names["eos_token"]] if stated.get("add_eos_token", False) and "eos_token" in names else []
    core.post_processor = processors.TemplateProcessing(
        single=[*start, "$A", *end], pair=[*start, "$A", *end, *start, "$B", *end],
        special_tokens=[(text, core.token_to_id(text)) for text in dict.fromkeys(start + end)],
    )  # fmt: skip
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=core, **names)
    fast.chat_template = stated.get("chat_template")
    return fast


def _added(text: str, stated: dict[str, Any], names: dict[str, str]) -> AddedToken:
    """Return an added token as the files describe it."""
    told = next((one for one in stated.get("added_tokens_decoder", {}).values() if one["content"] == text), {})
    more = [
        one.get("content") if isinstance(one, dict) else one for one in stated.get("additional_special_tokens") or ()
    ]
    flags = {key: bool(told.get(key, False)) for key in ("lstrip", "rstrip", "single_word", "normalized")}
    return AddedToken(text, special=bool(told.get("special")) or text in more or text in names.values(), **flags)


def _special_names(pieces: Pieces, stated: dict[str, Any]) -> dict[str, str]:
    """Special tokens as the files beside the model name them; an empty or unknown name falls back to the model's own."""
    known = {*pieces.texts, *stated.get("added_tokens", {})}
    control = [text for text, kind in zip(pieces.texts, pieces.kinds, strict=True) if kind == CONTROL]
    names = {"unk_token": pieces.texts[pieces.kinds.index(UNKNOWN)]}
    names |= {key: text for key, text in (("bos_token", "<s>"), ("eos_token", "</s>")) if text in control}
    for key in ("bos_token", "eos_token", "unk_token", "pad_token"):
        value = stated.get(key)
        text = value.get("content") if isinstance(value, dict) else value
        if text and text in known:
            names[key] = text
    return names


def _normalizers(pieces: Pieces) -> list[normalizers.Normalizer]:
    steps: list[normalizers.Normalizer] = [normalizers.Precompiled(pieces.charsmap)] if pieces.charsmap else []
    if pieces.squeeze:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    steps += [normalizers.Prepend(SPACE)] if pieces.prefix else []
    return [*steps, normalizers.Replace(" ", SPACE)]


def _decoders(pieces: Pieces) -> list[decoders.Decoder]:
    steps: list[decoders.Decoder] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    return [*steps, decoders.Strip(" ", 1, 0)] if pieces.prefix else steps

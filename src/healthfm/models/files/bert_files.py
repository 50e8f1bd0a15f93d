"""Published BERT files: where weights, numbers and vocabulary lie, and their key names in transformers' form.

Layouts: a Hugging Face folder; a TensorFlow 1 checkpoint beside ``bert_config*.json`` and ``vocab*.txt``; either in a tar
or zip archive, also with the weights in an archive inside it. Names of TensorFlow 1: google-research/bert, ``modeling.py``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from healthfm.cards.schema import ModelCard
from healthfm.errors import CheckpointError, DatasetError
from healthfm.formats import archive
from healthfm.formats.tf_checkpoint import TensorBundle
from healthfm.models.files import checkpoint, tokenizer_flags
from healthfm.models.files.checkpoint import INDEXES, SINGLES, TORCH_SUFFIXES, Checkpoint, Tensors
from healthfm.models.files.stated import refuse_strange

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BERT_UNCASED = "0f052197aac305fe42f378b5c61554b7bacb34b8be4af83fec2cfdcdffbc9973"  # its pieces, joined by line breaks
PREPARED = ("tokenize_chinese_chars", "strip_accents")
NAMED = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
USED = (*PREPARED, *NAMED, "do_lower_case", "added_tokens_decoder", "additional_special_tokens", "extra_special_tokens")
OPTIMISER = re.compile(r"(^|/)(adam_[mv]|global_step|Adam(_1)?|beta[12]_power|good_steps|loss_scale)$")
LEGACY_NORM = re.compile(r"LayerNorm\.(gamma|beta)$")
WORDS = {"gamma": "weight", "beta": "bias", "output_weights": "weight", "output_bias": "bias"}


# Finding and reading ------------------------------------------------------------------------------------------------------


def names(card: ModelCard, variant: str | None) -> tuple[str, ...]:
    """Return the published file and folder names of a variant, to choose by where an archive holds several models."""
    return tuple(name for w in card.weights if w.variant in (None, variant) for name in w.files)


def read(path: Path, room: Path, wanted: Sequence[str] = ()) -> tuple[Checkpoint, dict[str, int] | None]:
    """Return the checkpoint and the vocabulary (piece to id) at ``path``; archives are unpacked into the folder ``room``.

    Raises ``CheckpointError``: nothing there, several models and none of the ``wanted`` names, or a damaged file.
    """
    place = path
    packed: tuple[Path, ...] = ()
    for _ in range(2):  # the weights may lie in an archive inside the archive
        if _sources(place):
            break
        archives = _preferred(_archives(place), wanted)
        packed = packed or tuple(archives)
        for one in archives:
            _unpack(one, one.parent if place == room else room)
        place = room
    sources = _preferred(_sources(place), wanted)
    if len(sources) != 1:
        listed = ", ".join(source.name for source in sources[:4]) or "none"
        raise CheckpointError(f"{path}: one published BERT was expected there; found {listed}")
    folder = sources[0] if sources[0].is_dir() else sources[0].parent
    found = _tensorflow(sources[0]) if sources[0].suffix == ".index" else checkpoint.read(sources[0])
    return replace(found, config=found.config or _numbers(folder), files=packed or found.files), vocabulary(folder)


def _below(place: Path) -> list[Path]:
    """Return a folder and its folders, three levels deep."""
    return [place, *(p for depth in ("*", "*/*", "*/*/*") for p in sorted(place.glob(depth)) if p.is_dir())]


def _sources(place: Path) -> list[Path]:
    """Return what can be loaded at a place: Hugging Face folders, TensorFlow ``.index`` files, single weight files."""
    if place.is_file():
        return [] if archive.is_archive(place.name) else [place]
    found: list[Path] = []
    for folder in _below(place):
        if any((folder / name).is_file() for name in (*SINGLES, *INDEXES)):
            found.append(folder)
        elif indexes := sorted(folder.glob("*.index")):
            found += indexes
        else:
            found += [p for p in sorted(folder.iterdir()) if p.suffix in (".safetensors", *TORCH_SUFFIXES)]
    return found


def _archives(place: Path) -> list[Path]:
    if place.is_file():
        return [place] if archive.is_archive(place.name) else []
    return [p for folder in _below(place) for p in sorted(folder.iterdir()) if archive.is_archive(p.name)]


def _preferred(paths: list[Path], wanted: Sequence[str]) -> list[Path]:
    """Return the paths of which a part is a wanted name, or all of them where none is."""
    plain = {_plain(name) for name in wanted} - {_plain(name) for name in (*SINGLES, *INDEXES)}
    return [path for path in paths if plain & {_plain(part) for part in path.parts}] or paths


def _plain(name: str) -> str:
    return next((name.removesuffix(s) for s in archive.SUFFIXES if name.endswith(s)), name)


def _unpack(path: Path, to: Path) -> None:
    try:
        archive.unpack(path, to)
    except DatasetError as error:
        raise CheckpointError(str(error)) from None


def _numbers(folder: Path) -> dict[str, Any]:
    """Return BERT's numbers from ``bert_config*.json``, as TensorFlow releases name it ({} where there is none)."""
    files = sorted(folder.glob("bert_config*.json"))
    if len(files) != 1:
        return {}
    try:
        return dict(json.loads(files[0].read_text(encoding="utf-8")))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{files[0]}: not valid JSON ({type(error).__name__})") from None


def vocabulary(folder: Path) -> dict[str, int] | None:
    """Return piece to id from ``vocab*.txt`` (in the folder or the one above it) or ``tokenizer.json``; None: neither."""
    for place in (folder, folder.parent):
        files = sorted(place.glob("vocab*.txt"))
        if len(files) == 1:
            lines = files[0].read_text(encoding="utf-8").removesuffix("\n").split("\n")
            return {line.removesuffix("\r"): i for i, line in enumerate(lines)}
        if place == folder and (folder / "tokenizer.json").is_file():
            return _fast_vocabulary(folder / "tokenizer.json")
    return None


def flags(folder: Path | None) -> dict[str, Any]:
    """Return how text is prepared, as ``tokenizer_config.json`` beside the weights states it (the case is the card's, or ``lowers``).

    Raises ``CheckpointError``: a flag that BERT's tokenizer here does not follow.
    """
    stated = _tokenizer_config(folder)
    if folder is None or not stated:
        return {}
    path = folder / "tokenizer_config.json"
    words = {k: v.get("content") if isinstance(v, dict) else v for k, v in stated.items()}
    other = [k for k, piece in NAMED.items() if words.get(k, piece) not in (piece, None)]
    refuse_strange(str(path), other)
    tokenizer_flags.check(
        str(path), stated, USED, {**tokenizer_flags.HELD, "do_basic_tokenize": True, "wordpieces_prefix": "##"}
    )
    return {key: stated[key] for key in PREPARED if stated.get(key) is not None}


def lowers(folder: Path | None) -> bool | None:
    """Return whether ``tokenizer_config.json`` beside the weights says that text is lowered; None where it does not say."""
    told = _tokenizer_config(folder).get("do_lower_case")
    return None if told is None else bool(told)


def _tokenizer_config(folder: Path | None) -> dict[str, Any]:
    path = folder / "tokenizer_config.json" if folder is not None else None
    if path is None or not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, OSError, TypeError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({type(error).__name__})") from None


def is_bert_uncased(pieces: Mapping[str, int]) -> bool:
    """Whether a vocabulary is the one of BERT's uncased models."""
    whole = "\n".join(sorted(pieces, key=lambda piece: pieces[piece]))
    return hashlib.sha256(whole.encode()).hexdigest() == BERT_UNCASED


def _fast_vocabulary(path: Path) -> dict[str, int]:
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        added = {token["content"]: int(token["id"]) for token in stated.get("added_tokens", ())}
        return {**{piece: int(i) for piece, i in stated["model"]["vocab"].items()}, **added}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise CheckpointError(f"{path}: the tokenizer cannot be read ({type(error).__name__})") from None


# Names ----------------------------------------------------------------------------------------------------------------------


def _tensorflow(index: Path) -> Checkpoint:
    bundle = TensorBundle(index)
    tensors = {name: torch.from_numpy(bundle[name]) for name in bundle if not OPTIMISER.search(name)}
    return Checkpoint(from_tensorflow(tensors), folder=index.parent, files=(index, *bundle.shards))


def from_tensorflow(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return TensorFlow 1's variables under transformers' names; kernels are transposed, optimiser slots left out."""
    renamed = {}
    for name, value in tensors.items():
        if OPTIMISER.search(name):
            continue
        path, _, last = re.sub(r"layer_(\d+)", r"layer/\1", name).replace("/", ".").rpartition(".")
        if last.endswith("_embeddings"):
            renamed[f"{path}.{last}.weight"] = value
        elif last == "kernel":
            renamed[f"{path}.weight"] = value.T.contiguous()
        else:
            renamed[f"{path}.{WORDS.get(last, last)}"] = value
    return renamed


def modern_names(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return tensors under the names of transformers' BertForPreTraining.

    LayerNorm's old gamma and beta become weight and bias, an encoder saved alone gets its "bert.", the buffer
    ``position_ids`` goes.
    """
    alone = not any(key.startswith("bert.") for key in tensors)
    renamed = {}
    for key, value in tensors.items():
        key = LEGACY_NORM.sub(lambda old: f"LayerNorm.{WORDS[old[1]]}", key)
        if alone and key.startswith(("embeddings.", "encoder.", "pooler.")):
            key = f"bert.{key}"
        if not key.endswith(".position_ids"):
            renamed[key] = value
    return renamed

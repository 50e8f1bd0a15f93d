"""Which model a server holds, by its own words, and whether that is the row it was asked as."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from healthfm.cards.schema import ModelCard

# How a file or a served name says in which precision it is, or that it is the newest: no part of a model's name.
PRECISION = re.compile(
    r"[-._:](?:(?:ud-)?i?q\d(?:_[a-z0-9]+)*|bf16|f(?:p)?(?:8|16|32)|int[48]|w\d+a\d+|awq|gptq|gguf|mlx|[48]-?bit|latest|\d{5}-of-\d{5})$"
)
FILES = (".gguf", ".safetensors", ".bin", ".pt")
NAMELESS = frozenset({"", "model", "ggmlmodel", "weights", "pytorchmodel"})


def is_row(names: Iterable[str], card: ModelCard, variant: str | None) -> bool:
    """Whether every one of a server's names for its model is one of the row's own: its slug, name, aliases, checkpoints."""
    known = {_plain(one) for one in row_names(card, variant)}
    return all(bool({_plain(one) for one in _parts(name)} & known) for name in names)


def row_names(card: ModelCard, variant: str | None) -> list[str]:
    """Return the names a row's weights may go by: of one variant where it is named, never another variant's."""
    published = [one for one in card.weights if variant is None or one.variant in (None, variant)]
    repositories = [one.hub.rpartition("/")[2] for one in published if one.hub]
    files = [PurePosixPath(file).name for one in published for file in one.files if "*" not in file]
    variants = [variant] if variant is not None else list(card.variants)
    plain = [card.slug, card.name, *card.aliases]
    found = [*plain, *(f"{name}-{one}" for name in plain for one in variants), *repositories, *files]
    return [one for one in dict.fromkeys(found) if _plain(one) not in NAMELESS]


def _parts(name: str) -> list[str]:
    """Return what of a served name may be a model's: the last part of a path, or what is above it where that says nothing."""
    parts = [one for one in name.replace("\\", "/").split("/") if one]
    cached = [one.split("--")[-1] for one in parts if one.startswith("models--")]  # a hub's cache folder
    if cached:
        return cached
    return parts[-2:-1] if len(parts) > 1 and _plain(parts[-1]) in NAMELESS else parts[-1:]


def _plain(name: str) -> str:
    """Return a name in lower case, without file ending, precision and signs."""
    found = name.lower()
    for ending in FILES:
        found = found.removesuffix(ending)
    while (shorter := PRECISION.sub("", found)) != found:
        found = shorter
    return re.sub(r"[^a-z0-9]", "", found)

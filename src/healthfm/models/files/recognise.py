"""Whose tensors these are: the sizes that a checkpoint's tensors show, held against the numbers of every variant of the cards.

Each family tells how far tensors go with a variant (``match``); the rule that follows from it stands here alone.
"""

from __future__ import annotations

import contextlib
import enum
import re
from collections.abc import Iterable, Mapping
from typing import Any

from healthfm.cards import catalog, files
from healthfm.cards.schema import ModelCard
from healthfm.errors import CardError, CheckpointError
from healthfm.models.families import family_of

NAMED = 6  # names that one message lists
KEPT = 256  # answers of ``rows_of`` that are kept
_ROWS: dict[tuple[Any, ...], list[str]] = {}


class Match(enum.IntEnum):
    """How far tensors go with a variant: nothing, the same kind of layers, the same sizes but for added rows, every size."""

    OTHER = 0
    LAYOUT = 1
    SIZES = 2
    EXACT = 3


class OtherVariant(CheckpointError):
    """The tensors are those of other variants of the same card: ``variants``."""

    def __init__(self, card: ModelCard, asked: str | None, variants: tuple[str, ...]) -> None:
        self.variants = variants
        names = [f"{card.slug}:{name}" for name in variants]
        ask = (
            "ask for it by that name"
            if len(names) == 1
            else "their tensors look alike: ask for the right one by its name"
        )
        super().__init__(f"these are the tensors of {listed(names)}, not of {named(card, asked)}; {ask}")


def check(
    card: ModelCard, variant: str | None, tensors: Mapping[str, Any], config: Mapping[str, Any],
    stated: Mapping[str, Any] | None = None,
) -> list[str]:  # fmt: skip
    """Return what must be said of tensors that are not those of the variant asked for, but may be loaded as it.

    ``config``: the caller's numbers, which decide where the tensors have them; ``stated``: those of a file beside the tensors,
    which say how unknown sizes are laid out.
    Raises ``OtherVariant``, or ``CheckpointError`` that names the row whose sizes these are.
    """
    asked = match(card, variant, tensors)
    if asked is Match.EXACT:
        return []
    if config and match(card, variant, tensors, config) > max(asked, Match.LAYOUT):
        return [f"the weights have the sizes that the caller's config gives, not those of {named(card, variant)}"]
    others = {name: match(card, name, tensors) for name in card.variants if name != variant}
    best = max(others.values(), default=Match.OTHER)
    alike = tuple(name for name, found in others.items() if found is best)
    if best > asked and best >= Match.SIZES:
        raise OtherVariant(card, variant, alike)
    if asked is Match.SIZES:
        return []
    if (rows := rows_of(card, tensors)) and catalog.is_shipped(
        card.slug
    ):  # a card of the caller's own may well describe a relative
        raise CheckpointError(
            f"these tensors have the sizes of {listed(rows)}, not of {named(card, variant)}; ask for the row they are"
        )
    fits = bool(stated) and match(card, variant, tensors, {**(stated or {}), **config}) is Match.EXACT
    if best > asked and not fits:
        raise OtherVariant(card, variant, alike)
    return [f"the weights have sizes of no published variant of {card.slug}"]


def match(
    card: ModelCard, variant: str | None, tensors: Mapping[str, Any], config: Mapping[str, Any] | None = None
) -> Match:
    """Return how far tensors go with a variant, as its family tells; ``config``: numbers in place of the card's."""
    try:
        return Match(family_of(card, variant).match(card, variant, tensors, config or {}))
    except CheckpointError:  # numbers that do not go together, another container
        return Match.OTHER


def rows_of(card: ModelCard, tensors: Mapping[str, Any]) -> list[str]:
    """Return the names of all other rows' variants whose every size the tensors have; of a network of several parts, not those of one of them.

    The same sizes are held against all cards once, as long as these stay as they are.
    """
    key = (card.slug, _outline(tensors), files.stats())
    if key not in _ROWS:
        if len(_ROWS) == KEPT:
            _ROWS.clear()
        _ROWS[key] = _rows_of(card, tensors)
    return _ROWS[key]


def _outline(tensors: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return all that ``match`` sees of tensors: names, types, shapes."""
    return tuple(
        (name, type(one), _outline(one) if isinstance(one, Mapping) else tuple(getattr(one, "shape", ())))
        for name, one in tensors.items()
    )


def _rows_of(card: ModelCard, tensors: Mapping[str, Any]) -> list[str]:
    found: list[tuple[int, str]] = []
    for (kind, slug), entry in files.entries().items():
        if kind != "model" or slug == card.slug or "run" not in entry:
            continue
        other = catalog.validated(entry)
        assert isinstance(other, ModelCard)
        for name in other.variants or (None,):
            with contextlib.suppress(
                CardError
            ):  # a card of the user's own that cannot run is no reason to stop another row
                if match(other, name, tensors) is Match.EXACT:
                    found.append((len(other.runner(name).parts), named(other, name)))
    most = max(found, default=(0, ""))[0]
    return [name for parts, name in found if parts == most]


def named(card: ModelCard, variant: str | None) -> str:
    """Return ``slug[:variant]``."""
    return card.slug + (f":{variant}" if variant else "")


def listed(names: list[str]) -> str:
    """Return names in words, the first few of many."""
    shown = names[:NAMED] + ([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


# What tensors show ------------------------------------------------------------------------------------------------------


def compared(
    shown: Mapping[str, Any], own: Mapping[str, Any], layout: Iterable[str], loose: Iterable[str] = ()
) -> Match:
    """Return how far sizes that tensors show go with a variant's ``own``, of which those that are None are not stated.

    ``layout``: the names among them that tell the kind of layers; ``loose``: those that training on may change (an added row).
    """
    differ = {name for name, value in own.items() if value is not None and shown.get(name) != value}
    if not differ:
        return Match.EXACT
    if differ <= set(loose):
        return Match.SIZES
    return Match.OTHER if differ & set(layout) else Match.LAYOUT


def numbered(tensors: Iterable[str], pattern: str) -> int:
    """Return how many numbers the first group of a pattern takes among the names of tensors: how many layers there are."""
    found = re.compile(pattern)
    return len({one[1] for key in tensors if (one := found.search(key))})


def shape(tensors: Mapping[str, Any], *ends: str) -> tuple[int, ...]:
    """Return the shape of the first tensor whose name ends in one of ``ends``; () without one."""
    found = next((v for k, v in tensors.items() if k.endswith(ends) and hasattr(v, "shape")), None)
    return () if found is None else tuple(found.shape)

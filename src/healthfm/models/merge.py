"""What a model runs with: the card's [run], its variant's, what the checkpoint's files state, the caller's ``config``, in this order.

Every family gets its numbers here. The merge itself is the schema's (``Runner.under``); here stands what a family reads of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from healthfm.cards.schema import ModelCard, Part, Runner
from healthfm.errors import CardError, CheckpointError

FILES = ("dialect", "state", "strip")
WORDS = (*FILES, "transform", "tokenizer", "pooling", "projection", "zero_shot")  # that a family may read or not


def merged(
    card: ModelCard, variant: str | None, stated: Mapping[str, Any], given: Mapping[str, Any],
    reads: Collection[str] = (), parts: Mapping[str, Collection[str]] | None = None,
) -> Runner:  # fmt: skip
    """Return [run] as a model runs: the card's, its variant's, the numbers that its files state (``stated``), the caller's (``given``).

    ``reads``: the words of [run] that the family reads beside its numbers, ``parts``: the names of its parts, each with those that are
    read of it. ``given`` holds numbers, such words, and under a part's name the same of that part; ``stated`` numbers alone. Which
    numbers there are is the family's to know. Raises ``CardError``: a word on the card that nobody reads, or other parts;
    ``CheckpointError``: a caller's word that does not fit.
    """
    parts = parts or {}
    run = card.runner(variant)
    _refuse_unread(f"{card.slug}:{variant}" if variant else card.slug, run, reads, parts)
    try:
        plain = run.under(_layer(stated, (), dict.fromkeys(parts, ()))) if stated else run
        return plain.under(_layer(given, reads, parts)) if given else plain
    except ValueError as error:
        raise CheckpointError(f"{card.slug}: config does not fit the card: {error}") from None


def _layer(
    given: Mapping[str, Any], reads: Collection[str], parts: Mapping[str, Collection[str]] | None = None
) -> dict[str, Any]:
    """Return numbers and words that stand together as [run] has them: words, ``config``, ``parts``."""
    parts = parts or {}
    found = {name: value for name, value in given.items() if name in reads}
    found["config"] = {name: value for name, value in given.items() if name not in reads and name not in parts}
    own = {name: given[name] for name in parts if name in given}
    for name, value in own.items():
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} is a part of this model: its numbers are a mapping")
    if own:
        found["parts"] = {name: _layer(value, parts[name]) for name, value in own.items()}
    return found


def _refuse_unread(name: str, run: Runner, reads: Collection[str], parts: Mapping[str, Collection[str]]) -> None:
    """Raise ``CardError`` where a card says of a model or a part what its family would pass over."""
    if set(run.parts) != set(parts):
        raise CardError(
            f"{name}: the parts of [run] are {', '.join(run.parts) or 'none'}; the family {run.family} takes {', '.join(parts) or 'none'}"
        )
    told: list[tuple[str, Runner | Part, Collection[str]]] = [("run", run, reads)]
    told += [(f"run.parts.{part}", run.parts[part], words) for part, words in parts.items()]
    for where, one, words in told:
        strange = [word for word in WORDS if getattr(one, word, None) and word not in words]
        if strange:
            raise CardError(
                f"{name}: [{where}] states {', '.join(strange)}, which the family {run.family} does not read there "
                f"(it reads {', '.join(words) or 'none of such words'})"
            )

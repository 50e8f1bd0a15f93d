"""One row as a page shows it, and lists of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ERRORS = 20
LONGEST = 900  # characters shown of one text
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Option:
    """One of the answers a row could have: its ``key``, the ``chance`` the model gave it, whether it is ``right`` and was ``chosen``."""

    key: str
    chance: float | None
    right: bool
    chosen: bool


@dataclass(frozen=True)
class Sample:
    """One row as it is shown: its ``id``, the ``target``, what was ``said`` (None: nothing), and the ``measure`` it is ordered by."""

    id: str
    target: str
    said: str | None
    measure: str
    right: bool | None = None
    options: Sequence[Option] = ()


@dataclass(frozen=True)
class SampleList:
    """Samples under a title; ``measure`` names their number, ``note`` says how they were chosen, ``heads`` what target and said are called."""

    title: str
    note: str
    measure: str
    samples: Sequence[Sample]
    heads: tuple[str, str] = ("target", "answer")


def names_of(names: Sequence[str]) -> str:
    """Return names as one text."""
    return ", ".join(names)


def cut(text: str) -> str:
    """Return a text, what is longer than a page shows cut off."""
    return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " …"

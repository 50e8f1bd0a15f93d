"""The nouns of data: frozen records that flow from readers to models and metrics.

Every record has an ``id`` that is unique in its dataset and the ``patient`` that must never straddle a split.
A label is a class name, a number, a set of names, ``MISSING`` or ``UNCERTAIN``; the owner's raw value stays in ``meta``.
Pixels are lazy: reading records never decodes an image.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from healthfm.errors import BadValue


class Mark(enum.Enum):
    """A label that is not there, or that its reader left open."""

    MISSING = "missing"
    UNCERTAIN = "uncertain"


MISSING = Mark.MISSING
UNCERTAIN = Mark.UNCERTAIN
Label = str | float | frozenset[str] | Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What every record carries."""

    id: str
    split: str | None = None
    patient: str | None = None
    site: str | None = None
    labels: Mapping[str, Label] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Record):
    """A still image. ``pixels`` decodes on demand: uint8 or uint16 array [height, width] or [height, width, channels]."""

    load: Callable[[], npt.NDArray[Any]]

    @property
    def pixels(self) -> npt.NDArray[Any]:
        """Decode and return the pixels."""
        return self.load()


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRecord(Record):
    """What every text record carries: ``media`` it refers to, in order."""

    media: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(TextRecord):
    """A text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QA(TextRecord):
    """A question with its accepted answers (none where they are withheld)."""

    question: str
    context: str = ""
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipleChoice(TextRecord):
    """A question with options by key; ``answer`` is a key, several keys, or None where it is withheld."""

    question: str
    options: Mapping[str, str]
    context: str = ""
    answer: str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.question, str):
            raise BadValue("the question is not text")
        if len(self.options) < 2:
            raise BadValue(f"{len(self.options)} option(s), at least two are needed")
        keys = () if self.answer is None else (self.answer,) if isinstance(self.answer, str) else self.answer
        if any(key not in self.options for key in keys):
            raise BadValue(f"the answer is not among the options ({', '.join(self.options)})")


@dataclass(frozen=True, slots=True)
class Message:
    """A turn of a conversation: ``content`` holds text and media; their order is their placement."""

    role: str
    content: str | tuple[str | Image, ...]


KINDS: Mapping[str, type[Record]] = {kind.__name__: kind for kind in (Document, QA, MultipleChoice, Image)}


def digest(record: Record) -> str:
    """Return a short, stable fingerprint of a text record's content (not of its labels or meta)."""
    content = {
        name: getattr(record, name) for name in ("text", "question", "context", "options") if hasattr(record, name)
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=dict).encode()).hexdigest()[:16]

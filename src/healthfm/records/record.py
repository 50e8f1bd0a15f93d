"""What every record carries, and the marks of labels that are not there."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Self

from healthfm.errors import DatasetError

# The fields of text records that a digest covers.
CONTENT = ("text", "question", "context", "options", "query", "candidates", "turns", "a", "b")
MARKS = ("labels", "spans")  # of a turn: what is said of it, not what it says


class Mark(enum.Enum):
    """A label that is not there, that its reader left open, or of what nobody looked for (one class of several)."""

    MISSING = "missing"
    UNCERTAIN = "uncertain"
    UNMEASURED = "unmeasured"


MISSING = Mark.MISSING
UNCERTAIN = Mark.UNCERTAIN
UNMEASURED = Mark.UNMEASURED
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
    noun: ClassVar[str] = "record"
    stacked: ClassVar[bool] = False  # many pictures, which are never all held: such a record has no digest of its own

    @property
    def as_text(self) -> str:
        """The text that stands for the record. Raises ``DatasetError``: it has none."""
        raise DatasetError(f"a {type(self).__name__} has no text")

    def decoded(self) -> Self:
        """Return the record with its content in memory, where it is lazy and can be held."""
        return self

    def digest(self) -> str:
        """Return a short, stable fingerprint of the content (not of labels or meta); an image is decoded for it."""
        content = {name: getattr(self, name) for name in CONTENT if hasattr(self, name)}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=_plain).encode()).hexdigest()[:16]


def _plain(one: Any) -> Any:
    """Return a part of a record's content as JSON takes it: a picture by its digest, a turn as a mapping of what it says."""
    if isinstance(one, Record):
        return one.digest()
    if not is_dataclass(one):
        return dict(one)
    return {each.name: getattr(one, each.name) for each in fields(one) if each.name not in MARKS}


def unit_of(record: Record) -> str:
    """Return what must never straddle a split: the patient, or the record itself where none is named."""
    return record.id if record.patient is None else record.patient

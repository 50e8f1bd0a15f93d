"""Records of registered clinical studies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from healthfm.records.text import TextRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial(TextRecord):
    """A study of a registry; ``id`` is the registry's number. Texts are the owner's, "" where there is none.

    ``arms`` and ``outcomes`` are (kind, title, description); ``eligibility`` is the criteria's text, ``minimum_age``, ``maximum_age`` and
    ``sex`` as the registry writes them. ``dates`` are by the registry's names, as written. ``raw``: all that the registry holds of it.
    """

    noun: ClassVar[str] = "trial"

    title: str
    summary: str = ""
    description: str = ""
    conditions: tuple[str, ...] = ()
    interventions: tuple[tuple[str, str], ...] = ()
    arms: tuple[tuple[str, str, str], ...] = ()
    outcomes: tuple[tuple[str, str, str], ...] = ()
    eligibility: str = ""
    sex: str = ""
    minimum_age: str = ""
    maximum_age: str = ""
    sponsor: str = ""
    enrolment: int | None = None
    dates: Mapping[str, str] = field(default_factory=dict)
    has_results: bool | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def as_text(self) -> str:
        """Title, summary, conditions, interventions, eligibility: what a reader of the register sees first."""
        given = "; ".join(name for _, name in self.interventions)
        parts = (self.title, self.summary, "; ".join(self.conditions), given, self.description, self.eligibility)
        return "\n\n".join(part for part in parts if part)

    def digest(self) -> str:
        """Return a short, stable fingerprint of all that the registry holds of the study."""
        whole = json.dumps([self.as_text, self.raw], sort_keys=True, default=str)
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

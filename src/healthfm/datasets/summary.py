"""What the records of a dataset hold, counted while they pass: labels, patients, lengths, missing values. No record is kept."""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from healthfm.errors import DatasetError
from healthfm.records import Mark, Record, Timeline, Visual


@dataclass
class Numbers:
    """Count, mean and extremes of the numbers that one label space holds."""

    count: int = 0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, value: float) -> None:
        """Count one more."""
        self.count, self.total = self.count + 1, self.total + value
        self.low, self.high = min(self.low, value), max(self.high, value)

    def told(self) -> dict[str, float]:
        """Return count, mean, min and max."""
        return {"count": self.count, "mean": self.total / self.count, "min": self.low, "max": self.high}


@dataclass
class Tally:
    """Counts of the records seen. ``lengths`` are characters of the text that stands for a record, by split."""

    labels: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    numbers: dict[str, Numbers] = field(default_factory=lambda: defaultdict(Numbers))
    patients: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    lengths: dict[str, array[int]] = field(default_factory=lambda: defaultdict(lambda: array("Q")))
    missing: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, None] = field(default_factory=dict)  # of records, in the order in which they were met

    def see(self, record: Record) -> None:
        """Count a record. Pixels are not decoded."""
        split = record.split or ""
        self.kinds.setdefault(type(record).__name__)
        if record.patient is not None:
            self.patients[split].add(record.patient)
        self.missing.update(self._lacks(record))
        for name, label in _labels(record):
            for one in label if isinstance(label, frozenset) else (label,):
                if isinstance(one, str | Mark):
                    self.labels[name][one.value if isinstance(one, Mark) else one] += 1
                elif isinstance(one, float | int) and not isinstance(one, bool) and math.isfinite(one):
                    self.numbers[name].add(float(one))
        text = text_of(record)
        if text is not None:
            self.lengths[split].append(len(text))

    @staticmethod
    def _lacks(record: Record) -> list[str]:
        found = [name for name in ("patient", "site") if getattr(record, name) is None]
        found += [f"labels.{name}" for name, label in record.labels.items() if label is Mark.MISSING]
        if hasattr(record, "answer") and record.answer is None:
            found.append("answer")
        if getattr(record, "answers", None) == ():
            found.append("answers")
        text = text_of(record)
        return [*found, "text"] if text is not None and not text.strip() else found

    def told(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        everyone = set().union(*self.patients.values()) if self.patients else set()
        return {
            "patients": len(everyone) or None,
            "patients_by_split": {split: len(found) for split, found in self.patients.items()},
            "labels": {name: dict(sorted(found.items())) for name, found in self.labels.items()},
            "numbers": {name: found.told() for name, found in self.numbers.items()},
            "lengths": {
                split: {"min": min(found), "median": median(found), "mean": sum(found) / len(found), "max": max(found)}
                for split, found in self.lengths.items()
            },
            "missing": dict(sorted(self.missing.items())),
        }


def text_of(record: Record) -> str | None:
    """Return the text that stands for a record, None where it has none."""
    if isinstance(record, Visual | Timeline):  # what happened to a patient is no text, though it can be written as one
        return None
    try:
        return record.as_text
    except DatasetError:
        return None


def _labels(record: Record) -> Iterator[tuple[str, Any]]:
    """Yield the labels of a record by name: a question's answer is one, those of a conversation's turns are its own."""
    yield "answer", getattr(record, "answer", None)
    yield from record.labels.items()
    for turn in getattr(record, "turns", ()):
        yield from turn.labels.items()

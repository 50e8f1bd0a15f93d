"""The texts of a benchmark's records that a corpus may hold: the question alone, with its options or answer, its context."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from healthfm.curate.words import fold
from healthfm.errors import RunError
from healthfm.records import QA, Conversation, Document, MultipleChoice, Pair, Record, Visual

PARTS = ("question", "question and options", "question and answer", "context", "text")


@dataclass(frozen=True)
class Part:
    """One text to look for: segments (each in its own order, their order free), and the records that have it."""

    kind: str
    segments: tuple[tuple[bytes, ...], ...]
    ids: tuple[str, ...]

    @property
    def length(self) -> int:
        """Words in all."""
        return sum(map(len, self.segments))


def parts(records: Iterable[Record]) -> list[Part]:
    """Return the texts to look for; a text that several records share is one part."""
    found: dict[tuple[str, tuple[tuple[bytes, ...], ...]], list[str]] = {}
    for record in records:
        for kind, texts in _texts(record):
            segments = tuple(words for text in texts if (words := tuple(fold(text).split())))
            if segments:
                found.setdefault((kind, segments), []).append(record.id)
    return [Part(kind, segments, tuple(ids)) for (kind, segments), ids in found.items()]


def _texts(record: Record) -> list[tuple[str, list[str]]]:
    if isinstance(record, Document):
        return [("text", [record.text])]
    if isinstance(record, Conversation):
        return [("text", [turn.text for turn in record.turns])]
    if isinstance(record, Pair):
        return [("text", [record.a, record.b])]
    if isinstance(record, MultipleChoice):
        full = [("question and options", [record.question, *record.options.values()])] if _tells(record) else []
        return [("question", [record.question]), *full, *_context(record.context)]
    if isinstance(record, QA):
        full = [("question and answer", [record.question, *record.answers])] if record.answers else []
        return [("question", [record.question]), *full, *_context(record.context)]
    if isinstance(record, Visual):
        return []
    raise RunError(f"a {type(record).__name__} has no text to look for")


def _context(context: str) -> list[tuple[str, list[str]]]:
    return [("context", [context])] if context else []


def _tells(record: MultipleChoice) -> bool:
    """Whether the options say more than yes, no and maybe, which every text says."""
    return sum(len(fold(text).split()) for text in record.options.values()) > len(record.options)

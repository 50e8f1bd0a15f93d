"""Records of text: documents, questions, queries with candidates, and the turns and answers of conversations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from healthfm.errors import BadValue
from healthfm.records.pixels import Visual
from healthfm.records.record import Label, Record

USUAL = frozenset({"stop", "eos", "end_turn", "stop_sequence", "eos_token", "completed"})  # the model ended by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRecord(Record):
    """What every text record carries: ``media`` it refers to, in order."""

    media: tuple[Visual, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """A mention in a text: ``text[start:end]``, characters from 0. ``type`` is the owner's class of it, several joined by commas.

    ``concepts``: the ids it stands for, none where its owner found none, several where it is composite ("A and B disease").
    ``parts``: the (start, end) of its pieces where it is in pieces; start and end then reach from the first to the last.
    ``status``: what its owner says of it in this text (present, absent, ...), None where nothing.
    """

    start: int
    end: int
    type: str
    concepts: tuple[str, ...] = ()
    parts: tuple[tuple[int, int], ...] = ()
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """What its owner says of two things: each the number of a span of the document, or, as text, a concept's id or a name."""

    type: str
    head: int | str
    tail: int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(TextRecord):
    """A text, with what is marked in it where its owner marked something; ``sections`` are its parts by their headings."""

    noun: ClassVar[str] = "text"

    text: str
    spans: tuple[Span, ...] = ()
    relations: tuple[Relation, ...] = ()
    sections: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        _inside(self.text, (*self.spans, *self.sections))
        ends = [end for one in self.relations for end in (one.head, one.tail) if isinstance(end, int)]
        if any(not 0 <= end < len(self.spans) for end in ends):
            raise BadValue("a relation speaks of a span that the text has not")

    @property
    def as_text(self) -> str:
        """The text itself."""
        return self.text


def _inside(text: str, spans: tuple[Span, ...]) -> None:
    """Raise ``BadValue`` where a span does not lie in the text."""
    length = len(text)
    for span in spans:
        places = [span.start, *(edge for part in span.parts for edge in part), span.end] if span.parts else []
        if not 0 <= span.start < span.end <= length or (places and places != sorted(places)):
            raise BadValue("a span does not lie in the text, start before end")


@dataclass(frozen=True, slots=True, kw_only=True)
class QA(TextRecord):
    """A question with its accepted answers (none where they are withheld)."""

    noun: ClassVar[str] = "question"

    question: str
    context: str = ""
    answers: tuple[str, ...] = ()

    @property
    def as_text(self) -> str:
        """The question, its context before it."""
        return f"{self.context}\n{self.question}" if self.context else self.question


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipleChoice(TextRecord):
    """A question with options by key; ``answer`` is a key, several keys, or None where it is withheld."""

    noun: ClassVar[str] = "question"

    question: str
    options: Mapping[str, str]
    context: str = ""
    answer: str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.question, str):
            raise BadValue("the question is not text")
        for option in self.options.values():
            if not isinstance(option, str):
                raise BadValue("an option is not text")
        if len(self.options) < 2:
            raise BadValue(f"{len(self.options)} option(s), at least two are needed")
        for key in (self.answer,) if isinstance(self.answer, str) else self.answer or ():
            if key not in self.options:
                raise BadValue(f"the answer is not among the options ({', '.join(self.options)})")

    @property
    def as_text(self) -> str:
        """The question, its context before it."""
        return f"{self.context}\n{self.question}" if self.context else self.question


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking(TextRecord):
    """A query and the texts that may answer it; ``relevance`` of each is 0 (wrong) or more, None where it is withheld."""

    noun: ClassVar[str] = "query"

    query: str
    candidates: tuple[str, ...]
    relevance: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.query, str) or not all(isinstance(one, str) for one in self.candidates):
            raise BadValue("the query or a candidate is not text")
        if len(self.candidates) < 2:
            raise BadValue(f"{len(self.candidates)} candidate(s), at least two are needed")
        if self.relevance is not None and len(self.relevance) != len(self.candidates):
            raise BadValue(f"{len(self.candidates)} candidates, the relevance of {len(self.relevance)}")
        if self.relevance is not None and min(self.relevance) < 0:
            raise BadValue("the relevance of a candidate is below 0")

    @property
    def as_text(self) -> str:
        """The query."""
        return self.query


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(TextRecord):
    """Two texts and, in ``labels``, what the first is to the second: as like it, as following from it, as relevant to it."""

    noun: ClassVar[str] = "pair"

    a: str
    b: str

    def __post_init__(self) -> None:
        if not isinstance(self.a, str) or not isinstance(self.b, str):
            raise BadValue("one of the two texts is not text")

    @property
    def as_text(self) -> str:
        """Both texts, the first above the second."""
        return f"{self.a}\n{self.b}"


@dataclass(frozen=True, slots=True)
class Message:
    """A turn of a conversation: ``content`` holds text and media; their order is their placement.

    ``labels`` and ``spans`` are what its owner says of the turn and marks in its text; they are no part of what is said.
    """

    role: str
    content: str | tuple[str | Visual, ...]
    labels: Mapping[str, Label] = field(default_factory=dict, hash=False)
    spans: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        _inside(self.text if self.spans else "", self.spans)

    @property
    def text(self) -> str:
        """What is said, without the media."""
        parts = (self.content,) if isinstance(self.content, str) else self.content
        return "\n".join(part for part in parts if isinstance(part, str))


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation(TextRecord):
    """Turns in the order they were said; who asks has the role "user", who answers "assistant", an instruction for both "system"."""

    noun: ClassVar[str] = "conversation"

    turns: tuple[Message, ...]

    def __post_init__(self) -> None:
        if not self.turns:
            raise BadValue("a conversation without a turn")
        if not all(isinstance(turn.content, str | tuple) for turn in self.turns):
            raise BadValue("a turn is not text")

    @property
    def as_text(self) -> str:
        """All turns, each behind the name of its role."""
        return "\n".join(f"{turn.role}: {turn.text}" for turn in self.turns)


class Answer(str):
    """What a model wrote ("" where it wrote nothing), which remembers why it ended: ``finish``, None where nobody says.

    ``finish`` is the server's ``finish_reason``; of a reply without text that ended as usual, what it held instead: "refusal",
    "tool_calls", "reasoning only", "no message", "no choice".
    """

    finish: str | None

    def __new__(cls, text: str, finish: str | None = None) -> Answer:
        """Wrap a text."""
        made = super().__new__(cls, text)
        made.finish = finish
        return made

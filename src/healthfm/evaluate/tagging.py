"""Named entities by a token classifier: each word of a text gets the tag of its head, and tags become mentions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from healthfm.errors import RunError
from healthfm.evaluate.job import Ask, Job, cut_parts, rows_of
from healthfm.evaluate.listed import WORD
from healthfm.evaluate.mentions import marked_texts, text_columns
from healthfm.models.model import Model
from healthfm.records import Record
from healthfm.score.kinds.spans import SPANS
from healthfm.score.metrics import chunks
from healthfm.spelling import fold

BLANKS = re.compile("[^ ]+")  # a token may hold other white space
WORDS = re.compile(rf"{WORD}+|\S")  # a letter of a script without blanks is a word
NO_TAGS = "its head's classes are no tags of mentions (O, B-TYPE, I-TYPE ...)"
READING = "tags are read as CoNLL's scorer and seqeval's default do; a word has the tag of its first piece"


@dataclass(frozen=True, kw_only=True)
class TaggedWords(Job):
    """Texts whose words are tagged. ``codes``: the class that each name of a type means. ``tokens``: words are what stands between blanks."""

    codes: Mapping[str, str]
    tokens: bool

    def tool(self, model: Model, settled: Mapping[str, Any] | None) -> Model:
        """Return the model. Raises ``RunError``: its head has none of the data's types; says which of them it has beside."""
        try:
            heads = dict.fromkeys(chunks.split(one)[1] for one in getattr(model, "classes", ()) if one != "O")
        except ValueError:
            raise RunError(f"{model.name}: {NO_TAGS}") from None
        others = [one for one in heads if fold(one) not in self.codes]
        if heads and len(others) == len(heads):
            raise RunError(
                f"{model.name}: its head finds {', '.join(heads)}, the data mark {', '.join(self.classes or ())}: none is the same"
            )
        if others:
            said = f"the head's {', '.join(others)}: not marked in these data, what it finds of them is left out"
            model.provenance["notices"] = [*model.provenance.get("notices", []), said]
        return model

    def compute(self, tool: Model, rows: range) -> pa.Table:
        part = self.records[rows.start : rows.stop]
        assert self.targets is not None
        edges = [self.words(record) for record in part]
        texts = [[record.as_text[a:b] for a, b in places] for record, places in zip(part, edges, strict=True)]
        tags = tool.tag([words for words in texts if words])
        if [len(row) for row in tags] != [len(words) for words in texts if words]:
            raise RunError("the model returned another number of tags than there were words")
        left = iter(tags)
        found = [self.mentions(next(left) if places else [], places, tool.name) for places in edges]
        return pa.table({
            **text_columns(part, self.targets[rows.start : rows.stop]),
            "tags": pa.array([tags for tags, _ in found], pa.list_(pa.string())),
            "prediction": pa.array([spans for _, spans in found], SPANS),
            **rows_of(self.columns, rows),
        })  # fmt: skip

    def words(self, record: Record) -> list[tuple[int, int]]:
        """Return where a text's words begin and end."""
        return [match.span() for match in (BLANKS if self.tokens else WORDS).finditer(record.as_text)]

    def mentions(
        self, tags: Sequence[str], places: Sequence[tuple[int, int]], model: str
    ) -> tuple[list[str], list[dict[str, Any]]]:
        """Return tags, and the mentions of the data's types among them. Raises ``RunError``: a tag of no scheme."""
        try:
            found = chunks.lenient(tags)
        except ValueError:
            raise RunError(f"{model}: {NO_TAGS}") from None
        spans = [
            {"start": places[first][0], "end": places[last - 1][1], "type": self.codes[fold(kind)], "concepts": [], "parts": []}
            for first, last, kind in found if fold(kind) in self.codes
        ]  # fmt: skip
        return list(tags), spans


def prepare(ask: Ask) -> Job:
    """Return the job of tagging each text of a split by a token classifier.

    Words are the corpus' own tokens where its records say that blanks part them, else runs of letters and digits, and signs one by one. A type
    of the model's that the data do not mark is left out; one is the data's by its name or by the owner's code on the card.
    """
    records, total, classes, common = marked_texts(ask, None)
    assert ask.task is not None
    codes = {fold(one): one for one in classes}
    for space in ask.opened.card.labels:
        codes |= {fold(code): one for one, code in space.codes.items() if one in classes}
    if len(classes) == 1:
        codes["_"] = classes[0]
    tokens = all(record.meta.get("words") == "blanks" for record in records)
    how = "the corpus' own tokens" if tokens else "runs of letters and digits, other signs one by one"
    return TaggedWords(
        task=ask.task, name=f"{ask.opened.name}#{ask.task}", records=records, total=total, classes=classes, codes=codes, tokens=tokens,
        targets=common["targets"], columns=common["columns"], parts=cut_parts([len(record.as_text) for record in records]),
        content=[[record.id, record.as_text, target] for record, target in zip(records, common["targets"], strict=True)],
        asked={"words": how, "reading": READING}, facts={"notices": common["notices"]},
    )  # fmt: skip

"""Named entities: the mentions in a text, as a model lists them in words. Each is marked wherever it stands in the text."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from healthfm.cards.schema import DatasetCard, Labels
from healthfm.datasets.dataset import Dataset, split_name
from healthfm.errors import RunError
from healthfm.evaluate import listed, protocols
from healthfm.evaluate.dialogues import by_turn
from healthfm.evaluate.job import Ask, Job, cut_parts, need_split, rows_of, sample_columns, subgroup_columns
from healthfm.evaluate.writing import Writing, written_columns
from healthfm.models.model import Model
from healthfm.records import Document, Mark, Record, Span
from healthfm.score.kinds.spans import SPANS, UNPLACED
from healthfm.spelling import fold

FIELDS = ("type", "text")
PLACING = (
    "a mention that the model lists is marked wherever the text has it as whole words, in its own case, else in any"
)
RIVAL = "rival.dictionary"
LONGEST = 12  # words of an entry of the dictionary


@dataclass(frozen=True, kw_only=True)
class ListedMentions(Job):
    """Texts whose mentions the model lists. ``words``: what the prompt calls each class."""

    writing: Writing
    seed: int
    words: Mapping[str, str]

    def compute(self, tool: Model, rows: range) -> pa.Table:
        part = self.records[rows.start : rows.stop]
        outputs = self.writing.write(tool, rows, self.seed)
        read = [self.read(text, record) for text, record in zip(outputs, part, strict=True)]
        return pa.table({
            **text_columns(part, self.targets[rows.start : rows.stop] if self.targets is not None else []),
            **written_columns(outputs),
            "prediction": pa.array([spans for spans, _ in read], SPANS), "unplaced": pa.array([lost for _, lost in read], UNPLACED),
            **rows_of(self.columns, rows),
        })  # fmt: skip

    def read(self, output: str, record: Record) -> tuple[list[dict[str, Any]] | None, list[dict[str, str]]]:
        """Return the spans that a written list means, None where it cannot be read, and what it names that the text does not hold.

        A type that was not asked for is that of no mention, wherever it stands: such an entry is among the latter.
        """
        known = {fold(name): one for one, word in self.words.items() for name in (word, one)}
        found = listed.entries(output, FIELDS)
        if found is None and len(self.words) == 1 and (alone := listed.single(output)) is not None:
            found = [(next(iter(self.words)), one) for (one,) in alone]
        if found is None:
            return None, []
        turned = [(b, a) if fold(a) not in known and fold(b) in known else (a, b) for a, b in found]
        meant = [(known[fold(kind)], text) for kind, text in turned if fold(kind) in known]
        spans, lost = listed.placed(meant, record.as_text)
        other = [(kind, text) for kind, text in turned if fold(kind) not in known]
        return (
            [_plain(Span(*one)) for one in spans],
            [{"type": kind, "text": text} for kind, text in [*lost, *other]],
        )


def prepare(ask: Ask) -> Job:
    """Return the job of having a model list the mentions in each text of a split."""
    name, protocol = protocols.choose_protocol(ask.opened.card, ask.protocol, ask.task)
    request = ask.request
    if request.shots or protocol.shots:
        raise RunError(f"{protocol.task} is asked without solved examples")
    records, total, classes, common = marked_texts(ask, protocol.label)
    words = {one: protocol.words.get(one, one) for one in classes}
    writing = Writing.by_protocol(
        protocol, [protocols.render(one, protocol, labels=list(words.values())) for one in records]
    )
    return ListedMentions(
        task=protocol.task, name=f"{ask.opened.name}@{name}", records=records, total=total, writing=writing, seed=request.seed, words=words,
        classes=classes, targets=common["targets"], columns=common["columns"],
        parts=cut_parts([len(text) + writing.characters for text in writing.prompts]),
        content=[[record.id, text, target] for record, text, target in zip(records, writing.prompts, common["targets"], strict=True)],
        asked={**writing.asked, "placing": PLACING},
        facts={"protocol": protocol.model_dump(), **writing.facts, "notices": common["notices"]},
    )  # fmt: skip


def marked_texts(ask: Ask, label: str | None) -> tuple[list[Record], int, list[str], dict[str, Any]]:
    """Return the texts (of consultations: the turns) of a split that a limit keeps, how many there are in all, the classes of their mentions, and the fields a job has of
    them: ``targets``, ``columns`` (subgroups, and the mentions that a dictionary finds), ``notices``.
    """
    opened = by_turn(ask.opened)
    split = need_split(opened, ask.split)
    every = [one for one in split if isinstance(one, Document) and not isinstance(one.labels.get("entities"), Mark)]
    if not any(record.spans for record in every):
        raise RunError(
            f"{ask.opened.name}: no text of split '{ask.split}' has a mention marked in it; use another split"
        )
    classes = classes_of(ask.opened.card, label, every)
    chosen = [every[i] for i in protocols.sample(len(every), ask.request.limit, ask.request.seed)]
    if not any(record.spans for record in chosen):
        raise RunError(f"none of the {len(chosen)} texts that the limit keeps has a mention marked in it; raise it")
    columns = subgroup_columns(chosen, ask.request.subgroups)
    lexicon = dictionary(opened, ask.split)
    if lexicon:
        columns[RIVAL] = pa.array(
            [[_plain(one) for one in looked_up(record.text, lexicon)] for record in chosen], SPANS
        )
    common = {
        "targets": [[_plain(one) for one in record.spans] for record in chosen],
        "columns": columns,
        "notices": list(split.notices),
    }
    return list(chosen), len(every), classes, common


def classes_of(card: DatasetCard, label: str | None, records: Sequence[Document]) -> list[str]:
    """Return the classes of mentions: those of the label space of this name, else of the first that has all that are marked, else these."""
    marked = {span.type for record in records for span in record.spans}
    spaces: list[Labels] = [
        space for space in card.labels if label in (None, space.name) and set(space.classes) >= marked
    ]
    if label is not None and not spaces:
        raise RunError(f"{card.slug}: mentions are marked of classes that its label space '{label}' does not name")
    return list(spaces[0].classes) if spaces else sorted(marked)


def text_columns(records: Sequence[Record], targets: Sequence[Any]) -> dict[str, pa.Array]:
    """Return the columns that texts with mentions have: those of every sample, how long each is, and its true mentions."""
    return {
        **sample_columns(records), "characters": pa.array([len(record.as_text) for record in records], pa.int64()),
        "target": pa.array(list(targets), SPANS),
    }  # fmt: skip


def _plain(span: Span) -> dict[str, Any]:
    """Return a span as tables have it."""
    parts = [{"start": start, "end": end} for start, end in span.parts]
    return {"start": span.start, "end": span.end, "type": span.type, "concepts": list(span.concepts), "parts": parts}


# The cheap rival --------------------------------------------------------------------------------------------------------


def dictionary(opened: Dataset, split: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the mentions of the training split in small letters, with the type and concepts that each mostly has there; {} where there is none."""
    source = split_name(opened.card, "train")
    if source == split or source not in opened.splits:
        return {}
    seen: dict[str, Counter[tuple[str, tuple[str, ...]]]] = defaultdict(Counter)
    for record in opened[source]:
        for span in record.spans if isinstance(record, Document) else ():
            if not span.parts:
                words = record.as_text[span.start : span.end].lower().split()
                seen[" ".join(words)][span.type, span.concepts] += 1
    return {text: most.most_common(1)[0][0] for text, most in seen.items() if len(text.split()) <= LONGEST}


def looked_up(text: str, lexicon: Mapping[str, tuple[str, tuple[str, ...]]]) -> list[Span]:
    """Return the mentions that a dictionary finds in a text, from the left the longest one of whole words each time."""
    words = [match.span() for match in re.finditer(rf"{listed.WORD}+|\S", text)]
    found, at = [], 0
    while at < len(words):
        reach = min(len(words), at + 3 * LONGEST)
        for last in range(reach, at, -1):
            start, end = words[at][0], words[last - 1][1]
            entry = lexicon.get(" ".join(text[start:end].lower().split()))
            if entry is not None:
                found.append(Span(start, end, *entry))
                at = last - 1
                break
        at += 1
    return found

"""Relations: those that a model lists in words, and those between two marked mentions, by the likelihood of the types' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from healthfm.cards.schema import DatasetCard, Labels
from healthfm.errors import RunError
from healthfm.evaluate import listed, protocols
from healthfm.evaluate.classification import chance_columns, likelihoods, shares_of
from healthfm.evaluate.job import Ask, Job, cut_parts, need_split, rows_of, sample_columns, subgroup_columns
from healthfm.evaluate.writing import Writing, written_columns
from healthfm.models.model import Model
from healthfm.records import Document, Record
from healthfm.score.kinds.relations import RELATIONS
from healthfm.spelling import fold

FIELDS = ("head", "type", "tail")
MEANT = (
    "heads and tails agree in small letters with blanks of any width; where the text marks mentions of concepts, a name that is marked in it means "
    "its concepts"
)


@dataclass(frozen=True, kw_only=True)
class ListedRelations(Job):
    """Texts whose relations the model lists. ``words``: what the prompt calls each type."""

    writing: Writing
    seed: int
    words: Mapping[str, str]

    def compute(self, tool: Model, rows: range) -> pa.Table:
        part = self.records[rows.start : rows.stop]
        assert self.targets is not None
        outputs = self.writing.write(tool, rows, self.seed)
        read = [self.read(text, record) for text, record in zip(outputs, part, strict=True)]
        known = [None if row is None else [one for one in row if one["type"] in self.words] for row in read]
        others = [[one for one in row or () if one["type"] not in self.words] for row in read]
        return pa.table({
            **sample_columns(part), "target": pa.array(self.targets[rows.start : rows.stop], RELATIONS), **written_columns(outputs),
            "prediction": pa.array(known, RELATIONS), "other_types": pa.array(others, RELATIONS), **rows_of(self.columns, rows),
        })  # fmt: skip

    def read(self, output: str, record: Record) -> list[dict[str, str]] | None:
        """Return the relations that a written list means, None where it cannot be read. A type that was not asked for stays as it is written."""
        found = listed.entries(output, FIELDS)
        if found is None:
            return None
        known = {fold(name): one for one, word in self.words.items() for name in (word, one)}
        concepts = concepts_of(record)
        return [
            {"type": known.get(fold(kind), kind), "head": a, "tail": b}
            for head, kind, tail in found for a in concepts.get(plain(head), [plain(head)]) for b in concepts.get(plain(tail), [plain(tail)])
        ]  # fmt: skip


def plain(name: str) -> str:
    """Return a name as heads and tails are compared: in small letters, with single blanks."""
    return " ".join(name.casefold().split())


def concepts_of(record: Record) -> dict[str, list[str]]:
    """Return the concepts that each name marked in a text stands for there; {} where it marks none."""
    found: dict[str, dict[str, None]] = {}
    for span in record.spans if isinstance(record, Document) else ():
        if span.concepts:
            found.setdefault(plain(record.as_text[span.start : span.end]), {}).update(dict.fromkeys(span.concepts))
    return {name: list(concepts) for name, concepts in found.items()}


def relations_of(record: Document) -> list[dict[str, str]]:
    """Return a text's relations as tables have them: a span's number becomes its words, a name is plain, a marked concept stays as it is."""
    marked = {concept for span in record.spans for concept in span.concepts}

    def end(one: int | str) -> str:
        if isinstance(one, int):
            return plain(record.text[record.spans[one].start : record.spans[one].end])
        return one if one in marked else plain(one)

    return [{"type": one.type, "head": end(one.head), "tail": end(one.tail)} for one in record.relations]


def prepare(ask: Ask) -> Job:
    """Return the job of having a model list the relations that each text of a split states."""
    name, protocol = protocols.choose_protocol(ask.opened.card, ask.protocol, ask.task)
    request = ask.request
    if request.shots or protocol.shots:
        raise RunError(f"{protocol.task} is asked without solved examples")
    split = need_split(ask.opened, ask.split)
    every = [record for record in split if isinstance(record, Document)]
    classes = _types(ask, every, protocol.label)[1]
    records = [every[i] for i in protocols.sample(len(every), request.limit, request.seed)]
    targets = [relations_of(record) for record in records]
    if not any(targets):
        raise RunError(f"none of the {len(records)} texts that are asked states a relation; raise the limit")
    words = {one: protocol.words.get(one, one) for one in classes}
    writing = Writing.by_protocol(
        protocol, [protocols.render(one, protocol, labels=list(words.values())) for one in records]
    )
    return ListedRelations(
        task=protocol.task, name=f"{ask.opened.name}@{name}", records=list(records), total=len(every), writing=writing, seed=request.seed, words=words,
        classes=classes, targets=targets, columns=subgroup_columns(records, request.subgroups), parts=cut_parts([len(text) + writing.characters for text in writing.prompts]),
        content=[[record.id, text, target] for record, text, target in zip(records, writing.prompts, targets, strict=True)],
        asked={**writing.asked, "names": MEANT}, facts={"protocol": protocol.model_dump(), **writing.facts, "notices": list(split.notices)},
    )  # fmt: skip


def _types(ask: Ask, every: Sequence[Document], label: str | None) -> tuple[Labels | None, list[str]]:
    """Return the label space of a split's relations, if the card has one, and their types. Raises ``RunError``: no text states one."""
    stated = {one.type for record in every for one in record.relations}
    if not stated:
        raise RunError(f"{ask.opened.name}: no text of split '{ask.split}' states a relation; use another split")
    card: DatasetCard = ask.opened.card
    space = next((one for one in card.labels if label in (None, one.name) and stated <= set(one.classes)), None)
    return space, list(space.classes) if space is not None else sorted(stated)


# Two marked mentions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ScoredRelations(Job):
    """Texts with one relation between two marked mentions, by the likelihood of each type's name. ``names``: what is offered, ``classes`` what is evaluated of it."""

    prompts: Sequence[str]
    options: Sequence[str]
    names: Sequence[str]

    def compute(self, tool: Model, rows: range) -> pa.Table:
        assert self.targets is not None and self.classes is not None
        part, targets = self.records[rows.start : rows.stop], self.targets[rows.start : rows.stop]
        shares = shares_of(likelihoods(tool, self.prompts[rows.start : rows.stop], self.options))
        best = [self.names[int(row.argmax())] for row in shares]
        found = [[{**one[0], "type": kind}] if one else [] for kind, one in zip(best, map(pair_of, part), strict=True)]
        kept = [[one for one in row if one["type"] in self.classes] for row in found]
        return pa.table({
            **sample_columns(part), "target": pa.array(targets, RELATIONS), "prediction": pa.array(kept, RELATIONS), "said": pa.array(best, pa.string()),
            **chance_columns(self.names, shares), **rows_of(self.columns, rows),
        })  # fmt: skip


def pair_of(record: Record) -> list[dict[str, str]]:
    """Return the one relation of a text, in a list; [] of anything else."""
    return relations_of(record)[:1] if isinstance(record, Document) else []


def scored(ask: Ask) -> Job:
    """Return the job of asking what the relation of the two marked mentions of each text is.

    What counts as one type, and which types state none or are not evaluated, the card's label space says (``groups``, ``negative``).
    """
    name, protocol = protocols.choose_protocol(ask.opened.card, ask.protocol, ask.task)
    request = ask.request
    if request.shots or protocol.shots:
        raise RunError(f"{protocol.task} is asked without solved examples")
    split = need_split(ask.opened, ask.split)
    every = [record for record in split if isinstance(record, Document) and len(record.relations) == 1]
    space, types = _types(ask, every, protocol.label)
    group = {one: name for name, held in (space.groups if space is not None else {}).items() for one in held}
    negative = set(space.negative if space is not None else ())
    grouped = list(space.groups) if space is not None else []
    names = [*(grouped or types), *(one for one in types if grouped and one in negative)]
    evaluated = [one for one in names if one not in negative]
    records = [every[i] for i in protocols.sample(len(every), request.limit, request.seed)]
    targets = []
    for record in records:
        [only] = relations_of(record)
        kind = group.get(only["type"], only["type"])
        targets.append([{**only, "type": kind}] if kind in evaluated else [])
    if not any(targets):
        raise RunError(
            f"none of the {len(records)} texts that are asked has a relation that is evaluated; raise the limit"
        )
    words = [protocol.words.get(one, one) for one in names]
    prompts = [protocols.render(one, protocol, labels=words) for one in records]
    return ScoredRelations(
        task=protocol.task, name=f"{ask.opened.name}@{name}", records=list(records), total=len(every), classes=evaluated, names=names,
        prompts=prompts, options=[protocol.delimiter + one for one in words], targets=targets, columns=subgroup_columns(records, request.subgroups),
        parts=cut_parts([len(text) for text in prompts]),
        content=[prompts, words, [[r.id, target] for r, target in zip(records, targets, strict=True)]],
        facts={"protocol": protocol.model_dump(), "notices": [*split.notices, *_groups_told(group, evaluated, negative)]},
    )  # fmt: skip


def _groups_told(group: Mapping[str, str], evaluated: Sequence[str], negative: set[str]) -> list[str]:
    if not group and not negative:
        return []
    return [f"evaluated are {', '.join(evaluated)}, as the card groups the owner's types; other types count as none"]

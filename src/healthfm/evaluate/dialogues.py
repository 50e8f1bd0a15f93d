"""Consultations turn by turn: what a turn is for, what is mentioned in it, what the doctor says next, which findings the patient has.

A turn becomes a record of its own, which the ways of asking texts and questions then ask; turns of one consultation are one patient's, so that
intervals resample whole consultations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from healthfm.datasets.dataset import Dataset
from healthfm.errors import RunError
from healthfm.evaluate import classification, listed, protocols
from healthfm.evaluate.job import Ask, Job, cut_parts, left_out, need_split, rows_of, sample_columns, subgroup_columns
from healthfm.evaluate.writing import Writing, written_columns
from healthfm.models.model import Model
from healthfm.records import QA, Conversation, Document, Mark, Message, Record

BEFORE = 6  # turns before the one that is asked about
DOCTOR = "assistant"
SPEAKER = {"user": "patient", "assistant": "doctor", "system": "instruction"}
STATUS = "symptom_type"  # the label space of findings' status
NAMES_AT_LEAST = 2  # characters of a name that is looked for in an answer


def said_before(turns: Sequence[Message]) -> str:
    """Return turns as text, a line each, with who says it."""
    return "\n".join(f"{SPEAKER.get(turn.role, turn.role)}: {turn.text}" for turn in turns)


def turns_of(records: Iterator[Record]) -> Iterator[Document]:
    """Yield each turn of consultations as a text with its mentions and labels; the turns before it are in ``meta["context"]``.

    What a turn's owner withholds of its mentions is the label "entities" (``MISSING``).
    """
    for record in records:
        if not isinstance(record, Conversation):
            continue
        names = record.meta.get("sentences") or [str(number) for number in range(1, len(record.turns) + 1)]
        for number, turn in enumerate(record.turns):
            yield Document(
                id=f"{record.id}-{names[number]}", split=record.split, patient=record.patient or record.id, site=record.site, text=turn.text,
                spans=turn.spans, labels=turn.labels,
                meta={"context": said_before(record.turns[max(0, number - BEFORE) : number]), "speaker": SPEAKER.get(turn.role, turn.role)},
            )  # fmt: skip


def by_turn(opened: Dataset) -> Dataset:
    """Return a dataset of consultations as one of turns; any other as it is."""
    if opened.card.record != Conversation.__name__:
        return opened

    def read(split: str, problems: Any) -> Iterator[Record]:
        yield from turns_of(opened._read(split, problems))

    card = opened.card.model_copy(update={"counts": {}})
    return Dataset(
        card, read, opened.splits, variant=opened.variant, protocol=opened.protocol, root=opened.root, split=opened.split, on_error=opened.on_error,
        path=opened.path, columns=opened.columns, remarks=opened.remarks,
    )  # fmt: skip


def acts(ask: Ask) -> Job:
    """Return the job of asking what each turn of a consultation is for, by the likelihood of the classes' names."""
    return classification.prepare(replace(ask, opened=by_turn(ask.opened)))


# What the doctor says next ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Replies(Job):
    """Doctors' turns that the model writes, given those before. ``names``: the entities that are looked for in what it says."""

    writing: Writing
    seed: int
    names: Sequence[str]

    def compute(self, tool: Model, rows: range) -> pa.Table:
        part = self.records[rows.start : rows.stop]
        assert self.targets is not None
        outputs = self.writing.write(tool, rows, self.seed)
        strings = pa.list_(pa.string())
        entities = {
            "entities": pa.array([self.named(row[0]) for row in self.targets[rows.start : rows.stop]], strings),
            "entities_found": pa.array([self.named(text) for text in outputs], strings),
        }  # fmt: skip
        return pa.table({
            **sample_columns(part), "target": pa.array([list(one) for one in self.targets[rows.start : rows.stop]], strings), **written_columns(outputs),
            "prediction": pa.array([text.strip() or None for text in outputs], pa.string()), **(entities if self.names else {}),
            **rows_of(self.columns, rows),
        })  # fmt: skip

    def named(self, text: str) -> list[str]:
        """Return the names that a text holds, as MedDG's own metric looks for them: anywhere in it."""
        return [one for one in self.names if one in text]


def replies(ask: Ask) -> Job:
    """Return the job of having the model write each of the doctor's turns that a patient's turn comes before."""
    name, protocol = protocols.choose_protocol(ask.opened.card, ask.protocol, ask.task)
    request = ask.request
    if request.shots or protocol.shots:
        raise RunError(f"{protocol.task} is asked without solved examples")
    split = need_split(ask.opened, ask.split)
    talks = [record for record in split if isinstance(record, Conversation)]
    asked = [one for record in talks for one in turns_to_answer(record)]
    if not asked:
        raise RunError(
            f"{ask.opened.name}: no consultation of split '{ask.split}' has a doctor's turn behind a patient's"
        )
    records: list[Record] = [asked[i] for i in protocols.sample(len(asked), request.limit, request.seed)]
    writing = Writing.by_protocol(protocol, [protocols.render(record, protocol) for record in records])
    targets = [list(record.answers) for record in records]  # type: ignore[attr-defined]
    names = sorted({one for record in talks for turn in record.turns for one in _names(turn)})
    return Replies(
        task=protocol.task, name=f"{ask.opened.name}@{name}", records=records, total=len(asked), writing=writing, seed=request.seed, names=names,
        targets=targets, columns=subgroup_columns(records, request.subgroups), parts=cut_parts([len(text) + writing.characters for text in writing.prompts]),
        content=[[record.id, text, target] for record, text, target in zip(records, writing.prompts, targets, strict=True)],
        asked={**writing.asked, "turns_before": BEFORE}, facts={"protocol": protocol.model_dump(), **writing.facts, "notices": list(split.notices)},
    )  # fmt: skip


def turns_to_answer(record: Conversation) -> Iterator[QA]:
    for number, turn in enumerate(record.turns):
        if number and turn.role == DOCTOR and record.turns[number - 1].role != DOCTOR and turn.text.strip():
            before = record.turns[max(0, number - BEFORE) : number]
            yield QA(
                id=f"{record.id}-{number + 1}", split=record.split, patient=record.patient or record.id, site=record.site,
                context=said_before(before[:-1]), question=before[-1].text, answers=(turn.text,),
            )  # fmt: skip


def _names(turn: Message) -> Iterator[str]:
    """Yield the entities that are said of a turn, by their names: labels that are sets, and the concepts or words of its mentions."""
    for label in turn.labels.values():
        if isinstance(label, frozenset):
            yield from (one for one in label if len(one) >= NAMES_AT_LEAST)
    for span in turn.spans:
        yield from span.concepts or (turn.text[span.start : span.end],)


# Which findings the patient has -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Findings(Job):
    """Consultations whose findings the model lists, each with its status. ``codes``: what the owner's codes for a status mean."""

    writing: Writing
    seed: int
    words: Sequence[str]
    codes: Mapping[str, str]

    def compute(self, tool: Model, rows: range) -> pa.Table:
        part = self.records[rows.start : rows.stop]
        assert self.targets is not None
        outputs = self.writing.write(tool, rows, self.seed)
        read = [listed.entries(text, ("finding", "status")) for text in outputs]
        made = [None if row is None else [joined(*one) for one in row] for row in read]
        strings = pa.list_(pa.string())
        return pa.table({
            **sample_columns(part), "target": pa.array([list(one) for one in self.targets[rows.start : rows.stop]], strings), **written_columns(outputs),
            "prediction": pa.array(made, strings), **rows_of(self.columns, rows),
        })  # fmt: skip


def joined(finding: str, status: str) -> str:
    """Return a finding and its status as one name."""
    return f"{finding.strip()}: {status.strip().lower()}"


def findings(ask: Ask) -> Job:
    """Return the job of having the model list the findings of each consultation with their status (IMCS-21's symptom recognition).

    A consultation's findings are those its owner states of it (IMCS-21: ``implicit_info``), else the concepts of its turns' mentions that have a
    status; where turns differ, the last says it.
    """
    name, protocol = protocols.choose_protocol(ask.opened.card, ask.protocol, ask.task)
    request = ask.request
    split = need_split(ask.opened, ask.split)
    talks = [record for record in split if isinstance(record, Conversation)]
    known = [
        record for record in talks if not any(isinstance(turn.labels.get("entities"), Mark) for turn in record.turns)
    ]
    spaces = [one for one in ask.opened.card.labels if one.codes]
    codes = {code: name for space in spaces if space.name == STATUS for name, code in space.codes.items()}
    if not any(findings_of(record, codes) for record in known):
        raise RunError(
            f"{ask.opened.name}: no consultation of split '{ask.split}' has a finding with a status; use another split"
        )
    records: list[Record] = [known[i] for i in protocols.sample(len(known), request.limit, request.seed)]
    targets = [[joined(*one) for one in findings_of(record, codes).items()] for record in records]  # type: ignore[arg-type]
    every = {status for record in known for status in findings_of(record, codes).values()}
    words = next((list(one.classes) for one in ask.opened.card.labels if every <= set(one.classes)), sorted(every))
    prompts = [protocols.render(one, protocol, text=said_before(one.turns), labels=words) for one in records]  # type: ignore[attr-defined]
    writing = Writing.by_protocol(protocol, prompts)
    lost = left_out(
        [record for record in talks if record not in known],
        "consultation withholds its findings",
        "consultations withhold their findings",
    )
    return Findings(
        task=protocol.task, name=f"{ask.opened.name}@{name}", records=records, total=len(known), writing=writing, seed=request.seed, words=words, codes=codes,
        targets=targets, columns=subgroup_columns(records, request.subgroups), parts=cut_parts([len(text) + writing.characters for text in writing.prompts]),
        content=[[record.id, text, target] for record, text, target in zip(records, writing.prompts, targets, strict=True)],
        asked=writing.asked, facts={"protocol": protocol.model_dump(), **writing.facts, "notices": [*split.notices, *lost]},
    )  # fmt: skip


def findings_of(record: Conversation, codes: Mapping[str, str]) -> dict[str, str]:
    """Return a consultation's findings with their status; ``codes``: what the owner's codes for a status mean."""
    whole = record.meta.get("implicit_info")
    stated = whole.get("Symptom") if isinstance(whole, Mapping) else None
    if isinstance(stated, Mapping):
        return {str(name): codes.get(str(code), str(code)) for name, code in stated.items()}
    return {
        concept: span.status for turn in record.turns for span in turn.spans if span.status is not None for concept in span.concepts
    }  # fmt: skip

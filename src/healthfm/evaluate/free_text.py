"""Questions answered in free text, beside the answers that the dataset accepts. What is right is for a judge to say."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from healthfm.errors import RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.job import Ask, Job, cut_parts, left_out, need_split, rows_of, sample_columns, subgroup_columns
from healthfm.evaluate.writing import Writing, written_columns
from healthfm.models.model import Model
from healthfm.records import QA, MultipleChoice, Record

NO_JUDGE = (
    "no judge looked at the answers: overlap with the accepted ones says how alike the words are, not whether an answer is "
    "right (--judge)"
)


@dataclass(frozen=True, kw_only=True)
class FreeText(Job):
    """Questions that the model answers in its own words."""

    writing: Writing
    seed: int

    def compute(self, tool: Model, rows: range) -> pa.Table:
        part = self.records[rows.start : rows.stop]
        outputs = self.writing.write(tool, rows, self.seed)
        return pa.table({
            **sample_columns(part, self.targets[rows.start : rows.stop] if self.targets is not None else None),
            **written_columns(outputs),
            "prediction": pa.array([text.strip() or None for text in outputs], pa.string()),
            **rows_of(self.columns, rows),
        })  # fmt: skip


def as_question(record: Record) -> QA | None:
    """Return a question without its options, the right one's text being what is accepted; None of what is no question."""
    if isinstance(record, MultipleChoice):
        answers = (record.options[record.answer],) if isinstance(record.answer, str) else ()
        common = {
            one: getattr(record, one)
            for one in ("id", "split", "patient", "site", "labels", "meta", "media", "question", "context")
        }
        return QA(**common, answers=answers)
    return record if isinstance(record, QA) else None


def prepare(ask: Ask) -> Job:
    """Return the job of having a model answer a split's questions. Questions without an accepted answer are left out, and counted."""
    name, protocol = protocols.choose_protocol(ask.opened.card, ask.protocol, ask.task)
    request = ask.request
    if request.shots or protocol.shots:
        raise RunError("free-text answers are asked without solved examples")
    split = need_split(ask.opened, ask.split)
    every = [one for one in map(as_question, split) if one is not None]
    solved = [record for record in every if record.answers]
    if not solved:
        raise RunError(
            f"{ask.opened.name}: no question of split '{ask.split}' has an answer to compare with; use another split"
        )
    records = [solved[i] for i in protocols.sample(len(solved), request.limit, request.seed)]
    writing = Writing.by_protocol(protocol, [protocols.render(record, protocol) for record in records])
    lost = left_out(
        [record for record in every if not record.answers],
        "question has no accepted answer",
        "questions have no accepted answer",
    )
    return FreeText(
        task=protocol.task, name=f"{ask.opened.name}@{name}", records=records, total=len(solved), writing=writing, seed=request.seed,
        targets=[record.answers for record in records], columns=subgroup_columns(records, request.subgroups),
        parts=cut_parts([len(text) + writing.characters for text in writing.prompts]),
        content=[[record.id, text, record.answers] for record, text in zip(records, writing.prompts, strict=True)],
        asked=writing.asked, facts={"protocol": protocol.model_dump(), **writing.facts, "notices": [*split.notices, *lost]},
    )  # fmt: skip

"""Questions answered in free text, beside the answers that the dataset accepts. What is right is for a judge to say."""

from __future__ import annotations

import pyarrow as pa

from healthfm.errors import RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.job import Ask, Job, cut_parts, left_out, need_split, rows_of, sample_columns, subgroup_columns
from healthfm.evaluate.writing import Writing, written_columns
from healthfm.models.model import Model
from healthfm.records import QA

NO_JUDGE = (
    "no judge looked at the answers: overlap with the accepted ones says how alike the words are, not whether an answer is "
    "right (--judge)"
)


def prepare(ask: Ask) -> Job:
    """Return the job of having a model answer a split's questions. Questions without an accepted answer are left out, and counted."""
    name, protocol = protocols.choose_protocol(ask.opened.card, ask.protocol, ask.task)
    if ask.shots or protocol.shots:
        raise RunError("free-text answers are asked without solved examples")
    split = need_split(ask.opened, ask.split)
    every = [record for record in split if isinstance(record, QA)]
    solved = [record for record in every if record.answers]
    if not solved:
        raise RunError(
            f"{ask.opened.name}: no question of split '{ask.split}' has an answer to compare with; use another split"
        )
    records = [solved[i] for i in protocols.sample(len(solved), ask.limit, ask.seed)]
    writing = Writing.by_protocol(protocol, [protocols.render(record, protocol) for record in records])
    columns = subgroup_columns(records, ask.subgroups)
    lost = left_out([record for record in every if not record.answers], "questions have no accepted answer")

    def compute(model: Model, rows: range) -> pa.Table:
        part = records[rows.start : rows.stop]
        outputs = writing.write(model, rows, ask.seed)
        return pa.table({
            **sample_columns(part, [record.answers for record in part]),
            **written_columns(outputs),
            "prediction": pa.array([text.strip() or None for text in outputs], pa.string()),
            **rows_of(columns, rows),
        })  # fmt: skip

    return Job(
        task="free-text", name=f"{ask.opened.name}@{name}", verb="generate", records=records, total=len(solved),
        targets=[record.answers for record in records], parts=cut_parts([len(text) + writing.characters for text in writing.prompts]), compute=compute,
        content=[[record.id, text, record.answers] for record, text in zip(records, writing.prompts, strict=True)],
        asked=writing.asked,
        facts={
            "protocol": protocol.model_dump(), **writing.facts,
            "notices": [*split.notices, *lost],
        },
    )  # fmt: skip

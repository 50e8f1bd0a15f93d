"""Questions with options, scored by likelihood or answered in generated text: multiple choice, and yes/no/maybe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.cards.schema import Protocol
from healthfm.datasets.dataset import Dataset, split_name
from healthfm.errors import RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.job import Ask, Job, cut_parts, left_out, need_split, rows_of, sample_columns, subgroup_columns
from healthfm.evaluate.protocols import Item
from healthfm.evaluate.writing import Writing, own_prompt, written_columns
from healthfm.models.model import Model
from healthfm.records import MultipleChoice, Record, unit_of


@dataclass(frozen=True, kw_only=True)
class Scored(Job):
    """Questions whose options are scored by their likelihood."""

    items: Sequence[Item]

    def compute(self, tool: Model, rows: range) -> pa.Table:
        part = self.items[rows.start : rows.stop]
        scores = tool.score([item.prompt for item in part], [item.continuations for item in part])
        return part_table(part, scores, rows_of(self.columns, rows))


@dataclass(frozen=True, kw_only=True)
class Written(Job):
    """Questions whose answer the model writes, read by a rule; what the rule cannot read is no answer."""

    items: Sequence[Item]
    writing: Writing
    seed: int

    def compute(self, tool: Model, rows: range) -> pa.Table:
        part = self.items[rows.start : rows.stop]
        outputs = self.writing.write(tool, rows, self.seed)
        read = [self.writing.read(text, item.record.options) for text, item in zip(outputs, part, strict=True)]
        return pa.table({
            **sample_columns([item.record for item in part], [item.target for item in part]),
            **written_columns(outputs),
            "prediction": pa.array(read, pa.string()),
            **rows_of(self.columns, rows),
        })  # fmt: skip


def scored(ask: Ask) -> Job:
    """Return the job of asking a split's questions by a protocol of the card, each option scored by its likelihood."""
    asked = _asked(ask)
    return Scored(
        items=asked.items, **_common(ask, asked),
        content=[[item.record.id, item.prompt, item.continuations, item.target] for item in asked.items],
        parts=cut_parts([len(item.prompt) + sum(map(len, item.continuations)) for item in asked.items]),
    )  # fmt: skip


def written(ask: Ask) -> Job:
    """Return the job of having the model write its answer.

    The prompt is the model card's own where one of its prompts has a rule and fits, else the protocol's template.
    """
    assert ask.task is not None
    own = own_prompt(ask.card, ask.task)
    if own is not None and ask.request.shots:
        raise RunError(f"{ask.card.slug} is asked by its card's own prompt '{own[0]}', which takes no examples")
    asked = _asked(ask, no_shots=own is not None)
    if own is not None:
        writing = Writing.by_card(*own, [item.record for item in asked.items])
    else:
        writing = Writing.by_protocol(asked.protocol, [item.prompt for item in asked.items])
    return Written(
        items=asked.items, writing=writing, seed=ask.request.seed, **_common(ask, asked, writing),
        content=[[item.record.id, text, item.target] for item, text in zip(asked.items, writing.prompts, strict=True)],
        parts=cut_parts([len(text) + writing.characters for text in writing.prompts]),
    )  # fmt: skip


@dataclass(frozen=True)
class _Asked:
    """The questions of a split: the protocol, the solved examples, every item, those a limit keeps, their subgroup columns."""

    name: str
    protocol: Protocol
    shots: Sequence[MultipleChoice]
    every: list[Item]
    items: list[Item]
    columns: Mapping[str, pa.Array]
    notices: list[str]


def _asked(ask: Ask, no_shots: bool = False) -> _Asked:
    name, protocol = protocols.choose_protocol(ask.opened.card, ask.protocol, ask.task)
    count = 0 if no_shots else protocol.shots if ask.request.shots is None else ask.request.shots
    split = need_split(ask.opened, ask.split)
    whole = list(split)
    drawn, records = _draw_shots(ask, whole, count)
    solved = [r for r in records if not isinstance(r, MultipleChoice) or isinstance(r.answer, str)]
    lost = _lost(records) if solved else []
    every = protocols.make_items(
        solved or records, protocol, drawn
    )  # says so where the whole split withholds its answers
    items = _limited(every, whole if len(records) < len(whole) else None, ask)
    columns = subgroup_columns([item.record for item in items], ask.request.subgroups)
    return _Asked(name, protocol, drawn, every, items, columns, [*split.notices, *lost])


def _lost(records: list[Record]) -> list[str]:
    """Return the notices that name the questions without one right answer, which no question of one answer can ask."""
    asked = [r for r in records if isinstance(r, MultipleChoice)]
    none = left_out([r for r in asked if r.answer is None], "question has no answer", "questions have no answer")
    return none + left_out(
        [r for r in asked if isinstance(r.answer, tuple)],
        "question has several right answers",
        "questions have several right answers",
    )


def _limited(every: list[Item], whole: Sequence[Record] | None, ask: Ask) -> list[Item]:
    """Return the items that a limit keeps. Where examples were taken out of the ``whole`` split, they are the first in a seeded order
    of all of it, so that runs with other numbers of examples are asked the same questions.
    """
    if whole is None or ask.request.limit is None or not 1 <= ask.request.limit < len(every):
        return [every[i] for i in protocols.sample(len(every), ask.request.limit, ask.request.seed)]
    rank = {whole[place].id: i for i, place in enumerate(protocols.order(len(whole), ask.request.seed))}
    kept = {item.record.id for item in sorted(every, key=lambda item: rank[item.record.id])[: ask.request.limit]}
    return [item for item in every if item.record.id in kept]


def _common(ask: Ask, asked: _Asked, writing: Writing | None = None) -> dict[str, Any]:
    """Return the fields that both ways of asking questions have."""
    count, request = len(asked.shots), ask.request
    return {
        "task": asked.protocol.task, "name": f"{ask.opened.name}@{asked.name}", "records": [item.record for item in asked.items],
        "total": len(asked.every), "every_target": [item.target for item in asked.every], "targets": [item.target for item in asked.items],
        "classes": _classes(asked.every, ask.opened), "columns": asked.columns,
        "asked": {
            "shots": count, "shots_from": request.shots_from if count else None, "shots_order": request.shots_order if count else None,
            "shot_ids": [shot.id for shot in asked.shots], **(writing.asked if writing is not None else {}),
        },
        "facts": {"protocol": asked.protocol.model_dump(), "notices": asked.notices, **(writing.facts if writing is not None else {})},
    }  # fmt: skip


def part_table(items: Sequence[Item], scores: Sequence[Any], columns: Mapping[str, pa.Array]) -> pa.Table:
    """Return one part of the predictions, one row an item."""
    likelihoods = [np.asarray(row, dtype=np.float64) for row in scores]
    if len(likelihoods) != len(items) or any(
        len(row) != len(item.keys) for row, item in zip(likelihoods, items, strict=True)
    ):
        raise RunError("the model returned another number of scores than there were options")
    broken = [item.record.id for item, row in zip(items, likelihoods, strict=True) if not np.isfinite(row).all()]
    if broken:
        raise RunError(f"the model returned NaN or infinite scores for {len(broken)} samples: {', '.join(broken[:5])}")
    soft = [np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in likelihoods]
    best = [item.keys[int(row.argmax())] for item, row in zip(items, likelihoods, strict=True)]
    strings, numbers = pa.list_(pa.string()), pa.list_(pa.float64())
    return pa.table({
        **sample_columns([item.record for item in items], [item.target for item in items]),
        "options": pa.array([list(item.keys) for item in items], strings),
        "log_likelihoods": pa.array([row.tolist() for row in likelihoods], numbers),
        "option_lengths": pa.array([item.lengths for item in items], pa.list_(pa.int64())),
        "probabilities": pa.array([row.tolist() for row in soft], numbers),
        "output": pa.array([None] * len(items), pa.string()),
        "prediction": pa.array(best, pa.string()),
        **columns,
    })  # fmt: skip


def _draw_shots(ask: Ask, records: list[Record], count: int) -> tuple[list[MultipleChoice], list[Record]]:
    """Return the solved examples, and the records left to evaluate (whole patients leave with their example)."""
    if count == 0:
        return [], records
    opened, split = ask.opened, ask.split
    source = split_name(opened.card, ask.request.shots_from)
    if source not in opened.splits:
        raise RunError(
            f"{opened.name}: {count} examples were asked from split '{source}', which is absent in {opened.root} "
            f"(present: {', '.join(opened.splits)}). Get it, or carve: shots_from='{split}' (--shots-from {split}) takes {count} examples, with all "
            f"records of their patients, out of '{split}' and evaluates the rest"
        )
    pool = [
        r
        for r in (records if source == split else opened[source])
        if isinstance(r, MultipleChoice) and isinstance(r.answer, str)
    ]
    if len(pool) < count:
        raise RunError(f"{opened.name}: split '{source}' has {len(pool)} solved questions, {count} examples were asked")
    first = ask.request.shots_order == "first"
    picks = range(count) if first else np.random.default_rng(ask.request.seed).permutation(len(pool))[:count].tolist()
    drawn = [pool[i] for i in picks]
    if source != split:
        shared = {r.patient for r in drawn if r.patient is not None} & {r.patient for r in records}
        if shared:
            raise RunError(f"{len(shared)} patients of the examples are evaluated too; examples so drawn would leak")
        return drawn, records
    gone = set(map(unit_of, drawn))
    return drawn, [r for r in records if unit_of(r) not in gone]


def _classes(items: Sequence[Item], opened: Dataset) -> list[str] | None:
    used = {key for item in items for key in item.keys}
    if any(item.target not in used for item in items):
        return None
    stated = next((label.classes for label in opened.card.labels if set(label.classes) >= used), None)
    return list(stated) if stated else sorted(used)

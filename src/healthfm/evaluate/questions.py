"""Questions with options, scored by likelihood: multiple choice, and yes/no/maybe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.datasets.dataset import Dataset, split_name
from healthfm.errors import RunError
from healthfm.evaluate import tasks
from healthfm.evaluate.job import Job, cut_parts, need_split, sample_columns, subgroup_columns
from healthfm.models.model import Model
from healthfm.records import MultipleChoice, Record


def prepare(
    opened: Dataset, protocol_name: str | None, task: str | None, split: str, *, shots: int | None, shots_from: str,
    shots_order: str, subgroups: Sequence[str] | None, seed: int, limit: int | None,
) -> Job:  # fmt: skip
    """Return the job of asking a split's questions by a protocol of the card (see ``healthfm.evaluate``)."""
    name, protocol = tasks.choose_protocol(opened.card, protocol_name, task)
    count = protocol.shots if shots is None else shots
    asked = need_split(opened, split)
    records = list(asked)
    drawn, records = _draw_shots(opened, records, split, count, shots_from, shots_order, seed)
    every = tasks.make_items(records, protocol, drawn)
    items = [every[i] for i in tasks.sample(len(every), limit, seed)]
    columns = subgroup_columns([item.record for item in items], subgroups)

    def compute(model: Model, rows: range) -> pa.Table:
        part = items[rows.start : rows.stop]
        scores = model.score([item.prompt for item in part], [item.continuations for item in part])
        return part_table(part, scores, {k: v.slice(rows.start, len(rows)) for k, v in columns.items()})

    return Job(
        task=protocol.task, name=f"{opened.name}@{name}", verb="score", records=[item.record for item in items],
        targets=[item.target for item in items], every_target=[item.target for item in every], classes=_classes(every, opened),
        parts=cut_parts([len(item.prompt) + sum(map(len, item.continuations)) for item in items]), compute=compute,
        content=[[item.record.id, item.prompt, item.continuations, item.target] for item in items],
        asked={
            "shots": count, "shots_from": shots_from if count else None, "shots_order": shots_order if count else None,
            "shot_ids": [shot.id for shot in drawn],
        },
        facts={"protocol": protocol.model_dump(), "notices": list(asked.notices)},
    )  # fmt: skip


def part_table(items: Sequence[tasks.Item], scores: Sequence[Any], columns: Mapping[str, pa.Array]) -> pa.Table:
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
        "probabilities": pa.array([row.tolist() for row in soft], numbers),
        "output": pa.array([None] * len(items), pa.string()),
        "prediction": pa.array(best, pa.string()),
        **columns,
    })  # fmt: skip


def _draw_shots(
    opened: Dataset, records: list[Record], split: str, count: int, shots_from: str, order: str, seed: int,
) -> tuple[list[MultipleChoice], list[Record]]:  # fmt: skip
    """Return the solved examples, and the records left to evaluate (whole patients leave with their example)."""
    if count == 0:
        return [], records
    source = split_name(opened.card, shots_from)
    if source not in opened.splits:
        raise RunError(
            f"{opened.name}: {count} examples were asked from split '{source}', which is absent in {opened.root} "
            f"(present: {', '.join(opened.splits)}). Get it, or carve: shots_from='{split}' (--shots-from {split}) takes {count} examples, with all "
            f"records of their patients, out of '{split}' and evaluates the rest"
        )
    pool = [
        r
        for r in (records if source == split else opened[source])
        if isinstance(r, MultipleChoice) and r.answer is not None
    ]
    if len(pool) < count:
        raise RunError(f"{opened.name}: split '{source}' has {len(pool)} solved questions, {count} examples were asked")
    picks = range(count) if order == "first" else np.random.default_rng(seed).permutation(len(pool))[:count].tolist()
    drawn = [pool[i] for i in picks]
    if source != split:
        return drawn, records
    gone = {(shot.patient or shot.id) for shot in drawn}
    return drawn, [r for r in records if (r.patient or r.id) not in gone]


def _classes(items: Sequence[tasks.Item], opened: Dataset) -> list[str] | None:
    used = {key for item in items for key in item.keys}
    if any(item.target not in used for item in items):
        return None
    stated = next((label.classes for label in opened.card.labels if set(label.classes) >= used), None)
    return list(stated) if stated else sorted(used)

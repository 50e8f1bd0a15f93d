"""What an evaluation is made of, whatever its task: samples with targets, parts that need the model, predictions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from healthfm.datasets.dataset import Dataset
from healthfm.errors import RunError
from healthfm.models.model import Model
from healthfm.records import Record, digest

CHARACTERS_PER_PART = 12_000


@dataclass(frozen=True)
class Job:
    """A prepared evaluation. Nothing in it needs the model until ``compute`` is called with one.

    ``records`` and ``targets`` are the evaluated samples, ``every_target`` those of the whole split. ``compute`` makes one
    part (a range of ``parts``) with a model that has ``verb``; parts go to the subfolder ``room``. Where that is not
    ``predictions``, ``finish`` makes the predictions of all parts together. ``asked`` is what the request adds for this task,
    ``content`` everything the model will be shown, ``facts`` what else the run should say.
    """

    task: str
    name: str
    verb: str
    records: Sequence[Record]
    targets: Sequence[str]
    every_target: Sequence[str]
    classes: list[str] | None
    parts: list[list[int]]
    compute: Callable[[Model, range], pa.Table]
    content: Any
    asked: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    room: str = "predictions"
    finish: Callable[[pa.Table], tuple[pa.Table, Mapping[str, Any]]] | None = None

    @property
    def plan(self) -> dict[str, Any]:
        """The batch plan: a pure function of the items and of the budget it records."""
        items = hashlib.sha256(json.dumps(self.content).encode()).hexdigest()[:16]
        parts = (
            {"parts": self.parts} if self.finish is None else {"parts": [[0, len(self.records)]], self.room: self.parts}
        )
        return {"characters_per_part": CHARACTERS_PER_PART, **parts, "items": items}


def cut_parts(lengths: Sequence[int]) -> list[list[int]]:
    """Return [start, end) ranges of consecutive items whose characters fit the budget of a part."""
    parts: list[list[int]] = []
    size = 0
    for i, length in enumerate(lengths):
        if not parts or size + length > CHARACTERS_PER_PART:
            parts.append([i, i + 1])
            size = length
        else:
            parts[-1][1] = i + 1
            size += length
    return parts


def sample_columns(records: Sequence[Record], targets: Sequence[str]) -> dict[str, pa.Array]:
    """Return the columns every table of predictions has: id, input digest, target, patient, site."""
    return {
        "id": pa.array([record.id for record in records], pa.string()),
        "input": pa.array([digest(record) for record in records], pa.string()),
        "target": pa.array(list(targets), pa.string()),
        "patient": pa.array([record.patient for record in records], pa.string()),
        "site": pa.array([record.site for record in records], pa.string()),
    }


def subgroup_columns(records: Sequence[Record], names: Sequence[str] | None) -> dict[str, pa.Array]:
    """Return a ``subgroup.NAME`` column for each name: a record field, a label, or a key of ``meta``."""
    columns: dict[str, pa.Array] = {}
    for name in names or ():
        values = [getattr(r, name, None) or r.labels.get(name, r.meta.get(name)) for r in records]
        if all(value is None for value in values):
            known = sorted({"site", *(key for r in records[:50] for key in (*r.meta, *r.labels))})
            raise RunError(f"no record has '{name}' to make subgroups by (there are: {', '.join(known)})")
        columns[f"subgroup.{name}"] = pa.array([None if value is None else str(value) for value in values], pa.string())
    return columns


def need_split(opened: Dataset, split: str) -> Dataset:
    """Return the dataset with a split selected. Raises ``RunError`` naming the absent split's official files."""
    if split in opened.splits:
        return opened[split]
    files = ", ".join(
        f.path.replace("{split}", opened.card.splits.get(split, split))
        for f in opened.card.files
        if f.variant in (None, opened.variant)
    )
    wanted = f" (official file: {files})" if split in opened.card.splits else ""
    raise RunError(
        f"{opened.name}: split '{split}' is absent in {opened.root}{wanted}; present: {', '.join(opened.splits)}"
    )

"""What an evaluation is made of, whatever its task: samples with targets, parts that need the model, predictions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from healthfm.cards.schema import ModelCard
from healthfm.datasets.dataset import Dataset
from healthfm.errors import RunError
from healthfm.models.model import Model
from healthfm.models.remote.client import Endpoint
from healthfm.records import Mark, Record, Visual
from healthfm.spelling import counted

CHARACTERS_PER_PART = 12_000
SETTLED = "settled"  # the metadata of a part that says what the run goes by from then on
NAMED = 5  # how many records a notice names


@dataclass(frozen=True, kw_only=True)
class Request:
    """What ``evaluate`` was asked: its arguments, see there."""

    model: str | Model
    dataset: str | Path | Dataset
    root: Path | str | None = None
    task: str | None = None
    split: str = "test"
    shots: int | None = None
    shots_from: str = "train"
    shots_order: str = "first"
    subgroups: Sequence[str] | None = None
    seed: int = 0
    limit: int | None = None
    output: Path | str | None = None
    resume: bool = True
    weights: Path | str | None = None
    device: str = "auto"
    dtype: str = "auto"
    endpoint: str | Endpoint | None = None
    allow_remote: str | Sequence[str] | None = None
    judge: str | Model | None = None
    human: Mapping[str, float] | Path | str | None = None
    window: tuple[float, float] | None = None
    baseline: bool = True
    split_by: str | None = None
    label: str | None = None
    uncertain: str = "ignore"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request with its dataset open and its model's card read. ``task``, ``protocol`` and ``split`` are those that are meant."""

    request: Request
    opened: Dataset
    card: ModelCard
    task: str | None
    protocol: str | None
    split: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """A prepared evaluation: plain fields that another process could be given. A class a way of asking gives them their methods.

    ``records`` are the evaluated samples, ``total`` how many the whole split has; ``every_target`` are the classes of all of
    those, where the task is to name one, ``targets`` what is right for ``records``. ``parts`` are ranges of what is computed; they go
    to the subfolder ``room``. Where that is not ``predictions``, ``finish`` makes the predictions of all parts together, or a
    ``Review`` those of each part. ``asked`` is what the request adds for this task, ``content`` everything the model will be shown,
    ``facts`` what else the run should say, ``columns`` the subgroups of ``records``.
    """

    task: str
    name: str
    records: Sequence[Record]
    total: int
    parts: list[list[int]]
    content: Any
    every_target: Sequence[str] | None = None
    targets: Sequence[Any] | None = None
    classes: list[str] | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, pa.Array] = field(default_factory=dict)
    room: str = "predictions"
    whole: ClassVar[bool] = False  # ``finish`` makes one table of all parts

    @property
    def asks_again(self) -> bool:
        """Whether the model is needed once more when all parts are there: ``finish_with`` is then called in place of ``finish``."""
        return False

    def tool(self, model: Model, settled: Mapping[str, Any] | None) -> Any:
        """Return what ``compute`` works with, made once for all parts. ``settled``: what parts before were ``SETTLED`` on, if any."""
        return model

    def compute(self, tool: Any, rows: range) -> pa.Table:
        """Return one part. Its metadata may hold, as ``SETTLED``, what the run goes by from then on, also when it is resumed."""
        raise NotImplementedError

    def finish(self, table: pa.Table, settled: Mapping[str, Any]) -> Finished:
        """Return the predictions, made of all parts together."""
        raise NotImplementedError

    def finish_with(self, tool: Any, table: pa.Table, settled: Mapping[str, Any]) -> Finished:
        """Return the predictions, made of all parts together with what ``compute`` works with."""
        raise NotImplementedError

    @property
    def plan(self) -> dict[str, Any]:
        """The batch plan: a pure function of the items and of the budget it records."""
        items = hashlib.sha256(json.dumps(self.content).encode()).hexdigest()[:16]
        whole = [[0, len(self.records)]] if self.whole else self.parts
        rooms = {"parts": whole, **({self.room: self.parts} if self.room != "predictions" else {})}
        return {"characters_per_part": CHARACTERS_PER_PART, **rooms, "items": items}


@dataclass(frozen=True)
class Finished:
    """The predictions of a whole run, ``how`` they were made, and what else the run folder keeps: tables by their rooms."""

    table: pa.Table
    how: Mapping[str, Any]
    beside: Mapping[str, pa.Table] = field(default_factory=dict)


@dataclass(frozen=True)
class Review:
    """A second model's look at every answer: ``compute`` gives a part of answers with its columns added."""

    def load(self) -> Model:
        """Return that model."""
        raise NotImplementedError

    def compute(self, model: Model, answers: pa.Table, records: Sequence[Record]) -> pa.Table:
        """Return the answers to some records, judged."""
        raise NotImplementedError


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


def sample_columns(
    records: Sequence[Record], targets: Sequence[str | float | Sequence[str]] | None = None,
    inputs: Sequence[str | None] | None = None,
) -> dict[str, pa.Array]:  # fmt: skip
    """Return the columns every table of predictions has: id, input digest, patient, site, the document where each is a part of one; and the target (or targets).

    ``inputs``: the digests of records of pixels, of which none is decoded here.
    """
    documents = bool(records) and all(isinstance(record.meta.get("document"), str) for record in records)
    if inputs is None:
        inputs = [None if isinstance(record, Visual) else record.digest() for record in records]
    target = {}
    if targets is not None and all(isinstance(one, float) for one in targets):
        target = {"target": pa.array(list(targets), pa.float64())}
    elif targets is not None:
        several = not all(isinstance(one, str) for one in targets)
        target = {"target": pa.array(list(targets), pa.list_(pa.string()) if several else pa.string())}
    return {
        "id": pa.array([record.id for record in records], pa.string()),
        "input": pa.array(list(inputs), pa.string()),
        **target,
        "patient": pa.array([record.patient for record in records], pa.string()),
        "site": pa.array([record.site for record in records], pa.string()),
        **({"document": pa.array([record.meta["document"] for record in records], pa.string())} if documents else {}),
    }


def rows_of(columns: Mapping[str, pa.Array], rows: range) -> dict[str, pa.Array]:
    """Return the part of whole columns that belongs to ``rows``."""
    return {name: values.slice(rows.start, len(rows)) for name, values in columns.items()}


def subgroup_columns(records: Sequence[Record], names: Sequence[str] | None) -> dict[str, pa.Array]:
    """Return a ``subgroup.NAME`` column for each name: a record field, a label, or a key of ``meta``."""
    columns: dict[str, pa.Array] = {}
    for name in names or ():
        values = [_group(record, name) for record in records]
        if all(value is None for value in values):
            known = sorted({"site", *(key for r in records[:50] for key in (*r.meta, *r.labels))})
            raise RunError(f"no record has '{name}' to make subgroups by (there are: {', '.join(known)})")
        columns[f"subgroup.{name}"] = pa.array(values, pa.string())
    return columns


def _group(record: Record, name: str) -> str | None:
    """Return what a record has under a name, as text; None where that is nothing."""
    value = getattr(record, name, None)
    if value is None:
        value = record.labels.get(name, record.meta.get(name))
    if value is None or value != value or isinstance(value, Mark) or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, frozenset):
        return ", ".join(sorted(value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def left_out(records: Sequence[Record], one: str, several: str) -> list[str]:
    """Return the notice that names records which cannot be evaluated ("record has no label", "records have no label"); none for no records."""
    if not records:
        return []
    more = f" and {len(records) - NAMED} more" if len(records) > NAMED else ""
    what = counted(len(records), f"{one} and is left out", f"{several} and are left out")
    return [f"{what}: {', '.join(record.id for record in records[:NAMED])}{more}"]


def need_split(opened: Dataset, split: str) -> Dataset:
    """Return the dataset with a split selected. Raises ``RunError`` naming the absent split's official files."""
    if split in opened.splits:
        return opened[split]
    files = ", ".join(
        f.places[0].replace("{split}", opened.card.splits.get(split, split))
        for f in opened.card.files
        if f.variant in (None, opened.variant)
    )
    wanted = f" (official file: {files})" if split in opened.card.splits else ""
    raise RunError(
        f"{opened.name}: split '{split}' is absent in {opened.root}{wanted}; splits: {', '.join(opened.splits)}. "
        f"Use --split {opened.splits[0]}"
    )

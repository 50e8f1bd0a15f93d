"""Cheap rivals evaluated as models: ``baseline:NAME``, fitted on one split and asked about another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from healthfm.adapt import baselines as rivals
from healthfm.errors import RunError
from healthfm.evaluate.classification import chance_columns, chosen_column
from healthfm.evaluate.job import Finished, Job, sample_columns
from healthfm.records import Record, Visual
from healthfm.score.tasks import TASKS


@dataclass(frozen=True, kw_only=True)
class Fitted(Job):
    """A rival fitted on records whose ``labels``, ``groups`` and ``unknown`` classes are told, beside whom it is asked."""

    rival: str
    fit_on: Sequence[Record]
    labels: Sequence[Any]
    groups: Sequence[str]
    unknown: Sequence[Sequence[str]]
    seed: int
    room: str = "rival"
    whole: ClassVar[bool] = True

    def compute(self, tool: Any, rows: range) -> pa.Table:
        """Return a part that only says that it is there: all is done at the end, where all records are seen."""
        return pa.table({"row": pa.array(rows, pa.int64())})

    def finish(self, table: pa.Table, settled: Mapping[str, Any]) -> Finished:
        """Fit the rival and return its predictions."""
        rival = rivals.named(self.rival, [*self.fit_on, *self.records])
        assert rival is not None  # ``checked``
        found = rivals.predict(
            rival, self.fit_on, self.labels, self.records, self.classes or (), self.groups, self.seed, self.unknown
        )
        inputs = [None] * len(self.records) if any(isinstance(one, Visual) for one in self.records) else None
        common = sample_columns(self.records, self.targets, inputs)
        made = pa.table({**common, **answers(self.task, self.classes, found), **self.columns})
        return Finished(
            made, {"probe": rival.saying(TASKS[self.task].kind == "numbers"), "fitted_on": len(self.fit_on)}
        )


def answers(task: str, classes: Sequence[str] | None, found: Any) -> dict[str, pa.Array]:
    """Return the columns of answers: numbers [n, 1], or probabilities of each class [n, classes] with what they choose."""
    if TASKS[task].kind == "numbers":
        return {"prediction": pa.array([float(one) for one in found.ravel()], pa.float64())}
    assert classes is not None
    return {**chance_columns(classes, found), "prediction": chosen_column(classes, found, TASKS[task].kind == "labels")}


def checked(name: str, records: Sequence[Record], task: str) -> str:
    """Return the name of a rival that can look at these records. Raises ``RunError``: it cannot, or the task asks something else."""
    if name not in rivals.NAMES:
        raise RunError(f"baseline:{name} is for tasks on timelines, not for {task}")
    if TASKS[task].rule not in ("linear", "several", "number"):
        raise RunError(
            f"baseline:{name} is fitted on a whole split: use linear-probe, multi-label-probe or regression-probe, not {task}"
        )
    if rivals.named(name, records) is None:
        wanted = ", ".join(sorted({kind.noun for one in rivals.BASELINES if one.name == name for kind in one.kinds}))
        raise RunError(
            f"baseline:{name} cannot look at these records (a {records[0].noun}): it takes {wanted}, with what it looks at in each"
        )
    return name

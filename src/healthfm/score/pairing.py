"""Two tables of the same rows, as statistics: the paired difference of one metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from healthfm.score import scoring
from healthfm.score.kinds.kind import BESIDE
from healthfm.score.statistics import Statistic, number_patients
from healthfm.score.statistics.paired import Difference, difference


@dataclass(frozen=True)
class Side:
    """A table of predictions, its rows in the order of the other's, and its metrics."""

    table: pa.Table
    statistics: Mapping[str, Statistic]


def paired(
    name: str, a: Side, b: Side, task: str, classes: Sequence[str] | None, seed: int, same_draws: bool = False
) -> Difference:  # fmt: skip
    """Return the paired difference of a metric, ``a`` minus ``b``. Raises ``ValueError``: it is not defined on resamples of these rows."""
    kept = {*a.table.column_names} & {*b.table.column_names} | {*BESIDE}

    def joint() -> Statistic:
        each = [one.table.select([name for name in one.table.column_names if name in kept]) for one in (a, b)]
        rows = pa.concat_tables(each, promote_options="permissive")
        return scoring.statistics_of(rows, task, classes)[name]

    patients = number_patients(scoring.patients_of(a.table))
    return difference(a.statistics[name], b.statistics[name], joint, a.table.num_rows, patients, seed, same_draws)

"""A number a row: ``target`` and ``prediction``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score.kinds import kind
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics.arrays import lanes
from healthfm.score.metrics.regression import Concordance, Spearman, errors
from healthfm.score.statistics.statistic import Counts, Floats, Statistic, Values, of_counts
from healthfm.spelling import counted

SCALE_FREE = ("pearson", "spearman", "c_index")
AGREEMENT = ("bias", "agreement_low", "agreement_high")  # of Bland and Altman: no more is better
PAIRS_UP_TO = 1_000  # rows whose pairs the concordance index compares


def check(table: pa.Table) -> pa.Table:
    """Return the table with float64 ``target`` and ``prediction`` (null where there is none)."""
    kind.need(table, "id", "target", "prediction")
    ids = kind.check_ids(table)
    table = kind.put(table, "id", ids, pa.string())
    for name, missing in (("target", False), ("prediction", True)):
        values = kind.numbers(table, ids, name, missing)
        table = kind.put(table, name, [None if np.isnan(one) else one for one in values.tolist()], pa.float64())
    return table


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return the metrics of numbers; rows without a prediction are left out and counted. Raises ``RunError`` if all are."""
    target, guess = (
        np.array([np.nan if v is None else v for v in table[c].to_pylist()], np.float64)
        for c in ("target", "prediction")
    )
    rows = np.flatnonzero(~np.isnan(guess))
    if len(rows) == 0:
        raise RunError("no row has a prediction")
    n, missing = len(target), len(target) - len(rows)
    x, y = target[rows], guess[rows]
    among = None if not missing else ~np.isnan(guess)

    def statistic(name: str, at: Callable[[Counts], Values], lower: bool = False) -> Statistic:
        return of_counts(
            name, n, lambda counts: at(counts[:, rows] if missing else counts), among=among, lower_is_better=lower,
            scale_free=name in SCALE_FREE,
        )  # fmt: skip

    ranks = Spearman(x, y)
    found = [
        statistic("mae", lambda c: errors(x, y, c)["mae"], lower=True),
        statistic("rmse", lambda c: errors(x, y, c)["rmse"], lower=True),
        statistic("r2", lambda c: errors(x, y, c)["r2"]),
        statistic("pearson", lambda c: errors(x, y, c)["pearson"]),
        statistic("spearman", lambda c: ranks.at(lanes(c))),
        *(statistic(name, functools.partial(_of_errors, x, y, name)) for name in AGREEMENT),
    ]
    rules = []
    if len(rows) <= PAIRS_UP_TO:
        found.append(statistic("c_index", Concordance(x, y).at))
    else:
        rules.append(f"the concordance index is given up to {PAIRS_UP_TO:,} rows")
    if missing:
        rules.append(
            f"{counted(missing, 'row without a prediction is', 'rows without a prediction are')} left out: a number has no worst value"
        )
    statistics, lost = kind.defined(found)
    return Read(statistics, "mae", rules + lost, {"unanswered": missing})


def _of_errors(target: Floats, guess: Floats, name: str, counts: Counts) -> Values:
    return errors(target, guess, counts)[name]

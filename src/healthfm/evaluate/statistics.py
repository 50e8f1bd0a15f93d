"""95 % intervals. Closed form where one is exact enough, else a bootstrap with a fixed seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

LEVEL = 0.95
RESAMPLES = 10_000
FEW_CLUSTERS = 50
AT_ONCE = 4_000_000  # numbers of resampled counts held in memory at a time

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Interval:
    """A confidence interval and how it was made."""

    low: float
    high: float
    method: str
    level: float = LEVEL

    def asdict(self) -> dict[str, Any]:
        """Return the fields as a plain dictionary."""
        return asdict(self)


def wilson(hits: int, n: int) -> Interval:
    """Return the Wilson score interval of a proportion (Wilson 1927)."""
    z = stats.norm.ppf(0.5 + LEVEL / 2)
    p = hits / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(max(0.0, float(centre - half)), min(1.0, float(centre + half)), "Wilson score")


def bootstrap_counts(table: Array, statistic: Callable[[Array], Array], seed: int) -> Interval:
    """Return the BCa bootstrap interval of a statistic of confusion counts (Efron 1987), samples independent.

    Resampling n samples with replacement is drawing multinomial counts for the cells, so a resample costs a table,
    not n rows; the jackknife removes one sample from each filled cell, weighted by the cell's count.
    """
    n = int(table.sum())
    rng = np.random.default_rng(seed)
    cells = table.ravel()
    resampled = _in_blocks(
        RESAMPLES, cells.size,
        lambda rows: statistic(rng.multinomial(n, cells / n, size=len(rows)).reshape(-1, *table.shape)),
    )  # fmt: skip
    point = float(statistic(table))
    if n < 2 or np.ptp(resampled) == 0:
        return Interval(point, point, f"BCa bootstrap, {RESAMPLES:,} resamples (degenerate: every resample is equal)")
    filled = np.flatnonzero(cells)

    def without(rows: range) -> Array:
        tables = np.repeat(cells[None], len(rows), axis=0)
        tables[np.arange(len(rows)), filled[rows.start : rows.stop]] -= 1
        return statistic(tables.reshape(-1, *table.shape))

    jackknife = _in_blocks(len(filled), cells.size, without)
    low, high = _bca(resampled, point, jackknife, cells[filled])
    return Interval(low, high, f"BCa bootstrap, {RESAMPLES:,} resamples, seed {seed}")


def _in_blocks(rows: int, width: int, values: Callable[[range], Array]) -> Array:
    """Return ``values`` of rows of ``width`` numbers each, so many at a time as fit ``AT_ONCE``: the result is the same."""
    step = max(1, AT_ONCE // width)
    return np.concatenate([values(range(start, min(start + step, rows))) for start in range(0, rows, step)])


def _bca(resampled: Array, point: float, jackknife: Array, weight: Array) -> tuple[float, float]:
    below = (np.sum(resampled < point) + 0.5 * np.sum(resampled == point)) / len(resampled)
    if not 0 < below < 1:
        return float(np.quantile(resampled, (1 - LEVEL) / 2)), float(np.quantile(resampled, (1 + LEVEL) / 2))
    bias = stats.norm.ppf(below)
    away = np.average(jackknife, weights=weight) - jackknife
    spread = np.sum(weight * away**2) ** 1.5
    skew = np.sum(weight * away**3) / (6 * spread) if spread > 0 else 0.0
    z = stats.norm.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2]) + bias
    low, high = np.quantile(resampled, stats.norm.cdf(bias + z / (1 - skew * z)))
    return float(low), float(high)


def cluster_bootstrap(tables: Array, statistic: Callable[[Array], Array], seed: int) -> Interval:
    """Return the percentile bootstrap interval when whole patients are resampled; ``tables`` holds one count table each."""
    clusters = len(tables)
    rng = np.random.default_rng(seed)
    flat = tables.reshape(clusters, -1).astype(np.float64)
    equal = np.full(clusters, 1 / clusters)

    def values(rows: range) -> Array:
        draws = rng.multinomial(clusters, equal, size=len(rows)).astype(np.float64)
        return statistic((draws @ flat).reshape(-1, *tables.shape[1:]))

    resampled = _in_blocks(RESAMPLES, clusters + flat.shape[1], values)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    few = f"; only {clusters} patients, too few to trust" if clusters < FEW_CLUSTERS else ""
    same = " (degenerate: every resample is equal)" if np.ptp(resampled) == 0 else ""
    return Interval(
        float(low),
        float(high),
        f"patient-clustered percentile bootstrap, {RESAMPLES:,} resamples, seed {seed}{same}{few}",
    )

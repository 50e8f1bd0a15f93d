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
    draws = rng.multinomial(n, cells / n, size=RESAMPLES).reshape(RESAMPLES, *table.shape)
    resampled = statistic(draws)
    point = float(statistic(table))
    if n < 2 or np.ptp(resampled) == 0:
        return Interval(point, point, f"BCa bootstrap, {RESAMPLES:,} resamples (degenerate: every resample is equal)")
    filled = np.flatnonzero(cells)
    without = np.repeat(cells[None], len(filled), axis=0)
    without[np.arange(len(filled)), filled] -= 1
    jackknife, weight = statistic(without.reshape(len(filled), *table.shape)), cells[filled]
    low, high = _bca(resampled, point, jackknife, weight)
    return Interval(low, high, f"BCa bootstrap, {RESAMPLES:,} resamples, seed {seed}")


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
    draws = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=RESAMPLES).astype(np.float64)
    resampled = statistic((draws @ flat).reshape(RESAMPLES, *tables.shape[1:]))
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    few = f"; only {clusters} patients, too few to trust" if clusters < FEW_CLUSTERS else ""
    return Interval(
        float(low), float(high), f"patient-clustered percentile bootstrap, {RESAMPLES:,} resamples, seed {seed}{few}"
    )

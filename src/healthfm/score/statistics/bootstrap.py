"""Bootstrap intervals with a fixed seed: of counts of cells, of whole tables of rows, and of whole patients."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse, special

from healthfm.score.statistics.intervals import LEVEL, NOISE, NONE, Interval, degenerate
from healthfm.score.statistics.statistic import Cells, Counts, Ints, Statistic, Values

RESAMPLES = 10_000
FEW_CLUSTERS = 50
AT_ONCE = 4_000_000  # numbers of resampled counts held in memory at a time
BLOCK = 640_000  # numbers of counts in a block of resampled rows: it stays in a core's cache
JACKKNIFE = 5_000  # rows or patients up to which BCa's jackknife is worth its cost; above, its correction is far below the interval's width
NORMAL = float(special.ndtri(0.5 + LEVEL / 2))

Array = npt.NDArray[Any]
Formula = Callable[[Array], Array]


def bootstrap_cells(table: Array, formulas: Sequence[Formula], seed: int) -> list[Interval]:
    """Return the BCa bootstrap intervals of formulas of one table of counts (Efron 1987), samples independent.

    Resampling n samples with replacement is drawing multinomial counts for the cells, so a resample costs a table,
    not n rows; the jackknife removes one sample from each filled cell, weighted by the cell's count.
    """
    n = int(table.sum())
    rng = np.random.default_rng(seed)
    cells = table.ravel()

    def drawn(rows: range) -> Array:
        tables = rng.multinomial(n, cells / n, size=len(rows)).reshape(-1, *table.shape)
        return np.stack([formula(tables) for formula in formulas], axis=1)

    resampled = _in_blocks(RESAMPLES, cells.size, drawn)
    filled = np.flatnonzero(cells)

    def without(rows: range) -> Array:
        tables = np.repeat(cells[None], len(rows), axis=0)
        tables[np.arange(len(rows)), filled[rows.start : rows.stop]] -= 1
        tables = tables.reshape(-1, *table.shape)
        return np.stack([formula(tables) for formula in formulas], axis=1)

    jackknife = _in_blocks(len(filled), cells.size, without) if n > 1 else None
    return [
        bca(resampled[:, i], float(formula(table)), None if jackknife is None else jackknife[:, i], cells[filled], seed)
        for i, formula in enumerate(formulas)
    ]


def _in_blocks(rows: int, width: int, values: Callable[[range], Array]) -> Array:
    """Return ``values`` of rows of ``width`` numbers each, so many at a time as fit ``AT_ONCE``: the result is the same."""
    step = max(1, AT_ONCE // width)
    return np.concatenate([values(range(start, min(start + step, rows))) for start in range(0, rows, step)])


def bca(
    resampled: Values, point: float, jackknife: Values | None, weight: Array | None, seed: int, patients: int | None = None
) -> Interval:  # fmt: skip
    """Return the bias-corrected and accelerated interval of resampled values, or the percentile one without a jackknife.

    ``weight``: how many rows each value of the jackknife stands for. Resamples in which the metric is not defined are
    left out, and the method says how many; where the others are all equal, or nearly all, there is no interval. ``patients``: how many there are, where whole patients were drawn; they are often
    few, so the quantiles are then those of Student's t (Hesterberg 2015, "expanded").
    """
    known, note = _known(resampled)
    who = "" if patients is None else "patient-clustered "
    if patients is not None and patients < FEW_CLUSTERS:
        note += f"; only {patients} patients, too few to trust"
    kept = np.zeros(0, bool) if jackknife is None else ~np.isnan(jackknife)
    method = f"{who}{'BCa' if kept.any() else 'percentile'} bootstrap, {RESAMPLES:,} resamples"
    if len(known) == 0 or np.ptp(known) <= NOISE:
        return Interval(NONE, NONE, degenerate(known, method) + note)
    if jackknife is None or not kept.any():
        low, high = _percentiles(known)
    else:
        weight = np.ones(len(jackknife)) if weight is None else weight
        z = NORMAL if patients is None else _expanded(patients)
        low, high = _bca(known, point, jackknife[kept], weight[kept], z)
    if high - low <= NOISE:
        return Interval(NONE, NONE, degenerate(known, method) + note)
    (low, high), wider = holding(low, high, point)
    return Interval(low, high, f"{method}, seed {seed}{wider}{note}")


def holding(low: float, high: float, point: float) -> tuple[tuple[float, float], str]:
    """Return an interval that holds its estimate, and what to say where it had to be widened: resamples may all lie on one side."""
    wider = "" if low - NOISE <= point <= high + NOISE else ", widened to hold the value"
    return (min(low, point), max(high, point)), wider


def around(distances: Values, point: float, seed: int, patients: int | None = None) -> Interval:
    """Return the interval of the length of a vector from the ``distances`` of its resamples from it.

    The lengths of two vectors differ by at most their distance, so this holds the truth at least as often as it says, at a true
    length of 0 too, where resampled lengths all lie above it.
    """
    known, note = _known(distances)
    who = "" if patients is None else "patient-clustered "
    if patients is not None and patients < FEW_CLUSTERS:
        note += f"; only {patients} patients, too few to trust"
    method = f"{who}bootstrap of the distance, {RESAMPLES:,} resamples"
    reach = float(np.quantile(known, LEVEL)) if len(known) else 0.0
    if reach <= NOISE:
        return Interval(NONE, NONE, degenerate(known, method) + note)
    reach *= 1.0 if patients is None else _expanded(patients) / NORMAL
    return Interval(max(0.0, point - reach), min(1.0, point + reach), f"{method}, seed {seed}{note}")


def _known(resampled: Values) -> tuple[Values, str]:
    known = resampled[~np.isnan(resampled)]
    lost = len(resampled) - len(known)
    return known, f"; not defined in {lost:,} of them" if lost else ""


def _percentiles(resampled: Values) -> tuple[float, float]:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _expanded(n: int) -> float:
    """Return the quantile of a mean of ``n`` that makes up for a bootstrap's variance, (n - 1) / n of what it should be."""
    return float(np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, 0.5 + LEVEL / 2))


def _bca(resampled: Array, point: float, jackknife: Array, weight: Array, reach: float = NORMAL) -> tuple[float, float]:
    below = (np.sum(resampled < point) + 0.5 * np.sum(resampled == point)) / len(resampled)
    if not 0 < below < 1:
        return _percentiles(resampled)
    bias = special.ndtri(below)
    away = np.average(jackknife, weights=weight) - jackknife
    spread = np.sum(weight * away**2) ** 1.5
    skew = np.sum(weight * away**3) / (6 * spread) if spread > 0 else 0.0
    z = np.array([-reach, reach]) + bias
    low, high = np.quantile(resampled, special.ndtr(bias + z / (1 - skew * z)))
    return float(low), float(high)


def draws(n: int, seed: int, resamples: int | None = None) -> Iterator[Callable[[], Counts]]:
    """Yield blocks of resamples of ``n`` rows: each call makes counts [some resamples, n], whose rows sum to ``n``.

    A block is a pure function of ``n``, the seed and its place, so blocks can be made on any thread in any order.
    """
    total = RESAMPLES if resamples is None else resamples
    step = max(16, min(1_000, BLOCK // n))
    type_: type[np.integer[Any]] = np.int16 if n < 2**15 else np.int32
    for start in range(0, total, step):
        rows = min(step, total - start)

        def block(start: int = start, rows: int = rows) -> Counts:
            chosen = np.random.default_rng([seed, n, start]).integers(0, n, rows * n, dtype=np.int32)
            ends = np.arange(0, rows * n + 1, n, dtype=np.int32)
            once = np.ones(rows * n, type_)
            counts = sparse.csr_array((once, chosen, ends), (rows, n)).toarray()  # a row drawn again is summed
            laid: Counts = np.ascontiguousarray(counts.T).T  # by column: what sums over rows read fastest
            return laid

        yield block


def over_draws(values: Callable[[Counts], Values], n: int, seed: int, resamples: int | None = None) -> Values:
    """Return ``values`` (counts to [..., resamples]) of all resamples of ``n`` rows, on several threads where it pays."""
    blocks = list(draws(n, seed, resamples))
    workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)
    if workers == 1 or n * RESAMPLES < 20 * BLOCK:
        return np.concatenate([values(block()) for block in blocks], axis=-1)
    with ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(lambda block: values(block()), blocks)), axis=-1)


def intervals(statistics: Sequence[Statistic], n: int, seed: int, patients: Ints | None = None) -> dict[str, Interval]:
    """Return the bootstrap interval of each statistic of ``n`` rows, by name, all from the same resamples.

    ``patients`` [n], numbers from 0: whole patients are drawn. Without, rows are; metrics of cells are then resampled by
    cell, which costs nothing per row.
    """
    measured = [replace(s, at=s.distance) if s.distance else s for s in statistics]

    def interval(s: Statistic, values: Values, without: Values | None, clusters: int | None = None) -> Interval:
        if s.distance:
            return around(values, s.value, seed, clusters)
        return bca(values, s.value, without, None, seed, clusters)

    if patients is not None:
        clusters = int(patients.max()) + 1
        drawn = _resampled(lambda counts: values_of(measured, spread(counts, patients)), clusters, seed)
        return {s.name: interval(s, *one, clusters) for s, one in zip(measured, zip(*drawn, strict=True), strict=True)}
    found: dict[str, Interval] = {}
    for cells, group in _by_cells(statistics):
        formulas = [s.cells.formula for s in group if s.cells]
        found |= dict(zip([s.name for s in group], bootstrap_cells(cells.counts, formulas, seed), strict=True))
    rest = [s for s in measured if s.cells is None]
    if rest:
        drawn = _resampled(lambda counts: values_of(rest, counts), n, seed)
        found |= {s.name: interval(s, *one) for s, one in zip(rest, zip(*drawn, strict=True), strict=True)}
    return found


def _resampled(values: Callable[[Counts], Values], n: int, seed: int) -> tuple[Values, Sequence[Values | None]]:
    """Return the values of resamples of ``n`` units, by statistic, and those without each unit (None where it is not worth it)."""
    resampled = over_draws(values, n, seed)
    if not 1 < n <= JACKKNIFE:
        return resampled, [None] * len(resampled)
    return resampled, list(_in_blocks(n, n, lambda rows: values(_leave_one_out(rows, n)).T).T)


def spread(counts: Counts, patients: Ints) -> Counts:
    """Return counts of rows [resamples, n] from counts of patients [resamples, patients]."""
    return counts.T[patients].T


def values_of(statistics: Sequence[Statistic], counts: Counts) -> Values:
    """Return the values [statistics, resamples] of several statistics; those that share their cells count them once."""
    found: dict[str, Values] = {}
    for cells, group in _by_cells(statistics):
        tallied = cells.tally(counts)
        found |= {s.name: s.cells.formula(tallied) for s in group if s.cells}
    return np.stack([found[s.name] if s.name in found else s.at(counts) for s in statistics])


def _by_cells(statistics: Sequence[Statistic]) -> list[tuple[Cells, list[Statistic]]]:
    groups: dict[int, tuple[Cells, list[Statistic]]] = {}
    for s in statistics:
        if s.cells is not None:
            groups.setdefault(id(s.cells.of_row), (s.cells, []))[1].append(s)
    return list(groups.values())


def _leave_one_out(rows: range, n: int) -> Counts:
    counts = np.ones((len(rows), n), np.int16)
    counts[np.arange(len(rows)), np.arange(rows.start, rows.stop)] = 0
    return counts

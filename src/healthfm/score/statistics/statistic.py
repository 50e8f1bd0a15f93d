"""``Statistic``: one metric of one table of predictions, in the form that intervals, tests and comparisons share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from healthfm.score.metrics.arrays import lanes, ratio

Counts = npt.NDArray[np.integer]  # how often each row is drawn [resamples, n]
Values = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Cells:
    """What a metric of counts needs: the cell each row falls in, and the metric of counts of cells [..., size]."""

    of_row: Ints
    size: int
    formula: Callable[[npt.NDArray[np.number]], Values]

    @property
    def counts(self) -> Ints:
        """The number of rows in each cell."""
        return np.bincount(self.of_row, minlength=self.size)

    def tally(self, counts: Counts) -> Ints:
        """Return the counts of cells [resamples, size] when row ``i`` is drawn ``counts[:, i]`` times."""
        n, drawn = len(self.of_row), lanes(counts)
        spread = sparse.csr_array((np.ones(n, drawn.dtype), (self.of_row, np.arange(n))), (self.size, n))
        return np.asarray((spread @ drawn).T, dtype=np.int64)


@dataclass(frozen=True)
class Statistic:
    """One metric of one table, as a function of how often each row is drawn.

    ``at``: counts [resamples, n] to values [resamples]; NaN where the metric is not defined (no positive drawn, say).
    ``value``: at one of each. The optional fields open closed forms: ``hits``, right or wrong by row, where the metric is
    their mean (over the rows ``among``, all when None): binomial intervals, McNemar; ``scores`` (truth, score), where it is
    an AUROC: DeLong; ``cells``, where it depends on counts of few cells alone. ``scale_free``: it does not change when all scores
    are scaled, so scores of two runs stand on no common scale and rows cannot be swapped between them. ``distance``: where the metric is the
    length of a vector (a sum of absolute gaps) and 0 its least value, how far the vector of a resample lies from that of the rows. ``rule`` says which of
    the field's rules applied (absent classes, ties, unanswered rows). ``draws``: the same metric of each draw of examples that a model
    was fitted on, where this is their mean (``draws.mean``).
    """

    name: str
    at: Callable[[Counts], Values]
    value: float
    hits: Bools | None = None
    among: Bools | None = None
    scores: tuple[Bools, Floats] | None = None
    cells: Cells | None = None
    rule: str | None = None
    lower_is_better: bool = False
    scale_free: bool = False
    draws: tuple[Statistic, ...] = ()
    distance: Callable[[Counts], Values] | None = None


def of_counts(
    name: str, n: int, at: Callable[[Counts], Values], rule: str | None = None, *,
    scores: tuple[Bools, Floats] | None = None, among: Bools | None = None, lower_is_better: bool = False, scale_free: bool = False,
) -> Statistic:  # fmt: skip
    """Return the statistic of a function of counts over ``n`` rows."""
    value = float(at(np.ones((1, n), np.int32))[0])
    return Statistic(
        name, at, value, among=among, scores=scores, rule=rule, lower_is_better=lower_is_better, scale_free=scale_free
    )


def of_cells(
    name: str, cells: Cells, rule: str | None = None, *, hits: Bools | None = None, among: Bools | None = None
) -> Statistic:
    """Return the statistic of counts of cells."""
    return Statistic(
        name, lambda counts: cells.formula(cells.tally(counts)), float(cells.formula(cells.counts)), hits, among, cells=cells, rule=rule
    )  # fmt: skip


def of_mean(name: str, values: npt.ArrayLike, rule: str | None = None, *, lower_is_better: bool = False) -> Statistic:
    """Return the mean of a value by row; where all are 0 or 1 it is a proportion and carries ``hits`` (no loss is one)."""
    rows = np.asarray(values, np.float64)
    binary = not lower_is_better and bool(np.isin(rows, (0, 1)).all())

    def at(counts: Counts) -> Values:
        return ratio(counts @ rows, counts.sum(axis=1))

    return Statistic(
        name, at, float(rows.mean()), rows == 1 if binary else None, rule=rule, lower_is_better=lower_is_better
    )

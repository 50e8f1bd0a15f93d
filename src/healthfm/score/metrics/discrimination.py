"""How well scores rank positives before negatives: AUROC and average precision under counts of rows, exact with ties.

A bootstrap needs the metric at thousands of weightings of the same rows. Scores are sorted once; a resample then costs one
pass over its counts, many resamples at a time. All sums are integers, so equal counts give equal numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from healthfm.score.metrics.arrays import Array, Bools, Floats, ratio


class Auroc:
    """The area under the ROC curve of scores [n] for truth [n]: the share of pairs of a positive and a negative that are in
    the right order, a tie counting half (Mann and Whitney 1947). Rows outside ``known`` are left out.
    """

    def __init__(self, truth: Bools, score: Floats, known: Bools | None = None) -> None:
        # The rarer side is walked, one distinct score at a time; the other one is summed between these scores.
        positive, negative = _sides(truth, known)
        self.flipped = bool(positive.sum() > negative.sum())
        self.walk = _Walk(negative, positive, score) if self.flipped else _Walk(positive, negative, score)

    def at(self, drawn: Array) -> Floats:
        """Return the AUROC [resamples] for counts as ``lanes`` makes them; NaN without positives or without negatives."""
        near, below, equal, others = self.walk.counts(drawn)
        twice = 2 * _products(near, below)
        if equal is not None:
            twice += _products(near[self.walk.tied], equal)
        share = ratio(twice, 2 * _total(near) * others)
        return 1 - share if self.flipped else share


class AveragePrecision:
    """The mean precision over the positives, tied scores taken together (scikit-learn's ``average_precision_score``)."""

    def __init__(self, truth: Bools, score: Floats, known: Bools | None = None) -> None:
        self.walk = _Walk(*_sides(truth, known), score)

    def at(self, drawn: Array) -> Floats:
        """Return the average precision [resamples] for counts as ``lanes`` makes them; NaN without positives."""
        near, below, _, others = self.walk.counts(drawn)
        hits = np.cumsum(near[::-1], axis=0, dtype=np.int64)[::-1]
        found = hits + (others - below)
        precision = np.divide(hits, found, out=np.zeros(found.shape), where=found > 0)
        return ratio(np.einsum("gr,gr->r", near, precision), _total(near))


def macro(metrics: Sequence[Auroc | AveragePrecision], drawn: Array) -> Floats:
    """Return the mean [resamples] over the classes for which the metric is defined; NaN where it is for none."""
    values = np.stack([one.at(drawn) for one in metrics])
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(axis=0), known.sum(axis=0))


class _Walk:
    """The rows of one side by distinct score, in rising order, and the rows of the other side between these scores."""

    def __init__(self, side: Bools, other: Bools, score: Floats) -> None:
        near, far = np.flatnonzero(side), np.flatnonzero(other)
        steps, step = np.unique(score[near], return_inverse=True)
        after = np.searchsorted(steps, score[far], side="right")  # so many steps are at or below this score
        at = np.searchsorted(steps, score[far], side="left")
        ties = at < after
        self.tied, tie = np.unique(at[ties], return_inverse=True)
        self._near = _indicator(step, near, len(steps), len(score))
        self._after = _indicator(after, far, len(steps) + 1, len(score))
        self._equal = _indicator(tie, far[ties], len(self.tied), len(score))

    def counts(self, drawn: Array) -> tuple[Array, Array, Array | None, Array]:
        """Return, for each step: this side's rows, the other's below it, the other's equal to it (for the steps ``tied``;
        None when there are none), and the other side's rows in all.
        """
        passed = _sums(self._after, drawn)
        np.cumsum(passed, axis=0, out=passed)
        equal = _sums(self._equal, drawn) if len(self.tied) else None
        return _sums(self._near, drawn), passed[:-1], equal, passed[-1].astype(np.int64)


def _sides(truth: Bools, known: Bools | None) -> tuple[Bools, Bools]:
    return (truth, ~truth) if known is None else (truth & known, ~truth & known)


def _indicator(rows: Array, columns: Array, size: int, n: int) -> sparse.csr_array:
    return sparse.csr_array((np.ones(len(rows), np.int16), (rows, columns)), (size, n))


def _sums(rows: sparse.csr_array, drawn: Array) -> Array:
    return np.asarray(rows.astype(drawn.dtype, copy=False) @ drawn)


def _products(one: Array, other: Array) -> Array:
    """Return the sums of products by resample; a resample of counts in int16 has under 2**30 pairs, which int32 holds."""
    wide = np.int32 if one.dtype == np.int16 else np.int64
    return np.asarray(np.einsum("gr,gr->r", one, other, dtype=wide), np.int64)


def _total(rows: Array) -> Array:
    return np.asarray(rows.sum(axis=0, dtype=rows.dtype), np.int64)  # the type holds the sum of a resample

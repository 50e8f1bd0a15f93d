"""What decisions at a threshold are worth: predictive values at a prevalence, and net benefit (Vickers and Elkin 2006).

Counts are [..., 4]: true negatives, false positives, false negatives, true positives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from healthfm.score.metrics.arrays import ratio
from healthfm.score.statistics import bootstrap
from healthfm.score.statistics.intervals import LEVEL, Interval
from healthfm.score.statistics.statistic import Bools, Counts, Floats, Ints, Values

Array = npt.NDArray[Any]
ROUNDING = 1e-7  # of single precision, and of one probability less from 1: a risk so near below a threshold is at it


def called(risk: Floats, threshold: float) -> Bools:
    """Say of each risk whether it is at or above a threshold."""
    return np.asarray(risk >= threshold - ROUNDING)


def cells(truth: Bools, call: Bools) -> Ints:
    """Return the cell of each row: 0 true negative, 1 false positive, 2 false negative, 3 true positive."""
    return np.asarray(2 * truth + call, np.int64)


def sensitivity(table: Array) -> Values:
    """Return the share of the positives that is called; NaN without positives."""
    return ratio(table[..., 3], table[..., 2] + table[..., 3])


def specificity(table: Array) -> Values:
    """Return the share of the negatives that is not called; NaN without negatives."""
    return ratio(table[..., 0], table[..., 0] + table[..., 1])


def ppv(table: Array, prevalence: float | None = None) -> Values:
    """Return the share of positives among the called: of these rows, or by Bayes' rule at a ``prevalence``."""
    if prevalence is None:
        return ratio(table[..., 3], table[..., 1] + table[..., 3])
    hit, false = sensitivity(table) * prevalence, (1 - specificity(table)) * (1 - prevalence)
    return ratio(hit, hit + false)


def npv(table: Array, prevalence: float | None = None) -> Values:
    """Return the share of negatives among the not called: of these rows, or by Bayes' rule at a ``prevalence``."""
    if prevalence is None:
        return ratio(table[..., 0], table[..., 0] + table[..., 2])
    hit, missed = specificity(table) * (1 - prevalence), (1 - sensitivity(table)) * prevalence
    return ratio(hit, hit + missed)


def net_benefit(table: Array, threshold: float | Array, prevalence: float | None = None) -> Values:
    """Return TP/n - FP/n * pt / (1 - pt) [...]: as many true positives a row, without a false one, are worth as much.

    ``prevalence``: of the population meant, where the rows have another (Pfeiffer and Gail 2020).
    """
    positives, negatives = table[..., 2] + table[..., 3], table[..., 0] + table[..., 1]
    return _worth(table[..., 3], table[..., 1], positives, negatives, threshold, prevalence)


def _worth(
    true: Array, false: Array, positives: Array, negatives: Array, threshold: float | Array, prevalence: float | None
) -> Values:
    """Return the net benefit of so many true and false positives, of so many positives and negatives [...]."""
    weight = np.asarray(threshold) / (1 - np.asarray(threshold))
    if prevalence is None:
        n = positives + negatives
        return np.asarray(ratio(true, n) - ratio(false, n) * weight)
    return np.asarray(ratio(true, positives) * prevalence - ratio(false, negatives) * (1 - prevalence) * weight)


def treat_all(prevalence: float, threshold: float | Array) -> Array:
    """Return the net benefit of treating everyone."""
    weight = np.asarray(threshold) / (1 - np.asarray(threshold))
    return np.asarray(prevalence - (1 - prevalence) * weight)


def avoided(model: Array, everyone: Array, threshold: float | Array) -> Array:
    """Return the interventions a row that are avoided, beside treating everyone, without missing a positive more."""
    odds = np.asarray(threshold) / (1 - np.asarray(threshold))
    return np.asarray((model - everyone) / odds)


def predictive_interval(table: Array, prevalence: float, positive: bool) -> Interval:
    """Return the logit interval of PPV (``positive``) or NPV at a known prevalence (Mercaldo, Lau and Zhou 2007), rows independent.

    Where a cell is empty, half the squared normal quantile is added to each, as they do. Both classes must occur.
    """
    z = float(special.ndtri(0.5 + LEVEL / 2))
    method = "logit, of sensitivity and specificity (Mercaldo 2007)"
    counts = np.asarray(table, float)
    if (counts == 0).any():
        counts, method = counts + z * z / 2, f"{method}, adjusted for an empty cell"
    negatives, positives = counts[0] + counts[1], counts[2] + counts[3]
    found, missed = float(sensitivity(counts)), float(specificity(counts))
    if positive:
        spread = (1 - found) / (found * positives) + missed / ((1 - missed) * negatives)
        middle = special.logit(float(ppv(counts, prevalence)))
    else:
        spread = found / ((1 - found) * positives) + (1 - missed) / (missed * negatives)
        middle = special.logit(float(npv(counts, prevalence)))
    low, high = special.expit(middle + np.array([-z, z]) * np.sqrt(spread))
    return Interval(float(low), float(high), method)


def grid(threshold: float | None, prevalence: float) -> list[float]:
    """Return the thresholds of a decision curve: by hundredths to twice the larger of threshold and prevalence, at least to 0.2 (where no
    threshold is named to 0.5); the threshold among them.
    """
    top = max(0.2, 2 * prevalence, 0.5 if threshold is None else 2 * threshold)
    found = {i / 100 for i in range(1, round(100 * min(0.99, top)) + 1)}
    return sorted(found | (set() if threshold is None else {threshold}))


def curve(
    truth: Bools, risk: Floats, thresholds: Sequence[float], prevalence: float | None, seed: int, patients: Ints | None
) -> tuple[Array, Array, Array]:
    """Return the net benefit at each threshold [thresholds], and the ends of its interval: percentiles of resampled rows or patients."""
    at, steps = np.asarray(thresholds), len(thresholds)
    level = np.searchsorted(at - ROUNDING, risk, side="right")  # so many thresholds are at or below this risk
    place, size = truth * (steps + 1) + level, 2 * (steps + 1)

    def values(counts: Array) -> Array:
        sides = counts.reshape(*counts.shape[:-1], 2, steps + 1)
        above = np.cumsum(sides[..., ::-1], axis=-1)[..., ::-1]  # [..., class, thresholds passed]
        (negatives, false), (positives, true) = ((above[..., i, :1], above[..., i, 1:]) for i in (0, 1))
        return _worth(true, false, positives, negatives, at, prevalence)

    counts = np.bincount(place, minlength=size)
    if patients is None:
        rng = np.random.default_rng(seed)
        drawn = values(rng.multinomial(len(truth), counts / len(truth), size=bootstrap.RESAMPLES))
    else:
        clusters = int(patients.max()) + 1
        held = np.zeros((clusters, size))
        np.add.at(held, (patients, place), 1)

        def resampled(many: Counts) -> Values:
            return values(many @ held).T

        drawn = bootstrap.over_draws(resampled, clusters, seed).T
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    of = np.nanquantile if np.isnan(drawn).any() else np.quantile  # the one without an eye on NaN is far quicker
    low, high = of(drawn, ends, axis=0)
    return values(counts), low, high

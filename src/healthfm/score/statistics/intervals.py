"""Closed-form 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import special

from healthfm.score.metrics.arrays import midranks
from healthfm.score.statistics.statistic import Bools, Floats

LEVEL = 0.95
NONE = float("nan")  # an end that there is not
PERFECT = "Clopper-Pearson of the rarer class (perfect separation leaves DeLong no variance)"


@dataclass(frozen=True)
class Interval:
    """A confidence interval and how it was made.

    Both ends are NaN (None as plain data) where there is no interval, and ``method`` says why: values that never vary would
    make one of no width, which claims a certainty that a few rows cannot give.
    """

    low: float
    high: float
    method: str
    level: float = LEVEL

    def asdict(self) -> dict[str, Any]:
        """Return the fields as a plain dictionary."""
        return plain(asdict(self))


def plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Return an interval's fields with None for an end that there is not."""
    return fields | {key: None for key in ("low", "high") if math.isnan(fields[key])}


def in_words(one: Mapping[str, Any], form: str = "+.3f") -> str:
    """Say an interval as plain data, or that there is none."""
    return "no interval" if one["low"] is None else f"95 % interval {one['low']:{form}} to {one['high']:{form}}"


NOISE = 1e-12  # a spread of values that rounding makes


def degenerate(resampled: Floats, method: str) -> str:
    """Say why resamples that are equal, or so nearly that both quantiles are, make no interval."""
    every = "every" if len(resampled) == 0 or np.ptp(resampled) <= NOISE else "nearly every"
    return f"degenerate: {every} resample gives the same value ({method})"


def wilson(hits: int, n: int) -> Interval:
    """Return the Wilson score interval of a proportion (Wilson 1927)."""
    low, high = wilson_ends(hits / n, n, float(special.ndtri(0.5 + LEVEL / 2)))
    return Interval(low, high, "Wilson score")


def wilson_ends(p: float, n: float, z: float) -> tuple[float, float]:
    """Return the ends of Wilson's score interval of a share of ``n`` trials, ``z`` standard errors to either side; they hold the share."""
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    return max(0.0, min(centre - half, p)), min(1.0, max(centre + half, p))  # rounding may take them past it


def clopper_pearson(hits: int, n: int) -> Interval:
    """Return the exact interval of a proportion (Clopper and Pearson 1934): never below its level, so often wider."""
    tail = (1 - LEVEL) / 2
    low = special.betaincinv(hits, n - hits + 1, tail) if hits > 0 else 0.0
    high = special.betaincinv(hits + 1, n - hits, 1 - tail) if hits < n else 1.0
    return Interval(float(low), float(high), "Clopper-Pearson (exact)")


def delong(truth: Bools, score: Floats) -> Interval:
    """Return the interval of an AUROC by DeLong, DeLong and Clarke-Pearson (1988) on the logit scale.

    The quantile is Student's, of Satterthwaite's degrees of freedom (Brunner and Munzel 2000): positives are often few.
    Midranks give the placements in the time of a sort (Sun and Xu 2014). A perfect separation has no variance to go by;
    the rarer class then counts as that many trials, all won. Fewer than two rows of a class say nothing.
    """
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if min(positives, negatives) < 2:
        return Interval(0.0, 1.0, "no interval: fewer than two rows of a class")
    area, error, freedom = delong_error(truth, score)
    if area in (0.0, 1.0):
        trials = min(positives, negatives)
        found = clopper_pearson(trials if area else 0, trials)
        return Interval(found.low, found.high, PERFECT)
    if error == 0:
        return Interval(NONE, NONE, "degenerate: every score is equal (DeLong)")
    half = special.stdtrit(freedom, 0.5 + LEVEL / 2) * error / (area * (1 - area))
    low, high = special.expit(special.logit(area) + np.array([-half, half]))
    return Interval(float(low), float(high), "DeLong, logit scale")


def delong_error(truth: Bools, score: Floats) -> tuple[float, float, float]:
    """Return an AUROC, its DeLong standard error, and Satterthwaite's degrees of freedom for it (NaN where it is 0)."""
    area, by_positive, by_negative = placements(truth, score)
    one, none = (float(side.var(ddof=1)) / len(side) for side in (by_positive, by_negative))
    spread = one**2 / (len(by_positive) - 1) + none**2 / (len(by_negative) - 1)
    return area, float(np.sqrt(one + none)), (one + none) ** 2 / spread if spread else np.nan


def placements(truth: Bools, score: Floats) -> tuple[float, Floats, Floats]:
    """Return the AUROC, each positive's share of negatives below it and each negative's share of positives above it."""
    one, none = score[truth], score[~truth]
    together = midranks(np.concatenate([one, none]))
    by_positive = (together[: len(one)] - midranks(one)) / len(none)
    by_negative = 1 - (together[len(one) :] - midranks(none)) / len(one)
    return float(by_positive.mean()), by_positive, by_negative

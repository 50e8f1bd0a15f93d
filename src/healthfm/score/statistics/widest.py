"""How far groups differ at most, with an interval that is right where the true difference is 0.

The largest of several absolute differences has 0 as its least value and lies above the truth on average. A bootstrap repeats that shift:
where groups do not differ, nearly all its resamples lie above 0, and corrections for bias can leave the estimate itself outside. So
every pair of groups gets Newcombe's interval of two Wilson scores, and the bounds of the largest follow from theirs: it is at least
what a pair must differ by when all pairs are looked at together (Šidák), and at most what any pair may differ by alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import special

from healthfm.score.statistics.bootstrap import FEW_CLUSTERS
from healthfm.score.statistics.intervals import LEVEL, Interval, wilson_ends
from healthfm.score.statistics.statistic import Bools, Ints


@dataclass(frozen=True)
class Rate:
    """A share of a group's rows. ``size``: as many independent rows say as much. ``patients``: who they are of, None where each has one row."""

    value: float
    size: float
    patients: int | None = None


def rate(hits: Bools, patients: Ints | None = None) -> Rate | None:
    """Return the share of hits of a group's rows; None where there is no row. ``patients`` [n]: numbers, where some have several rows.

    The size is then that which gives the share the variance it has over patients (a ratio's, by linearisation), at most the rows
    and, where all rows are alike, the number of patients.
    """
    n = len(hits)
    if n == 0:
        return None
    share = float(hits.mean())
    if patients is None:
        return Rate(share, n)
    _, who = np.unique(patients, return_inverse=True)
    several = int(who.max()) + 1
    away = np.bincount(who, weights=hits - share)
    spread = float(several / (several - 1) * (away**2).sum() / n**2) if several > 1 else 0.0
    size = share * (1 - share) / spread if spread > 0 else several
    return Rate(share, float(min(n, max(1.0, size))), several)


def widest(criteria: Sequence[Sequence[Rate]], patients: int | None = None) -> tuple[float, Interval]:
    """Return the largest difference of two groups' rates in any criterion, with its interval. ``patients``: how many there are in all."""
    pairs = [pair for rates in criteria for pair in combinations(rates, 2)]
    each = LEVEL ** (1 / len(pairs))
    low = max(_bounds(*pair, each)[0] for pair in pairs)
    high = max(_bounds(*pair, LEVEL)[1] for pair in pairs)
    value = max(abs(one.value - other.value) for one, other in pairs)
    method = "Newcombe, of two Wilson scores for each pair of groups" + (", together (Šidák)" if len(pairs) > 1 else "")
    if patients is not None:
        method += f"; sizes that whole patients ({patients}) bear out"
        method += "; too few patients to trust" if patients < FEW_CLUSTERS else ""
    return value, Interval(low, min(1.0, high), method)


def _bounds(one: Rate, other: Rate, level: float) -> tuple[float, float]:
    """Return what the absolute difference of two rates is at least and at most."""
    tail = 0.5 + level / 2
    whole = None if one.patients is None or other.patients is None else one.patients + other.patients - 2
    reach = float(special.ndtri(tail) if whole is None else special.stdtrit(max(1, whole), tail))
    (a, b), (c, d) = (wilson_ends(rate.value, rate.size, reach) for rate in (one, other))
    apart = one.value - other.value
    low = apart - float(np.hypot(one.value - a, d - other.value))
    high = apart + float(np.hypot(b - one.value, other.value - c))
    return max(0.0, low, -high), max(high, -low)

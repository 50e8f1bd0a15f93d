"""Whether a risk is right on average and spread as it should be: calibration intercept and slope, by logistic regression; and a smooth curve.

Cox (1958): the outcome on the risk's log-odds. The intercept is fitted with the slope held at 1 (calibration in the large), the slope
with an intercept of its own. The curve is Cleveland's (1979) lowess of the outcome on the risk, without his robust steps, as for a
binary outcome it must be (Harrell's ``val.prob``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from healthfm.score.statistics.bootstrap import FEW_CLUSTERS
from healthfm.score.statistics.intervals import LEVEL, Interval
from healthfm.score.statistics.statistic import Bools, Floats, Ints

Array = npt.NDArray[Any]
SPAN = 2 / 3  # of the rows are each point's neighbours
INSIDE, OUTSIDE = 0.001, 0.999  # of the neighbourhood's radius: nearer counts fully, farther not at all


def overlap(truth: Bools, odds: Floats) -> bool:
    """Say whether both classes occur and their log-odds overlap: only then has the slope a finite value (Albert and Anderson 1984)."""
    if truth.all() or not truth.any():
        return False
    one, none = odds[truth], odds[~truth]
    return bool(none.max() > one.min() and one.max() > none.min())


def intercept(truth: Bools, odds: Floats, patients: Ints | None) -> tuple[float, Interval]:
    """Return the intercept of a logistic regression with the log-odds as its offset, with its interval. Both classes must occur."""
    gap = float(truth.sum())
    reach = float(np.abs(odds).max()) + np.log(len(odds)) + 1
    found = optimize.brentq(lambda a: gap - special.expit(a + odds).sum(), -reach, reach, xtol=1e-13)
    return float(found), _interval(truth, np.ones((len(odds), 1)), np.array([found]), odds, patients, 0)


def slope(truth: Bools, odds: Floats, patients: Ints | None) -> tuple[float, float, Interval]:
    """Return intercept and slope of a logistic regression on the log-odds, and the slope's interval. The classes must ``overlap``."""
    scale = float(odds.std())
    design = np.column_stack([np.ones(len(odds)), odds / scale])

    def cost(b: Array) -> float:
        return float(np.logaddexp(0, np.where(truth, -1, 1) * (design @ b)).mean())

    def gradient(b: Array) -> Array:
        return np.asarray(design.T @ (special.expit(design @ b) - truth) / len(odds))

    def hessian(b: Array) -> Array:
        p = special.expit(design @ b)
        return np.asarray((design * (p * (1 - p))[:, None]).T @ design / len(odds))

    start = np.array([0.0, scale])
    found = optimize.minimize(cost, start, jac=gradient, hess=hessian, method="trust-exact", options={"gtol": 1e-10}).x
    found = found - np.linalg.solve(
        hessian(found), gradient(found)
    )  # Newton's last step, which the search leaves to rounding
    one = _interval(truth, design, found, np.zeros(len(odds)), patients, 1)
    return float(found[0]), float(found[1]) / scale, replace(one, low=one.low / scale, high=one.high / scale)


def smooth(truth: Array, risk: Floats, at: Floats, span: float = SPAN) -> Floats:
    """Return lowess of the outcome on the risk at some of the risks: a line is fitted to each one's nearest rows, near ones weighing more."""
    order = np.argsort(risk, kind="stable")
    x, y = risk[order], truth[order].astype(np.float64)
    near = min(max(int(span * len(x) + 1e-7), 2), len(x))
    return np.array([_local(x, y, near, float(point)) for point in at])


def _local(x: Floats, y: Floats, near: int, point: float) -> float:
    """Return the locally weighted line at a point; the mean where all its neighbours lie in it. ``x`` rises."""
    place = int(np.searchsorted(x, point))
    left, right = max(place - near, 0), min(place + near, len(x))
    radius = float(np.partition(np.abs(x[left:right] - point), near - 1)[near - 1])
    rows = slice(np.searchsorted(x, point - radius, "left"), np.searchsorted(x, point + radius, "right"))
    gap, some = np.abs(x[rows] - point), y[rows]
    if radius == 0:
        return float(some.mean())
    weight = np.where(
        gap > OUTSIDE * radius, 0.0, np.where(gap <= INSIDE * radius, 1.0, (1 - np.minimum(gap / radius, 1) ** 3) ** 3)
    )
    weight /= weight.sum()
    middle = weight @ x[rows]
    spread = weight @ (x[rows] - middle) ** 2
    line = (
        weight @ ((x[rows] - middle) * some) / spread * (point - middle)
        if np.sqrt(spread) > INSIDE * np.ptp(x)
        else 0.0
    )
    return float(weight @ some + line)


def _interval(truth: Bools, design: Array, at: Array, offset: Floats, patients: Ints | None, which: int) -> Interval:
    """Return Wald's interval of one coefficient: by the information of independent rows, or by what whole patients bear out."""
    p = special.expit(design @ at + offset)
    bread = np.linalg.inv((design * (p * (1 - p))[:, None]).T @ design)
    if patients is None:
        half = special.ndtri(0.5 + LEVEL / 2) * np.sqrt(bread[which, which])
        return Interval(float(at[which] - half), float(at[which] + half), "Wald, logistic regression")
    _, who = np.unique(patients, return_inverse=True)
    clusters, (n, k) = int(who.max()) + 1, design.shape
    scores = np.zeros((clusters, k))
    np.add.at(scores, who, design * (truth - p)[:, None])
    spread = bread @ (scores.T @ scores) @ bread * clusters / max(clusters - 1, 1) * (n - 1) / max(n - k, 1)
    half = special.stdtrit(max(clusters - 1, 1), 0.5 + LEVEL / 2) * np.sqrt(spread[which, which])
    few = f"; only {clusters} patients, too few to trust" if clusters < FEW_CLUSTERS else ""
    method = f"Wald, logistic regression, patient-clustered (sandwich, Student's t){few}"
    return Interval(float(at[which] - half), float(at[which] + half), method)

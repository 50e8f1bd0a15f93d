"""Boxes that were given against true ones, of one label: which meet, and what precision, FROC and localisation come to.

Boxes are rows of corners, those nearest the origin first: [x, y, x, y], of volumes [x, y, z, x, y, z]; sizes are differences of corners, as COCO's
(DeepLesion's and Pascal VOC's scripts add one pixel).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.score.metrics.arrays import Array, Bools, Floats

IOUS = tuple(np.linspace(0.5, 0.95, 10).round(2).tolist())  # COCO's
RECALLS = np.linspace(0, 1, 101)  # where COCO's curve is read
MOST = 100  # boxes of one picture and label that COCO looks at
Places = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """The boxes of one label in ``n`` pictures, best score first: their ``scores``, the ``picture`` each is in, and of each true box the picture
    (``there``). ``hits``: how many true ones a box is the first to find; ``false``: whether it counts as a false one.
    """

    n: int
    scores: Floats
    picture: Places
    there: Places
    hits: npt.NDArray[np.int64]
    false: Bools

    @cached_property
    def a_picture(self) -> Places:
        """How many true boxes each picture has."""
        return np.bincount(self.there, minlength=self.n)


def overlap(boxes: Floats, others: Floats, of: str = "either") -> Floats:
    """Return shared area over that of both together [boxes, others]; ``of="first"``: over that of the first alone (IoBB)."""
    axes = boxes.shape[1] // 2
    low = np.maximum(boxes[:, None, :axes], others[None, :, :axes])
    high = np.minimum(boxes[:, None, axes:], others[None, :, axes:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    mine, theirs = (np.prod(one[:, axes:] - one[:, :axes], axis=1) for one in (boxes, others))
    whole = mine[:, None] + theirs[None] - shared if of == "either" else np.broadcast_to(mine[:, None], shared.shape)
    return np.asarray(np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0))


def best_match(shares: Floats, at_least: float) -> tuple[npt.NDArray[np.int64], Bools]:
    """Return COCO's matching of one picture's boxes, best score first: each takes the free true box that it shares most with, if enough."""
    free = np.ones(shares.shape[1], bool)
    hits = np.zeros(len(shares), np.int64)
    limit = min(at_least, 1 - 1e-10)
    for i, row in enumerate(shares):
        open_ = np.flatnonzero(free & (row >= limit))
        if len(open_):
            free[open_[np.flatnonzero(row[open_] == row[open_].max())[-1]]] = False  # of equal ones the last, as COCO's
            hits[i] = 1
    return hits, hits == 0


def first_match(shares: Floats, at_least: float) -> tuple[npt.NDArray[np.int64], Bools]:
    """Return the matching of FROC scripts: a box finds every true one it meets that none found before; one that meets a true box is never false."""
    free = np.ones(shares.shape[1], bool)
    hits = np.zeros(len(shares), np.int64)
    meets = shares >= at_least
    for i, row in enumerate(meets):
        hits[i] = int((row & free).sum())
        free &= ~row
    return hits, np.logical_not(meets.any(axis=1))


Match = Callable[[Floats, float], tuple[npt.NDArray[np.int64], Bools]]


def matched(
    given: Sequence[tuple[Floats, Floats]], true: Sequence[Floats], at_least: float, match: Match = best_match, most: int | None = MOST
) -> Found:  # fmt: skip
    """Return the boxes of one label. ``given``: boxes and scores of each picture; ``true``: boxes of each."""
    scores, picture, hits, false = [], [], [], []
    for i, ((boxes, confidence), others) in enumerate(zip(given, true, strict=True)):
        order = np.argsort(-confidence, kind="stable")[:most]
        hit, wrong = match(overlap(boxes[order], others), at_least)
        scores.append(confidence[order])
        picture.append(np.full(len(order), i))
        hits.append(hit)
        false.append(wrong)
    every = [np.concatenate(one) if one else np.zeros(0) for one in (scores, picture, hits, false)]
    order = np.argsort(-every[0], kind="stable")
    there = np.repeat(np.arange(len(true)), [len(one) for one in true])
    return Found(
        len(true), every[0][order], every[1][order].astype(np.int64), there, every[2][order].astype(np.int64), every[3][order].astype(bool)
    )  # fmt: skip


def average_precision(found: Found, counts: Array) -> Values:
    """Return COCO's average precision [resamples] by how often each picture is drawn; NaN where no true box is."""
    there = counts @ found.a_picture
    if not len(found.scores):
        return np.where(there > 0, 0.0, np.nan)
    drawn = counts[:, found.picture]
    right = np.cumsum(drawn * found.hits, axis=1, dtype=np.float64)
    wrong = np.cumsum(drawn * found.false, axis=1, dtype=np.float64)
    precision = right / (right + wrong + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = right / np.maximum(there, 1)[:, None]
    reached = np.searchsorted(RECALLS, recall, side="right")
    steps = np.diff(reached, axis=1, prepend=0)
    return np.where(there > 0, (steps * best).sum(axis=1) / len(RECALLS), np.nan)


def sensitivities(found: Found, rates: Sequence[float], counts: Array) -> Values:
    """Return the share of true boxes found at so many false ones a picture [resamples, rates], between the curve's points on a line.

    Behind the last point it stays there. Boxes of equal scores come together.
    """
    there, pictures = counts @ found.a_picture, counts.sum(axis=1)
    drawn = counts[:, found.picture]
    right, wrong = (np.cumsum(drawn * one, axis=1, dtype=np.float64) for one in (found.hits, found.false))
    ends = np.flatnonzero(np.diff(found.scores, append=-np.inf))
    zeros = np.zeros((len(counts), 1))
    x = np.hstack([zeros, right[:, ends] * 0 + wrong[:, ends] / pictures[:, None]])
    y = np.hstack([zeros, right[:, ends] / np.maximum(there, 1)[:, None]])
    read = np.stack([_on_line(x, y, rate) for rate in rates], axis=1)
    return np.where(there[:, None] > 0, read, np.nan)


def _on_line(x: Values, y: Values, at: float) -> Values:
    last = np.maximum((x <= at).sum(axis=1) - 1, 0)
    row, after = np.arange(len(x)), np.minimum(last + 1, x.shape[1] - 1)
    span = x[row, after] - x[row, last]
    share = np.divide(at - x[row, last], span, out=np.zeros(len(x)), where=span > 0)
    return np.asarray(y[row, last] + share * (y[row, after] - y[row, last]))


def localised(given: Sequence[Floats], true: Sequence[Floats], above: float) -> tuple[Any, Any]:
    """Return of each picture how many true boxes some given one lies on, and how many given ones lie on none, by IoBB above a threshold (Wang et al. 2017)."""
    right, wrong = [], []
    for boxes, others in zip(given, true, strict=True):
        lies = overlap(boxes, others, of="first") > above
        right.append(int(lies.any(axis=0).sum()))
        wrong.append(int((~lies.any(axis=1)).sum()))
    return np.array(right), np.array(wrong)

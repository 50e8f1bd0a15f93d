"""What a screening test is asked: how much it finds where nearly all of the healthy must be left alone. Under counts of rows, exact with ties."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from healthfm.score.metrics.arrays import Array, Bools, Floats, ratio

LEAST = 0.9  # specificity from which the partial area is taken
AT = 0.95  # specificity at which sensitivity is read


class HighSpecificity:
    """The part of the ROC curve of scores [n] for truth [n] where few negatives are called."""

    def __init__(self, truth: Bools, score: Floats) -> None:
        _, step = np.unique(-score, return_inverse=True)
        size = int(step.max(initial=-1)) + 1
        self._sides = [
            sparse.csr_array(
                (np.ones(int(side.sum()), np.int64), (step[side], np.flatnonzero(side))), (size, len(score))
            )
            for side in (truth, ~truth)
        ]

    def _curve(self, drawn: Array) -> tuple[Floats, Floats]:
        """Return sensitivity and 1 - specificity [steps + 1, resamples], from calling nobody to calling everybody; NaN where a side is empty."""
        rates = []
        for side in self._sides:
            called = np.cumsum(np.asarray(side @ drawn.astype(np.int64)), axis=0)
            called = np.concatenate([np.zeros_like(called[:1]), called])
            rates.append(ratio(called, np.broadcast_to(called[-1:], called.shape)))
        return rates[0], rates[1]

    def area(self, drawn: Array) -> Floats:
        """Return the area at specificities from 0.9 on [resamples], on McClish's scale (1989): 0.5 is chance, 1 is perfect."""
        found, false = self._curve(drawn)
        most = 1 - LEAST
        ends = np.minimum(false[1:], most)
        width, rise = false[1:] - false[:-1], found[1:] - found[:-1]
        part = np.divide(ends - false[:-1], width, out=np.ones_like(width), where=width > 0)
        inside = np.maximum(ends - false[:-1], 0)
        whole = (inside * (found[:-1] + rise * part / 2)).sum(axis=0)
        chance = most**2 / 2
        return np.asarray(0.5 * (1 + (whole - chance) / (most - chance)))

    def sensitivity(self, drawn: Array) -> Floats:
        """Return the highest sensitivity at a specificity of 0.95 or more [resamples], at scores that occur."""
        found, false = self._curve(drawn)
        best = np.where(1 - false >= AT - np.finfo(float).eps, found, 0).max(axis=0)
        return np.where(np.isnan(found[-1]) | np.isnan(false[-1]), np.nan, best)

"""What the formulas share: the layout of resampled counts, and division where something is there to divide by."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def lanes(counts: Array) -> Array:
    """Return counts [resamples, n] as [n, resamples], in the narrowest integer type that holds the sum of a resample.

    The type matters: int16 sums run four times as fast as int64's.
    """
    turned = counts.T
    total = int(turned.sum(axis=0, dtype=np.int64).max(initial=0))
    return np.ascontiguousarray(turned, dtype=np.int16 if total < 2**15 else np.int32 if total < 2**31 else np.int64)


def ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> Floats:
    """Return ``above / below``; NaN where ``below`` is not positive."""
    found: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)
    return found


def midranks(values: Array) -> Floats:
    """Return the ranks [n] of values [n], from 1; equal values share the mean of their ranks."""
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(times) - (times - 1) / 2)[place]
    return ranks

"""Run-length masks as Kaggle writes them: pairs of start and length in one cell, counted from 1, down the columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue


def mask(runs: str, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return the mask [height, width] of a cell; an empty one marks nothing.

    Raises ``BadValue``: no pairs of whole numbers, runs that overlap or go back, or that leave the picture.
    """
    try:
        numbers = np.array([int(one) for one in runs.split()], dtype=np.int64)
    except (ValueError, OverflowError):
        raise BadValue("run lengths that are no whole numbers") from None
    if len(numbers) % 2:
        raise BadValue("run lengths that are no pairs of start and length")
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    ends = starts + lengths
    if (lengths < 1).any() or (starts < 0).any() or (starts[1:] < ends[:-1]).any():
        raise BadValue("run lengths that overlap or go back")
    if len(ends) and ends[-1] > height * width:
        raise BadValue("run lengths that leave the picture")
    steps = np.zeros(height * width + 1, dtype=np.int8)
    np.add.at(steps, starts, 1)
    np.add.at(steps, ends, -1)
    return steps[:-1].cumsum(dtype=np.int8).astype(bool).reshape(width, height).T

"""F1 of several classes at once from counts [..., class, 3]: hits, misses, false alarms."""

from __future__ import annotations

import numpy as np

from healthfm.score.metrics.arrays import Array, ratio


def f1(counts: Array) -> Array:
    """Return F1 [..., class] from counts [..., class, 3] of hits, misses and false alarms; NaN where all are 0."""
    hits, misses, alarms = np.moveaxis(counts, -1, 0)
    return ratio(2 * hits, 2 * hits + misses + alarms)


def macro_f1(counts: Array) -> Array:
    """Return the mean F1 over the classes that occur in targets or predictions; 0 where none does."""
    values = f1(counts)
    known = ~np.isnan(values)
    return np.asarray(np.where(known, values, 0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1))


def micro_f1(counts: Array) -> Array:
    """Return the F1 of all decisions together; 0 where nothing is present and nothing predicted."""
    return np.nan_to_num(f1(counts.sum(axis=-2)))

"""Metrics of classification from confusion counts, so that one formula serves the point value and its resamples.

Counts are [..., target, prediction] with a last column for "no answer", which is wrong for every class.
"""

from __future__ import annotations

import numpy as np

from healthfm.score.metrics.arrays import Array, ratio


def confusion(targets: Array, predictions: Array, classes: int) -> Array:
    """Return counts [target, prediction] from class indices; a prediction of -1 (no answer) goes to a last column."""
    columns = np.where(predictions < 0, classes, predictions)
    table = np.zeros((classes, classes + 1), dtype=np.int64)
    np.add.at(table, (targets, columns), 1)
    return table


def accuracy(table: Array) -> Array:
    """Return the share of correct predictions from confusion counts [..., target, prediction]."""
    return ratio(_hits(table).sum(axis=-1), table.sum(axis=(-2, -1)))


def macro_f1(table: Array) -> Array:
    """Return the unweighted mean F1 from confusion counts [..., target, prediction].

    The mean runs over the classes that occur in targets or predictions; 0/0 counts as 0 (scikit-learn's
    ``f1_score(average="macro", zero_division=0)`` with its default labels).
    """
    square = table[..., :, : table.shape[-2]]
    hits = _hits(table)
    total = table.sum(axis=-1) + square.sum(axis=-2)  # 2 TP + FP + FN for each class
    f1 = np.divide(2 * hits, total, out=np.zeros_like(total, dtype=np.float64), where=total > 0)
    present = total > 0
    return np.asarray((f1 * present).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1))


def recalls(table: Array) -> Array:
    """Return the recall of each class [..., class]; NaN for a class without targets."""
    return ratio(_hits(table), table.sum(axis=-1))


def balanced_accuracy(table: Array) -> Array:
    """Return the mean recall over the classes that have targets (scikit-learn's ``balanced_accuracy_score``)."""
    found = recalls(table)
    present = ~np.isnan(found)
    return np.asarray(np.where(present, found, 0).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1))


def sensitivity(table: Array) -> Array:
    """Return the recall of the second of two classes, the positive one; NaN without positives."""
    return recalls(table)[..., 1]


def specificity(table: Array) -> Array:
    """Return the recall of the first of two classes, the negative one; NaN without negatives."""
    return recalls(table)[..., 0]


def matthews(table: Array) -> Array:
    """Return Matthews' correlation of targets and predictions (Gorodkin 2004 for several classes).

    0 where all predictions are one class, NaN where all targets are.

    No answer is a class of its own that is never right, as ``matthews_corrcoef`` sees it when given a label for it.
    """
    n = table.sum(axis=(-2, -1)).astype(np.float64)
    target, guess = table.sum(axis=-1).astype(np.float64), table.sum(axis=-2).astype(np.float64)
    covariance = _hits(table).sum(axis=-1) * n - (target * guess[..., :-1]).sum(axis=-1)
    spread = np.sqrt((n**2 - (target**2).sum(axis=-1)) * (n**2 - (guess**2).sum(axis=-1)))
    several = np.count_nonzero(target, axis=-1) > 1
    return np.where(several, np.nan_to_num(ratio(covariance, spread)), np.nan)


def kappa(table: Array, quadratic: bool = False) -> Array:
    """Return Cohen's kappa (1960); ``quadratic`` weighs a disagreement by the squared distance of ordered classes.

    No answer is a class of its own; on a scale (``quadratic``) it counts as the class farthest from the target.
    NaN where targets and predictions are all of one class.
    """
    if quadratic:
        table = _answered(table)
    size = table.shape[-1]
    steps = np.abs(np.arange(table.shape[-2])[:, None] - np.arange(size)).astype(np.float64)
    cost = steps**2 if quadratic else (steps > 0).astype(np.float64)
    n = table.sum(axis=(-2, -1))
    seen = (table * cost).sum(axis=(-2, -1)) * n
    chance = np.einsum("...t,tp,...p->...", table.sum(axis=-1), cost, table.sum(axis=-2), dtype=np.float64)
    return 1 - ratio(seen, chance)


def _answered(table: Array) -> Array:
    """Return square counts: the last column's rows become the class farthest from their target."""
    size = table.shape[-2]
    square = table[..., :size].copy()
    for target in range(size):
        square[..., target, 0 if target > (size - 1) / 2 else size - 1] += table[..., target, size]
    return np.asarray(square)


def _hits(table: Array) -> Array:
    found: Array = np.einsum("...ii->...i", table[..., :, : table.shape[-2]])
    return found

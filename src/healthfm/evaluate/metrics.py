"""Metrics of classification from confusion counts, so that one formula serves the point value and its resamples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def confusion(targets: Array, predictions: Array, classes: int) -> npt.NDArray[np.int64]:
    """Return counts [target, prediction] from class indices; a prediction of -1 (no answer) goes to a last column."""
    columns = np.where(predictions < 0, classes, predictions)
    table = np.zeros((classes, classes + 1), dtype=np.int64)
    np.add.at(table, (targets, columns), 1)
    return table


def accuracy(table: Array) -> Array:
    """Return the share of correct predictions from confusion counts [..., target, prediction]."""
    correct = np.einsum("...ii->...", table[..., :, : table.shape[-2]])
    return np.asarray(correct / table.sum(axis=(-2, -1)))


def macro_f1(table: Array) -> Array:
    """Return the unweighted mean F1 from confusion counts [..., target, prediction].

    The mean runs over the classes that occur in targets or predictions; 0/0 counts as 0 (scikit-learn's
    ``f1_score(average="macro", zero_division=0)`` with its default labels).
    """
    square = table[..., :, : table.shape[-2]]
    hits = np.einsum("...ii->...i", square)
    total = table.sum(axis=-1) + square.sum(axis=-2)  # 2 TP + FP + FN for each class
    f1 = np.divide(2 * hits, total, out=np.zeros_like(total, dtype=np.float64), where=total > 0)
    present = total > 0
    return np.asarray((f1 * present).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1))


def reliability(confidence: Array, correct: Array) -> list[dict[str, float]]:
    """Return equal-mass bins of confidence: mean confidence, accuracy and count of each, in rising order.

    Ten bins, fewer where they would hold under ten samples each.
    """
    bins = max(1, min(10, len(confidence) // 10))
    order = np.argsort(confidence, kind="stable")
    return [
        {"confidence": float(confidence[part].mean()), "accuracy": float(correct[part].mean()), "n": len(part)}
        for part in np.array_split(order, bins)
    ]  # fmt: skip


def expected_calibration_error(curve: list[dict[str, float]]) -> float:
    """Return the ECE of a reliability curve: the mean gap of confidence and accuracy, weighted by bin count."""
    total = sum(one["n"] for one in curve)
    return sum(one["n"] * abs(one["confidence"] - one["accuracy"]) for one in curve) / total

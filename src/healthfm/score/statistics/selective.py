"""Answering only where sure: the risk among the surest share of rows, and its area (AURC)."""

from __future__ import annotations

from typing import Any

import numpy as np

from healthfm.score.metrics.arrays import lanes, ratio
from healthfm.score.statistics.statistic import Bools, Counts, Floats, Statistic, Values, of_counts

POINTS = 100


def risk_coverage(confidence: Floats, correct: Bools) -> tuple[Floats, Floats]:
    """Return coverage and risk [n]: the share of wrong rows among the k surest, for k = 1..n (Geifman and El-Yaniv 2017).

    Rows of equal confidence come in no order: each counts with their mean.
    """
    order = np.argsort(-confidence, kind="stable")
    _, group, size = np.unique(-confidence[order], return_inverse=True, return_counts=True)
    wrong = np.bincount(group, weights=~correct[order]) / size
    k = np.arange(1, len(confidence) + 1)
    return k / len(k), np.cumsum(wrong[group]) / k


def curve(confidence: Floats, correct: Bools) -> dict[str, list[float]]:
    """Return the risk-coverage curve at a hundred points or fewer."""
    coverage, risk = risk_coverage(confidence, correct)
    kept = np.unique(np.linspace(0, len(risk) - 1, min(POINTS, len(risk))).round().astype(int))
    return {"coverage": coverage[kept].tolist(), "risk": risk[kept].tolist()}


def aurc(confidence: Floats, correct: Bools) -> Statistic:
    """Return the area under the risk-coverage curve, the mean of the risks, as a statistic; ties as in ``risk_coverage``."""
    order = np.argsort(-confidence, kind="stable")
    _, starts = np.unique(-confidence[order], return_index=True)
    wrong = (~correct[order]).astype(np.int16)[:, None]

    def at(counts: Counts) -> Values:
        drawn = lanes(counts)[order]
        size = np.add.reduceat(drawn, starts, axis=0, dtype=np.int64)
        errors = np.add.reduceat(drawn * wrong, starts, axis=0, dtype=np.int64)
        seen, missed = np.cumsum(size, axis=0), np.cumsum(errors, axis=0)
        harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, seen[-1].max() + 1))])
        share = np.nan_to_num(ratio(errors, size))
        harmonics = np.diff(harmonic[seen], axis=0, prepend=0.0)
        # within a group the risk at k is (missed before + share (k - seen before)) / k, summed over its rows
        risks = errors + (missed - errors - share * (seen - size)) * harmonics
        return np.asarray(risks.sum(axis=0) / seen[-1])

    return of_counts("aurc", len(confidence), at, lower_is_better=True)


def of_rows(confidence: Floats, correct: Bools, area: dict[str, Any]) -> dict[str, Any]:
    """Return what ``metrics.json`` says of selective prediction: the curve, and its area with the interval given."""
    return {
        **curve(confidence, correct),
        "aurc": area["value"],
        "aurc_low": area["low"],
        "aurc_high": area["high"],
        "method": area["method"],
    }

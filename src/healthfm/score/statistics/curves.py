"""ROC and precision-recall curves to draw, and learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.score.statistics.statistic import Bools, Floats

POINTS = 200


def roc_and_pr(ranked: Mapping[str, tuple[Bools, Floats]]) -> dict[str, list[dict[str, Any]]]:
    """Return the curves of each class that has positives and negatives, thinned to ``POINTS`` points for drawing.

    The areas are those of the whole curve.
    """
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve  # a second to import

    curves: dict[str, list[dict[str, Any]]] = {"roc": [], "pr": []}
    for name, (truth, score) in ranked.items():
        if truth.all() or not truth.any():
            continue
        fpr, tpr, _ = roc_curve(truth, score)
        precision, recall, _ = precision_recall_curve(truth, score)
        area, mean = float(auc(fpr, tpr)), float(average_precision_score(truth, score))
        curves["roc"].append({"class": name, "fpr": _thin(fpr), "tpr": _thin(tpr), "auroc": area})
        curves["pr"].append(
            {"class": name, "recall": _thin(recall), "precision": _thin(precision), "average_precision": mean}
        )
    return curves


def _thin(points: npt.NDArray[Any]) -> list[float]:
    kept = np.unique(np.linspace(0, len(points) - 1, min(POINTS, len(points))).round().astype(int))
    values: list[float] = points[kept].tolist()
    return values

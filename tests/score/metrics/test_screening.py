"""What a screening is asked equals scikit-learn's partial area and the sensitivity that AIROGS' own script reads off the curve."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from healthfm import RunError, evaluate_predictions
from healthfm.score.metrics.arrays import lanes
from healthfm.score.metrics.screening import HighSpecificity


def theirs(truth: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """As airogs-evaluation's evaluation.py: ``roc_auc_score(max_fpr=0.1)``, and the last sensitivity at a specificity of 0.95."""
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    return roc_auc_score(truth, score, max_fpr=1 - 0.9), tpr[1 - fpr >= 0.95 - sys.float_info.epsilon][-1]


def test_area_and_sensitivity_are_airogs() -> None:
    rng = np.random.default_rng(0)
    for size, digits in ((8, 1), (40, 1), (60, 3), (200, 2)):
        truth = rng.random(size) < 0.3
        truth[:2] = True, False
        score = np.round(rng.random(size) + 0.4 * truth, digits)
        counts = np.stack([np.ones(size, int), rng.multinomial(size, [1 / size] * size) + truth])
        curve = HighSpecificity(truth, score)
        for i, one in enumerate(counts):
            found = curve.area(lanes(counts))[i], curve.sensitivity(lanes(counts))[i]
            assert found == pytest.approx(theirs(np.repeat(truth, one), np.repeat(score, one)), abs=1e-12)
    assert np.isnan(curve.area(lanes(truth[None].astype(int)))).all()  # no negative drawn


def test_a_screening_begins_with_the_partial_area_and_needs_probabilities() -> None:
    truth = np.array([1] * 8 + [0] * 40)
    risk = np.where(truth, 0.8, 0.2) + np.linspace(-0.15, 0.15, 48)
    names = ["NRG", "RG"]
    table = {"id": [str(i) for i in range(48)], "target": [names[i] for i in truth]}
    run = evaluate_predictions(
        {**table, "options": [names] * 48, "probabilities": [[1 - p, p] for p in risk]}, "screening", classes=names
    )
    assert run.scores["headline"] == "partial_auroc_90"
    found = tuple(run.metrics[name]["value"] for name in ("partial_auroc_90", "sensitivity_at_95_specificity"))
    assert found == pytest.approx(theirs(truth, risk)) and run.metrics["auroc"]["value"] == pytest.approx(
        roc_auc_score(truth, risk)
    )
    with pytest.raises(RunError, match="needs the probability of 'RG'"):
        evaluate_predictions({**table, "prediction": table["target"]}, "screening", classes=names)

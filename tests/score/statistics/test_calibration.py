"""Calibration: bins, their error with its interval, and a temperature fitted on other samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, log_loss

from healthfm import RunError, evaluate_predictions
from healthfm.score import scoring
from healthfm.score.statistics import bootstrap, calibration


def test_reliability_bins_hold_equally_many_samples_in_rising_order_of_confidence() -> None:
    confidence = np.array([0.9, 0.1] * 15)
    correct = np.array([1.0, 0.0] * 10 + [0.0, 0.0] * 5)
    curve = calibration.reliability(confidence, correct)
    assert [one["n"] for one in curve] == [10, 10, 10]
    assert [one["confidence"] for one in curve] == pytest.approx([0.1, (5 * 0.1 + 5 * 0.9) / 10, 0.9])
    assert [one["accuracy"] for one in curve] == pytest.approx([0, 0.5, 0.5])  # the sort is stable: rows in their order


def test_expected_calibration_error_weighs_each_bin_by_its_count() -> None:
    curve = [
        {"confidence": 0.6, "accuracy": 0.5, "n": 30.0},
        {"confidence": 0.8, "accuracy": 1.0, "n": 10.0},
    ]
    assert calibration.expected_calibration_error(curve) == pytest.approx((30 * 0.1 + 10 * 0.2) / 40)


@pytest.mark.parametrize(("n", "bins"), [(1, 1), (9, 1), (19, 1), (20, 2), (55, 5), (100, 10), (1_003, 10)])
def test_there_are_at_most_ten_bins_of_at_least_ten_samples(n: int, bins: int) -> None:
    curve = calibration.reliability(np.linspace(0, 1, n), np.ones(n))
    assert len(curve) == bins
    assert sum(one["n"] for one in curve) == n
    assert max(one["n"] for one in curve) - min(one["n"] for one in curve) <= 1


def test_a_calibrated_model_has_no_calibration_error_and_an_overconfident_one_has() -> None:
    assert (
        calibration.expected_calibration_error(calibration.reliability(np.full(40, 0.5), np.tile([1.0, 0.0], 20))) == 0
    )
    certain = calibration.reliability(np.ones(40), np.tile([1.0, 0.0], 20))
    assert calibration.expected_calibration_error(certain) == pytest.approx(0.5)


def test_brier_score_of_two_classes_is_twice_scikit_learns_one_sided_score() -> None:
    rng = np.random.default_rng(1)
    p, target = rng.random(50), rng.integers(0, 2, 50)
    table = pa.table({
        "id": range(50), "target": target, "options": [["0", "1"]] * 50, "probabilities": [[1 - q, q] for q in p],
    })  # fmt: skip
    found = scoring.score(scoring.check_table(table, "multi-class"), "multi-class")["calibration"]
    assert found["brier"] == pytest.approx(2 * brier_score_loss(target, p))


def test_each_bin_has_the_exact_interval_of_its_accuracy() -> None:
    curve = calibration.reliability(np.linspace(0, 1, 30), np.tile([1.0, 1.0, 0.0], 10))
    for one in curve:
        exact = stats.binomtest(round(one["accuracy"] * 10), 10).proportion_ci(method="exact")
        assert (one["low"], one["high"]) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_the_error_as_a_statistic_is_that_of_the_drawn_rows_in_the_same_bins() -> None:
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(40), rng.random(40) < 0.6
    counts = rng.integers(0, 4, (5, 40))
    found = calibration.ece(confidence, correct)
    assert found.value == pytest.approx(
        calibration.expected_calibration_error(calibration.reliability(confidence, correct))
    )
    for one, value in zip(counts, found.at(counts), strict=True):
        gaps = [abs(np.sum(one[part] * (confidence[part] - correct[part]))) for part in calibration.bins(confidence)]
        assert value == pytest.approx(sum(gaps) / one.sum())


def test_the_error_of_a_table_lies_in_its_interval() -> None:
    for seed in range(3):
        found = evaluate_predictions(table(200, 1.0, seed), "multi-class").scores["calibration"]
        assert found["ece_low"] <= found["ece"] <= found["ece_high"] and found["ece_low"] < found["ece_high"]
        assert "bins stay as they are" in found["rule"]


def table(n: int, sharpness: float, seed: int, **more: Any) -> pa.Table:
    """Three classes drawn from probabilities that are then sharpened: 1 leaves them true."""
    rng = np.random.default_rng(seed)
    true = rng.dirichlet(np.ones(3), n)
    target = [str(rng.choice(3, p=p)) for p in true]
    stated = true**sharpness / (true**sharpness).sum(axis=1, keepdims=True)
    columns = {"id": [f"{seed}-{i}" for i in range(n)], "target": target, "options": [["0", "1", "2"]] * n}
    return scoring.check_table(pa.table(columns | {"probabilities": stated.tolist()} | more), "multi-class")


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_sharpening(sharpness: float) -> None:
    """Probabilities raised to a power are undone by that power; 3,000 samples find it to a few per cent."""
    assert calibration.fit_temperature(table(3_000, sharpness, 0)) == pytest.approx(sharpness, rel=0.08)


def test_rescaling_makes_other_samples_likelier_and_keeps_their_answers() -> None:
    validation, test = table(1_000, 3.0, 0), table(1_000, 3.0, 1)
    scaled, temperature = calibration.rescale(test, validation)
    before, after = (np.array(one["probabilities"].to_pylist()) for one in (test, scaled))
    target = test["target"].to_pylist()
    assert log_loss(target, after) < log_loss(target, before) - 0.1
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()
    np.testing.assert_allclose(
        after, before ** (1 / temperature) / (before ** (1 / temperature)).sum(axis=1, keepdims=True)
    )


def test_a_temperature_is_not_applied_to_the_samples_or_patients_it_was_fitted_on() -> None:
    one = table(20, 1.0, 0)
    with pytest.raises(RunError, match="20 values of id are in both tables"):
        calibration.rescale(one, one)
    patients = [f"p{i}" for i in range(20)]
    with pytest.raises(RunError, match="20 values of patient are in both tables"):
        calibration.rescale(table(20, 1.0, 1, patient=patients), table(20, 1.0, 0, patient=patients))


def test_the_error_of_a_calibrated_model_may_be_0_and_that_of_another_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten bins of thirty rows: resampled errors of the calibrated one lie above 0 all of them."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 500)
    above = {0.0: 0, 0.3: 0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        confidence = rng.uniform(0.5, 0.95, 300)
        for off in above:
            statistic = calibration.ece(confidence, rng.random(300) < confidence - off)
            one = bootstrap.intervals([statistic], 300, seed)["ece"]
            assert 0 <= one.low <= statistic.value <= one.high <= 1 and "distance" in one.method
            above[off] += one.low > 0
    assert above[0.0] <= 4 and above[0.3] == 20

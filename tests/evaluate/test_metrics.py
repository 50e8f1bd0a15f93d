"""Metrics equal scikit-learn's, for one table and for many at once."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score

from healthfm.evaluate import metrics

NONE = 99  # scikit-learn's stand-in for an answer that was not given


def sklearn_macro_f1(truth: np.ndarray, guess: np.ndarray) -> float:
    present = sorted((set(truth) | set(guess)) - {-1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return f1_score(truth, np.where(guess < 0, NONE, guess), labels=present, average="macro", zero_division=0)


@st.composite
def answers(draw: st.DrawFn, least: int = 1, most: int = 6) -> tuple[np.ndarray, np.ndarray, int]:
    classes = draw(st.integers(least, most))
    n = draw(st.integers(1, 40))
    truth = draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n))
    guess = draw(st.lists(st.integers(-1, classes - 1), min_size=n, max_size=n))
    return np.array(truth), np.array(guess), classes


@given(answers())
def test_accuracy_and_macro_f1_equal_scikit_learn(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, guess, classes = case
    table = metrics.confusion(truth, guess, classes)
    assert metrics.accuracy(table) == pytest.approx(accuracy_score(truth, guess), abs=1e-12)
    assert metrics.macro_f1(table) == pytest.approx(sklearn_macro_f1(truth, guess), abs=1e-12)


@pytest.mark.parametrize(
    ("truth", "guess", "classes"),
    [
        ([0, 0, 1], [0, 0, 1], 5),  # classes that occur nowhere are not averaged in
        ([0, 0, 0], [1, 2, 2], 4),  # a class that is only ever predicted counts 0
        ([0, 1, 2], [-1, -1, -1], 3),  # nothing answered
        ([0, 1, 1], [-1, 1, 1], 2),
        ([3], [3], 4),
        ([0], [1], 2),
    ],
)
def test_edge_tables_equal_scikit_learn(truth: list[int], guess: list[int], classes: int) -> None:
    table = metrics.confusion(np.array(truth), np.array(guess), classes)
    assert metrics.accuracy(table) == pytest.approx(accuracy_score(truth, guess))
    assert metrics.macro_f1(table) == pytest.approx(sklearn_macro_f1(np.array(truth), np.array(guess)))


def test_a_large_random_table_equals_scikit_learn_with_its_default_labels() -> None:
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 7, 5_000), rng.integers(0, 7, 5_000)
    table = metrics.confusion(truth, guess, 9)
    assert metrics.macro_f1(table) == pytest.approx(f1_score(truth, guess, average="macro", zero_division=0), abs=1e-12)


def test_confusion_counts_targets_in_rows_and_no_answer_in_the_last_column() -> None:
    table = metrics.confusion(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, -1, -1]), 2)
    assert table.tolist() == [[1, 1, 0], [0, 1, 2]]


def test_an_unanswered_question_counts_as_wrong() -> None:
    table = metrics.confusion(np.array([0, 0, 1, 1]), np.array([0, 0, 1, -1]), 2)
    assert metrics.accuracy(table) == 0.75
    assert metrics.macro_f1(table) == pytest.approx((1 + 2 / 3) / 2)


@given(st.lists(answers(3, 3), min_size=1, max_size=4))
def test_many_tables_at_once_give_each_table_its_value(cases: list[tuple[np.ndarray, np.ndarray, int]]) -> None:
    tables = np.stack([metrics.confusion(truth, guess, 3) for truth, guess, _ in cases])
    for formula in (metrics.accuracy, metrics.macro_f1):
        single = [float(formula(table)) for table in tables]
        assert formula(tables).tolist() == pytest.approx(single)
        assert formula(tables[None, :, None]).shape == (1, len(cases), 1)
        assert formula(tables.astype(float)).tolist() == pytest.approx(single)


def test_reliability_bins_hold_equally_many_samples_in_rising_order_of_confidence() -> None:
    confidence = np.array([0.9, 0.1] * 15)
    correct = np.array([1.0, 0.0] * 10 + [0.0, 0.0] * 5)
    curve = metrics.reliability(confidence, correct)
    assert [one["n"] for one in curve] == [10, 10, 10]
    assert [one["confidence"] for one in curve] == pytest.approx([0.1, (5 * 0.1 + 5 * 0.9) / 10, 0.9])
    assert [one["accuracy"] for one in curve] == pytest.approx([0, 0.5, 0.5])  # the sort is stable: rows in their order


def test_expected_calibration_error_weighs_each_bin_by_its_count() -> None:
    curve = [
        {"confidence": 0.6, "accuracy": 0.5, "n": 30.0},
        {"confidence": 0.8, "accuracy": 1.0, "n": 10.0},
    ]
    assert metrics.expected_calibration_error(curve) == pytest.approx((30 * 0.1 + 10 * 0.2) / 40)


@pytest.mark.parametrize(("n", "bins"), [(1, 1), (9, 1), (19, 1), (20, 2), (55, 5), (100, 10), (1_003, 10)])
def test_there_are_at_most_ten_bins_of_at_least_ten_samples(n: int, bins: int) -> None:
    curve = metrics.reliability(np.linspace(0, 1, n), np.ones(n))
    assert len(curve) == bins
    assert sum(one["n"] for one in curve) == n
    assert max(one["n"] for one in curve) - min(one["n"] for one in curve) <= 1


def test_a_calibrated_model_has_no_calibration_error_and_an_overconfident_one_has() -> None:
    assert metrics.expected_calibration_error(metrics.reliability(np.full(40, 0.5), np.tile([1.0, 0.0], 20))) == 0
    certain = metrics.reliability(np.ones(40), np.tile([1.0, 0.0], 20))
    assert metrics.expected_calibration_error(certain) == pytest.approx(0.5)


def test_brier_score_of_two_classes_is_twice_scikit_learns_one_sided_score() -> None:
    import pyarrow as pa

    from healthfm.evaluate import scoring

    rng = np.random.default_rng(1)
    p, target = rng.random(50), rng.integers(0, 2, 50)
    table = pa.table({
        "id": range(50), "target": target, "options": [["0", "1"]] * 50, "probabilities": [[1 - q, q] for q in p],
    })  # fmt: skip
    found = scoring.score(scoring.check_table(table, "multi-class"), "multi-class")["calibration"]
    assert found["brier"] == pytest.approx(2 * brier_score_loss(target, p))

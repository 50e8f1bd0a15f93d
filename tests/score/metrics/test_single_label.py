"""Metrics equal scikit-learn's, for one table and for many at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    matthews_corrcoef,
    recall_score,
)

from healthfm.score import metrics
from healthfm.score.metrics import single_label

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


@given(answers(2))
def test_balanced_accuracy_mcc_and_kappa_equal_scikit_learn(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, guess, classes = case
    table = metrics.confusion(truth, guess, classes)
    given = np.where(guess < 0, NONE, guess)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert single_label.balanced_accuracy(table) == pytest.approx(balanced_accuracy_score(truth, given), abs=1e-12)
        mcc = (
            matthews_corrcoef(truth, given) if len(set(truth)) > 1 else np.nan
        )  # there it is 0: not defined, says ours
        assert single_label.matthews(table) == pytest.approx(mcc, abs=1e-12, nan_ok=True)
        theirs = cohen_kappa_score(truth, given)
    assert single_label.kappa(table) == pytest.approx(theirs, abs=1e-12, nan_ok=True)


@given(answers(2))
def test_quadratic_kappa_equals_scikit_learns_with_the_unanswered_at_the_far_end(
    case: tuple[np.ndarray, np.ndarray, int],
) -> None:
    truth, guess, classes = case
    far = np.where(truth > (classes - 1) / 2, 0, classes - 1)
    found = single_label.kappa(metrics.confusion(truth, guess, classes), quadratic=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = cohen_kappa_score(truth, np.where(guess < 0, far, guess), labels=range(classes), weights="quadratic")
    assert found == pytest.approx(theirs, abs=1e-12, nan_ok=True)


def test_quadratic_kappa_of_a_worked_example() -> None:
    """Of eight rows one is off by one grade and two are off by two; chance is what the margins alone would cost."""
    truth, guess = np.array([0, 0, 0, 1, 1, 1, 2, 2]), np.array([0, 0, 2, 1, 1, 2, 2, 0])
    cost = 4 + 1 + 4
    margins_truth, margins_guess = [3, 3, 2], [3, 2, 3]
    chance = sum((i - j) ** 2 * margins_truth[i] * margins_guess[j] for i in range(3) for j in range(3)) / 8
    found = single_label.kappa(metrics.confusion(truth, guess, 3), quadratic=True)
    assert found == pytest.approx(1 - cost / chance)


@given(answers(2, 2))
def test_sensitivity_and_specificity_are_the_recalls_of_the_second_and_first_class(
    case: tuple[np.ndarray, np.ndarray, int],
) -> None:
    truth, guess, _ = case
    table = metrics.confusion(truth, guess, 2)
    for formula, side in ((single_label.sensitivity, 1), (single_label.specificity, 0)):
        theirs = recall_score(truth == side, guess == side, zero_division=np.nan)
        assert formula(table) == pytest.approx(theirs, nan_ok=True)


@pytest.mark.parametrize("formula", [single_label.matthews, single_label.kappa, single_label.balanced_accuracy])
def test_many_tables_at_once_equal_each_alone(formula: Callable[[np.ndarray], np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    tables = rng.integers(0, 9, (2, 5, 3, 4))
    each = [[float(formula(table)) for table in row] for row in tables]
    np.testing.assert_allclose(formula(tables), each)

"""AUROC and average precision under counts equal scikit-learn's of the same resamples, ties included."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from healthfm.score.metrics.arrays import lanes
from healthfm.score.metrics.discrimination import Auroc, AveragePrecision, macro
from healthfm.score.statistics.bootstrap import draws

KERNELS = {Auroc: roc_auc_score, AveragePrecision: average_precision_score}
Case = tuple[np.ndarray, np.ndarray, np.ndarray]


@st.composite
def drawn_rows(draw: st.DrawFn) -> Case:
    """Truth, scores with many ties, and three resamples' counts, some of which leave a class out."""
    n = draw(st.integers(2, 25))
    truth = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    score = draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n))
    counts = draw(st.lists(st.lists(st.integers(0, 4), min_size=n, max_size=n), min_size=3, max_size=3))
    return np.array(truth), np.array(score) / 7, np.array(counts)


def scikit_learns(metric: object, truth: np.ndarray, score: np.ndarray, counts: np.ndarray) -> float:
    rows = np.repeat(np.arange(len(truth)), counts)  # the resample itself, not weights
    if (metric is Auroc and len(set(truth[rows])) < 2) or not truth[rows].any():
        return np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return KERNELS[metric](truth[rows], score[rows])


@pytest.mark.parametrize("metric", KERNELS)
@given(case=drawn_rows())
def test_a_resamples_value_is_scikit_learns_of_its_rows(metric: type, case: Case) -> None:
    truth, score, counts = case
    found = metric(truth, score).at(lanes(counts))
    theirs = [scikit_learns(metric, truth, score, one) for one in counts]
    np.testing.assert_allclose(found, theirs, atol=1e-12)


@pytest.mark.parametrize("metric", KERNELS)
@given(case=drawn_rows(), seed=st.integers(0, 9))
def test_rows_that_are_not_known_are_left_out(metric: type, case: Case, seed: int) -> None:
    truth, score, counts = case
    known = np.random.default_rng(seed).random(len(truth)) < 0.7
    found = metric(truth, score, known).at(lanes(counts))
    np.testing.assert_array_equal(found, metric(truth[known], score[known]).at(lanes(counts[:, known])))


@pytest.mark.parametrize("metric", KERNELS)
@pytest.mark.parametrize("digits", [1, 12])
@pytest.mark.parametrize("share", [0.03, 0.5, 0.96])
def test_ten_thousand_rows_equal_scikit_learn_to_a_tenth_of_a_billionth(
    metric: type, digits: int, share: float
) -> None:
    rng = np.random.default_rng(3)
    truth = rng.random(10_000) < share
    score = np.round(rng.standard_normal(10_000) + truth, digits)
    counts = next(iter(draws(10_000, 0)))()[:3]
    theirs = [scikit_learns(metric, truth, score, one) for one in counts]
    np.testing.assert_allclose(metric(truth, score).at(lanes(counts)), theirs, rtol=0, atol=1e-10)


def test_a_worked_example_with_a_tie() -> None:
    """Positives 0.8, 0.5; negatives 0.5, 0.2, 0.1: of six pairs five are right and one is a tie."""
    truth, score = np.array([1, 1, 0, 0, 0], bool), np.array([0.8, 0.5, 0.5, 0.2, 0.1])
    once = lanes(np.ones((1, 5), int))
    assert Auroc(truth, score).at(once) == [pytest.approx(5.5 / 6)]
    assert AveragePrecision(truth, score).at(once) == [pytest.approx((1 + 2 / 3) / 2)]


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.int64])
def test_counts_of_any_integer_type_give_the_same_value(kind: type) -> None:
    """The sums of these counts do not fit their own small type."""
    rng = np.random.default_rng(0)
    truth, score = rng.random(2_000) < 0.4, rng.integers(0, 50, 2_000) / 50
    counts = rng.integers(0, 100, (4, 2_000))
    found = Auroc(truth, score).at(lanes(counts.astype(kind)))
    theirs = [roc_auc_score(truth, score, sample_weight=one) for one in counts]
    np.testing.assert_allclose(found, theirs, atol=1e-12)


@pytest.mark.parametrize(("total", "kind"), [(2**15 - 1, np.int16), (2**15, np.int32), (2**31, np.int64)])
def test_counts_are_kept_in_the_narrowest_type_that_holds_their_sum(total: int, kind: type) -> None:
    assert lanes(np.array([[total - 5, 5], [1, 1]])).dtype == kind


@pytest.mark.parametrize("total", [2**15 - 1, 2**15, 40_000])
def test_the_largest_sums_of_a_type_do_not_overflow(total: int) -> None:
    """Half the rows positive, all tied: the most pairs there can be."""
    counts = np.array([[total // 2, total - total // 2]])
    assert Auroc(np.array([True, False]), np.zeros(2)).at(lanes(counts)) == [0.5]
    assert Auroc(np.array([True, False]), np.array([1.0, 0])).at(lanes(counts)) == [1]


def test_the_mean_over_classes_leaves_out_those_a_resample_has_no_row_of() -> None:
    truth = np.array([[1, 0], [0, 1], [0, 0], [1, 0]], bool)
    score = np.array([[0.9, 0.1], [0.2, 0.3], [0.4, 0.5], [0.3, 0.2]])
    kernels = [Auroc(truth[:, i], score[:, i]) for i in range(2)]
    counts = np.array([[1, 1, 1, 1], [1, 0, 2, 1], [2, 0, 0, 2]])
    whole = (roc_auc_score(truth[:, 0], score[:, 0]) + roc_auc_score(truth[:, 1], score[:, 1])) / 2
    first = roc_auc_score([1, 0, 0, 1], [0.9, 0.4, 0.4, 0.3])
    np.testing.assert_allclose(macro(kernels, lanes(counts)), [whole, first, np.nan])

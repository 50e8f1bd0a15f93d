"""Metrics of numbers under counts equal scikit-learn's and scipy's of the resamples; concordance scikit-survival's."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from healthfm.score.metrics.arrays import lanes
from healthfm.score.metrics.regression import Concordance, Spearman, concordance, errors
from tests.references.array_cases import survival

EXPECTED = json.loads((Path(__file__).parents[2] / "data/expected/array_metrics.json").read_text())["concordance"]
Case = tuple[np.ndarray, np.ndarray, np.ndarray]


@st.composite
def numbers(draw: st.DrawFn) -> Case:
    n = draw(st.integers(2, 20))
    target = draw(st.lists(st.integers(-5, 5), min_size=n, max_size=n))
    guess = draw(st.lists(st.integers(-5, 5), min_size=n, max_size=n))
    counts = draw(st.lists(st.lists(st.integers(0, 3), min_size=n, max_size=n), min_size=2, max_size=2))
    return np.array(target) / 3 + 100, np.array(guess) / 3 + 100, np.array(counts)


@given(numbers())
def test_a_resamples_values_are_those_of_its_rows(case: Case) -> None:
    target, guess, counts = case
    found = errors(target, guess, counts)
    ranks = Spearman(target, guess).at(lanes(counts))
    for i, one in enumerate(counts):
        x, y = np.repeat(target, one), np.repeat(guess, one)
        if len(x) == 0:
            assert all(np.isnan(values[i]) for values in (*found.values(), ranks))
            continue
        assert found["mae"][i] == pytest.approx(mean_absolute_error(x, y))
        assert found["rmse"][i] == pytest.approx(root_mean_squared_error(x, y), abs=1e-9)
        vary = len(set(x)) > 1
        assert found["r2"][i] == pytest.approx(r2_score(x, y) if vary else np.nan, nan_ok=True)
        both = vary and len(set(y)) > 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = (stats.pearsonr(x, y)[0], stats.spearmanr(x, y)[0]) if both else (np.nan, np.nan)
        assert (found["pearson"][i], ranks[i]) == pytest.approx(theirs, abs=1e-7, nan_ok=True)


@pytest.mark.parametrize("seed", range(6))
def test_censored_concordance_equals_scikit_survivals(seed: int) -> None:
    assert concordance(*survival(seed)) == pytest.approx(EXPECTED[seed], abs=1e-6)


def test_concordance_of_a_worked_example() -> None:
    """Times 1, 2+ (censored), 3, 3+: the pairs known are the first with each other (two won, one tied), and 3 with 3+ (lost)."""
    time, event = np.array([1.0, 2, 3, 3]), np.array([True, False, True, False])
    assert concordance(time, np.array([1.0, 1, 5, 4]), event) == pytest.approx(2.5 / 4)
    assert np.isnan(concordance(time, time, np.zeros(4, bool)))


@given(numbers())
def test_concordance_under_counts_is_that_of_the_drawn_rows(case: Case) -> None:
    target, guess, counts = case
    found = Concordance(target, guess).at(counts)
    theirs = [concordance(np.repeat(target, one), np.repeat(guess, one)) for one in counts]
    np.testing.assert_allclose(found, theirs)


def test_bias_and_limits_are_bland_and_altmans_of_a_resample() -> None:
    """Their table 1 of 1986: peak flow by two meters, first readings; mean difference -2.1 l/min, standard deviation 38.8."""
    wright = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    mini = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    x, y = np.array(mini, float), np.array(wright, float)
    found = errors(x, y, np.array([[1] * 17, [2] * 17, [1] + [0] * 16]))
    assert round(found["bias"][0], 1) == -2.1
    half = (found["agreement_high"] - found["agreement_low"]) / 2
    assert half[0] / 1.96 == pytest.approx(np.std(y - x, ddof=1)) == pytest.approx(38.8, abs=0.05)
    assert half[1] / 1.96 == pytest.approx(np.std(np.repeat(y - x, 2), ddof=1)) and np.isnan(half[2])

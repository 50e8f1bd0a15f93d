"""Risk among the surest rows, and its area."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthfm.score.statistics import selective


def test_a_worked_example_with_a_tie() -> None:
    """Surest first: right; then two equally sure of which one is wrong (half each); then wrong."""
    confidence, correct = np.array([0.6, 0.9, 0.8, 0.8]), np.array([False, True, True, False])
    coverage, risk = selective.risk_coverage(confidence, correct)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert risk.tolist() == pytest.approx([0, 0.5 / 2, 1 / 3, 2 / 4])
    assert selective.aurc(confidence, correct).value == pytest.approx(np.mean(risk))


@given(st.integers(1, 20), st.integers(0, 500))
def test_the_area_under_counts_is_the_mean_risk_of_the_drawn_rows(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence, correct = rng.integers(0, 6, n) / 6, rng.random(n) < 0.6
    counts = rng.integers(0, 3, (3, n)) + (np.arange(n) == 0)
    found = selective.aurc(confidence, correct).at(counts)
    for one, value in zip(counts, found, strict=True):
        _, risk = selective.risk_coverage(np.repeat(confidence, one), np.repeat(correct, one))
        assert value == pytest.approx(risk.mean())


def test_the_order_of_equally_sure_rows_does_not_matter() -> None:
    confidence = np.repeat([0.9, 0.5], 10)
    correct = np.tile([True] * 5 + [False] * 5, 2)
    shuffled = np.random.default_rng(0).permutation(20)
    assert selective.curve(confidence, correct) == selective.curve(confidence[shuffled], correct[shuffled])


def test_the_curve_to_draw_has_a_hundred_points_and_both_ends() -> None:
    drawn = selective.curve(np.linspace(0, 1, 2_345), np.ones(2_345, bool))
    assert len(drawn["coverage"]) == 100
    assert drawn["coverage"][0] == pytest.approx(1 / 2_345) and drawn["coverage"][-1] == 1

"""Metrics over draws of examples: the mean, an interval of samples and draws, and comparisons draw by draw."""

from __future__ import annotations

import numpy as np
import pytest

from healthfm.score.statistics import draws, estimate
from healthfm.score.statistics.paired import difference
from healthfm.score.statistics.statistic import Statistic, of_mean

N = 200


def drawn(shares: list[float], seed: int = 0, shift: float = 0.0) -> list[Statistic]:
    """Right or wrong by row, for draws that are right so often."""
    rng = np.random.default_rng(seed)
    luck = rng.random((len(shares), N))
    return [of_mean("accuracy", (row < share + shift).astype(float)) for row, share in zip(luck, shares, strict=True)]


def test_the_value_is_the_mean_and_the_interval_holds_draws_and_samples() -> None:
    wide = drawn([0.4, 0.5, 0.6, 0.7, 0.8] * 4)
    narrow = drawn([0.6] * 20)
    found = {
        name: estimate({"accuracy": draws.mean(many)}, [None] * N, 0)["accuracy"]
        for name, many in (("wide", wide), ("narrow", narrow))
    }
    assert found["wide"]["value"] == pytest.approx(np.mean([one.value for one in wide]))
    assert found["wide"]["low"] < 0.42 and found["wide"]["high"] > 0.78  # as far as single draws lie apart
    alone = estimate({"accuracy": narrow[0]}, [None] * N, 0)["accuracy"]
    width = found["narrow"]["high"] - found["narrow"]["low"]
    assert width > 0.8 * (alone["high"] - alone["low"])  # the samples' own spread is in it too
    assert "20 draws of examples" in found["wide"]["method"]


def test_draws_of_one_metric_are_taken_where_all_have_it() -> None:
    one, other = drawn([0.5, 0.9])
    assert set(draws.over([{"accuracy": one, "auroc": one}, {"accuracy": other}])) == {"accuracy"}


def test_the_same_draws_are_compared_draw_by_draw() -> None:
    """A better model on the same lucky and unlucky draws: told apart draw by draw, hidden when the draws are mixed."""
    shares = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8] * 2
    a, b = draws.mean(drawn(shares, shift=0.06)), draws.mean(drawn(shares))
    together, apart = (difference(a, b, lambda: a, N, same_draws=same) for same in (True, False))
    assert together.value == apart.value == pytest.approx(a.value - b.value)
    assert together.p < 0.05 < apart.p
    assert together.low > 0 > apart.low
    assert "the same draws of examples for both" in together.method


def test_a_run_is_not_told_apart_from_itself() -> None:
    a = draws.mean(drawn([0.3, 0.9, 0.5]))
    found = difference(a, a, lambda: a, N, same_draws=True)
    assert (found.value, found.p) == (0, 1) and np.isnan(found.low)


def test_patients_are_drawn_whole() -> None:
    many = draws.mean([of_mean("accuracy", np.repeat(one, 10)) for one in np.eye(20)[:4] + np.arange(20) % 2])
    rows = estimate({"accuracy": many}, [None] * N, 0)["accuracy"]
    whole = estimate({"accuracy": many}, [f"p{i // 10}" for i in range(N)], 0)["accuracy"]
    assert whole["high"] - whole["low"] > 2 * (rows["high"] - rows["low"])
    assert "whole patients (20)" in whole["method"] and "too few to trust" in whole["method"]


def test_no_p_value_of_draws_is_zero() -> None:
    """Of 2,000 resamples none comes near 0: 1 / 2,001, as of a permutation."""
    high, low = (
        draws.mean([of_mean("m", np.linspace(start, start + 0.1, 40)) for _ in range(3)]) for start in (0.9, 0)
    )
    for same in (True, False):
        found = difference(high, low, lambda: high, 40, same_draws=same)
        assert found.p == pytest.approx(1 / (1 + draws.PAIRED_RESAMPLES), rel=1e-12) == pytest.approx(1 / 2_001)

"""Drawn rows and patients: the counts are right, the same for a seed, and every statistic sees the same ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from healthfm.score.statistics import Cells, bootstrap, of_cells, of_counts, of_mean, over_draws, spread, values_of


@pytest.mark.parametrize("n", [1, 7, 5_000, 40_000])
def test_a_resample_draws_as_many_rows_as_there_are(n: int) -> None:
    blocks = [block() for block in bootstrap.draws(n, 3, resamples=50)]
    assert sum(len(block) for block in blocks) == 50
    for block in blocks:
        assert block.shape[1] == n and block.min() >= 0
        assert (block.sum(axis=1, dtype=np.int64) == n).all()


def test_counts_are_multinomial() -> None:
    """Mean 1, variance 1 - 1/n and covariance -1/n for 20,000 resamples of 4 rows; and each of 35 outcomes as often as it should."""
    counts = np.concatenate([block() for block in bootstrap.draws(4, 0, resamples=20_000)])
    np.testing.assert_allclose(np.cov(counts.T), np.eye(4) - 0.25, atol=0.03)
    outcomes, seen = np.unique(counts, axis=0, return_counts=True)
    expected = stats.multinomial.pmf(outcomes, 4, np.full(4, 0.25)) * len(counts)
    assert len(outcomes) == 35
    assert stats.chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > 0.001


def test_threads_do_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.arange(3_000.0)
    found = []
    for cores in ({0}, {0, 1, 2}):
        monkeypatch.setattr(bootstrap.os, "sched_getaffinity", lambda _, cores=cores: cores, raising=False)
        found.append(over_draws(lambda counts: counts @ weight, 3_000, 1))
    assert (found[0] == found[1]).all() and len(set(found[0])) > 9_000


def test_patients_bring_all_their_rows() -> None:
    counts = np.array([[2, 0, 1], [1, 1, 1]])
    assert spread(counts, np.array([0, 0, 2, 1])).tolist() == [[2, 2, 1, 0], [1, 1, 1, 1]]


def test_cells_and_rows_give_a_metric_the_same_values() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 3, 50)
    cells = Cells(rows, 3, lambda counts: counts[..., 1] / counts.sum(axis=-1))
    by_cell, by_row = of_cells("one", cells), of_mean("other", rows == 1)
    counts = rng.integers(0, 3, (6, 50))
    np.testing.assert_allclose(*values_of([by_cell, by_row], counts))
    assert by_cell.value == by_row.value
    big = (counts * 100).astype(np.uint8)  # sums that do not fit the counts' own type
    np.testing.assert_allclose(by_cell.at(big), by_row.at(big))


def test_bca_of_rows_equals_scipys_on_the_same_statistic() -> None:
    """As with cells: two sets of 10,000 resamples differ by about 1.4 % of the width at an end; four times that is 6 %."""
    values = np.random.default_rng(5).lognormal(sigma=1.2, size=60)
    mean = of_counts("mean", 60, lambda counts: counts @ values / counts.sum(axis=1))
    ours = bootstrap.intervals([mean], 60, 0)["mean"]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="BCa", rng=1).confidence_interval
    plain = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=1).confidence_interval
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.06 * width)
    assert abs(plain.high - theirs.high) > 0.06 * width, "this sample would not tell BCa from the percentile interval"


def test_resamples_without_a_value_are_left_out_and_counted() -> None:
    """The metric needs the one row 0: (9/10)^10 = 34.9 % of resamples lack it."""
    needs = of_counts("one", 10, lambda c: np.where(c[:, 0] > 0, c @ np.arange(10.0) / 10, np.nan))
    method = bootstrap.intervals([needs], 10, 0)["one"].method
    lost = int(method.split("not defined in ")[1].split(" of them")[0].replace(",", ""))
    assert lost / 10_000 == pytest.approx(0.9**10, abs=0.02)


def test_many_rows_take_the_percentile_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "JACKKNIFE", 30)
    values = np.random.default_rng(0).exponential(size=31)
    mean = of_counts("mean", 31, lambda counts: counts @ values / counts.sum(axis=1))
    assert bootstrap.intervals([mean], 31, 0)["mean"].method.startswith("percentile bootstrap")
    kept = of_counts("mean", 30, lambda counts: counts @ values[:30] / counts.sum(axis=1))
    assert bootstrap.intervals([kept], 30, 0)["mean"].method.startswith("BCa bootstrap")

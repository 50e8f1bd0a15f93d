"""Closed forms equal scipy's and pROC's, and the rule that picks between them and the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.metrics import roc_auc_score

from healthfm.score.statistics import (
    clopper_pearson,
    delong,
    delong_error,
    estimate,
    number_patients,
    of_counts,
    of_mean,
    placements,
)
from healthfm.score.statistics.statistic import Statistic

# World Federation of Neurological Surgeons grades 1 to 5 of pROC's aSAH patients, by poor and good outcome; the DeLong variance
# is the one pROC's own test expects (tests/testthat/test-var.R, commit ee2877e858bcd2757c05ce797ea64ade2c05885b).
POOR, GOOD = [2, 12, 1, 8, 18], [37, 20, 3, 8, 4]
PROC_VARIANCE = 0.00146991470882363


@given(st.integers(1, 2_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_equals_scipy(case: tuple[int, int]) -> None:
    ours, scipys = clopper_pearson(*case), stats.binomtest(*case).proportion_ci(method="exact")
    assert (ours.low, ours.high) == pytest.approx((scipys.low, scipys.high), abs=1e-10)


@pytest.mark.parametrize("hits", [0, 3, 10, 19, 20])
def test_clopper_pearson_covers_every_true_proportion_at_least_as_often_as_it_says(hits: int) -> None:
    """Exactly, by summing the binomial: no simulation."""
    n = 20
    ends = [clopper_pearson(k, n) for k in range(n + 1)]
    for p in np.linspace(0.001, 0.999, 199) if hits == 0 else [ends[hits].low, ends[hits].high]:
        covered = sum(stats.binom.pmf(k, n, p) for k, one in enumerate(ends) if one.low <= p <= one.high)
        assert covered >= 0.95


def wfns() -> tuple[np.ndarray, np.ndarray]:
    score = np.repeat(np.tile(np.arange(1.0, 6), 2), POOR + GOOD)
    return np.repeat([True, False], [sum(POOR), sum(GOOD)]), score


def test_delong_equals_procs_variance_and_is_taken_on_the_logit_scale() -> None:
    truth, score = wfns()
    area, error, freedom = delong_error(truth, score)
    assert area == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    assert error**2 == pytest.approx(PROC_VARIANCE, rel=1e-12)
    half = stats.t.ppf(0.975, freedom) * error / (area * (1 - area))
    found = delong(truth, score)
    assert (found.low, found.high) == pytest.approx(special.expit(special.logit(area) + np.array([-half, half])))
    assert found.method == "DeLong, logit scale"


@pytest.mark.parametrize("seed", range(5))
def test_error_and_degrees_of_freedom_are_those_of_scipys_brunner_munzel_test(seed: int) -> None:
    """That test asks whether the AUROC is one half, with the same error and Satterthwaite's degrees of freedom."""
    rng = np.random.default_rng(seed)
    truth = np.repeat([True, False], [12, 40])
    score = np.round(rng.standard_normal(52) + 0.5 * truth, 1)
    area, error, freedom = delong_error(truth, score)
    theirs = stats.brunnermunzel(score[~truth], score[truth])
    assert 2 * stats.t.sf(abs(area - 0.5) / error, freedom) == pytest.approx(theirs.pvalue, rel=1e-9)


def test_equal_scores_have_an_auroc_of_one_half_and_no_spread() -> None:
    found = delong(np.repeat([True, False], 10), np.ones(20))
    assert np.isnan([found.low, found.high]).all() and "degenerate" in found.method
    assert found.asdict()["low"] is found.asdict()["high"] is None


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 1_000))
def test_placements_equal_the_papers_sums_over_all_pairs(m: int, n: int, seed: int) -> None:
    """DeLong, DeLong and Clarke-Pearson (1988), equations for V10 and V01, with psi = 1/2 for a tie."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat([True, False], [m, n]))
    score = rng.integers(0, 6, m + n) / 6
    psi = (score[truth][:, None] > score[~truth]) + 0.5 * (score[truth][:, None] == score[~truth])
    area, by_positive, by_negative = placements(truth, score)
    assert area == pytest.approx(psi.mean())
    np.testing.assert_allclose(by_positive, psi.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(by_negative, psi.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize(
    ("separation", "ends"), [(1, (clopper_pearson(4, 4).low, 1)), (-1, (0, clopper_pearson(0, 4).high))]
)
def test_a_perfect_separation_takes_the_exact_interval_of_the_rarer_class(
    separation: int, ends: tuple[float, float]
) -> None:
    truth = np.repeat([True, False], [4, 50])
    found = delong(truth, separation * truth.astype(float))
    assert (found.low, found.high) == pytest.approx(ends)
    assert "perfect separation" in found.method


def test_a_single_positive_gives_no_interval_and_says_so() -> None:
    found = delong(np.array([True, False, False]), np.array([0.3, 0.1, 0.4]))
    assert (found.low, found.high) == (0, 1) and "fewer than two rows" in found.method


def test_proportions_aurocs_and_the_rest_take_their_own_interval() -> None:
    truth, score = wfns()
    among = score > 1
    some = Statistic("some", lambda c: c @ truth / len(truth), 0.5, hits=truth, among=among)
    rest = of_counts("rest", len(truth), lambda c: c @ score / c.sum(axis=1))
    area = of_counts("area", len(truth), lambda c: np.full(len(c), 0.8), scores=(truth, score))
    every = {"all": of_mean("all", truth), "some": some, "rest": rest, "area": area}
    found = estimate(every, [None] * len(truth), 0)
    methods = {name: one["method"].partition(",")[0] for name, one in found.items()}
    assert methods == {
        "all": "Wilson score",
        "some": "Clopper-Pearson (exact)",
        "rest": "BCa bootstrap",
        "area": "DeLong",
    }
    exact = clopper_pearson(int(truth[among].sum()), int(among.sum()))
    assert (found["some"]["low"], found["some"]["high"], found["some"]["n"]) == (exact.low, exact.high, among.sum())
    clustered = estimate(every, [i // 2 for i in range(len(truth))], 0)
    assert all("patient-clustered" in one["method"] for one in clustered.values())


def test_patients_are_numbered_in_order_and_a_row_without_one_is_its_own() -> None:
    assert number_patients(["b", "a", None, "b", None]).tolist() == [0, 1, 2, 0, 3]  # type: ignore[union-attr]
    assert number_patients(["b", "a", None]) is None

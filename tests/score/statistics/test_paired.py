"""Paired tests equal statsmodels, published values, definitions worked out the slow way, and simulated power."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as theirs
from statsmodels.stats.multitest import multipletests

from healthfm.score.metrics.arrays import lanes
from healthfm.score.metrics.discrimination import Auroc, macro
from healthfm.score.metrics.single_label import confusion, macro_f1
from healthfm.score.statistics import Statistic, bootstrap, of_cells, of_counts, of_mean, paired
from healthfm.score.statistics.paired import Difference, difference, holm, of_aurocs, of_hits, sign_permutation
from healthfm.score.statistics.statistic import Cells


def hits(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    counts = (both, only_a, only_b, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def unwanted() -> Statistic:
    raise AssertionError("a closed form needs no joint statistic")


@pytest.mark.parametrize(
    ("table", "p", "low", "high"),
    [
        # Cavo et al. 2012 and the values that ocbe-uio/contingencytables expects (tests/testthat/test-ch8.R), of
        # Fagerland, Lydersen and Laake, Statistical Analysis of Contingency Tables, chapter 8.
        ((59, 6, 16, 80), 0.052479, -0.1186, -0.0046),
        ((1, 0, 0, 1), 1.0, -0.5734, 0.5734),
    ],
)
def test_right_or_wrong_equals_published_values(table: tuple[int, ...], p: float, low: float, high: float) -> None:
    found = of_hits(*hits(*table))
    assert found.p == pytest.approx(p, abs=5e-7)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_mcnemar_equals_a_textbook_example() -> None:
    """Two culture media, Armitage and Berry 1994 p. 127, as StatsDirect prints it: 12 against 2, P = 0.0129."""
    assert paired.mcnemar(12, 2) == pytest.approx(0.0129, abs=5e-5)


@given(st.tuples(*[st.integers(0, 40)] * 4).filter(lambda counts: sum(counts) > 0))
def test_mcnemar_equals_statsmodels_and_the_interval_holds_the_difference(table: tuple[int, int, int, int]) -> None:
    both, only_a, only_b, neither = table
    found = of_hits(*hits(*table))
    assert found.p == pytest.approx(theirs([[both, only_a], [only_b, neither]], exact=True).pvalue, abs=1e-12)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.value == pytest.approx((only_a - only_b) / sum(table))
    assert (found.detectable is None) == (only_a + only_b == 0 or sum(table) < 6)  # five of five are no 5 % yet


def slow_delong(truth: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """The definition: every pair of a positive and a negative row, and the two runs' 2 x 2 covariance."""
    parts = []
    for score in (a, b):
        wins = (score[truth][:, None] > score[~truth]) + 0.5 * (score[truth][:, None] == score[~truth])
        parts.append((wins.mean(axis=1), wins.mean(axis=0)))
    covariance = sum(np.cov([part[side] for part in parts]) / len(parts[0][side]) for side in (0, 1))
    ahead = np.array([1, -1])
    return float(parts[0][0].mean() - parts[1][0].mean()), float(np.sqrt(ahead @ covariance @ ahead))


@pytest.mark.parametrize("seed", range(4))
def test_delong_equals_its_definition_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random(70) < 0.3
    a, b = (np.round(rng.normal(truth * shift, 1), 1) for shift in (1.0, 0.6))
    found, (value, error) = of_aurocs(truth, a, b), slow_delong(truth, a, b)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(value) / error), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((value - 1.959964 * error, value + 1.959964 * error), abs=1e-6)


def test_one_run_against_itself_shows_nothing() -> None:
    rng = np.random.default_rng(0)
    truth, score = rng.random(50) < 0.4, rng.random(50)
    for found in (of_aurocs(truth, score, score), of_hits(truth, truth)):
        assert (found.value, found.p, found.detectable) == (0, 1, None)


def classes(n: int, right: float, seed: int, truth: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < right, truth, rng.integers(0, 3, n))


def f1(truth: np.ndarray, guess: np.ndarray, with_cells: bool = True) -> Statistic:
    cells = Cells(truth * 4 + guess, 12, lambda c: macro_f1(c.reshape(*c.shape[:-1], 3, 4)))
    whole = of_cells("macro_f1", cells)
    return whole if with_cells else of_counts("macro_f1", len(truth), whole.at)


@pytest.fixture
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand resamples are enough to tell a p-value to 0.01."""
    for module in (paired, bootstrap):
        monkeypatch.setattr(module, "RESAMPLES", 2_000)


@pytest.mark.usefixtures("fewer")
def test_drawing_by_cell_and_by_row_give_the_same_interval_and_p_value() -> None:
    truth = np.random.default_rng(9).integers(0, 3, 120)
    a, b = classes(120, 0.75, 1, truth), classes(120, 0.6, 2, truth)
    assert confusion(truth, a, 3).sum() == 120
    found = [
        difference(f1(truth, a, c), f1(truth, b, c), lambda c=c: f1(np.tile(truth, 2), np.append(a, b), c), 120) for c in (True, False)
    ]  # fmt: skip
    width = found[0].high - found[0].low
    assert found[0].value == found[1].value
    assert found[0].low == pytest.approx(found[1].low, abs=0.08 * width)
    assert found[0].high == pytest.approx(found[1].high, abs=0.08 * width)
    assert found[0].p == pytest.approx(found[1].p, abs=0.04)
    assert found[0].detectable == pytest.approx(found[1].detectable or 0, rel=0.08)


@pytest.mark.usefixtures("fewer")
def test_sign_permutation_of_a_mean_equals_mcnemar_and_scipy() -> None:
    a, b = hits(40, 18, 7, 15)
    joint = of_mean("accuracy", np.append(a, b))
    swapped = sign_permutation(joint, np.arange(80), 0)
    p = (1 + np.sum(np.abs(swapped) >= abs(a.mean() - b.mean()) - 1e-12)) / 2_001
    assert p == pytest.approx(paired.mcnemar(18, 7), abs=0.015)
    rng = np.random.default_rng(3)
    x, y = rng.normal(0.3, 1, 40), rng.normal(0, 1, 40)
    ours = difference(of_mean("x", x), of_mean("y", y), lambda: of_mean("xy", np.append(x, y)), 40)
    scipys = stats.permutation_test(
        (x, y), lambda u, v, axis: u.mean(axis=axis) - v.mean(axis=axis), permutation_type="samples", n_resamples=2_000,
        vectorized=True, rng=np.random.default_rng(1),
    )  # fmt: skip
    assert ours.p == pytest.approx(scipys.pvalue, abs=0.04)
    error = np.std(x - y, ddof=1) / np.sqrt(40)
    assert (ours.low, ours.high) == pytest.approx(
        (ours.value - 1.96 * error, ours.value + 1.96 * error), abs=0.1 * error * 4
    )


@pytest.mark.usefixtures("fewer")
def test_scores_on_another_scale_do_not_hide_a_difference_in_ranking() -> None:
    """The bootstrap's p-value of two AUROCs is DeLong's. Swapping scores of two scales between the runs finds nothing."""
    rng = np.random.default_rng(2)
    truth = rng.random(240) < 0.4
    good, poor = truth + rng.normal(0, 0.9, 240), (truth + rng.normal(0, 2.2, 240)) / 50 + 7

    def auroc(truth: Any, scores: Any, scale_free: bool) -> Statistic:
        kernel = Auroc(truth, scores)
        return of_counts("auroc", len(truth), lambda counts: macro([kernel], lanes(counts)), scale_free=scale_free)

    def found(scale_free: bool) -> Difference:
        def joint() -> Statistic:
            return auroc(np.tile(truth, 2), np.append(good, poor), scale_free)

        return difference(auroc(truth, good, scale_free), auroc(truth, poor, scale_free), joint, 240)

    delong = of_aurocs(truth, good, poor)
    assert delong.p < 0.02
    assert found(True).p == pytest.approx(delong.p, abs=0.01) and "bootstrap" in found(True).test
    assert found(False).p > 0.1


@pytest.mark.usefixtures("fewer")
def test_whole_patients_are_drawn_so_repeated_rows_do_not_make_a_difference_surer() -> None:
    """Every patient's row stands there five times: the interval and the p-value must be those of the patients."""
    a, b = hits(30, 14, 5, 11)
    five = [np.repeat(one, 5) for one in (a, b)]
    patients = np.repeat(np.arange(60), 5)

    def of_rows(patient: np.ndarray | None) -> Difference:
        x, y = (of_mean("accuracy", one) for one in five)
        return difference(x, y, lambda: of_mean("accuracy", np.concatenate(five)), 300, patient)

    once, clustered, naive = of_hits(a, b), of_rows(patients), of_rows(None)
    assert clustered.p == pytest.approx(once.p, abs=0.02)
    assert clustered.high - clustered.low == pytest.approx(once.high - once.low, rel=0.1)
    assert naive.p < 0.001 < clustered.p
    assert "whole patients (60)" in clustered.test and "few" not in clustered.test


@pytest.mark.usefixtures("fewer")
def test_few_patients_are_said_to_be_few() -> None:
    x = np.random.default_rng(0).normal(0.2, 1, 40)
    found = difference(
        of_mean("x", x), of_mean("y", -x), lambda: of_mean("xy", np.append(x, -x)), 40, np.arange(40) // 2
    )
    assert "only 20 patients, too few to trust" in found.method


def test_closed_forms_are_used_where_they_hold_and_only_there() -> None:
    a, b = hits(40, 12, 5, 23)
    assert difference(of_mean("m", a), of_mean("m", b), unwanted, 80).test.startswith("McNemar exact (12 right")
    truth = np.arange(80) % 3 == 0
    scores = [np.random.default_rng(i).random(80) for i in (0, 1)]
    areas = [of_counts("auroc", 80, lambda c: np.full(len(c), 0.5), scores=(truth, s)) for s in scores]
    assert difference(areas[0], areas[1], unwanted, 80).test == "DeLong, paired (27 positive, 53 negative)"
    among = [of_mean("m", x) for x in (a, b)]
    some = np.arange(80) < 60
    part = [Statistic(s.name, s.at, s.value, s.hits, some) for s in among]
    assert difference(part[0], part[1], unwanted, 80).n == 60


def test_a_metric_without_a_value_is_refused() -> None:
    nothing = of_counts("auroc", 8, lambda counts: np.full(len(counts), np.nan))
    with pytest.raises(ValueError, match="auroc is not defined"):
        difference(nothing, nothing, lambda: of_counts("auroc", 16, lambda counts: np.full(len(counts), np.nan)), 8)


@pytest.mark.parametrize(
    ("p", "seed"), [([0.01, 0.02, 0.03, 0.04], 0), ([0.04, 0.04, 0.001], 0), ([0.2], 0), (None, 1), (None, 2)]
)
def test_holm_equals_statsmodels(p: list[float] | None, seed: int) -> None:
    p = p or np.random.default_rng(seed).random(9).round(2).tolist()
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist(), abs=1e-12)


def test_the_detectable_difference_is_found_in_four_of_five_simulated_comparisons() -> None:
    """Two thousand comparisons, of many and of few rows, 20 % of them discordant: 0.8 shows with a standard error of 0.009."""
    rng = np.random.default_rng(0)
    for n, share in ((400, 0.2), (20, 0.2)):
        apart = paired.detectable_hits(round(share * n), n) or 0
        differ = max(share, apart)
        table: Any = rng.multinomial(n, [(differ + apart) / 2, (differ - apart) / 2, 1 - differ], size=2_000)
        found = np.mean([paired.mcnemar(a, b) <= 0.05 for a, b, _ in table.tolist()])
        assert 0.77 <= found <= 0.83
    n = 400
    assert (
        np.mean([paired.mcnemar(a, b) < 0.05 for a, b, _ in rng.multinomial(n, [0.1, 0.1, 0.8], size=2_000).tolist()])
        < 0.05
    )


@pytest.mark.usefixtures("fewer")
def test_no_p_value_is_zero_the_outcome_that_was_seen_is_one_of_the_draws() -> None:
    """Phipson and Smyth 2010: (1 + beyond) / (1 + draws). Here no draw of 2,000 comes near: 1 / 2,001, by row, by cell and by patient."""
    x, y = np.full(60, 1.0), np.linspace(0, 0.1, 60)
    rows = difference(of_mean("x", x), of_mean("y", y), lambda: of_mean("xy", np.append(x, y)), 60)
    patients = difference(of_mean("x", x), of_mean("y", y), lambda: of_mean("xy", np.append(x, y)), 60, np.arange(60))
    truth = np.tile(np.arange(3), 40)
    right, wrong = truth, (truth + 1) % 3
    cells = difference(f1(truth, right), f1(truth, wrong), lambda: f1(np.tile(truth, 2), np.append(right, wrong)), 120)
    assert [one.p for one in (rows, patients, cells)] == pytest.approx([1 / 2_001] * 3, rel=1e-12)
    free = [of_counts("m", 60, lambda counts, v=v: counts @ v / 60, scale_free=True) for v in (x, y)]
    assert difference(*free, unwanted, 60).p == pytest.approx(1 / 2_001, rel=1e-12)


@pytest.mark.usefixtures("fewer")
def test_a_permutation_counts_both_sides_and_what_equals_the_difference() -> None:
    """Four rows that all differ by one: of the 16 ways to swap them two are as far apart as what was seen, 1 / 8 in all."""
    x, y = np.ones(4), np.zeros(4)
    for sign in (1, -1):
        found = difference(of_mean("x", sign * x), of_mean("y", sign * y), lambda sign=sign: of_mean("xy", sign * np.append(x, y)), 4)  # fmt: skip
        assert found.p == pytest.approx(1 / 8, abs=0.03)


@pytest.mark.usefixtures("fewer")
def test_the_bootstraps_p_value_is_of_two_sides() -> None:
    """A mean difference two standard errors from 0: 4.6 % by the normal curve, half of that on one side."""
    apart = stats.norm.ppf((np.arange(100) + 0.5) / 100)
    apart += 2 * apart.std() / 10 - apart.mean()
    a, b = (of_counts("m", 100, lambda counts, v=v: counts @ v / 100, scale_free=True) for v in (apart, np.zeros(100)))
    assert difference(a, b, unwanted, 100).p == pytest.approx(2 * stats.norm.sf(2), abs=0.018)

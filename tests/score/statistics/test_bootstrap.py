"""Intervals equal scipy's, cover what they promise, and say how they were made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from healthfm.score import metrics
from healthfm.score.statistics import Cells, Interval, bootstrap, of_cells, of_counts, wilson

Formula = Callable[[np.ndarray], np.ndarray]


def bootstrap_counts(table: np.ndarray, formula: Formula, seed: int) -> Interval:
    """The interval of one formula of one table of counts."""
    [found] = bootstrap.bootstrap_cells(table, [formula], seed)
    return found


def cluster_bootstrap(tables: np.ndarray, formula: Formula, seed: int) -> Interval:
    """The interval of a formula where each patient brings a table of counts."""
    shape, size = tables.shape[1:], tables[0].size
    rows = [np.repeat(np.arange(size), table.ravel()) for table in tables]
    patients = np.repeat(np.arange(len(tables)), [len(one) for one in rows])
    cells = Cells(np.concatenate(rows), size, lambda counts: formula(counts.reshape(*counts.shape[:-1], *shape)))
    return bootstrap.intervals([of_cells("one", cells)], len(patients), seed, patients)["one"]


def skewed_sample(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes, one rare, answers right seven times in ten."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, n, p=[0.6, 0.32, 0.08])
    return truth, np.where(rng.random(n) < 0.7, truth, rng.integers(0, 3, n))


def macro_f1_of_samples(truth: np.ndarray, guess: np.ndarray, axis: int = -1) -> np.ndarray:
    tables = np.stack([((truth == t) & (guess == g)).sum(axis=axis) for t in range(3) for g in range(3)], axis=-1)
    return metrics.macro_f1(np.pad(tables.reshape(*tables.shape[:-1], 3, 3), [(0, 0)] * tables.ndim + [(0, 1)]))


@given(st.integers(1, 5_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(case: tuple[int, int]) -> None:
    hits, n = case
    ours, scipys = wilson(hits, n), stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert ours.low == pytest.approx(scipys.low, abs=1e-12)
    assert ours.high == pytest.approx(scipys.high, abs=1e-12)
    assert 0 <= ours.low <= ours.high <= 1


def test_intervals_name_their_method_and_level() -> None:
    truth, guess = skewed_sample(60, 0)
    table = metrics.confusion(truth, guess, 3)
    assert wilson(3, 7).asdict().items() >= {"method": "Wilson score", "level": 0.95}.items()
    assert bootstrap_counts(table, metrics.macro_f1, 5).method == "BCa bootstrap, 10,000 resamples, seed 5"


@pytest.mark.parametrize(("n", "seed"), [(60, 38), (80, 38)])
def test_bca_of_macro_f1_equals_scipys_on_the_same_samples(n: int, seed: int) -> None:
    """Both draw 10,000 resamples: an end's Monte-Carlo error is about 1 % of the width (density at the 2.5 % quantile, and
    the bias term), the difference of two ends about 1.4 %; four times that is 6 %."""
    truth, guess = skewed_sample(n, seed)
    ours = bootstrap_counts(metrics.confusion(truth, guess, 3), metrics.macro_f1, 0)
    theirs = {
        method: stats.bootstrap(
            (truth, guess), macro_f1_of_samples, paired=True, n_resamples=10_000, method=method, batch=1_000,
            rng=np.random.default_rng(7),
        ).confidence_interval
        for method in ("BCa", "percentile")
    }  # fmt: skip
    width = theirs["BCa"].high - theirs["BCa"].low
    assert ours.low == pytest.approx(theirs["BCa"].low, abs=0.06 * width)
    assert ours.high == pytest.approx(theirs["BCa"].high, abs=0.06 * width)
    apart = max(abs(ours.low - theirs["percentile"].low), abs(ours.high - theirs["percentile"].high))
    assert apart > 0.06 * width, "this sample would not tell BCa from the percentile interval"


def test_the_jackknife_of_cells_gives_scipys_bca_exactly_when_resamples_are_the_same() -> None:
    truth, guess = skewed_sample(90, 2)
    theirs = stats.bootstrap(
        (truth, guess), macro_f1_of_samples, paired=True, n_resamples=2_000, method="BCa", batch=500,
        rng=np.random.default_rng(3),
    )  # fmt: skip
    table = metrics.confusion(truth, guess, 3)
    filled = np.argwhere(table)
    without = np.repeat(table[None], len(filled), axis=0)
    without[(np.arange(len(filled)), *filled.T)] -= 1
    ends = bootstrap._bca(
        theirs.bootstrap_distribution, float(metrics.macro_f1(table)), metrics.macro_f1(without), table[table > 0]
    )
    assert ends == pytest.approx((theirs.confidence_interval.low, theirs.confidence_interval.high), abs=1e-12)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    table = metrics.confusion(*skewed_sample(120, 4), 3)
    assert bootstrap_counts(table, metrics.macro_f1, 1) == bootstrap_counts(table, metrics.macro_f1, 1)
    assert bootstrap_counts(table, metrics.macro_f1, 1).low != bootstrap_counts(table, metrics.macro_f1, 2).low
    tables = np.stack([metrics.confusion(*skewed_sample(4, seed), 3) for seed in range(60)])
    assert cluster_bootstrap(tables, metrics.macro_f1, 1) == cluster_bootstrap(tables, metrics.macro_f1, 1)
    assert cluster_bootstrap(tables, metrics.macro_f1, 1).low != cluster_bootstrap(tables, metrics.macro_f1, 2).low


def test_resampling_in_small_blocks_gives_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    table = metrics.confusion(*skewed_sample(50, 4), 3)
    tables = np.stack([metrics.confusion(*skewed_sample(4, seed), 3) for seed in range(60)])
    whole = bootstrap_counts(table, metrics.macro_f1, 1), cluster_bootstrap(tables, metrics.macro_f1, 1)
    monkeypatch.setattr(bootstrap, "AT_ONCE", 50)
    assert whole == (bootstrap_counts(table, metrics.macro_f1, 1), cluster_bootstrap(tables, metrics.macro_f1, 1))


@pytest.mark.parametrize("table", [[[7, 0, 0], [0, 5, 0]], [[0, 4, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 0]]])
def test_a_table_without_variation_gives_no_interval_and_says_why(table: list[list[int]]) -> None:
    counts = np.array(table)
    found = bootstrap_counts(counts, metrics.macro_f1, 0).asdict()
    assert (found["low"], found["high"]) == (None, None)
    assert found["method"].startswith("degenerate: every resample gives the same value (")


def test_resamples_of_which_nearly_all_are_equal_give_no_interval_either() -> None:
    values = np.ones(10_000)
    values[:20] = 0.5
    found = bootstrap.bca(values, 1.0, None, None, 0)
    assert np.isnan(found.low) and found.method.startswith("degenerate: nearly every resample gives the same value (")
    values[:400] = 0.5
    assert bootstrap.bca(values, 1.0, None, None, 0).low == 0.5


def test_the_macro_f1_interval_covers_the_true_value_about_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand resamples place a quantile well enough for this. 300 sets of 100 samples: a true coverage of 95 % shows as 95 % with a standard error of 1.26 %. BCa on so small
    skewed sets may fall a few points short; the band is four standard errors wide, so that an 80 % or a 99.9 % interval fails."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 2_000)
    truth_given = np.array([[0.40, 0.12, 0.03, 0], [0.10, 0.20, 0.02, 0], [0.03, 0.04, 0.06, 0]])
    true_value = float(metrics.macro_f1(truth_given))
    rng = np.random.default_rng(0)
    sets = rng.multinomial(100, truth_given.ravel(), size=300).reshape(300, 3, 4)
    found = [bootstrap_counts(table, metrics.macro_f1, seed) for seed, table in enumerate(sets)]
    covered = np.mean([one.low <= true_value <= one.high for one in found])
    assert 0.90 <= covered <= 0.995


def patients(count: int, rows: int, seed: int) -> np.ndarray:
    """Tables of patients all of whose rows are answered alike: right or wrong."""
    rng = np.random.default_rng(seed)
    return np.stack([
        metrics.confusion(np.full(rows, side), np.full(rows, side if right else 1 - side), 2)
        for side, right in zip(rng.integers(0, 2, count), rng.random(count) < 0.7, strict=True)
    ])  # fmt: skip


def test_a_clustered_interval_is_wider_than_one_of_independent_samples() -> None:
    """Six equal answers a patient are worth one: the interval is sqrt(6) = 2.4 times as wide."""
    tables = patients(100, 6, 0)
    clustered = cluster_bootstrap(tables, metrics.accuracy, 0)
    independent = bootstrap_counts(tables.sum(axis=0), metrics.accuracy, 0)
    assert (clustered.high - clustered.low) / (independent.high - independent.low) == pytest.approx(6**0.5, rel=0.1)
    assert "patient-clustered" in clustered.method and "few" not in clustered.method


def test_clusters_of_one_give_the_interval_of_independent_samples() -> None:
    tables = patients(200, 1, 1)
    clustered = cluster_bootstrap(tables, metrics.accuracy, 0)
    exact = wilson(int(np.trace(tables.sum(axis=0)[:, :2])), 200)
    assert (clustered.low, clustered.high) == pytest.approx((exact.low, exact.high), abs=0.015)


def test_a_clustered_interval_covers_the_true_accuracy_where_the_independent_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """200 sets of 60 patients with 5 rows each: 95 % shows with a standard error of 1.5 %; the interval of 60
    patients may fall two points short, so the lower bound is 0.95 - 0.02 - 4 x 0.015. Taking rows as independent
    covers about 62 %. A thousand resamples are enough for that."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1_000)
    clustered, independent = [], []
    for seed in range(200):
        tables = patients(60, 5, seed)
        one = cluster_bootstrap(tables, metrics.accuracy, seed)
        other = wilson(int(np.trace(tables.sum(axis=0)[:, :2])), 300)
        clustered.append(one.low <= 0.7 <= one.high)
        independent.append(other.low <= 0.7 <= other.high)
    assert 0.87 <= np.mean(clustered) <= 0.995
    assert np.mean(independent) < 0.8


@pytest.mark.parametrize(("count", "noted"), [(49, True), (50, False)])
def test_few_patients_are_noted(count: int, noted: bool) -> None:
    found = cluster_bootstrap(patients(count, 2, 0), metrics.accuracy, 0)
    assert (f"only {count} patients, too few to trust" in found.method) is noted


def test_patients_without_variation_are_noted() -> None:
    found = cluster_bootstrap(np.tile(np.array([[2, 0, 0], [0, 1, 0]]), (60, 1, 1)), metrics.accuracy, 0)
    assert np.isnan([found.low, found.high]).all()
    assert "degenerate" in found.method


# 0.975 quantiles of Student's t as tables print them, for one degree of freedom less than there are patients
TABLE = {2: 12.706, 3: 4.303, 5: 2.776, 11: 2.228, 31: 2.042, 121: 1.980}


@pytest.mark.parametrize("n", TABLE)
def test_the_quantile_for_few_patients_is_students_and_makes_up_for_the_bootstraps_variance(n: int) -> None:
    """Hesterberg 2015, section 5: sqrt(n / (n - 1)) times the quantile of n - 1 degrees of freedom."""
    assert bootstrap._expanded(n) == pytest.approx((n / (n - 1)) ** 0.5 * TABLE[n], rel=5e-4)


def evenly(n: int) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """A symmetric sample, its patients (one row each), and the classical interval of its mean by Student's t."""
    values = stats.norm.ppf((np.arange(n) + 0.5) / n)
    ends = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    return values, np.arange(n), (float(ends[0]), float(ends[1]))


def test_the_interval_of_few_patients_is_the_classical_one_of_their_mean() -> None:
    """12 patients: Student's is 12 % wider than the normal one, the bootstrap's variance makes 4 %: each would show."""
    values, patients, ends = evenly(12)
    mean = of_counts("mean", 12, lambda counts: counts @ values / counts.sum(axis=1))
    found = bootstrap.intervals([mean], 12, 0, patients)["mean"]
    rows = bootstrap.intervals([mean], 12, 0)["mean"]
    assert (found.low, found.high) == pytest.approx(ends, abs=0.015 * (ends[1] - ends[0]))
    assert rows.high - rows.low < 0.9 * (ends[1] - ends[0])


def test_the_length_of_a_vector_of_few_patients_reaches_further_too() -> None:
    """Distances whose 95 % quantile is 0.1: of 5 patients sqrt(5 / 4) times 2.776 / 1.960 times as far."""
    distances = np.linspace(0, 0.1 / 0.95, 2_001)
    many, few = bootstrap.around(distances, 0.5, 0), bootstrap.around(distances, 0.5, 0, 5)
    assert (many.low, many.high) == pytest.approx((0.4, 0.6), abs=1e-6)
    reach = 0.1 * (5 / 4) ** 0.5 * 2.776 / 1.960
    assert (few.low, few.high) == pytest.approx((0.5 - reach, 0.5 + reach), abs=1e-4)
    assert "only 5 patients, too few to trust" in few.method and "patients" not in many.method


def test_an_interval_that_does_not_hold_its_value_is_widened_to_and_says_so() -> None:
    assert bootstrap.holding(0.2, 0.4, 0.3) == ((0.2, 0.4), "")
    assert bootstrap.holding(0.2, 0.4, 0.5) == ((0.2, 0.5), ", widened to hold the value")
    assert bootstrap.holding(0.2, 0.4, 0.1) == ((0.1, 0.4), ", widened to hold the value")

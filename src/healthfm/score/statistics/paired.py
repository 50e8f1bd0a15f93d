"""Two runs on the same rows: the difference of one metric, its interval, a test, and what could have been detected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from healthfm.score.statistics import bootstrap, draws
from healthfm.score.statistics.bootstrap import AT_ONCE, FEW_CLUSTERS, RESAMPLES
from healthfm.score.statistics.intervals import LEVEL, NOISE, NONE, degenerate, placements, plain, wilson
from healthfm.score.statistics.statistic import Bools, Counts, Floats, Ints, Statistic, Values

POWER = 0.8
ALPHA = 0.05
Z = float(special.ndtri(0.5 + LEVEL / 2))


@dataclass(frozen=True)
class Difference:
    """How far a metric of one run lies above that of another on the same rows (first minus second).

    ``p`` is two-sided. ``detectable`` is the smallest true difference that a comparison of this size and this spread finds in
    ``POWER`` of cases; None where the runs never differ, so that the spread is not known.
    """

    value: float
    low: float
    high: float
    method: str
    p: float
    test: str
    detectable: float | None
    n: int
    level: float = LEVEL

    def asdict(self) -> dict[str, Any]:
        """Return the fields as a plain dictionary; without an interval its ends are None."""
        return plain(asdict(self))


def difference(
    a: Statistic,
    b: Statistic,
    joint: Callable[[], Statistic],
    n: int,
    patients: Ints | None = None,
    seed: int = 0,
    same_draws: bool = False,
) -> Difference:
    """Return the paired difference of one metric of two runs on the same ``n`` rows, ``a`` minus ``b``.

    ``patients``: the patient of each row, numbered from 0, where one has several rows: whole patients are then resampled and
    swapped together. ``joint`` makes the same metric of the rows of ``a`` followed by those of ``b`` (2n rows): swapping a
    row's answers between the runs is drawing other rows of it. Right-or-wrong metrics are tested by McNemar's exact test, an
    AUROC by DeLong's, all others (and all with patients) by sign permutation, with the interval of a paired bootstrap; of a
    metric that is ``scale_free``, where the scores of one row must not stand among the other run's, by that bootstrap itself. Means
    over draws of examples are compared draw by draw where both runs drew the same ones (``same_draws``), by a bootstrap of rows and draws.
    """
    if a.draws or b.draws:
        return _over_draws(a, b, n, patients, seed, same_draws and len(a.draws) == len(b.draws))
    if patients is None and a.hits is not None and b.hits is not None and _same(a.among, b.among):
        among = slice(None) if a.among is None else a.among
        return of_hits(a.hits[among], b.hits[among])
    if patients is None and a.scores is not None and b.scores is not None and _same(a.scores[0], b.scores[0]):
        return of_aurocs(a.scores[0], a.scores[1], b.scores[1])
    return _resampled(a, b, joint, n, patients, seed)


def _same(one: Bools | None, other: Bools | None) -> bool:
    return (one is None and other is None) or (one is not None and other is not None and np.array_equal(one, other))


# Right or wrong -------------------------------------------------------------------------------------------------------


def of_hits(a: Bools, b: Bools) -> Difference:
    """Return the difference of two shares of right answers: Newcombe's interval, McNemar's exact test.

    Sources: Newcombe 1998 (Stat Med 17:2635, method 10: Wilson limits squared and added, with the correlation of the two);
    McNemar 1947, exact form: of the rows where one alone is right, either is as likely under the null hypothesis.
    """
    n, only_a, only_b = len(a), int((a & ~b).sum()), int((b & ~a).sum())
    both, neither = int((a & b).sum()), int((~a & ~b).sum())
    value = (only_a - only_b) / n
    low, high = _newcombe(both, only_a, only_b, neither)
    return Difference(
        value, low, high, "Newcombe's square-and-add interval of paired proportions", mcnemar(only_a, only_b),
        f"McNemar exact ({only_a} right in the first alone, {only_b} in the second alone)",
        detectable_hits(only_a + only_b, n), n,
    )  # fmt: skip


def detectable_hits(discordant: int, n: int) -> float | None:
    """Return the smallest true difference that McNemar's exact test of ``n`` rows finds at 5 % in ``POWER`` of cases.

    As many rows as seen differ between the runs (all of those that must, for a larger difference). None where no row differs, or
    where no difference would be found so often.
    """
    if discordant == 0:
        return None
    most = _critical(n)
    if power_of_hits(1.0, discordant / n, most) < POWER:
        return None
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if power_of_hits(middle, discordant / n, most) >= POWER else (middle, high)
    return high


def _critical(n: int) -> Floats:
    """Return how many rows the fewer side may have, at most, for p <= ``ALPHA``, where 0 to ``n`` rows differ [n + 1]; -1 where none will do."""
    from scipy import stats  # a second to import

    rows = np.arange(n + 1)
    most = stats.binom.ppf(ALPHA / 2, rows, 0.5)
    return np.asarray(np.where(stats.binom.cdf(most, rows, 0.5) <= ALPHA / 2, most, most - 1), np.float64)


def power_of_hits(apart: float, discordance: float, most: Floats) -> float:
    """Return how often McNemar's exact test finds a true difference ``apart`` when a share ``discordance`` of n rows differs.

    ``most`` [n + 1]: the fewer side's largest count that is found, by the number of rows that differ.
    """
    from scipy import stats

    n, share = len(most) - 1, max(apart, discordance)
    rows = np.arange(n + 1)
    chance = stats.binom.pmf(rows, n, share)
    found = (chance > 1e-12) & (most >= 0)
    ahead = (1 + apart / share) / 2
    return float(chance[found] @ sum(special.bdtr(most[found], rows[found], side) for side in (ahead, 1 - ahead)))


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided exact p-value from the counts of rows where one run alone is right; 1 where there are none."""
    discordant = only_a + only_b
    return min(1.0, 2 * float(special.bdtr(min(only_a, only_b), discordant, 0.5))) if discordant else 1.0


def _newcombe(both: int, only_a: int, only_b: int, neither: int) -> tuple[float, float]:
    n = both + only_a + only_b + neither
    first, second = both + only_a, both + only_b
    p, q = first / n, second / n
    one, other = wilson(first, n), wilson(second, n)
    margins = first * (n - first) * second * (n - second)
    excess = both * neither - only_a * only_b
    phi = (max(excess - n / 2, 0) if excess > 0 else excess) / np.sqrt(margins) if margins else 0.0
    down = (p - one.low) ** 2 - 2 * phi * (p - one.low) * (other.high - q) + (other.high - q) ** 2
    up = (one.high - p) ** 2 - 2 * phi * (one.high - p) * (q - other.low) + (q - other.low) ** 2
    return float(p - q - np.sqrt(down)), float(p - q + np.sqrt(up))


# AUROC ----------------------------------------------------------------------------------------------------------------


def of_aurocs(truth: Bools, a: Floats, b: Floats) -> Difference:
    """Return the difference of two AUROCs of the same rows (DeLong et al. 1988, Biometrics 44:837), by midranks.

    Each row's placement is the share of the other class that it stands right to; the two runs' placements are correlated.
    """
    area_a, positive_a, negative_a = placements(truth, a)
    area_b, positive_b, negative_b = placements(truth, b)
    value, ahead = area_a - area_b, (positive_a - positive_b, negative_a - negative_b)
    error = float(np.sqrt(sum(one.var(ddof=1) / len(one) for one in ahead if len(one) > 1)))
    p = float(2 * special.ndtr(-abs(value) / error)) if error else 1.0
    low, high = max(-1.0, value - Z * error), min(1.0, value + Z * error)
    test = f"DeLong, paired ({truth.sum()} positive, {(~truth).sum()} negative)"
    if not error:
        low = high = NONE
    method = "DeLong" if error else "degenerate: the runs rank every row alike (DeLong)"
    return Difference(value, low, high, method, p, test, detectable(error), len(truth))


# Any metric -----------------------------------------------------------------------------------------------------------


def _resampled(
    a: Statistic, b: Statistic, joint: Callable[[], Statistic], n: int, patients: Ints | None, seed: int
) -> Difference:
    value = observed = a.value - b.value
    if patients is None and a.cells is not None and b.cells is not None and a.cells.size == b.cells.size:
        drawn, swapped = _by_cells(a, b, n, seed)
    else:
        units = np.arange(n) if patients is None else patients
        drawn = paired_bootstrap(a, b, units, seed)
        swapped = drawn
        if not a.scale_free:
            both = joint()
            swapped, observed = sign_permutation(both, units, seed), _unswapped(both, n)
    drawn, swapped = drawn[np.isfinite(drawn)], swapped[np.isfinite(swapped)]
    if not len(drawn) or not len(swapped) or not np.isfinite([value, observed]).all():
        raise ValueError(f"{a.name} is not defined on resamples of these rows")
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    method = f"paired percentile bootstrap, {RESAMPLES:,} resamples"
    if high - low <= NOISE:
        low, high, method = NONE, NONE, degenerate(drawn, method)
    else:
        (low, high), wider = bootstrap.holding(float(low), float(high), value)
        method += wider
    if a.scale_free:
        beyond, draws, test = (
            2 * min(np.sum(drawn <= 0), np.sum(drawn >= 0)),
            len(drawn),
            "paired bootstrap, the share of differences beyond 0, doubled",
        )
    else:
        beyond, draws, test = np.sum(np.abs(swapped) >= abs(observed) - 1e-12), len(swapped), "sign permutation"
    clusters = 0 if patients is None else int(patients.max()) + 1
    few = f"; only {clusters} patients, too few to trust" if 0 < clusters < FEW_CLUSTERS else ""
    whole = f", whole patients ({clusters})" if clusters else ""
    return Difference(
        value, float(low), float(high), f"{method}{whole}, seed {seed}{few}",
        min(1.0, float((1 + beyond) / (1 + draws))), f"{test}, {RESAMPLES:,} draws{whole}, seed {seed}{few}",
        detectable(float(drawn.std())), n,
    )  # fmt: skip


def _over_draws(a: Statistic, b: Statistic, n: int, patients: Ints | None, seed: int, paired: bool) -> Difference:
    drawn = draws.differences(a, b, np.arange(n) if patients is None else patients, seed, paired)
    drawn = drawn[np.isfinite(drawn)]
    value = a.value - b.value
    if not len(drawn) or not np.isfinite(value):
        raise ValueError(f"{a.name} is not defined on resamples of these rows")
    how = "the same draws of examples for both" if paired else "each run's draws of examples by themselves"
    method = f"percentile bootstrap of samples and draws, {how}, {draws.PAIRED_RESAMPLES:,} resamples"
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = min(low, value), max(high, value)
    if high - low <= NOISE:
        low, high, method = NONE, NONE, degenerate(drawn, method)
    beyond = 2 * min(np.sum(drawn <= 0), np.sum(drawn >= 0))
    return Difference(
        value, float(low), float(high), f"{method}, seed {seed}", min(1.0, float((1 + beyond) / (1 + len(drawn)))),
        f"bootstrap of samples and draws, the share of differences beyond 0, doubled, seed {seed}", detectable(float(drawn.std())), n,
    )  # fmt: skip


def paired_bootstrap(a: Statistic, b: Statistic, units: Ints, seed: int) -> Values:
    """Return the resampled differences: the same counts are drawn for both runs, units (patients, or rows) as a whole."""

    def values(counts: Counts) -> Values:
        rows = bootstrap.spread(counts, units)
        return a.at(rows) - b.at(rows)

    return bootstrap.over_draws(values, int(units.max()) + 1, seed)


def _unswapped(joint: Statistic, n: int) -> float:
    """Return the difference in the rows of both runs together, where it can be another than of each alone (classes that one alone met)."""
    first = np.repeat([1, 0], n)[None].astype(np.int16)
    return float((joint.at(first) - joint.at(1 - first))[0])


def sign_permutation(joint: Statistic, units: Ints, seed: int) -> Values:
    """Return the differences when each unit's answers are swapped between the runs or not, by a coin.

    ``joint`` is the metric of 2n rows, the second run's behind the first's.
    """
    rng = np.random.default_rng(seed)

    def values(rows: int) -> Values:
        swap = rng.integers(0, 2, (rows, int(units.max()) + 1), np.int16)[:, units]
        return joint.at(np.hstack([1 - swap, swap])) - joint.at(np.hstack([swap, 1 - swap]))

    return _in_blocks(2 * len(units), values)


def _by_cells(a: Statistic, b: Statistic, n: int, seed: int) -> tuple[Values, Values]:
    """The same two, where a metric knows a row by its cell alone: rows that share both runs' cells are drawn together."""
    assert a.cells is not None and b.cells is not None
    rng = np.random.default_rng(seed)
    size, formula = a.cells.size, a.cells.formula
    pairs, rows = np.unique(a.cells.of_row.astype(np.int64) * size + b.cells.of_row, return_counts=True)
    of_a, of_b = np.eye(size)[pairs // size], np.eye(size)[pairs % size]

    def drawn(times: int) -> Values:
        counts = rng.multinomial(n, rows / n, size=times)
        return np.asarray(formula(counts @ of_a) - formula(counts @ of_b))

    def swapped(times: int) -> Values:
        swap = rng.binomial(rows, 0.5, size=(times, len(rows)))
        stay = rows - swap
        return np.asarray(formula(stay @ of_a + swap @ of_b) - formula(stay @ of_b + swap @ of_a))

    return _in_blocks(len(rows) + 2 * size, drawn), _in_blocks(len(rows) + 2 * size, swapped)


def _in_blocks(width: int, values: Callable[[int], Values]) -> Values:
    step = max(1, AT_ONCE // width)
    return np.concatenate([values(min(step, RESAMPLES - start)) for start in range(0, RESAMPLES, step)])


# Many comparisons, and none too small ---------------------------------------------------------------------------------


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being one of several (Holm 1979): the family-wise error rate is kept, in any dependence."""
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, np.float64)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(one) for one in adjusted]


def detectable(error: float | npt.ArrayLike) -> float | None:
    """Return the true difference that a two-sided 5 % test with this standard error finds in ``POWER`` of cases."""
    error = float(np.asarray(error))
    return float((Z + special.ndtri(POWER)) * error) if error > 0 else None

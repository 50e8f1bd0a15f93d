"""Metrics of a model that was fitted again and again, each time on other examples: the mean over these draws.

A ``Statistic`` with ``draws`` is the mean of theirs. Its interval speaks of one fit, as a user would make one: other test samples
and another draw of examples, both at once. Two such metrics are compared draw by draw where the draws are of the same examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from healthfm.score.statistics import bootstrap
from healthfm.score.statistics.bootstrap import FEW_CLUSTERS, RESAMPLES
from healthfm.score.statistics.intervals import LEVEL, NOISE, NONE, Interval, degenerate
from healthfm.score.statistics.statistic import Counts, Ints, Statistic, Values

PAIRED_RESAMPLES = 2_000  # of rows in a comparison, where every draw is computed on each


def over(draws: Sequence[Mapping[str, Statistic]]) -> dict[str, Statistic]:
    """Return the mean over draws of every metric that all of them have."""
    shared = [name for name in draws[0] if all(name in one for one in draws)]
    return {name: mean([one[name] for one in draws]) for name in shared}


def mean(draws: Sequence[Statistic]) -> Statistic:
    """Return the mean of one metric over draws; NaN where a draw has no value."""
    first = draws[0]

    def at(counts: Counts) -> Values:
        return np.mean([one.at(counts) for one in draws], axis=0)  # type: ignore[no-any-return]

    return Statistic(
        first.name, at, float(np.mean([one.value for one in draws])), among=first.among, rule=first.rule,
        lower_is_better=first.lower_is_better, scale_free=first.scale_free, draws=tuple(draws),
    )  # fmt: skip


def mapped(statistic: Statistic, change: Callable[[Statistic], Statistic]) -> Statistic:
    """Return a changed statistic: each draw changed by itself, where there are draws."""
    return mean([change(one) for one in statistic.draws]) if statistic.draws else change(statistic)


def interval(statistic: Statistic, n: int, seed: int, patients: Ints | None) -> Interval:
    """Return the percentile interval of resamples of rows (or whole patients), each seen by one of the draws.

    Every draw sees as many resamples as any other.
    """
    units = np.arange(n) if patients is None else patients
    clusters, each = int(units.max()) + 1, RESAMPLES // len(statistic.draws)
    found = np.concatenate([
        bootstrap.over_draws(lambda counts, one=one: one.at(bootstrap.spread(counts, units)), clusters, seed + place, each)  # type: ignore[misc]
        for place, one in enumerate(statistic.draws)
    ])  # fmt: skip
    known = found[np.isfinite(found)]
    who = f", whole patients ({clusters})" if patients is not None else ""
    few = f"; only {clusters} patients, too few to trust" if patients is not None and clusters < FEW_CLUSTERS else ""
    method = f"percentile bootstrap of samples{who}, each by one of {len(statistic.draws)} draws of examples, {len(found):,} resamples"
    if len(known) == 0 or np.ptp(known) <= NOISE:
        return Interval(NONE, NONE, degenerate(known, method) + few)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    lost = f"; not defined in {len(found) - len(known):,} of them" if len(known) < len(found) else ""
    return Interval(
        min(float(low), statistic.value), max(float(high), statistic.value), f"{method}, seed {seed}{lost}{few}"
    )


def differences(a: Statistic, b: Statistic, units: Ints, seed: int, paired: bool) -> Values:
    """Return resampled differences of two means over draws: rows are drawn anew, and draws are.

    ``paired``: the runs' draws are of the same examples, so that the same ones are drawn for both; else each run's by themselves.
    """

    def values(one: Statistic) -> Values:
        """Values [draws, resamples]; a run without draws is one draw."""
        every = one.draws or (one,)
        return bootstrap.over_draws(
            lambda counts: np.stack([d.at(bootstrap.spread(counts, units)) for d in every]),
            int(units.max()) + 1, seed, PAIRED_RESAMPLES,
        )  # fmt: skip

    of_a, of_b = values(a), values(b)
    rng = np.random.default_rng([seed, 1])
    chosen = rng.integers(0, len(of_a), (len(of_a), PAIRED_RESAMPLES))
    other = chosen if paired else rng.integers(0, len(of_b), (len(of_b), PAIRED_RESAMPLES))
    found: Values = np.take_along_axis(of_a, chosen, 0).mean(0) - np.take_along_axis(of_b, other, 0).mean(0)
    return found

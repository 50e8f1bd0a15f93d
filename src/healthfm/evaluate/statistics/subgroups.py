"""Does it hold for everyone: a metric by subgroup, each group's gap to the rest, and the fairness gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from healthfm.evaluate.statistics import bootstrap, widest
from healthfm.evaluate.statistics.estimate import number_patients
from healthfm.evaluate.statistics.intervals import Interval, wilson
from healthfm.evaluate.statistics.statistic import Bools, Counts, Statistic, Values, of_counts

SMALL_GROUP = 20  # rows under which a group is too small to say


def gap(statistic: Statistic, group: Bools, patients: Sequence[Any], seed: int) -> tuple[float, Interval] | None:
    """Return a metric's value in a group less that in the rest, with its interval; None where one of them has no value.

    A proportion of independent rows takes Newcombe's interval of two Wilson scores (1998, method 10); all else a bootstrap
    in which group and rest are drawn together.
    """
    clusters = number_patients(patients)
    if statistic.hits is not None and clusters is None:
        rows = np.ones(len(group), bool) if statistic.among is None else statistic.among
        return _newcombe(statistic.hits[group & rows], statistic.hits[~group & rows])
    apart = of_counts(statistic.name, len(group), lambda counts: _apart(statistic, group, counts))
    if np.isnan(apart.value):
        return None
    return apart.value, bootstrap.intervals([apart], len(group), seed, clusters)[statistic.name]


def _apart(statistic: Statistic, group: Bools, counts: Counts) -> Values:
    return statistic.at(counts * group) - statistic.at(counts * ~group)


def _newcombe(one: Bools, rest: Bools) -> tuple[float, Interval] | None:
    if len(one) == 0 or len(rest) == 0:
        return None
    p, q = float(one.mean()), float(rest.mean())
    a, b = wilson(int(one.sum()), len(one)), wilson(int(rest.sum()), len(rest))
    low, high = p - q - np.hypot(p - a.low, b.high - q), p - q + np.hypot(a.high - p, q - b.low)
    return p - q, Interval(float(low), float(high), "Newcombe, of two Wilson scores")


def fairness(truth: Bools, chosen: Bools, groups: Sequence[str | None], patients: Sequence[Any]) -> dict[str, Any]:
    """Return how far groups differ at most: in the share chosen (demographic parity), and in sensitivity or false-positive
    rate (equalised odds, the larger of the two), as Hardt et al. (2016) and Fairlearn count them.

    Groups under ``SMALL_GROUP`` rows are left out; None where fewer than two remain or none has the rows for it.
    """
    names = [one for one in sorted({g for g in groups if g is not None}) if groups.count(one) >= SMALL_GROUP]
    found: dict[str, Any] = {"groups": names, "demographic_parity": None, "equalised_odds": None}
    if len(names) < 2:
        return found
    clusters = number_patients(patients)
    masks = [np.array([g == name for g in groups]) for name in names]

    def rates(rows: Bools) -> list[widest.Rate | None]:
        inside = [rows & one for one in masks]
        return [widest.rate(chosen[one], None if clusters is None else clusters[one]) for one in inside]

    asked = {"demographic_parity": [np.ones(len(truth), bool)], "equalised_odds": [truth, ~truth]}
    for name, parts in asked.items():
        criteria = [[one for one in rates(rows) if one is not None] for rows in parts]
        if all(len(one) == len(names) for one in criteria):
            value, interval = widest.widest(criteria, None if clusters is None else int(clusters.max()) + 1)
            found[name] = {"value": value, **interval.asdict()}
    return found


def row(name: str, metric: str, value: dict[str, Any], n: int, apart: tuple[float, Interval] | None) -> dict[str, Any]:
    """Return one line of the subgroup table: ``value`` as ``estimate`` gives it, and the gap to the rest."""
    difference, interval = (None, {}) if apart is None else (apart[0], apart[1].asdict())
    return {
        "group": name, "metric": metric, **value, "n": n, "gap": difference,
        **{f"gap_{key}": interval.get(key) for key in ("low", "high", "method")}, "too_few": n < SMALL_GROUP,
    }  # fmt: skip

"""Does it hold for everyone: a metric by subgroup, each group's gap to the rest, and the fairness gaps."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from healthfm.score.statistics import bootstrap, draws, widest
from healthfm.score.statistics.estimate import number_patients
from healthfm.score.statistics.intervals import Interval, wilson
from healthfm.score.statistics.statistic import Bools, Counts, Statistic, Values, of_counts

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
    apart = draws.mapped(
        statistic, lambda one: of_counts(one.name, len(group), lambda counts: _apart(one, group, counts))
    )
    if np.isnan(apart.value):
        return None
    if apart.draws:
        return apart.value, draws.interval(apart, len(group), seed, clusters)
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


def row(
    name: str, metrics: Sequence[str], values: Mapping[str, Mapping[str, Any]], n: int, gaps: Mapping[str, tuple[float, Interval] | None],
    lower: Collection[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Return one line of the subgroup table: the first metric's value as ``estimate`` gives it and its gap to the rest, and under
    ``beside`` the same of the other metrics by name. ``lower``: the metrics of which less is better.
    """

    def cells(metric: str) -> dict[str, Any]:
        value = values.get(metric) or dict.fromkeys(("value", "low", "high", "level", "method"))
        apart = gaps.get(metric)
        difference, interval = (None, {}) if apart is None else (apart[0], apart[1].asdict())
        return {
            "metric": metric, "lower_is_better": metric in lower, **value, "gap": difference, **{f"gap_{key}": interval.get(key) for key in ("low", "high", "method")},
        }  # fmt: skip

    return {
        "group": name, **cells(metrics[0]), "n": n, "too_few": n < SMALL_GROUP, "beside": {one: cells(one) for one in metrics[1:]},
    }  # fmt: skip


def apart(row: Mapping[str, Any]) -> bool:
    """Say whether a group's gap leaves out zero, in a group that is large enough to say."""
    return row.get("gap_low") is not None and not row["too_few"] and not row["gap_low"] <= 0 <= row["gap_high"]

"""A value with its interval: the rule that picks the closed form where one is right, else the bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from healthfm.score.statistics import bootstrap
from healthfm.score.statistics import draws as over_draws
from healthfm.score.statistics.intervals import Interval, clopper_pearson, delong, wilson
from healthfm.score.statistics.statistic import Ints, Statistic


def estimate(statistics: Mapping[str, Statistic], patients: Sequence[Any], seed: int) -> dict[str, dict[str, Any]]:
    """Return each statistic's ``value``, ``low``, ``high``, ``level``, ``method``, ``n`` and, where one applied, ``rule``.

    ``low`` and ``high`` are None where there is no interval; ``method`` then says why.
    A patient with several rows makes the intervals clustered: whole patients are resampled. A row without a patient is
    then a patient of its own, and the interval's method says of how many rows that was assumed.
    """
    clusters = number_patients(patients)
    unknown = sum(one is None for one in patients)
    closed = {} if clusters is not None else {name: one for name, s in statistics.items() if (one := closed_form(s))}
    drawn = {n: over_draws.interval(s, len(patients), seed, clusters) for n, s in statistics.items() if s.draws}
    rest = [s for name, s in statistics.items() if name not in closed and name not in drawn]
    found = closed | drawn | (bootstrap.intervals(rest, len(patients), seed, clusters) if rest else {})
    if clusters is not None and unknown:
        note = f"; {unknown} samples without a patient count as one patient each"
        found = {name: replace(one, method=one.method + note) for name, one in found.items()}
    return {
        name: {"value": s.value, **found[name].asdict(), "n": counted(s, len(patients)), **({"rule": s.rule} if s.rule else {})}
        for name, s in statistics.items()
    }  # fmt: skip


def closed_form(statistic: Statistic) -> Interval | None:
    """Return the interval of independent rows where a formula has it: Wilson for a proportion, Clopper-Pearson for one of
    a subset of rows (sensitivity, specificity: often few), DeLong for an AUROC.
    """
    if statistic.hits is not None:
        hits = statistic.hits if statistic.among is None else statistic.hits[statistic.among]
        return (wilson if statistic.among is None else clopper_pearson)(int(hits.sum()), len(hits))
    return None if statistic.scores is None else delong(*statistic.scores)


def counted(statistic: Statistic, n: int) -> int:
    """Return how many rows a statistic speaks of."""
    return n if statistic.among is None else int(statistic.among.sum())


def number_patients(patients: Sequence[Any]) -> Ints | None:
    """Return patients [n] as numbers from 0, a row without one as a patient of its own; None when each has one row."""
    numbers: dict[Any, int] = {}
    found = [numbers.setdefault((row,) if one is None else one, len(numbers)) for row, one in enumerate(patients)]
    return np.array(found) if len(numbers) < len(found) else None

"""Ranks that say which models cannot be told apart: what other samples of the same datasets would have given.

Samples (whole patients) are drawn anew within each dataset, the same ones for all models and all columns of it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from healthfm.score import scoring
from healthfm.score.result import Result
from healthfm.score.statistics import Statistic, bootstrap
from healthfm.score.statistics.draws import over
from healthfm.score.statistics.intervals import LEVEL
from healthfm.score.statistics.statistic import Ints, Values

RESAMPLES = 2_000
ENDS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
SAME = 12  # decimals to which two values are one value, and tied


@dataclass
class Cell:
    """A model's runs in a column, one a seed, with the metric of each as a statistic and the unit of each of its rows."""

    who: str
    runs: list[Result]
    parts: list[tuple[Statistic, Ints]] = field(default_factory=list)
    drawn: Values = field(default_factory=lambda: np.zeros(0))

    @property
    def value(self) -> float:
        return float(np.mean([one.value for one, _ in self.parts]))


@dataclass
class Column:
    """What is asked of all models in one way."""

    label: str
    data: str
    cells: list[Cell]
    metric: str = ""
    lower: bool = False


def leave(excluded: list[dict[str, str]], runs: Sequence[Result], why: str) -> None:
    """Note runs that are left out, and why."""
    excluded += [{"run": run.title, "path": str(run.path), "why": why} for run in runs]


def measure(columns: Sequence[Column], excluded: list[dict[str, str]]) -> None:
    """Give every cell its statistics, and its rows their units: patients, or samples; the same ones in all columns of a dataset."""
    units: dict[str, dict[Any, int]] = {}
    for column in columns:
        column.metric = column.cells[0].runs[0].scores["headline"]
        for cell in list(column.cells):
            if any(column.metric not in run.metrics for run in cell.runs):
                column.cells.remove(cell)
                leave(excluded, cell.runs, f"has no {column.metric.replace('_', '-')}")
        numbers = units.setdefault(column.data, {})
        slots = zip(*(cell.runs for cell in column.cells), strict=True)
        spaces = [
            list(dict.fromkeys(itertools.chain.from_iterable(run.scores.get("classes") or [] for run in slot)))
            for slot in slots
        ]
        for cell in column.cells:
            for run, space in zip(cell.runs, spaces, strict=True):
                one = _statistic(run, column.metric, space or None)
                rows = zip(scoring.patients_of(run.predictions), run.predictions["id"].to_pylist(), strict=True)
                of_row = [
                    numbers.setdefault(("id", name) if patient is None else patient, len(numbers))
                    for patient, name in rows
                ]
                cell.parts.append((one, np.array(of_row)))
                column.lower = one.lower_is_better


def _statistic(run: Result, metric: str, classes: Sequence[str] | None) -> Statistic:
    task = run.facts["request"]["task"]
    many = [
        scoring.statistics_of(scoring.check_table(one, task), task, classes) for one in run.draws or [run.predictions]
    ]
    return (over(many) if run.draws else many[0])[metric]


def draw(columns: Sequence[Column], seed: int) -> None:
    """Give every cell its values on resamples [resamples]; those of one dataset are all of the same resamples."""
    for data in dict.fromkeys(one.data for one in columns):
        cells = [cell for one in columns if one.data == data for cell in one.cells]
        units = 1 + max(int(of_row.max()) for cell in cells for _, of_row in cell.parts)

        def values(counts: Any, cells: Sequence[Cell] = cells) -> Values:
            of_parts = [[one.at(bootstrap.spread(counts, of_row)) for one, of_row in cell.parts] for cell in cells]
            return np.stack([np.mean(one, axis=0) for one in of_parts])

        own = int.from_bytes(
            hashlib.sha256(f"{seed} {data}".encode()).digest()[:4], "big"
        )  # datasets vary by themselves
        with np.errstate(all="ignore"):
            found = bootstrap.over_draws(values, units, own, RESAMPLES)
        for cell, drawn in zip(cells, found, strict=True):
            cell.drawn = drawn


def ranks(column: Column, among: Sequence[Cell]) -> tuple[Values, Values]:
    """Return the ranks of cells among each other: as they are [cells], and on the resamples [cells, resamples] (NaN: not defined)."""
    from scipy import stats  # a second to import

    sign = 1 if column.lower else -1
    now = stats.rankdata(np.round(sign * np.array([cell.value for cell in among]), SAME))
    drawn = np.round(sign * np.stack([cell.drawn for cell in among]), SAME)
    ranks = stats.rankdata(drawn, axis=0)
    return now, np.where(np.isfinite(drawn).all(axis=0), ranks, np.nan)


def ranges(now: Values, drawn: Values, who: Sequence[str]) -> list[dict[str, Any]]:
    """Return each one's place: its ``mean_rank`` with the range that 95 % of resamples have, ``rank``, ``first``, ``tied_with``."""
    known = drawn[:, np.isfinite(drawn).all(axis=0)]
    if len(who) < 2 or not known.shape[1]:
        return [dict.fromkeys(("mean_rank", "rank_low", "rank_high", "rank", "first", "tied_with")) for _ in who]
    low, high = np.quantile(known, ENDS, axis=1, method="inverted_cdf")
    low, high = np.minimum(low, now), np.maximum(high, now)
    ahead = np.abs(known - known.min(axis=0)) < 1e-9
    first = (ahead / ahead.sum(axis=0)).mean(axis=1)
    return [
        {
            "mean_rank": float(now[i]), "rank_low": float(low[i]), "rank_high": float(high[i]), "rank": 1 + int((high < low[i]).sum()),
            "first": float(first[i]),
            "tied_with": [who[j] for j in range(len(who)) if j != i and low[j] <= high[i] and low[i] <= high[j]],
        }
        for i in range(len(who))
    ]  # fmt: skip

"""Would more samples help: a probe fitted on nested parts of its samples, and its headline metric against their number."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from healthfm.errors import RunError
from healthfm.score import scoring
from healthfm.score.statistics import Statistic, estimate, in_words, of_counts
from healthfm.score.statistics.statistic import Ints

ROOM = "curve"  # of the run folder: the predictions of the smaller fits
DRAWS = "draws"  # another: those of every draw of few examples
DRAW = "draw"  # the column that says of which draw a row is
SIZE = "fitted_on"  # the column that says of which fit a row is
PARTS = (8, 4, 2)  # an eighth, a quarter, a half of the patients
FEWEST = 16  # samples under which a fit says little
FLAT = 0.02  # a rise that is surely smaller than this is called flat
ONE_DRAW = (
    "one seeded draw of patients, each part within the next; what another draw would give is not in the intervals"
)


def nested(groups: Sequence[str], labels: Sequence[Collection[str]], seed: int) -> list[Ints]:
    """Return the rows of an eighth, a quarter and a half of the patients (``groups``), in a seeded order; each holds the one before.

    ``labels``: the classes of each row. A part that would lose a class, or its negatives, or hold fewer than ``FEWEST`` rows,
    is left out.
    """
    patients = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    order = np.random.default_rng(seed).permutation(len(patients))
    rank = np.argsort(order)[[patients[name] for name in groups]]
    names = sorted({name for one in labels for name in one})
    there = np.array([[name in one for name in names] for one in labels], bool)
    found: list[Ints] = []
    for part in PARTS:
        rows = np.flatnonzero(rank < len(patients) // part)
        taught = all(np.array_equal(side[rows].any(axis=0), side.any(axis=0)) for side in (there, ~there))
        if len(rows) >= FEWEST and taught and (not found or len(rows) > len(found[-1])):
            found.append(rows)
    return found


def stack(tables: Mapping[int, pa.Table], by: str = SIZE) -> pa.Table:
    """Return predictions by a number (of samples fitted on, of a draw of them) as one table, with a column that says it."""
    return pa.concat_tables([
        table.append_column(by, pa.array([number] * table.num_rows, pa.int64())) for number, table in tables.items()
    ])  # fmt: skip


def unstack(table: pa.Table, by: str = SIZE) -> dict[int, pa.Table]:
    """Return the tables that ``stack`` put together, by their number."""
    numbers = sorted(set(table[by].to_pylist()))
    return {number: table.filter(pc.equal(table[by], number)).drop_columns([by]) for number in numbers}


def curve(
    tables: Mapping[int, pa.Table], task: str, metric: str, classes: Sequence[str] | None = None, seed: int = 0
) -> dict[str, Any]:  # fmt: skip
    """Return a metric with its interval at each number of samples fitted on, and what that says.

    ``tables``: the predictions of the same rows, by the number of samples that the model was fitted on. The result has
    ``points`` (``size`` and what ``estimate`` gives, in rising order), ``rise`` (the metric of the last less that of the one
    before on the same rows, with its interval; None with one size only), ``whole`` (the same of the last less the first) and ``says``. All intervals are of the same
    resamples. Raises ``RunError`` where the tables are not of the same rows, or do not have the metric.
    """
    checked = {size: scoring.check_table(tables[size], task) for size in sorted(tables)}
    ids = [table["id"].to_pylist() for table in checked.values()]
    if len({frozenset(one) for one in ids}) > 1:
        raise RunError("the tables of a learning curve hold different rows; predict the same samples at every size")
    order = {name: row for row, name in enumerate(ids[0])}
    found: dict[str, Statistic] = {}
    for names, (size, table) in zip(ids, checked.items(), strict=True):
        statistics = scoring.statistics_of(table.take(np.argsort([order[one] for one in names])), task, classes)
        if metric not in statistics:
            raise RunError(f"no metric '{metric}' at size {size} (metrics: {', '.join(statistics)})")
        found[str(size)] = replace(statistics[metric], name=str(size))
    first = next(iter(checked.values()))
    if len(found) > 1:
        smallest, (fewer, more) = next(iter(found.values())), list(found.values())[-2:]
        found["rise"] = _rise("rise", fewer, more, first.num_rows)
        found["whole"] = _rise("whole", smallest, more, first.num_rows)
    estimates = estimate(found, scoring.patients_of(first), seed)
    points = [{"size": size, **estimates[str(size)]} for size in checked]
    rise = whole = None
    if len(points) > 1:
        rise = {"from": points[-2]["size"], "to": points[-1]["size"], **estimates["rise"]}
        whole = {"from": points[0]["size"], "to": points[-1]["size"], **estimates["whole"]}
    return {
        "metric": metric,
        "points": points,
        "rise": rise,
        "whole": whole,
        "says": _says(points, rise, whole),
        "note": ONE_DRAW,
    }


def _rise(name: str, fewer: Statistic, more: Statistic, n: int) -> Statistic:
    return of_counts(name, n, lambda counts: more.at(counts) - fewer.at(counts))


def _says(points: Sequence[Mapping[str, Any]], rise: Mapping[str, Any] | None, whole: Mapping[str, Any] | None) -> str:
    """Say in a sentence whether the curve still rises, for metrics from 0 to 1 of which more is better.

    A curve that ends surely below where it began is called falling, whatever its last step.
    """
    if rise is None or whole is None:
        return (
            f"It cannot be said whether more samples would help: a part of the {points[-1]['size']:,} fitted on would "
            f"lose a class or hold fewer than {FEWEST}."
        )
    if whole["low"] is not None and whole["high"] < 0:
        return (
            f"Falling: from {whole['from']:,} to {whole['to']:,} samples it changed by {whole['value']:+.3f} ({in_words(whole)}), so more samples "
            "of this kind would probably not help; look for labels or patients that differ between the samples."
        )
    step = f"from {rise['from']:,} to {rise['to']:,} samples"
    if rise["low"] is None:
        return f"It cannot be said whether more samples would help: {step} nothing changed ({rise['method']})."
    change = f"{step} it changed by {rise['value']:+.3f} ({in_words(rise)})"
    if rise["low"] > 0:
        return f"Still rising: {change}, so more samples would probably help."
    if rise["high"] < 0:
        return f"Falling: {change}, so more samples of this kind would probably not help."
    if max(-rise["low"], rise["high"]) <= FLAT:
        return f"Flat within the intervals: {change}, so more samples of this kind would add little."
    return f"It cannot be said whether more samples would help: {change}, which can be a rise, a fall or neither."

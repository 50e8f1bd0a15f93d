"""Would more samples help: a probe fitted on nested parts of its samples, and its headline metric against their number."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from healthfm.errors import RunError
from healthfm.evaluate import scoring
from healthfm.evaluate.statistics import Statistic, estimate, in_words, of_counts
from healthfm.evaluate.statistics.statistic import Ints

ROOM = "curve"  # of the run folder: the predictions of the smaller fits
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


def stack(tables: Mapping[int, pa.Table]) -> pa.Table:
    """Return predictions by the number of samples fitted on as one table, with a column that says it."""
    return pa.concat_tables([
        table.append_column(SIZE, pa.array([size] * table.num_rows, pa.int64())) for size, table in tables.items()
    ])  # fmt: skip


def unstack(table: pa.Table) -> dict[int, pa.Table]:
    """Return the tables that ``stack`` put together, by their number of samples."""
    sizes = sorted(set(table[SIZE].to_pylist()))
    return {size: table.filter(pc.equal(table[SIZE], size)).drop_columns([SIZE]) for size in sizes}


def curve(
    tables: Mapping[int, pa.Table], task: str, metric: str, classes: Sequence[str] | None = None, seed: int = 0
) -> dict[str, Any]:  # fmt: skip
    """Return a metric with its interval at each number of samples fitted on, and what that says.

    ``tables``: the predictions of the same rows, by the number of samples that the model was fitted on. The result has
    ``points`` (``size`` and what ``estimate`` gives, in rising order), ``rise`` (the metric of the last less that of the one
    before on the same rows, with its interval; None with one size only) and ``says``. All intervals are of the same
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
        fewer, more = list(found.values())[-2:]
        found["rise"] = _rise(fewer, more, first.num_rows)
    estimates = estimate(found, scoring.patients_of(first), seed)
    points = [{"size": size, **estimates[str(size)]} for size in checked]
    rise = estimates.get("rise")
    if rise is not None:
        rise = {"from": points[-2]["size"], "to": points[-1]["size"], **rise}
    return {"metric": metric, "points": points, "rise": rise, "says": _says(points, rise), "note": ONE_DRAW}


def _rise(fewer: Statistic, more: Statistic, n: int) -> Statistic:
    return of_counts("rise", n, lambda counts: more.at(counts) - fewer.at(counts))


def _says(points: Sequence[Mapping[str, Any]], rise: Mapping[str, Any] | None) -> str:
    """Say in a sentence whether the curve still rises, for metrics from 0 to 1 of which more is better."""
    if rise is None:
        return (
            f"It cannot be said whether more samples would help: a part of the {points[-1]['size']:,} fitted on would "
            f"lose a class or hold fewer than {FEWEST}."
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

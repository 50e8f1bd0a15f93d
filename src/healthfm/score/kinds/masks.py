"""A mask of one label in one case a row: Dice and what else was measured of it (``score.masks``), None where there was nothing to measure.

``case`` and ``label`` say of what; ``state`` why a row has no numbers of its own, or fixed ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score.kinds import kind
from healthfm.score.kinds.kind import Read
from healthfm.score.masks import STATES
from healthfm.score.metrics.arrays import ratio
from healthfm.score.statistics.statistic import Counts, Floats, Ints, Statistic, Values, of_counts

MEASURES = ("dice", "iou", "nsd", "hd95", "lesion_f1", "lesion_dice", "lesion_hd95")
LOWER = ("hd95", "lesion_hd95", "lesions_false", "missed_volume", "false_volume")
COUNTED = ("lesions", "lesions_found", "lesions_false", "missed_volume", "false_volume")
TEXTS = ("case", "label", "state")
WORST = 5  # rows that are named
MEANS = "each metric is averaged over the cases of a label, and over all it is the mean of the labels"


def check(table: pa.Table) -> pa.Table:
    """Return the table with its numbers as float64 and a patient a row, else the case. Raises ``RunError`` naming rows: no label, a Dice outside 0 to 1."""
    kind.need(table, "id", "case", "label", "dice")
    ids = kind.check_ids(table)
    table = kind.put(table, "id", ids, pa.string())
    for name in TEXTS:
        if name not in table.column_names:
            continue
        held = kind.texts(table, name)
        if name != "state":
            kind.refuse(f"have no {name}", [i for i, one in zip(ids, held, strict=True) if one is None])
        table = kind.put(table, name, held, pa.string())
    for name in (*MEASURES, *COUNTED):
        if name in table.column_names:
            values = kind.numbers(table, ids, name, missing=True)
            most = np.inf if name in LOWER or name in COUNTED else 1 + 1e-9
            outside = [i for i, one in zip(ids, values, strict=True) if one < 0 or one > most]
            kind.refuse(f"have a {name} below 0{'' if most == np.inf else ' or above 1'}", outside)
            table = kind.put(table, name, [None if np.isnan(one) else one for one in values.tolist()], pa.float64())
    cases = table["case"].to_pylist()
    known = kind.texts(table, "patient") if "patient" in table.column_names else [None] * len(cases)
    patients = [case if one is None else one for one, case in zip(known, cases, strict=True)]
    return kind.put(table, "patient", patients, pa.string())


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return each measure over all labels and of each; lesions by how many were found. Raises ``RunError``: no row has a Dice."""
    names = table["label"].to_pylist()
    labels = list(classes or sorted(set(names)))
    kind.refuse(
        f"have a label that is none of {', '.join(labels)}",
        [i for i, one in zip(table["id"].to_pylist(), names, strict=True) if one not in labels],
    )
    if table["dice"].null_count == table.num_rows:
        raise RunError("no row has a Dice: nothing was there to measure in any case")
    rows = {label: np.flatnonzero([one == label for one in names]) for label in labels}
    measured = [
        one for name in MEASURES if (held := _column(table, name)) is not None for one in _means(name, held, rows)
    ]
    if (there := _column(table, "lesions")) is not None:
        measured += _counted(table, there, rows)
    statistics, undefined = kind.defined(measured)
    facts = {
        "classes": labels,
        "unanswered": _missing(table),
        "cases": len(set(table["case"].to_pylist())),
    }
    return Read(statistics, "dice", [MEANS, *_rules(table), *undefined, *_worst(table)], facts)


def _missing(table: pa.Table) -> int:
    """Return for how many masks that are measured no file was given: one of nothing may be nothing."""
    if "state" not in table.column_names:
        return 0
    rows = zip(table["state"].to_pylist(), table["dice"].to_pylist(), strict=True)
    return sum(state == "no file" and dice is not None for state, dice in rows)


def _column(table: pa.Table, name: str) -> Floats | None:
    """Return a column as numbers, NaN where there is none; None where the table has none at all."""
    if name not in table.column_names or table[name].null_count == table.num_rows:
        return None
    return np.array([np.nan if one is None else one for one in table[name].to_pylist()], np.float64)


def _means(name: str, values: Floats, rows: Mapping[str, Ints]) -> list[Statistic]:
    """Return a measure's mean over labels, and its mean over the cases of each that has several labels beside it."""
    known = ~np.isnan(values)
    held = {label: which[known[which]] for label, which in rows.items()}

    def of(which: Ints) -> Any:
        return lambda counts: ratio(counts[:, which] @ values[which], counts[:, which].sum(axis=1))

    each = {label: of(which) for label, which in held.items() if len(which)}
    lower = name in LOWER

    def over(counts: Counts) -> Values:
        found = np.stack([at(counts) for at in each.values()])
        there = ~np.isnan(found)
        return ratio(np.where(there, found, 0).sum(axis=0), there.sum(axis=0))

    among = np.zeros(len(values), bool)
    every = [of_counts(name, len(values), over, among=known, lower_is_better=lower)]
    for label, at in each.items() if len(each) > 1 else ():
        mine = among.copy()
        mine[held[label]] = True
        every.append(of_counts(f"{name}/{label}", len(values), at, among=mine, lower_is_better=lower))
    return every


def _counted(table: pa.Table, there: Floats, rows: Mapping[str, Ints]) -> list[Statistic]:
    """Return the share of all lesions that were found, and the false ones a case."""
    found, false = (np.nan_to_num(_or_zeros(table, name)) for name in ("lesions_found", "lesions_false"))
    known, n = ~np.isnan(there), len(there)
    every = np.nan_to_num(there)
    held = {label: which[known[which]] for label, which in rows.items() if known[which].any()}

    def two(which: Ints, label: str) -> list[Statistic]:
        among = np.zeros(n, bool)
        among[which] = True
        shares = lambda counts: ratio(counts[:, which] @ found[which], counts[:, which] @ every[which])  # noqa: E731
        a_case = lambda counts: ratio(counts[:, which] @ false[which], counts[:, which].sum(axis=1))  # noqa: E731
        return [
            of_counts(f"lesion_sensitivity{label}", n, shares, among=among),
            of_counts(f"false_lesions{label}", n, a_case, among=among, lower_is_better=True),
        ]

    whole = two(np.concatenate(list(held.values())), "")
    return (
        whole
        if len(held) == 1
        else [*whole, *(one for label, which in held.items() for one in two(which, f"/{label}"))]
    )


def _or_zeros(table: pa.Table, name: str) -> Floats:
    held = _column(table, name)
    return np.zeros(table.num_rows) if held is None else held


def _states(table: pa.Table) -> Counter[str]:
    return Counter(table["state"].to_pylist()) if "state" in table.column_names else Counter()


def _rules(table: pa.Table) -> list[str]:
    """Return what was said of rows without numbers of their own, counted, and the rules that stand in a column ``rule``."""
    states, missing = _states(table), _missing(table)
    spared = states["no file"] - missing
    states["no file"] = missing
    said = [f"{states[name]} of {table.num_rows} rows: {what}" for name, what in STATES.items() if states[name]]
    if spared:
        said.append(
            f"{spared} of {table.num_rows} rows: no file was given, and the reference has no voxel either: left out"
        )
    return [*kind.stated(table), *said]


def _worst(table: pa.Table) -> list[str]:
    rows = sorted(
        (row["dice"], row["id"]) for row in table.select(["id", "dice"]).to_pylist() if row["dice"] is not None
    )
    first = [f"{name} ({value:.3f})" for value, name in rows[:WORST] if value < 1]
    return [f"worst cases by Dice: {', '.join(first)}"] if first else []

"""Variants of proteins by assay: ``assay``, ``target`` and ``prediction``; or a row an assay, with its ``spearman`` alone.

Scores of two assays stand on no common scale: each assay is measured for itself, then assays of a protein, proteins of a function class and
the classes are averaged, one after the other, as ProteinGym does. Assays of one protein are no independent samples: whole proteins are resampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score.kinds import kind
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics import assays
from healthfm.score.metrics.arrays import ratio
from healthfm.score.statistics.statistic import Counts, Floats, Ints, Values, of_counts
from healthfm.spelling import counted

FEWEST = 3  # variants of an assay below which nothing is measured
ONE = "all"  # the function class where a table names none


def check(table: pa.Table) -> pa.Table:
    """Return the table with text and float64 columns, and the protein (or the assay) as the unit that is resampled."""
    ready = "spearman" in table.column_names
    if ready:  # of a row an assay, its name is its id
        for name, other in (("id", "assay"), ("assay", "id")):
            if name not in table.column_names and other in table.column_names:
                table = table.append_column(name, table[other])
    kind.need(table, "id", "assay", *(("spearman",) if ready else ("target", "prediction")))
    ids = kind.check_ids(table)
    table = kind.put(table, "id", ids, pa.string())
    for name, missing in (("spearman", False),) if ready else (("target", False), ("prediction", True)):
        values = kind.numbers(table, ids, name, missing)
        table = kind.put(table, name, [None if np.isnan(one) else one for one in values.tolist()], pa.float64())
    if "hit" in table.column_names:
        hits = kind.numbers(table, ids, "hit")
        kind.refuse(
            "have a hit that is neither 0 nor 1", [i for i, one in zip(ids, hits, strict=True) if one not in (0, 1)]
        )
        table = kind.put(table, "hit", [bool(one) for one in hits], pa.bool_())
    for name in ("assay", "protein", "function"):
        if name in table.column_names:
            values_ = kind.texts(table, name)
            kind.refuse(f"have no {name}", [i for i, one in zip(ids, values_, strict=True) if one is None])
            table = kind.put(table, name, values_, pa.string())
    for name in ("protein", "function"):
        if name in table.column_names:
            _one_each(table, name)
    unit = "protein" if "protein" in table.column_names else "assay"
    return kind.put(table, "patient", table[unit].to_pylist(), pa.string())


def _one_each(table: pa.Table, name: str) -> None:
    """Raise ``RunError`` where an assay is of two proteins, or of two function classes."""
    found: dict[str, str] = {}
    pairs = zip(table["assay"].to_pylist(), table[name].to_pylist(), strict=True)
    if wrong := sorted({assay for assay, one in pairs if found.setdefault(assay, one) != one}):
        raise RunError(f"{len(wrong)} assays have more than one {name}: {', '.join(wrong[: kind.NAMED])}")


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return the averages. Raises ``RunError``: no assay can be measured."""
    names = table["assay"].to_pylist()
    order = list(dict.fromkeys(names))
    place = {one: i for i, one in enumerate(order)}
    at = np.array([place[one] for one in names])
    first = np.unique(at, return_index=True)[1]
    protein, function = (
        [table[one][int(row)].as_py() for row in first] if one in table.column_names else None
        for one in ("protein", "function")
    )
    proteins, functions = protein or order, function or [ONE] * len(order)
    rows = [np.flatnonzero(at == i) for i in range(len(order))]
    measured = [_measured(table.take(some)) for some in rows]
    n, found, lost = table.num_rows, [], []
    for name in measured[0]:
        values = np.array([one.get(name, np.nan) for one in measured])
        if np.isnan(values).all():
            continue
        tree = _Tree(values, proteins, functions, first)
        found.append(of_counts(name, n, tree.at))
        if name == "spearman":
            lost = [one for one, value in zip(order, values, strict=True) if np.isnan(value)]
            found.append(of_counts("spearman_plain", n, tree.plain))
            found += [of_counts(f"spearman/{one}", n, tree.of(one)) for one in tree.classes if function]
    statistics, undefined = kind.defined(found)
    if "spearman" not in statistics:
        raise RunError("no assay has variants whose targets and predictions vary")
    missing = int(table["prediction"].null_count) if "prediction" in table.column_names else 0
    rules = [
        "each assay is measured alone; assays of a protein, proteins of a function class, and the classes are averaged in this order (ProteinGym's rule)",
        f"whole {'proteins' if protein else 'assays'} are resampled: in the place of patients stand {len(set(proteins))} {'proteins' if protein else 'assays'}",
        *([] if protein else ["no column protein: each assay counts as a protein of its own"]),
        *([] if function else ["no column function: all proteins count as one class"]),
        *([f"assays without a value (under {FEWEST} variants, or all equal) are left out: {', '.join(lost)}"] if lost else []),
        *([f"{counted(missing, 'variant without a prediction is left out of its assay', 'variants without a prediction are left out of their assays')}"] if missing else []),
    ]  # fmt: skip
    shown = [
        {"assay": one, "protein": p, "function": f, "variants": len(some), **{k: None if np.isnan(v) else v for k, v in values.items()}}
        for one, p, f, some, values in zip(order, proteins, functions, rows, measured, strict=True)
    ]  # fmt: skip
    return Read(statistics, "spearman", rules + undefined, {"assays": shown, "unanswered": missing})


def _measured(table: pa.Table) -> dict[str, float]:
    """Return an assay's metrics, NaN where one is not defined."""
    if "spearman" in table.column_names:
        return {"spearman": float(np.mean(table["spearman"].to_numpy()))}
    guess = table["prediction"].to_numpy().astype(np.float64)
    known = ~np.isnan(guess)
    target, guess = table["target"].to_numpy().astype(np.float64)[known], guess[known]
    names = ("spearman", "ndcg", "top_recall", *(("auroc", "mcc") if "hit" in table.column_names else ()))
    if len(target) < FEWEST:
        return dict.fromkeys(names, np.nan)
    found = {
        "spearman": assays.spearman(target, guess),
        "ndcg": assays.ndcg(target, guess),
        "top_recall": assays.top_recall(target, guess),
    }
    if "hit" in table.column_names:
        hit = table["hit"].to_numpy(zero_copy_only=False)[known]
        area = assays.auroc(hit, guess)
        found |= {"auroc": area, "mcc": np.nan if np.isnan(area) else assays.mcc(hit, guess)}
    return found


class _Tree:
    """A metric's values by assay, averaged over proteins within a function class, then over the classes, however often each was drawn."""

    def __init__(self, values: Floats, proteins: Sequence[str], functions: Sequence[str], first: Ints) -> None:
        kept = [int(i) for i in np.flatnonzero(~np.isnan(values))]
        self.values, self.rows = values[kept], first[kept]
        self.classes = sorted({functions[i] for i in kept})
        pairs = {pair: i for i, pair in enumerate(dict.fromkeys((functions[i], proteins[i]) for i in kept))}
        self.pair = np.array([pairs[functions[i], proteins[i]] for i in kept])
        self.of_class = np.array([self.classes.index(pair[0]) for pair in pairs])

    def _classes(self, counts: Counts) -> Values:
        """Return each class' mean [resamples, classes], NaN where none of its proteins was drawn."""
        drawn = counts[:, self.rows].astype(np.float64)
        into, above = (
            np.eye(size)[one] for one, size in ((self.pair, len(self.of_class)), (self.of_class, len(self.classes)))
        )
        weight = drawn @ into
        mean = np.divide((drawn * self.values) @ into, weight, out=np.zeros_like(weight), where=weight > 0)
        often = np.divide(weight, into.sum(axis=0))  # how often the pair was drawn: its assays are drawn together
        total = often @ above
        found: Values = np.divide((often * mean) @ above, total, out=np.full_like(total, np.nan), where=total > 0)
        return found

    def at(self, counts: Counts) -> Values:
        """Return the mean over the classes that were drawn."""
        found = self._classes(counts)
        return ratio(np.nansum(found, axis=1), (~np.isnan(found)).sum(axis=1))

    def plain(self, counts: Counts) -> Values:
        """Return the mean over assays, whatever they share."""
        drawn = counts[:, self.rows].astype(np.float64)
        return np.asarray((drawn @ self.values) / np.maximum(drawn.sum(axis=1), 1e-12))

    def of(self, name: str) -> Any:
        """Return the function that gives one class' mean."""
        column = self.classes.index(name)
        return lambda counts: self._classes(counts)[:, column]


def summary(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a run's assays, the best first."""
    return sorted(facts.get("assays") or (), key=lambda one: -(one["spearman"] if one["spearman"] is not None else -2))

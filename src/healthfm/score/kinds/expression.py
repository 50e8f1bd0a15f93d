"""Predicted expression: a row a gene (or a place), ``target`` and ``prediction`` as lists of one number a cell type; ``columns`` names these.

Two correlations are reported and are not the same: of a gene over cell types (does it say where a gene is on?), averaged over genes, and of a cell
type over genes (does it say which genes are on?), averaged over cell types, which is high for whoever knows the genes' means alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score.kinds import kind
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics.arrays import ratio
from healthfm.score.statistics.statistic import Counts, Floats, Values, of_counts

NUMBERS = pa.list_(pa.float64())


def check(table: pa.Table) -> pa.Table:
    """Return the table with lists of float64, all of one length. A row without a prediction is an error."""
    kind.need(table, "id", "target", "prediction")
    ids = kind.check_ids(table)
    width = None
    for name in ("target", "prediction"):
        if not kind.is_list(table[name].type, numeric=True):
            raise RunError(f"the column {name} needs a list of numbers in each row")
        rows = table[name].to_pylist()
        kind.refuse(
            f"have no {name}, or one that is no finite number",
            [i for i, row in zip(ids, rows, strict=True) if not row or not np.isfinite(np.array(row, float)).all()],
        )
        width = width or len(rows[0])
        kind.refuse(
            f"do not have {width} numbers in {name}, as the first row's target",
            [i for i, row in zip(ids, rows, strict=True) if len(row) != width],
        )
        table = kind.put(table, name, rows, NUMBERS)
    return kind.put(table, "id", ids, pa.string())


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return both correlations. Raises ``RunError``: no gene and no cell type varies."""
    x, y = (np.array(table[name].to_pylist(), np.float64) for name in ("target", "prediction"))
    by_gene = _pearson(x, y)
    names = list(
        classes
        or (table["columns"][0].as_py() if "columns" in table.column_names else [str(i + 1) for i in range(x.shape[1])])
    )
    n, fixed = len(x), ~np.isnan(by_gene)

    def genes(counts: Counts) -> Values:
        return ratio(counts[:, fixed] @ by_gene[fixed], counts[:, fixed].sum(axis=1))

    def types(counts: Counts) -> Floats:
        return np.stack([_weighted(x[:, i], y[:, i], counts) for i in range(x.shape[1])], axis=1)

    def mean_type(counts: Counts) -> Values:
        found = types(counts)
        return ratio(np.nansum(found, axis=1), (~np.isnan(found)).sum(axis=1))

    found = [
        of_counts("pearson_by_gene", n, genes, among=None if fixed.all() else fixed, scale_free=True), of_counts("pearson_by_type", n, mean_type, scale_free=True),
        of_counts("rmse", n, lambda c: np.sqrt(ratio(c @ ((x - y) ** 2).mean(axis=1), c.sum(axis=1))), lower_is_better=True),
        *(of_counts(f"pearson/{name}", n, partial(_weighted, x[:, i], y[:, i]), scale_free=True) for i, name in enumerate(names)),
    ]  # fmt: skip
    statistics, lost = kind.defined(found)
    headline = next((name for name in ("pearson_by_gene", "pearson_by_type") if name in statistics), None)
    if headline is None:
        raise RunError("no gene varies over the cell types, and no cell type over the genes: no correlation is defined")
    flat = int((~fixed).sum())
    rules = [
        "by gene: a gene's correlation over cell types, averaged over genes; by cell type: over genes, averaged over cell types",
        *([f"{flat} genes whose values are all equal on a side are left out of the mean by gene"] if flat else []),
    ]
    facts: dict[str, Any] = {"columns": names, "unanswered": 0}
    return Read(statistics, headline, [*rules, *lost], facts)


def _pearson(x: Floats, y: Floats) -> Floats:
    """Return the correlation of each row [n], NaN where a side does not vary."""
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    return ratio((x * y).sum(axis=1), np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1)))


def _weighted(x: Floats, y: Floats, counts: Counts) -> Values:
    """Return the correlation of two columns [resamples] where row i is drawn ``counts[:, i]`` times."""
    x, y = x - x.mean(), y - y.mean()
    n, sx, sy, sxx, syy, sxy = (counts @ np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)).T
    return ratio(sxy - sx * sy / n, np.sqrt(np.maximum(sxx - sx * sx / n, 0) * np.maximum(syy - sy * sy / n, 0)))

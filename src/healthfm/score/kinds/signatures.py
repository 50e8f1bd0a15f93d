"""Predicted signatures of perturbations (L1000 and its like): a row a signature, ``target`` and ``prediction`` as lists of one number a gene, in one order.

Each signature is measured for itself. Signatures of one drug (column ``drug``, else ``perturbation``) are no independent samples: whole drugs are resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score.kinds import expression, kind
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics.assays import spearman
from healthfm.score.statistics.statistic import Floats, of_mean

UNITS = ("drug", "perturbation")
ENDS = 0.1  # of the genes, at either end of a signature, that are compared as sets
FEWEST = 10  # genes below which nothing is measured


def check(table: pa.Table) -> pa.Table:
    """Return the table with lists of float64, all of one length, and the drug as the unit that is resampled."""
    table = expression.check(table)
    if len(table["target"][0].as_py()) < FEWEST:
        raise RunError(f"a signature needs {FEWEST} genes at least")
    for name in UNITS:
        if name in table.column_names and "patient" not in table.column_names:
            units = kind.texts(table, name)
            ids = table["id"].to_pylist()
            kind.refuse(f"have no {name}", [i for i, one in zip(ids, units, strict=True) if one is None])
            table = kind.put(table, "patient", units, pa.string())
    return table


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return the mean over signatures of both correlations, of the share of the ends that is found, and of the error."""
    pairs = [
        (np.array(a, np.float64), np.array(b, np.float64))
        for a, b in zip(table["target"].to_pylist(), table["prediction"].to_pylist(), strict=True)
    ]
    ranks, lines = np.array([spearman(*one) for one in pairs]), np.array([_pearson(*one) for one in pairs])
    flat = np.isnan(ranks) | np.isnan(lines)
    found = [
        of_mean("spearman", np.where(flat, 0, ranks)), of_mean("pearson", np.where(flat, 0, lines)), of_mean("ends_found", [ends_found(*one) for one in pairs]),
        of_mean("rmse", [float(np.sqrt(((a - b) ** 2).mean())) for a, b in pairs], lower_is_better=True),
    ]  # fmt: skip
    units = len(set(table["patient"].to_pylist())) if "patient" in table.column_names else None
    rules = [
        f"each signature is measured for itself; the ends are the tenth of the genes that rises most and the tenth that falls most ({_size(pairs[0][0])} each)",
        f"whole drugs are resampled: in the place of patients stand {units} drugs" if units else "no column drug: signatures of one drug count as independent, and intervals may be too narrow",
        *([f"{int(flat.sum())} signatures that do not vary on a side count as 0"] if flat.any() else []),
    ]  # fmt: skip
    facts: dict[str, Any] = {"unanswered": 0}
    return Read({one.name: one for one in found}, "spearman", rules, facts)


def _pearson(x: Floats, y: Floats) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / size) if size else np.nan


def _size(values: Floats) -> int:
    return max(1, int(len(values) * ENDS))


def ends_found(target: Floats, guess: Floats) -> float:
    """Return the share of the genes at either end of the target that stand at the same end of the guess; by chance a tenth. Of equal ones the first."""
    k = _size(target)
    up, down = (len(set(np.argsort(s * target, kind="stable")[:k].tolist()) & set(np.argsort(s * guess, kind="stable")[:k].tolist())) for s in (-1, 1))  # fmt: skip
    return (up + down) / (2 * k)

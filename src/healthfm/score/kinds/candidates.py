"""A query with candidates a row: ``target`` is the relevance of each (0: wrong), ``scores`` what the model gives each, higher for better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.score.kinds import kind
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics import ranking
from healthfm.score.statistics.statistic import Statistic, of_mean
from healthfm.spelling import counted

TIES = "ties: of candidates with equal scores the wrong ones count as standing first, so that no order of a file helps"
RELEVANT = "a candidate is right from relevance 1 on; MAP and the rest do not weigh relevance"
NONE = "a row without scores ranks everything wrong: 0"
NUMBERS = pa.list_(pa.float64())


def check(table: pa.Table) -> pa.Table:
    """Return the table with lists of numbers. Raises ``RunError`` naming rows: other numbers of scores than candidates, none of them right."""
    kind.need(table, "id", "target", "scores")
    ids = kind.check_ids(table)
    table = kind.put(table, "id", ids, pa.string())
    for name in ("target", "scores", *(one for one in table.column_names if one.startswith(kind.RIVAL))):
        rows = [_numbers(row) for row in table[name].to_pylist()]
        kind.refuse(
            f"have something in {name} that is no list of finite numbers",
            [i for i, row in zip(ids, rows, strict=True) if row is False],
        )
        table = kind.put(table, name, rows, NUMBERS)
    kept = table["target"].to_pylist()
    kind.refuse(
        "have no right candidate in target",
        [i for i, row in zip(ids, kept, strict=True) if not any(one >= 1 for one in row or ())],
    )
    kind.refuse(
        "have another number of scores than of candidates",
        [
            i
            for i, row, s in zip(ids, kept, table["scores"].to_pylist(), strict=True)
            if s is not None and len(s) != len(row)
        ],
    )
    return table


def _numbers(row: Any) -> list[float] | bool | None:
    """Return a list of finite numbers, None for a missing one, False for anything else."""
    if row is None:
        return None
    try:
        found = [float(one) for one in row]
    except (TypeError, ValueError):
        return False
    return found if np.isfinite(found).all() else False


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return MRR, MAP, precision at 1, recall at 5 and 10, nDCG at 10 and MRR at 10."""
    target, scores = table["target"].to_pylist(), table["scores"].to_pylist()
    orders = [in_order(right, given) for right, given in zip(target, scores, strict=True)]
    tied = sum(given is not None and len(set(given)) < len(given) for given in scores)
    missing = sum(given is None for given in scores)
    rules = [f"{TIES} ({counted(tied, 'row has', 'rows have')} some)", RELEVANT, *([NONE] if missing else [])]
    rivals = {
        name.removeprefix(kind.RIVAL): {
            "mrr": _measured([in_order(r, g) for r, g in zip(target, table[name].to_pylist(), strict=True)])[0].value
        }
        for name in table.column_names if name.startswith(kind.RIVAL)
    }  # fmt: skip
    facts = {"unanswered": missing, **({"rivals": rivals} if rivals else {})}
    return Read({one.name: one for one in _measured(orders)}, "mrr", rules, facts)


def in_order(right: Sequence[float], given: Sequence[float] | None) -> list[bool] | None:
    """Return whether each candidate is right, best score first, of equal ones the wrong first; None where there are no scores."""
    if given is None:
        return None
    order = sorted(range(len(right)), key=lambda i: (-given[i], right[i] >= 1))
    return [right[i] >= 1 for i in order]


def _measured(orders: Sequence[list[bool] | None]) -> list[Statistic]:
    """Return every metric of lists in their order; a missing list scores 0."""
    pairs = [
        ([str(i) for i, _ in enumerate(one or ())], [str(i) for i, yes in enumerate(one or [True]) if yes])
        for one in orders
    ]
    measures: list[tuple[str, Callable[[Sequence[str], Sequence[str]], float]]] = [
        ("mrr", ranking.reciprocal_rank), ("map", ranking.average_precision), ("precision_1", lambda a, b: float(a[:1] == b[:1])),
        ("recall_5", partial(ranking.recall_at, 5)), ("recall_10", partial(ranking.recall_at, 10)), ("ndcg_10", partial(ranking.ndcg_at, 10)),
        ("mrr_10", lambda a, b: ranking.reciprocal_rank(a[:10], b)),
    ]  # fmt: skip
    return [of_mean(name, [measure(*pair) for pair in pairs]) for name, measure in measures]

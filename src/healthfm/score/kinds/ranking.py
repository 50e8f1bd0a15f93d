"""A ranked list a row: ``target`` holds the relevant ids, ``ranking`` the found ones, best first."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from healthfm.score.kinds import kind
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics.ranking import ndcg_at, recall_at, reciprocal_rank
from healthfm.score.statistics.statistic import of_mean

RECALLS = (1, 5, 10)


def check(table: pa.Table) -> pa.Table:
    """Return the table with lists of text."""
    kind.need(table, "id", "target", "ranking")
    ids = kind.check_ids(table)
    table = kind.put(table, "id", ids, pa.string())
    for name in ("target", "ranking"):
        rows = kind.lists(table, ids, name)
        if name == "target":
            kind.refuse("have nothing relevant in target", [i for i, row in zip(ids, rows, strict=True) if not row])
        table = kind.put(table, name, rows, pa.list_(pa.string()))
    return table


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return recall at 1, 5 and 10, the mean reciprocal rank, and nDCG at 10."""
    pairs = list(zip(table["ranking"].to_pylist(), table["target"].to_pylist(), strict=True))
    found = [
        *(of_mean(f"recall_{k}", [recall_at(k, *pair) for pair in pairs]) for k in RECALLS),
        of_mean("mrr", [reciprocal_rank(*pair) for pair in pairs]),
        of_mean("ndcg_10", [ndcg_at(10, *pair) for pair in pairs]),
    ]
    rules = ["relevance is yes or no, and what a list leaves out counts as never found"]
    return Read({s.name: s for s in found}, "ndcg_10", rules, {"unanswered": sum(not ranking for ranking, _ in pairs)})

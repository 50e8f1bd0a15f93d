"""A text's likelihood a row: ``log_likelihood`` (natural, summed) of ``tokens``, ``words`` and ``bytes``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from healthfm.score.kinds import kind
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics.arrays import ratio
from healthfm.score.statistics.statistic import Counts, Floats, Statistic, of_counts

UNITS = ("words", "bytes")


def check(table: pa.Table) -> pa.Table:
    """Return the table with float64 likelihoods and whole counts."""
    kind.need(table, "id", "log_likelihood", "tokens", *UNITS)
    ids = kind.check_ids(table)
    table = kind.put(table, "id", ids, pa.string())
    likely = kind.numbers(table, ids, "log_likelihood")
    kind.refuse("have a log_likelihood above 0", [i for i, one in zip(ids, likely, strict=True) if one > 0])
    table = kind.put(table, "log_likelihood", likely, pa.float64())
    for name in ("tokens", *UNITS):
        sizes = kind.numbers(table, ids, name)
        kind.refuse(
            f"have no whole positive number of {name}",
            [i for i, one in zip(ids, sizes, strict=True) if one < 1 or one % 1],
        )
        table = kind.put(table, name, sizes.astype(np.int64), pa.int64())
    return table


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return perplexity by word and by byte and the bits a byte costs: sums over all texts, so long ones weigh more."""
    likely = table["log_likelihood"].to_numpy()
    words, octets = (table[name].to_numpy().astype(np.float64) for name in UNITS)
    found = [
        _cost("bits_per_byte", likely / np.log(2), octets), _cost("byte_perplexity", likely, octets, raised=True),
        _cost("word_perplexity", likely, words, raised=True),
    ]  # fmt: skip
    rules = [
        "perplexity by word and by byte compares models with different tokenizers; perplexity by token does not and is not given"
    ]
    return Read(
        {s.name: s for s in found},
        "bits_per_byte",
        rules,
        {"unanswered": 0, "tokens": int(table["tokens"].to_numpy().sum())},
    )


def _cost(name: str, likely: Floats, size: Floats, raised: bool = False) -> Statistic:
    def at(counts: Counts) -> Floats:
        cost = -ratio(counts @ likely, counts @ size)
        return np.asarray(np.exp(cost) if raised else cost)

    return of_counts(name, len(likely), at, lower_is_better=True)

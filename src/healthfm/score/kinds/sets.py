"""A set of names a row, of any that there are (terms of a vocabulary, numbers of sentences): ``target`` and ``prediction`` are lists of text, or text with "##" between
the names (CHIP-CDN).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from healthfm.score.kinds import found, kind
from healthfm.score.kinds.found import Thing
from healthfm.score.kinds.kind import Read

ONE = "all"  # the one type of a thing that has none
JOINED = "##"  # between the terms of a cell of text, as CHIP-CDN writes them
EXACT = "subset_accuracy: a row counts where it has every name and no other"
EMPTY = "sample_f1: a row where nothing is there and nothing was found counts 1"


def check(table: pa.Table) -> pa.Table:
    """Return the table with lists of text; what a row names twice it has once."""
    kind.need(table, "id", "target", "prediction")
    ids = kind.check_ids(table)
    table = kind.put(table, "id", ids, pa.string())
    for name in ("target", "prediction"):
        if pa.types.is_string(table[name].type) or pa.types.is_large_string(table[name].type):
            split = [
                None if one is None else [part.strip() for part in one.split(JOINED) if part.strip()]
                for one in table[name].to_pylist()
            ]
            table = kind.put(table, name, split, pa.list_(pa.string()))
        rows = kind.lists(table, ids, name, missing=name == "prediction", once=True)
        table = kind.put(table, name, rows, pa.list_(pa.string()))
    return table


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return precision, recall and F1 of names over all rows together, the mean F1 of rows, and the share of rows right as a whole."""
    true, given = table["target"].to_pylist(), table["prediction"].to_pylist()
    wanted, named = [_things(row) for row in true], [_things(row or []) for row in given]
    types = found.types_of([ONE], wanted, named)
    counts, _ = found.tallied(wanted, named, types)
    measured = [one for one in found.statistics(counts, types) if one.name.startswith("micro")]
    measured += found.by_row(wanted, named, [row is not None for row in given])
    missing = sum(row is None for row in given)
    rules = [found.NOTHING, EXACT, EMPTY, *([found.UNANSWERED] if missing else [])]
    statistics, undefined = kind.defined(measured)
    return Read(statistics, "micro_f1", rules + undefined, {"unanswered": missing})


def _things(row: Sequence[str]) -> set[Thing]:
    return {(ONE, one) for one in row}

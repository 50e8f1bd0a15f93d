"""Relations stated in a text a row: ``target`` and ``prediction`` are lists of (type, head, tail), right where all three are.

``other_types``: those that a model stated of types which were not asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from healthfm.score.kinds import found, kind
from healthfm.score.kinds.found import Thing
from healthfm.score.kinds.kind import Read

RELATION = pa.struct([("type", pa.string()), ("head", pa.string()), ("tail", pa.string())])
RELATIONS = pa.list_(RELATION)
STRICT = "a relation counts where type, head and tail are all right, in this direction"
INVENTED = "{} relations are of types that nobody asked for: each counts as an invented one"
UNEVALUATED = "relations of other types than {} are left out, in targets and in predictions"


def check(table: pa.Table) -> pa.Table:
    """Return the table with lists of ``RELATION``, heads and tails as text."""
    kind.need(table, "id", "target", "prediction")
    ids = kind.check_ids(table)
    for name in ("target", "prediction", *(["other_types"] if "other_types" in table.column_names else [])):
        rows = found.objects(table, ids, name, ("type", "head", "tail"), missing=name != "target")
        made = [
            None if row is None else [{k: kind.label(one[k]) for k in ("type", "head", "tail")} for one in row]
            for row in rows
        ]
        table = kind.put(table, name, made, RELATIONS)
    return kind.put(table, "id", ids, pa.string())


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return precision, recall and F1 of relations. ``classes``: the types that are evaluated; others are left out on both sides."""
    true, given = table["target"].to_pylist(), table["prediction"].to_pylist()
    wanted, stated = [_things(row, classes) for row in true], [_things(row or [], classes) for row in given]
    types = found.types_of(classes, wanted, stated)
    other = table["other_types"].to_pylist() if "other_types" in table.column_names else [[] for _ in given]
    strange: list[set[Thing]] = [
        {_thing({**one, "type": f"other: {one['type']}"}) for one in row or ()} for row in other
    ]
    counts, _ = found.tallied(wanted, [a | b for a, b in zip(stated, strange, strict=True)], types)
    missing = sum(row is None for row in given)
    twice = sum(len(row) - len({_thing(one) for one in row}) for row in given if row)
    others = {one["type"] for rows in (true, given) for row in rows for one in row or ()} - set(types)
    rules = [
        *([INVENTED.format(sum(map(len, strange)))] if any(strange) else []), STRICT, found.NOTHING, *([UNEVALUATED.format(", ".join(types))] if others else []),
        *([found.UNANSWERED] if missing else []), *([found.ONCE.format(twice)] if twice else []),
    ]  # fmt: skip
    statistics, undefined = kind.defined(found.statistics(counts, types))
    positives = dict(zip(types, counts[:, : len(types), :2].sum(axis=(0, 2)).tolist(), strict=True))
    return Read(
        statistics, "micro_f1", rules + undefined, {"classes": types, "unanswered": missing, "positives": positives}
    )


def _thing(one: dict[str, Any]) -> Thing:
    return one["type"], (one["head"], one["tail"])


def _things(row: Sequence[dict[str, Any]], classes: Sequence[str] | None) -> set[Thing]:
    return {_thing(one) for one in row if not classes or one["type"] in classes}

"""A row of tags a row (IOB1, IOB2, IOE2, IOBES, BILOU): ``target`` and ``prediction`` are lists of as many tags as the text has tokens."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from healthfm.score.kinds import found, kind
from healthfm.score.kinds.found import Thing
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics import chunks

LENIENT = (
    "chunks are read as CoNLL's scorer and seqeval's default do: one begins wherever a type does, whatever its mark"
)
STRICT = "strict_ metrics are seqeval's mode='strict' with scheme {}: a chunk that is not written as the scheme demands is none"
IOB1 = "the tags have only I- and O (IOB1): two mentions of one type that touch are one, and there is no strict reading"


def check(table: pa.Table) -> pa.Table:
    """Return the table with lists of tags. Raises ``RunError`` naming rows: no tag of a scheme, or another number of them than the target has."""
    kind.need(table, "id", "target", "prediction")
    ids = kind.check_ids(table)
    table = kind.put(table, "id", ids, pa.string())
    columns = {}
    for name in ("target", "prediction"):
        if not kind.is_list(table[name].type) and not pa.types.is_null(table[name].type):
            kind.refuse(f"have no list of tags in {name}", ids)
        rows = [None if row is None else [str(one) for one in row] for row in table[name].to_pylist()]
        kind.refuse(
            f"have a tag in {name} of no scheme (O, or B, I, E, S, L, U with -TYPE)",
            [i for i, row in zip(ids, rows, strict=True) if any(not _known(tag) for tag in row or ())],
        )
        columns[name] = rows
        table = kind.put(table, name, rows, pa.list_(pa.string()))
    kind.refuse("have no target", [i for i, row in zip(ids, columns["target"], strict=True) if row is None])
    pairs = zip(ids, columns["target"], columns["prediction"], strict=True)
    kind.refuse(
        "have another number of tags in prediction than in target",
        [i for i, t, p in pairs if p is not None and t is not None and len(t) != len(p)],
    )
    return table


def _known(tag: str) -> bool:
    try:
        return bool(chunks.split(tag))
    except ValueError:
        return False


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return precision, recall and F1 of chunks, read as CoNLL's scorer does and, where the scheme is known, strictly."""
    true, given = table["target"].to_pylist(), table["prediction"].to_pylist()
    answered = [row or [] for row in given]
    wanted, placed = [_things(chunks.lenient(row)) for row in true], [_things(chunks.lenient(row)) for row in answered]
    types = found.types_of(classes, wanted, placed)
    for column, rows in (("target", wanted), ("prediction", placed)):
        found.refuse_strangers(table["id"].to_pylist(), rows, types, column)
    counts, _ = found.tallied(wanted, placed, types)
    measured, rules = found.statistics(counts, types), [LENIENT, found.NOTHING]
    scheme = chunks.scheme_of([*true, *answered])
    if scheme is None:
        rules.append(IOB1)
    else:
        exact = [[_things(chunks.strict(row, scheme)) for row in rows] for rows in (true, answered)]
        kept = types if classes else found.types_of(None, exact[0], exact[1]) if any(map(any, exact)) else types
        measured += found.statistics(found.tallied(exact[0], exact[1], kept)[0], kept, "strict_")
        rules.append(STRICT.format(scheme))
    missing = sum(row is None for row in given)
    rules += [found.UNANSWERED] if missing else []
    statistics, undefined = kind.defined(measured)
    positives = dict(zip(types, counts[:, : len(types), :2].sum(axis=(0, 2)).tolist(), strict=True))
    facts = {"classes": types, "unanswered": missing, "positives": positives}
    return Read(statistics, "micro_f1", rules + undefined, facts)


def _things(found_chunks: Sequence[chunks.Chunk]) -> set[Thing]:
    return {(kind_of, (start, end)) for start, end, kind_of in found_chunks}

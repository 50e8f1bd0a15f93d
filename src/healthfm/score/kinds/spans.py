"""Mentions marked in a text a row: ``target`` and ``prediction`` are lists of spans (start, end, type), right where all of it is.

A span's ``parts`` are its pieces, where it is in pieces; ``concepts`` the ids it stands for. ``characters`` is how long the text is, ``unplaced`` what was
named and is nowhere in the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.score.kinds import found, kind
from healthfm.score.kinds.found import Thing
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics.spans import Places, overlaps
from healthfm.score.statistics.statistic import Statistic, Values, of_counts
from healthfm.spelling import counted

PLACE = pa.struct([("start", pa.int64()), ("end", pa.int64())])
SPAN = pa.struct([*PLACE, ("type", pa.string()), ("concepts", pa.list_(pa.string())), ("parts", pa.list_(PLACE))])
SPANS = pa.list_(SPAN)
UNPLACED = pa.list_(pa.struct([("text", pa.string()), ("type", pa.string())]))
STRICT = "a mention counts where start, end (of every piece) and type are all right"
OVERLAP = (
    "overlap_f1: a mention counts where it shares a character with one of the same type; precision is of those found, recall of those there, none is paired off "
    "(scripts that pair them, as n2c2's lenient mode, differ where several meet one)"
)
LINKED = "linked_micro_f1: as micro-F1, and the concepts must be the true ones too (MedMentions)"
CONCEPTS = "concept_micro_f1: the set of concepts of a whole text, wherever they are mentioned, each of a composite mention by itself (BC5CDR, BioCreative V)"


def check(table: pa.Table) -> pa.Table:
    """Return the table with lists of ``SPAN``. Raises ``RunError`` naming rows whose spans cannot be (in targets also: lie outside of the text)."""
    kind.need(table, "id", "target", "prediction")
    ids = kind.check_ids(table)
    length = kind.numbers(table, ids, "characters") if "characters" in table.column_names else np.full(len(ids), np.inf)
    for name in ("target", "prediction"):
        rows = found.objects(table, ids, name, ("start", "end", "type"), missing=name == "prediction")
        made = [None if row is None else [_span(one) for one in row] for row in rows]
        kind.refuse(
            f"have a span in {name} that is none: it starts at 0 or later, before its end, its pieces in order within it",
            [i for i, row in zip(ids, made, strict=True) if row is not None and None in row],
        )
        if name == "target":
            kind.refuse(
                "have a span in target behind the end of the text",
                [i for i, row, most in zip(ids, made, length, strict=True) if any(one["end"] > most for one in row or () if one)],
            )  # fmt: skip
        table = kind.put(table, name, made, SPANS)
    if "unplaced" in table.column_names:
        kept = [row or [] for row in found.objects(table, ids, "unplaced", ("text", "type"), missing=True)]
        table = kind.put(table, "unplaced", kept, UNPLACED)
    return kind.put(table, "id", ids, pa.string())


def _span(one: dict[str, Any]) -> dict[str, Any] | None:
    """Return a span in the fields of ``SPAN``, None where it is none."""
    try:
        parts = [{"start": int(part["start"]), "end": int(part["end"])} for part in one.get("parts") or ()]
        start, end = int(one["start"]), int(one["end"])
        whole = float(one["start"]) == start and float(one["end"]) == end
    except (TypeError, ValueError, KeyError):
        return None
    edges = [edge for part in parts for edge in (part["start"], part["end"])]
    empty = any(part["start"] >= part["end"] for part in parts)
    inside = not edges or (edges[0] == start and edges[-1] == end and edges == sorted(edges))
    if not whole or not 0 <= start < end or not inside or empty:
        return None
    concepts = [str(concept) for concept in one.get("concepts") or ()]
    named = str(kind.label(one["type"]))
    return {"start": start, "end": end, "type": named, "concepts": concepts, "parts": parts if len(parts) > 1 else []}


def places(span: dict[str, Any]) -> Places:
    """Return the (start, end) of a span's pieces."""
    return tuple((part["start"], part["end"]) for part in span["parts"] or ()) or ((span["start"], span["end"]),)


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return precision, recall and F1 of mentions, exact and by overlap; of mentions with their concepts and of texts' concepts, where there are any."""
    ids = table["id"].to_pylist()
    true, given = table["target"].to_pylist(), table["prediction"].to_pylist()
    named = table["unplaced"].to_pylist() if "unplaced" in table.column_names else [[] for _ in ids]
    wanted = [{_thing(one) for one in row} for row in true]
    placed = [{_thing(one) for one in row or ()} for row in given]
    nowhere: list[set[Thing]] = [{(one["type"], ("nowhere", one["text"])) for one in row or ()} for row in named]
    types = found.types_of(classes, wanted, placed, *([] if any(map(any, (wanted, placed))) else [nowhere]))
    for column, rows in (("target", wanted), ("prediction", placed)):
        found.refuse_strangers(ids, rows, types, column)
    counts, _ = found.tallied(wanted, [a | b for a, b in zip(placed, nowhere, strict=True)], types)
    measured = [*found.statistics(counts, types), *_overlapping(wanted, placed, nowhere)]
    rules = [STRICT, OVERLAP, found.NOTHING]
    missing = sum(row is None for row in given)
    twice = sum(len(row or ()) - len(one) for row, one in zip(given, placed, strict=True))
    lost, outside = sum(map(len, nowhere)), _outside(table)
    rules += [found.UNANSWERED] if missing else []
    rules += [found.ONCE.format(twice)] if twice else []
    rules += (
        [
            f"{counted(lost, 'mention was', 'mentions were')} named that the text does not hold: each counts as an invented one"
        ]
        if lost
        else []
    )
    rules += (
        [
            f"{counted(outside, 'predicted span reaches', 'predicted spans reach')} behind the end of the text: each counts as an invented one"
        ]
        if outside
        else []
    )
    if any(one["concepts"] for row in true for one in row):
        more, said = _concepts(true, given, types)
        measured, rules = [*measured, *more], [*rules, *said]
    statistics, undefined = kind.defined(measured)
    positives = dict(zip(types, counts[:, : len(types), :2].sum(axis=(0, 2)).tolist(), strict=True))
    facts = {"classes": types, "unanswered": missing, "positives": positives, **_rivals(table, wanted, types)}
    return Read(statistics, "micro_f1", rules + undefined, facts)


def _thing(span: dict[str, Any]) -> Thing:
    return span["type"], places(span)


def _rivals(table: pa.Table, wanted: Sequence[set[Thing]], types: Sequence[str]) -> dict[str, Any]:
    """Return the headline of each cheap way whose mentions stand beside the predictions, by its name."""
    named = [name for name in table.column_names if name.startswith(kind.RIVAL)]
    scores = {}
    for name in named:
        given = [{(one["type"], places(one)) for one in row or ()} for row in table[name].to_pylist()]
        [micro, *_] = found.statistics(found.tallied(wanted, given, types)[0], types)
        scores[name.removeprefix(kind.RIVAL)] = {micro.name: micro.value}
    return {"rivals": scores} if scores else {}


def _outside(table: pa.Table) -> int:
    if "characters" not in table.column_names:
        return 0
    rows = zip(table["prediction"].to_pylist(), table["characters"].to_pylist(), strict=True)
    return sum(one["end"] > most for row, most in rows for one in row or ())


def _overlapping(
    true: Sequence[set[Thing]], placed: Sequence[set[Thing]], nowhere: Sequence[set[Thing]]
) -> list[Statistic]:
    """Return the F1 of mentions that share a character with one of their type."""
    rows = []
    for t, f, lost in zip(true, placed, nowhere, strict=True):
        met = sum(any(overlaps(one, other) for other in f) for one in t)
        right = sum(any(overlaps(one, other) for other in t) for one in f)
        rows.append([met, len(t), right, len(f) + len(lost)])

    def f1(sums: Any) -> Values:
        covered, right = sums[..., 0] / np.maximum(sums[..., 1], 1), sums[..., 2] / np.maximum(sums[..., 3], 1)
        both = np.divide(2 * covered * right, covered + right, out=np.zeros_like(covered), where=covered + right > 0)
        return np.asarray(np.where(sums[..., 1] + sums[..., 3] > 0, both, np.nan))

    return [of_counts("overlap_f1", len(rows), found.summed(np.array(rows, np.int64), f1))]


def _concepts(true: Sequence[Any], given: Sequence[Any], types: Sequence[str]) -> tuple[list[Statistic], list[str]]:
    """Return the F1 of mentions with their concepts, and of each text's concepts; nothing where no prediction names one."""
    if not any(one["concepts"] for row in given for one in row or ()):
        return [], ["the targets have concepts and no prediction names one: they are not scored"]

    def linked(rows: Sequence[Any]) -> list[set[Thing]]:
        return [{(one["type"], (places(one), frozenset(one["concepts"]))) for one in row or ()} for row in rows]

    def whole(rows: Sequence[Any]) -> list[set[Thing]]:
        return [{(one["type"], concept) for one in row or () for concept in one["concepts"]} for row in rows]

    measured = []
    for prefix, pick in (("linked_", linked), ("concept_", whole)):
        counts, _ = found.tallied(pick(true), pick(given), types)
        measured += [one for one in found.statistics(counts, types, prefix) if "macro" not in one.name]
    return measured, [LINKED, CONCEPTS]

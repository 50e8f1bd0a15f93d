"""What tables share whose rows hold things found (mentions, relations, names): right is what is exactly among the row's true ones.

A row's things are a set: what is found twice counts once. Counts are hits, misses and inventions by row and type; every metric is a function of
their sums, so that resampling rows (documents) gives its interval.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from healthfm.errors import RunError
from healthfm.score.kinds import kind
from healthfm.score.metrics import multilabel
from healthfm.score.metrics.arrays import Array, lanes
from healthfm.score.statistics.statistic import Counts, Statistic, Values, of_counts, of_mean

Thing = tuple[str, Hashable]  # its type, and what tells it from others
NOTHING = "precision of nothing found, and recall where nothing is there, count as 0"
ONCE = "what one row finds twice counts once ({} did)"
UNANSWERED = "a row without an answer found nothing"
ANSWER = 3  # hits, misses, inventions


def tallied(true: Sequence[Set[Thing]], found: Sequence[Set[Thing]], types: Sequence[str]) -> tuple[Array, list[str]]:
    """Return hits, misses and inventions by row and type [n, types, 3], and those types; behind ``types`` any others that occur."""
    others = sorted({thing[0] for rows in (true, found) for row in rows for thing in row} - set(types))
    every = [*types, *others]
    place = {one: i for i, one in enumerate(every)}
    counts = np.zeros((len(true), len(every), ANSWER), np.int64)
    for i, (t, f) in enumerate(zip(true, found, strict=True)):
        for answer, things in enumerate((t & f, t - f, f - t)):
            for thing in things:
                counts[i, place[thing[0]], answer] += 1
    return counts, every


def statistics(counts: Array, types: Sequence[str], prefix: str = "") -> list[Statistic]:
    """Return precision, recall and F1 of all things together (micro), the mean F1 of ``types`` (macro), and, without a ``prefix``, of each.

    ``counts`` [n, types or more, 3]: what lies behind the types counts in micro averages alone.
    """
    whole = counts.sum(axis=1)
    found = [
        _summed(f"{prefix}micro_f1", whole, lambda sums: multilabel.f1(sums)),
        _summed(f"{prefix}micro_precision", whole, precision),
        _summed(f"{prefix}micro_recall", whole, recall),
        _macro(f"{prefix}macro_f1", counts[:, : len(types)]),
    ]
    if not prefix:
        for i, name in enumerate(types):
            for what, formula in (("f1", multilabel.f1), ("precision", precision), ("recall", recall)):
                seen = counts[:, i].any() or what == "f1"
                found += [_summed(f"{what}/{name}", counts[:, i], formula)] if seen else []
    return found


def by_row(true: Sequence[Set[Thing]], found: Sequence[Set[Thing]], answered: Sequence[bool]) -> list[Statistic]:
    """Return the mean F1 of rows, 1 where nothing is there and nothing was found, and the share of rows that are right as a whole."""
    pairs = list(zip(true, found, answered, strict=True))
    f1 = [float(a) if not t and not f else 2 * len(t & f) / (len(t) + len(f)) for t, f, a in pairs]
    return [of_mean("sample_f1", f1), of_mean("subset_accuracy", [float(a and t == f) for t, f, a in pairs])]


def precision(sums: Array) -> Values:
    """Return precision [...] of counts [..., 3], 0 where nothing was found."""
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 0] + sums[..., 2], 1))


def recall(sums: Array) -> Values:
    """Return recall [...] of counts [..., 3], 0 where nothing is there."""
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 0] + sums[..., 1], 1))


def summed(rows: Array, formula: Callable[[Array], Values]) -> Callable[[Counts], Values]:
    """Return a function of counts of rows [resamples, n]: of the sums [resamples, ...] of ``rows`` [n, ...] over the rows drawn."""
    spread = sparse.csr_array(rows.reshape(len(rows), -1).T)

    def at(counts: Counts) -> Values:
        drawn = lanes(counts).astype(np.int64)
        sums: npt.NDArray[np.int64] = np.asarray((spread @ drawn).T)
        return formula(sums.reshape(-1, *rows.shape[1:]))

    return at


def _summed(name: str, rows: Array, formula: Callable[[Array], Values]) -> Statistic:
    return of_counts(name, len(rows), summed(rows, formula))


def _macro(name: str, rows: Array) -> Statistic:
    return of_counts(name, len(rows), summed(rows, multilabel.macro_f1))


# Columns of objects ---------------------------------------------------------------------------------------------------


def objects(
    table: pa.Table, ids: Sequence[str], name: str, needed: Collection[str], missing: bool = False
) -> list[list[dict[str, Any]] | None]:  # fmt: skip
    """Return a column of lists of objects. Raises ``RunError`` naming the rows of which one lacks a ``needed`` field, or (not ``missing``) has no list."""
    cells = table[name].to_pylist()
    what = f"the column {name} needs a list in each row, of objects with {', '.join(needed)}"
    if any(not (one is None or isinstance(one, list)) for one in cells):
        raise RunError(what)
    if any(not isinstance(one, Mapping) for cell in cells for one in cell or ()):
        raise RunError(what)
    if not missing:
        kind.refuse(f"have no {name}", [i for i, cell in zip(ids, cells, strict=True) if cell is None])
    kind.refuse(
        f"have something in {name} without {', '.join(needed)}",
        [i for i, cell in zip(ids, cells, strict=True) if any(kind.label(one.get(k)) is None for one in cell or () for k in needed)],
    )  # fmt: skip
    return [None if cell is None else [dict(one) for one in cell] for cell in cells]


def types_of(classes: Sequence[str] | None, *things: Sequence[Set[Thing]]) -> list[str]:
    """Return the classes, or all types that occur. Raises ``RunError``: nothing occurs, so that there is nothing to score."""
    found = {thing[0] for rows in things for row in rows for thing in row}
    if not found:
        raise RunError("no row has anything in target or in prediction: there is nothing to score")
    return list(classes) if classes else sorted(found)


def refuse_strangers(ids: Sequence[str], rows: Sequence[Set[Thing]], types: Sequence[str], column: str) -> None:
    """Raise ``RunError`` naming the rows with a thing of none of the types."""
    kind.refuse(
        f"have a class in {column} that is not one of {', '.join(types)}",
        [i for i, row in zip(ids, rows, strict=True) if any(thing[0] not in types for thing in row)],
    )

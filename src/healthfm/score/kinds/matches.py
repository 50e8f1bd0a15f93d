"""What belongs together, both ways: a row a query, ``target`` the ids that belong to it, ``ranks`` the rank of each among all of the other side.

``direction`` says which way a row asks (:data:`WAYS`), ``prediction`` what stands first.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np
import pyarrow as pa

from healthfm.score.kinds import kind
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics.arrays import ratio
from healthfm.score.metrics.matching import TIES
from healthfm.score.statistics.statistic import Bools, Counts, Floats, Statistic, Values, of_counts

PICTURES = {"image to text": "image_to_text", "text to image": "text_to_image"}
MOLECULES = {"molecule to text": "molecule_to_text", "text to molecule": "text_to_molecule"}
WAYS = {**PICTURES, **MOLECULES}
CHOICES = (4, 10, 20)  # candidates of which one is chosen, as MoleculeSTM reports it
RECALLS = (1, 5, 10)
COUNTED = (
    "a query counts as found at k where one of all that belongs to it is among the first k, as CLIP_benchmark counts it; average precision is of all "
    "that belongs to it; a picture and its texts are resampled together"
)
CHOSEN = (
    "one of T is chosen as MoleculeSTM asks it: the share of all draws of T - 1 others, from what does not belong, of which none is as like as what belongs; its "
    "stored lists of others are one such draw, and of equal similarities its code takes the right one"
)


def picture_id(record: str, number: int) -> str:
    """Return the id of the row that a record's picture has, by its place among the record's pictures."""
    return f"{record}#picture{number or ''}"


def check(table: pa.Table) -> pa.Table:
    """Return the table with ranks as whole numbers, None where a query has no answer."""
    kind.need(table, "id", "target", "ranks")
    ids = kind.check_ids(table)
    table = kind.put(table, "id", ids, pa.string())
    targets = kind.lists(table, ids, "target")
    kind.refuse(
        "have nothing that belongs to them in target", [i for i, row in zip(ids, targets, strict=True) if not row]
    )
    ranks = table["ranks"].to_pylist()
    kind.refuse(
        "have no rank from 1 for each of their targets",
        [
            i for i, row, right in zip(ids, ranks, targets, strict=True)
            if row is not None and (len(row) != len(right or ()) or len(set(row)) < len(row) or min(row) < 1)
        ],
    )  # fmt: skip
    ways = kind.texts(table, "direction") if "direction" in table.column_names else [next(iter(WAYS))] * len(ids)
    kind.refuse(
        f"have a direction that is none of {', '.join(WAYS)}",
        [i for i, one in zip(ids, ways, strict=True) if one not in WAYS],
    )
    table = kind.put(table, "target", targets, pa.list_(pa.string()))
    table = kind.put(table, "direction", ways, pa.string())
    return kind.put(table, "ranks", ranks, pa.list_(pa.int64()))


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return, of each direction, recall at 1, 5 and 10, the median rank of the first that belongs, mean average precision; and the mean recall."""
    ranks = [sorted(row) if row is not None else None for row in table["ranks"].to_pylist()]
    first = np.array([row[0] if row else np.inf for row in ranks])
    precision = np.array([np.mean(np.arange(1, len(row) + 1) / np.array(row)) if row else 0.0 for row in ranks])
    ways, found, recalls = np.array(table["direction"].to_pylist()), list[Statistic](), list[Statistic]()
    chosen: list[Statistic] = []
    for way, name in WAYS.items():
        rows = ways == way
        if not rows.any():
            continue
        some = [_share(f"{name}_recall_{k}", first <= k, rows) for k in RECALLS]
        recalls += some
        found += [*some, _median(f"{name}_median_rank", first, rows), _mean(f"{name}_map", precision, rows)]
        if way in MOLECULES and (ways != way).any():
            others = int((ways != way).sum()) - np.array([len(row) for row in table["target"].to_pylist()])
            for size in (one for one in CHOICES if others[rows].min() >= one - 1):
                values = np.array([one_of(size, a, b) for a, b in zip(first, others, strict=True)])
                chosen.append(_mean(f"{name}_choose_{size}", values, rows))
    mean = of_counts("mean_recall", len(ranks), lambda counts: np.mean([one.at(counts) for one in recalls], axis=0))
    statistics, lost = kind.defined([*chosen, mean, *found])
    headline = chosen[-1].name if chosen else "mean_recall"
    lot = [_by_lot([len(row) for row in table["target"].to_pylist()], ways == way, k) for way in WAYS for k in RECALLS]
    drawn = f"ranked by lot, the mean recall would be about {np.nanmean(lot):.3f}"
    rules = [COUNTED, *([CHOSEN] if chosen else []), TIES, drawn, *lost]
    return Read(statistics, headline, rules, {"unanswered": sum(row is None for row in ranks)})


def one_of(size: int, rank: float, others: int) -> float:
    """Return the share of draws of ``size`` - 1 of the ``others`` that hold none of the ``rank`` - 1 that are as like as what belongs."""
    if not np.isfinite(rank):
        return 0.0
    return comb(others - int(rank) + 1, size - 1) / comb(others, size - 1)


def _by_lot(counts: Sequence[int], rows: Bools, k: int) -> float:
    """Return how often one of what belongs to a query would be among the first k of a ranking by lot; NaN where none asks this way.

    ``counts``: how many belong to each query. What is ranked is as many as the queries of the other way; all there are, where none asks so.
    """
    others = int((~rows).sum()) or max(counts, default=1)
    asked = [number for number, one in zip(counts, rows, strict=True) if one]
    missed = [np.prod([max(others - k - i, 0) / max(others - i, 1) for i in range(number)]) for number in asked]
    return float(1 - np.mean(missed)) if missed else float("nan")


def _share(name: str, hits: Bools, rows: Bools) -> Statistic:
    return Statistic(name, (one := _mean(name, hits.astype(float), rows)).at, one.value, hits, rows)


def _mean(name: str, values: Floats, rows: Bools) -> Statistic:
    def at(counts: Counts) -> Values:
        drawn = counts[:, rows]
        return ratio(drawn @ values[rows], drawn.sum(axis=1))

    return of_counts(name, len(values), at, among=rows)


def _median(name: str, values: Floats, rows: Bools) -> Statistic:
    """Return the median, the mean of the two in the middle; counted, so that a resample is not sorted anew."""
    order = np.argsort(values[rows], kind="stable")
    ranked = values[rows][order]

    def at(counts: Counts) -> Values:
        upto = np.cumsum(counts[:, rows][:, order], axis=1)
        total = upto[:, -1]
        middle = [(upto > place[:, None]).argmax(axis=1) for place in ((total - 1) // 2, total // 2)]
        return np.where(total > 0, (ranked[middle[0]] + ranked[middle[1]]) / 2, np.nan)

    return of_counts(name, len(values), at, among=rows, lower_is_better=True)

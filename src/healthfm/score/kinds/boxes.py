"""Boxes a picture a row: ``target`` lists true ones (``label``, ``corners``), ``prediction`` given ones, with a ``score`` each.

Corners are those nearest the origin, then those opposite: four numbers in pixels, of volumes six in voxels. No prediction: no box was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score import tasks
from healthfm.score.kinds import found as things
from healthfm.score.kinds import kind
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics import detection
from healthfm.score.metrics.arrays import Floats, ratio
from healthfm.score.metrics.detection import Found
from healthfm.score.statistics.statistic import Counts, Statistic, Values, of_counts
from healthfm.spelling import counted

TRUE = pa.list_(pa.struct([("label", pa.string()), ("corners", pa.list_(pa.float64()))]))
GIVEN = pa.list_(pa.struct([("label", pa.string()), ("corners", pa.list_(pa.float64())), ("score", pa.float64())]))
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # LUNA16's seven and DeepLesion's six together
LUNA16, DEEPLESION = RATES[:7], (0.5, 1.0, 2.0, 4.0)
VINDR = 0.4  # the IoU at which VinDr-CXR's competition scored
IOBBS = (0.1, 0.25, 0.5, 0.75, 0.9)  # ChestX-ray8's, Wang et al. 2017, table 4
COCO = "boxes are matched as COCO's script does: best score first, each takes the free true box that it shares most with; at most 100 a picture and label; 101 recalls"
FROC = (
    "a box finds a true one from IoU 0.5 on (DeepLesion's rule), finding one again is not false, between the curve's points sensitivity lies on a line (LUNA16's script), "
    "behind its last point it stays; froc_luna16: mean at 1/8 to 8 false ones a picture, froc_deeplesion: at 0.5 to 4"
)
IOBB = "a true box is localised where a given one of its label shares more than T of its own area with it (IoBB, ChestX-ray14); scores are not looked at"
MEAN = "over all: the mean over labels that have true boxes"
Given = tuple[Floats, Floats]
Part = Callable[[Counts], Values]


def check(table: pa.Table) -> pa.Table:
    """Return the table with lists of boxes. Raises ``RunError`` naming rows: boxes without an inside, other numbers of corners, no score."""
    kind.need(table, "id", "target", "prediction")
    ids = kind.check_ids(table)
    table = kind.put(table, "id", ids, pa.string())
    for name, type_, fields in (
        ("target", TRUE, ("label", "corners")),
        ("prediction", GIVEN, ("label", "corners", "score")),
    ):
        rows = things.objects(table, ids, name, fields, missing=name == "prediction")
        made = [None if row is None else [_box(one, fields) for one in row] for row in rows]
        kind.refuse(
            f"have a box in {name} that is none: four (of volumes six) finite corners, the far ones beyond the near ones{', and a score' if 'score' in fields else ''}",
            [i for i, row in zip(ids, made, strict=True) if row is not None and None in row],
        )
        table = kind.put(table, name, made, type_)
    sizes = {
        len(one["corners"]) for name in ("target", "prediction") for row in table[name].to_pylist() for one in row or ()
    }
    if len(sizes) > 1:
        raise RunError("boxes of pictures (four corners) and of volumes (six) in one table")
    return table


def _box(one: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any] | None:
    try:
        corners = [float(number) for number in one["corners"]]
        found: dict[str, Any] = {
            "label": kind.label(one["label"]),
            "corners": corners,
            **({"score": float(one["score"])} if "score" in fields else {}),
        }
    except (TypeError, ValueError, KeyError):
        return None
    axes = len(corners) // 2
    good = len(corners) in (4, 6) and np.isfinite([*corners, found.get("score", 0.0)]).all()
    return (
        found
        if good
        and found["label"] is not None
        and all(a < b for a, b in zip(corners[:axes], corners[axes:], strict=True))
        else None
    )


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return average precision, FROC or localisation, by the task's rule. Raises ``RunError``: no true box, a label that is none of the classes."""
    true, given = table["target"].to_pylist(), [row or [] for row in table["prediction"].to_pylist()]
    seen = {one["label"] for row in true for one in row}
    if not seen:
        raise RunError("no row has a true box: nothing to find")
    labels = list(classes or sorted(seen | {one["label"] for row in given for one in row}))
    for name, rows in (("target", true), ("prediction", given)):
        kind.refuse(
            f"have a box in {name} of a label that is none of {', '.join(labels)}",
            [
                i
                for i, row in zip(table["id"].to_pylist(), rows, strict=True)
                if {one["label"] for one in row} - set(labels)
            ],
        )
    axes = len(next(one for row in true for one in row)["corners"])
    split = {
        label: (_given(given, label, axes), [_corners(row, label, axes) for row in true])
        for label in labels
        if label in seen
    }
    way = tasks.TASKS[task].rule
    measured, headline, rule = WAYS[way](split, len(true))
    rules = [rule, MEAN] if len(split) > 1 else [rule]
    rules += kind.stated(table)
    if strangers := [label for label in labels if label not in seen]:
        rules.append(f"labels without a true box, not in the mean: {', '.join(strangers)}")
    without = sum(not row for row in given)
    rules += (
        [f"{without} of {counted(len(given), 'picture')} {'has' if without == 1 else 'have'} no given box"]
        if without
        else []
    )
    statistics, undefined = kind.defined(measured)
    positives = {label: sum(map(len, boxes)) for label, (_, boxes) in split.items()}
    return Read(statistics, headline, rules + undefined, {"classes": labels, "unanswered": 0, "positives": positives})


def _corners(row: Sequence[Mapping[str, Any]], label: str, axes: int) -> Floats:
    return np.array([one["corners"] for one in row if one["label"] == label], np.float64).reshape(-1, axes)


def _given(rows: Sequence[Sequence[Mapping[str, Any]]], label: str, axes: int) -> list[Given]:
    return [
        (_corners(row, label, axes), np.array([one["score"] for one in row if one["label"] == label], np.float64)) for row in rows
    ]  # fmt: skip


Split = Mapping[str, tuple[list[Given], list[Floats]]]


def _over(name: str, n: int, parts: Mapping[str, Part], lower: bool = False) -> list[Statistic]:
    """Return the mean of a metric over labels, and each label's where there are several."""

    def mean(counts: Counts) -> Values:
        found = np.stack([at(counts) for at in parts.values()])
        there = ~np.isnan(found)
        return ratio(np.where(there, found, 0).sum(axis=0), there.sum(axis=0))

    each = [of_counts(f"{name}/{label}", n, at, lower_is_better=lower) for label, at in parts.items()]
    return [of_counts(name, n, mean, lower_is_better=lower), *(each if len(each) > 1 else [])]


def _precision(split: Split, n: int) -> tuple[list[Statistic], str, str]:
    found = {
        label: [detection.matched(*one, limit) for limit in (*detection.IOUS, VINDR)] for label, one in split.items()
    }

    def at(ones: Sequence[Found]) -> Part:
        return lambda counts: np.mean([detection.average_precision(one, counts) for one in ones], axis=0)

    picks = {"ap_50_95": slice(0, 10), "ap_50": slice(0, 1), "ap_75": slice(5, 6), "ap_40": slice(10, 11)}
    return (
        [one for name, part in picks.items() for one in _over(name, n, {k: at(v[part]) for k, v in found.items()})],
        "ap_50_95",
        COCO,
    )


def _free_response(split: Split, n: int) -> tuple[list[Statistic], str, str]:
    found = {label: detection.matched(*one, 0.5, detection.first_match, None) for label, one in split.items()}

    def at(one: Found, rates: Sequence[float]) -> Part:
        return lambda counts: detection.sensitivities(one, rates, counts).mean(axis=1)

    picks = {
        "froc_luna16": LUNA16,
        "froc_deeplesion": DEEPLESION,
        **{f"sensitivity_at_{rate:g}_fp": (rate,) for rate in RATES},
    }
    return (
        [one for name, rates in picks.items() for one in _over(name, n, {k: at(v, rates) for k, v in found.items()})],
        "froc_luna16",
        FROC,
    )


def _localisation(split: Split, n: int) -> tuple[list[Statistic], str, str]:
    measured: list[Statistic] = []
    for above in IOBBS:
        right, wrong = dict[str, Part](), dict[str, Part]()
        for label, (given, true) in split.items():
            hits, false = detection.localised([boxes for boxes, _ in given], true, above)
            there = np.array([len(one) for one in true])
            right[label] = lambda counts, hits=hits, there=there: ratio(counts @ hits, counts @ there)  # type: ignore[misc]
            wrong[label] = lambda counts, false=false: ratio(counts @ false, counts.sum(axis=1))  # type: ignore[misc]
        measured += [*_over(f"localised_{above:g}", n, right), *_over(f"false_boxes_{above:g}", n, wrong, lower=True)]
    return measured, "localised_0.1", IOBB


WAYS: Mapping[str, Callable[[Split, int], tuple[list[Statistic], str, str]]] = {
    "average precision": _precision, "free response": _free_response, "localisation": _localisation,
}  # fmt: skip

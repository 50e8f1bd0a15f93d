"""Rows of masks and boxes that were given for a set's records, as a page lists them, and case by case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from healthfm.report.sample import ERRORS, Row, Sample, SampleList
from healthfm.report.words import number
from healthfm.score.metrics.detection import best_match, overlap
from healthfm.score.result import Result

CASES = 50  # shown of all, the worst first
MATRIX = 8  # labels up to which each has a column of its own
WORST = 4  # labels that a case names, where there are more
ENOUGH = 0.5  # the IoU from which a box is right, where rows are ordered by what is wrong in them


@dataclass(frozen=True)
class Case:
    """One case: its mean Dice, and the Dice and state of each label, in the order of the table."""

    id: str
    dice: float | None
    labels: Sequence[tuple[float | None, str]]
    worst: Sequence[str] = ()


def mask(row: Row) -> Sample:
    """Return a mask by its volume, and what was given for it."""
    said = None if row.get("state") == "no file" else _volume(row.get("given_volume"), row)
    return Sample(row["id"], _volume(row.get("reference_volume"), row), said, number(row["dice"]))


def _volume(value: float | None, row: Row) -> str:
    if row.get("state") == "not annotated":
        return "not annotated"
    return (
        "-"
        if value is None
        else "empty"
        if value == 0
        else f"{value / 1000:,.2f} ml"
        if value >= 10
        else f"{value:,.2f} mm³"
    )


def worst_masks(rows: Sequence[Row]) -> SampleList:
    """Return the masks with the lowest Dice."""
    wrong = sorted(
        (row for row in rows if row["dice"] is not None and row["dice"] < 1), key=lambda row: (row["dice"], row["id"])
    )
    note = f"the {len(wrong[:ERRORS])} of {len(wrong):,} masks with the lowest Dice, with the volume of both"
    return SampleList("The worst masks", note, "Dice", [mask(row) for row in wrong[:ERRORS]])


def cases(run: Result) -> tuple[list[str], list[Case], int]:
    """Return labels, the cases with the lowest mean Dice first, and how many cases there are; of other tables none."""
    if run.scores["kind"] != "masks":
        return [], [], 0
    labels = run.scores["classes"]
    held: dict[str, dict[str, Row]] = {}
    for row in run.predictions.to_pylist():
        held.setdefault(row["case"], {})[row["label"]] = row
    made = [_case(name, rows, labels) for name, rows in held.items()]
    made.sort(key=lambda one: (one.dice is None, one.dice, one.id))
    return labels, made[:CASES], len(made)


def _case(name: str, rows: Mapping[str, Row], labels: Sequence[str]) -> Case:
    known = [row["dice"] for row in rows.values() if row["dice"] is not None]
    told = [(rows[one]["dice"], rows[one].get("state") or "") if one in rows else (None, "") for one in labels]
    lowest = sorted((row["dice"], row["label"]) for row in rows.values() if row["dice"] is not None)[:WORST]
    return Case(name, float(np.mean(known)) if known else None, told, [f"{label} {dice:.3f}" for dice, label in lowest])


def wrong_boxes(row: Row) -> tuple[int, int]:
    """Return how many true boxes of a row nothing meets, and how many given ones meet none, by labels and IoU 0.5."""
    missed = false = 0
    true, said = row["target"], row["prediction"] or []
    for label in {one["label"] for one in (*true, *said)}:
        mine = sorted((one for one in said if one["label"] == label), key=lambda one: -one["score"])
        theirs = [one["corners"] for one in true if one["label"] == label]
        width = len((true or said)[0]["corners"])
        boxes, others = (np.array(one, float).reshape(-1, width) for one in ([box["corners"] for box in mine], theirs))
        hits, wrong = best_match(overlap(boxes, others), ENOUGH)
        missed, false = missed + len(others) - int(hits.sum()), false + int(wrong.sum())
    return missed, false


def boxes(row: Row) -> Sample:
    """Return a picture's true boxes and given ones, by their number and label."""
    missed, false = wrong_boxes(row)
    return Sample(
        row["id"], _counted(row["target"]), _counted(row["prediction"] or ()), f"{missed} missed, {false} false", not (missed or false)
    )  # fmt: skip


def _counted(found: Sequence[Row]) -> str:
    names = [one["label"] for one in found]
    return ", ".join(f"{names.count(one)} {one}" for one in sorted(set(names))) or "none"


def worst_boxes(rows: Sequence[Row]) -> SampleList:
    """Return the pictures with most boxes missed, of as many those with most false ones."""
    wrong = sorted(
        ((wrong_boxes(row), row["id"], row) for row in rows), key=lambda one: (-one[0][0], -one[0][1], one[1])
    )
    kept = [row for (missed, false), _, row in wrong if missed or false]
    note = f"the {len(kept[:ERRORS])} of {len(kept):,} pictures with most boxes missed, of as many those with most false ones (IoU {ENOUGH})"
    return SampleList("The worst pictures", note, "at IoU 0.5", [boxes(row) for row in kept[:ERRORS]])

"""Boxes that were given for a dataset's pictures, picture by picture in a table: from rows of a box each, or JSON as COCO's results are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from healthfm.cards.schema import Evaluation
from healthfm.datasets.dataset import Dataset
from healthfm.errors import RunError
from healthfm.records import Visual
from healthfm.score.given.files import names, some, stem, told
from healthfm.score.kinds.boxes import GIVEN, TRUE
from healthfm.score.kinds.kind import label as as_label
from healthfm.score.tables import read_predictions
from healthfm.spelling import counted, fold

PICTURE, LABEL = (
    ("image", "image_id", "picture", "id"),
    ("label", "category", "class"),
)  # what the columns may be called
EDGES = ("x", "y", "w", "h")  # the corner nearest the origin, then the lengths of the sides; of volumes with z and d
VOLUME = ("x", "y", "z", "w", "h", "d")
Box = Mapping[str, Any]


@dataclass
class Given:
    """Boxes by the name of their picture; ``used``: names that a record took. ``numbers``: labels are numbers that nothing explains."""

    boxes: dict[str, list[Box]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    numbers: bool = False

    def of(self, record: Visual) -> list[Box] | None:
        """Return the boxes of a record; None where its picture is not named at all."""
        keys = [key for key in sorted(names(record)) if key in self.boxes]
        self.used |= set(keys)
        return [one for key in keys for one in self.boxes[key]] if keys else None


def read(path: Path) -> Given:
    """Read boxes from a table (CSV, TSV, Parquet, JSON lines) or JSON. Raises ``RunError`` naming what is missing, or the rows that are none."""
    if not path.is_file():
        raise RunError(f"{path}: no such file")
    rows = _json(path) if path.suffix.lower() == ".json" else _rows(path)
    found, bad = Given(), []
    for number, row in enumerate(rows, 1):
        picture, box = as_label(row["picture"]), _box(row)
        if box is None or picture is None:
            bad.append(str(number))
            continue
        found.boxes.setdefault(picture, []).append(box)
    if bad:
        raise RunError(f"{path}: {len(bad)} boxes have no picture, label, score or inside: number {some(bad)}")
    found.numbers = any(isinstance(row["label"], int) for row in rows)
    for name in list(found.boxes):
        if (short := stem(name)) != name:  # the picture may be named as its file is
            found.boxes.setdefault(short, []).extend(found.boxes.pop(name))
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    table = read_predictions(path)
    columns = table.column_names
    picture, label = (next((one for one in names_ if one in columns), None) for names_ in (PICTURE, LABEL))
    edges = VOLUME if {"z", "d"} <= set(columns) else EDGES
    if (
        absent := [one for one in ("score", *edges) if one not in columns]
        + ["image"] * (not picture)
        + ["label"] * (not label)
    ):
        raise RunError(
            f"{path}: the table lacks {', '.join(absent)}; a box a row: image, label, score, x, y, w, h (of volumes z and d too)"
        )
    return [
        {"picture": row[picture], "label": row[label], "score": row["score"], "sides": [row[one] for one in edges]}
        for row in table.to_pylist()
    ]


def _json(path: Path) -> list[dict[str, Any]]:
    try:
        held = json.loads(path.read_text())
        given = held if isinstance(held, list) else held.get("annotations") or held["predictions"]
        told = {} if isinstance(held, list) else held
        pictures = {one["id"]: one.get("file_name", one["id"]) for one in told.get("images", [])}
        classes = {one["id"]: one["name"] for one in told.get("categories", [])}
        return [
            {
                "picture": pictures.get(one["image_id"], one["image_id"]), "score": one.get("score"), "sides": one["bbox"],
                "label": next((one[key] for key in LABEL if key in one), None) or classes.get(one.get("category_id"), one.get("category_id")),
            }
            for one in given
        ]  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RunError(
            f"{path}: not JSON as COCO's results are: a list of objects with image_id, category_id or label, bbox [x, y, width, height] and score"
        ) from None


def _box(row: Mapping[str, Any]) -> Box | None:
    """Return a box by its corners; None of what is none."""
    try:
        sides, score = [float(one) for one in row["sides"]], float(row["score"])
    except (TypeError, ValueError):
        return None
    axes = len(sides) // 2
    if row["label"] is None or len(sides) not in (4, 6) or not all(one > 0 for one in sides[axes:]) or score != score:
        return None
    corners = [*sides[:axes], *(near + length for near, length in zip(sides[:axes], sides[axes:], strict=True))]
    return {"label": str(as_label(row["label"])), "corners": corners, "score": score}


def table(path: Path, opened: Dataset) -> tuple[pa.Table, dict[str, Any]]:
    """Return the table of given boxes (``kinds.boxes``), and what a run must say of how it came about. Raises ``RunError``: no box is for a record."""
    given, how = read(path), opened.card.evaluation or Evaluation(task="detection")
    rows: list[dict[str, Any]] = []
    splits: list[str] = []
    problems: list[str] = []
    unlooked = 0
    for split in opened.selected:
        part = opened[split]
        held = [(one, given.of(one)) for one in part if isinstance(one, Visual)]
        problems += [str(one) for one in part.errors]
        if not any(boxes for _, boxes in held):
            continue
        splits.append(split)
        unlooked += sum(how.boxed and not one.boxes for one, _ in held)
        rows += [_row(one, boxes) for one, boxes in held if one.boxes or not how.boxed]
    if not rows:
        raise RunError(
            f"{path}: no box is of a picture of {opened.name} (a record's id, or its image's file name){told(problems)}"
        )
    if not any(row["target"] for row in rows):
        raise RunError(f"{opened.name}: none of its pictures here has a box to find")
    classes = _spelled(path, rows, opened, given.numbers)
    said = [one.replace("; ", ", ") for one in _said(given, opened, splits, unlooked, problems)]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("id", "patient", "site")}
    columns |= {
        "target": pa.array([row["target"] for row in rows], TRUE),
        "prediction": pa.array([row["prediction"] for row in rows], GIVEN),
    }
    return pa.table({**columns, "rule": ["; ".join(said) or None, *[None] * (len(rows) - 1)]}), {
        "splits": splits,
        "notices": said,
        "classes": classes,
    }


def _row(record: Visual, boxes: list[Box] | None) -> dict[str, Any]:
    true = [{"label": one.label, "corners": list(map(float, one.corners))} for one in record.boxes]
    return {
        "id": record.id,
        "patient": record.patient,
        "site": record.site,
        "target": true,
        "prediction": [dict(one) for one in boxes or ()],
    }


def _spelled(path: Path, rows: Sequence[Mapping[str, Any]], opened: Dataset, numbers: bool) -> list[str]:
    """Return the labels, after each given one is spelled as its label is. Raises ``RunError``: one of no label, or a number that nothing explains."""
    told = [one for space in opened.card.labels if space.kind == "boxes" for one in space.classes]
    labels = list(dict.fromkeys([*told, *sorted({one["label"] for row in rows for one in row["target"]})]))
    spelled = {fold(one): one for one in labels}
    given = [one for row in rows for one in row["prediction"]]
    if numbers and len(labels) == 1 and len({one["label"] for one in given}) == 1:
        spelled[fold(given[0]["label"])] = labels[0]
    strangers = {one["label"] for one in given if fold(one["label"]) not in spelled}
    if strangers:
        hint = "; 'categories' in the JSON says what each category_id is" if numbers else ""
        raise RunError(
            f"{path}: {len(strangers)} labels are none of {opened.name}'s ({some(labels)}): {some(strangers)}{hint}"
        )
    for one in given:
        one["label"] = spelled[fold(one["label"])]
    return labels


def _said(
    given: Given, opened: Dataset, splits: Sequence[str], unlooked: int, problems: Sequence[str]
) -> Iterator[str]:
    if extra := set(given.boxes) - given.used:
        yield f"not scored: boxes of {counted(len(extra), 'picture that is', 'pictures that are')} no record here: {some(extra)}"
    if unlooked:
        yield f"left out: {counted(unlooked, 'picture')} without a true box, with what was given for them: most pictures of this set were never looked at for boxes"
    if left := [one for one in opened.selected if one not in splits]:
        yield f"left out: split {', '.join(left)}, of whose pictures no box is"
    if problems:
        yield f"left out: {counted(len(problems), 'row or file', 'rows or files')} of the set that cannot be read: {' | '.join(problems[:3])}"

"""Pictures of where given masks and boxes are wrong: the true outline and the given one over the picture, told apart by line and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from scipy import ndimage

from healthfm.datasets.dataset import Dataset
from healthfm.datasets.open import open_dataset
from healthfm.errors import HealthfmError
from healthfm.models.vision import transform
from healthfm.records import Image, Visual, Volume
from healthfm.report import given, pictures
from healthfm.report.sample import Row
from healthfm.score.given.masks import Reader, reader_of
from healthfm.score.metrics.arrays import Bools
from healthfm.score.result import Result

SHOWN = 6  # masks or pictures, the worst first
SIDE, BYTES = 360, 45_000  # of one picture in the page
TRUE, GIVEN = (0, 190, 90), (235, 60, 45)
LINE = 13  # pixels of a line of names
Place = tuple[float, float, float, float]
DASH = 6  # pixels
LEAST = 48  # voxels of the picture around a mask, so that it can be seen where it is
KEY = "Solid green line: true; dashed red line: given"
GONE = "The pictures are not shown: the set's files or those given are not here, or have changed."
VOLUMES = "Boxes of volumes are not drawn."
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Outline:
    """One picture (a data URI) with what it is of, and what is seen on it, in words."""

    title: str
    says: str
    picture: str


def outlines(run: Result) -> tuple[list[Outline], str]:
    """Return pictures of the worst masks or boxes of a run that were held against a dataset; and why there are none, if so."""
    if "given" not in run.facts:
        return [], ""
    draw = _masks if run.scores["kind"] == "masks" else _boxes
    try:
        found = list(draw(run, _reopened(run)))
    except (HealthfmError, KeyError, OSError):
        return [], GONE
    return found, "" if found else VOLUMES if run.scores["kind"] == "boxes" else ""


def _reopened(run: Result) -> Dataset:
    data, split = run.facts["data"], run.facts["request"]["split"]
    name: Path | str = Path(data["path"]) if data["path"] else run.facts["request"]["dataset"]
    return open_dataset(name, run.facts["root"], None if "+" in split else split, "collect", columns=data["columns"])


def _wanted(opened: Dataset, ids: Sequence[str]) -> dict[str, Visual]:
    return {one.id: one for one in opened if one.id in ids and isinstance(one, Visual)}


# Masks ----------------------------------------------------------------------------------------------------------------


def _masks(run: Result, opened: Dataset) -> Iterator[Outline]:
    rows = [row for row in run.predictions.to_pylist() if row["dice"] is not None and row["dice"] < 1]
    worst = sorted(rows, key=lambda row: (row["dice"], row["id"]))[:SHOWN]
    records = _wanted(opened, [row["case"] for row in worst])
    how = run.facts["given"]
    reader = reader_of(Path(how["path"]), opened, how["resample"] is not None)
    for row in worst:
        yield _of_mask(reader, records[row["case"]], row)


def _of_mask(reader: Reader, record: Visual, row: Row) -> Outline:
    reference, mine = reader.pair(record, row["label"])
    mine = np.zeros_like(reference) if mine is None else mine
    seen, true, said, where = _slice(record, reference, mine)
    said_of = f"Dice {row['dice']:.3f}, {int((true != said).sum()):,} pixels differ{where}. {_there(true, 'true')}{_there(said, 'given')}{KEY}"
    return Outline(row["id"], said_of, pictures.data_uri(drawn(seen, true, said), SIDE, BYTES))


def _there(mask: Bools, what: str) -> str:
    return "" if mask.any() else f"Nothing is {what} here. "


def _slice(record: Visual, reference: Bools, mine: Bools) -> tuple[Pixels, Bools, Bools, str]:
    """Return a picture and both masks on it: of a volume the axial slice in which most voxels differ, and which that is."""
    if not isinstance(record, Volume):
        assert isinstance(record, Image)
        return np.asarray(transform.rgb(record)), _flat(record, reference), _flat(record, mine), ""
    true, said = (np.stack(transform.slices(_as_volume(record, mask), None)) >= 128 for mask in (reference, mine))
    number = int((true != said).sum(axis=(1, 2)).argmax())
    voxels = record.voxels
    shown = replace(record, load=lambda: voxels if voxels.ndim == 3 else voxels[..., 0], channels=())
    seen = pictures.nth(shown, {number})[number]
    return np.asarray(seen), true[number], said[number], f" in slice {number + 1} of {len(true)}, counted from the feet"


def _flat(record: Visual, mask: Bools) -> Bools:
    picture = PIL.Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(transform.square(picture, transform.pixel_ratio(record))) >= 128


def _as_volume(record: Volume, mask: Bools) -> Volume:
    return replace(record, load=lambda: mask.astype(np.uint8) * 255, channels=())


def drawn(seen: Pixels, true: Bools, said: Bools) -> PIL.Image.Image:
    """Return a picture cut to what lies around both masks, larger, with the outline of each."""
    part = tuple(
        _around(np.flatnonzero((true | said).any(axis=1 - axis)), length) for axis, length in enumerate(true.shape)
    )
    cut = PIL.Image.fromarray(seen[part])
    factor = max(1, round(SIDE / max(cut.size)))
    size = (cut.width * factor, cut.height * factor)
    canvas = np.array(cut.resize(size, PIL.Image.Resampling.BICUBIC))
    for mask, colour, dashed in ((true, TRUE, False), (said, GIVEN, True)):
        whole = np.kron(mask[part], np.ones((factor, factor), bool))
        edge = whole & ~ndimage.binary_erosion(whole, iterations=max(1, min(2, factor // 2)), border_value=1)
        if dashed:
            rows, columns = np.indices(edge.shape)
            edge &= (rows + columns) // DASH % 3 < 2
        canvas[edge] = colour
    return PIL.Image.fromarray(canvas)


def _around(held: npt.NDArray[Any], length: int) -> slice:
    """Return the part of an axis to be seen: what is held, as much again to both sides, and at least ``LEAST``."""
    if not len(held):
        return slice(0, length)
    low, high = int(held[0]), int(held[-1]) + 1
    margin = max(high - low, (LEAST - (high - low)) // 2 + 1) // 2 + 4
    return slice(max(0, low - margin), min(length, high + margin))


# Boxes ----------------------------------------------------------------------------------------------------------------


def _boxes(run: Result, opened: Dataset) -> Iterator[Outline]:
    rows = {row["id"]: row for row in run.predictions.to_pylist()}
    worst = list(given.worst_boxes(list(rows.values())).samples)[:SHOWN]
    records = _wanted(opened, [one.id for one in worst])
    for one in worst:
        record = records[one.id]
        if isinstance(record, Image):
            picture = boxed(transform.rgb(record), record.aspect, rows[one.id])
            says = f"{one.measure} at IoU 0.5. {KEY}, with its score"
            yield Outline(one.id, says, pictures.data_uri(picture, SIDE, BYTES))


def boxed(picture: PIL.Image.Image, aspect: float, row: Mapping[str, Any]) -> PIL.Image.Image:
    """Return a picture with its true boxes and the given ones, each with its name beside it."""
    scale = SIDE / max(picture.size)
    small = picture.convert("RGB").resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    pen, font = PIL.ImageDraw.Draw(small), PIL.ImageFont.load_default(11)
    wide, tall = (1.0, aspect) if aspect > 1 else (1 / aspect, 1.0)
    names: list[tuple[float, float, str, tuple[int, int, int]]] = []
    for one, colour, what in [(box, TRUE, "true") for box in row["target"]] + [
        (box, GIVEN, "given") for box in row["prediction"] or ()
    ]:
        left, top, right, bottom = (
            corner * scale * (wide if i % 2 == 0 else tall) for i, corner in enumerate(one["corners"])
        )
        edges = [
            (left, top, right, top),
            (right, top, right, bottom),
            (right, bottom, left, bottom),
            (left, bottom, left, top),
        ]
        for edge in edges:
            _line(pen, edge, colour, what == "given")
        name = f"{what} {one['label']}" + (f" {one['score']:.2f}" if "score" in one else "")
        x = max(0, min(left, small.width - pen.textlength(name, font=font) - 2))
        y = min(small.height - LINE, bottom + 1) if what == "given" else max(0, top - LINE)
        names.append((x, y, name, colour))
    taken: list[Place] = []
    for x, y, name, colour in names:
        place = free(pen.textbbox((x, y), name, font=font), taken, small.height)
        taken.append(place)
        pen.rectangle(place, fill=(0, 0, 0))
        pen.text((x, y + place[1] - pen.textbbox((x, y), name, font=font)[1]), name, fill=colour, font=font)
    return small


def free(place: Place, taken: Sequence[Place], height: int) -> Place:
    """Return the place of a name (left, top, right, bottom), moved up or down by as few lines as leave all names readable."""
    left, top, right, bottom = place
    for step in range(2 * height // LINE):
        by = LINE * ((step + 1) // 2) * (1 if step % 2 else -1)
        apart = all(right < a or c < left or bottom + by < b or d < top + by for a, b, c, d in taken)
        if apart and top + by >= 0 and bottom + by <= height:
            return left, top + by, right, bottom + by
    return place


def _line(
    pen: PIL.ImageDraw.ImageDraw, ends: tuple[float, float, float, float], colour: tuple[int, int, int], dashed: bool
) -> None:
    (x, y, to_x, to_y), length = ends, max(abs(ends[2] - ends[0]), abs(ends[3] - ends[1]))
    steps = max(1, int(length // DASH)) if dashed else 1
    for i in range(0, steps, 2):
        a, b = i / steps, min(1.0, (i + 1) / steps)
        pen.line((x + a * (to_x - x), y + a * (to_y - y), x + b * (to_x - x), y + b * (to_y - y)), fill=colour, width=2)

"""Pictures with marks on them: boxes around lesions on slices of CT, masks of nerves on frames of ultrasound."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.datasets.locate import Files
from healthfm.datasets.pictures import Pictures, mask, on_grid, tail
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import image, run_lengths, table
from healthfm.formats.source import Row, Source
from healthfm.records import MISSING, Box, Image, Label, Record, Volume

ZERO = 32768  # of DeepLesion's pictures: what is stored for 0 Hounsfield units
KEPT = ("Patient_gender", "Patient_age", "Image_size", "Normalized_lesion_location", "Possibly_noisy")


@dataset("deeplesion", record=Image)
def deeplesion(files: Files, split: str) -> Iterator[Record]:
    """A row a lesion: the records are the key slices, in the window of their radiologist, or (``volumes``) the slices around, in HU."""
    slices = Pictures(files, "slices", parts=2)
    code = files.card.splits[split]
    if code not in ("1", "2", "3"):
        raise DatasetError(f"deeplesion: no split '{split}'")
    by_slice = dict[str, list[Row]]()
    for row in table.rows(files["annotations"]):
        with row:
            if row["Train_Val_Test"].strip() not in files.card.splits.values():
                raise BadValue("'Train_Val_Test' is none of 1, 2 and 3")
            if row["Train_Val_Test"].strip() == code:
                by_slice.setdefault(row["File_name"], []).append(row)
    make = _volume if files.variant == "volumes" else _key_slice
    for rows in by_slice.values():
        with rows[0]:
            yield make(files, slices, split, rows)


def _key_slice(files: Files, slices: Pictures, split: str, rows: list[Row]) -> Image:
    first, name = rows[0], _place(rows[0]["File_name"])
    low, high = _numbers(first, "DICOM_windows", 2)
    if high <= low:
        raise BadValue("'DICOM_windows' ends before it begins")
    boxes = [Box("lesion", corners) for corners in map(_corners, rows)]
    return Image(
        **_common(files, split, rows), boxes=tuple(boxes), load=functools.partial(_windowed, slices.source(name), low, high)
    )  # fmt: skip


def _volume(files: Files, slices: Pictures, split: str, rows: list[Row]) -> Volume:
    """Return the slices of ``Slice_range`` [x, y, slice]; a box goes one slice deep, at the key slice. The direction is not the header's."""
    folder = _place(rows[0]["File_name"]).split("/")[0]
    begin, end = (int(one) for one in _numbers(rows[0], "Slice_range", 2))
    spacing = _numbers(rows[0], "Spacing_mm_px_", 3)
    stack = [slices.source(f"{folder}/{number:03d}.png") for number in range(begin, end + 1)]
    boxes = []
    for row in rows:
        (left, top, right, bottom), at = _corners(row), int(row["Key_slice_index"]) - begin
        if not 0 <= at < len(stack):
            raise BadValue("'Key_slice_index' is not within 'Slice_range'")
        boxes.append(Box("lesion", (left, top, at, right, bottom, at + 1)))
    return Volume(
        **_common(files, split, rows), boxes=tuple(boxes), modality="CT", load=functools.partial(_stacked, tuple(stack)),
        place=functools.partial(np.diag, [-spacing[0], -spacing[1], abs(spacing[2]), 1.0]),
    )  # fmt: skip


def _common(files: Files, split: str, rows: list[Row]) -> dict[str, Any]:
    first = rows[0]
    types = [files.label("Coarse_lesion_type", row["Coarse_lesion_type"]) for row in rows]
    known = [one for one in types if isinstance(one, frozenset)]
    label: Label = frozenset[str]().union(*known) if len(known) == len(types) else MISSING
    lesions = [
        {
            "type": next(iter(one)) if isinstance(one, frozenset) else None,
            **{key: _numbers(row, key) for key in ("Bounding_boxes", "Measurement_coordinates", "Lesion_diameters_Pixel_")},
            **{key: row[key] for key in KEPT},
        }
        for row, one in zip(rows, types, strict=True)
    ]  # fmt: skip
    return {
        "id": first["File_name"].removesuffix(".png"), "split": split, "patient": first["Patient_index"],
        "labels": {"Coarse_lesion_type": label},
        "meta": {"lesions": lesions, "window": _numbers(first, "DICOM_windows", 2), "spacing": _numbers(first, "Spacing_mm_px_", 3)},
    }  # fmt: skip


def _place(name: str) -> str:
    """Return folder and file of the name that joins them: 000001_01_01_109.png lies in 000001_01_01 as 109.png."""
    folder, _, file = name.rpartition("_")
    return f"{folder}/{file}"


def _numbers(row: Row, column: str, count: int | None = None) -> list[float]:
    """Return the numbers that commas divide in one cell. Raises ``BadValue``: others than ``count`` of them."""
    try:
        found = [float(one) for one in row[column].split(",")]
    except ValueError:
        found = []
    if not found or (count is not None and len(found) != count) or not np.isfinite(found).all():
        raise BadValue(f"'{column}' is no list of {count or ''} numbers".replace("  ", " "))
    return found


def _corners(row: Row) -> tuple[float, float, float, float]:
    """Return a box within its picture: the owners' stick out of it where the lesion lies at its edge."""
    left, top, right, bottom = _numbers(row, "Bounding_boxes", 4)
    height, width = _numbers(row, "Image_size", 2)
    box = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
    if box[0] >= box[2] or box[1] >= box[3]:
        raise BadValue("'Bounding_boxes' holds a box without an inside, or one that lies outside its picture")
    return box


def _hounsfield(source: Source) -> npt.NDArray[np.int32]:
    found = image.pixels(source)
    if found.dtype != np.uint16 or found.ndim != 2:
        raise DatasetError(f"{source}: not 16 bits of one channel, from which Hounsfield units are read")
    return found.astype(np.int32) - ZERO


def _windowed(source: Source, low: float, high: float) -> npt.NDArray[np.uint8]:
    shade = (_hounsfield(source) - low) / (high - low)
    return np.rint(np.clip(shade, 0, 1) * 255).astype(np.uint8)


def _stacked(sources: tuple[Source, ...]) -> npt.NDArray[np.int16]:
    slices = [_hounsfield(source) for source in sources]
    if len({one.shape for one in slices}) > 1:
        raise DatasetError(f"{sources[0]}: the slices of its volume differ in size")
    return np.stack(slices, axis=-1).swapaxes(0, 1).astype(np.int16)


@dataset("ultrasound-nerve-segmentation", record=Image)
def ultrasound_nerve_segmentation(files: Files, split: str) -> Iterator[Image]:
    """Frames SUBJECT_NUMBER.tif with their masks beside them; where the run lengths lie there too, which masks are empty is known."""
    masks = {tail(one).removesuffix("_mask.tif"): one for one in files.all("masks")}
    runs = {
        f"{row['subject']}_{row['img']}": row for one in files.all("masks as run lengths") for row in table.rows(one)
    }
    met = set[str]()
    for source in files.all("images"):
        name = tail(source).removesuffix(".tif")
        if name.endswith("_mask"):
            continue
        met.add(name)
        with Row({}, source, name):
            yield Image(
                id=f"{split}/{name}", split=split, patient=name.split("_")[0] if split == "train" else None,
                labels={"presence": files.label("presence", str(int(bool(runs[name]["pixels"].strip()))) if name in runs else None)},
                masks={} if split == "test" else {"brachial plexus": _nerve(name, source, masks, runs)},
                **Pictures.of(source),
            )  # fmt: skip
    for name in sorted({*masks, *runs} - met):
        files.problems.add(
            DatasetError(f"{masks.get(name) or runs[name].source}: a mask of {name}, of which there is no frame")
        )


def _nerve(name: str, frame: Source, masks: dict[str, Source], runs: dict[str, Row]) -> Any:
    if name in masks:
        return functools.partial(mask, masks[name], frame, 255)
    if name in runs:
        return functools.partial(_from_runs, runs[name], frame)
    raise BadValue("the frame has no mask")


def _from_runs(row: Row, frame: Source) -> npt.NDArray[np.bool_]:
    try:
        return on_grid(run_lengths.mask(row["pixels"], *image.size(frame)), frame, str(row.source))
    except BadValue as error:
        raise row.error(str(error)) from None

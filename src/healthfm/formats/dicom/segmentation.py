"""DICOM segmentations (PS3.3 A.51): masks by segment, put on the grid of the scan that they are of.

A frame is one plane of one segment. Where it lies is asked of its position, which must fall on the scan's grid: whole voxels, the same
directions and spacings; a segmentation that covers a part of the scan is put in its place. The slice that a frame says it was drawn on
(ReferencedSOPInstanceUID) must be the one that lies there.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue
from healthfm.formats.dicom import file as dicom
from healthfm.formats.dicom import picture as dicom_picture
from healthfm.formats.dicom.series import TO_RAS, Affine
from healthfm.formats.source import Source

if TYPE_CHECKING:
    from pydicom import Dataset as Header

STORAGE = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # by segment, and label maps
OFF = 0.1  # voxels by which a frame's corners may miss the grid
HALF = 0.5  # of the greatest value: a fraction that is at least that counts as inside
HEAD = ["SOPClassUID", "SegmentSequence", "ReferencedSeriesSequence", "SegmentationType", "SegmentationFractionalType", "StudyInstanceUID", "SeriesDescription"]  # fmt: skip


Slices = Sequence[frozenset[str]]


class Segment(NamedTuple):
    """What a segment is: its number in the file, its owner's label, and the coded category and type in words."""

    number: int
    label: str
    category: str
    kind: str


class Segmentation(NamedTuple):
    """What a file says of itself: the series and study that it is of, how it stores (BINARY, FRACTIONAL, LABELMAP), its segments."""

    path: Path
    series: str | None
    study: str | None
    stored: str
    description: str
    segments: tuple[Segment, ...]


def describe(path: Path) -> Segmentation:
    """Read a segmentation's header. Raises ``DatasetError``: it has no segments, two of one number, or cannot be read."""
    source = Source(path)
    with dicom.reading(source):
        data = dicom.library().dcmread(path, stop_before_pixels=True, specific_tags=HEAD)
        referenced = [str(one.SeriesInstanceUID) for one in data.get("ReferencedSeriesSequence") or ()]
        segments = tuple(
            Segment(
                int(one.SegmentNumber), str(one.get("SegmentLabel") or f"segment {int(one.SegmentNumber)}"),
                _meaning(one, "SegmentedPropertyCategoryCodeSequence"), _meaning(one, "SegmentedPropertyTypeCodeSequence"),
            )
            for one in data.get("SegmentSequence") or ()
            if int(one.SegmentNumber)  # 0 is the background of a label map
        )  # fmt: skip
        if not segments or len({one.number for one in segments}) < len(segments):
            raise BadValue("a segmentation (DICOM SEG) without segments, or with two of one number")
        if len(set(referenced)) > 1:
            raise BadValue("a segmentation (DICOM SEG) of several series")
        return Segmentation(
            path, referenced[0] if referenced else None, str(data.get("StudyInstanceUID") or "") or None,
            str(data.get("SegmentationType") or "LABELMAP"), str(data.get("SeriesDescription") or ""), segments,
        )  # fmt: skip
    raise AssertionError


def _meaning(item: Header, sequence: str) -> str:
    found = item.get(sequence) or ()
    return str(found[0].get("CodeMeaning") or "") if found else ""


def mask(path: Path, number: int, shape: Sequence[int], affine: Affine, slices: Slices = ()) -> npt.NDArray[np.bool_]:
    """Return where a segment lies, [column, row, slice] of a scan of this ``shape`` and ``affine``.

    ``slices``: the SOPInstanceUIDs of what lies at each of its slices (of several phases, several), in order; none: they are not asked.

    Raises ``DatasetError``: another grid, a frame that lies on another slice than it names, fractions of another meaning, damage.
    """
    return _put(path, shape, affine, slices, functools.partial(_of_segment, number))


def zeros(path: Path, shape: Sequence[int], affine: Affine, slices: Slices = ()) -> npt.NDArray[np.bool_]:
    """Return where a segmentation's values are 0, on the grid of a scan: of masks whose bits say why a voxel was left out.

    What the segmentation does not cover is outside. Raises as ``mask``.
    """
    return _put(path, shape, affine, slices, lambda data, frames: (frames == 0, range(len(frames))))


def _put(path: Path, shape: Sequence[int], affine: Affine, slices: Slices, chosen: Any) -> npt.NDArray[np.bool_]:
    source = Source(path)
    data = dicom.with_pixels(source)
    with dicom.reading(source):
        stored = dicom.stored(source, data).reshape(dicom.frames(data), int(data.Rows), int(data.Columns))
        planes, numbers = chosen(data, stored)
        found = np.zeros(tuple(shape)[:3], np.bool_)
        for plane, frame in zip(planes, numbers, strict=True):
            column, row, slice_ = _corner(data, frame, affine)
            height, width = plane.shape
            if (
                min(column, row, slice_) < 0
                or column + width > shape[0]
                or row + height > shape[1]
                or slice_ >= shape[2]
            ):
                raise BadValue(f"frame {frame + 1} lies outside the scan")
            told = _drawn_on(data, frame)
            if slices and told is not None and told not in slices[slice_]:
                raise BadValue(f"frame {frame + 1} lies on another slice than the one that it names")
            found[column : column + width, row : row + height, slice_] |= plane.T
        return found
    raise AssertionError


def _of_segment(number: int, data: Header, stored: npt.NDArray[Any]) -> tuple[npt.NDArray[np.bool_], list[int]]:
    """Return the planes of a segment, and which frames they are."""
    kind = data.get("SegmentationType")
    if kind not in ("BINARY", "FRACTIONAL"):
        return stored == number, list(range(len(stored)))
    if kind == "FRACTIONAL" and data.get("SegmentationFractionalType") not in ("PROBABILITY", "OCCUPANCY"):
        raise BadValue("fractions that are neither a probability nor an occupancy")
    frames = [
        frame for frame in range(len(stored))
        if int(dicom_picture.functional_group(data, "SegmentIdentificationSequence", frame).ReferencedSegmentNumber) == number
    ]  # fmt: skip
    least = 1 if kind == "BINARY" else HALF * float(data.MaximumFractionalValue)
    return stored[frames] >= least, frames


def _corner(data: Header, frame: int, affine: Affine) -> tuple[int, int, int]:
    """Return the voxel on which a frame's first pixel lies. Raises ``BadValue``: the frame is not on the scan's grid."""
    place = dicom_picture.functional_group(data, "PlanePositionSequence", frame)
    turn = dicom_picture.functional_group(data, "PlaneOrientationSequence", frame)
    size = dicom_picture.functional_group(data, "PixelMeasuresSequence", frame)
    if not all(
        name in group
        for name, group in (("ImagePositionPatient", place), ("ImageOrientationPatient", turn), ("PixelSpacing", size))
    ):
        raise BadValue(f"frame {frame + 1} has no position, orientation or spacing")
    own = np.eye(4)[:, [0, 1, 3]]
    own[:3, 0] = np.array(turn.ImageOrientationPatient[:3], float) * float(size.PixelSpacing[1])
    own[:3, 1] = np.array(turn.ImageOrientationPatient[3:], float) * float(size.PixelSpacing[0])
    own[:3, 2] = np.array(place.ImagePositionPatient, float)
    steps = np.linalg.inv(affine) @ TO_RAS @ own
    wide = max(int(data.Rows), int(data.Columns))
    corner = np.rint(steps[:3, 2])
    if max(np.abs(steps[:3, :2] - np.eye(3)[:, :2]).max() * wide, np.abs(steps[:3, 2] - corner).max()) > OFF:
        raise BadValue(
            f"frame {frame + 1} lies on another grid than the scan (turned, of another spacing, or between its voxels)"
        )
    column, row, slice_ = (int(one) for one in corner)
    return column, row, slice_


def _drawn_on(data: Header, frame: int) -> str | None:
    """Return the SOPInstanceUID of the one slice that a frame says it was drawn on; None where it says none, or several."""
    group = dicom_picture.functional_group(data, "DerivationImageSequence", frame)
    sources = list(group.get("SourceImageSequence") or [])
    return str(sources[0].ReferencedSOPInstanceUID) if len(sources) == 1 else None

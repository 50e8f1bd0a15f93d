"""DICOM slices to one volume: a folder of files, or the frames of one, in the order of their positions and with no gap.

Voxels are [column, row, slice] as nibabel orders them, in modality values; the affine leads to millimetres, right-anterior-
superior. Geometry: DICOM PS3.3 C.7.6.2 (image plane), whose patient axes point left and posterior.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError
from healthfm.formats import dicom, dicom_index, dicom_picture
from healthfm.formats.source import Source

if TYPE_CHECKING:
    from pydicom import Dataset as Header

Affine = npt.NDArray[np.float64]
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME = 1e-3  # directions and spacings that differ by less are the same
EVEN = 0.02  # share of a slice distance by which distances may vary: files round positions


def voxels(path: Path) -> npt.NDArray[Any]:
    """Return the volume of a folder of slices or of a multi-frame file, modality values [column, row, slice].

    Raises ``DatasetError``: no slices, several series, slices missing, twice or askew, pixels that cannot be read.
    """
    if path.is_file():
        data = dicom.with_pixels(Source(path))
        order, _ = _frame_geometry(path, data)
        with dicom.reading(Source(path)):
            frames = dicom_picture.modality(data, dicom.stored(Source(path), data)).reshape(len(order), *_size(data))
        return np.ascontiguousarray(frames[order]).transpose(2, 1, 0)
    slices, _ = _sorted_slices(path)
    first = dicom_picture.values(Source(slices[0]))
    if first.ndim != 2:
        raise DatasetError(f"{slices[0]}: a series of colour or multi-frame files is no volume")
    decoded = [first, *(dicom_picture.values(Source(file)) for file in slices[1:])]
    return np.stack(decoded).transpose(2, 1, 0)  # numpy finds the type that holds every slice


def affine(path: Path) -> Affine:
    """Return the matrix [4, 4] from voxel indices to millimetres (RAS) from the headers alone."""
    if path.is_file():
        return _frame_geometry(path, dicom.header(Source(path)))[1]
    return _sorted_slices(path)[1]


def files(path: Path) -> list[Path]:
    """Return the files of a series folder in the order of their positions."""
    return _sorted_slices(path)[0]


def _sorted_slices(folder: Path) -> tuple[list[Path], Affine]:
    rows = [(file, row) for file, row in dicom_index.index(folder) if row.get("Rows")]
    if not rows:
        raise DatasetError(f"{folder}: no DICOM images in this folder")
    series = {row.get("SeriesInstanceUID") for _, row in rows}
    if len(series) > 1:
        raise DatasetError(f"{folder}: {len(series)} series in one folder; put each in a folder of its own")
    with _one_volume(folder):
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            lacking = sum(not row.get(keyword) for _, row in rows)
            if lacking:
                raise BadValue(f"{lacking} of {len(rows)} files have no {keyword}")
        for keyword in ("Rows", "Columns", "ImageOrientationPatient", "PixelSpacing"):
            if np.ptp(np.array([row[keyword] for _, row in rows], float), axis=0).max() > SAME:
                raise BadValue(f"the files differ in {keyword} (a localizer among them?)")
        one = rows[0][1]
        order, matrix = _placed(
            [row["ImagePositionPatient"] for _, row in rows],
            one["ImageOrientationPatient"], one["PixelSpacing"], one.get("SliceThickness"),
        )  # fmt: skip
        return [rows[i][0] for i in order], matrix
    raise AssertionError


def _size(data: Header) -> tuple[int, int]:
    return int(data.Rows), int(data.Columns)


def _frame_geometry(path: Path, data: Header) -> tuple[list[int], Affine]:
    """Return the order of the frames of an enhanced file, and the affine."""
    with _one_volume(path):
        count = dicom.frames(data)
        if count > 1 and len(data.get("PerFrameFunctionalGroupsSequence") or ()) != count:
            raise BadValue("its frames have no position, orientation or spacing")
        groups = [
            [dicom_picture.functional_group(data, name, frame) for frame in range(count)]
            for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
        ]
        positions = [g.get("ImagePositionPatient") for g in groups[0]]
        turns, spacing = {tuple(g.get("ImageOrientationPatient") or ()) for g in groups[1]}, groups[2][0]
        if None in positions or () in turns or spacing.get("PixelSpacing") is None:
            raise BadValue("its frames have no position, orientation or spacing")
        if len(turns) > 1:
            raise BadValue("its frames lie in different directions")
        where = [tuple(map(float, p)) for p in positions]
        return _placed(where, tuple(turns.pop()), tuple(spacing.PixelSpacing), spacing.get("SliceThickness"))
    raise AssertionError


@contextmanager
def _one_volume(path: Path) -> Iterator[None]:
    """Say of what is wrong with a geometry, and of headers that hold something else than numbers, which file or folder it is."""
    with dicom.reading(Source(path)):
        try:
            yield
        except BadValue as error:
            raise BadValue(f"not one volume: {error}") from None


def _placed(
    positions: Sequence[Sequence[float]], turn: Sequence[float], spacing: Sequence[float], thickness: float | None
) -> tuple[list[int], Affine]:
    """Return the order along the normal, and the affine. Raises ``BadValue``: positions that are no even stack."""
    if len(turn) != 6 or len(spacing) != 2 or any(len(p) != 3 for p in positions):
        raise BadValue("positions of 3, orientations of 6 and spacings of 2 numbers are needed")
    across, down = np.array(turn[:3], float), np.array(turn[3:], float)
    normal = np.cross(across, down)
    where = np.array(positions, float)
    along = where @ normal
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order])
    if len(steps):
        step = float(np.median(steps))
        if step < SAME or steps.min() < SAME:
            raise BadValue(f"{int((steps < SAME).sum())} slices lie at the position of another (several time points?)")
        uneven = np.abs(steps - step) > EVEN * step
        if uneven.any():
            raise BadValue(
                f"slices are missing or uneven: {int(uneven.sum())} of {len(steps)} distances differ from {step:.4g} mm"
            )
        stack = (where[order[-1]] - where[order[0]]) / len(steps)
    else:
        stack = normal * float(thickness or 1.0)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([across * spacing[1], down * spacing[0], stack], axis=1)
    matrix[:3, 3] = where[order[0]]
    return [int(i) for i in order], TO_RAS @ matrix

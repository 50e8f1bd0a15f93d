"""DICOM slices to one volume: a folder of files, or the frames of one, in the order of their positions and with no gap.

Voxels are [column, row, slice] as nibabel orders them, in modality values; the affine leads to millimetres, right-anterior-
superior. Geometry: DICOM PS3.3 C.7.6.2 (image plane), whose patient axes point left and posterior.

Slices make a volume if their centres lie on one straight line at even distances. That line may lean against the slices' normal, as
that of a tilted CT gantry does: the affine is then sheared, and true. It may not lean by more than ``TILT``, and no slice may jump
within its plane: such a stack is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError
from healthfm.formats.dicom import file as dicom
from healthfm.formats.dicom import index as dicom_index
from healthfm.formats.dicom import picture as dicom_picture
from healthfm.formats.source import Source

if TYPE_CHECKING:
    from pydicom import Dataset as Header

PHASE = "TemporalPositionIdentifier"
APART = ("EchoNumbers", PHASE)  # what slices of one volume have in common
Affine = npt.NDArray[np.float64]
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME = 1e-3  # directions and spacings that differ by less are the same
EVEN = 0.02  # share of a slice distance by which distances may vary: files round positions
STRAIGHT = 0.1  # pixels (or ``EVEN``, if that is more) by which a slice may lie beside the line of all
TILT = 45.0  # degrees; gantries lean by 30 at most


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
    return _stacked(_sorted_slices(path)[0])


def _stacked(slices: Sequence[Path]) -> npt.NDArray[Any]:
    """Decode files in order to [column, row, slice]."""
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


def phases(path: Path) -> tuple[list[list[Path]], Affine]:
    """Return the files of each phase of a dynamic series, by TemporalPositionIdentifier, each in the order of positions, and their affine.

    Raises ``DatasetError``: phases of other slices than the first, or files that say no phase.
    """
    apart = dict[int | None, list[tuple[Path, dicom_index.Row]]]()
    for file, row in _slices(path):
        apart.setdefault(row.get(PHASE), []).append((file, row))
    if None in apart and len(apart) > 1:
        raise DatasetError(f"{path}: {len(apart[None])} files of a series of several phases have no {PHASE}")
    numbers = sorted(apart, key=lambda number: number or 0)
    ordered = [_in_order(path, apart[number]) for number in numbers]
    for number, (files, matrix) in zip(numbers, ordered, strict=True):
        if len(files) != len(ordered[0][0]) or not np.allclose(matrix, ordered[0][1], atol=SAME):
            raise DatasetError(
                f"{path}: phase {number} has {len(files)} slices, the first has {len(ordered[0][0])}, or they lie elsewhere"
            )
    return [files for files, _ in ordered], ordered[0][1]


def phase_voxels(path: Path) -> npt.NDArray[Any]:
    """Return a dynamic series, modality values [column, row, slice, phase]. Raises as ``phases`` and ``voxels``."""
    return np.stack([_stacked(files) for files in phases(path)[0]], axis=-1)


def phase_affine(path: Path) -> Affine:
    """Return the affine that the phases of a dynamic series share."""
    return phases(path)[1]


def _sorted_slices(folder: Path) -> tuple[list[Path], Affine]:
    return _in_order(folder, _slices(folder), apart=APART)


def _slices(folder: Path) -> list[tuple[Path, dicom_index.Row]]:
    """Return the files of the one series that a folder holds, with their headers."""
    others: list[Path] = []
    rows = [
        (file, row) for file, row in dicom_index.index(folder, others=others) if not dicom_index.without_pixels(row)
    ]
    if not rows:
        raise DatasetError(f"{folder}: no DICOM images in this folder")
    named = {_pattern(file) for file, _ in rows}
    strange = next((file for file in others if _pattern(file) in named), None)
    if strange is not None:
        raise DatasetError(f"{strange}: called like the slices beside it, but no DICOM: damaged, or cut short?")
    series = {row.get("SeriesInstanceUID") for _, row in rows}
    if len(series) > 1:
        raise DatasetError(f"{folder}: {len(series)} series in one folder; put each in a folder of its own")
    return rows


def _in_order(
    folder: Path, rows: Sequence[tuple[Path, dicom_index.Row]], apart: Sequence[str] = ("EchoNumbers",)
) -> tuple[list[Path], Affine]:
    """Return files of one volume in the order of their positions, and its affine; ``apart``: what they must have in common."""
    with _one_volume(folder):
        for keyword in ("Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            lacking = sum(not row.get(keyword) for _, row in rows)
            if lacking:
                raise BadValue(f"{lacking} of {len(rows)} files have no {keyword}")
        for keyword in ("Rows", "Columns", "ImageOrientationPatient", "PixelSpacing"):
            if not np.ptp(np.array([row[keyword] for _, row in rows], float), axis=0).max() <= SAME:
                raise BadValue(f"the files differ in {keyword} (a localizer among them?)")
        for keyword in apart:
            several = len({row.get(keyword) for _, row in rows})
            if several > 1:
                raise BadValue(f"{several} volumes, which {keyword} tells apart; put each in a folder of its own")
        one = rows[0][1]
        order, matrix = _placed(
            [row["ImagePositionPatient"] for _, row in rows], one["ImageOrientationPatient"], one["PixelSpacing"],
            one.get("SliceThickness"), [str(file.relative_to(folder)) for file, _ in rows],
        )  # fmt: skip
        return [rows[i][0] for i in order], matrix
    raise AssertionError


def _pattern(file: Path) -> str:
    """Return what the names of a series' files have in common: all but their digits."""
    return re.sub(r"\d+", "0", file.name)


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
        turns, spacings = (
            [tuple(map(float, g.get(name) or ())) for g in some]
            for name, some in (("ImageOrientationPatient", groups[1]), ("PixelSpacing", groups[2]))
        )
        if None in positions or () in turns or () in spacings:
            raise BadValue("its frames have no position, orientation or spacing")
        for all_of_them, what in ((turns, "lie in different directions"), (spacings, "have different pixel spacings")):
            if len(set(map(len, all_of_them))) > 1 or not np.ptp(np.array(all_of_them), axis=0).max() <= SAME:
                raise BadValue(f"its frames {what}")
        where = [tuple(map(float, p)) for p in positions]
        names = [f"frame {number}" for number in range(1, count + 1)]
        return _placed(where, turns[0], spacings[0], groups[2][0].get("SliceThickness"), names)
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
    positions: Sequence[Sequence[float]], turn: Sequence[float], spacing: Sequence[float], thickness: float | None,
    names: Sequence[str],
) -> tuple[list[int], Affine]:  # fmt: skip
    """Return the order along the normal, and the affine. Raises ``BadValue``: positions that are no even, straight stack."""
    if len(turn) != 6 or len(spacing) != 2 or any(len(p) != 3 for p in positions):
        raise BadValue("positions of 3, orientations of 6 and spacings of 2 numbers are needed")
    across, down = np.array(turn[:3], float), np.array(turn[3:], float)
    where = np.array(positions, float)
    if not np.isfinite([*turn, *spacing, *where.ravel()]).all() or min(spacing) <= 0:
        raise BadValue("positions, orientations and spacings must be finite, spacings above 0")
    lengths = (across @ across, down @ down, 1 + across @ down)
    if not np.allclose(lengths, 1, atol=10 * SAME):
        raise BadValue("its orientation is not two directions of length 1 at right angles")
    normal = np.cross(across, down)
    along = where @ normal
    order = np.argsort(along, kind="stable")
    if len(order) > 1:
        stack = _step(where[order], along[order], normal, min(spacing), [names[i] for i in order])
    else:
        stack = normal * float(thickness if thickness and thickness > 0 else 1.0)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([across * spacing[1], down * spacing[0], stack], axis=1)
    matrix[:3, 3] = where[order[0]]
    return [int(i) for i in order], TO_RAS @ matrix


def _step(
    where: npt.NDArray[np.float64], along: npt.NDArray[np.float64], normal: npt.NDArray[np.float64], pixel: float,
    names: Sequence[str],
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Return the way from one slice to the next, of positions sorted along the normal. Raises ``BadValue``: not even, not straight."""
    steps = np.diff(along)
    step = float(np.median(steps))
    if step < SAME or steps.min() < SAME:
        first = int(steps.argmin())
        raise BadValue(
            f"{int((steps < SAME).sum())} slices lie at the position of another, {names[first + 1]} at that of {names[first]} "
            "(a copy? several time points, echoes or b-values?)"
        )
    uneven = np.abs(steps - step) > EVEN * step
    if uneven.any():
        raise BadValue(
            f"slices are missing or uneven: {int(uneven.sum())} of {len(steps)} distances differ from {step:.4g} mm, "
            f"first after {names[int(uneven.argmax())]}"
        )
    stack = (where[-1] - where[0]) / len(steps)
    beside = where - where[0] - np.arange(len(where))[:, None] * stack
    beside -= np.outer(beside @ normal, normal)
    if np.linalg.norm(beside, axis=1).max() > max(STRAIGHT * pixel, EVEN * step):
        moves = np.diff(beside, axis=0)
        jumps = np.linalg.norm(moves - np.median(moves, axis=0), axis=1)
        raise BadValue(
            f"slices jump within their plane, by up to {jumps.max():.4g} mm (after {names[int(jumps.argmax())]}); "
            "they do not lie one behind the other"
        )
    lean = float(np.degrees(np.arccos(min(1.0, stack @ normal / np.linalg.norm(stack)))))
    if lean > TILT:
        raise BadValue(f"slices lie askew: each is moved within its plane, by {lean:.0f} degrees; a gantry leans less")
    return np.asarray(stack)

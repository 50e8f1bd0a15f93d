"""What cheap rivals see of pixels: mean and spread of colour, a tiny copy, a small one; of a volume its values and its size.

Each record is looked at once, one at a time, and little of it is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError
from healthfm.records import Image, Record, Slide, Video, Volume

Array = npt.NDArray[Any]
SIDE = 8  # cells of a thumbnail along each side
DETAILED = 32  # of the one whose principal components are taken
AFAR = 256  # pixels of a slide's longer side, seen from afar
GLASS = 0.9  # a pixel of a slide that is lighter than this in every channel shows none of the tissue
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MOST_VOXELS = 1_000_000  # whose quantiles are taken; of more every so many


@dataclass(frozen=True, slots=True, kw_only=True)
class Several(Record):
    """Images that have one label together: those of a patient."""

    members: tuple[Image, ...]


PICTURED = (Image, Several, Slide, Video)


@dataclass(frozen=True)
class Glimpse:
    """What rivals see of a picture: mean and spread of its channels [6], and grids of its cells [SIDE, SIDE, 3] and [DETAILED, DETAILED, 3]."""

    spread: Array
    small: Array
    detailed: Array


@dataclass(frozen=True)
class Measure:
    """What rivals see of a volume: mean, spread and quantiles of its values [7], a grid of its cells [SIDE, SIDE, SIDE], logarithms of its size in
    voxels and of a voxel's in millimetres [6]."""

    values: Array
    small: Array
    size: Array


_LAST: dict[str, Any] = {
    "of": (),
    "seen": [],
}  # what was seen of the last list of records: the rivals of one evaluation share it


def seen(records: Sequence[Record]) -> list[Any]:
    """Return a ``Glimpse`` of each record (of a volume a ``Measure``); the same records again are not decoded again.

    Raises ``HealthfmError``: one that cannot be decoded.
    """
    if len(_LAST["of"]) != len(records) or any(a is not b for a, b in zip(_LAST["of"], records, strict=True)):
        _LAST["seen"] = [_measure(one) if isinstance(one, Volume) else _glimpse(one) for one in records]
        _LAST["of"] = tuple(records)
    return list(_LAST["seen"])


def _glimpse(record: Record) -> Glimpse:
    """Look at an image, at a slide from afar (its colours are those of what is not glass), at a film's first frame; of several images the mean."""
    if isinstance(record, Several):
        every = [_glimpse(one) for one in record.members]
        return Glimpse(
            *(np.mean([getattr(one, name) for one in every], axis=0) for name in ("spread", "small", "detailed"))
        )
    pixels = _rgb(_picture(record))
    flat = pixels.reshape(-1, 3)
    if isinstance(record, Slide):
        tissue = flat[(flat < GLASS).any(axis=1)]
        flat = tissue if len(tissue) else flat
    return Glimpse(np.concatenate([flat.mean(0), flat.std(0)]), cells(pixels, SIDE), cells(pixels, DETAILED))


def _picture(record: Record) -> Array:
    if isinstance(record, Slide):
        opened: Any = record.open()
        try:
            return np.asarray(opened.thumbnail(max(1.0, max(opened.size) / AFAR)))
        finally:
            opened.close()
    if isinstance(record, Video):
        frame = next(iter(record.frames()), None)
        if frame is None:
            raise DatasetError(f"film {record.id} has no frame")
        return np.asarray(frame)
    assert isinstance(record, Image)
    return np.asarray(record.pixels)


def _rgb(pixels: Array) -> Array:
    """Return pixels as float64 [height, width, 3] from 0 to 1 (of 16 bits, of their own range)."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    top = 255.0 if pixels.dtype == np.uint8 else max(float(pixels.max()), 1.0)
    return np.repeat(pixels[..., :1], 3, axis=2) / top if pixels.shape[2] < 3 else pixels[..., :3] / top


def _measure(record: Volume) -> Measure:
    voxels = np.asarray(record.voxels, np.float32)
    voxels = np.nan_to_num(voxels.mean(axis=3) if voxels.ndim == 4 else voxels)
    some = voxels.ravel()[:: max(1, voxels.size // MOST_VOXELS)]
    values = [voxels.mean(dtype=np.float64), voxels.std(dtype=np.float64), *np.quantile(some, QUANTILES)]
    return Measure(np.array(values), cells(voxels, SIDE, 3), np.log([*voxels.shape, *record.spacing]))


def cells(pixels: Array, side: int, axes: int = 2) -> Array:
    """Return the means of a grid of cells, ``side`` along each of the first axes; a picture smaller than the grid repeats its pixels."""
    for axis in range(axes):
        edges = np.arange(side + 1) * pixels.shape[axis] / side
        starts = np.minimum(edges[:-1].astype(int), pixels.shape[axis] - 1)
        ends = np.maximum(edges[1:].astype(int), starts + 1)
        sums = np.concatenate([np.zeros_like(pixels.take([0], axis)), np.cumsum(pixels, axis, dtype=np.float64)], axis)
        shape = [1] * pixels.ndim
        shape[axis] = side
        pixels = (sums.take(ends, axis) - sums.take(starts, axis)) / (ends - starts).reshape(shape)
    return pixels

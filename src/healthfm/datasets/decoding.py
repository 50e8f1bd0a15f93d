"""Can what a copy's records point to be decoded, and does it fit? Pixels, masks on their grid, outlines inside, films as long as they say; signals,
structures, profiles, matrices of cells and tracks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from healthfm.errors import BadValue, DatasetError, NotAnnotated
from healthfm.records import Cells, Image, Profile, Record, Region, Signal, Slide, Structure, Video, Visual, Volume

EDGE = 1.0  # pixels by which an outline may pass the edge: owners count from 0 or from 1
ROWS = 64  # cells of a matrix that are read at its begin and at its end
BASES = 1 << 16  # bases of a track that are read at the begin, in the middle and at the end of a contig
CORNER = 2048  # pixels of a slide's smallest level that are read


class Decoder:
    """Decodes the pixels of the records that it sees, one picture at a time. ``faults`` name record and reason, ``beyond`` outlines over an edge.

    ``progress`` is called with (records done, how many there are, if a card says).
    """

    def __init__(self, total: int | None = None, progress: Callable[[int, int | None], None] | None = None) -> None:
        self._told: dict[str, None] = {}  # each once: the masks of one file fail alike
        self.beyond: list[str] = []
        self.done = 0
        self._total, self._progress = total, progress

    @property
    def faults(self) -> list[str]:
        """What is wrong, a line a record and reason."""
        return list(self._told)

    def see(self, record: Record) -> None:
        """Decode what a record shows or measures, and note what is wrong with it."""
        for visual in (record, *getattr(record, "media", ())):
            if isinstance(visual, Visual):
                self._told.update((f"{record.id}: {reason}", None) for reason in self._wrong(visual))
        try:
            _measured(record)
        except (DatasetError, BadValue) as error:
            self._told[f"{record.id}: {error}"] = None
        self.done += 1
        if self._progress is not None:
            self._progress(self.done, self._total)

    def _wrong(self, visual: Visual) -> Iterator[str]:
        try:
            shape = _shape(visual)
        except (DatasetError, BadValue) as error:
            yield str(error)
            return
        for name, mask in {} if isinstance(visual, Slide) else visual.masks.items():
            try:
                found = np.asarray(mask()).shape[: len(shape)]
            except NotAnnotated:
                continue
            except (DatasetError, BadValue) as error:
                yield str(error)
                continue
            if found != shape:
                yield f"the mask '{name}' has {list(found)} pixels, what it is of {list(shape)}"
        yield from self._outside(visual, shape)

    def _outside(self, visual: Visual, shape: tuple[int, ...]) -> Iterator[str]:
        """Say which outlines lie outside; those that pass an edge are gathered."""
        size = np.array(shape if isinstance(visual, Volume) else shape[1::-1], float)
        for kind, label, points, plane in _outlines(visual):
            inside = (points >= -EDGE).all(axis=1) & (points <= size[: points.shape[1]] + EDGE).all(axis=1)
            if points.shape[1] == 2:
                apart = (points.max(axis=0) < 0).any() or (points.min(axis=0) > size[:2]).any()
            else:
                apart = not inside.any()
            if apart or (plane is not None and isinstance(visual, Volume) and not 0 <= plane < shape[2]):
                yield f"the {kind} '{label}' lies outside"
            elif not inside.all():
                self.beyond.append(f"{visual.id} ({label})")


def _measured(record: Record) -> None:
    """Decode what a record of other measurements points to. Raises ``DatasetError``: it cannot be."""
    if isinstance(record, Signal):
        _ = record.samples
    elif isinstance(record, Profile):
        _ = record.values
    elif isinstance(record, Structure):
        _ = record.atoms
    elif isinstance(record, Cells):
        for begin in (0, max(record.cells - ROWS, 0)):
            for rows in (record.rows, *record.layers.values()):
                rows(begin, begin + ROWS)
    elif isinstance(record, Region) and record.runs is not None:
        for begin in (record.start, (record.start + record.end) // 2, max(record.end - BASES, record.start)):
            record.runs(begin, begin + BASES)


def _outlines(visual: Visual) -> Iterator[tuple[str, str, Any, int | None]]:
    """Yield (what, label, corners [n, 2 or 3], plane) of boxes and polygons."""
    for box in visual.boxes:
        yield "box", box.label, np.array(box.corners, float).reshape(2, -1), None
    for polygon in visual.polygons:
        yield "polygon", polygon.label, np.array(polygon.points, float).reshape(-1, 2), polygon.plane


def _shape(visual: Visual) -> tuple[int, ...]:
    """Decode a record's pixels and return the shape that its masks must have. Raises ``DatasetError``: it cannot be, or is not what it says."""
    if isinstance(visual, Image):
        shape = visual.pixels.shape
        if len(shape) not in (2, 3) or 0 in shape:
            raise BadValue(f"its pixels have the shape {list(shape)}, no picture's")
        return shape[:2]
    if isinstance(visual, Volume):
        shape = visual.voxels.shape
        if len(shape) < 3 or 0 in shape or (visual.channels and shape[3:] != (len(visual.channels),)):
            raise BadValue(f"its voxels have the shape {list(shape)}, with {len(visual.channels) or 1} channels")
        return shape[:3]
    if isinstance(visual, Slide):
        return _slide(visual)
    assert isinstance(visual, Video)
    track, count = visual.track(), 0
    for _ in visual.frames():
        count += 1
    if not count or (track.length is not None and track.length != count):
        raise BadValue(f"its header says {track.length} frames, {count} are there")
    return (int(track.size[0]), int(track.size[1]))


def _slide(visual: Slide) -> tuple[int, ...]:
    """Read the smallest level of a slide, or its corner, and return height and width of the largest."""
    opened = visual.open()
    last = len(opened.levels) - 1
    width, height = _size(opened.levels[last])
    opened.read(last, 0, 0, min(width, CORNER), min(height, CORNER))
    width, height = _size(opened.levels[0])
    return height, width


def _size(level: Any) -> tuple[int, int]:
    return int(level.width), int(level.height)

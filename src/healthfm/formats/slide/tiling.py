"""Slides as tiles: which squares of tissue, at how many micrometres per pixel, and their pixels one after another.

A tile is ``size`` pixels a side at the wanted resolution and spans ``span`` level-0 pixels. It is read from the coarsest level that is
at least as fine, and made smaller where that level is finer; pixels that the scanner never took are not made up unless asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError
from healthfm.formats.slide.pyramid import SlideFile
from healthfm.formats.slide.tissue import FindTissue, Mask, Thumbnail, rest, stained

SAME_SCALE = 0.02  # scanners are calibrated to a few hundredths: closer than this, stored pixels are taken as they are
STRIP = 4096  # tiles follow each other in strips of this width, so that a small cache holds what neighbours share
FEW = 0.5  # of what is not background; where tiles cover less, the run says so
MASK_MPP = 8.0  # micrometres a pixel of the tissue mask spans, at most
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Tiles:
    """Squares of one slide: ``coords`` int64 [n, 2], the x and y of their upper left corners in level-0 pixels.

    ``size`` is the side of the delivered tile in pixels, ``span`` what it covers in level-0 pixels, ``overlap`` how many of its
    pixels neighbours share. Order is kept: features computed from the tiles stand in the same rows. ``notice`` says so where they
    cover little of what is on the slide.
    """

    coords: npt.NDArray[np.int64]
    size: int
    span: float
    overlap: int = 0
    notice: str = ""

    def __post_init__(self) -> None:
        if self.coords.ndim != 2 or self.coords.shape[1] != 2:
            raise BadValue(f"coordinates have the shape {self.coords.shape}, not [n, 2]")
        if self.size < 1 or not self.span > 0:
            raise BadValue("a tile needs a size and a span above 0")

    def __len__(self) -> int:
        return len(self.coords)


def plan(
    slide: SlideFile, mpp: float, size: int, *, overlap: int = 0, tissue: FindTissue | None = stained, min_tissue: float = 0.25,
    upsample: bool = False,
) -> Tiles:  # fmt: skip
    """Return the tiles of a slide at ``mpp`` micrometres per pixel, ``size`` pixels a side.

    Neighbours share ``overlap`` pixels. ``tissue`` maps a thumbnail to a mask (None: every tile); a tile is kept when at least
    ``min_tissue`` of it lies in the mask, or cannot be read on the thumbnail: reading the tile tells what is wrong. Tiles lie wholly inside the slide. Raises ``DatasetError``: no resolution, no tissue,
    a slide smaller than a tile, or one coarser than ``mpp`` (unless ``upsample``).
    """
    if not 0 <= overlap < size:
        raise BadValue(f"an overlap of {overlap} pixels does not fit tiles of {size}")
    if not 0 < mpp < float("inf"):
        raise BadValue(f"tiles at {mpp:g} micrometres per pixel cannot be")
    scale = scale_of(slide, mpp)
    if scale < 1 and not upsample:
        raise DatasetError(
            f"{slide.path}: scanned at {slide.mpp:.4g} micrometres per pixel, {mpp:g} asks for pixels it does not have; "
            "take a coarser mpp, or upsample=True to enlarge"
        )
    span = size * scale
    step = (size - overlap) * scale
    width, height = slide.size
    columns, rows = _starts(width, span, step), _starts(height, span, step)
    if not len(columns) or not len(rows):
        raise DatasetError(f"{slide.path}: {width} x {height} pixels, smaller than one tile of {span:.0f}")
    y, x = np.meshgrid(rows, columns, indexing="ij")
    coords = np.stack([x.ravel(), y.ravel()], axis=1)
    notice = ""
    if tissue is not None:
        picture, unknown = slide.overview(max(1.0, min(MASK_MPP / slide.mpp, span / 8)))
        mask = np.asarray(tissue(picture))
        if mask.shape != picture.shape[:2]:
            raise BadValue(f"the tissue mask has the shape {mask.shape}, its thumbnail {picture.shape[:2]}")
        boxes = _boxes(slide, coords, span, mask.shape)
        chosen = _share(mask.astype(bool) | unknown, boxes) >= max(min_tissue, 1e-9)
        coords, notice = coords[chosen], _notice(picture, [side[chosen] for side in boxes])
        if not len(coords):
            why = f"; {notice}" if notice else ""
            raise DatasetError(f"{slide.path}: no tissue found (no tile holds {min_tissue:.0%} of it{why})")
    order = np.lexsort((coords[:, 0], coords[:, 1], coords[:, 0] // round(STRIP * max(scale, 1.0))))
    return Tiles(np.ascontiguousarray(coords[order]), size, span, overlap, notice)


def scale_of(slide: SlideFile, mpp: float) -> float:
    """Return how many level-0 pixels one pixel at ``mpp`` micrometres spans; nearly 1 is 1."""
    scale = mpp / slide.mpp
    return 1.0 if abs(scale - 1) <= SAME_SCALE else scale


def _starts(length: int, span: float, step: float) -> npt.NDArray[np.int64]:
    count = int((length - span) / step + 1e-9) + 1 if length >= span else 0
    starts = np.rint(np.arange(count) * step).astype(np.int64)
    return np.asarray(starts[starts + np.ceil(span - 1e-9) <= length])


Boxes = Sequence[npt.NDArray[np.int64]]


def _boxes(slide: SlideFile, coords: npt.NDArray[np.int64], span: float, shape: tuple[int, ...]) -> Boxes:
    """Return left, top, right and bottom of each tile on a thumbnail of this shape."""
    ratio = np.array([shape[1] / slide.size[0], shape[0] / slide.size[1]])
    first = np.minimum((coords * ratio).astype(np.int64), np.array(shape[::-1]) - 1)
    last = np.clip(np.rint((coords + span) * ratio).astype(np.int64), first + 1, shape[::-1])
    return [*first.T, *last.T]


def _share(mask: Mask, boxes: Boxes) -> npt.NDArray[np.float64]:
    """Return what share of each tile lies in the mask, by sums over rectangles."""
    left, top, right, bottom = boxes
    sums = np.pad(np.cumsum(np.cumsum(mask, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return np.asarray(inside / ((right - left) * (bottom - top)))


def _notice(picture: Thumbnail, boxes: Boxes) -> str:
    """Return what to say where tiles cover little of what is not background; else nothing."""
    covered = np.zeros(picture.shape[:2], np.bool_)
    for left, top, right, bottom in zip(*boxes, strict=True):
        covered[top:bottom, left:right] = True
    found = rest(picture, covered)
    if found.tissue >= FEW:
        return ""
    return (
        f"tiles cover {found.tissue:.0%} of what is not background: {found.dark:.0%} is like ink, black or grey, {found.other:.0%} "
        "lies where no tile is kept"
    )


def level_of(slide: SlideFile, tiles: Tiles) -> tuple[int, int]:
    """Return the level that tiles are read from, and how many of its pixels a side of a tile takes."""
    scale = tiles.span / tiles.size
    level = max((i for i, one in enumerate(slide.levels) if one.downsample <= scale * (1 + SAME_SCALE)), default=0)
    side = round(tiles.span / slide.levels[level].downsample)
    return level, tiles.size if abs(side / tiles.size - 1) <= SAME_SCALE else side


def read_tile(slide: SlideFile, tiles: Tiles, number: int) -> Pixels:
    """Return one tile, RGB uint8 [size, size, 3].

    Where the level is finer than wanted, Pillow's antialiased bicubic filter makes the tile smaller. What a coordinate
    leaves outside the slide is white.
    """
    from PIL import Image

    level, side = level_of(slide, tiles)
    down = slide.levels[level].downsample
    x, y = tiles.coords[number]
    pixels = slide.read(level, round(int(x) / down), round(int(y) / down), side, side)
    if side == tiles.size:
        return pixels
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.resize((tiles.size, tiles.size), Image.Resampling.BICUBIC))


def read_tiles(slide: SlideFile, tiles: Tiles, start: int = 0) -> Iterator[Pixels]:
    """Yield the tiles from number ``start`` on, in the order of their coordinates."""
    for number in range(start, len(tiles)):
        yield read_tile(slide, tiles, number)

"""The stored tiles of one TIFF page, each decoded once while it is needed: the fast way into a pyramidal slide.

``tifffile`` tells where the tiles lie, imagecodecs (libjpeg-turbo) decodes them. Whether the pixels are right is for the caller to
check against OpenSlide, which also shows what this reader leaves: tiles that are missing, and those it cannot decode.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue

CACHE_BYTES = 64 << 20  # two rows of stored tiles, 160 wide, of 256 x 256
LARGEST_TILE = 1 << 24  # pixels; one that claims more is not decoded here
OME_UNITS = {"\u00b5m": 1.0, "\u03bcm": 1.0, "&#181;m": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4}
JPEG, DEFLATE = 7, (8, 32946)  # TIFF's numbers of compressions
MARK = re.compile(rb"\xff[^\x00]")  # among the coded bytes of a scan only restarts, one after the other
BLANK = bytes(16), b"\xff" * 4  # what a lost block of a disk leaves
Pixels = npt.NDArray[np.uint8]


class LeftOut(Exception):
    """A stored tile that this reader leaves to OpenSlide."""


def tiled_pages(path: Path) -> dict[tuple[int, int], Any]:
    """Return the pages of a TIFF that hold tiles of 8-bit RGB, by (width, height); none where the file is no TIFF."""
    try:
        import tifffile
    except ImportError:
        return {}
    if path.is_dir():
        return {}
    found: dict[tuple[int, int], Any] = {}
    try:
        with tifffile.TiffFile(path) as file:
            for page in file.pages:
                for one in (page, *(page.pages or ())):
                    if _plain(one):
                        _ = one.decode, one.jpegtables, one.dataoffsets  # read on first use, while the file is open
                        found.setdefault((one.imagewidth, one.imagelength), one)
    except Exception:  # tifffile raises many kinds on what is no plain TIFF; OpenSlide reads it then
        return {}
    return found


def _plain(page: Any) -> bool:
    return bool(
        getattr(page, "is_tiled", False) and page.dtype == np.uint8 and page.samplesperpixel == 3
        and page.planarconfig == 1 and page.imagedepth == 1 and page.tilewidth * page.tilelength <= LARGEST_TILE
    )  # fmt: skip


def says_slide(path: Path, coarsest: float) -> bool:
    """Say whether a TIFF is 8-bit RGB in several tiles, at ``coarsest`` micrometres a pixel or finer, or with smaller copies of itself."""
    try:
        import tifffile
    except ImportError:
        return False
    try:
        with tifffile.TiffFile(path) as file:
            pages = [page for page in file.pages if _plain(page)]
            if not pages or file.pages[0] is not pages[0] or len(pages[0].dataoffsets) < 2:
                return False
            sizes = [(page.imagewidth, page.imagelength) for page in pages]
            return _pyramid(sizes) or _micrometres(file.pages[0]) <= coarsest
    except Exception:  # tifffile raises many kinds on what is no plain TIFF
        return False


def _pyramid(sizes: Sequence[tuple[int, int]]) -> bool:
    """Say whether the first picture is followed by a smaller copy, of the same proportions to a pixel."""
    (width, height), *others = sizes
    return any(w < width and abs(height * w / width - h) <= 1.5 for w, h in others)


def _micrometres(page: Any) -> float:
    """Return what a pixel spans by OME-XML or resolution tags; infinite where neither tells."""
    stated = ome_micrometres(page.description)
    if stated is not None:
        return max(stated)
    unit = {2: 25400.0, 3: 10000.0}.get(int(page.resolutionunit), 0.0)
    return unit / min(page.resolution) if unit and min(page.resolution) > 0 else float("inf")


def ome_micrometres(description: str) -> tuple[float, float] | None:
    """Return micrometres a pixel spans in x and y as OME-XML says, None where it does not."""
    found = []
    for axis in "XY":
        size = re.search(rf'\bPhysicalSize{axis}="([0-9.eE+-]+)"', description)
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]*)"', description)
        factor = OME_UNITS.get(unit[1] if unit else "\u00b5m")
        if "<OME" not in description or size is None or factor is None:
            return None
        try:
            found.append(float(size[1]) * factor)
        except ValueError:
            return None
    return found[0], found[1]


def same_size(path: Path, size: tuple[int, int]) -> int:
    """Return how many pages of a TIFF are of this width and height."""
    try:
        import tifffile

        with tifffile.TiffFile(path) as file:
            return sum((page.imagewidth, page.imagelength) == size for page in file.pages)
    except Exception:  # no TIFF that tifffile reads
        return 0


class StoredTiles:
    """The pixels of one page, through a cache of decoded tiles with a fixed size. Safe to use from several threads.

    The cache is one block of memory: tiles are copied into it, so that the decoder's own memory is used again and again. (A
    fresh array for each tile costs a third of the decoding in page faults.)
    """

    def __init__(self, path: Path, page: Any) -> None:
        self._page = page
        self._offsets, self._sizes = page.dataoffsets, page.databytecounts
        self._tile = page.tilewidth, page.tilelength
        self._across = -(-page.imagewidth // page.tilewidth)
        room = min(len(self._offsets), max(4, CACHE_BYTES // (page.tilewidth * page.tilelength * 3)))
        self._memory = np.empty((room, page.tilelength, page.tilewidth, 3), np.uint8)
        self._slots: OrderedDict[int, int] = OrderedDict()  # stored tile -> its place in memory, the least used first
        self._lock = threading.Lock()
        self._handle = os.open(path, os.O_RDONLY)
        self._length = os.fstat(self._handle).st_size

    def close(self) -> None:
        """Give back the file handle."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def read(self, x: int, y: int, width: int, height: int) -> Pixels:
        """Return RGB [height, width, 3] of a rectangle that lies inside the page.

        Raises ``LeftOut``: a tile is missing, or cannot be read here; ``BadValue``: one is damaged, whatever OpenSlide makes of it.
        """
        wide, high = self._tile
        if x % wide == y % high == 0 and (width, height) == (wide, high):
            return self._decode(y // high * self._across + x // wide)  # nobody else will ask for it
        out = np.empty((height, width, 3), np.uint8)
        for row in range(y // high, (y + height - 1) // high + 1):
            top, bottom = max(y, row * high), min(y + height, (row + 1) * high)
            for column in range(x // wide, (x + width - 1) // wide + 1):
                left, right = max(x, column * wide), min(x + width, (column + 1) * wide)
                part = slice(top - row * high, bottom - row * high), slice(left - column * wide, right - column * wide)
                self._copy(row * self._across + column, part, out[top - y : bottom - y, left - x : right - x])
        return out

    def _copy(self, index: int, part: tuple[slice, slice], into: Pixels) -> None:
        with self._lock:
            slot = self._slots.get(index)
            if slot is not None:
                self._slots.move_to_end(index)
                into[...] = self._memory[slot][part]
                return
        tile = self._decode(index)
        into[...] = tile[part]
        with self._lock:
            if index not in self._slots:
                full = len(self._slots) == len(self._memory)
                slot = self._slots.popitem(last=False)[1] if full else len(self._slots)
                self._memory[slot] = tile
                self._slots[index] = slot

    def _decode(self, index: int) -> Pixels:
        offset, size = self._offsets[index], self._sizes[index]
        if not size:
            raise LeftOut
        if (
            not offset or offset + size > self._length
        ):  # OpenSlide would read the file's head, or allocate what is claimed
            raise BadValue("a stored tile lies outside the file")
        data = os.pread(self._handle, size, offset)
        if self._page.compression == JPEG and not _whole_jpeg(data):  # libjpeg only warns, and paints the rest grey
            raise LeftOut
        try:
            tile: Pixels = self._page.decode(data, index, jpegtables=self._page.jpegtables)[0][0]
        except Exception:  # each codec has a class of its own
            if self._page.compression in DEFLATE:  # libtiff looks at no checksum and shows what it has
                raise BadValue("a stored tile is damaged") from None
            raise LeftOut from None
        if tile.shape != self._memory.shape[1:]:
            raise LeftOut
        if self._page.compression == JPEG and (tile[4::8, 4::8] == 128).all(-1).any():  # a block no bits were left for
            raise LeftOut
        return tile


def _whole_jpeg(data: bytes) -> bool:
    """Say whether a JPEG stream has its end, and in its last scan no stray marker, no blank stretch, and the restarts in turn.

    What fails here need not be damaged: OpenSlide, which minds libjpeg's warnings, decides.
    """
    stream = data.rstrip(b"\0")
    start = stream.rfind(b"\xff\xda")
    if start < 0 or not stream.endswith(b"\xff\xd9") or any(one in stream[start:] for one in BLANK):
        return False
    marks = [mark[1] for mark in MARK.findall(stream, start + 2, len(stream) - 2)]
    return marks == [0xD0 + i % 8 for i in range(len(marks))]


def missing(page: Any) -> float:
    """Return the share of a page's tiles that is not stored."""
    return sum(not size for size in page.databytecounts) / max(1, len(page.databytecounts))

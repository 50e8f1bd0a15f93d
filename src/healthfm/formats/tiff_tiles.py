"""The stored tiles of one TIFF page, each decoded once while it is needed: the fast way into a pyramidal slide.

``tifffile`` tells where the tiles lie, imagecodecs (libjpeg-turbo) decodes them. Whether the pixels are right is for the caller to
check against OpenSlide.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CACHE_BYTES = 64 << 20  # two rows of stored tiles, 160 wide, of 256 x 256
Pixels = npt.NDArray[np.uint8]


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
        and page.planarconfig == 1 and page.imagedepth == 1
    )  # fmt: skip


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

    def close(self) -> None:
        """Give back the file handle."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def read(self, x: int, y: int, width: int, height: int) -> Pixels:
        """Return RGB [height, width, 3] of a rectangle that lies inside the page."""
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
        data = os.pread(self._handle, self._sizes[index], self._offsets[index])
        tile: Pixels = self._page.decode(data, index, jpegtables=self._page.jpegtables)[0][0]
        return tile

"""2bit: the sequences of a genome, four letters a byte (UCSC's page of file formats, "twoBit"; either order of bytes, versions 0 and 1).

Letters are decoded where they are asked for. Stretches of N and of lower case, which marks repeats, stand beside the letters, and are kept.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError
from healthfm.formats.mapped import Mapped
from healthfm.formats.source import Source

MAGIC = 0x1A412743
LETTERS = np.frombuffer(b"TCAG", np.uint8)
CODES = np.array([*itertools.product(range(4), repeat=4)])  # of every byte, the first in its highest bits
FOUR = LETTERS[CODES]
UNKNOWN, CASE = ord("N"), 0x20
Blocks = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


class Indexed:
    """Letters by sequence and place, as ``fasta.Indexed`` gives them. ``lengths``: letters by a sequence's name.

    Raises ``DatasetError``: no 2bit, packed, or its parts do not fit together.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._file = file = Mapped(source, MAGIC, "2bit")
        version, count, _ = file.take("3I", 4)
        if version > 1:
            raise DatasetError(f"{source}: 2bit of version {version}; versions 0 and 1 are read")
        self._places: dict[str, int] = {}
        at, form, width = 16, *(("Q", 8) if version else ("I", 4))
        for _ in range(count):
            (size,) = file.take("B", at)
            name = file.bytes(at + 1, size).decode("latin-1")
            (place,) = file.take(form, at + 1 + size)
            if name in self._places:
                raise DatasetError(f"{source}: two sequences have the same name")
            self._places[name] = place
            at += 1 + size + width
        self.lengths: dict[str, int] = {name: file.take("I", place)[0] for name, place in self._places.items()}
        self._parts = functools.lru_cache(maxsize=64)(self._parts_of)

    def letters(self, name: str, start: int, end: int) -> str:
        """Return the letters ``[start, end)`` from 0 of a sequence, fewer where it ends before."""
        start, end = (min(max(one, 0), self.lengths[name]) for one in (start, end))
        if start >= end:
            return ""
        unknown, masked, at = self._parts(name)
        packed = self._file.many("u1", at + start // 4, (end + 3) // 4 - start // 4)
        found = FOUR[packed].reshape(-1)[start % 4 :][: end - start]
        for part in _within(unknown, start, end):
            found[part] = UNKNOWN
        for part in _within(masked, start, end):
            found[part] |= CASE
        return str(found.tobytes(), "ascii")

    def _parts_of(self, name: str) -> tuple[Blocks, Blocks, int]:
        """Return the stretches of N, those of lower case, and where the letters begin."""
        at, parts = self._places[name] + 4, []
        for _ in range(2):
            (count,) = self._file.take("I", at)
            starts, sizes = (self._file.many("u4", at + 4 + n * 4 * count, count).astype(np.int64) for n in range(2))
            ends = starts + sizes
            if np.any(starts[1:] < ends[:-1]) or (count and ends[-1] > self.lengths[name]):
                raise self._file.damaged()
            parts.append((starts, ends))
            at += 4 + 8 * count
        self._file.bytes(at + 4, (self.lengths[name] + 3) // 4)  # all letters are there
        return parts[0], parts[1], at + 4


def _within(blocks: Blocks, start: int, end: int) -> Iterator[slice]:
    """Yield where the blocks that touch ``[start, end)`` lie in it."""
    starts, ends = blocks
    for n in range(int(np.searchsorted(ends, start, "right")), int(np.searchsorted(starts, end, "left"))):
        yield slice(max(int(starts[n]) - start, 0), int(ends[n]) - start)

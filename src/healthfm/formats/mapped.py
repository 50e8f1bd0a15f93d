"""Binary files whose parts are found by place: numbers and bytes are taken where they stand, and what is not asked for is never read."""

from __future__ import annotations

import struct
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError
from healthfm.formats.source import Source


class Mapped:
    """A file that begins with a number of 4 bytes, which also tells in which order its bytes stand.

    Raises ``DatasetError``: it does not begin so, it is packed, and from every reading: what is asked for lies beyond its end.
    """

    def __init__(self, source: Source, magic: int, what: str) -> None:
        if source.member is not None or source.name != source.path.name:
            raise DatasetError(f"{source}: {what} is read by place, from a file of its own; unpack it first")
        self.source = source
        try:
            self._raw = np.memmap(source.path, np.uint8, "r")
        except (OSError, ValueError):  # an empty file cannot be mapped
            raise DatasetError(f"{source}: not {what}: it is empty or cannot be opened") from None
        begin = self._raw[:4].tobytes()
        orders: tuple[Literal["<", ">"], ...] = ("<", ">")
        found = next((order for order in orders if begin == struct.pack(order + "I", magic)), None)
        if found is None:
            raise DatasetError(f"{source}: not {what}: it does not begin as such a file does")
        self.order = found

    def __len__(self) -> int:
        return len(self._raw)

    def take(self, form: str, at: int) -> tuple[Any, ...]:
        """Return the numbers that stand at a place, by the letters of ``struct``."""
        return struct.unpack(self.order + form, self.bytes(at, struct.calcsize(self.order + form)))

    def bytes(self, at: int, count: int) -> bytes:
        """Return so many bytes from a place on."""
        if not 0 <= at <= at + count <= len(self._raw):
            raise self.damaged()
        return self._raw[at : at + count].tobytes()

    def many(self, kind: Any, at: int, count: int) -> npt.NDArray[Any]:
        """Return so many values of one type, as NumPy writes it without the order of its bytes, from a place on."""
        of = np.dtype(kind).newbyteorder(self.order)
        return np.frombuffer(self.bytes(at, count * of.itemsize), of)

    def damaged(self) -> DatasetError:
        """Return what is said of a file whose parts do not fit together."""
        return DatasetError(f"{self.source}: the file is damaged or cut short (its parts do not fit together)")

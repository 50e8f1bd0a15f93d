"""bigWig: a number for stretches of a genome, found by place (Kent and others 2010, supplement; UCSC's bbiFile.h, cirTree.h and bwgInternal.h).

Only the blocks that touch a stretch are read. The libraries of the field end the process on some damaged files, so this is read here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError
from healthfm.formats.mapped import Mapped
from healthfm.formats.source import Source

MAGIC, NAMES, PLACES = 0x888FFC26, 0x78CA8C91, 0x2468ACE0
WIDE = 1 << 32  # more than any place on a contig
LONGEST = 1 << 12  # bytes of a contig's name
SECTION = 24  # bytes above the items of a block
LARGEST = SECTION + 12 * 0xFFFF  # a block unpacked: 65,535 items at most, 12 bytes each at most
Kind = list[tuple[str, str]]
NODE: Kind = [("begin contig", "u4"), ("begin base", "u4"), ("end contig", "u4"), ("end base", "u4"), ("at", "u8")]
BLOCK: Kind = [*NODE, ("size", "u8")]
BED_GRAPH, VARIABLE, FIXED = 1, 2, 3
ITEMS: dict[int, Kind] = {
    BED_GRAPH: [("begin", "u4"), ("end", "u4"), ("value", "f4")],
    VARIABLE: [("begin", "u4"), ("value", "f4")],
    FIXED: [("value", "f4")],
}
Runs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]
NOTHING: Runs = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


class Track:
    """A track of values. ``lengths``: bases by a contig's name.

    Raises ``DatasetError``: no bigWig, packed, or its parts do not fit together.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._file = file = Mapped(source, MAGIC, "bigWig")
        _, _, names, _, self._places = file.take("2H3Q", 4)
        self._packed = file.take("I", 52)[0] > 0
        _, key, value = file.take("3I", names + 4)
        if (
            file.take("I", names)[0] != NAMES
            or file.take("I", self._places)[0] != PLACES
            or value != 8
            or key > LONGEST
        ):
            raise file.damaged()
        kinds = [("name", f"S{key}"), ("number", "u4"), ("length", "u4")], [("name", f"S{key}"), ("at", "u8")]
        self._contigs = {
            name.decode("latin-1"): (int(number), int(length))
            for items in self._leaves(names + 32, *kinds, lambda items: np.full(len(items), True))
            for name, number, length in items
        }
        self.lengths = {name: length for name, (_, length) in self._contigs.items()}

    def runs(self, contig: str, start: int, end: int) -> Runs:
        """Return where each value begins and ends, from 0 and without the end, cut to ``[start, end)``, and the values. A base in none has none.

        Raises ``DatasetError``: the track has no such contig, or is damaged there.
        """
        if contig not in self._contigs:
            raise DatasetError(f"{self.source}: the track has no contig {contig}")
        number, length = self._contigs[contig]
        start, end = max(start, 0), min(end, length)

        def touches(items: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
            low, high = (
                items[f"{name} contig"].astype(np.int64) * WIDE + items[f"{name} base"] for name in ("begin", "end")
            )
            return np.asarray((low < number * WIDE + end) & (high > number * WIDE + start))

        leaves = self._leaves(self._places + 48, BLOCK, NODE, touches) if start < end else ()
        blocks = [self._block(number, int(one["at"]), int(one["size"])) for leaf in leaves for one in leaf]
        begins, ends, values = (np.concatenate(parts) for parts in zip(NOTHING, *blocks, strict=True))
        chosen = np.argsort(begins, kind="stable")
        chosen = chosen[(ends[chosen] > start) & (begins[chosen] < end)]
        begins, ends = begins[chosen].clip(start), ends[chosen].clip(max=end)
        if np.any(begins >= ends) or np.any(begins[1:] < ends[:-1]):
            raise self._file.damaged()
        return begins, ends, values[chosen]

    def _leaves(
        self, root: int, leaf: Kind, node: Kind, wanted: Callable[[npt.NDArray[Any]], npt.NDArray[np.bool_]]
    ) -> Iterator[npt.NDArray[Any]]:
        """Yield the wanted items of a tree's leaves, a leaf at a time; nodes that are not wanted are not gone into."""
        ahead, seen = [root], set[int]()
        while ahead:
            at = ahead.pop()
            last, _, count = self._file.take("2BH", at)
            if at in seen or last > 1:
                raise self._file.damaged()
            seen.add(at)
            items = self._file.many(leaf if last else node, at + 4, count)
            items = items[wanted(items)]
            if last:
                yield items
            else:
                ahead += map(int, items["at"][::-1])

    def _block(self, number: int, at: int, size: int) -> Runs:
        """Return all values of a block, none where it is of another contig."""
        raw = self._file.bytes(at, size)
        if self._packed:
            try:
                raw = zlib.decompressobj().decompress(raw, LARGEST)
            except zlib.error:
                raise self._file.damaged() from None
        order = self._file.order
        if len(raw) < SECTION:
            raise self._file.damaged()
        contig, start, _, step, span, kind, _, count = struct.unpack(order + "5I2BH", raw[:SECTION])
        if kind not in ITEMS or len(raw) < SECTION + count * np.dtype(ITEMS[kind]).itemsize:
            raise self._file.damaged()
        items = np.frombuffer(raw, np.dtype(ITEMS[kind]).newbyteorder(order), count if contig == number else 0, SECTION)
        begins = (
            items["begin"].astype(np.int64) if kind != FIXED else start + step * np.arange(len(items), dtype=np.int64)
        )
        ends = items["end"].astype(np.int64) if kind == BED_GRAPH else begins + span
        return begins, ends, items["value"].astype(np.float32)

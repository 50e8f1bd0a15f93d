"""tabix: lines of a table by their place on a genome, from a file in bgzip's blocks and the index beside it (``.tbi``; samtools' hts-specs: tabix and SAM 4.1, 5).

The index leads to blocks that may hold such lines, and to others: the caller looks at each line.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from healthfm.errors import DatasetError
from healthfm.formats.source import DAMAGE, Source

BLOCK = 1 << 16  # bytes of a block, packed and unpacked, at most
LARGEST = 1 << 28  # bytes of an index unpacked
FARTHEST = 1 << 29  # bases that an index of this kind reaches
WINDOW = 14  # of the linear index, and of the smallest bins: 16,384 bases
LEVELS = ((1, 26), (9, 23), (73, 20), (585, 17), (4681, WINDOW))  # first bin of a level, bits of a bin's width
Chunks = list[tuple[int, int]]


def lines(source: Source, contig: str, start: int, end: int) -> Iterator[bytes]:
    """Yield the lines of the blocks that hold those of ``[start, end)`` from 0. Raises ``DatasetError``: no index, or one of them is damaged."""
    beside = Path(f"{source.path}.tbi")
    if source.member is not None or not beside.exists():
        raise DatasetError(f"{source}: lines are found by place with an index beside it ({beside.name}); there is none")
    try:
        with gzip.open(beside) as handle:
            chunks = _chunks(handle.read(LARGEST), contig, start, end)
    except (struct.error, ValueError, *DAMAGE):
        raise DatasetError(f"{beside}: not an index of tabix, or damaged") from None
    try:
        for begin, last in chunks:
            yield from _between(source.path, begin, last)
    except DAMAGE as error:
        raise DatasetError(
            f"{source}: not in bgzip's blocks, damaged, or not what its index is of ({type(error).__name__})"
        ) from None


def _chunks(raw: bytes, contig: str, start: int, end: int) -> Chunks:
    """Return from where to where to read, in order and without overlaps, none where the index has no such contig."""
    magic, count, *_, size = struct.unpack_from("<4s8i", raw)
    names = raw[36 : 36 + size].split(b"\0")[:-1]
    if magic != b"TBI\1" or len(names) != count:
        raise ValueError
    start, end = max(start, 0), min(end, FARTHEST)
    wanted = {0} | {first + n for first, bits in LEVELS for n in range(start >> bits, ((end - 1) >> bits) + 1)}
    at = 36 + size
    for name in names:
        (bins,), at = struct.unpack_from("<i", raw, at), at + 4
        found: Chunks = []
        for _ in range(bins):
            (number, several), at = struct.unpack_from("<Ii", raw, at), at + 8
            places = struct.unpack_from(f"<{2 * several}Q", raw, at)
            at += 16 * several
            if number in wanted:
                found += zip(places[::2], places[1::2], strict=True)
        (windows,), at = struct.unpack_from("<i", raw, at), at + 4
        if name == contig.encode():
            first = struct.unpack_from("<Q", raw, at + 8 * min(start >> WINDOW, windows - 1))[0] if windows else 0
            return _joined([one for one in sorted(found) if one[1] > first])
        at += 8 * windows
    return []


def _joined(chunks: Chunks) -> Chunks:
    found: Chunks = []
    for begin, last in chunks:
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((begin, last))
    return found


def _between(path: Path, begin: int, last: int) -> Iterator[bytes]:
    """Yield the lines between two virtual places: a block's own place, and 16 bits of place within it unpacked."""
    held, at, skip = b"", begin >> 16, begin & 0xFFFF
    with path.open("rb") as handle:
        while at <= last >> 16:
            handle.seek(at)
            packed, one = handle.read(BLOCK), zlib.decompressobj(31)
            block = one.decompress(packed, BLOCK + 1)
            if not packed:
                break
            if not one.eof:
                raise EOFError
            *whole, held = (held + block[skip : last & 0xFFFF if at == last >> 16 else None]).split(b"\n")
            yield from whole
            at, skip = at + len(packed) - len(one.unused_data), 0
    if held:
        yield held

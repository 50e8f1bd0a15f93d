"""Lookup tables of DICOM: modality and VOI LUTs (PS3.3 C.11.1, C.11.2) and palettes (C.7.6.3.1.5, C.7.9).

The entries are read as they lie there, and their own greatest value says how many bits they use where the descriptor says otherwise:
files whose descriptor names the bits of the container are common, and would be shown black.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue
from healthfm.formats import notices

if TYPE_CHECKING:
    from pydicom import Dataset as Header

Values = npt.NDArray[Any]
BIG_ENDIAN = "1.2.840.10008.1.2.2"
COLOURS = ("Red", "Green", "Blue")
PALETTE_BITS = (8, 12, 16)


class Lut(NamedTuple):
    """A table: the value that its first entry is for, the entries, and the bits of them that the descriptor names."""

    first: int
    entries: Values
    bits: int

    def __call__(self, values: Values) -> Values:
        """Return the entries of values; those below and above the table have its first and last."""
        whole = values if values.dtype.kind in "iu" else np.rint(np.nan_to_num(values, nan=self.first))
        at = np.clip(whole, self.first, self.first + len(self.entries) - 1) - self.first
        found: Values = self.entries[at.astype(np.int64)]
        return found


def table(descriptor: Any, data: Any, signed: bool, big_endian: bool) -> Lut:
    """Return a table. ``signed``: what goes in may be below zero, so that its first value is read as signed. ``data`` None: zeros.

    Raises ``BadValue``: a descriptor of other than three numbers, or other than as many entries as it says.
    """
    try:
        count, first, bits = (int(one) for one in descriptor)
    except (TypeError, ValueError):
        raise BadValue("a lookup table whose descriptor is not three numbers") from None
    count, first = count & 0xFFFF or 65536, first & 0xFFFF
    if signed and first > 0x7FFF:
        first -= 0x10000
    entries = np.zeros(count, np.uint16) if data is None else _entries(data, count, bits, big_endian)
    if entries is None:
        raise BadValue("a lookup table that does not hold the entries its descriptor says")
    return Lut(first, entries, bits)


def _entries(data: Any, count: int, bits: int, big_endian: bool) -> Values | None:
    """Return the entries, of one byte or two (whatever the bits), or None where their number is wrong."""
    if isinstance(data, bytes | bytearray | memoryview):
        if len(data) % 2:
            return np.frombuffer(data, np.uint8) if bits <= 8 and len(data) == count else None
        words = np.frombuffer(data, ">u2" if big_endian else "<u2").astype("<u2")
    else:
        numbers = np.atleast_1d(np.asarray(data, np.int64))
        if len(numbers) == count and numbers.min() < 0:
            return numbers.astype(np.int32)
        words = (numbers & 0xFFFF).astype("<u2")
    if len(words) == count:
        return words
    packed = words.view(np.uint8)  # two entries a word, the first in its lower byte
    return packed[:count] if bits <= 8 and len(packed) - count in (0, 1) else None


def modality(data: Header, stored: Values) -> Values:
    """Return stored values through the data set's modality LUT."""
    item = data.ModalityLUTSequence[0]
    found = table(item.get("LUTDescriptor"), item.get("LUTData"), _signed(data), _big_endian(data))
    if len(data.ModalityLUTSequence) > 1:
        notices.say("the file holds several modality LUTs: the first is used")
    return found(stored)


def voi(group: Header, data: Header, levels: Values, signed: bool) -> tuple[Values, int]:
    """Return values through the first VOI LUT of a group, and the greatest value that stands for white.

    That is the range of the bits that its entries use; where the descriptor says otherwise, a notice tells.
    """
    item = group.VOILUTSequence[0]
    found = table(item.get("LUTDescriptor"), item.get("LUTData"), signed, _big_endian(data))
    if found.entries.dtype.kind == "i":
        raise BadValue("a VOI LUT with entries below zero")
    own = max(int(found.entries.max()).bit_length(), 1)
    if own != found.bits:
        notices.say("the bits of a VOI LUT's entries are not those of its descriptor: white is the range of their own")
    return found(levels), (1 << own) - 1


def has_palette(data: Header) -> bool:
    """Whether a data set holds a palette."""
    return "RedPaletteColorLookupTableDescriptor" in data


def palette(data: Header) -> tuple[int, Values]:
    """Return the first value mapped and the colours, uint8 [entries, 3], by the upper 8 of the bits that they use."""
    if "SegmentedRedPaletteColorLookupTableData" in data:
        tables = [_segmented(data, one) for one in COLOURS]
    else:
        tables = [
            table(data.get(f"{one}PaletteColorLookupTableDescriptor"), data.get(f"{one}PaletteColorLookupTableData"), _signed(data), _big_endian(data))
            for one in COLOURS
        ]  # fmt: skip
    if len({(one.first, len(one.entries)) for one in tables}) > 1:
        raise BadValue("a palette whose colours have different ranges")
    greatest = max(int(one.entries.max()) for one in tables)
    own = next(bits for bits in PALETTE_BITS if greatest < 1 << bits)
    if own != tables[0].bits:
        notices.say("the bits of a palette's entries are not those of its descriptor: read by their own")
    colours = np.stack([one.entries.astype(np.uint16) >> (own - 8) for one in tables], axis=-1)
    return tables[0].first, colours.astype(np.uint8)


def _segmented(data: Header, colour: str) -> Lut:
    """Expand a palette of segments."""
    head = table(data.get(f"{colour}PaletteColorLookupTableDescriptor"), None, _signed(data), False)
    raw = data.get(f"Segmented{colour}PaletteColorLookupTableData") or b""
    words = np.frombuffer(raw, np.uint8 if head.bits <= 8 else ">u2" if _big_endian(data) else "<u2").tolist()
    entries = _expanded(words, 0, None, head.bits <= 8, [])[: len(head.entries)]
    if len(entries) < len(head.entries):
        raise BadValue("a segmented palette that does not hold the entries its descriptor says")
    return head._replace(entries=np.array(entries, np.uint16))


def _expanded(words: list[int], at: int, segments: int | None, narrow: bool, out: list[int]) -> list[int]:
    """Add the entries of segments from ``at`` on: discrete, linear from the entry before, or a copy of others (PS3.3 C.7.9.2)."""
    copying = segments is not None
    while at + 1 < len(words) and (segments is None or segments > 0) and len(out) <= 65536:
        kind, length = words[at], words[at + 1]
        if kind == 0:
            out += words[at + 2 : at + 2 + length]
            at += 2 + length
        elif kind == 1 and out:
            before, last = out[-1], words[at + 2]
            out += [round(before + (last - before) * i / length) for i in range(1, length + 1)]
            at += 3
        elif kind == 2 and not copying:
            size, count = (8, 4) if narrow else (16, 2)
            offset = sum(one << size * i for i, one in enumerate(words[at + 2 : at + 2 + count]))
            _expanded(words, offset // (1 if narrow else 2), length, narrow, out)
            at += 2 + count
        else:
            raise BadValue("a segmented palette whose segments are damaged")
        segments = None if segments is None else segments - 1
    return out


def _signed(data: Header) -> bool:
    return bool(data.get("PixelRepresentation", 0))


def _big_endian(data: Header) -> bool:
    return str(data.file_meta.TransferSyntaxUID) == BIG_ENDIAN

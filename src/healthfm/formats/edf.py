"""EDF and EDF+ (European Data Format; Kemp 1992 and 2003): a header of fixed fields in ASCII, then records of 16-bit samples, a stretch a channel."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError
from healthfm.formats.source import DAMAGE, Source

FIXED = 256  # bytes of the header's first part, and of what it says of each channel
FIELDS = (
    16,
    80,
    8,
    8,
    8,
    8,
    8,
    80,
    8,
    32,
)  # bytes a channel: name, sensor, unit, range in units, range in numbers, filters, samples a record
ANNOTATIONS = "EDF Annotations"
HELD = 1 << 22  # bytes of samples that are taken at a time
UNKNOWN = -1  # records, while a recording still runs


@dataclass(frozen=True)
class Channel:
    """What a header says of a channel: units are ``scale`` times a stored number and ``offset``; ``first`` of its numbers in a record of samples."""

    name: str
    unit: str
    rate: float
    scale: float
    offset: float
    first: int
    count: int


@dataclass(frozen=True)
class Header:
    """What a file says of itself; annotations are no channels. ``seconds`` a record, ``size`` numbers in one, ``begin`` of the first in bytes."""

    channels: tuple[Channel, ...]
    records: int
    seconds: float
    size: int
    begin: int


def header(source: Source) -> Header:
    """Return what an EDF file says of itself. Raises ``DatasetError``: not one, interrupted (EDF+D), or its samples are not as many as it says."""
    try:
        with source.open() as handle:
            head = handle.read(FIXED)
            count = _number(source, head[252:256])
            rest = handle.read(FIXED * count) if 0 < count < 1 << 14 else b""
            held = (
                sum(len(block) for block in iter(lambda: handle.read(HELD), b""))
                if source.member or source.name != source.path.name
                else -1
            )
    except DAMAGE as error:
        raise DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})") from None
    if head[:8].strip() != b"0" or not rest or len(rest) != FIXED * count:
        raise DatasetError(f"{source}: not EDF: no whole header in it")
    if head[192:197] == b"EDF+D":
        raise DatasetError(f"{source}: EDF+D: a recording with gaps, which is not read")
    records, seconds, begin = _number(source, head[236:244]), _real(source, head[244:252]), FIXED * (count + 1)
    places = np.cumsum([0, *FIELDS]) * count
    cells = [
        [
            rest[start + n * width : start + (n + 1) * width]
            for start, width in zip(places.tolist(), FIELDS, strict=False)
        ]
        for n in range(count)
    ]
    channels, size = [], 0
    for name, _, unit, low, high, least, most, _, samples, _ in cells:
        taken = _number(source, samples)
        ends, numbers = (_real(source, low), _real(source, high)), (_real(source, least), _real(source, most))
        if taken < 1 or numbers[0] >= numbers[1] or ends[0] == ends[1]:
            raise DatasetError(f"{source}: a channel without samples or range")
        scale = (ends[1] - ends[0]) / (numbers[1] - numbers[0])
        label = name.decode("latin-1").strip()
        if label != ANNOTATIONS:
            channels.append(
                Channel(
                    label,
                    unit.decode("latin-1").strip(),
                    taken / seconds if seconds else math.nan,
                    scale,
                    ends[0] - numbers[0] * scale,
                    size,
                    taken,
                )
            )
        size += taken
    held = source.path.stat().st_size - begin if held < 0 else held
    records = held // (2 * size) if records == UNKNOWN else records
    if records < 0 or held != 2 * size * records:
        raise DatasetError(
            f"{source}: {held // (2 * size)} whole records of samples are in it, its header says {records}"
        )
    return Header(tuple(channels), records, seconds, size, begin)


def samples(source: Source, names: tuple[str, ...] | None = None) -> npt.NDArray[np.float32]:
    """Return the samples of channels in the units they state: float32 [channels, n]; all channels that are no annotations, or those named.

    Raises ``DatasetError``: no such channel, or they have several rates.
    """
    said = header(source)
    asked = {one.name: one for one in said.channels}
    if lacking := set(names or ()) - set(asked):
        raise DatasetError(f"{source}: no channel {', '.join(sorted(lacking))} (it has: {', '.join(asked)})")
    chosen = [asked[name] for name in names] if names is not None else list(said.channels)
    if len({one.count for one in chosen}) != 1:
        rates = ", ".join(f"{one.name} {one.rate:g} Hz" for one in chosen)
        raise DatasetError(
            f"{source}: channels of several rates; name those of one ({rates})"
            if chosen
            else f"{source}: no channel is in it"
        )
    each, at, step = chosen[0].count, 0, max(1, HELD // (2 * said.size))
    found = np.empty((len(chosen), said.records, each), np.float32)
    try:
        with source.open() as handle:
            handle.seek(said.begin)
            while block := handle.read(2 * said.size * step):
                taken = np.frombuffer(block, "<i2").reshape(-1, said.size)
                for row, one in enumerate(chosen):
                    place = found[row, at : at + len(taken)]
                    np.multiply(taken[:, one.first : one.first + each], np.float32(one.scale), out=place)
                    place += np.float32(one.offset)
                at += len(taken)
    except (ValueError, *DAMAGE) as error:
        raise DatasetError(f"{source}: its samples cannot be read ({type(error).__name__})") from None
    return found.reshape(len(chosen), -1)


def _number(source: Source, cell: bytes) -> int:
    if not re.fullmatch(rb"-?\d+", cell.strip()):
        raise DatasetError(f"{source}: not EDF: a number in its header is none")
    return int(cell)


def _real(source: Source, cell: bytes) -> float:
    try:
        found = float(cell)
    except ValueError:
        raise DatasetError(f"{source}: not EDF: a number in its header is none") from None
    if not math.isfinite(found):
        raise DatasetError(f"{source}: not EDF: a number in its header is none")
    return found

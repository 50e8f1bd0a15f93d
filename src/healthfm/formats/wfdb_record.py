"""Recordings of PhysioNet's WFDB format (its header(5) and signal(5) pages): a text header beside files of samples.

The plain kind, one file of 16-bit samples that all begin together (PTB-XL's and most of PhysioNet's), is read here; every other by the wfdb package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError, MissingExtra
from healthfm.formats.source import Source

RECORD = re.compile(
    r"\S+ +(\d+) +(\d+(?:\.\d+)?) +(\d+)(?: +[\d:.]+(?: +[\d/]+)?)? *"
)  # channels, rate, samples a channel
SIGNAL = re.compile(  # file, bytes before it, gain, baseline, units, zero of the converter, name
    r"([\w.-]+) +16(?:\+(\d+))? +(\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?:\((-?\d+)\))?(?:/(\S+))?(?: +\d+(?: +(-?\d+)(?: +-?\d+ +-?\d+ +\d+ +(\S[^\n]*?))?)?)? *"
)
INVALID = -32768
DEFAULT_GAIN = 200.0


@dataclass(frozen=True)
class Header:
    """What a header says: samples a second, samples a channel, the channels' names and units."""

    rate: float
    length: int | None
    channels: tuple[str, ...]
    units: tuple[str, ...]


def _wfdb() -> Any:
    try:
        import wfdb
    except ImportError:
        raise MissingExtra("bio", "wfdb") from None
    return wfdb


@dataclass(frozen=True)
class _Plain:
    """A header of the plain kind: what it says, the file of samples, and what makes units of them."""

    header: Header
    file: Path
    offset: int
    gain: npt.NDArray[np.float64]
    baseline: npt.NDArray[np.float64]


def _plain(source: Source) -> _Plain | None:
    """Return a header of the plain kind; None where it is any other."""
    _stem(source)
    try:
        written = source.path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    lines = [line for line in written if line.strip() and not line.startswith("#")]
    record = RECORD.fullmatch(lines[0]) if lines else None
    signals = [SIGNAL.fullmatch(line) for line in lines[1:]]
    if record is None or int(record[1]) != len(signals) or not signals or not float(record[2]) or not int(record[3]):
        return None
    found = [one.groups() for one in signals if one is not None and one[7]]
    if len(found) != len(signals) or len({one[:2] for one in found}) > 1:
        return None
    file, offset, *_ = found[0]
    header = Header(
        float(record[2]), int(record[3]), tuple(one[6] for one in found), tuple(one[4] or "mV" for one in found)
    )
    gain = np.array([float(one[2]) or DEFAULT_GAIN for one in found])
    return _Plain(
        header,
        source.path.parent / file,
        int(offset or 0),
        gain,
        np.array([float(one[3] or one[5] or 0) for one in found]),
    )


def header(source: Source) -> Header:
    """Return what a ``.hea`` file says. Raises ``DatasetError``: packed (unpack it first), or not a header that can be read."""
    if plain := _plain(source):
        return plain.header
    try:
        found = _wfdb().rdheader(_stem(source))
    except DatasetError:
        raise
    except Exception as error:  # whatever its parser stumbles over
        raise DatasetError(f"{source}: not a WFDB header that can be read ({type(error).__name__})") from None
    names = found.sig_name or []
    if not names or not found.fs:
        raise DatasetError(f"{source}: a WFDB header without channels or rate")
    return Header(float(found.fs), found.sig_len, tuple(names), tuple(found.units or ()))


def samples(source: Source) -> npt.NDArray[np.float32]:
    """Return the samples beside a ``.hea`` file in the units it states: float32 [channels, n], NaN where a sample is invalid.

    Raises ``DatasetError``: the file of samples is absent, or shorter than the header says.
    """
    plain = _plain(source)
    return _of_others(source) if plain is None else _of_plain(source, plain)


def _of_plain(source: Source, plain: _Plain) -> npt.NDArray[np.float32]:
    length, width = plain.header.length or 0, len(plain.header.channels)
    try:
        raw = np.fromfile(plain.file, "<i2", length * width, offset=plain.offset)
    except OSError as error:
        raise DatasetError(
            f"{source}: its samples cannot be read: absent, or shorter than the header says ({type(error).__name__})"
        ) from None
    if len(raw) != length * width:
        raise DatasetError(
            f"{source}: its samples are shorter than the header says ({len(raw) // width}, not {length})"
        )
    stored = raw.reshape(length, width).T
    found = np.empty((width, length), np.float32)
    for channel, (gain, baseline) in enumerate(zip(plain.gain.tolist(), plain.baseline.tolist(), strict=True)):
        np.divide(np.subtract(stored[channel], np.float32(baseline), dtype=np.float32), gain, out=found[channel])
    found[stored == INVALID] = np.nan
    return found


def _of_others(source: Source) -> npt.NDArray[np.float32]:
    said = header(source)
    try:
        found = _wfdb().rdrecord(_stem(source), physical=True, return_res=32).p_signal
    except Exception as error:
        raise DatasetError(
            f"{source}: its samples cannot be read: absent, or shorter than the header says ({type(error).__name__})"
        ) from None
    if found is None or found.shape[1] != len(said.channels) or (said.length is not None and len(found) != said.length):
        raise DatasetError(
            f"{source}: {0 if found is None else len(found)} samples were read, the header says {said.length}"
        )
    return np.ascontiguousarray(found.T, np.float32)


def _stem(source: Source) -> str:
    if source.member is not None or not source.name.endswith(".hea"):
        raise DatasetError(f"{source}: WFDB is read from files of its own; unpack them first")
    return str(Path(source.path).with_suffix(""))

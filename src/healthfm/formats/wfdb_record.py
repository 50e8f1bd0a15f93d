"""Recordings of PhysioNet's WFDB format: a text header beside files of samples, read by the wfdb package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError, MissingExtra
from healthfm.formats.source import Source


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


def header(source: Source) -> Header:
    """Return what a ``.hea`` file says. Raises ``DatasetError``: packed (unpack it first), or not a header that can be read."""
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

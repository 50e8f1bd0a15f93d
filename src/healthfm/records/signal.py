"""Records of signals: what electrodes and sensors measured over time. They are lazy: reading records never decodes samples."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError
from healthfm.records.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal(Record):
    """A recording. ``samples`` decodes on demand: float32 [channels, n], ``rate`` of them a second (Hz).

    ``channels`` are the names of the rows, in their order.
    """

    noun: ClassVar[str] = "signal"

    load: Callable[[], npt.NDArray[np.float32]]
    rate: float
    channels: tuple[str, ...]

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise BadValue("the rate is no number of samples a second above 0")

    @property
    def samples(self) -> npt.NDArray[np.float32]:
        """Decode and return the samples. Raises ``DatasetError``: not float32 [channels, n]."""
        found = self.load()
        if found.dtype != np.float32 or found.ndim != 2 or len(found) != len(self.channels):
            raise DatasetError(
                f"{self.id}: samples are {found.dtype} {list(found.shape)}, not float32 [{len(self.channels)} channels, n]"
            )
        return found

    def decoded(self) -> Self:
        """Return the record with its samples in memory."""
        found = self.samples
        return replace(self, load=lambda: found)

    def digest(self) -> str:
        """Return a short, stable fingerprint of the samples, which are decoded for it, their rate and channels."""
        found = self.samples
        about = f"{self.rate} {self.channels} {found.shape} "
        return hashlib.sha256(about.encode() + np.ascontiguousarray(found).tobytes()).hexdigest()[:16]

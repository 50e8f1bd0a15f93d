"""Video to frames, one at a time, through PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError, MissingExtra
from healthfm.formats.source import Source

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")


class Track(NamedTuple):
    """What the container says of its first picture track; ``length`` is None where only decoding would tell."""

    rate: float
    length: int | None
    size: tuple[int, int]


@contextmanager
def _opened(source: Source) -> Iterator[Any]:
    try:
        import av
    except ImportError:
        raise MissingExtra("video", "PyAV") from None
    try:
        with source.open() as handle, av.open(handle) as container:
            if not container.streams.video:
                raise DatasetError(f"{source}: a file without a picture track")
            yield container
    except (av.FFmpegError, ValueError, EOFError) as error:
        raise DatasetError(f"{source}: not a readable video, or cut short ({type(error).__name__})") from None


def track(source: Source) -> Track:
    """Return frames a second, number of frames, and (height, width), without decoding."""
    with _opened(source) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate or 0
        return Track(float(rate), stream.frames or None, (stream.height, stream.width))


def aspect(source: Source) -> float:
    """Return the height of a pixel over its width, which is not 1 in films of analogue cameras, without decoding."""
    with _opened(source) as container:
        wide = float(container.streams.video[0].sample_aspect_ratio or 1)
    return 1 / wide if wide > 0 else 1.0


def frames(source: Source) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the frames in the order they are shown, RGB uint8 [height, width, 3]; memory holds one at a time."""
    with _opened(source) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")

"""Video to frames, one at a time, through PyAV; turned and mirrored as the film's display matrix says, as players show it."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError, MissingExtra
from healthfm.formats.source import Source

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
NEAR = 0.5  # seconds ahead up to which frames are decoded on, where a jump would decode as many again
ASKEW = 0.01  # share of a matrix' turn that may lie off the axes: phones round


class Track(NamedTuple):
    """What a film's first picture track is, as it is shown; ``length`` is None where only decoding would tell."""

    rate: float
    length: int | None
    size: tuple[int, int]


class Turn(NamedTuple):
    """How decoded frames become upright: axes swapped, then rows and columns reversed."""

    swapped: bool = False
    rows: bool = False
    columns: bool = False


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
    except (DatasetError, MissingExtra):
        raise
    except BadValue as error:
        raise DatasetError(f"{source}: {error}") from None
    except Exception as error:  # what a decoder throws at damage is not foreseeable
        raise DatasetError(f"{source}: not a readable video, or cut short ({type(error).__name__})") from None


def track(source: Source) -> Track:
    """Return frames a second, number of frames, and (height, width) as shown; one frame at most is decoded."""
    with _opened(source) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate or 0
        size = (stream.height, stream.width)
        length = stream.frames or None
        return Track(float(rate), length, size[::-1] if _first_turn(container).swapped else size)


def aspect(source: Source) -> float:
    """Return the height of a pixel over its width as shown, which is not 1 in films of analogue cameras; one frame is decoded."""
    with _opened(source) as container:
        wide = float(container.streams.video[0].sample_aspect_ratio or 1)
        if wide <= 0:
            return 1.0
        return wide if _first_turn(container).swapped else 1 / wide


def frames(source: Source) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the frames in the order they are shown, upright, RGB uint8 [height, width, 3]; memory holds one at a time."""
    with _opened(source) as container:
        for frame in container.decode(video=0):
            yield _upright(frame.to_ndarray(format="rgb24"), _turn(frame))


def moments(source: Source, seconds: Sequence[float]) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the frame that is shown at each time from the film's begin, upright, RGB uint8 [height, width, 3]. Ascending times are the cheapest.

    Raises ``DatasetError``: the film ends before a time, or begins after it.
    """
    with _opened(source) as container:
        stream = container.streams.video[0]
        begin, base = stream.start_time or 0, float(stream.time_base)
        decoded: Iterator[Any] = iter(())
        shown: Any = None
        ahead: Any = None  # the first frame after what is shown
        for when in seconds:
            target = begin + when / base
            if shown is None or target < shown.pts or (target - shown.pts) * base > NEAR:
                container.seek(max(int(target), 0), stream=stream)
                decoded = container.decode(stream)
                shown = ahead = None
            while shown is None or (ahead is not None and ahead.pts <= target):
                shown, ahead = ahead, next(decoded, None)
                if shown is None and ahead is None:
                    break
            if shown is None or not shown.pts <= target < (
                ahead.pts if ahead is not None else shown.pts + _length(shown)
            ):
                raise BadValue(f"no frame is shown at {when:g} seconds")
            yield _upright(shown.to_ndarray(format="rgb24"), _turn(shown))


def _length(frame: Any) -> float:
    """Return how long a film's last frame is shown, in units of its clock; a film that does not say shows it for ever."""
    return float(frame.duration or math.inf)


def _first_turn(container: Any) -> Turn:
    for frame in container.decode(video=0):
        return _turn(frame)
    return Turn()


def _turn(frame: Any) -> Turn:
    """Read a frame's display matrix: x becomes a x + c y, y becomes b x + d y (ISO/IEC 14496-12 section 6.2.2, 16.16 numbers).

    Raises ``BadValue`` for a turn that is no quarter.
    """
    found = next((bytes(one) for one in frame.side_data if one.type.name == "DISPLAYMATRIX"), None)
    if found is None:
        return Turn()
    a, b, _, c, d, *_ = struct.unpack("=9i", found[:36])
    straight, crossed = min(abs(a), abs(d)), min(abs(b), abs(c))
    if max(abs(b), abs(c)) <= ASKEW * straight:
        return Turn(False, d < 0, a < 0)
    if max(abs(a), abs(d)) <= ASKEW * crossed:
        return Turn(True, b < 0, c < 0)
    raise BadValue("its display matrix turns it by an angle that is no quarter turn")


def _upright(picture: npt.NDArray[np.uint8], turn: Turn) -> npt.NDArray[np.uint8]:
    if turn.swapped:
        picture = picture.swapaxes(0, 1)
    if turn.rows:
        picture = picture[::-1]
    if turn.columns:
        picture = picture[:, ::-1]
    return np.ascontiguousarray(picture)

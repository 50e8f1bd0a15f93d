"""Video: frames one at a time, in the order they are shown."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from healthfm.errors import DatasetError
from healthfm.formats import video
from healthfm.formats.source import Source

av = pytest.importorskip("av")
FRAMES = [np.full((48, 64, 3), 20 * n, np.uint8) for n in range(10)]


def film(path: Path, codec: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0" if codec == "ffv1" else "yuv420p"
        for frame in FRAMES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    return path


def test_frames_of_a_lossless_film_come_back_one_after_another(tmp_path: Path) -> None:
    frames = video.frames(Source(film(tmp_path / "a.mkv", "ffv1")))
    assert iter(frames) is frames
    for found, expected in zip(frames, FRAMES, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("codec", ["ffv1", "mpeg4"])
def test_the_frame_of_a_moment_is_the_one_that_is_shown_then(tmp_path: Path, codec: str) -> None:
    """Five frames a second: frame n is shown from n / 5 seconds on; in any order of asking, from key frames or not."""
    source = Source(film(tmp_path / "a.mkv", codec))
    every = list(video.frames(source))
    asked = [0.0, 0.1, 0.21, 0.3995, 1.85, 1.99, 0.41, 0.2, 1.0, 1.0, 1.7]
    for found, when in zip(video.moments(source, asked), asked, strict=True):
        np.testing.assert_array_equal(found, every[int(when * 5 + 1e-6)])
    for beyond in (2.3, -0.1):
        with pytest.raises(DatasetError, match=f"no frame is shown at {beyond:g} seconds"):
            list(video.moments(source, [0.3, beyond]))


def test_rate_length_and_size_are_told_without_decoding(tmp_path: Path) -> None:
    track = video.track(Source(film(tmp_path / "a.mp4", "mpeg4")))
    assert track == (5.0, 10, (48, 64))


def test_what_is_no_film_is_an_error(tmp_path: Path) -> None:
    whole = film(tmp_path / "a.mp4", "mpeg4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[:100])
    (tmp_path / "c.mp4").write_text("no film")
    for name in ("b.mp4", "c.mp4"):
        with pytest.raises(DatasetError, match=rf"{name}: not a readable video"):
            video.track(Source(tmp_path / name))


# Turned films ---------------------------------------------------------------------------------------------------------------

ONE = 1 << 16
TURNS = {  # matrices a b / c d, and what becomes of a frame
    "none": ((1, 0, 0, 1), lambda f: f), "mirrored": ((-1, 0, 0, 1), lambda f: f[:, ::-1]), "upside down": ((1, 0, 0, -1), lambda f: f[::-1]),
    "half": ((-1, 0, 0, -1), lambda f: f[::-1, ::-1]), "clockwise": ((0, 1, -1, 0), lambda f: np.rot90(f, -1)),
    "counter-clockwise": ((0, -1, 1, 0), np.rot90), "transposed": ((0, 1, 1, 0), lambda f: f.swapaxes(0, 1)),
    "both": ((0, -1, -1, 0), lambda f: np.rot90(f, 2).swapaxes(0, 1)),
}  # fmt: skip


def corners(path: Path, ratio: Fraction | None = None) -> Path:
    """Write a film whose four quarters differ."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:], picture[24:, :32] = 250, 160, 80
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 10**7
        if ratio is not None:
            stream.codec_context.sample_aspect_ratio = ratio
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return path


def turned(path: Path, matrix: tuple[float, ...]) -> Path:
    """Change the display matrix of a film in place (ISO/IEC 14496-12, box tkhd)."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (int(one * ONE) for one in matrix)
    at = data.find(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("turn", TURNS)
def test_a_film_is_shown_as_its_display_matrix_says(tmp_path: Path, turn: str) -> None:
    matrix, expected = TURNS[turn]
    plain = list(video.frames(Source(corners(tmp_path / "a.mp4"))))
    source = Source(turned(corners(tmp_path / "b.mp4"), matrix))
    found = list(video.frames(source))
    assert len(found) == 3
    for one, other in zip(found, plain, strict=True):
        np.testing.assert_array_equal(one, expected(other))
    assert video.track(source).size == found[0].shape[:2]


def test_a_film_at_an_angle_is_refused(tmp_path: Path) -> None:
    source = Source(turned(corners(tmp_path / "a.mp4"), (0.7, 0.7, -0.7, 0.7)))
    for read in (lambda: next(video.frames(source)), lambda: video.track(source)):
        with pytest.raises(DatasetError, match="an angle that is no quarter turn"):
            read()


def test_the_shape_of_a_pixel_turns_with_the_film(tmp_path: Path) -> None:
    wide = corners(tmp_path / "a.mp4", Fraction(2, 1))
    assert video.aspect(Source(wide)) == 0.5
    assert video.aspect(Source(turned(wide, (0, 1, -1, 0)))) == 2
    assert video.aspect(Source(corners(tmp_path / "b.mp4"))) == 1

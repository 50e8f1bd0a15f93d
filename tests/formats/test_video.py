"""Video: frames one at a time, in the order they are shown."""

from __future__ import annotations

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

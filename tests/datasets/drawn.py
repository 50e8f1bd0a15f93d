"""Small pictures that tests write into miniatures of official trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (6, 5), colour: bool = False) -> npt.NDArray[Any]:
    """Write a picture of 8 bits [height, width] or in colour, in the format of its name; return its pixels (JPEG keeps them roughly)."""
    shape = (*size, 3) if colour else size
    return put(path, np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def put(path: Path, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Write pixels of 8 or 16 bits and return them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def text(path: Path, *lines: str) -> None:
    """Write lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def film(path: Path, frames: int) -> None:
    """Write a film of 16 x 16 pixels whose frames grow brighter."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg" if path.suffix == ".avi" else "mpeg4", rate=50)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuvj420p" if path.suffix == ".avi" else "yuv420p"
        for number in range(frames):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.full((16, 16, 3), 20 * number, np.uint8), "rgb24"))
            )
        container.mux(stream.encode())

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

"""A small tower, and folders of pictures and slides made in code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from healthfm import load_model
from healthfm.models.vision.vision_model import VisionModel

NORMAL = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
SMALL = {
    "embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32,
    "transform": {"resize": 32, "crop": 32, "micrometres_per_pixel": (0.5,), **NORMAL},
}  # fmt: skip


def small(**config: Any) -> VisionModel:
    """A Vision Transformer of width 32 for 32 x 32 pixels, whose weights a user gave (vectors of random ones are not shared)."""
    numbers = {**SMALL, **config}
    weights = load_model("uni", "random", config=numbers, device="cpu").network.state_dict()
    return load_model("uni", weights, config=numbers, device="cpu")  # type: ignore[return-value]


@pytest.fixture(scope="session")
def tower() -> VisionModel:
    return small()


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes ``count`` JPEGs of 40 x 36 pixels into a folder."""

    def write(count: int, name: str = "photos", seed: int = 0) -> Path:
        folder, rng = tmp_path / name, np.random.default_rng(seed)
        folder.mkdir()
        for i in range(count):
            PIL.Image.fromarray(rng.integers(0, 255, (36, 40, 3), dtype=np.uint8)).save(folder / f"{i:03}.jpg")
        return folder

    return write


@pytest.fixture
def slide(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a pyramidal TIFF of ``side`` pixels at 0.5 micrometres, its left half stained."""

    def write(side: int = 512, name: str = "slide.tif", resolution: float | None = 0.5) -> Path:
        tifffile = pytest.importorskip("tifffile")
        rng = np.random.default_rng(1)
        pixels = (rng.integers(0, 60, (side, side, 3)) + np.array([150, 30, 140])).astype(np.uint8)
        pixels[:, side // 2 :] = 245
        how = {"tile": (128, 128), "photometric": "rgb", "compression": "jpeg"}
        if resolution is not None:
            how |= {"resolution": (1e4 / resolution, 1e4 / resolution), "resolutionunit": "CENTIMETER"}
        with tifffile.TiffWriter(tmp_path / name) as file:
            file.write(pixels, **how)
            file.write(np.ascontiguousarray(pixels[::4, ::4]), **{**how, "subfiletype": 1})
        return tmp_path / name

    return write

"""Pictures for comparing transforms, made by code: their shapes, modes and depths are those that real ones come in."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

sys.path.insert(0, str(Path(__file__).parent))
from recipe_weights import recipe_image

PICTURES = (
    ("RGB", 256, 256), ("RGB", 224, 224), ("RGB", 300, 217), ("RGB", 217, 300), ("RGB", 37, 61), ("RGB", 512, 333), ("RGB", 1, 1),
    ("RGB", 449, 1024), ("L", 240, 256), ("L", 99, 100), ("RGBA", 256, 200), ("RGBA", 230, 231), ("P", 128, 250), ("1", 225, 226),
    ("LA", 70, 90), ("CMYK", 96, 128), ("RGB", 231, 230), ("RGB", 448, 448), ("RGB", 223, 225), ("RGB", 255, 1000), ("YCbCr", 120, 80),
)  # fmt: skip


def picture(one: tuple[str, int, int]) -> PIL.Image.Image:
    """Return a picture of this mode, height and width; where there is transparency it varies."""
    mode, height, width = one
    made = PIL.Image.fromarray(recipe_image(f"{mode} {height} {width}", max(height, 2), max(width, 2))).crop(
        (0, 0, width, height)
    )
    if mode in ("RGBA", "LA"):
        alpha = PIL.Image.fromarray(recipe_image(f"alpha {height} {width}", height, width)[..., 0])
        made = made.convert(mode)
        made.putalpha(alpha)
        return made
    return made.convert(mode)


def values(pixels: Any) -> dict[str, Any]:
    """Return the shape, digest and a few numbers of float32 pixels [3, height, width]."""
    array = np.ascontiguousarray(pixels, np.float32)
    return {
        "shape": list(array.shape), "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        "values": np.round(array.ravel()[:: 1 + array.size // 20].astype(np.float64), 6).tolist(),
    }  # fmt: skip

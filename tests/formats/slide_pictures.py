"""Pictures of slides made from the real one: its stain faded or changed, blurred, with lines of pens drawn on it, in a black frame."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from healthfm.formats.slide.pyramid import SlideFile
from tests.real_files import SLIDE

GLASS = 243
PENS = {
    "black": (20, 20, 24), "blue": (30, 60, 180), "pure blue": (0, 0, 255), "navy": (0, 0, 80), "green": (20, 140, 60),
    "pure green": (0, 255, 0), "red": (200, 30, 40), "pure red": (255, 0, 0), "orange": (255, 140, 0), "purple": (110, 20, 140),
    "brown": (110, 60, 20), "pencil": (110, 110, 112),
}  # fmt: skip
HE = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.0, 0.0, 0.0]])
DAB = np.array([0.268, 0.570, 0.776])  # Ruifrok and Johnston, Anal. Quant. Cytol. Histol. 23 (2001) 291
HE[2] = np.cross(HE[0], HE[1])


def on_glass() -> np.ndarray:
    """The real slide at two micrometres a pixel, with empty glass around it."""
    with SlideFile(SLIDE) as slide:
        pixels = np.asarray(Image.fromarray(slide.read(0, 0, 0, *slide.size)).reduce(4))
    high, wide = pixels.shape[:2]
    out = np.random.default_rng(0).normal(GLASS, 1, (high + 200, wide + 400, 3)).clip(0, 255).astype(np.uint8)
    out[100 : 100 + high, 200 : 200 + wide] = pixels
    return out


def framed(picture: np.ndarray) -> np.ndarray:
    """The slide in a scanner's black frame."""
    out = picture.copy()
    out[:62], out[:, :75] = 3, 3
    return out


def density(picture: np.ndarray) -> np.ndarray:
    """Optical density against white glass."""
    return -np.log10((np.minimum(picture, GLASS) + 1.0) / (GLASS + 1.0))


def shown(dense: np.ndarray) -> np.ndarray:
    """The picture of an optical density."""
    return np.rint((GLASS + 1.0) * 10**-dense - 1).clip(0, 255).astype(np.uint8)


def faded(picture: np.ndarray, share: float) -> np.ndarray:
    """The same slide with so much of its stain."""
    return shown(density(picture) * share)


def immuno(picture: np.ndarray, brown: float = 1.0) -> np.ndarray:
    """The same slide by immunohistochemistry: what was eosin is DAB, as far as ``brown`` says; haematoxylin stays."""
    parts = density(picture) @ np.linalg.inv(HE / np.linalg.norm(HE, axis=1, keepdims=True))
    return shown(parts[..., :1].clip(0) * HE[0] + parts[..., 1:2].clip(0) * brown * DAB)


def blurred(picture: np.ndarray, pixels: float) -> np.ndarray:
    """The same slide out of focus."""
    return np.stack([gaussian_filter(picture[..., i].astype(float), pixels) for i in range(3)], 2).astype(np.uint8)


def drawn(picture: np.ndarray, pen: str, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture with a stroke across it and one along its right edge, and where they are."""
    mask = Image.new("L", (picture.shape[1], picture.shape[0]))
    high, wide = picture.shape[:2]
    draw = ImageDraw.Draw(mask)
    draw.line([(0, high // 5), (wide, high // 2), (wide * 3 // 4, high)], 255, width, joint="curve")
    draw.line([(wide - 2 * width, 0), (wide - 2 * width, high)], 255, width)
    lines = np.asarray(mask) > 0
    out = picture.copy()
    out[lines] = PENS[pen]
    return out, lines

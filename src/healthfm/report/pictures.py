"""Small pictures inside a page: what a record of pixels looks like, as data URIs of a few kilobytes."""

from __future__ import annotations

import base64
import io
import itertools
from typing import Any

import numpy as np
import PIL.Image

from healthfm.models.vision import transform
from healthfm.records import Image, Record, Slide, Video, Volume

SIDE = 144  # pixels of the longer side of a thumbnail
MOST_BYTES = 12_000  # of one thumbnail; a page holds some dozens
QUALITIES = (82, 65, 45, 25)


def of_record(record: Record, window: tuple[float, float] | None = None) -> PIL.Image.Image | None:
    """Return a picture of a record: an image, a volume's middle slice, a film's first frame, a slide from afar; None of what has none.

    ``window``: the values of a volume that become black and white; without one those that a hundredth of its voxels lies below and above.
    Raises ``HealthfmError`` where the pixels cannot be read.
    """
    if isinstance(record, Image):
        return transform.square(transform.rgb(record), transform.pixel_ratio(record))
    if isinstance(record, Volume):
        found = slices(record, window)
        return transform.rgb(found[len(found) // 2]) if found else None
    if isinstance(record, Video):
        return next(iter(transform.frames(record)), None)
    if isinstance(record, Slide):
        opened: Any = record.open()
        try:
            return PIL.Image.fromarray(opened.thumbnail(max(1.0, max(opened.size) / (2 * SIDE))))
        finally:
            opened.close()
    return None


def slices(volume: Volume, window: tuple[float, float] | None) -> list[Any]:
    """Return a volume's axial slices as they are looked at, by ``window`` or its own range."""
    if window is None and (voxels := volume.voxels).dtype != np.uint8:
        low, high = np.nanpercentile(voxels, [1, 99])
        window = (float(low), float(high) if high > low else float(low) + 1)
    return list(transform.slices(volume, window))


def nth(record: Record, numbers: set[int], window: tuple[float, float] | None = None) -> dict[int, PIL.Image.Image]:
    """Return some of the pictures that a record is a stack of, by number: slices of a volume, frames of a film, an image itself."""
    if isinstance(record, Video):
        some = itertools.islice(transform.frames(record), max(numbers, default=-1) + 1)
        return {i: one for i, one in enumerate(some) if i in numbers}
    if isinstance(record, Volume):
        return {i: transform.rgb(one) for i, one in enumerate(slices(record, window)) if i in numbers}
    shown = of_record(record)
    return {} if shown is None else dict.fromkeys(numbers, shown)


def of_array(pixels: Any) -> PIL.Image.Image:
    """Return an array of a picture as one."""
    return transform.rgb(pixels)


def data_uri(picture: PIL.Image.Image, side: int = SIDE, most: int = MOST_BYTES) -> str:
    """Return a picture as JPEG in a data URI: at most ``side`` pixels long, and of lower quality where it would be over ``most`` bytes."""
    small = picture.convert("RGB")
    small.thumbnail((side, side))
    for quality in QUALITIES:
        made = io.BytesIO()
        small.save(made, "JPEG", quality=quality, optimize=True)
        if made.tell() <= most:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(made.getvalue()).decode()}"

"""Slides as tiles: which there are, and how each is read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from healthfm.embed.items import Item
from healthfm.errors import DatasetError, RunError
from healthfm.formats.slide import pyramid as slide
from healthfm.models.model import Model
from healthfm.models.vision.pixels import is_slide
from healthfm.records import Slide


class OpenTiles(NamedTuple):
    """An open slide as tiles: their x and y in level-0 pixels, int64 [n, 2], and how tile ``i`` is read."""

    places: npt.NDArray[np.int64]
    load: Callable[[int], Any]
    close: Callable[[], None]
    notice: str = ""


def is_tiled(item: Item, model: Model) -> bool:
    """Say whether a model takes an item tile by tile."""
    return issubclass(Slide, model.takes) and is_slide(item.content)


def open_tiles(item: Item, model: Model, mpp: float | None, coords: Path | None = None) -> OpenTiles:
    """Open a slide and find its tiles: those of its file in the folder ``coords``, or as ``tile_at`` says. Raises ``DatasetError``."""
    from healthfm.formats.slide import tile_files
    from healthfm.formats.slide.tiling import plan, read_tile

    wanted = tile_at(model, mpp) if coords is None else None
    opened = open_slide(item)
    try:
        if wanted is None:
            assert coords is not None
            found = tile_files.of_slide(coords, slide_name(item), opened)
        else:
            found = plan(opened, *wanted)
    except BaseException:
        opened.close()
        raise
    return OpenTiles(found.coords, lambda i: read_tile(opened, found, i), opened.close, found.notice)


def open_slide(item: Item) -> Any:
    """Return an item's open slide."""
    return item.content.open() if isinstance(item.content, Slide) else slide.SlideFile(item.content)


def tile_at(model: Model, mpp: float | None) -> tuple[float, int]:
    """Return at how many micrometres per pixel a model's tiles are cut (``mpp``, or the card's), and their side in pixels."""
    rule = model.transform
    side = (rule.crop or rule.resize) if rule is not None else None
    if mpp is not None and not mpp > 0:
        raise DatasetError(f"mpp is {mpp:g}; a pixel spans more than 0 micrometres")
    wanted = mpp
    if wanted is None and rule is not None and rule.micrometres_per_pixel:
        wanted = rule.micrometres_per_pixel[0]
    if wanted is None:
        raise DatasetError(
            f"{model.name}: its card does not say at how many micrometres per pixel it reads tiles; pass --mpp"
        )
    return wanted, side if isinstance(side, int) else 224


def slide_name(item: Item) -> str:
    """Return the name that other tools file a slide under: its file's, without suffix. Raises ``RunError``: no file is known."""
    reader = getattr(item.content, "open", None)
    path = reader.args[0] if isinstance(item.content, Slide) and isinstance(reader, functools.partial) else item.content
    if not isinstance(path, Path):
        raise RunError(
            f"{item.id}: coordinates and features go by the name of a slide's file, and this record names none"
        )
    return path.name if path.is_dir() else path.stem.removesuffix(".ome")

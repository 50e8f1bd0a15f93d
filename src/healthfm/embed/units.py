"""Units: what one vector is made of, a picture, a text, a recording, or one tile of a slide; and how slides become tiles."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from healthfm.embed.items import Item
from healthfm.errors import DatasetError, HealthfmError, RunError
from healthfm.formats.slide import pyramid as slide
from healthfm.models.model import Float32, Model
from healthfm.models.vision.pixels import is_slide
from healthfm.records import Slide


@dataclass(frozen=True, slots=True)
class Unit:
    """One vector to make. ``number`` of ``of`` in its item; ``content`` is the picture or text, or a function that gives it.

    ``part`` and ``last`` say where the vector goes. ``source`` is the identity of the content (``embed.identity``), where it is known,
    ``inputs`` are the network's, once prepared (``Model.prepare``): a picture, a volume's several, or token ids; ``digest`` is theirs,
    ``seen`` that of the record as decoded, where it is one. ``vector`` is the result, or ``problem`` says in one line why there is none; ``shared``: it was known
    before; ``blank``: a volume that is all black or all white; ``ratio``: a pixel's height over its width, before its pictures were made
    square; ``notices``: what was said while it was decoded (``formats.notices``); ``notice``: what the run says of its slide; ``cut``: a
    text longer than the network takes; ``lone``: what the caller's own object makes of it is kept for nobody else. ``close`` is called
    when the item's last unit is done.
    """

    item: Item
    content: Any
    number: int = 0
    of: int = 1
    place: tuple[int, int] | None = None
    part: int = 0
    last: bool = False
    source: str = ""
    inputs: Sequence[Any] | None = None
    digest: str = ""
    seen: str = ""
    vector: Float32 | None = None
    problem: str | None = None
    shared: bool = False
    blank: bool = False
    notice: str = ""
    ratio: float = 1.0
    notices: tuple[str, ...] = ()
    cut: bool = False
    lone: bool = False
    close: Callable[[], None] | None = field(default=None, compare=False)


class Bag(NamedTuple):
    """An open slide as tiles: their x and y in level-0 pixels, int64 [n, 2], and how tile ``i`` is read."""

    places: npt.NDArray[np.int64]
    load: Callable[[int], Any]
    close: Callable[[], None]
    notice: str = ""


def is_tiled(item: Item, model: Model) -> bool:
    """Say whether a model takes an item tile by tile."""
    return issubclass(Slide, model.takes) and is_slide(item.content)


def open_tiles(item: Item, model: Model, mpp: float | None, coords: Path | None = None) -> Bag:
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
    return Bag(found.coords, lambda i: read_tile(opened, found, i), opened.close, found.notice)


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


def told(item: Item, error: HealthfmError) -> str:
    """Return an error in one line, without the path where the item's id says it already."""
    text = " ".join(str(error).split())
    path, _, rest = text.partition(": ")
    return rest if path == item.id or path.endswith(f"/{item.id}") else text

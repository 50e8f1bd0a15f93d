"""From an item to what the network takes: units (a picture, a text, one tile of a slide), each read, decoded and preprocessed."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from healthfm.datasets import media
from healthfm.embed.items import Item
from healthfm.engine.pipeline import Clock
from healthfm.errors import DatasetError, HealthfmError, MissingExtra, RunError
from healthfm.formats import image, notices, slide
from healthfm.formats.source import Source
from healthfm.models.model import Float32, Model
from healthfm.models.vision import VisionModel
from healthfm.records import Image, Slide, Video, Volume

HELD_AT_MOST = 64 << 20  # bytes of one file that are read before it is decoded


@dataclass(frozen=True, slots=True)
class Unit:
    """One vector to make. ``number`` of ``of`` in its item; ``content`` is the picture or text, or a function that gives it.

    ``part`` and ``last`` say where the vector goes. ``inputs`` are the network's, once prepared: a picture, or a volume's several;
    ``vector`` is the result, or ``problem`` says in one line why there is none; ``shared``: it was known before; ``blank``: a volume
    that is all black or all white; ``ratio``: a pixel's height over its width, before its pictures were made square; ``notices``: what was
    said while it was decoded (``formats.notices``);
    ``notice``: what the run says of its slide. ``close`` is called when the item's last unit is done.
    """

    item: Item
    content: Any
    number: int = 0
    of: int = 1
    place: tuple[int, int] | None = None
    part: int = 0
    last: bool = False
    inputs: Sequence[Any] | None = None
    digest: str = ""
    vector: Float32 | None = None
    problem: str | None = None
    shared: bool = False
    blank: bool = False
    notice: str = ""
    ratio: float = 1.0
    notices: tuple[str, ...] = ()
    close: Callable[[], None] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Held(Source):
    """A file whose bytes are in memory."""

    data: bytes = b""

    def open(self) -> IO[bytes]:
        """Open for binary reading."""
        return io.BytesIO(self.data)


def is_slide(content: Any) -> bool:
    """Say whether an item is a slide: a record of one, or a file that is one (``media.kind_of``)."""
    if not isinstance(content, Path):
        return isinstance(content, Slide)
    return media.kind_of(content) == "Slide"


class Bag(NamedTuple):
    """An open slide as tiles: their x and y in level-0 pixels, int64 [n, 2], and how tile ``i`` is read."""

    places: npt.NDArray[np.int64]
    load: Callable[[int], Any]
    close: Callable[[], None]
    notice: str = ""


def open_tiles(item: Item, model: Model, mpp: float | None, coords: Path | None = None) -> Bag:
    """Open a slide and find its tiles: those of its file in the folder ``coords``, or as ``tile_at`` says. Raises ``DatasetError``."""
    from healthfm.formats import tile_files
    from healthfm.formats.tiling import plan, read_tile

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
    rule = model.transform if isinstance(model, VisionModel) else None
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


def is_blank(slices: Iterable[Any]) -> bool:
    """Whether all slices of a volume are black, or all are white."""
    seen = [(one.min(), one.max()) for one in map(np.asarray, slices)]
    return any(all(pair == (v, v) for pair in seen) for v in (0, 255))


class Preparer:
    """Makes a unit ready for the network, in any thread; ``find`` may know its vector already."""

    def __init__(self, model: Model, clock: Clock, find: Callable[[str], Float32 | None] = lambda _: None) -> None:
        self.model, self.clock, self.find = model, clock, find

    def __call__(self, unit: Unit) -> Unit:
        """Return the unit with ``inputs``, or ``vector``, or a ``problem``: a file that fails is no reason to stop."""
        if unit.problem is not None:
            return unit
        try:
            with notices.listening() as said:
                made = self._picture(unit, self.model) if isinstance(self.model, VisionModel) else self._text(unit)
            return replace(made, notices=tuple(said)) if said else made
        except MissingExtra:
            raise
        except HealthfmError as error:
            return replace(unit, content=None, problem=told(unit.item, error))
        except Exception as error:  # what a decoder throws at damage is not foreseeable; its message may hold data
            return replace(unit, content=None, problem=f"cannot be read ({type(error).__name__})")

    def _picture(self, unit: Unit, model: VisionModel) -> Unit:
        from healthfm.models import transform, vision

        content = unit.content
        if isinstance(content, Path) and content.suffix.lower() in image.SUFFIXES:
            with self.clock.stage("read"):
                content = held(content)
        rule = model.transform
        with self.clock.stage("decode") as done:
            content = content() if callable(content) else content
            content = image.pixels(content) if isinstance(content, Source) else content
            if isinstance(content, Video) and rule is not None:
                count, seen = _seen(map(transform.rgb, vision.pictures(content, rule)))
                done.units = count
                if not count:
                    raise DatasetError("it holds no picture")
                unit = replace(unit, ratio=transform.pixel_ratio(content))
                return self._ready(unit, seen, lambda: vision.Frames(content, rule, count))
            pictures = [transform.rgb(one) for one in vision.pictures(content, rule)] if rule is not None else []
            done.units = len(pictures) or 1
        if rule is None:
            return self._arrays(unit, content)
        if not pictures:
            raise DatasetError("it holds no picture")
        if isinstance(content, Volume):
            unit = replace(unit, blank=is_blank(pictures))
        if isinstance(content, Image | Volume):
            unit = replace(unit, ratio=transform.pixel_ratio(content))
        seen = _seen(pictures)[1]
        return self._ready(unit, seen, lambda: [transform.pixels(one, rule) for one in pictures])

    def _arrays(self, unit: Unit, content: Any) -> Unit:
        """A network whose inputs are no pictures takes them as they are."""
        arrays = list(self.model.preprocess([content])["pixels"].numpy())
        seen = hashlib.sha256(repr([one.shape for one in arrays]).encode())
        for one in arrays:
            seen.update(np.ascontiguousarray(one).data)
        return self._ready(unit, seen, lambda: arrays)

    def _text(self, unit: Unit) -> Unit:
        content = unit.content
        if isinstance(content, Path):
            with self.clock.stage("read"):
                try:
                    content = content.read_bytes().decode("utf-8-sig")
                except UnicodeDecodeError:
                    raise DatasetError(f"{unit.content}: not UTF-8") from None
        if isinstance(content, str) and not content.strip():
            raise DatasetError("the text is empty")
        seen = hashlib.sha256(content.encode() if isinstance(content, str) else repr(content).encode())
        return self._ready(unit, seen, lambda: [content])

    def _ready(self, unit: Unit, seen: Any, inputs: Callable[[], Sequence[Any]]) -> Unit:
        digest = seen.hexdigest()
        vector = self.find(digest)
        if vector is not None:
            return replace(unit, content=None, digest=digest, vector=vector, shared=True)
        with self.clock.stage("preprocess") as done:
            made = inputs()
            done.units = len(made)
        return replace(unit, content=None, digest=digest, inputs=made)


def _seen(pictures: Iterable[Any]) -> tuple[int, Any]:
    """Return how many pictures these are and their digest, going through them one at a time."""
    count, seen = 0, hashlib.sha256()
    for one in pictures:
        seen.update(f"{one.size}".encode())
        seen.update(np.asarray(one).data)
        count += 1
    return count, seen


def held(path: Path) -> Source:
    """Return a file with its bytes read; a very large one as it is."""
    try:
        return Held(path, data=path.read_bytes()) if path.stat().st_size <= HELD_AT_MOST else Source(path)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from None

"""From an item to what the network takes: units (a picture, a text, one tile of a slide), each read, decoded and preprocessed."""

from __future__ import annotations

import functools
import hashlib
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from healthfm.embed import identity
from healthfm.embed.identity import Held
from healthfm.embed.items import Item
from healthfm.embed.shared import Known, Shared
from healthfm.engine.pipeline import Clock
from healthfm.errors import CapabilityError, CheckpointError, DatasetError, HealthfmError, MissingExtra, RunError
from healthfm.formats import image, notices
from healthfm.formats.slide import pyramid as slide
from healthfm.formats.source import Source
from healthfm.models.language.text_model import TextModel
from healthfm.models.model import Float32, Model
from healthfm.models.vision import pixels, transform
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision.pixels import is_slide
from healthfm.models.vision.vision_model import VisionModel
from healthfm.records import Image, Slide, Video, Volume

__all__ = [
    "OpenTiles",
    "Preparer",
    "Unit",
    "is_blank",
    "is_slide",
    "open_slide",
    "open_tiles",
    "slide_name",
    "tile_at",
    "told",
]
TURNS = 1024  # contents that can be prepared at the same time


@dataclass(frozen=True, slots=True)
class Unit:
    """One vector to make. ``number`` of ``of`` in its item; ``content`` is the picture or text, or a function that gives it.

    ``part`` and ``last`` say where the vector goes. ``source`` is the identity of the content (``embed.identity``), where it is known,
    ``inputs`` are the network's, once prepared: a picture, a volume's several, or token ids; ``digest`` is theirs, ``seen`` that of an
    ``Image``'s pixels as decoded. ``vector`` is the result, or ``problem`` says in one line why there is none; ``shared``: it was known
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


class OpenTiles(NamedTuple):
    """An open slide as tiles: their x and y in level-0 pixels, int64 [n, 2], and how tile ``i`` is read."""

    places: npt.NDArray[np.int64]
    load: Callable[[int], Any]
    close: Callable[[], None]
    notice: str = ""


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
    """Makes a unit ready for the network, in any thread. What ``shared`` knows is not computed, and where it can be, not decoded.

    Contents that are the same are decoded once: who comes second waits for the first. ``both``: units whose vector is known have
    their inputs beside it, where they had to be made to find it.
    """

    def __init__(self, model: Model, clock: Clock, shared: Shared | None = None, both: bool = False) -> None:
        self.model, self.clock, self.both = model, clock, both
        self.shared = shared if shared is not None else Shared(None)
        self._turns = [threading.Lock() for _ in range(TURNS)]
        self._ahead: dict[str, list[weakref.ref[Any]]] = {}  # inputs that were made and not computed yet

    def __call__(self, unit: Unit) -> Unit:
        """Return the unit with ``inputs``, or ``vector``, or a ``problem``: a file that fails is no reason to stop."""
        if unit.problem is not None or unit.vector is not None or unit.inputs is not None:
            return unit
        try:
            return self._picture(unit, self.model) if isinstance(self.model, VisionModel) else self._text(unit)
        except (MissingExtra, CheckpointError, CapabilityError):
            raise
        except HealthfmError as error:
            return replace(unit, content=None, problem=told(unit.item, error))
        except Exception as error:  # what a decoder throws at damage is not foreseeable; its message may hold data
            return replace(unit, content=None, problem=f"cannot be read ({type(error).__name__})")

    def _picture(self, unit: Unit, model: VisionModel) -> Unit:
        found = self._found(unit, unit.source)
        if found is not None:
            return found
        if model.transform is None:
            return self._arrays(unit)
        with notices.listening() as said:
            content = unit.content if callable(unit.content) else pixels.opened(unit.content)
        unit = replace(unit, notices=tuple(said))
        place = identity.origin(content)
        if place is None:
            return self._decoded(unit, content, model)
        content, source, before = self._read(content, place)
        if unit.source and unit.source != source:
            raise DatasetError("it has changed since the run was asked for; start again")
        with self._turns[int(source[:8], 16) % TURNS]:
            found = self._found(unit, source)
            if found is not None:
                return found
            loose = None if isinstance(identity.origin(content), Held) else (place, before)
            return self._decoded(replace(unit, source=source), content, model, loose)

    def _read(self, content: Any, place: Source | Path) -> tuple[Any, str, Any]:
        """Return a content, a still image with its bytes in memory; its identity; and how its files were when that was read."""
        before = identity.stamp(place)
        if isinstance(content, Path | Image):
            with self.clock.stage("read"):
                data = identity.held(Source(place) if isinstance(place, Path) else place)
                if isinstance(data, Held):
                    content, place = identity.from_memory(content, data), data
                return content, identity.of_content(content, place), before
        return content, identity.of_content(content, place), before

    def _found(self, unit: Unit, source: str) -> Unit | None:
        """Return a unit whose content is known: with its vector, or with inputs that another of the same content waits with."""
        known = self.shared.known(_told(source)) if source else None
        if known is None:
            return None
        unit = replace(
            unit,
            source=source,
            digest=known.digest,
            seen=known.seen,
            blank=known.blank or unit.blank,
            ratio=known.ratio,
            notices=known.notices or unit.notices,
        )
        vector = self.shared.find(known.digest)
        if vector is not None:
            return replace(unit, content=None, vector=vector, shared=True)
        inputs = [one() for one in self._ahead.get(source, ())]
        if not inputs or any(one is None for one in inputs):
            return None
        return replace(unit, content=None, inputs=inputs)

    def _decoded(
        self, unit: Unit, content: Any, model: VisionModel, loose: tuple[Source | Path, Any] | None = None
    ) -> Unit:
        """Decode a unit's content. ``loose``: files that could change meanwhile, and how they were when their identity was read."""
        rule, seen = model.transform, ""
        assert rule is not None
        with self.clock.stage("decode") as done, notices.listening() as said:
            content = content() if callable(content) else content
            if isinstance(content, Image):
                array = content.pixels
                content = replace(content, load=lambda: array)
                seen = content.digest()
            content = image.pixels(content) if isinstance(content, Source) else content
            film = isinstance(content, Video)
            pictures = [] if film else [transform.rgb(one) for one in vision.pictures(content, rule)]
            done.units = len(pictures)
            if film:  # too long to be held: gone through once for its digest, and again for each use
                done.units, digest = _digest(transform.pixels(one, rule) for one in vision.pictures(content, rule))
        unit = replace(unit, notices=tuple(dict.fromkeys((*unit.notices, *said))))
        if loose is not None and identity.stamp(loose[0]) != loose[1]:
            raise DatasetError("it was written to while it was read; start again")
        if isinstance(content, Volume):
            unit = replace(unit, blank=is_blank(pictures))
        if isinstance(content, Image | Volume):
            unit = replace(unit, ratio=transform.pixel_ratio(content))
        if film:
            return self._ready(unit, vision.Frames(content, rule, done.units), digest)
        with self.clock.stage("preprocess") as done:
            made = [transform.pixels(one, rule) for one in pictures]
            done.units = len(made)
        return self._ready(replace(unit, seen=seen), made)

    def _arrays(self, unit: Unit) -> Unit:
        """A network whose inputs are no pictures takes them as they are."""
        with self.clock.stage("preprocess") as done:
            made = list(self.model.preprocess([unit.content])["pixels"].numpy())
            done.units = len(made)
        return self._ready(unit, made)

    def _ready(self, unit: Unit, made: Sequence[Any], digest: str | None = None) -> Unit:
        """Return a unit with its inputs, or with the vector that is known of them."""
        digest = digest or _digest(made)[1]
        vector = self.shared.find(digest, fresh=bool(unit.source))
        kept = made if vector is None or self.both else None
        unit = replace(unit, content=None, digest=digest, inputs=kept, vector=vector, shared=vector is not None)
        self.tell(unit)
        return unit

    def tell(self, unit: Unit) -> None:
        """Remember what a unit's content became, and its inputs while it has them."""
        if unit.source:
            self.shared.tell(_told(unit.source), Known(unit.digest, unit.seen, unit.blank, unit.ratio, unit.notices))
            held = unit.inputs if isinstance(unit.inputs, list) else ()  # a film's frames are decoded anew
            self._ahead[unit.source] = [weakref.ref(one) for one in held]

    def computed(self, units: Sequence[Unit]) -> None:
        """Hear of vectors that were just made, while their inputs are still there."""
        for unit in units:
            if unit.vector is not None and not unit.shared and not unit.lone and np.isfinite(unit.vector).all():
                self.shared.remember(unit.digest, unit.vector)
            self._ahead.pop(unit.source, None)

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
        if isinstance(content, Image):
            array = content.pixels
            content = replace(content, load=lambda: array)
            unit = replace(unit, seen=content.digest())
        if (
            not isinstance(content, str)
            or "embed_tokens" not in self.model.capabilities
            or not isinstance(self.model, TextModel)
        ):
            with self.clock.stage("preprocess"):
                digest = hashlib.sha256(
                    content.encode() if isinstance(content, str) else repr(content).encode()
                ).hexdigest()
                return replace(unit, content=None, digest=digest, inputs=[content], lone=True)
        with self.clock.stage("preprocess"), self._turns[0]:  # a tokenizer is not safe to ask from several threads
            ids, cut = self.model.whole(content)
        return self._ready(replace(unit, cut=cut), [np.array(ids, np.int64)])


def _told(source: str) -> str:
    return hashlib.sha256(f"{source} {identity.decoders()}".encode()).hexdigest()


def _digest(arrays: Iterable[Any]) -> tuple[int, str]:
    """Return how many arrays these are and the digest of them all, going through them one at a time."""
    count, seen = 0, hashlib.sha256()
    for one in arrays:
        seen.update(f"{one.dtype} {one.shape} ".encode())
        seen.update(np.ascontiguousarray(one).data)
        count += 1
    return count, seen.hexdigest()

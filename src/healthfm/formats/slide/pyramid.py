"""Whole-slide images: levels, micrometres per pixel, and the pixels of any rectangle.

Opened by OpenSlide (Aperio, Hamamatsu, Leica, MIRAX, Philips, Ventana, DICOM, generic pyramidal TIFF). Levels that are plain tiles
of a TIFF are then read by ``tiff_tiles``, in a quarter of the time, once that has given OpenSlide's pixels on sample rectangles.
"""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError, HealthfmError, MissingExtra
from healthfm.formats.slide import files as slide_files
from healthfm.formats.slide import tiff_tiles
from healthfm.formats.slide.files import COARSEST
from healthfm.formats.slide.tiff_tiles import LeftOut, StoredTiles, tiled_pages

SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".svslide", ".bif", ".tif", ".tiff")
SLIDE_ONLY = tuple(s for s in SUFFIXES if s not in (".tif", ".tiff"))
SAMPLES, SAMPLE_SIZE = 8, 200  # rectangles per level that must agree before the fast reader is trusted
BLOCK = 2048
PIECE = 256  # of a block that is damaged, pieces down to this size are tried
MOST_DAMAGED = 500  # pieces; a file with more is damaged throughout
MOST_PIXELS, MOST_OF_TILE = (
    2**38,
    2**26,
)  # a glass slide of 75 x 50 mm at 0.1 micrometres has fewer; a header may claim anything
Pixels = npt.NDArray[np.uint8]


class Level(NamedTuple):
    """One level of the pyramid: its size in pixels, and how many level-0 pixels one of its pixels spans."""

    width: int
    height: int
    downsample: float


class SlideFile:
    """An open slide. Safe to read from several threads; memory stays the same however large the slide is.

    ``mpp`` overrides what the file says of its resolution. ``reader(level)`` tells which reader serves a level.
    """

    def __init__(self, path: Path, mpp: float | None = None) -> None:
        """Open a slide file, or a folder of DICOM-WSI instances. Raises ``DatasetError``: not a slide, or damaged."""
        try:
            import openslide
        except ImportError:
            raise MissingExtra("pathology", "openslide-python and openslide-bin") from None
        self.path = path
        if mpp is not None and not 0 < mpp <= 1000:
            raise DatasetError(
                f"{path}: {mpp:g} micrometres per pixel cannot be; mpp is how much a pixel of the scan spans"
            )
        entry = slide_files.entry(path)
        self._open: Callable[[], Any] = functools.partial(openslide.OpenSlide, entry)
        with _reading(f"{path}: not a readable slide"):
            try:
                self._slide = self._open()
            except openslide.OpenSlideUnsupportedFormatError:
                raise DatasetError(f"{path}: not a slide that OpenSlide reads") from None
            self.levels = tuple(
                Level(w, h, float(d))
                for (w, h), d in zip(self._slide.level_dimensions, self._slide.level_downsamples, strict=True)
            )
            self.properties: dict[str, str] = dict(self._slide.properties)
        self._refuse_absurd()
        self._mpp = mpp
        self._pages = tiled_pages(path)
        self._fast: dict[int, StoredTiles | None] = {}
        self._lock = threading.RLock()  # held while a level is verified, which may have to open the slide again

    def _refuse_absurd(self) -> None:
        """Refuse what would fill the memory, and a stack of pictures, of which OpenSlide shows the first."""
        width, height = self.size
        told = self.properties
        tile = max(
            int(told.get(f"openslide.level[{i}].tile-width", 1)) * int(told.get(f"openslide.level[{i}].tile-height", 1))
            for i in range(len(self.levels))
        )
        if width * height > MOST_PIXELS or tile > MOST_OF_TILE:
            raise DatasetError(
                f"{self.path}: not a readable slide (it claims {width} x {height} pixels in tiles of {tile})"
            )
        pages = tiff_tiles.same_size(self.path, self.size) if told.get("openslide.vendor") == "generic-tiff" else 1
        if pages > 1:
            raise DatasetError(
                f"{self.path}: {pages} pictures of {width} x {height} pixels (focal planes, channels or a mask?), not one slide; "
                "save the one that is meant in a file of its own"
            )

    def __enter__(self) -> SlideFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the file handles."""
        self._slide.close()
        for reader in self._fast.values():
            if reader is not None:
                reader.close()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of level 0."""
        return self.levels[0].width, self.levels[0].height

    @property
    def mpp(self) -> float:
        """Micrometres a level-0 pixel spans: as given, of the scanner, or of the TIFF's resolution tags.

        Raises ``DatasetError`` where nothing tells, or where x and y differ by more than a hundredth.
        """
        if self._mpp is not None:
            return self._mpp
        found = _ome_mpp(self.properties) or _scanner_mpp(self.properties) or _tiff_mpp(self.properties)
        if found is None or max(found) > COARSEST:
            power = self.properties.get("openslide.objective-power")
            known = f"; it names an objective of {power}x only, which scanners resolve differently" if power else ""
            raise DatasetError(
                f"{self.path}: the slide does not say how many micrometres a pixel spans{known}; pass mpp= if you know it (in a table of slides: a column 'mpp')"
            )
        if abs(found[0] - found[1]) > 0.01 * found[0]:
            raise DatasetError(
                f"{self.path}: pixels are not square ({found[0]:g} by {found[1]:g} micrometres); pass mpp="
            )
        self._mpp = sum(found) / 2
        return self._mpp

    def reader(self, level: int) -> str:
        """Return ``tiles`` where the fast reader serves a level, else ``openslide``."""
        return "openslide" if self._fast_reader(level) is None else "tiles"

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Return RGB [height, width, 3] of a level, x and y in that level's pixels; what was never scanned is white.

        Raises ``DatasetError`` where the file is damaged there.
        """
        fast = self._fast_reader(level)
        here = self.levels[level]
        if fast is not None and x >= 0 and y >= 0 and x + width <= here.width and y + height <= here.height:
            try:
                with _reading(f"{self.path}: damaged at level {level}"):
                    return fast.read(x, y, width, height)
            except LeftOut:
                pass
        return self._by_openslide(level, x, y, width, height)

    def _by_openslide(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        down = self.levels[level].downsample
        place = (round(x * down), round(y * down)), level, (width, height)
        with _reading(f"{self.path}: damaged at level {level}"):
            return self._on_background(self._region(place))
        raise AssertionError  # ``_reading`` swallows nothing

    def _region(self, place: tuple[Any, ...]) -> Pixels:
        """Return a region as RGBA. After an error, an OpenSlide handle repeats it for any region: another takes its place."""
        shared = self._slide
        try:
            return np.asarray(shared.read_region(*place))
        except Exception:
            own = self._open()
            try:
                pixels = np.asarray(own.read_region(*place))  # the error may have been that of another thread's region
            except Exception:
                own.close()
                own = self._open()
                raise
            finally:
                with self._lock:
                    if self._slide is shared:
                        self._slide = own  # the old one is closed when no thread reads from it any more
            return pixels

    def _on_background(self, pixels: Pixels) -> Pixels:
        """Return RGBA on the slide's background colour, which is white unless it names one."""
        alpha = pixels[..., 3:]
        if alpha.min() == 255:
            return np.asarray(pixels[..., :3])
        colour = np.frombuffer(bytes.fromhex(self.properties.get("openslide.background-color", "FFFFFF")), np.uint8)
        over = pixels[..., :3] * (alpha / 255.0) + colour * (1 - alpha / 255.0)
        return np.asarray(np.rint(over), np.uint8)

    def _fast_reader(self, level: int) -> StoredTiles | None:
        if level not in self._fast:
            with self._lock:
                if level not in self._fast:
                    self._fast[level] = self._verified(level)
        return self._fast[level]

    def _verified(self, level: int) -> StoredTiles | None:
        """Return the fast reader of a level if it gives OpenSlide's pixels on rectangles spread over the level."""
        here = self.levels[level]
        page = self._pages.get((here.width, here.height))
        if page is None:
            return None
        width, height = min(SAMPLE_SIZE, here.width), min(SAMPLE_SIZE, here.height)
        draw = random.Random(level)
        places = [(draw.randint(0, here.width - width), draw.randint(0, here.height - height)) for _ in range(SAMPLES)]
        down = round(here.downsample)  # level-0 coordinates that are whole pixels of this level
        if abs(here.downsample - down) > 1e-3 * down:
            return None
        try:
            reader = StoredTiles(self.path, page)
        except (OSError, MemoryError, ValueError):
            return None
        agreed = 0
        for x, y in [*places, (0, 0), (here.width - width, here.height - height)]:
            try:
                found = reader.read(x, y, width, height)
            except (LeftOut, BadValue):  # missing or damaged there: told, or left to OpenSlide, where it is read
                continue
            try:
                same = np.array_equal(found, self._by_openslide(level, x, y, width, height))
            except DatasetError:
                same = False
            agreed += same
            if not same:
                break
        else:
            if agreed:
                return reader
        reader.close()
        return None

    def thumbnail(self, downsample: float) -> Pixels:
        """Return the whole slide made smaller by a whole factor near ``downsample``, by averaging; what is damaged is white."""
        return self.overview(downsample)[0]

    def overview(self, downsample: float) -> tuple[Pixels, npt.NDArray[np.bool_]]:
        """Return the whole slide made smaller, as ``thumbnail``, and where it could not be read, boolean [height, width].

        Read block by block, from the coarsest level that lacks no more of its tiles than the finest; a place that is damaged
        there is taken from a finer level. Raises ``DatasetError``: damaged throughout.
        """
        coarse = [i for i, one in enumerate(self.levels) if one.downsample <= downsample * 1.01 and self._as_full(i)]
        level = max(coarse, default=0)
        here = self.levels[level]
        factor = max(1, round(downsample / here.downsample))
        block = max(factor, BLOCK // factor * factor)
        out = np.full((-(-here.height // factor), -(-here.width // factor), 3), 255, np.uint8)
        unknown = np.zeros(out.shape[:2], np.bool_)
        todo = [(x, y, block) for y in range(0, here.height, block) for x in range(0, here.width, block)][::-1]
        failed = 0
        while todo:
            x, y, side = todo.pop()
            width, height = min(side, here.width - x), min(side, here.height - y)
            part = slice(y // factor, -(-(y + height) // factor)), slice(x // factor, -(-(x + width) // factor))
            try:
                out[part] = _reduced(self.read(level, x, y, width, height), factor)
            except DatasetError:
                failed += 1
                if failed > MOST_DAMAGED:
                    raise
                if side > max(PIECE, factor):
                    half = -(-side // (2 * factor)) * factor
                    across, down = range(x, x + width, half), range(y, y + height, half)
                    todo += [(i, j, half) for i in across for j in down]
                    continue
                finer = self._from_finer(level, x, y, width, height, out[part].shape[:2])
                unknown[part] = finer is None
                if finer is not None:
                    out[part] = finer
        return out, unknown

    def _as_full(self, level: int) -> bool:
        """Say whether a level lacks no more of its stored tiles than the finest one does, as far as that is known."""
        pages = [self._pages.get((one.width, one.height)) for one in (self.levels[0], self.levels[level])]
        finest, this = (0.0 if page is None else tiff_tiles.missing(page) for page in pages)
        return this <= finest

    def _from_finer(self, level: int, x: int, y: int, width: int, height: int, shape: tuple[int, ...]) -> Pixels | None:
        """Return a rectangle of a level made smaller from the next finer one that can be read there; None: from none."""
        from PIL import Image

        for finer in range(level - 1, -1, -1):
            ratio = self.levels[level].downsample / self.levels[finer].downsample
            try:
                pixels = self.read(
                    finer, round(x * ratio), round(y * ratio), round(width * ratio), round(height * ratio)
                )
            except DatasetError:
                continue
            return np.asarray(
                Image.fromarray(np.ascontiguousarray(pixels)).resize((shape[1], shape[0]), Image.Resampling.BOX)
            )
        return None


def _reduced(pixels: Pixels, factor: int) -> Pixels:
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).reduce(factor))


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turn whatever OpenSlide, tifffile or a codec raises into one line: the one place for all readers of slides."""
    try:
        yield
    except BadValue as error:
        raise DatasetError(f"{what} ({error})") from None
    except (HealthfmError, LeftOut):
        raise
    except Exception as error:
        raise DatasetError(f"{what} ({type(error).__name__})") from None


def _ome_mpp(properties: dict[str, str]) -> tuple[float, float] | None:
    """Return micrometres per pixel of an OME-TIFF, whose header OpenSlide passes over."""
    return _positive(*(tiff_tiles.ome_micrometres(properties.get("tiff.ImageDescription", "")) or (None, None)))


def _scanner_mpp(properties: dict[str, str]) -> tuple[float, float] | None:
    return _positive(properties.get("openslide.mpp-x"), properties.get("openslide.mpp-y"))


def _tiff_mpp(properties: dict[str, str]) -> tuple[float, float] | None:
    """Return micrometres per pixel from resolution tags in pixels per inch or centimetre."""
    unit = {"inch": 25400.0, "centimeter": 10000.0}.get(properties.get("tiff.ResolutionUnit", ""))
    pair = _positive(properties.get("tiff.XResolution"), properties.get("tiff.YResolution"))
    return None if unit is None or pair is None else (unit / pair[0], unit / pair[1])


def _positive(x: Any, y: Any) -> tuple[float, float] | None:
    try:
        pair = float(x), float(y)
    except (TypeError, ValueError):
        return None
    return pair if min(pair) > 0 else None

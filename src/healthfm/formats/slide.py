"""Whole-slide images: levels, micrometres per pixel, and the pixels of any rectangle.

Opened by OpenSlide (Aperio, Hamamatsu, Leica, MIRAX, Philips, Ventana, DICOM, generic pyramidal TIFF). Levels that are plain tiles
of a TIFF are then read by ``tiff_tiles``, in a quarter of the time, once that has given OpenSlide's pixels on sample rectangles.
"""

from __future__ import annotations

import random
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError, MissingExtra
from healthfm.formats.tiff_tiles import StoredTiles, tiled_pages

SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".svslide", ".bif", ".tif", ".tiff")
SLIDE_ONLY = tuple(s for s in SUFFIXES if s not in (".tif", ".tiff"))
SAMPLES, SAMPLE_SIZE = 8, 200  # rectangles per level that must agree before the fast reader is trusted
COARSEST = 20.0  # micrometres; a TIFF that says more speaks of its printing, not of a microscope
BLOCK = 2048
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
        try:
            self._slide = openslide.OpenSlide(_entry(path))
            self.levels = tuple(
                Level(w, h, float(d))
                for (w, h), d in zip(self._slide.level_dimensions, self._slide.level_downsamples, strict=True)
            )
            self.properties: dict[str, str] = dict(self._slide.properties)
        except openslide.OpenSlideUnsupportedFormatError:
            raise DatasetError(f"{path}: not a slide that OpenSlide reads") from None
        except (openslide.OpenSlideError, OSError) as error:
            raise DatasetError(f"{path}: not a readable slide ({type(error).__name__})") from None
        self._mpp = mpp
        self._pages = tiled_pages(path)
        self._fast: dict[int, StoredTiles | None] = {}
        self._lock = threading.Lock()

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
        found = _scanner_mpp(self.properties) or _tiff_mpp(self.properties)
        if found is None or max(found) > COARSEST:
            power = self.properties.get("openslide.objective-power")
            known = f"; it names an objective of {power}x only, which scanners resolve differently" if power else ""
            raise DatasetError(
                f"{self.path}: the slide does not say how many micrometres a pixel spans{known}; pass mpp= if you know it"
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
            return fast.read(x, y, width, height)
        return self._by_openslide(level, x, y, width, height)

    def _by_openslide(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        import openslide

        down = self.levels[level].downsample
        try:
            region = self._slide.read_region((round(x * down), round(y * down)), level, (width, height))
        except openslide.OpenSlideError as error:
            raise DatasetError(f"{self.path}: damaged at level {level} ({type(error).__name__})") from None
        pixels = np.asarray(region)
        alpha = pixels[..., 3:]
        if alpha.min() == 255:
            return np.asarray(pixels[..., :3])
        over = pixels[..., :3] * (alpha / 255.0) + (255 - alpha)
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
        reader = StoredTiles(self.path, page)
        for x, y in [*places, (0, 0), (here.width - width, here.height - height)]:
            try:
                same = np.array_equal(reader.read(x, y, width, height), self._by_openslide(level, x, y, width, height))
            except Exception:  # a codec that is not there, a tile that is damaged: OpenSlide shall say so
                same = False
            if not same:
                reader.close()
                return None
        return reader

    def thumbnail(self, downsample: float) -> Pixels:
        """Return the whole slide made smaller by a whole factor near ``downsample``, by averaging; read block by block."""
        from PIL import Image

        level = max((i for i, one in enumerate(self.levels) if one.downsample <= downsample * 1.01), default=0)
        here = self.levels[level]
        factor = max(1, round(downsample / here.downsample))
        block = max(factor, BLOCK // factor * factor)
        out = np.empty((-(-here.height // factor), -(-here.width // factor), 3), np.uint8)
        for y in range(0, here.height, block):
            for x in range(0, here.width, block):
                part = self.read(level, x, y, min(block, here.width - x), min(block, here.height - y))
                small = np.asarray(Image.fromarray(np.ascontiguousarray(part)).reduce(factor))
                out[y // factor : y // factor + small.shape[0], x // factor : x // factor + small.shape[1]] = small
        return out


def _entry(path: Path) -> Path:
    """Return the file that stands for the slide: itself, or the largest instance of a DICOM-WSI folder."""
    if not path.is_dir():
        return path
    files = [f for f in path.iterdir() if f.is_file() and not f.name.startswith(".")]
    if not files:
        raise DatasetError(f"{path}: an empty folder, not a slide")
    return max(files, key=lambda f: (f.stat().st_size, f.name))


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

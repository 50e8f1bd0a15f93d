"""Which files are slides: TIFFs that a microscope made, and the DICOM files that make up one whole-slide image.

A DICOM slide is the VOLUME instances of one series in one folder (PS3.3 C.8.12.4). Its LABEL and OVERVIEW show what is written on
the glass, which can be a name: neither is ever opened.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from healthfm.errors import DatasetError
from healthfm.formats import image
from healthfm.formats.dicom import file as dicom
from healthfm.formats.dicom import index as dicom_index
from healthfm.formats.slide import tiff_tiles
from healthfm.formats.source import Source

TIFF = (".tif", ".tiff")
COARSEST = 20.0  # micrometres; a TIFF that says more speaks of its printing, not of a microscope
HEADER = [
    "SOPClassUID", "SeriesInstanceUID", "ImageType", "ContainerIdentifier", "ConcatenationUID",
    "TotalPixelMatrixColumns", "TotalPixelMatrixRows",
]  # fmt: skip


# TIFF -----------------------------------------------------------------------------------------------------------------


def is_slide_tiff(path: Path) -> bool:
    """Say whether a ``.tif`` is a slide: OpenSlide knows its scanner, or it is tiles (several) of a pyramid or at a microscope's resolution.

    One that OpenSlide cannot open but that is such a thing (RGB, 8 bit) is a slide too: it is refused as one, never made a picture.
    """
    try:
        import openslide
    except ImportError:
        return False
    try:
        vendor = openslide.OpenSlide.detect_format(path)
        if vendor not in (None, "generic-tiff"):
            return True
        if vendor is not None:
            with openslide.OpenSlide(path) as opened:
                if opened.level_count > 1 or opened.dimensions[0] * opened.dimensions[1] > image.MAX_PIXELS:
                    return True
    except (openslide.OpenSlideError, OSError):
        pass
    return tiff_tiles.says_slide(path, COARSEST)


# DICOM ----------------------------------------------------------------------------------------------------------------


class Instance(NamedTuple):
    """One file of a DICOM slide. ``flavour``: VOLUME, LABEL, OVERVIEW, THUMBNAIL; ``pixels``: of the whole level."""

    path: Path
    series: str
    container: str
    flavour: str
    pixels: int
    joined: bool


def instance(path: Path) -> Instance | None:
    """Return what a file is of a DICOM slide; None for anything else, or what cannot be read."""
    try:
        if not path.is_file() or not dicom.is_dicom(path):
            return None
        facts = path.stat()
    except OSError:
        return None
    return _instance(path, facts.st_mtime_ns, facts.st_size)


@functools.lru_cache(maxsize=4096)
def _instance(path: Path, changed: int, size: int) -> Instance | None:
    try:
        if dicom_index.read(path).get("SOPClassUID") != dicom_index.WHOLE_SLIDE:
            return None
        with dicom.reading(Source(path)):
            data: Any = dicom.library().dcmread(path, stop_before_pixels=True, force=True, specific_tags=HEADER)
            kinds = [str(one) for one in data.get("ImageType") or ()]
            pixels = int(data.get("TotalPixelMatrixColumns") or 0) * int(data.get("TotalPixelMatrixRows") or 0)
            return Instance(
                path, str(data.get("SeriesInstanceUID", "")), str(data.get("ContainerIdentifier", "")),
                kinds[2] if len(kinds) > 2 else "VOLUME", pixels, bool(data.get("ConcatenationUID")),
            )  # fmt: skip
    except DatasetError:
        return None
    return None


def _groups(files: Iterable[Path]) -> dict[tuple[Path, str], list[Instance]]:
    """Return the files of DICOM slides by folder and series."""
    groups: dict[tuple[Path, str], list[Instance]] = {}
    for one in map(instance, files):
        if one is not None:
            groups.setdefault((one.path.parent, one.series), []).append(one)
    return groups


def _largest(group: Sequence[Instance]) -> Instance:
    """Return the finest level of a group, or, where it has none, the instance that is refused for all of it."""
    return max(group, key=lambda one: (one.flavour == "VOLUME", one.pixels, one.path.name))


def entry(path: Path) -> Path:
    """Return the file that stands for a slide: itself, or the finest level of a folder's one DICOM slide.

    Raises ``DatasetError``: an empty folder, several slides in it, a label or overview, a level in several files.
    """
    if not path.is_dir():
        one = instance(path)
        if one is not None:
            _refuse(path, [one] if one.flavour != "VOLUME" else _groups(path.parent.iterdir())[path.parent, one.series])
        return path
    files = sorted(f for f in path.iterdir() if f.is_file() and not f.name.startswith("."))
    if not files:
        raise DatasetError(f"{path}: an empty folder, not a slide")
    found = [_largest(group) for group in _groups(files).values()]
    if not found:
        return max(files, key=lambda f: (f.stat().st_size, f.name))
    slides = [one for one in found if one.flavour == "VOLUME"] or found[:1]
    if len(slides) > 1:
        names = ", ".join(one.path.name for one in slides[:4]) + (", ..." if slides[4:] else "")
        raise DatasetError(f"{path}: holds {len(slides)} slides (DICOM series); name one file of each: {names}")
    _refuse(path, _groups(files)[slides[0].path.parent, slides[0].series])
    return slides[0].path


def _refuse(path: Path, group: Sequence[Instance]) -> None:
    volumes = [one for one in group if one.flavour == "VOLUME"]
    if not volumes:
        flavours = " and ".join(sorted({one.flavour.lower() for one in group if one.flavour.isalpha()}))
        raise DatasetError(
            f"{path}: the {flavours} image of a slide, not the slide; it can hold a name and is never embedded"
        )
    if any(one.joined for one in volumes):
        raise DatasetError(
            f"{path}: a slide whose level lies in several files (a DICOM concatenation), which OpenSlide does not read; join them"
        )
    if len({one.container for one in volumes}) > 1:
        raise DatasetError(
            f"{path}: a DICOM series with the slides of several containers; give each a series of its own"
        )


def stands(files: Iterable[Path]) -> dict[Path, Path]:
    """Return, for each file of a DICOM slide, what stands for the slide: its folder, or, of several in one, its finest level.

    The label or overview of a slide goes with it; one whose slide is not there stands for itself, and is refused when it is opened.
    """
    groups = _groups(files)
    folders = [folder for folder, _ in groups]
    found: dict[Path, Path] = {}
    for (folder, _), group in groups.items():
        first = _largest(group)
        place = first.path if folders.count(folder) > 1 or first.flavour != "VOLUME" else folder
        found |= {one.path: place for one in group}
    return found


def standing(files: Sequence[Path]) -> list[Path]:
    """Return files with each DICOM slide once (``stands``), instead of its instances."""
    found = stands(files)
    return list(dict.fromkeys(found.get(file, file) for file in files))

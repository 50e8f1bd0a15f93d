"""The one door for pixels: what an item that stands for pictures is, whichever verb it is given to.

A ``str`` is content and never a file; a ``pathlib.Path`` is a file, or a folder of DICOM slices, of any kind that healthfm reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from healthfm.datasets import media
from healthfm.errors import DatasetError, RunError
from healthfm.formats import image
from healthfm.formats.dicom import file as dicom
from healthfm.formats.source import Source
from healthfm.records import Image, Record, Slide, Video, Visual, Volume


def opened(item: Any) -> Any:
    """Return an item as what decodes it: a path as the record of what lies there, anything else as it is. No pixel is read.

    A still image's path stays a path. Raises ``DatasetError``: nothing there, or nothing that healthfm reads; ``RunError``: a text, a
    slide, or a record without pixels.
    """
    if isinstance(item, str):
        raise RunError("a str is text; a picture's file is a pathlib.Path")
    if is_slide(item):
        name = item if isinstance(item, Path) else item.id
        raise RunError(
            f"{name}: a slide is many tiles, each with a vector of its own: healthfm embed MODEL SLIDE makes them"
        )
    if isinstance(item, Path):
        return _of_path(item)
    if isinstance(item, Record) and not isinstance(item, Image | Volume | Video):
        raise RunError(f"{item.id}: a {type(item).__name__} holds no pictures")
    return item


def _of_path(path: Path) -> Path | Visual:
    if not path.exists():
        raise DatasetError(f"{path}: cannot be read (no such file or folder)")
    if path.name.lower().endswith(image.SUFFIXES) and not path.is_dir() and not dicom.holds_dicom(path):
        return path
    kind = media.kind_of(path)
    if kind is None:
        what = "a folder without DICOM slices" if path.is_dir() else "not a readable image, volume or film"
        raise DatasetError(f"{path}: {what}")
    if kind == "Slide":
        return opened(media.VISUAL[kind](id=str(path), **media.fields_of(kind, Source(path))))  # type: ignore[no-any-return]
    return media.VISUAL[kind](id=path.as_posix(), **media.fields_of(kind, Source(path)))


def is_slide(content: Any) -> bool:
    """Say whether an item is a slide: a record of one, or a file that is one (``media.kind_of``)."""
    if not isinstance(content, Path):
        return isinstance(content, Slide)
    return media.kind_of(content) == "Slide"

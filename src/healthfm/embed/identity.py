"""What tells that two items hold the same, and that a file has changed, without decoding it.

The rule: **content decides**. Files are read and digested, whatever they are called and whenever they were written. Of an item of more
than ``WHOLE`` bytes (a long series, a slide, a film) that would take too long: there it is names, sizes, times of change, and the first and
last ``EDGE`` bytes of each file. What stands beside a header (the voxels of an .mhd, the folder of an .mrxs) belongs to it.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from healthfm import formats
from healthfm.datasets import media
from healthfm.engine.pipeline import ordered
from healthfm.errors import DatasetError
from healthfm.formats.source import DAMAGE, Source, plain_name
from healthfm.records import Image, Record, Visual

WHOLE = 64 << 20  # bytes of an item that are read to tell what it is
EDGE = 1 << 20
LIBRARIES = (
    "Pillow", "numpy", "imagecodecs", "pydicom", "python-gdcm", "pyjpegls", "pylibjpeg", "SimpleITK", "nibabel", "av", "tifffile",
    "openslide-python", "openslide-bin",
)  # fmt: skip
READERS = 8  # files are waited for, not computed
COMMON = frozenset(one.name for one in fields(Record))
HEADERS = (".mhd", ".nhdr", ".hdr")  # their voxels lie in a file beside them


@dataclass(frozen=True)
class Held(Source):
    """A file whose bytes are in memory."""

    data: bytes = b""

    def open(self) -> IO[bytes]:
        """Open for binary reading."""
        return io.BytesIO(self.data)


def held(source: Source) -> Source:
    """Return a file with its bytes read; a very large or a packed one as it is. Raises ``DatasetError``: it cannot be read."""
    try:
        if (
            source.member is not None
            or plain_name(source.path.name) != source.path.name
            or source.path.stat().st_size > WHOLE
        ):
            return source
        return Held(source.path, None, source.problems, data=source.path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{source}: cannot be read ({error.strerror or type(error).__name__})") from None


def origin(content: Any) -> Source | Path | None:
    """Return the file or folder that an item is decoded from; None where it is not known to be one."""
    if isinstance(content, Source | Path):
        return content
    found = [one for one in _arguments(content) if isinstance(one, Source | Path)]
    return found[0] if len(found) == 1 else None


def from_memory(content: Any, data: Source) -> Any:
    """Return an item as one that is decoded from ``data``, its own bytes."""
    if isinstance(content, Path):
        return data
    reader = content.load
    arguments = [data if isinstance(one, Source) else one for one in reader.args]
    return replace(content, load=functools.partial(reader.func, *arguments, **reader.keywords))


def of_content(content: Any, place: Source | Path) -> str:
    """Return what an item holds: the identity of its file or folder ``place``, and how that is read.

    Raises ``DatasetError``: it cannot be read.
    """
    reader = _reader(content)
    if reader is None or (reader.func is media.picture and not reader.keywords):
        return of_file(place)
    others = [one for one in reader.args if not isinstance(one, Source | Path)]
    how = (type(content).__name__, reader.func.__qualname__, others, sorted(reader.keywords.items()), *_beside(content))
    return of_bytes(f"{of_file(place)} {how}".encode())


def _beside(content: Record) -> list[tuple[str, Any]]:
    """Return what a record says of its content that may stand in no file of it (a recording's rate, its channels)."""
    if isinstance(content, Visual):  # all of a picture is in its file
        return []
    own = [one.name for one in fields(content) if one.name not in COMMON]
    return [(name, getattr(content, name)) for name in own if not callable(getattr(content, name))]


def of_file(place: Source | Path) -> str:
    """Return the identity of a file or folder, and of what belongs to it. Raises ``DatasetError``: it cannot be read."""
    if isinstance(place, Held):
        return of_bytes(place.data)
    path, member = (place.path, place.member) if isinstance(place, Source) else (place, None)
    try:
        if isinstance(place, Source) and member is not None:
            with place.open() as handle:
                return hashlib.file_digest(handle, "sha256").hexdigest()  # type: ignore[arg-type]  # it reads alone
        files = belonging(path)
        if files == [path] and path.stat().st_size <= WHOLE:
            return of_bytes(path.read_bytes())
        return _of_files(path.parent, files)
    except DAMAGE as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise DatasetError(f"{place}: cannot be read ({why})") from None


def of_bytes(data: bytes) -> str:
    """Return the identity of the bytes of one file."""
    return hashlib.sha256(data).hexdigest()


@functools.cache
def decoders() -> str:
    """Return the digest of all that turns files into pictures: our own modules, by their bytes, and the libraries' versions."""
    seen = hashlib.sha256()
    ours = [*Path(str(formats.__file__)).parent.rglob("*.py"), Path(str(media.__file__))]
    for path in sorted(ours):
        seen.update(path.read_bytes())
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            seen.update(f"{name} {metadata.version(name)}\n".encode())
    return seen.hexdigest()


def stamp(place: Source | Path) -> tuple[Any, ...]:
    """Return what changes when a file or folder is written to: names, sizes and times of all that belongs to it."""
    path = place.path if isinstance(place, Source) else place
    try:
        return tuple(part for one in belonging(path) for part in (str(one.relative_to(path.parent)), *_facts(one)))
    except OSError:
        return ()


def of_record(record: Record) -> str:
    """Return what a record holds, for the list of what a run was asked: the identity of its files, else its digest.

    What no file is known of is decoded for it. A file that cannot be read has none: that is told where it is decoded.
    """
    place = origin(record)
    try:
        if place is not None:
            return of_content(record, place)
        if not isinstance(record, Visual):
            return record.digest()
    except DatasetError:
        return ""
    load = getattr(record, "load", None)
    return _of_pixels(load()) if load is not None else ""


def of_records(records: Sequence[Record]) -> list[str]:
    """Return what each record holds, several read at a time."""
    return list(ordered(of_record, records, READERS, 4 * READERS))


def _of_pixels(pixels: Any) -> str:
    return Image(id="", load=lambda: pixels).digest()


def _reader(content: Any) -> functools.partial[Any] | None:
    found = getattr(content, "load", None) or getattr(content, "open", None) or getattr(content, "frames", None)
    return found if isinstance(found, functools.partial) and isinstance(content, Record) else None


def _arguments(content: Any) -> tuple[Any, ...]:
    reader = _reader(content)
    return reader.args if reader is not None else ()


def _of_files(root: Path, files: Sequence[Path]) -> str:
    seen = hashlib.sha256()
    whole = sum(one.stat().st_size for one in files) <= WHOLE
    for one in files:
        size, _ = facts = _facts(one)
        with one.open("rb") as handle:
            if whole:
                parts = [handle.read()]
            else:
                seen.update(repr(facts).encode())
                parts = [handle.read(EDGE)]
                handle.seek(max(0, size - EDGE))
                parts.append(handle.read(EDGE))
        seen.update(f"{one.relative_to(root) if len(files) > 1 else ''} {size}\n".encode())
        for part in parts:
            seen.update(part)
    return seen.hexdigest()


def belonging(path: Path) -> list[Path]:
    """Return the files that are one item with a path: those below a folder, or the file and what it reads beside itself."""
    if path.is_dir():
        return _below(path)
    bare = plain_name(path.name)
    if bare.lower().endswith(HEADERS):
        beside = sorted(path.parent.glob(f"{glob.escape(Path(bare).stem)}.*"))
        return [path, *(one for one in beside if plain_name(one.name).lower().endswith(media.BESIDE))]
    return [path, *(_below(path.with_suffix("")) if path.suffix.lower() == ".mrxs" else ())]


def _below(folder: Path) -> list[Path]:
    return sorted(one for one in folder.rglob("*") if one.is_file() and not one.name.startswith("."))


def _facts(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns

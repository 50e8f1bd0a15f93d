"""Where bytes come from (a file, or a member of an archive) and what happens to a row that cannot be read.

``for row in jsonl.rows(source): with row: yield ...`` is the whole idiom: an error inside ``with row`` is raised as a
``DatasetError`` that names file and line, or, when the caller asked to collect, noted in ``source.problems`` while
reading goes on. Messages name keys, never values: values may be patient data.
"""

from __future__ import annotations

import codecs
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

from healthfm.errors import BadValue, DatasetError
from healthfm.formats import archive

DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)  # what reading damaged bytes raises


@dataclass
class Problems:
    """Rows that could not be read. ``on_error="raise"`` stops at the first, ``"collect"`` lists them all."""

    on_error: Literal["raise", "collect"] = "raise"
    found: list[DatasetError] = field(default_factory=list)
    passed: list[tuple[str, str]] = field(default_factory=list)  # files that are no records, and why: no error
    notices: list[str] = field(default_factory=list)  # what else a caller should hear of the files
    kept: dict[Source, Any] | None = None  # what was made of files that another split of one pass reads too

    def add(self, error: DatasetError) -> None:
        """Raise the error, or note it and go on."""
        if self.on_error == "raise":
            raise error
        self.found.append(error)


@dataclass(frozen=True)
class Source:
    """A readable file: ``path``, or ``member`` inside the archive at ``path``. ``.gz``, ``.zst`` and ``.bz2`` are unpacked while reading."""

    path: Path
    member: str | None = None
    problems: Problems = field(default_factory=Problems, compare=False)
    shared: bool = field(default=False, compare=False, kw_only=True)  # whether it is read for several splits

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}!{self.member}"

    @property
    def name(self) -> str:
        """The file's own name, without an outer ``.gz``, ``.zst`` or ``.bz2``."""
        return plain_name(Path(self.member or self.path).name)

    def open(self) -> IO[bytes]:
        """Open for binary reading. Raises ``DatasetError`` when the file cannot be opened."""
        try:
            if self.member is None:
                if archive.stream_of(self.path.name) is None:
                    return self.path.open("rb")
                return archive.unpacked(
                    self.path.name, lambda: self.path.open("rb"), self.path.stat().st_size, str(self)
                )
            if archive.stream_of(self.member) is None:
                return archive.open_member(self.path, self.member)
            member, size = self.member, archive.size_of(self.path, self.member)
            return archive.unpacked(member, lambda: archive.open_member(self.path, member), size, str(self))
        except (OSError, EOFError) as error:
            raise DatasetError(f"{self}: cannot be opened: {error.strerror or error}") from None  # type: ignore[union-attr]

    def text(self, encoding: str = "utf-8", errors: str = "strict") -> io.TextIOWrapper:
        """Open for reading text; a leading byte-order mark is dropped. ``errors``: as for ``open``.

        Raises ``DatasetError``: it cannot be opened, or ``encoding`` is none that Python knows.
        """
        try:
            marked = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
        except LookupError:
            raise DatasetError(f"{self}: there is no text encoding '{encoding}'") from None
        return io.TextIOWrapper(self.open(), encoding=marked, errors=errors, newline="")


def encoding_of(source: Source, *encodings: str) -> str:
    """Return the first of the encodings that a file's first megabyte is in, the last where it is in none."""
    try:
        with source.open() as handle:
            begin = handle.read(1 << 20)
    except DAMAGE as error:
        raise DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})") from None
    for one in encodings[:-1]:
        try:
            codecs.getincrementaldecoder(one)().decode(begin)
        except UnicodeDecodeError:
            continue
        return one
    return encodings[-1]


@dataclass(frozen=True)
class Held(Source):
    """Bytes that a cell of a table holds, in the place of a file: ``member`` says where they stand in the file at ``path``."""

    raw: bytes = b""

    def open(self) -> IO[bytes]:
        return io.BytesIO(self.raw)


def plain_name(name: str) -> str:
    """Return a file's name without an outer ``.gz``, ``.zst`` or ``.bz2``."""
    packed = archive.stream_of(name)
    return name[: -len(packed)] if packed else name


class Row(dict[str, Any]):
    """One row by column name. A missing key, and any error inside ``with row``, names file and row."""

    __slots__ = ("number", "source")

    def __init__(self, values: Mapping[str, Any], source: Source, number: int | str) -> None:
        super().__init__(values)
        self.source = source
        self.number = number

    def __missing__(self, key: str) -> Any:
        raise self.error(f"no '{key}' (it has: {', '.join(map(str, self)) or 'nothing'})")

    def error(self, reason: str) -> DatasetError:
        """Return a ``DatasetError`` that says where this row is."""
        return DatasetError(f"{self.source}, row {self.number}: {reason}")

    def __enter__(self) -> Row:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or not isinstance(error, DatasetError | ValueError | TypeError | LookupError | AttributeError):
            return False
        located = error if isinstance(error, DatasetError) else self.error(f"cannot be read: {reason_of(error)}")
        self.source.problems.add(located)
        return True


class Made(Row):
    """A row that is made of its values alone, which takes a third of the time; whoever makes it gives it ``source`` and ``number``."""

    __slots__ = ()
    __init__ = dict.__init__


def reason_of(error: BaseException) -> str:
    """Say what went wrong without repeating any value: our own errors in full, others by their kind."""
    return str(error) if isinstance(error, BadValue) else type(error).__name__


def whole(source: Source) -> str:
    """Return all text of a UTF-8 file. Raises ``DatasetError``: it is damaged, or not UTF-8."""
    try:
        with source.text() as handle:
            return handle.read()
    except UnicodeDecodeError:
        raise DatasetError(f"{source}: not UTF-8") from None
    except DAMAGE as error:
        raise DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})") from None


def lines(source: Source, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text) of a text file, UTF-8 unless its owner writes another encoding.

    A line that is not of the encoding is a problem of that line; damage ends it. Lines end at LF, as bytes: not for UTF-16 or UTF-32.
    """
    decoded = line_decoder(source, encoding)
    for first, held in line_blocks(source):
        for number, raw in enumerate(held, first):
            line = decoded(number, raw)
            if line is not None:
                yield number, line


def line_blocks(source: Source, size: int = 1 << 16) -> Iterator[tuple[int, list[bytes]]]:
    """Yield (number of the first line, lines) of a file, so many bytes at a time; damage ends it, after the lines before it."""
    number = 0
    try:
        with source.open() as handle:
            while held := handle.readlines(size):
                yield number + 1, held
                number += len(held)
    except DAMAGE:  # somewhere in these lines: those before it are read again, one by one
        yield from _up_to_the_damage(source, number)


def _up_to_the_damage(source: Source, read: int) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the lines behind those that were read, each by itself. Raises ``DatasetError``: where the damage is."""
    number = 0
    try:
        with source.open() as handle:
            for number, raw in enumerate(handle, 1):
                if number > read:
                    yield number, [raw]
    except DAMAGE as error:
        raise DatasetError(
            f"{source}, after line {number}: the file is damaged or cut short ({type(error).__name__})"
        ) from None


def line_decoder(source: Source, encoding: str) -> Callable[[int, bytes], str | None]:
    """Return what makes text of a numbered line; None where it is not of the encoding, which is a problem of the line.

    Raises ``DatasetError``: there is no such encoding, or its lines are not found by bytes.
    """
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise DatasetError(f"{source}: there is no text encoding '{encoding}'") from None
    if name.startswith(("utf-16", "utf-32")):
        raise DatasetError(f"{source}: {name.upper()} is not read by lines; save it as UTF-8")
    first = "utf-8-sig" if name == "utf-8" else encoding

    def decoded(number: int, raw: bytes) -> str | None:
        try:
            return raw.decode(first if number == 1 else encoding)
        except UnicodeDecodeError:
            source.problems.add(DatasetError(f"{source}, line {number}: not {name.upper()}"))
            return None

    return decoded

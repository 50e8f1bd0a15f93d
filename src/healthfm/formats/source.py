"""Where bytes come from (a file, or a member of an archive) and what happens to a row that cannot be read.

``for row in jsonl.rows(source): with row: yield ...`` is the whole idiom: an error inside ``with row`` is raised as a
``DatasetError`` that names file and line, or, when the caller asked to collect, noted in ``source.problems`` while
reading goes on. Messages name keys, never values: values may be patient data.
"""

from __future__ import annotations

import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping
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

    def add(self, error: DatasetError) -> None:
        """Raise the error, or note it and go on."""
        if self.on_error == "raise":
            raise error
        self.found.append(error)


@dataclass(frozen=True)
class Source:
    """A readable file: ``path``, or ``member`` inside the archive at ``path``. ``.gz`` is unpacked while reading."""

    path: Path
    member: str | None = None
    problems: Problems = field(default_factory=Problems, compare=False)

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}!{self.member}"

    @property
    def name(self) -> str:
        """The file's own name, without an outer ``.gz``."""
        return plain_name(Path(self.member or self.path).name)

    def open(self) -> IO[bytes]:
        """Open for binary reading. Raises ``DatasetError`` when the file cannot be opened."""
        try:
            if self.member is None:
                return archive.gunzipped(self.path) if is_gzip(self.path.name) else self.path.open("rb")
            raw = archive.open_member(self.path, self.member)
            return gzip.open(raw) if is_gzip(self.member) else raw  # type: ignore[return-value]
        except (OSError, EOFError) as error:
            raise DatasetError(f"{self}: cannot be opened: {error.strerror or error}") from None  # type: ignore[union-attr]

    def text(self, encoding: str = "utf-8", errors: str = "strict") -> io.TextIOWrapper:
        """Open for reading text; a leading byte-order mark is dropped. ``errors``: as for ``open``."""
        marked = "utf-8-sig" if encoding == "utf-8" else encoding
        return io.TextIOWrapper(self.open(), encoding=marked, errors=errors, newline="")


def encoding_of(source: Source, *encodings: str) -> str:
    """Return the first of the encodings that a file's first megabyte is in, the last where it is in none."""
    with source.open() as handle:
        begin = handle.read(1 << 20)
    for one in encodings[:-1]:
        try:
            codecs.getincrementaldecoder(one)().decode(begin)
        except UnicodeDecodeError:
            continue
        return one
    return encodings[-1]


def is_gzip(name: str) -> bool:
    """Whether a file's name ends in ``.gz``, in any case."""
    return name.lower().endswith(".gz")


def plain_name(name: str) -> str:
    """Return a file's name without an outer ``.gz``."""
    return name[:-3] if is_gzip(name) else name


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


def reason_of(error: BaseException) -> str:
    """Say what went wrong without repeating any value: our own errors in full, others by their kind."""
    return str(error) if isinstance(error, BadValue) else type(error).__name__


def lines(source: Source, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text) of a file. A line that is not UTF-8 (or what ``encoding`` says) is a problem of that line; damage ends it."""
    number = 0
    try:
        with source.open() as handle:
            for number, raw in enumerate(handle, 1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 and encoding == "utf-8" else encoding)
                except UnicodeDecodeError:
                    source.problems.add(DatasetError(f"{source}, line {number}: not {encoding.upper()}"))
                    continue
                yield number, line
    except DAMAGE as error:
        raise DatasetError(
            f"{source}, after line {number}: the file is damaged or cut short ({type(error).__name__})"
        ) from None

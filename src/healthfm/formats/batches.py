"""Large CSV files by columns (RFC 4180, read by Arrow): batches of text, in bounded memory, packed by gzip or not.

Every cell stays the text it is, an empty one is null; column names are lowered, since owners' releases differ in nothing else.
Lines with another number of cells are a problem of the file that counts them, never a value.
"""

from __future__ import annotations

import codecs
import contextlib
import csv as plain
import io
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
from pyarrow import csv

from healthfm.errors import DatasetError
from healthfm.formats import delimited
from healthfm.formats.source import DAMAGE, Source

EMPTY = "Empty CSV file"  # what Arrow says where there is no row below the header
BLOCK = 1 << 19  # bytes of a file in one batch: Arrow reads some ahead, and what they took is not all given back
LONGEST = 8 << 20  # bytes of a row, at most: a batch is larger where a row is


def delimiter_of(source: Source) -> str:
    """Return what stands between a file's columns: tabs where its first line has any, else commas."""
    try:
        with source.text(errors="surrogateescape") as handle:
            return "\t" if "\t" in handle.readline() else ","
    except DAMAGE as error:
        raise DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})") from None


def header(source: Source) -> list[str]:
    """Return the names of a file's columns, lowered. Raises ``DatasetError``: it is empty, or a name occurs twice."""
    try:
        with source.text(errors="surrogateescape") as handle:
            cells = next(plain.reader(handle, delimiter=delimiter_of(source)), [])
            names = [delimited.bare_name(name).lower() for name in cells]
    except (plain.Error, *DAMAGE) as error:
        raise DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})") from None
    if any(delimited.NOT_UTF8.search(name) for name in names):
        raise DatasetError(f"{source}: the names of its columns are not UTF-8")
    if not any(names):
        raise DatasetError(f"{source}: the file is empty")
    delimited.each_once(names, source)
    return names


def batches(source: Source, block: int = BLOCK, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file as batches of text columns, of all of them or of ``columns``, in their order. Raises ``DatasetError``: damaged, or not UTF-8."""
    names, delimiter = header(source), delimiter_of(source)
    skipped = [0]

    def skip(row: Any) -> str:
        skipped[0] += 1
        return "skip"

    kinds = {name: pa.string() for name in names}
    try:
        with source.open() as handle:
            counted = _Counted(handle, block)
            reader = csv.open_csv(
                counted,
                read_options=csv.ReadOptions(column_names=names, skip_rows=1, block_size=max(block, LONGEST)),
                parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip),
                convert_options=csv.ConvertOptions(
                    column_types=kinds,
                    null_values=[""],
                    strings_can_be_null=True,
                    check_utf8=False,
                    include_columns=list(columns) if columns is not None else None,
                ),
            )
            try:
                for batch in reader:
                    if counted.failed:
                        break
                    if batch.num_rows:
                        yield batch
            finally:
                counted.finish(reader)
    except pa.ArrowException as error:
        if not counted.failed and str(error) != EMPTY:
            raise DatasetError(f"{source}: not a table of UTF-8 text, or cut short ({type(error).__name__})") from None
    except DAMAGE as error:
        raise DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})") from None
    if isinstance(counted.failed, UnicodeDecodeError):
        raise DatasetError(f"{source}: not UTF-8; save it as UTF-8")
    if counted.failed:
        raise DatasetError(f"{source}: the file is damaged or cut short ({type(counted.failed).__name__})")
    if counted.quotes % 2:
        source.problems.add(
            DatasetError(f"{source}: a quote opens a cell and is never closed; rows after it are lost in it")
        )
    if skipped[0]:
        source.problems.add(DatasetError(f"{source}: {skipped[0]} rows have not the header's {len(names)} cells"))


class _Counted(io.RawIOBase):
    """A stream that counts the quotes in it: Arrow reads on to the end where one is never closed, and says nothing.

    It ends at bytes that are not UTF-8 (of a row that has another number of cells too, Arrow would say nothing either) and at damage, which is ``failed``:
    an error raised into Arrow's own thread may outlive Python, and the process is then aborted.
    """

    def __init__(self, inner: IO[bytes], block: int) -> None:
        self.inner, self.block, self.quotes, self.within = inner, block, 0, False
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.failed: Exception | None = None
        self.ended = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return b"" if self.ended else self._read(size)
        except (UnicodeDecodeError, *DAMAGE) as error:
            self.failed, self.ended = error, True
            return b""

    def finish(self, reader: csv.CSVStreamingReader) -> None:
        """End the stream and wait until the thread that reads ahead has seen it."""
        self.ended = True
        with contextlib.suppress(pa.ArrowException):
            for _ in reader:
                pass

    def _read(self, size: int) -> bytes:
        data = self.inner.read(min(size, self.block))
        quotes = _quotes(data)
        while data and len(data) < size and not _ends_a_row(data, self.quotes + quotes):
            more = self.inner.read(self.block)
            if not more:
                break
            data, quotes = data + more, quotes + _quotes(more)
        self.quotes += quotes
        if self.within or not data or not data.isascii():  # a look that is many times as fast as what it spares
            self.decoder.decode(data, final=not data)
            self.within = bool(self.decoder.getstate()[0])
        return data


def _quotes(data: bytes) -> int:
    return data.count(b'"') if b'"' in data else 0  # to look first is many times as fast


def _ends_a_row(data: bytes, quotes: int) -> bool:
    """Whether a row ends in what comes next, as its last line's end tells: one within quotes does not. ``quotes``: up to the end of it."""
    end = data.rfind(b"\n")
    return end >= 0 and (quotes - data.count(b'"', end)) % 2 == 0

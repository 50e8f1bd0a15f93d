"""Tables: CSV, TSV, Parquet and JSON lines as rows by column name. Values stay text in CSV, so that 007 stays 007."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from healthfm.errors import DatasetError
from healthfm.formats import jsonl
from healthfm.formats.source import Row, Source

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")


def rows(source: Source) -> Iterator[Row]:
    """Yield the rows of a CSV, TSV, Parquet or JSON-lines file, chosen by its name."""
    kind = source.name.rsplit(".", 1)[-1].lower()
    if kind in {"csv", "tsv"}:
        return _delimited(source, "," if kind == "csv" else "\t")
    if kind == "parquet":
        return _parquet(source)
    if kind == "jsonl":
        return jsonl.rows(source)
    raise DatasetError(f"{source}: not a table healthfm reads (use {', '.join(SUFFIXES)})")


def _delimited(source: Source, delimiter: str) -> Iterator[Row]:
    try:
        with source.text() as handle:
            reader = csv.reader(handle, delimiter=delimiter, strict=True)
            header = next(reader, None)
            if header is None:
                raise DatasetError(f"{source}: the file is empty")
            if len(set(header)) != len(header):
                twice = sorted({name for name in header if header.count(name) > 1})
                raise DatasetError(f"{source}: column names occur twice: {', '.join(twice)}")
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    source.problems.add(
                        DatasetError(
                            f"{source}, line {reader.line_num}: {len(cells)} cells, the header has {len(header)}"
                        )
                    )
                    continue
                yield Row(dict(zip(header, cells, strict=True)), source, reader.line_num)
    except UnicodeDecodeError:
        raise DatasetError(f"{source}: not UTF-8; save it as UTF-8") from None
    except csv.Error as error:
        raise DatasetError(f"{source}, line {reader.line_num}: not valid CSV ({error})") from None


def _parquet(source: Source) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with source.open() as handle:
            number = 0
            for batch in pq.ParquetFile(handle).iter_batches():
                for values in batch.to_pylist():
                    number += 1
                    yield Row(values, source, number)
    except (pa.ArrowInvalid, OSError) as error:
        raise DatasetError(f"{source}: not a readable Parquet file ({type(error).__name__})") from None

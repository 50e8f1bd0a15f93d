"""Tables: CSV, TSV, Parquet and JSON lines as rows by column name. Values stay text in CSV, so that 007 stays 007."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from healthfm.errors import DatasetError
from healthfm.formats import jsonl
from healthfm.formats.source import DAMAGE, Row, Source

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")
csv.field_size_limit(2**31 - 1)  # a clinical note may be longer than the csv module's 128 KiB


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
            _each_once(header, source)
            while True:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    source.problems.add(DatasetError(f"{source}, line {reader.line_num}: not valid CSV ({error})"))
                    continue
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
    except DAMAGE as error:
        raise DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})") from None


def _parquet(source: Source) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with source.open() as handle:
            number = 0
            file = pq.ParquetFile(handle)
            _each_once(file.schema_arrow.names, source)
            for batch in file.iter_batches():
                for values in batch.to_pylist():
                    number += 1
                    yield Row(values, source, number)
    except (pa.ArrowException, *DAMAGE) as error:
        raise DatasetError(f"{source}: not a readable Parquet file ({type(error).__name__})") from None


def _each_once(names: list[str], source: Source) -> None:
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) != len(names) else []
    if twice:
        raise DatasetError(f"{source}: column names occur twice: {', '.join(twice)}")

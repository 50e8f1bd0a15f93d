"""Tables: CSV, TSV, Parquet and JSON lines as rows by column name. Values stay text in CSV, so that 007 stays 007."""

from __future__ import annotations

from collections.abc import Iterator

from healthfm.errors import DatasetError
from healthfm.formats import delimited, jsonl
from healthfm.formats.source import DAMAGE, Row, Source

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")


def rows(source: Source) -> Iterator[Row]:
    """Yield the rows of a CSV, TSV, Parquet or JSON-lines file, chosen by its name; column names have no blanks around."""
    kind = source.name.rsplit(".", 1)[-1].lower()
    if kind in {"csv", "tsv"}:
        return delimited.rows(source, "," if kind == "csv" else "\t")
    if kind == "parquet":
        return _parquet(source)
    if kind == "jsonl":
        return map(_trimmed, jsonl.rows(source))
    raise DatasetError(f"{source}: not a table healthfm reads (use {', '.join(SUFFIXES)})")


def _parquet(source: Source) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with source.open() as handle:
            number = 0
            file = pq.ParquetFile(handle)
            names = [delimited.bare_name(name) for name in file.schema_arrow.names]
            delimited.each_once(names, source)
            for batch in file.iter_batches():
                for values in batch.rename_columns(names).to_pylist():
                    number += 1
                    yield Row(values, source, number)
    except (pa.ArrowException, ValueError, *DAMAGE) as error:
        raise DatasetError(f"{source}: not a readable Parquet file ({type(error).__name__})") from None


def _trimmed(row: Row) -> Row:
    """Return a row with its names bare of the blanks around them."""
    names = [delimited.bare_name(name) for name in row]
    if names == list(row):
        return row
    delimited.each_once(names, row.source)
    return Row(dict(zip(names, row.values(), strict=True)), row.source, row.number)

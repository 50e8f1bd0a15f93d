"""``healthfm read``."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from healthfm.cli.console import JsonFlag, emit_fields, emit_json
from healthfm.errors import DatasetError

Columns = Annotated[
    list[str] | None,
    typer.Option("--columns", help="For a manifest: FIELD=COLUMN, e.g. question=stem, options.A=first."),
]


def column_map(pairs: list[str] | None) -> dict[str, Any]:
    """Turn ``["question=stem", "options.A=first"]`` into a nested mapping."""
    found: dict[str, Any] = {}
    for pair in itertools.chain.from_iterable(one.split(",") for one in pairs or ()):
        field, equals, column = pair.partition("=")
        if not equals or not field or not column:
            raise DatasetError(f"--columns takes FIELD=COLUMN, not '{pair}'")
        top, _, key = field.partition(".")
        if key:
            found.setdefault(top, {})[key] = column
        else:
            found[field] = column
    return found


def dataset_argument(name: str) -> str | Path:
    """Return a Path when the argument means own data on disk, else the name."""
    looks_like_path = (
        "/" in name
        or name.startswith(".")
        or ("." in name and Path(name).is_file())  # e.g. an .xlsx: the reader says what it takes instead
        or name.removesuffix(".gz").endswith((".csv", ".tsv", ".jsonl", ".parquet", ".toml"))
    )
    return Path(name) if looks_like_path else name


def register(app: typer.Typer) -> None:
    @app.command()
    def read(
        dataset: Annotated[
            str, typer.Argument(help="SLUG[:VARIANT], or a path to own data (a folder with a slash: ./ward).")
        ],
        root: Annotated[Path | None, typer.Option(help="Folder with the official files, packed or not.")] = None,
        split: Annotated[str | None, typer.Option(help="One split; all present ones without it.")] = None,
        head: Annotated[int, typer.Option(help="How many records to print.")] = 3,
        output: Annotated[Path | None, typer.Option(help="Write every record to this Parquet file instead.")] = None,
        columns: Columns = None,
        json: JsonFlag = False,
    ) -> None:
        """Read a dataset's official files, or own data, as records.

        Example: healthfm read pubmedqa --root examples/pubmedqa --split test
        """
        from healthfm.datasets.dataset import as_row
        from healthfm.datasets.open import open_dataset
        from healthfm.formats.walk import told

        opened = open_dataset(dataset_argument(dataset), root, split, columns=column_map(columns))
        if output is not None:
            print(opened.to_parquet(output))
        rows = [] if output is not None else [as_row(record) for record in itertools.islice(opened, head)]
        if passed := told(opened.passed_over):
            print(f"notice: {passed}", file=sys.stderr)
        if output is not None:
            return
        if json:
            emit_json(rows)
            return
        for row in rows:
            emit_fields(list(row.items()))
            print()
        print(f"{opened.name}: {len(rows)} records shown; splits present: {', '.join(opened.splits)}")

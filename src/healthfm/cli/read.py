"""``healthfm read``."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Annotated

import typer

from healthfm.cli.check import show
from healthfm.cli.console import emit_fields, emit_json
from healthfm.cli.options import Columns, DatasetName, JsonFlag, Root, Split, column_map, dataset_argument
from healthfm.errors import DatasetError

SHOWN = 4000  # characters of one field


def register(app: typer.Typer) -> None:
    @app.command()
    def read(
        dataset: DatasetName,
        root: Root = None,
        split: Split = None,
        limit: Annotated[
            int | None,
            typer.Option("--limit", "--head", min=0, help="How many records to print (3), or to write (all)."),
        ] = None,
        to: Annotated[
            str | None,
            typer.Option(help="Write the records instead: parquet, jsonl, webdataset, croissant, meds (timelines)."),
        ] = None,
        output: Annotated[
            Path | None, typer.Option(help="The file or folder to write (Parquet unless --to says otherwise).")
        ] = None,
        summary: Annotated[
            bool, typer.Option("--summary", help="Count instead: splits, labels, patients, lengths, missing values.")
        ] = False,
        columns: Columns = None,
        json: JsonFlag = False,
    ) -> None:
        """Read a dataset's official files, or own data, as records: print some, count them, or write them for other programs.

        Parquet and JSON lines hold the same columns; webdataset writes shards with the images in them; croissant writes a folder of Parquet
        files with croissant.json and a data card. What is written is read whole first: nothing half is left.

        Example: healthfm read pubmedqa --root examples/pubmedqa --split test --limit 5
        """
        from healthfm.datasets.dataset import as_row
        from healthfm.datasets.export.write import export_dataset
        from healthfm.datasets.open import open_dataset
        from healthfm.formats.walk import told

        if to is not None and output is None:
            raise DatasetError("--to needs --output, the file or folder to write")
        opened = open_dataset(dataset_argument(dataset), root, split, columns=column_map(columns))
        if limit is not None and (summary or output is not None):
            opened = opened.first(limit)
        rows = []
        if summary:
            found = opened.summary()
            emit_json(found) if json else show(found)
        elif output is not None:
            print(export_dataset(opened, to or "parquet", output))
            for line in (one for one in opened.notices if one != told(opened.passed_over)):
                print(f"notice: {line}", file=sys.stderr)
        else:
            rows = [as_row(record) for record in itertools.islice(opened, 3 if limit is None else limit)]
        if passed := told(opened.passed_over):
            print(f"notice: {passed}", file=sys.stderr)
        if output is not None or summary:
            return
        if json:
            emit_json(rows)
            return
        for row in rows:
            emit_fields([(name, _shown(value)) for name, value in row.items()])
            print()
        print(f"{opened.name}: {len(rows)} records shown; splits present: {', '.join(opened.splits)}")


def _shown(value: object) -> object:
    """Return a value as a terminal has room for; --json and --output have it whole."""
    text = str(value)
    return (
        value if len(text) <= SHOWN else f"{text[:SHOWN]} ... ({len(text) - SHOWN:,} more characters; --json shows all)"
    )

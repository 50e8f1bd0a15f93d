"""``healthfm read``."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Annotated

import typer

from healthfm.cli.console import emit_fields, emit_json
from healthfm.cli.options import Columns, DatasetName, JsonFlag, Root, Split, column_map, dataset_argument

SHOWN = 4000  # characters of one field


def register(app: typer.Typer) -> None:
    @app.command()
    def read(
        dataset: DatasetName,
        root: Root = None,
        split: Split = None,
        head: Annotated[int, typer.Option(help="How many records to print.")] = 3,
        output: Annotated[Path | None, typer.Option(help="Write every record to this Parquet file instead.")] = None,
        to: Annotated[
            str, typer.Option(help="What --output becomes: parquet (a file), meds (a folder, of timelines).")
        ] = "parquet",
        columns: Columns = None,
        json: JsonFlag = False,
    ) -> None:
        """Read a dataset's official files, or own data, as records.

        Example: healthfm read pubmedqa --root examples/pubmedqa --split test
        """
        from healthfm.datasets import meds
        from healthfm.datasets.dataset import as_row
        from healthfm.datasets.open import open_dataset
        from healthfm.errors import DatasetError
        from healthfm.formats.walk import told

        opened = open_dataset(dataset_argument(dataset), root, split, columns=column_map(columns))
        if to not in ("parquet", "meds") or (to == "meds" and output is None):
            raise DatasetError(f"--to is {to}; use parquet or meds, with --output")
        if output is not None and to == "meds":
            for line in meds.write(opened, output):
                print(line, file=sys.stderr)
            print(output)
        elif output is not None:
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
            emit_fields([(name, _shown(value)) for name, value in row.items()])
            print()
        print(f"{opened.name}: {len(rows)} records shown; splits present: {', '.join(opened.splits)}")


def _shown(value: object) -> object:
    """Return a value as a terminal has room for; --json and --output have it whole."""
    text = str(value)
    return (
        value if len(text) <= SHOWN else f"{text[:SHOWN]} ... ({len(text) - SHOWN:,} more characters; --json shows all)"
    )

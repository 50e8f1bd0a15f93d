"""``healthfm check``."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from healthfm.cli.console import emit_fields, emit_json, emit_table
from healthfm.cli.options import Columns, DatasetName, JsonFlag, Root, column_map, dataset_argument

FIRST = 5  # so many of the files passed over are named; --json lists all


def _first(passed: Sequence[tuple[str, str]]) -> list[str]:
    from healthfm.formats.walk import QUIET

    return [f"{file}: {reason}" for file, reason in passed if reason not in QUIET][:FIRST]


def register(app: typer.Typer) -> None:
    @app.command()
    def check(
        dataset: DatasetName,
        root: Root = None,
        columns: Columns = None,
        json: JsonFlag = False,
    ) -> None:
        """Read every record once and hold the counts against the card; unreadable rows are listed, exit code 1.

        Of own data, files that are no records (another kind, hidden, empty) are counted as passed over, which is no error; --json
        lists them.

        Example: healthfm check medqa --root ~/MedQA
        """
        from healthfm.datasets.open import open_dataset
        from healthfm.formats.walk import told

        opened = open_dataset(dataset_argument(dataset), root, on_error="collect", columns=column_map(columns))
        summary = opened.summary()
        if json:
            emit_json(summary)
        else:
            rows = [(name, s["records"], s["card"]) for name, s in summary["splits"].items()]
            emit_table(("split", "records", "on the card"), rows, title=f"{summary['dataset']} in {summary['root']}")
            emit_fields([
                ("record", summary["record"]), ("patients", summary["patients"]), ("absent", ", ".join(summary["absent_splits"])),
                ("labels", [f"{name}: " + ", ".join(f"{k} {n}" for k, n in found.items()) for name, found in summary["labels"].items()]),
                ("notices", summary["notices"]), ("not read", summary["errors"]), ("passed over", [told(opened.passed_over), *_first(opened.passed_over)]),
            ])  # fmt: skip
        differs = any(one["card"] not in (None, one["records"]) for one in summary["splits"].values())
        raise typer.Exit(1 if summary["errors"] or differs else 0)

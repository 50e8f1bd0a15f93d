"""``healthfm check``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from healthfm.cli.console import emit_fields, emit_json, emit_table, progress_bar
from healthfm.cli.options import Columns, DatasetName, JsonFlag, Root, column_map, dataset_argument
from healthfm.errors import DatasetError

SHOWN = 20  # findings of a kind that are printed; --json has all

FIRST = 5  # so many of the files passed over are named; --json lists all


def _first(passed: Sequence[tuple[str, str]]) -> list[str]:
    from healthfm.formats.walk import QUIET

    return [f"{file}: {reason}" for file, reason in passed if reason not in QUIET][:FIRST]


def register(app: typer.Typer) -> None:
    @app.command()
    def check(
        dataset: DatasetName,
        folder: Annotated[Path | None, typer.Argument(metavar="[ROOT]", help="The same as --root.")] = None,
        root: Root = None,
        columns: Columns = None,
        pixels: Annotated[
            bool,
            typer.Option(help="Decode pictures, volumes, films and masks too: of a large set this takes its time."),
        ] = True,
        json: JsonFlag = False,
    ) -> None:
        """Read every record once and hold a copy against the card: files, digests, counts, unreadable rows; exit code 1 where it is at fault.

        Faults: rows that cannot be read (with file and line), ids that occur twice, counts that differ, files that are half there or are not
        the published ones; pixels that cannot be decoded, masks on another grid, outlines outside, films of other lengths than they say; of own data, patients who straddle splits. Notices, which are no fault: records that say the same as another or
        nothing, files that belong to nothing. Of own data, files that are no records (another kind, hidden, empty) are passed over.

        Example: healthfm check medqa ~/MedQA
        """
        from healthfm.datasets.check import check_dataset

        if folder is not None and root is not None and folder != root:
            raise DatasetError(f"two folders are given, {folder} and --root {root}; give one")
        with progress_bar(f"check {dataset}", quiet=json or not sys.stderr.isatty()) as advance:
            found = check_dataset(
                dataset_argument(dataset), root or folder, column_map(columns), pixels=pixels, progress=advance
            )
        if json:
            emit_json(found)
        else:
            show(found)
        raise typer.Exit(1 if found["faults"] else 0)


def show(found: dict[str, Any]) -> None:
    """Print a summary as tables, and what a check found where there was one."""
    from healthfm.formats.walk import told

    rows = [
        (name, s["records"], s["card"], found["patients_by_split"].get(name), *_lengths(found, name))
        for name, s in found["splits"].items()
    ]
    columns = ("split", "records", "on the card", "patients", "shortest", "median", "longest")
    kept = [place for place, _ in enumerate(columns) if place < 3 or any(row[place] is not None for row in rows)]
    emit_table(
        [columns[p] for p in kept],
        [[row[p] for p in kept] for row in rows],
        title=f"{found['dataset']} in {found['root']}",
    )
    passed = [(one["file"], one["reason"]) for one in found["passed_over"]]
    files, total = found.get("files") or {}, sum(one["records"] for one in found["splits"].values())
    emit_fields([
        ("record", found["record"]), ("patients", found["patients"]), ("absent", ", ".join(found["absent_splits"])),
        ("labels", [f"{name}: " + ", ".join(f"{k} {n}" for k, n in each.items()) for name, each in found["labels"].items()]
         + [f"{name}: {one['count']} numbers, mean {one['mean']:.4g}, {one['min']:g} to {one['max']:g}" for name, one in found["numbers"].items()]),
        ("missing", ", ".join(f"{name} {n}" for name, n in found["missing"].items() if n < total)),
        ("files", f"{len(files.get('present', []))} of the card" if files else None),
        ("not here", _some(files.get("missing", []))), ("beside them", _some(files.get("extra", []))),
        ("notices", _some(found["notices"])), ("not read", _some(found["errors"])),
        ("at fault", _some([one for one in found.get("faults", []) if one not in found["errors"]])),
        ("passed over", [told(passed), *_first(passed)]),
    ])  # fmt: skip


def _lengths(found: dict[str, Any], split: str) -> tuple[Any, Any, Any]:
    one = found["lengths"].get(split, {})
    return one.get("min"), one.get("median"), one.get("max")


def _some(lines: list[str]) -> list[str]:
    return lines[:SHOWN] + ([f"and {len(lines) - SHOWN} more (--json lists them)"] if len(lines) > SHOWN else [])

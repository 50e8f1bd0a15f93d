"""The arguments and options that several verbs take: each is declared once, with its help, and what its words mean."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from healthfm.errors import CardError, DatasetError


def row_names(kind: str | None = None) -> Callable[[str], list[str]]:
    """Return what completes the names of rows in a shell. Cards are not read for it; what is no row's name the shell completes as a file."""

    def complete(incomplete: str) -> list[str]:
        from healthfm.cards import files

        try:
            return [slug for slug in files.slugs(kind) if slug.startswith(incomplete)]
        except CardError:  # a shell's prompt is no place for it: the command itself will say it
            return []

    return complete


ModelName = Annotated[
    str,
    typer.Argument(
        help="MODEL[:VARIANT]; or your own: hf:FOLDER, endpoint:URL[#MODEL], python:MODULE:OBJECT[:VERB].",
        autocompletion=row_names("model"),
    ),
]
DatasetName = Annotated[
    str,
    typer.Argument(
        help="SLUG[:VARIANT], or own data (a folder with a slash: ./ward).", autocompletion=row_names("dataset")
    ),
]
ListedModel = Annotated[
    str, typer.Argument(help="MODEL[:VARIANT] of the catalogue.", autocompletion=row_names("model"))
]
ListedDataset = Annotated[
    str, typer.Argument(help="SLUG[:VARIANT] of the catalogue.", autocompletion=row_names("dataset"))
]
Kind = Annotated[str | None, typer.Option(help="model or dataset.")]
Root = Annotated[Path | None, typer.Option(help="Folder with the dataset's official files, packed or not.")]
Split = Annotated[str | None, typer.Option(help="One split of a dataset or manifest; all present ones without it.")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--columns", help="For a manifest: FIELD=COLUMN, e.g. question=stem, options.A=first."),
]
Weights = Annotated[
    str | None, typer.Option(help="File or folder with the published weights ('random' for a dry run).")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Dtype = Annotated[str, typer.Option(help="auto (float32 on CPU), float32, bfloat16 or float16.")]
Window = Annotated[
    tuple[float, float] | None,
    typer.Option(help="Volumes: the values that become black and white in their slices, e.g. -160 240."),
]
Seed = Annotated[int, typer.Option(help="Seed of samples, draws and resamples.")]
RunOutput = Annotated[Path | None, typer.Option(help="Run folder (default: runs/MODEL--DATASET--DIGEST).")]
ShowInputs = Annotated[
    bool, typer.Option(help="Put the questions of private data into the report (the page is stamped).")
]
AllowRemote = Annotated[
    list[str] | None,
    typer.Option(
        help="A model behind a server elsewhere: let what you give go to this HOST (repeatable).", metavar="HOST"
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


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
    """Return a Path when the argument means own data on disk, else the name, as ``open_dataset`` does."""
    from healthfm.datasets.open import own_path

    return own_path(name) or name

"""One's own OMOP Common Data Model: a folder of its tables as CSV (commas or tabs, packed or not), ``person.csv`` among them.

The card of such data says nothing of it; the model says what its tables mean (``datasets/ehr/layouts/omop.toml``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from healthfm.datasets.dataset import Dataset
from healthfm.datasets.ehr.database import Database
from healthfm.datasets.ehr.layout import layout
from healthfm.datasets.own.card import Manifest, own_card
from healthfm.datasets.own.folders import OnError
from healthfm.formats.source import Problems, Source, plain_name
from healthfm.records import Record


def tables(folder: Path) -> dict[str, Path]:
    """Return a folder's CSV files by their names in lower case, without suffixes."""
    files = sorted(one for one in folder.iterdir() if one.is_file() and plain_name(one.name).lower().endswith(".csv"))
    return {plain_name(one.name).lower().removesuffix(".csv"): one for one in files}


def is_omop(folder: Path) -> bool:
    """Whether a folder holds the table of persons and another table of the model."""
    here = set(tables(folder))
    return "person" in here and bool(here & (set(layout("omop").tables()) - {"person"}))


def open_omop(folder: Path, on_error: OnError) -> Dataset:
    """Open such a folder as one split of timelines, a person each."""
    declared = layout("omop")

    def read(split: str, problems: Problems) -> Iterator[Record]:
        found = {name: Source(path, problems=problems) for name, path in tables(folder).items()}
        yield from Database(declared, found, problems).timelines(split)

    card = own_card(folder.name, "Timeline", ("all",), Manifest(summary="The user's own OMOP tables."))
    return Dataset(card, read, ("all",), root=folder, on_error=on_error)

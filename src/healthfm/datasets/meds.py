"""Timelines as a dataset of the Medical Event Data Standard (MEDS 0.4: github.com/Medical-Event-Data-Standard/meds, schema.py).

A subject is a timeline, and its number the timeline's id. What MEDS has no column for is kept in columns of its own: ``end``, ``unit`` (a
modifier of the code), ``table``, ``stay``, ``visit``, ``day``, ``more``. A timeline without dates is counted from 1970-01-01, its zero.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from healthfm.cards.schema import DatasetCard
from healthfm.errors import DatasetError
from healthfm.records import Record, Timeline

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = "0.4.1"
SHARD = 500_000  # events of a file; more where one subject has more
LOOSE = 1_000_000  # events taken in before what is held is copied together: a slice keeps the whole table that it was cut from
UNIQUE = ("subject_id", "time", "end", "text_value", "numeric_value", "more")  # columns of which no dictionary is made
SPLITS = {"train": "train", "validation": "tuning", "test": "held_out"}
DRAWN = (
    ("train", 0.8),
    ("tuning", 0.9),
    ("held_out", 1.0),
)  # of a dataset that its owner did not divide: the share of patients up to here
OWN = ("end", "table", "day", "more")


class Opened(Protocol):
    """What is asked of a ``Dataset``."""

    card: DatasetCard
    notices: list[str]

    @property
    def name(self) -> str:
        """``slug[:variant]``."""

    @property
    def selected(self) -> tuple[str, ...]:
        """The splits that iteration covers."""

    def __iter__(self) -> Iterator[Record]:
        """Yield its records."""


def write(dataset: Opened, path: Path | str) -> list[str]:
    """Write a dataset of timelines into a new or empty folder; return what a reader of it should know, a line each.

    No patient stands in two splits: a dataset of one split is divided by a draw of patients (80, 10 and 10 of 100). Events that have no
    time and are not static are left out, and counted: MEDS would take them for facts that were always known.
    Raises ``DatasetError``: the folder holds something, or the records are no timelines, or ids are no whole numbers.
    """
    folder = Path(path).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(f"{folder}: is there already and not empty; name a new folder")
    (folder / "metadata").mkdir(parents=True, mode=0o700)
    shards = _Shards(folder)
    for record in dataset:
        if not isinstance(record, Timeline):
            raise DatasetError(f"{dataset.name}: MEDS holds timelines, and its records are {type(record).__name__}s")
        shards.add(record, _split(record, dataset.selected))
    shards.close()
    _write_metadata(folder, dataset, shards)
    lost = f"{shards.undated:,} events without a time are left out" if shards.undated else ""
    drawn = (
        "subjects were divided by a draw of patients: the owner's files are not divided"
        if len(dataset.selected) == 1
        else ""
    )
    return [
        f"{shards.events:,} events of {len(shards.subjects):,} subjects",
        *(one for one in (lost, drawn) if one),
        *dataset.notices,
    ]


def _split(record: Timeline, selected: Sequence[str]) -> str:
    if len(selected) > 1:
        return SPLITS.get(record.split or "", record.split or "train")
    place = int(hashlib.sha256(f"meds {record.patient or record.id}".encode()).hexdigest()[:8], 16) / 2**32
    return next(name for name, until in DRAWN if place < until)


@dataclass
class _Shards:
    """Files that fill up with whole subjects, those of a split in a folder of their own."""

    folder: Path
    held: dict[str, list[pa.Table]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    subjects: list[tuple[int, str]] = field(default_factory=list)
    names: dict[str, str | None] = field(default_factory=dict)
    undated: int = 0
    events: int = 0
    loose: int = 0

    def add(self, record: Timeline, split: str) -> None:
        """Take in a timeline."""
        import pyarrow as pa

        if not record.id.isdecimal():
            raise DatasetError(f"timeline {record.id}: MEDS needs whole numbers for subjects")
        events = record.events
        self.subjects.append((int(record.id), split))
        self.held.setdefault(split, []).append(
            events.append_column("subject_id", pa.repeat(pa.scalar(int(record.id), pa.int64()), len(events)))
        )
        self.sizes[split] = self.sizes.get(split, 0) + len(events)
        self._name_of = record.name_of
        full = self.sizes[split] >= SHARD
        if full:
            self._publish(split)
        self.loose += len(events)
        if full or self.loose >= LOOSE:  # after a file is written, so that what would fill the next is not copied
            self.held = {one: [pa.concat_tables(tables).combine_chunks()] for one, tables in self.held.items()}
            self.loose = 0

    def close(self) -> None:
        """Write what is held."""
        for split in list(self.held):
            self._publish(split)

    def _publish(self, split: str) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        whole = pa.concat_tables(self.held.pop(split))
        known = pc.or_(pc.is_valid(whole["time"]), whole["static"])
        kept = whole if pc.all(known).as_py() is not False else whole.filter(known)
        self.undated += len(whole) - len(kept)
        self.events += len(kept)
        for code in pc.unique(kept["code"]).to_pylist():
            if code not in self.names:
                self.names[code] = self._name_of(code)
        table = pa.table({
            "subject_id": kept["subject_id"], "time": _dated(kept["time"]), "code": kept["code"].cast(pa.string()),
            "numeric_value": kept["value"].cast(pa.float32()), "text_value": kept["text"].cast(pa.large_string()),
            "unit": kept["unit"].cast(pa.string()), "end": _dated(kept["end"]), "table": kept["table"].cast(pa.string()),
            "stay": kept["stay"].cast(pa.string()), "visit": kept["visit"].cast(pa.string()), "day": kept["day"], "more": kept["more"].cast(pa.string()),
        })  # fmt: skip
        number = self.files[split] = self.files.get(split, -1) + 1
        place = self.folder / "data" / split
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = place / f".{number}.parquet"
        repeated = [name for name in table.column_names if name not in UNIQUE]
        pq.write_table(table, draft, compression="zstd", use_dictionary=repeated)
        draft.replace(place / f"{number}.parquet")
        self.sizes[split] = 0


def _dated(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times as MEDS has them; durations as dates counted from 1970-01-01."""
    import pyarrow as pa

    return (
        column.cast(pa.int64()).cast(pa.timestamp("us"))
        if pa.types.is_duration(column.type)
        else column.cast(pa.timestamp("us"))
    )


def _write_metadata(folder: Path, dataset: Opened, shards: _Shards) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    codes = sorted(shards.names)
    pq.write_table(pa.table({
        "code": pa.array(codes, pa.string()), "description": pa.array([shards.names[one] for one in codes], pa.string()),
        "parent_codes": pa.array([None] * len(codes), pa.list_(pa.string())),
    }), folder / "metadata" / "codes.parquet")  # fmt: skip
    subjects = sorted(shards.subjects)
    pq.write_table(pa.table({
        "subject_id": pa.array([one for one, _ in subjects], pa.int64()), "split": pa.array([split for _, split in subjects], pa.string()),
    }), folder / "metadata" / "subject_splits.parquet")  # fmt: skip
    facts = {
        "dataset_name": dataset.name, "etl_name": "healthfm", "etl_version": metadata.version("healthfm"), "meds_version": VERSION,
        "created_at": datetime.now(UTC).isoformat(), "license": "; ".join(one.name for one in dataset.card.licences) or "not stated",
        "raw_source_id_columns": ["stay", "visit"], "code_modifier_columns": ["unit"], "other_extension_columns": list(OWN),
    }  # fmt: skip
    if dataset.card.homepage:
        facts["location_uri"] = dataset.card.homepage
    (folder / "metadata" / "dataset.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

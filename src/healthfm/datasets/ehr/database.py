"""A hospital database to timelines: every table is read once, in batches; no more than a bucket of patients is held."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from healthfm.datasets.ehr.layout import Events, Layout, Stays
from healthfm.datasets.ehr.mapping import LOST, Known, Tally, events_of, filled, moments, singles, without
from healthfm.datasets.ehr.spill import Spill, buckets_for
from healthfm.errors import DatasetError
from healthfm.formats import batches
from healthfm.formats.source import Problems, Source
from healthfm.records import Stay, Timeline
from healthfm.records.timeline import COLUMNS, Moment

BLOCK = 8 << 20  # bytes of a table of events that are mapped at once
LAST = timedelta(hours=23, minutes=59, seconds=59)  # of a day
NEEDED = "it needs the column '{}'"


@dataclass
class Database:
    """The tables of a copy, by their names in lower case. ``official``: how many rows the owner says each has, where one does."""

    layout: Layout
    tables: Mapping[str, Source]
    problems: Problems
    official: Mapping[str, int] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)

    def timelines(self, split: str) -> Iterator[Timeline]:
        """Yield every timeline, in the order of their ids; then note what the tables lacked. Raises ``DatasetError``."""
        people, ranks = self._people()
        stays = [(one, self._stays(one, ranks)) for one in self.layout.stays if one.table in self.tables]
        ends = {f"{'stay' if one.kind == 'unit' else 'visit'} end": _ends(frame) for one, frame in stays}
        for missing in {"stay end", "visit end"} - set(ends):
            ends[missing] = Known(np.empty(0, np.int64), np.empty(0, np.int64))
        names = self._names()
        held = sorted(t for t in self.layout.tables() if t in self.tables)
        sizes = ((self.tables[t].path.stat().st_size, self.tables[t].path.name.endswith((".gz", ".zip"))) for t in held)
        with Spill(people.height, buckets_for(sizes, people.height)) as spill:
            for table in self.layout.tables():
                if table in self.tables:
                    self._events(table, ranks, ends, spill)
            self._note()
            for found, events in spill.read():
                yield from self._made(split, found, people, events, stays, names)

    # What is read first ---------------------------------------------------------------------------------------------

    def _people(self) -> tuple[pl.DataFrame, Known]:
        one = self.layout.timelines
        wanted = [one.id, one.patient, *([one.site] if one.site else []), *one.facts]
        frame = self._whole(one.table, wanted, [one.id, one.patient])
        empty = frame.filter(pl.all_horizontal(pl.all().is_null())).height  # lines of delimiters below a table
        ids = frame[one.id].cast(pl.Int64, strict=False)
        if (wrong := ids.null_count() - empty) > 0:
            self.problems.add(
                DatasetError(f"{self.tables[one.table]}: {wrong} rows whose '{one.id}' is no whole number")
            )
        frame = (
            frame.with_columns(ids.alias("_id")).filter(pl.col("_id").is_not_null()).sort("_id", maintain_order=True)
        )
        if twice := frame.height - frame["_id"].n_unique():
            self.problems.add(DatasetError(f"{self.tables[one.table]}: {twice} rows repeat a '{one.id}'"))
            frame = frame.unique("_id", keep="first", maintain_order=True)
        return frame, Known(frame["_id"].to_numpy(), np.arange(frame.height))

    def _stays(self, one: Stays, ranks: Known) -> pl.DataFrame:
        frame = self._whole(one.table, sorted(one.columns()), [one.id, one.timeline])
        frame = frame.filter(pl.col(one.id).is_not_null())
        relative, tally = self.layout.clock == "relative", Tally()

        def read(column: str, day: str | None, late: timedelta) -> pl.Series:
            found = moments(
                frame[column], relative, lambda count: tally.note("times of stays that cannot be read", count)
            )
            return found if day is None else found.zip_with(found.is_not_null(), moments(frame[day], relative) + late)

        literal = one.start.isdecimal()
        start = pl.lit(timedelta(minutes=int(one.start))) if literal else read(one.start, one.start_day, timedelta(0))
        died = pl.lit(None, pl.Boolean) if one.died is None else pl.col(one.died[0]) == one.died[1]
        frame = frame.with_columns(
            pl.Series("_rank", ranks.of(frame[one.timeline])), start.alias("_start"), read(one.end, one.end_day, LAST).alias("_end"),
            died.alias("_died"), pl.col(one.id).cast(pl.Int64, strict=False).alias("_id"),
        )  # fmt: skip
        tally.note("stays of nobody", int((frame["_rank"] == LOST).sum()))
        for what, count in tally.lacking.items():
            self.problems.add(DatasetError(f"{self.tables[one.table]}: {count} {what}"))
        return frame.filter(pl.col("_rank") != LOST).sort("_rank", "_start", maintain_order=True, nulls_last=True)

    def _names(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for one in self.layout.names:
            if one.table in self.tables:
                source = self.tables[one.table]
                if lacking := one.columns() - (here := set(batches.header(source))):
                    raise DatasetError(f"{source}: {NEEDED.format(min(lacking))} (it has: {', '.join(sorted(here))})")
                for batch in batches.batches(source):
                    frame = pl.DataFrame(batch)
                    made = frame.select(filled(one.code).alias("code"), filled(one.name).alias("name"))
                    found.update(zip(made["code"].to_list(), made["name"].to_list(), strict=True))
                    self._tally(one.table).rows += frame.height
        return found

    def _whole(self, table: str, columns: Sequence[str], needed: Sequence[str]) -> pl.DataFrame:
        """Return some columns of a small table, all of its rows; null where the file has no such column."""
        if table not in self.tables:
            raise DatasetError(
                f"no table {table}: without it nobody can be told apart (tables here: {', '.join(sorted(self.tables)) or 'none'})"
            )
        source = self.tables[table]
        here = set(batches.header(source))
        for column in needed:
            if column not in here:
                raise DatasetError(f"{source}: {NEEDED.format(column)} (it has: {', '.join(sorted(here))})")
        wanted = list(dict.fromkeys(columns))
        held = [one for one in wanted if one in here]
        parts = [pl.DataFrame(batch) for batch in batches.batches(source, columns=held)]
        frame = pl.concat(parts) if parts else pl.DataFrame({one: pl.Series([], dtype=pl.String) for one in held})
        return frame.with_columns(pl.lit(None, pl.String).alias(one) for one in wanted if one not in here)

    # Events -----------------------------------------------------------------------------------------------------------

    def _tally(self, table: str) -> Tally:
        return self.tallies.setdefault(table, Tally())

    def _events(self, table: str, ranks: Known, ends: dict[str, Known], spill: Spill) -> None:
        """Read one table into the buckets."""
        source, tally = Source(self.tables[table].path, self.tables[table].member, self.problems), self._tally(table)
        here = set(batches.header(source))
        declared = [one for events in self.layout.events if events.table == table for one in singles(events)]
        read: list[Events] = []
        for events in declared:
            fitting = without(events, events.columns() - here)
            if lacking := fitting.columns() - here:
                if (
                    events.present in lacking
                ):  # there is no such event in this copy; that the column is not here is noted
                    continue
                raise DatasetError(f"{source}: {NEEDED.format(min(lacking))} (it has: {', '.join(sorted(here))})")
            read.append(fitting)
        if self.layout.timeline not in here:
            raise DatasetError(f"{source}: {NEEDED.format(self.layout.timeline)} (it has: {', '.join(sorted(here))})")
        wanted = sorted(
            {one for events in declared for one in events.columns() if one in here} | {self.layout.timeline}
        )
        nobody = 0
        for batch in batches.batches(source, BLOCK, wanted):
            frame = pl.DataFrame(batch)
            if frame[self.layout.timeline].null_count():  # there may be lines of delimiters below the table
                frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
            tally.rows += frame.height
            rank = ranks.of(frame[self.layout.timeline])
            unknown = int((rank == LOST).sum())
            nobody += unknown
            frame = frame.with_columns(pl.Series("_rank", rank))
            frame = frame.filter(pl.col("_rank") != LOST) if unknown else frame
            for fitting in read:
                spill.add(events_of(frame, fitting, self.layout, ends, tally))
        if nobody:
            who = self.tables[self.layout.timelines.table].name
            self.problems.add(
                DatasetError(
                    f"{source}: {nobody} rows whose '{self.layout.timeline}' is not in {who}; they are left out"
                )
            )
        unread = [what for what in tally.lacking if "cannot be read" in what]
        for what in unread:
            self.problems.add(DatasetError(f"{source}: {tally.lacking.pop(what)} {what}; the events are kept without"))
        if strange := here - self.layout.known(table) - {""}:
            self.problems.notices.append(
                f"{source.name}: columns that are not known and become nothing: {', '.join(sorted(strange))}"
            )
        read_as = ({*events.columns()} - {*events.more} for events in declared)
        if gone := sorted(set().union(*read_as) - here):
            self.problems.notices.append(f"{source.name}: it has no column {', '.join(gone)}")

    def _note(self) -> None:
        """Note what the tables lacked, which of them are not here, and where a count is not the owner's."""
        notices, known = (
            self.problems.notices,
            {*self.layout.tables(), *(one.table for one in self.layout.names), *self.layout.unread},
        )
        for table, tally in self.tallies.items():
            notices += [f"{self.tables[table].name}: {count:,} {what}" for what, count in tally.lacking.items()]
            official = self.official.get(table)
            if official is not None and official != tally.rows:
                notices.append(f"{self.tables[table].name}: {tally.rows:,} rows, the owner's has {official:,}")
        if absent := sorted(set(self.official) - set(self.tables)):
            notices.append(f"tables that are not here: {', '.join(absent)}")
        for table in sorted(
            set(self.tables) - {one.table for one in self.layout.stays} - {self.layout.timelines.table}
        ):
            if table in self.layout.unread:
                notices.append(f"{self.tables[table].name} becomes no events: {self.layout.unread[table]}")
            elif table not in known:
                self.problems.passed.append((self.tables[table].name, "no table of this database"))

    # Timelines --------------------------------------------------------------------------------------------------------

    def _made(
        self, split: str, ranks: range, people: pl.DataFrame, events: pl.DataFrame | None,
        stays: Sequence[tuple[Stays, pl.DataFrame]], names: Mapping[str, str],
    ) -> Iterator[Timeline]:  # fmt: skip
        """Yield the timelines of some ranks."""
        one = self.layout.timelines
        visits = _by_rank(stays, ranks)
        table, starts = _sorted(events, ranks, self.layout.clock == "relative")
        for number, row in enumerate(people.slice(ranks.start, len(ranks)).iter_rows(named=True)):
            part = table.slice(starts[number], starts[number + 1] - starts[number])
            yield Timeline(
                id=str(row["_id"]), split=split, patient=row[one.patient], site=row[one.site] if one.site else None, clock=self.layout.clock,
                load=functools.partial(_same, part), stays=visits.get(ranks.start + number, ()), name_of=names.get,
                facts={name: row[name] for name in one.facts if row[name] is not None},
            )  # fmt: skip


def _same(table: pa.Table) -> pa.Table:
    return table


def _ends(frame: pl.DataFrame) -> Known:
    ended = (
        frame.filter(pl.col("_id").is_not_null() & pl.col("_end").is_not_null()).unique("_id", keep="last").sort("_id")
    )
    return Known(ended["_id"].to_numpy(), ended["_end"].cast(pl.Int64).to_numpy())


def _by_rank(stays: Sequence[tuple[Stays, pl.DataFrame]], ranks: range) -> dict[int, tuple[Stay, ...]]:
    found: dict[int, list[Stay]] = {}
    for one, frame in stays:
        for row in frame.filter(pl.col("_rank").is_between(ranks.start, ranks.stop - 1)).iter_rows(named=True):
            found.setdefault(row["_rank"], []).append(Stay(
                id=row[one.id], kind=one.kind, start=row["_start"], end=row["_end"], within=row[one.within] if one.within else None,
                died=row["_died"], facts={name: row[name] for name in one.facts if row[name] is not None},
            ))  # fmt: skip
    return {
        rank: tuple(sorted(some, key=lambda stay: (stay.start is None, _number(stay.start))))
        for rank, some in found.items()
    }


def _number(moment: Moment | None) -> float:
    if moment is None:
        return 0.0
    return moment.total_seconds() if isinstance(moment, timedelta) else (moment - datetime(1, 1, 1)).total_seconds()


def _in_order(events: pl.DataFrame) -> pl.DataFrame:
    """Return events by patient, those without a time first, then by time; as one number of both where that is no more than 62 bits."""
    rank, time = events["_rank"], events["time"].to_physical()
    first, last = time.min(), time.max()
    assert isinstance(first, int | None) and isinstance(last, int | None)
    span = 2 if first is None or last is None else last - first + 2
    if not events.height or (int(rank.max()) - int(rank.min()) + 1) * span >= 1 << 62:  # type: ignore[arg-type]
        return events.sort("_rank", "time", maintain_order=True, nulls_last=False)
    key = (rank - rank.min()) * span + (time - (first or 0) + 1).fill_null(0)
    return events.with_columns(key.alias("_key")).sort("_key", maintain_order=True).drop("_key")


def _sorted(events: pl.DataFrame | None, ranks: range, relative: bool) -> tuple[pa.Table, list[int]]:
    """Return events in order of patient and time, those without a time first, and where each patient's begin."""
    kind = pl.Duration("us") if relative else pl.Datetime("us")
    if events is None:
        kinds = {
            "time": kind, "end": kind, "value": pl.Float64, "day": pl.Boolean, "static": pl.Boolean,
        }  # fmt: skip
        empty = pl.DataFrame(schema={name: kinds.get(name, pl.String) for name in COLUMNS})
        return empty.to_arrow(), [0] * (len(ranks) + 1)
    order = _in_order(events)
    starts = order["_rank"].search_sorted(pl.Series(range(ranks.start, ranks.stop + 1)), side="left").to_list()
    return order.select(COLUMNS).to_arrow(), starts

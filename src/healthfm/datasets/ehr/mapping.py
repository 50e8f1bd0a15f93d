"""A batch of a table's rows to events: polars expressions made from a declaration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from healthfm.datasets.ehr.layout import FIELD, Events, Layout

LOST = np.iinfo(np.int64).min
UNKNOWN = "UNK"  # MEDS' word for an empty part of a code
WHOLE, DAY = "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"
OTHERS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f")


@dataclass
class Tally:
    """What a table held: rows, and those of them that lack something, by what it is."""

    rows: int = 0
    lacking: dict[str, int] = field(default_factory=dict)

    def note(self, what: str, count: int) -> None:
        """Add to a count, if there is anything to add."""
        if count:
            self.lacking[what] = self.lacking.get(what, 0) + count


@dataclass(frozen=True)
class Known:
    """The ids of one thing, sorted, and what each leads to."""

    ids: npt.NDArray[np.int64]
    values: npt.NDArray[np.int64]

    def of(self, column: pl.Series) -> npt.NDArray[np.int64]:
        """Return what the ids of a text column lead to, ``LOST`` where they are not known."""
        wanted = column.cast(pl.Int64, strict=False).fill_null(LOST).to_numpy()
        if not len(self.ids):
            return np.full(len(wanted), LOST, np.int64)
        place = np.searchsorted(self.ids, wanted).clip(max=len(self.ids) - 1)
        return np.where(self.ids[place] == wanted, self.values[place], LOST)


def moments(column: pl.Series, relative: bool, lost: Callable[[int], None] | None = None) -> pl.Series:
    """Return a column of times as datetimes (or, ``relative``, minutes as durations), microseconds; ``lost`` hears how many cannot be read."""
    if relative:
        minutes = column.cast(pl.Float64, strict=False)
        found = (minutes * 60_000_000).cast(pl.Int64, strict=False).cast(pl.Duration("us"))
    else:
        found = column.str.to_datetime(WHOLE, strict=False, time_unit="us")
        for form in OTHERS:
            if found.null_count() > column.null_count():
                found = found.zip_with(found.is_not_null(), column.str.to_datetime(form, strict=False, time_unit="us"))
        if found.null_count() > column.null_count():
            found = found.zip_with(found.is_not_null(), column.str.to_date(DAY, strict=False).cast(pl.Datetime("us")))
    if lost is not None and found.null_count() > column.null_count():
        lost(found.null_count() - column.null_count())
    return found


def singles(events: Events) -> Iterator[Events]:
    """Yield an event for each column of ``each``, with its name in the code; or the event itself."""
    for column in events.each:
        code = events.code.replace("{column}", column)
        yield events.model_copy(update={"each": (), "code": code, "value": column, "present": column})
    if not events.each:
        yield events


def filled(template: str) -> pl.Expr:
    """Return the expression of a template."""
    parts = FIELD.split(template)
    pieces = [pl.lit(part) if i % 2 == 0 else pl.col(part).fill_null(UNKNOWN) for i, part in enumerate(parts) if part]
    return pl.concat_str(pieces) if len(pieces) > 1 else pieces[0]


def events_of(
    frame: pl.DataFrame, events: Events, layout: Layout, ends: dict[str, Known], tally: Tally
) -> pl.DataFrame:  # fmt: skip
    """Return the events that rows are. ``frame`` has a column ``_rank`` (whose they are); ``ends``: when stays ended, in microseconds."""
    if events.present is not None:
        frame = frame.filter(pl.col(events.present).is_not_null())
    relative, kind = layout.clock == "relative", pl.Duration("us") if layout.clock == "relative" else pl.Datetime("us")
    nothing = pl.repeat(None, frame.height, dtype=kind, eager=True)
    day = pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)

    def read(column: str) -> pl.Series:
        return moments(frame[column], relative, lambda n: tally.note(f"times in '{column}' that cannot be read", n))

    if events.static:
        time = nothing
    elif events.at is not None:
        column = events.visit if events.at == "visit end" else (events.stay or layout.timeline)
        found = pl.Series(ends[events.at].of(frame[column or layout.timeline]))
        time = found.set(found == LOST, None).cast(kind)
    elif events.time is not None and events.time.isdecimal():
        time = pl.Series(values=np.full(frame.height, int(events.time) * 60_000_000, np.int64)).cast(kind)
    else:
        time = read(events.time) if events.time is not None else nothing
        if events.date is not None:
            days = read(events.date)
            day = time.is_null() & days.is_not_null()
            time = time.zip_with(~day, days)
    if not events.static:
        tally.note("events without a time", time.null_count())
    end = read(events.end) if events.end is not None else nothing
    value = pl.col(events.value).cast(pl.Float64, strict=False) if events.value else pl.lit(None, pl.Float64)
    words = events.text or events.value
    text = pl.lit(None, pl.String)
    if words is not None:
        said = pl.col(words)
        text = pl.when(~(said.cast(pl.Float64, strict=False) == value).fill_null(False)).then(said)
    more: pl.Expr = pl.lit(None, pl.String)
    if events.more:
        empty = pl.all_horizontal([pl.col(one).is_null() for one in events.more])
        more = pl.when(~empty).then(pl.struct(events.more).struct.json_encode())
    return frame.select(
        pl.col("_rank"), time.alias("time"), end.alias("end"), filled(events.code).alias("code"), value.alias("value"), text.alias("text"),
        _column(events.unit).alias("unit"), pl.lit(events.table).alias("table"), _column(events.stay).alias("stay"),
        _column(events.visit).alias("visit"), day.alias("day"), pl.lit(events.static).alias("static"), more.alias("more"),
    )  # fmt: skip


def _column(name: str | None) -> pl.Expr:
    return pl.col(name) if name is not None else pl.lit(None, pl.String)


def without(events: Events, absent: set[str]) -> Events:
    """Return a declaration without the columns that a file does not have; those that a code, a time or a value need stay."""
    changes: dict[str, object] = {"more": tuple(one for one in events.more if one not in absent)}
    for name in ("end", "text", "unit", "stay", "visit", "date"):
        if getattr(events, name) in absent:
            changes[name] = None
    return events.model_copy(update=changes)

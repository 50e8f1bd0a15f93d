"""Records of what happened to a patient in time: events by code, and the stays they fell in. They are lazy: events load on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from healthfm.errors import DatasetError
from healthfm.records.record import Record

if TYPE_CHECKING:
    import pyarrow as pa

Moment = datetime | timedelta  # a timedelta where a timeline has no dates: since its zero
Clock = Literal["dates", "shifted", "relative"]
DAY = timedelta(days=1)
COLUMNS = ("time", "end", "code", "value", "text", "unit", "table", "stay", "visit", "day", "static", "more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """A visit: ``kind`` is "hospital" or "unit" (intensive care), ``within`` the id of the hospital stay around a unit's.

    ``died``: whether it ended in death, None where nobody says. ``facts`` are the owner's other columns of it.
    """

    id: str
    kind: str
    start: Moment | None
    end: Moment | None
    within: str | None = None
    died: bool | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline(Record):
    """A patient's events in order of time, those without a time (static facts) first.

    ``events`` loads an Arrow table with ``COLUMNS``: when (``time``, and ``end`` of what lasts), the ``code``, a number (``value``), the
    owner's text where it is more than that number, the ``unit``, the owner's ``table``, the ids of unit and hospital stay; ``day``: only the
    day is known, not the hour; ``static``: true of the patient at any time; ``more``: other columns of the owner, as JSON. ``clock``: "dates" as they were, "shifted" by an amount of the
    patient's own (never compare two patients'), or "relative": durations since a zero that the dataset's card names.
    ``name_of`` tells what a code means, as far as the owner's dictionaries do.
    """

    noun: ClassVar[str] = "timeline"

    load: Callable[[], pa.Table]
    clock: Clock
    stays: tuple[Stay, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    name_of: Callable[[str], str | None] = lambda code: None

    @property
    def events(self) -> pa.Table:
        """Load and return the events. Raises ``DatasetError``: a table without these columns."""
        found = self.load()
        if tuple(found.column_names) != COLUMNS:
            raise DatasetError(f"{self.id}: its events have columns {', '.join(found.column_names)}")
        return found

    def until(self, moment: Moment, since: Moment | None = None) -> Self:
        """Return the timeline as it was known at a moment: nothing after it, and of what lasts on not when it ends.

        What has only a day counts once that day is over. Of events without a time only the static ones stay: the others may have been
        written later. ``since``: nothing before that moment either. Stays that begin later are left out, and of one
        that has not ended neither end nor death nor the owner's facts are kept.
        """
        stays = tuple(
            _known(stay, moment) for stay in self.stays if stay.start is not None and before(stay.start, moment)
        )
        return replace(self, load=lambda: _cut(self.events, moment, since), stays=stays)

    def decoded(self) -> Self:
        """Return the record with its events in memory."""
        found = self.events
        return replace(self, load=lambda: found)

    @property
    def as_text(self) -> str:
        """One line an event: when, the code, what it means, the value with its unit."""
        return "\n".join(_told(row, self.name_of) for row in self.events.to_pylist())

    def digest(self) -> str:
        """Return a short, stable fingerprint of the events, which are loaded for it."""
        whole = hashlib.sha256(self.clock.encode())
        for row in self.events.to_pylist():
            whole.update(repr(tuple(row.values())).encode())
        return whole.hexdigest()[:16]


def before(one: Moment, other: Moment) -> bool:
    """Say whether a moment of a timeline is not after another of it."""
    return one <= other  # type: ignore[operator]


def _known(stay: Stay, moment: Moment) -> Stay:
    over = stay.end is not None and before(stay.end, moment)
    return stay if over else replace(stay, end=None, died=None, facts={})


def _cut(events: pa.Table, moment: Moment, since: Moment | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind, microseconds = events["time"].type, pa.duration("us")
    limit = pa.scalar(moment, kind)
    late = pc.if_else(events["day"], pa.scalar(DAY, microseconds), pa.scalar(timedelta(0), microseconds))
    known = pc.less_equal(pc.add(events["time"], late), limit)
    if since is not None:
        known = pc.and_(known, pc.greater_equal(events["time"], pa.scalar(since, kind)))
    over = pc.fill_null(pc.less_equal(events["end"], limit), False)
    end = pc.if_else(over, events["end"], pa.scalar(None, kind))
    shown = events.set_column(events.column_names.index("end"), events.schema.field("end"), end)
    return shown.filter(pc.or_(pc.fill_null(known, False), events["static"]))


def _told(row: Mapping[str, object], name_of: Callable[[str], str | None]) -> str:
    value = row["text"] if row["text"] is not None else row["value"]
    when = row["time"]
    if isinstance(when, timedelta):
        when = f"{when / timedelta(minutes=1):g} min"
    parts = (when, row["code"], name_of(str(row["code"])), value, row["unit"])
    return " ".join(str(part) for part in parts if part is not None)

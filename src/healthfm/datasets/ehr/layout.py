"""What the tables of a hospital database mean: a declaration for each (``layouts/NAME.toml``), checked as a card is.

Columns are named in lower case. A template such as ``LAB//{itemid}`` is filled from them, "UNK" where a cell is empty.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from healthfm.cards.schema.common import Facts

Column = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
Template = Annotated[str, StringConstraints(min_length=1)]
FIELD = re.compile(r"\{([a-z0-9_]+)\}")


class Timelines(Facts):
    """The table with a row for each timeline: its ``id`` (a whole number), whose ``patient`` and ``site`` it is, and facts of the patient."""

    table: Column
    id: Column
    patient: Column
    site: Column | None = None
    facts: tuple[Column, ...] = ()


class Stays(Facts):
    """A table with a row for each visit. ``timeline``: the column that says whose; ``start`` may be "0", the timeline's zero.

    ``start_day`` and ``end_day``: where only the day is known; it is then read as its first moment, or its last.

    ``died``: (column, the value that means yes); an empty cell means that nobody says.
    """

    kind: Literal["hospital", "unit"]
    table: Column
    id: Column
    timeline: Column
    start: Column
    end: Column
    start_day: Column | None = None
    end_day: Column | None = None
    within: Column | None = None
    died: tuple[Column, str] | None = None
    facts: tuple[Column, ...] = ()

    def columns(self) -> set[str]:
        """Return the columns that it reads."""
        named = (self.id, self.timeline, self.start, self.end, self.start_day, self.end_day, self.within, *self.facts)
        return {one for one in named if one not in (None, "0")} | ({self.died[0]} if self.died else set())


class Names(Facts):
    """A dictionary of the owner's: ``code`` and ``name`` are templates on its rows."""

    table: Column
    code: Template
    name: Template

    def columns(self) -> set[str]:
        """Return the columns that it reads."""
        return set(FIELD.findall(self.code + self.name))


class Events(Facts):
    """One kind of event that the rows of a table are.

    ``time`` is a column, or a number of minutes after the timeline's zero; ``date``: the column that holds the day, where the time is
    unknown. ``at``: written when the stay (or visit) ended, whatever it speaks of. ``static``: true of the patient at any time.
    ``each``: one event for each of these columns that is filled; ``{column}`` in the code is its name, and it is the value.
    ``present``: rows in which this column is empty are no such event. ``more``: columns that are kept as they are.
    """

    table: Column
    code: Template
    time: Column | None = None
    date: Column | None = None
    end: Column | None = None
    at: Literal["stay end", "visit end"] | None = None
    static: bool = False
    value: Column | None = None
    text: Column | None = None
    unit: Column | None = None
    stay: Column | None = None
    visit: Column | None = None
    present: Column | None = None
    each: tuple[Column, ...] = ()
    more: tuple[Column, ...] = ()

    @model_validator(mode="after")
    def _has_one_time(self) -> Events:
        if sum((self.time is not None or self.date is not None, self.at is not None, self.static)) != 1:
            raise ValueError(f"{self.table}: an event has a time (or date), or at, or is static")
        return self

    def columns(self) -> set[str]:
        """Return the columns that it reads."""
        named = (self.time, self.date, self.end, self.value, self.text, self.unit, self.stay, self.visit, self.present)
        literal = {self.time} if self.time is not None and self.time.isdecimal() else set()
        found = {one for one in named if one is not None} | set(self.each) | set(self.more)
        return (found | set(FIELD.findall(self.code))) - literal - {"column"}


class Layout(Facts):
    """A database. ``timeline``: the column of every table of events that says whose a row is. ``left``: columns that become nothing.

    ``unread``: tables that become nothing, each with the reason. ``rows``: how many rows the owner says each table has, by variant.
    """

    source: tuple[str, ...]
    clock: Literal["dates", "shifted", "relative"]
    timeline: Column
    timelines: Timelines
    stays: tuple[Stays, ...] = ()
    names: tuple[Names, ...] = ()
    events: tuple[Events, ...]
    left: Mapping[str, tuple[Column, ...]] = Field(default_factory=dict)
    unread: Mapping[str, str] = Field(default_factory=dict)
    rows: Mapping[str, Mapping[str, int]] = Field(default_factory=dict)

    def tables(self) -> list[str]:
        """Return the tables that become events, in the order in which they are declared."""
        return list(dict.fromkeys(one.table for one in self.events))

    def known(self, table: str) -> set[str]:
        """Return every column of a table that the declaration speaks of."""
        found = {one for events in self.events if events.table == table for one in events.columns()}
        for stays in self.stays:
            if stays.table == table:
                found |= stays.columns()
        if table == self.timelines.table:
            one = self.timelines
            found |= {one.id, one.patient, *one.facts} | ({one.site} if one.site else set())
        for names in self.names:
            if names.table == table:
                found |= names.columns()
        return found | set(self.left.get(table, ())) | {self.timeline}


@cache
def layout(name: str) -> Layout:
    """Return the declaration of a database, by the name of its file."""
    path = Path(__file__).parent / "layouts" / f"{name}.toml"
    return Layout.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))

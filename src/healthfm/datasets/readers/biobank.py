"""UK Biobank's exports: a participant a row, a field a column, once for each visit (instance) and each of several values (array)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import DatasetError
from healthfm.formats import delimited
from healthfm.records import Timeline
from healthfm.records.timeline import COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

RAP = re.compile(r"(?:participant\.)?p(\d+)(?:_i(\d+))?(?:_a(\d+))?")
LEGACY = re.compile(r"(\d+)-(\d+)\.(\d+)")
VISITED = "53"  # the field that holds the date of a visit to an assessment centre
Column = tuple[str, int, int]


@dataset("uk-biobank", record=Timeline)
def uk_biobank(files: Files, split: str) -> Iterator[Timeline]:
    """Columns p{field}_i{instance}_a{array} on the platform, {field}-{instance}.{array} in older exports. A value's time is its visit's date.

    Values are codes; what a field is called stands in the dictionary, what a code means in Codings.tsv, which the dictionary names.
    """
    titles = {row["FieldID"]: row["Field"] for one in files.all("dictionary") for row in delimited.rows(one, "\t")}
    key, form = ("eid", LEGACY) if files.variant == "legacy" else ("participant.eid", RAP)
    for source in files.all("participants"):
        columns: dict[str, Column] = {}
        for row in delimited.rows(source, ","):
            with row:
                id = row[key] if key in row else row["eid"]
                if not columns:
                    columns = {name: _column(name, form) for name in row if name not in (key, "eid")}
                held = {
                    columns[name]: value for name, value in row.items() if name in columns and value not in (None, "")
                }
                yield Timeline(
                    id=id, split=split, patient=id, clock="dates", load=partial(_events, held, str(files.variant)), name_of=_titled(titles),
                )  # fmt: skip


def _column(name: str, form: re.Pattern[str]) -> Column:
    found = form.fullmatch(name)
    if found is None:
        raise DatasetError(f"the column {name} is no field of UK Biobank")
    return found[1], int(found[2] or 0), int(found[3] or 0)


def _titled(titles: Mapping[str, str]) -> Callable[[str], str | None]:
    return lambda code: titles.get(code)


def _events(held: Mapping[Column, str], table: str) -> pa.Table:
    """Return a participant's values as events. Raises ``DatasetError``: the date of a visit is none."""
    import pyarrow as pa

    dates: dict[int, datetime] = {}
    for (code, instance, _), value in held.items():
        if code == VISITED:
            try:
                dates[instance] = datetime.fromisoformat(value)
            except ValueError:
                raise DatasetError(f"the date of visit {instance} (field {VISITED}) is none") from None
    rows: list[dict[str, Any]] = []
    for (code, instance, array), value in held.items():
        rows.append(dict.fromkeys(COLUMNS) | {
            "time": dates.get(instance), "code": code, "value": _number(value), "text": None if _number(value) is not None else value,
            "table": table, "visit": str(instance), "day": True, "static": instance not in dates, "more": f'{{"instance": {instance}, "array": {array}}}',
        })  # fmt: skip
    rows.sort(key=lambda one: (one["time"] is not None, one["time"] or datetime.min))
    moment = pa.timestamp("us")
    kinds = {"time": moment, "end": moment, "value": pa.float64(), "day": pa.bool_(), "static": pa.bool_()}
    return pa.Table.from_pylist(rows, pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS]))


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None

"""Tables of predictions in files: CSV, TSV, Parquet and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from healthfm.errors import RunError
from healthfm.formats import table
from healthfm.formats.source import Source
from healthfm.score.kinds.kind import label
from healthfm.spelling import fold

PROBABILITY = "probability."


def read_predictions(
    path: Path | str, columns: Mapping[str, Any] | None = None, subgroups: Sequence[str] | None = None
) -> pa.Table:
    """Read a table of predictions for ``evaluate_predictions``.

    ``columns`` names the file's columns where they are called otherwise (``{"target": "diagnosis", "probability": {"sick":
    "score"}}``); ``subgroups`` are columns to break results down by, called as in the file or as
    ``columns`` calls them.

    The columns are those a task asks for. In CSV and TSV an empty cell is a missing value, a list is written as JSON
    (``["a", "b"]``), and probabilities may stand in a column for each class, ``probability.CLASS`` (one of two is enough), in place
    of ``options`` and ``probabilities``. Raises ``DatasetError`` when the file cannot be read, ``RunError`` naming a column or rows that
    do not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(f"{path}: no such file")
    rows = list(table.rows(Source(path)))
    if not rows:
        raise RunError(f"{path}: the table has no rows")
    found = {
        name: [_cell(row.get(name)) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)
    }
    found = _renamed(found, columns or {}, subgroups or ())
    for name, cells in found.items():
        if any(isinstance(one, str) and one.startswith("[") for one in cells) and name not in ("output", "judge_raw"):
            found[name] = _lists(cells) or cells
    return as_table(_with_probabilities(found))


def as_table(columns: Any) -> pa.Table:
    """Return columns (a mapping, or a table of pandas, polars or Arrow) as a table.

    Raises ``RunError`` naming those that mix kinds of values or differ in length.
    """
    if hasattr(columns, "__arrow_c_stream__"):
        given = pa.table(columns)
        columns = {
            name: given[name].to_pylist() for name in given.column_names if not name.startswith("__index_level_")
        }
    arrays: dict[str, Any] = {}
    for name, values in dict(columns).items():
        try:
            arrays[name] = pa.array(list(values) if getattr(values, "ndim", 1) > 1 else values)
        except (pa.ArrowException, TypeError, ValueError):
            raise RunError(f"the column {name} mixes kinds of values, or holds none that a table can") from None
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise RunError(f"the columns differ in length: {', '.join(f'{name} {n}' for name, n in lengths.items())}")
    return pa.table(arrays)


def _renamed(found: dict[str, list[Any]], columns: Mapping[str, Any], subgroups: Sequence[str]) -> dict[str, list[Any]]:
    """Return columns under the names that are asked for. Raises ``RunError`` naming those that are absent."""
    wanted = {field: column for field, column in columns.items() if isinstance(column, str)}
    for field, inner in columns.items():
        wanted |= {f"{field}.{key}": column for key, column in inner.items()} if isinstance(inner, Mapping) else {}
    groups = {
        f"subgroup.{name}": wanted.get(name, name) for name in subgroups
    }  # by either name: the field's, or the file's
    absent = sorted({*wanted.values(), *groups.values()} - set(found))
    if absent:
        raise RunError(f"the table has no column {', '.join(absent)} (it has {', '.join(found)})")
    rest = {name: cells for name, cells in found.items() if name not in wanted.values()}
    return rest | {name: found[column] for name, column in {**wanted, **groups}.items()}


def _cell(value: Any) -> Any:
    """Return a cell's value, None where it holds nothing: blank, or NaN."""
    return None if (isinstance(value, str) and not value.strip()) or value != value else value


def _lists(cells: Sequence[Any]) -> list[Any] | None:
    """Return JSON lists as lists; None where a cell is something else, and the column is text after all."""
    try:
        found = [json.loads(one) if isinstance(one, str) else one for one in cells]
    except ValueError:
        return None
    return found if all(one is None or isinstance(one, list) for one in found) else None


def _with_probabilities(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the columns with ``probability.CLASS`` columns gathered into ``options`` and ``probabilities``."""
    named = [name for name in columns if name.startswith(PROBABILITY)]
    if not named:
        _other_class(columns, named)
        return columns
    if "probabilities" in columns:
        raise RunError(f"the table has both probabilities and {named[0]}; keep one of them")
    try:
        values = [[None if one is None else float(one) for one in columns[name]] for name in named]
    except (TypeError, ValueError):
        raise RunError(f"the columns {PROBABILITY}CLASS need a number in each row") from None
    other = _other_class(columns, named)
    if other is not None:
        named, values = [*named, PROBABILITY + other], [*values, [None if p is None else 1 - p for p in values[0]]]
    rows = [list(row) for row in zip(*values, strict=True)]
    rest = {name: cells for name, cells in columns.items() if name not in named}
    return rest | {"options": [[name.removeprefix(PROBABILITY) for name in named]] * len(rows), "probabilities": rows}


def _other_class(columns: Mapping[str, Sequence[Any]], named: Sequence[str]) -> str | None:
    """Return the other of two classes where only one has a probability, None where nothing is missing.

    Raises ``RunError``, saying which columns are needed, where it cannot be told of which class that is.
    """
    alone = named[0] if named else "probability"
    told = {"prediction", "probabilities"} & set(columns)  # then a column probability is something else
    if len(named) > 1 or alone not in columns or (not named and told):
        return None
    targets = columns.get("target", ())
    if any(isinstance(one, list) for one in targets):
        return None  # of several classes a row, each probability stands for itself
    seen = sorted({name for one in targets if (name := label(one)) is not None})
    have = alone.removeprefix(PROBABILITY)
    others = sorted(one for one in seen if fold(one) != fold(have))
    if named and len(others) < len(seen) and len({fold(one) for one in others}) == 1:
        return others[0]
    names = ", ".join(PROBABILITY + one for one in (seen or ["A", "B"])[:5])
    enough = "one of them is enough" if len(seen) == 2 else "each of them is needed"
    raise RunError(f"the column {alone} does not say of which class of target it is: {names}; {enough}")

"""What every kind shares: the checks all tables pass, and ``Read``, a checked table turned into metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score.statistics.statistic import Bools, Floats, Ints, Statistic

BESIDE = ("unplaced", "other_types")  # columns of what was answered beside the predictions; a table may lack them
RIVAL = "rival."  # what a column begins with that holds the predictions of a cheap way
NAMED = 5  # how many offending rows an error names


@dataclass(frozen=True)
class Read:
    """A table as its kind understands it.

    ``statistics``: every metric by name (``NAME/CLASS`` for one class), the ``headline`` among them. ``rules``: in plain
    words, which rules of the field applied. ``facts``: what ``metrics.json`` says without an interval. ``confident``: each
    row's confidence and whether the surest answer was right, where there are probabilities. ``ranked``: truth and score
    by class, for ROC and PR curves. ``binary``: truth and positive prediction, where there are two classes.
    """

    statistics: Mapping[str, Statistic]
    headline: str
    rules: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    confident: tuple[Floats, Bools] | None = None
    brier: float | None = None
    ranked: Mapping[str, tuple[Bools, Floats]] = field(default_factory=dict)
    binary: tuple[Bools, Bools] | None = None


class Kind(Protocol):
    """A module of this package."""

    def check(self, table: pa.Table) -> pa.Table:
        """Return the table with its columns in their types. Raises ``RunError`` naming rows."""

    def read(self, table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
        """Return the metrics of a checked table."""


def need(table: pa.Table, *names: str) -> None:
    """Raise ``RunError`` when columns are absent or there is no row."""
    absent = sorted(set(names) - set(table.column_names))
    if absent:
        raise RunError(
            f"the table lacks the columns {', '.join(absent)} (it has {', '.join(table.column_names)}); name those that are called otherwise (--columns target=COLUMN)"
        )
    if table.num_rows == 0:
        raise RunError("the table has no rows")


def check_ids(table: pa.Table) -> list[str]:
    """Return the ids as text. Raises ``RunError`` where one is missing or occurred before."""
    ids = texts(table, "id")
    refuse("have no id", [str(i + 1) for i, one in enumerate(ids) if one is None])
    seen: set[str | None] = set()
    refuse("have an id that occurred before", [str(one) for one in ids if one in seen or seen.add(one)])  # type: ignore[func-returns-value]
    return [str(one) for one in ids]


def texts(table: pa.Table, name: str) -> list[str | None]:
    """Return a column as text; None where a value is missing or NaN."""
    return [label(value) for value in table[name].to_pylist()]


def label(value: Any) -> str | None:
    """Return a value as the name of a class; None where it is missing or NaN."""
    if value is None or value != value:
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)  # a gap makes 1 to 1.0


def lists(
    table: pa.Table, ids: Sequence[str], name: str, missing: bool = False, once: bool = False
) -> list[list[str] | None]:  # fmt: skip
    """Return a column of lists as lists of text; ``once``: of equal entries one is kept.

    Raises ``RunError`` where one is missing, or holds nothing or, unless ``once``, one thing twice.
    """
    if not is_list(table[name].type) and not pa.types.is_null(table[name].type):
        raise RunError(f"the column {name} needs a list in each row")
    found = [None if row is None else [label(one) for one in row] for row in table[name].to_pylist()]
    if not missing:
        refuse(f"have no {name}", [i for i, row in zip(ids, found, strict=True) if row is None])
    refuse(f"have a missing value in {name}", [i for i, row in zip(ids, found, strict=True) if row and None in row])
    if once:
        found = [None if row is None else list(dict.fromkeys(row)) for row in found]
    refuse(
        f"have a value twice in {name}",
        [i for i, row in zip(ids, found, strict=True) if row and len(set(row)) < len(row)],
    )
    return [None if row is None else [str(one) for one in row] for row in found]


def numbers(table: pa.Table, ids: Sequence[str], name: str, missing: bool = False) -> Floats:
    """Return a column of numbers, or of text that says numbers, as float64, NaN where one is ``missing``.

    Raises ``RunError`` naming the rows that have none, or an infinite one.
    """
    kind = table[name].type
    if not any(
        test(kind) for test in (pa.types.is_floating, pa.types.is_integer, pa.types.is_null, pa.types.is_string)
    ):
        raise RunError(f"the column {name} needs a number in each row")
    found = [_number(one) for one in table[name].to_pylist()]
    refuse(f"have a {name} that is no number", [i for i, one in zip(ids, found, strict=True) if one is None])
    values = np.array(found, np.float64)
    refuse(f"have an infinite {name}", [i for i, one in zip(ids, values, strict=True) if np.isinf(one)])
    if not missing:
        refuse(f"have no {name}", [i for i, one in zip(ids, values, strict=True) if np.isnan(one)])
    return values


def _number(value: Any) -> float | None:
    try:
        return np.nan if value is None else float(value)
    except ValueError:
        return None


def is_list(kind: pa.DataType, numeric: bool = False) -> bool:
    """Say whether a column's type is a list (of numbers)."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    inner = kind.value_type
    return not numeric or pa.types.is_floating(inner) or pa.types.is_integer(inner) or pa.types.is_null(inner)


def check_probabilities(table: pa.Table, ids: Sequence[str]) -> tuple[list[list[str]], list[list[float]]]:
    """Return options (as text) and probabilities by row. Raises ``RunError`` naming rows that do not fit."""
    if "options" not in table.column_names:
        raise RunError("the table has probabilities but no options column to say of what")
    if not (is_list(table["probabilities"].type, numeric=True) and is_list(table["options"].type)):
        raise RunError("the columns probabilities (numbers) and options need a list in each row")
    rows = list(zip(ids, table["probabilities"].to_pylist(), table["options"].to_pylist(), strict=True))
    refuse(
        "have NaN, infinite or missing probabilities",
        [i for i, p, _ in rows if not p or not np.isfinite(np.array(p, float)).all()],
    )
    refuse("have probabilities outside 0 to 1", [i for i, p, _ in rows if min(p) < 0 or max(p) > 1 + 1e-6])
    refuse("do not have as many options as probabilities", [i for i, p, o in rows if len(p) != len(o or ())])
    options = [[label(one) for one in o] for _, _, o in rows]
    refuse(
        "have a missing or double option",
        [i for i, o in zip(ids, options, strict=True) if None in o or len(set(o)) < len(o)],
    )
    return [[str(one) for one in o] for o in options], [p for _, p, _ in rows]


def put(table: pa.Table, name: str, values: Any, kind: pa.DataType) -> pa.Table:
    """Return the table with a column set, where it is or at the end."""
    array = pa.array(values, kind)
    if name not in table.column_names:
        return table.append_column(name, array)
    return table.set_column(table.column_names.index(name), name, array)


def stated(table: pa.Table) -> list[str]:
    """Return the rules that a table says of itself, in its column ``rule``, with semicolons between them."""
    held = table["rule"].to_pylist() if "rule" in table.column_names else []
    return [rule for one in dict.fromkeys(held) if one for rule in one.split("; ")]


def refuse(problem: str, rows: Iterable[str]) -> None:
    """Raise ``RunError`` naming the first of these rows, if there are any."""
    named = list(rows)
    if named:
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        raise RunError(f"{len(named)} rows {problem}: {', '.join(named[:NAMED])}{more}")


def defined(statistics: Iterable[Statistic]) -> tuple[dict[str, Statistic], list[str]]:
    """Return the statistics that have a value, and a rule that names those that have none."""
    found = list(statistics)
    lost = [s.name for s in found if np.isnan(s.value)]
    rule = f"not defined here and not given (a class without rows, or values that are all equal): {', '.join(lost)}"
    return {s.name: s for s in found if not np.isnan(s.value)}, [rule] if lost else []


def indices(names: Sequence[str | None], space: Sequence[str]) -> Ints:
    """Return the place of each name among the classes, -1 for none."""
    place = {name: i for i, name in enumerate(space)}
    return np.array([-1 if name is None else place[name] for name in names])

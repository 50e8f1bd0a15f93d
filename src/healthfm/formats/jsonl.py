"""JSON lines (one object a line) and JSON files that hold a list or a mapping of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from healthfm.errors import BadValue, DatasetError
from healthfm.formats.source import DAMAGE, Row, Source, lines


def rows(source: Source) -> Iterator[Row]:
    """Yield one ``Row`` a line, numbered from 1; empty lines are passed over. A key that an object holds twice is a problem."""
    for number, line in lines(source):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_each_key_once)
        except BadValue as error:
            source.problems.add(DatasetError(f"{source}, line {number}: {error}"))
            continue
        except json.JSONDecodeError as error:
            source.problems.add(
                DatasetError(
                    f"{source}, line {number}: not valid JSON at column {error.colno}; the file may be cut short"
                )
            )
            continue
        except (ValueError, RecursionError) as error:  # a number or a nesting beyond what Python reads
            source.problems.add(
                DatasetError(f"{source}, line {number}: not JSON that can be read ({type(error).__name__})")
            )
            continue
        if not isinstance(values, dict):
            source.problems.add(
                DatasetError(f"{source}, line {number}: a JSON object was expected, not a {type(values).__name__}")
            )
            continue
        yield Row(values, source, number)


def load(source: Source) -> Any:
    """Return the one JSON value a file holds. A key that an object holds twice is an error: it would hide a row."""
    try:
        with source.text() as handle:
            return json.load(handle, object_pairs_hook=_each_key_once)
    except json.JSONDecodeError as error:
        raise DatasetError(
            f"{source}: not valid JSON at line {error.lineno}, column {error.colno}; the file may be cut short"
        ) from None
    except UnicodeDecodeError:
        raise DatasetError(f"{source}: not UTF-8") from None
    except BadValue as error:
        raise DatasetError(f"{source}: {error}") from None
    except (*DAMAGE, RecursionError) as error:
        raise DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})") from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadValue(f"one JSON object holds {len(pairs) - len(found)} key(s) twice")
    return found


def values(source: Source) -> Iterator[tuple[Row, Any]]:
    """Yield the entries, of any kind, of a JSON list (numbered from 1) or mapping (by their key), each with an empty row that says where."""
    value = load(source)
    if isinstance(value, dict):
        pairs: Iterator[tuple[int | str, Any]] = iter(value.items())
    elif isinstance(value, list):
        pairs = iter(enumerate(value, 1))
    else:
        raise DatasetError(f"{source}: a list or a mapping of objects was expected, not a {type(value).__name__}")
    for number, one in pairs:
        yield Row({}, source, number), one


def items(source: Source) -> Iterator[Row]:
    """Yield the objects of a JSON list (numbered from 1) or of a JSON mapping (numbered by their key)."""
    for row, one in values(source):
        if isinstance(one, dict):
            row.update(one)
            yield row
        else:
            source.problems.add(row.error(f"a JSON object was expected, not a {type(one).__name__}"))


def objects(source: Source) -> Iterator[Row]:
    """Yield the objects of a JSON list or of JSON lines, whichever the file holds: owners call both ``.json``."""
    first = next((line for _, line in lines(source) if line.strip()), "")
    return items(source) if first.lstrip().startswith("[") else rows(source)

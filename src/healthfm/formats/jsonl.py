"""JSON lines (one object a line) and JSON files that hold a list or a mapping of objects."""

from __future__ import annotations

import codecs
import importlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError
from healthfm.formats.source import DAMAGE, Made, Row, Source, line_blocks, line_decoder, lines

try:
    _decode = importlib.import_module("msgspec.json").Decoder().decode
    _decode_lines = importlib.import_module("msgspec.json").Decoder().decode_lines
except ModuleNotFoundError:  # where there is no wheel of it: the same objects, later

    def _decode(raw: bytes) -> Any:
        return json.loads(raw.decode())

    def _decode_lines(raw: bytes) -> list[Any]:
        return [json.loads(line) for line in raw.decode().split("\n") if line]


BLOCK = 1 << 16  # bytes of lines that are read at once
PART = 1 << 17  # bytes of a whole file that are looked through at once


def rows(source: Source, encoding: str = "utf-8") -> Iterator[Row]:
    """Yield one ``Row`` a line, numbered from 1; empty lines are passed over. A key that an object holds twice is a problem.

    ``encoding``: of an owner who does not write UTF-8.
    """
    decoded = line_decoder(source, encoding)
    quick = codecs.lookup(encoding).name == "utf-8"
    for first, held in line_blocks(source, BLOCK):
        found = _objects(held) if quick else [None] * len(held)
        for number, values in enumerate(found, first):
            if values is None:
                line = decoded(number, held[number - first])
                values = _carefully(line, source, number) if line is not None and line.strip() else None
                if values is None:
                    continue
            row = Made(values)
            row.source, row.number = source, number
            yield row


def _objects(held: Sequence[bytes]) -> Sequence[dict[str, Any] | None]:
    """Return the object of each line that msgspec reads and that has all the keys it can have, so that none was there twice; None: look again."""
    raw = b"".join(held)
    sizes = np.fromiter(map(len, held), np.int64, len(held))
    ends, colons = np.cumsum(sizes), _colons(raw)
    values = _one_a_line(raw, ends - sizes, ends)
    if values is not None and _all_keys(values, len(colons)):
        return values
    written = np.diff(np.searchsorted(colons, ends, side="right"), prepend=0).tolist()
    return list(map(_quickly, held, written))


def _colons(raw: bytes) -> npt.NDArray[np.int64]:
    """Return where colons stand that may end a key: behind a quote, or behind a quote and blanks."""
    text = np.frombuffer(raw, np.uint8)
    colons = _places(text, ":")
    before = colons - 1  # of the first character it is the last, which is no worse: no JSON begins with a colon
    late = np.flatnonzero(text[before] <= ord(" "))
    while len(late := late[(before[late] >= 0) & (text[before[late]] <= ord(" "))]):
        before[late] -= 1
    found: npt.NDArray[np.int64] = colons[text[before] == ord('"')]
    return found


def _places(text: npt.NDArray[np.uint8], mark: str) -> npt.NDArray[np.int64]:
    """Return where a mark stands; looked for in parts that stay in a processor's cache, which takes half the time."""
    parts = [np.flatnonzero(text[at : at + PART] == ord(mark)) + at for at in range(0, len(text), PART)]
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _one_a_line(raw: bytes, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> list[dict[str, Any]] | None:
    """Return the objects of lines that all begin and end with a brace; None where they may not be one a line.

    Within a value, a line's end never stands between two braces, so as many objects as lines are one a line.
    """
    text = np.frombuffer(raw, np.uint8)
    last = text[ends - 2] if raw.endswith(b"\n") else np.append(text[ends[:-1] - 2], text[-1])
    if not (text[starts] == ord("{")).all() or not (last == ord("}")).all():
        return None
    try:
        values = _decode_lines(raw)
    except (ValueError, RecursionError):
        return None
    return values if len(values) == len(ends) and set(map(type, values)) == {dict} else None


def _quickly(raw: bytes, written: int) -> dict[str, Any] | None:
    try:
        values = _decode(raw)
    except (ValueError, RecursionError):
        return None
    return values if type(values) is dict and _all_keys([values], written) else None


def _all_keys(values: Sequence[dict[str, Any]], written: int) -> bool:
    """Whether objects have as many keys as are written there. They never have more, so what is quick to count is counted first."""
    found = sum(map(len, values))
    if found != written:
        found += sum([len(one) for value in values for one in value.values() if type(one) is dict])
    return found == written or sum(map(_keys, values)) == written


def _keys(value: Any) -> int:
    """Return how many keys the objects in a value have."""
    found, inner = (len(value), value.values()) if type(value) is dict else (0, value)
    for one in inner:
        if type(one) is dict or type(one) is list:
            found += _keys(one)
    return found


def _carefully(line: str, source: Source, number: int) -> dict[str, Any] | None:
    """Return the object of a line; None where there is none, which is a problem of the line."""
    try:
        values = json.loads(line, object_pairs_hook=_each_key_once)
    except BadValue as error:
        reason = str(error)
    except json.JSONDecodeError as error:
        reason = f"not valid JSON at column {error.colno}; the file may be cut short"
    except (ValueError, RecursionError) as error:  # a number or a nesting beyond what Python reads
        reason = f"not JSON that can be read ({type(error).__name__})"
    else:
        if isinstance(values, dict):
            return values
        reason = f"a JSON object was expected, not a {type(values).__name__}"
    source.problems.add(DatasetError(f"{source}, line {number}: {reason}"))
    return None


def load(source: Source, opened: IO[bytes] | None = None) -> Any:
    """Return the one JSON value a file holds, which may be ``opened`` already. A key that an object holds twice is an error: it would hide a row.

    What a pass over several splits reads for each of them is parsed once.
    """
    kept = source.problems.kept if source.shared else None
    if kept is None:
        return _loaded(source, opened)
    if source not in kept:
        kept[source] = _loaded(source, opened)
    return kept[source]


def _loaded(source: Source, opened: IO[bytes] | None) -> Any:
    try:
        with opened or source.open() as handle:
            raw = handle.read()
        found = _whole(raw)
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_each_key_once) if found is None else found
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


def _whole(raw: bytes) -> Any:
    """Return the value of some JSON that msgspec reads and in which no object holds a key twice; None: look again."""
    try:
        value = _decode(raw)
        if type(value) not in (dict, list):
            return None
        objects, written = (
            [value] if type(value) is dict else [one for one in value if type(one) is dict],
            _written(raw),
        )
        return value if _all_keys(objects, written) or _keys(value) == written else None
    except (ValueError, RecursionError):
        return None


def _written(raw: bytes) -> int:
    """Return how many keys are written in an object or a list that is valid JSON: its strings that a colon follows."""
    text = np.frombuffer(raw, np.uint8)
    quotes = _places(text, '"')
    before, escaped = quotes - 1, np.zeros(len(quotes), bool)  # behind an odd number of backslashes
    while (more := text[before] == ord("\\")).any():
        escaped ^= more
        before -= more
    after = quotes[~escaped][1::2] + 1
    blank = np.flatnonzero(text[after] <= ord(" "))
    while len(blank := blank[text[after[blank]] <= ord(" ")]):
        after[blank] += 1
    return int((text[after] == ord(":")).sum())


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadValue(f"one JSON object holds {len(pairs) - len(found)} key(s) twice")
    return found


def _entries(source: Source) -> Iterable[tuple[int | str, Any]]:
    """Return the entries of a JSON list, numbered from 1, or of a mapping, by their key."""
    value = load(source)
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, list):
        return enumerate(value, 1)
    raise DatasetError(f"{source}: a list or a mapping of objects was expected, not a {type(value).__name__}")


def values(source: Source) -> Iterator[tuple[Row, Any]]:
    """Yield the entries, of any kind, of a JSON list (numbered from 1) or mapping (by their key), each with an empty row that says where."""
    for number, one in _entries(source):
        yield Row({}, source, number), one


def items(source: Source) -> Iterator[Row]:
    """Yield the objects of a JSON list (numbered from 1) or of a JSON mapping (numbered by their key)."""
    for number, one in _entries(source):
        if isinstance(one, dict):
            row = Made(one)
            row.source, row.number = source, number
            yield row
        else:
            reason = f"a JSON object was expected, not a {type(one).__name__}"
            source.problems.add(Row({}, source, number).error(reason))


def objects(source: Source) -> Iterator[Row]:
    """Yield the objects of a JSON list or of JSON lines, whichever the file holds: owners call both ``.json``."""
    first = next((line for _, line in lines(source) if line.strip()), "")
    return items(source) if first.lstrip().startswith("[") else rows(source)

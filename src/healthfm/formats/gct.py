"""Matrices of features by samples: GCT 1.2 and 1.3 as text, GCTX as HDF5 (Broad Institute, cmapPy's description), and plain wide tables.

-666 is LINCS' word for missing, in tables about the matrix only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError
from healthfm.formats.cells import hdf5, reading
from healthfm.formats.source import Source, lines

LARGEST = 1 << 33  # values that a text matrix may state
ABSENT = frozenset({"", "na", "nan", "null", "#n/a"})


@dataclass(frozen=True)
class Matrix:
    """Features by samples. ``column(j)`` gives sample j's values, float32 [features]; ``about`` its facts by name, one list each."""

    features: tuple[str, ...]
    samples: tuple[str, ...]
    column: Callable[[int], npt.NDArray[np.float32]]
    about: Mapping[str, list[str | None]] = field(default_factory=dict)
    about_features: Mapping[str, list[str | None]] = field(default_factory=dict)


def gct(source: Source) -> Matrix:
    """Return the matrix of a GCT file, held whole. Raises ``DatasetError``: not one, or its dimensions are not those it states."""
    rows = ((number, line.rstrip("\r\n").split("\t")) for number, line in lines(source))
    above_values = [cells for _, cells in islice(rows, 3)]
    try:
        version, sizes, header = above_values
        sides = [int(one) for one in sizes if one.strip()]
        count, width, fixed, above = [*sides, 1, 0] if len(sides) == 2 else sides
    except ValueError:
        raise DatasetError(
            f"{source}: not GCT: a line #1.2 or #1.3, then the dimensions, then names are expected"
        ) from None
    if min(count, width, fixed, above) < 0 or count * width > LARGEST:
        raise DatasetError(f"{source}: its dimensions state {count} by {width}, more than a text can hold")
    if version[0].strip() not in ("#1.2", "#1.3") or (version[0].strip() == "#1.2") != (len(sides) == 2):
        raise DatasetError(f"{source}: not GCT 1.2 or 1.3")
    if len(header) != 1 + fixed + width:
        raise DatasetError(f"{source}: its dimensions state {width} samples, its header has {len(header) - 1 - fixed}")
    facts: dict[str, list[str | None]] = {}
    names: list[str] = []
    beside: list[list[str]] = []
    values = np.empty((count, width), np.float32)
    for number, cells in rows:
        if cells == [""]:
            continue
        if len(cells) != len(header):
            raise DatasetError(f"{source}, line {number}: {len(cells)} columns, not {len(header)}")
        if len(facts) < above:
            facts[cells[0]] = [_said(one) for one in cells[1 + fixed :]]
        elif len(names) == count:
            raise DatasetError(f"{source}: its dimensions state {count} features, it has more")
        else:
            values[len(names)] = numbers(source, number, cells[1 + fixed :])
            names.append(cells[0])
            beside.append(cells[1 : 1 + fixed])
    if len(names) != count:
        raise DatasetError(f"{source}: its dimensions state {count} features, it has {len(names)}")
    about = {name: [_said(row[place]) for row in beside] for place, name in enumerate(header[1 : 1 + fixed])}
    return Matrix(tuple(names), tuple(header[1 + fixed :]), lambda j: values[:, j].copy(), facts, about)


def wide(source: Source, delimiter: str = "\t", fixed: int = 1) -> Matrix:
    """Return a plain table, a feature a line behind ``fixed`` columns about it, a sample a column, held whole; NA is missing."""
    held = ((number, line.rstrip("\r\n").split(delimiter)) for number, line in lines(source))
    header = next(held, (0, [""]))[1]
    names, beside, values = [], [], []
    for number, cells in held:
        if cells == [""]:
            continue
        if len(cells) != len(header):
            raise DatasetError(f"{source}, line {number}: {len(cells)} columns, not {len(header)}")
        names.append(cells[0])
        beside.append(cells[1:fixed])
        values.append(numbers(source, number, cells[fixed:]))
    if not names or len(header) <= fixed:
        raise DatasetError(f"{source}: no values in it")
    stacked = np.stack(values)
    about = {name: [_said(row[place]) for row in beside] for place, name in enumerate(header[1:fixed])}
    return Matrix(tuple(names), tuple(header[fixed:]), lambda j: stacked[:, j].copy(), about_features=about)


def numbers(source: Source, number: int, cells: list[str]) -> npt.NDArray[np.float32]:
    try:
        return np.array(cells, np.float32)
    except ValueError:
        try:
            return np.array([np.nan if one.strip().lower() in ABSENT else float(one) for one in cells], np.float32)
        except ValueError:
            raise DatasetError(f"{source}, line {number}: a value is no number") from None


def _said(cell: str) -> str | None:
    return None if cell.strip().lower() in ABSENT or cell.strip() == "-666" else cell


def gctx(source: Source) -> Matrix:
    """Return the matrix of a GCTX file, read a sample at a time: it is stored with a sample a row."""
    file = hdf5(source)
    with reading(source):
        return _gctx(source, file)


def _gctx(source: Source, file: Any) -> Matrix:
    try:
        held, rows, columns = file["0/DATA/0/matrix"], file["0/META/ROW"], file["0/META/COL"]
        features, samples = (tuple(one.decode().strip() for one in side["id"][:]) for side in (rows, columns))
    except (KeyError, AttributeError):
        raise DatasetError(f"{source}: not GCTX: no 0/DATA/0/matrix with ids in 0/META") from None
    if held.shape != (len(samples), len(features)):
        raise DatasetError(
            f"{source}: a matrix of {held.shape} for {len(samples)} samples and {len(features)} features"
        )

    def facts(side: object) -> dict[str, list[str | None]]:
        return {key: [_said(_text(one)) for one in side[key][:]] for key in side if key != "id"}  # type: ignore[attr-defined, index]

    return Matrix(features, samples, reading(source)(lambda j: held[j].astype(np.float32)), facts(columns), facts(rows))


def _text(value: object) -> str:
    return value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value)


def place_of(matrix: Matrix, sample: str) -> int:
    """Return the number of a sample. Raises ``BadValue``: it is not there, or twice."""
    if matrix.samples.count(sample) != 1:
        raise BadValue(f"the matrix has {matrix.samples.count(sample)} columns for the sample")
    return matrix.samples.index(sample)

"""loom: genes by cells in HDF5, the matrix with further layers of the same shape (loompy's file specification, versions 2 and 3).

Read as cells by genes, so many cells as are asked for; a value of text may write letters beyond ASCII as XML entities, which loompy undoes.
"""

from __future__ import annotations

import html
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError
from healthfm.formats.cells import Matrix, hdf5, named, plain, readable
from healthfm.formats.source import DAMAGE, Source


def matrix(source: Source) -> Matrix:
    """Return the main matrix of a loom file, its layers beside it. Raises ``DatasetError``: no loom, or its parts do not fit together."""
    try:
        return _matrix(source, hdf5(source))
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, *DAMAGE) as error:
        raise DatasetError(f"{source}: the file is damaged ({type(error).__name__})") from None


def _matrix(source: Source, file: Any) -> Matrix:
    if not {"matrix", "row_attrs", "col_attrs"} <= set(file):
        raise DatasetError(f"{source}: not loom: it has no matrix, row_attrs and col_attrs")
    held = {"matrix": file["matrix"], **{str(name): one for name, one in file.get("layers", {}).items()}}
    shape = file["matrix"].shape
    for name, one in held.items():
        if one.ndim != 2 or one.dtype.kind not in "biuf" or one.shape != shape:
            raise DatasetError(f"{source}: {name} is no matrix of numbers, or has not the shape of the others")
    genes, cells = map(int, shape)
    about = [_columns(source, file, place, count) for place, count in (("col_attrs", cells), ("row_attrs", genes))]
    obs, var = (named(source, place, tuple(one), partial(_values, source, one)) for place, one in zip(("col_attrs", "row_attrs"), about, strict=True))  # fmt: skip
    layers = {name: partial(_cells, source, one) for name, one in held.items() if name != "matrix"}
    return Matrix(cells, genes, partial(_cells, source, held["matrix"]), tuple(about[0]), tuple(about[1]), obs, var, "matrix", layers=layers)  # fmt: skip


def _cells(source: Source, held: Any, i: int, j: int) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(_read(source, held, (slice(None), slice(i, j))).T, np.float32)


def _read(source: Source, held: Any, part: Any) -> Any:
    try:
        return held[part]
    except (RuntimeError, ValueError, *DAMAGE):
        raise DatasetError(f"{source}: the file is damaged or cut short") from None


def _columns(source: Source, file: Any, place: str, count: int) -> dict[str, Any]:
    """Return the attributes that hold one value a cell or gene; those with several (an embedding) are named."""
    found = {}
    for name, one in file[place].items():
        if not hasattr(one, "dtype"):
            raise DatasetError(f"{source}: {place}/{name} is no list of values")
        if one.shape[:1] != (count,):
            raise DatasetError(f"{source}: {place}/{name} has {list(one.shape)} values for {count}")
        if one.ndim > 1:
            source.problems.notices.append(f"{source}: {place}/{name} holds several values each; it is not read")
        elif readable(source, place, name, one.dtype):
            found[str(name)] = one
    return found


def _values(source: Source, columns: dict[str, Any], name: str) -> list[Any]:
    found = map(plain, _read(source, columns[name], slice(None)))
    return [html.unescape(one) if isinstance(one, str) else one for one in found]

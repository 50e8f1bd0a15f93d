"""Matrices of cells by genes: AnnData's h5ad (its on-disk format, and the one of before 2019), 10x Genomics' HDF5 and Matrix Market
folders. HDF5 is never read whole: rows are decoded as they are asked for; a pickled object in a file is not read at all.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError, MissingExtra
from healthfm.formats import stretches
from healthfm.formats.source import DAMAGE, Source

Rows = Callable[[int, int], npt.NDArray[np.float32]]
Scattered = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Matrix:
    """An open matrix: ``rows(i, j)`` gives cells ``[i, j)``, ``obs`` and ``var`` the named columns about cells and about genes."""

    cells: int
    genes: int
    rows: Rows
    obs_names: tuple[str, ...]
    var_names: tuple[str, ...]
    obs: Callable[[str], list[Any]]
    var: Callable[[str], list[Any]]
    counts: str
    raw: bool = True  # whether the numbers are counts as they were measured
    scattered: Scattered | None = None  # any rows at once, where that is cheaper than one by one
    layers: Mapping[str, Rows] = field(default_factory=dict)  # other numbers of the same cells and genes


@functools.lru_cache(maxsize=8)
def _open(path: Path, _written: int) -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingExtra("bio", "h5py") from None
    try:
        return h5py.File(path, "r")
    except OSError:
        raise DatasetError(f"{path}: not a readable HDF5 file") from None


@contextlib.contextmanager
def reading(source: Source) -> Iterator[None]:
    """What reads numbers of an HDF5 file, which are looked at only then. Raises ``DatasetError``: they are damaged."""
    try:
        yield
    except (RuntimeError, *DAMAGE) as error:
        raise DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})") from None


def hdf5(source: Source) -> Any:
    """Return the open HDF5 file of a source. Raises ``DatasetError``: packed (it is read in pieces, from a file of its own), or damaged."""
    if source.member is not None or source.path.suffix == ".gz":
        raise DatasetError(f"{source}: HDF5 is read from a file of its own; unpack it first")
    return _open(source.path, source.path.stat().st_mtime_ns if source.path.exists() else 0)


def h5ad(source: Source) -> Matrix:
    """Return the matrix of an h5ad file: the raw counts (``raw/X``) where they are kept, else ``X``, and which of them in ``counts``."""
    file = hdf5(source)
    raw = next((name for name in ("raw/X", "raw.X") if name in file), None)
    place = raw or "X"
    if place not in file or "obs" not in file or "var" not in file:
        raise DatasetError(f"{source}: not AnnData: it has no X, obs and var")
    genes = "var" if raw is None else "raw/var" if "raw/var" in file else "raw.var"
    if genes not in file:
        raise DatasetError(f"{source}: raw counts without the genes they are of")
    cells, width, rows = _rows(source, file, place)
    obs, var = _table(source, file, "obs"), _table(source, file, genes)
    for what, count, (names, column) in (("cells", cells, obs), ("genes", width, var)):
        if len(column(names[0])) != count:
            raise DatasetError(
                f"{source}: {place} has {count} {what}, its table about them has {len(column(names[0]))}"
            )
    return Matrix(
        cells,
        width,
        rows,
        obs[0],
        var[0],
        obs[1],
        var[1],
        place if raw else "X, no raw counts are kept",
        raw is not None,
        scattered(source, file[place], width),
    )


def _rows(source: Source, file: Any, place: str) -> tuple[int, int, Rows]:
    """Return the shape of a matrix and what reads its rows: dense, or compressed by row; by column it would have to be read whole."""
    held = file[place]
    if not hasattr(held, "keys"):
        if held.ndim != 2 or held.dtype.kind not in "biuf":
            raise DatasetError(f"{source}: {place} is no matrix of numbers")
        return *held.shape, reading(source)(lambda i, j: held[i:j].astype(np.float32))
    said = {key: value.decode() if isinstance(value, bytes) else value for key, value in held.attrs.items()}
    kind = str(said.get("encoding-type", said.get("h5sparse_format", "")))
    shape = said.get("shape", said.get("h5sparse_shape"))
    if not kind.startswith("csr") or shape is None:
        raise DatasetError(
            f"{source}: {place} is {kind or 'of no known kind'}; only dense matrices and csr are read by row"
        )
    return int(shape[0]), int(shape[1]), compressed(source, held, int(shape[0]), int(shape[1]))


def compressed(source: Source, held: Any, count: int, width: int) -> Rows:
    """Return what reads rows of a compressed matrix: ``indptr``, ``indices``, ``data``. Raises ``DatasetError``: they do not fit together."""
    with reading(source):
        starts = held["indptr"][:]
    if (
        held["data"].dtype.kind not in "biuf"
        or len(starts) != count + 1
        or starts[0] < 0
        or np.any(starts[1:] < starts[:-1])
        or starts[-1] > min(len(held["data"]), len(held["indices"]))
    ):
        raise DatasetError(f"{source}: the parts of its compressed matrix do not fit together")

    filled = _filling(source, held, width)

    def rows(i: int, j: int) -> npt.NDArray[np.float32]:
        i, j, _ = slice(i, j).indices(count)
        j = max(i, j)
        of = np.repeat(np.arange(j - i) * width, np.diff(starts[i : j + 1]))
        return filled(j - i, of, starts[i : i + 1].astype(np.int64), (starts[j : j + 1] - starts[i]).astype(np.int64))

    return rows


def scattered(source: Source, held: Any, width: int) -> Scattered:
    """Return what reads any rows of a matrix, dense or compressed, unpacking what is stored together once for all of them."""
    if not hasattr(held, "keys"):

        @reading(source)
        def picked(places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
            found = np.empty((len(places), width), np.float32)
            ascending = np.sort(places)
            found[np.argsort(places)] = stretches.rows(held, ascending, np.ones_like(ascending))
            return found

        return picked
    starts, filled = held["indptr"][:].astype(np.int64), _filling(source, held, width)

    def chosen(places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        order = np.argsort(places)
        begins, counts = starts[places][order], (starts[places + 1] - starts[places])[order]
        return filled(len(places), np.repeat(order * width, counts), begins, counts)

    return chosen


Filling = Callable[
    [int, npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]],
    npt.NDArray[np.float32],
]


def _filling(source: Source, held: Any, width: int) -> Filling:
    """Return what makes rows of a compressed matrix dense: of (rows, where the row of each value begins, where stretches of values begin, how many are in each)."""
    columns, values = stretches.Stretches(held["indices"]), stretches.Stretches(held["data"])

    @reading(source)
    def filled(
        count: int, of: npt.NDArray[np.int64], begins: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        places = columns.read(begins, counts).astype(np.int64, copy=False)
        if len(places) and not 0 <= places.min() <= places.max() < width:
            raise DatasetError(f"{source}: a value lies beyond the last column")
        found = np.zeros((count, width), np.float32)
        found.reshape(-1)[of + places] = values.read(begins, counts)
        return found

    return filled


def _table(source: Source, file: Any, place: str) -> tuple[tuple[str, ...], Callable[[str], list[Any]]]:
    """Return the names of the columns of ``obs`` or ``var``, the index first, and what reads one."""
    held = file[place]
    if not hasattr(held, "keys"):  # before AnnData 0.7: one array of rows, categories beside it in uns
        names = tuple(name for name in held.dtype.names or () if readable(source, place, name, held.dtype[name]))
        if not names:
            raise DatasetError(f"{source}: {place} is no table")

        def column(name: str) -> list[Any]:
            values = held[name]
            beside = f"uns/{name}_categories"
            return (
                [plain(file[beside][one]) for one in values]
                if place == "obs" and beside in file
                else [*map(plain, values)]
            )

        return names, named(source, place, names, column)
    index = plain(held.attrs.get("_index", "_index"))
    names = (
        index,
        *(plain(one) for one in held.attrs.get("column-order", [k for k in held if k not in (index, "__categories")])),
    )
    if index not in held:
        raise DatasetError(f"{source}: {place} does not name its rows")
    names = tuple(one for one in names if one in held and readable(source, place, one, _kind(held[one])))
    return names, named(source, place, names, lambda name: _column(held, name))


def _kind(column: Any) -> Any:
    """Return the type of a column's values, of its categories where it has such."""
    if hasattr(column, "keys"):
        return next((column[name].dtype for name in ("categories", "values") if name in column), None)
    return column.dtype


def readable(source: Source, place: str, name: str, kind: Any) -> bool:
    """Whether a column holds numbers or text. Any other object (a pickled one) is not read, and that is said."""
    import h5py

    held = kind is not None and (kind.kind in "biufSU" or h5py.check_string_dtype(kind) or h5py.check_enum_dtype(kind))
    if not held:
        source.problems.notices.append(
            f"{source}: the column '{name}' of {place} holds objects, no values; it is not read"
        )
    return bool(held)


def named(
    source: Source, place: str, names: Sequence[str], column: Callable[[str], list[Any]]
) -> Callable[[str], list[Any]]:
    """Return what reads a column by its name; of a name that there is not it says which there are."""

    def read(name: str) -> list[Any]:
        if name not in names:
            raise DatasetError(f"{source}: {place} has no column '{name}' (it has: {', '.join(names)})")
        with reading(source):
            return column(name)

    return read


def _column(held: Any, name: str) -> list[Any]:
    one = held[name]
    if hasattr(one, "keys") and "categories" in one:
        words = [*map(plain, one["categories"][:])]
        return [words[code] if code >= 0 else None for code in one["codes"][:]]
    if hasattr(one, "keys"):  # a nullable column
        absent = one["mask"][:]
        return [None if gone else plain(value) for value, gone in zip(one["values"][:], absent, strict=True)]
    if "categories" in one.attrs:  # AnnData 0.7: a reference to __categories
        words = [*map(plain, held[one.attrs["categories"]][:])]
        return [words[code] if code >= 0 else None for code in one[:]]
    return [*map(plain, one[:])]


def plain(value: Any) -> Any:
    """Return a value of HDF5 or NumPy as Python's own."""
    return (
        value.decode("utf-8", "replace")
        if isinstance(value, bytes)
        else value.item()
        if hasattr(value, "item")
        else value
    )


def ten_x(source: Source) -> list[tuple[str, Matrix]]:
    """Return (genome or empty, matrix) of a 10x Genomics HDF5 file: one of Cell Ranger 3 and later, one a genome of those before."""
    file = hdf5(source)
    groups = (
        ["matrix"]
        if "matrix" in file
        else [name for name in file if hasattr(file[name], "keys") and "indptr" in file[name]]
    )
    if not groups:
        raise DatasetError(f"{source}: no matrix of 10x Genomics in it")
    found = []
    for name in groups:
        held = file[name]
        genes, cells = map(int, held["shape"][:])
        about = held.get("features", held)
        columns = {key: key for key in ("id", "name", "gene_id", "feature_type", "genome") if key in about} or {
            "id": "genes",
            "name": "gene_names",
        }
        var = {key: about[place] for key, place in columns.items()}
        if len(held["barcodes"]) != cells or any(len(one) != genes for one in var.values()):
            raise DatasetError(
                f"{source}: its shape is {genes} by {cells}, its lists of features and barcodes are others"
            )
        found.append(("" if name == "matrix" else name, Matrix(
            cells, genes, compressed(source, held, cells, genes), ("barcode",), tuple(var),
            named(source, "barcodes", ("barcode",), partial(_texts, {"barcode": held["barcodes"]})),
            named(source, "features", tuple(var), partial(_texts, var)), "counts", scattered=scattered(source, held, genes),
        )))  # fmt: skip
    return found


def _texts(columns: dict[str, Any], name: str) -> list[Any]:
    return [*map(plain, columns[name][:])]


def market(matrix: Source, features: list[list[str]], barcodes: list[str]) -> Matrix:
    """Return a Matrix Market file (features by barcodes) as cells by genes, held compressed. Columns of ``features``: id, name, type."""
    import scipy.io

    try:
        with matrix.open() as handle:
            held = scipy.io.mmread(handle).tocsc()
    except (ValueError, TypeError, *DAMAGE) as error:
        raise DatasetError(f"{matrix}: not a readable Matrix Market file ({type(error).__name__})") from None
    if held.shape != (len(features), len(barcodes)):
        raise DatasetError(
            f"{matrix}: {held.shape[0]} by {held.shape[1]}, with {len(features)} features and {len(barcodes)} barcodes beside it"
        )
    names = ("id", "name", "feature_type")[: min(map(len, features), default=1)]
    return Matrix(
        len(barcodes), len(features), lambda i, j: np.ascontiguousarray(held[:, i:j].T.toarray(), np.float32), ("barcode",), names,
        named(matrix, "barcodes", ("barcode",), lambda _: list(barcodes)),
        named(matrix, "features", names, lambda key: [row[names.index(key)] for row in features]), "counts",
    )  # fmt: skip

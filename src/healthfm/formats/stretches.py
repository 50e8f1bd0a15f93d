"""Stretches of arrays of HDF5: many at once, each chunk unpacked once.

Chunks packed by deflate (with shuffle or not: what AnnData and Cell Ranger write) are fetched as they are stored and unpacked by libdeflate, which is
twice as fast as HDF5's own way; every other array, and every chunk that is not as it should be, is read by HDF5 itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

DEFLATE, SHUFFLE = 1, 2  # HDF5's numbers of its filters


class Stretches:
    """Reads stretches of an array of one dimension. Holds the last chunk that it unpacked, for readers that go on from there."""

    def __init__(self, values: Any) -> None:
        self.values = values
        self._shuffled = _packed(values)
        self._size, self._kind, self._length = (values.chunks or (0,))[0], values.dtype, len(values)
        self._last: tuple[int, npt.NDArray[Any]] = (
            -1,
            np.empty(0, values.dtype),
        )  # replaced as one: threads may share it

    def read(self, begins: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the stretches, one behind the other, in ascending order of where they begin."""
        if self._shuffled is None:
            return rows(self.values, begins, counts)
        found, at, size = np.empty(int(counts.sum()), self._kind), 0, self._size
        number, chunk = self._last
        for begin, count in zip(begins.tolist(), counts.tolist(), strict=True):
            end = begin + count
            while begin < end:
                if begin // size != number:
                    number = begin // size
                    chunk = self._chunk(number)
                some = chunk[begin - number * size : end - number * size]
                found[at : at + len(some)] = some
                begin, at = begin + len(some), at + len(some)
        self._last = number, chunk
        return found

    def _chunk(self, number: int) -> npt.NDArray[Any]:
        import imagecodecs

        size, kind = self._size, self._kind
        try:
            skipped, raw = self.values.id.read_direct_chunk((number * size,))
            plain = b"" if skipped else imagecodecs.deflate_decode(raw, out=size * kind.itemsize)
        except (OSError, RuntimeError, ValueError):  # never written, or damaged: HDF5 says it
            plain = b""
        if len(plain) != size * kind.itemsize:
            return np.asarray(self.values[number * size : (number + 1) * size])
        if self._shuffled:
            plain = np.frombuffer(plain, np.uint8).reshape(kind.itemsize, size).T.tobytes()
        return np.frombuffer(plain, kind)[: self._length - number * size]


def _packed(values: Any) -> bool | None:
    """Whether an array's chunks are shuffled before they are packed by deflate; None: they are packed otherwise, or hold no plain numbers."""
    import h5py

    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        return None
    if values.ndim != 1 or values.chunks is None or values.dtype.kind not in "iuf":
        return None
    if h5py.h5t.py_create(values.dtype) != values.id.get_type():
        return None
    plan = values.id.get_create_plist()
    filters = [plan.get_filter(n)[0] for n in range(plan.get_nfilters())]
    return {(DEFLATE,): False, (SHUFFLE, DEFLATE): True}.get(tuple(filters))


def rows(values: Any, begins: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return stretches of an array's first dimension, one behind the other, in ascending order: one request to HDF5 for all of them."""
    from h5py import h5s

    space, more = values.id.get_space(), values.shape[1:]
    space.select_none()
    for begin, count in zip(begins.tolist(), counts.tolist(), strict=True):
        if count:
            space.select_hyperslab((begin, *(0 for _ in more)), (count, *more), op=h5s.SELECT_OR)
    found = np.empty((int(counts.sum()), *more), values.dtype)
    if found.size:
        values.id.read(h5s.create_simple(found.shape), space, found)
    return found

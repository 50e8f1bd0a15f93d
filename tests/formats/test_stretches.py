"""Stretches of arrays of HDF5: the same numbers as HDF5 gives, however an array is packed and wherever a chunk ends."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.sparse

from healthfm.errors import DatasetError
from healthfm.formats import cells, stretches
from healthfm.formats.source import Source

PACKED: dict[str, dict[str, Any]] = {
    "deflate": {"compression": "gzip"},
    "shuffled": {"compression": "gzip", "shuffle": True},
    "lzf": {"compression": "lzf"},
    "checked": {"compression": "gzip", "fletcher32": True},
    "plain": {},
}


@pytest.mark.parametrize("kind", ["<i4", ">i8", "<f4", "u1", "<f2"])
def test_stretches_are_what_hdf5_gives(tmp_path: Path, kind: str) -> None:
    draw = np.random.default_rng(0)
    values = draw.integers(0, 100, 1000).astype(kind)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, how in PACKED.items():
            file.create_dataset(name, data=values, chunks=(37,) if how else None, **how)
        file.create_dataset("part", (1000,), kind, chunks=(37,), compression="gzip", fillvalue=7)[100:500] = values[100:500]  # fmt: skip
    with h5py.File(tmp_path / "x.h5") as file:
        assert stretches._packed(file["deflate"]) is False and stretches._packed(file["shuffled"]) is True
        assert stretches._packed(file["lzf"]) is stretches._packed(file["checked"]) is None
        for name in file:
            whole, read = file[name][:], stretches.Stretches(file[name])
            for _ in range(40):
                cuts = np.sort(draw.choice(1001, 2 * int(draw.integers(0, 8)), replace=False))
                begins, counts = cuts[::2], np.diff(cuts)[::2]
                expected = np.concatenate([whole[:0], *(whole[i : i + n] for i, n in zip(begins, counts, strict=True))])
                assert np.array_equal(read.read(begins, counts), expected), (name, cuts)


@pytest.mark.parametrize("raw", [b"no deflate at all", zlib.compress(np.arange(50).tobytes())[:-1] + b"?"])
def test_a_damaged_chunk_is_no_numbers(tmp_path: Path, raw: bytes) -> None:
    """Not even where it unpacks, but not to what was packed."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=np.arange(100), chunks=(50,), compression="gzip")
        file["x"].id.write_direct_chunk((50,), raw)
    with h5py.File(tmp_path / "x.h5") as file:
        read = stretches.Stretches(file["x"])
        assert read.read(np.array([3]), np.array([40])).tolist() == list(range(3, 43))
        with pytest.raises(OSError, match="read"):
            read.read(np.array([50]), np.array([5]))


@pytest.mark.parametrize("packed", [{}, {"compression": "gzip", "chunks": (30,)}])
def test_any_cells_are_those_of_the_whole_matrix(tmp_path: Path, packed: dict[str, Any]) -> None:
    """Dense and compressed, drawn and in blocks; a file whose parts are of several lengths is refused."""
    draw, source = np.random.default_rng(0), Source(tmp_path / "x.h5")
    held = scipy.sparse.random(200, 50, 0.1, "csr", np.float32, random_state=0)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("dense", data=held.toarray(), chunks=(7, 20), compression="gzip")
        for name in ("data", "indices", "indptr"):
            file.create_dataset(f"packed/{name}", data=getattr(held, name), **packed)
            file.create_dataset(f"short/{name}", data=getattr(held, name)[: 900 if name == "indices" else None])
    with h5py.File(tmp_path / "x.h5") as file:
        for name in ("dense", "packed"):
            chosen = cells.scattered(source, file[name], 50)
            for places in ([], [199, 0, 7, 8, 6], draw.permutation(200), np.arange(40, 104)):
                assert np.array_equal(chosen(np.array(places, np.int64)), held.toarray()[np.array(places, np.int64)])
        block = cells.compressed(source, file["packed"], 200, 50)
        for i, j in ((0, 200), (13, 77), (199, 300), (5, 5), (9, 3)):
            assert np.array_equal(block(i, j), held.toarray()[i:j])
        with pytest.raises(DatasetError, match="do not fit together"):
            cells.compressed(source, file["short"], 200, 50)

"""NumPy archives, without pickle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from healthfm.errors import DatasetError
from healthfm.formats.npz import Arrays
from healthfm.formats.source import Source


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_by_name_and_their_shapes(tmp_path: Path, save: object) -> None:
    save(tmp_path / "a.npz", x=np.arange(6).reshape(2, 3), y=np.zeros((4, 1), np.uint8))  # type: ignore[operator]
    arrays = Arrays(Source(tmp_path / "a.npz"))
    assert (list(arrays), len(arrays), "z" in arrays) == (["x", "y"], 2, False)
    assert arrays.shape("y") == (4, 1)
    np.testing.assert_array_equal(arrays["x"], np.arange(6).reshape(2, 3))
    with pytest.raises(KeyError):
        arrays["z"]


def test_an_array_that_needs_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "sprung"),)

    np.savez(tmp_path / "a.npz", x=np.array([Trap()], dtype=object))
    with pytest.raises(DatasetError, match="array 'x' is damaged or needs pickle; refused"):
        Arrays(Source(tmp_path / "a.npz"))["x"]
    assert not (tmp_path / "sprung").exists()


def test_damage_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(600))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    (tmp_path / "b.npz").write_bytes(data[:100])
    data[300] ^= 1
    (tmp_path / "c.npz").write_bytes(data)
    with pytest.raises(DatasetError, match="not a readable npz file, or cut short"):
        Arrays(Source(tmp_path / "b.npz"))
    with pytest.raises(DatasetError, match="array 'x' is damaged"):
        Arrays(Source(tmp_path / "c.npz"))["x"]

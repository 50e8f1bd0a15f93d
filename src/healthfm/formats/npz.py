"""NumPy archives (``.npz``) by name and single arrays (``.npy``), without pickle; a member is read when it is asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError
from healthfm.formats.source import DAMAGE, Source


class Arrays(Mapping[str, npt.NDArray[Any]]):
    """The arrays of one file as a mapping. Raises ``DatasetError``: not an npz, damaged, or an array that needs pickle."""

    def __init__(self, source: Source) -> None:
        self.source = source
        try:
            with source.open() as handle, zipfile.ZipFile(handle) as packed:
                self._names = tuple(n.removesuffix(".npy") for n in packed.namelist() if n.endswith(".npy"))
        except (ValueError, RuntimeError, *DAMAGE) as error:
            raise DatasetError(f"{source}: not a readable npz file, or cut short ({type(error).__name__})") from None

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        try:
            with self.source.open() as handle, np.load(handle, allow_pickle=False) as arrays:
                return np.asarray(arrays[name])
        except ValueError:
            raise DatasetError(f"{self.source}: array '{name}' is damaged or needs pickle; refused") from None
        except (KeyError, RuntimeError, *DAMAGE) as error:
            raise DatasetError(f"{self.source}: array '{name}' is damaged ({type(error).__name__})") from None

    def shape(self, name: str) -> tuple[int, ...]:
        """Return an array's shape from its header alone."""
        try:
            with self.source.open() as handle, zipfile.ZipFile(handle) as packed, packed.open(f"{name}.npy") as member:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                return tuple(read(member)[0])
        except (KeyError, ValueError, RuntimeError, *DAMAGE) as error:
            raise DatasetError(f"{self.source}: array '{name}' is damaged ({type(error).__name__})") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def array(source: Source) -> npt.NDArray[Any]:
    """Return the array of an ``.npy`` file. Raises ``DatasetError``: none, cut short, or one that needs pickle."""
    try:
        with source.open() as handle:
            return np.asarray(np.lib.format.read_array(handle, allow_pickle=False))
    except (ValueError, *DAMAGE) as error:
        raise DatasetError(
            f"{source}: not a readable npy file, cut short, or in need of pickle ({type(error).__name__})"
        ) from None

"""GGUF files: metadata as plain values, tensors dequantised to float32 one at a time.

Format: the GGUF specification of ggml. Shapes are returned in numpy order (rows first).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import CheckpointError, MissingExtra


class GGUF(Mapping[str, npt.NDArray[np.float32]]):
    """A GGUF file as a mapping from tensor name to float32 array; ``metadata`` holds its key-value header."""

    def __init__(self, path: Path) -> None:
        """Read the header. Raises ``CheckpointError`` when the file is not GGUF or is cut short."""
        kind = _reader()
        try:
            reader = kind(path)
            self.metadata: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
        except (ValueError, IndexError, KeyError, OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{path}: not a readable GGUF file, or cut short ({type(error).__name__})") from None
        self.path = path
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        self._check_size(path)

    def _check_size(self, path: Path) -> None:
        end = max((int(t.data_offset) + int(t.n_bytes) for t in self._tensors.values()), default=0)
        if path.stat().st_size < end:
            raise CheckpointError(f"{path}: cut short: {path.stat().st_size} bytes, its header needs {end}")

    @property
    def quantisation(self) -> str:
        """The commonest tensor type, e.g. ``Q4_1``."""
        kinds: list[str] = [t.tensor_type.name for t in self._tensors.values() if len(t.shape) > 1]
        return max(set(kinds), key=kinds.count)

    def __getitem__(self, name: str) -> npt.NDArray[np.float32]:
        from gguf.quants import dequantize

        tensor = self._tensors[name]
        shape = tuple(int(n) for n in reversed(tensor.shape))
        return np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


@functools.cache
def _reader() -> Any:
    """Return the package's reader, which here takes numbers from the mapped bytes at once: a vocabulary is 100,000 of them."""
    try:
        from gguf import GGUFReader
    except ImportError:
        raise MissingExtra("models", "gguf") from None

    class Reader(GGUFReader):  # type: ignore[misc]
        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: str | None = None) -> npt.NDArray[Any]:
            kind = np.dtype(dtype).newbyteorder(override_order or self.byte_order)
            return np.frombuffer(self.data, kind, int(count), int(offset))

    return Reader

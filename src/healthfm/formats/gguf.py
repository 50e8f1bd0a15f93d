"""GGUF files: metadata as plain values, tensors dequantised to float32 one at a time.

Format: the GGUF specification of ggml. Shapes are returned in numpy order (rows first).
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import CheckpointError, MissingExtra

WIDE = 1 << 16  # bytes that the package makes numbers of at a time, sixteen times


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
        values = dequantize(_wide(tensor.data), tensor.tensor_type)
        return np.require(values, np.float32, "W").reshape(
            shape
        )  # floats are a view of the file, which nobody may change

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _wide(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a tensor's bytes in longer rows, each of whole ones: blocks stand one behind the other, and short rows are slow."""
    if data.ndim < 2 or not data.size:
        return data
    rows, width = math.prod(data.shape[:-1]), data.shape[-1]
    together = math.gcd(rows, 1 << max(0, (WIDE // (width * data.itemsize)).bit_length() - 1))
    return data.reshape(rows // together, together * width)


@functools.cache
def _reader() -> Any:
    """Return the package's reader, which here takes an array of the header at once: a vocabulary is 100,000 strings."""
    try:
        from gguf import GGUFReader, GGUFValueType
    except ImportError:
        raise MissingExtra("models", "gguf") from None

    class Reader(GGUFReader):  # type: ignore[misc]
        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: str | None = None) -> npt.NDArray[Any]:
            kind = np.dtype(dtype).newbyteorder(override_order or self.byte_order)
            return np.frombuffer(self.data, kind, int(count), int(offset))

        def _get_field_parts(self, offset: int, kind: int) -> tuple[int, list[Any], list[int], list[Any]]:
            if kind != GGUFValueType.ARRAY:
                return super()._get_field_parts(offset, kind)  # type: ignore[no-any-return]
            head = [self._get(offset, np.uint32), self._get(offset + 4, np.uint64)]
            inner, count, start = GGUFValueType(head[0][0]), int(head[1][0]), offset + 12
            if inner == GGUFValueType.STRING:
                texts, end = self._strings(start, count)
                return end - offset, [*head, *texts], [*range(2, 2 + count)], [GGUFValueType.ARRAY, inner]
            if inner not in self.gguf_scalar_to_np:
                return super()._get_field_parts(offset, kind)  # type: ignore[no-any-return]
            numbers = self._get(start, self.gguf_scalar_to_np[inner], count)
            return 12 + numbers.nbytes, [*head, numbers], [2], [GGUFValueType.ARRAY, inner]

        def _strings(self, offset: int, count: int) -> tuple[list[memoryview], int]:
            whole, found = memoryview(self.data), []
            swapped = (self.byte_order == "S") is (sys.byteorder == "little")
            for _ in range(count):
                start = offset + 8
                offset = start + int.from_bytes(whole[offset:start], "big" if swapped else "little")
                if offset > len(whole):
                    raise ValueError("a string ends behind the file")
                found.append(whole[start:offset])
            return found, offset

    return Reader

"""TensorFlow checkpoints (V2 "tensor bundles"): tensors as numpy arrays, read without TensorFlow.

A bundle is ``PREFIX.index``, a LevelDB table from tensor name to dtype, shape, shard, offset, size and checksum, beside
``PREFIX.data-00000-of-00001``, the raw little-endian values. ``PREFIX.meta``, the graph, is not needed. Formats: TensorFlow's
``tensor_bundle.proto`` and ``tensor_shape.proto``; LevelDB's ``table_format.md``; CRC-32C with LevelDB's mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from healthfm.errors import CheckpointError

MAGIC = 0xDB4775248B80FB57
FOOTER = 48
LARGEST_INDEX = 64 << 20  # published indexes are kilobytes
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 10: "?", 19: "<f2"}  # of TensorFlow's types.proto
MASK = 0xA282EAD8  # added to a stored CRC after a rotation by 15 bits
POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected
Fields = dict[int, list[int | bytes]]


class Damaged(Exception):
    """The bytes are not what the format says; turned into a ``CheckpointError`` that names the file."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


class TensorBundle(Mapping[str, npt.NDArray[np.generic]]):
    """A checkpoint as a mapping from variable name to array; values are read, and checked, when asked for."""

    def __init__(self, index: Path) -> None:
        """Read the ``.index`` file. Raises ``CheckpointError``: damaged, compressed, a shard missing or too short."""
        self.path = index
        try:
            if index.stat().st_size > LARGEST_INDEX:
                raise Damaged("too large to be an index")
            rows = dict(_table(index.read_bytes()))
            header = message(rows.pop(b""))
            if _number(header, 2):
                raise CheckpointError(f"{index}: big-endian checkpoints are not read")
            self._entries = {name.decode(): _entry(value) for name, value in rows.items()}
        except (Damaged, IndexError, KeyError, UnicodeDecodeError, OSError) as error:
            reason = f" ({error})" if isinstance(error, Damaged) else ""
            raise CheckpointError(
                f"{index}: not a readable TensorFlow checkpoint index, or cut short{reason}"
            ) from None
        count = _number(header, 1)
        self.shards = tuple(
            index.with_name(f"{index.name.removesuffix('.index')}.data-{i:05d}-of-{count:05d}") for i in range(count)
        )
        self._check_shards()

    def _check_shards(self) -> None:
        absent = [path.name for path in self.shards if not path.is_file()]
        if absent:
            raise CheckpointError(f"{self.path.parent}: {len(absent)} shards are missing: {', '.join(absent[:3])}")
        for entry in self._entries.values():
            if entry.shard >= len(self.shards):
                raise CheckpointError(f"{self.path}: names a shard {entry.shard} of {len(self.shards)}")
            path = self.shards[entry.shard]
            if path.stat().st_size < entry.offset + entry.size:
                raise CheckpointError(
                    f"{path}: cut short: {path.stat().st_size} bytes, its index needs {entry.offset + entry.size}"
                )

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it."""
        return self._entries[name].shape

    def __getitem__(self, name: str) -> npt.NDArray[np.generic]:
        entry = self._entries[name]
        if entry.dtype not in DTYPES:
            raise CheckpointError(f"{self.path}: tensor '{name}' has TensorFlow type {entry.dtype}, which is not read")
        dtype = np.dtype(DTYPES[entry.dtype])
        if math.prod(entry.shape) * dtype.itemsize != entry.size:
            raise CheckpointError(f"{self.path}: the size of tensor '{name}' does not fit its shape")
        data = self.stored(name)
        if masked(crc32c(data)) != entry.crc:
            raise CheckpointError(f"{self.shards[entry.shard]}: tensor '{name}' is damaged (its checksum differs)")
        return np.frombuffer(data, dtype).reshape(entry.shape).copy()

    def stored(self, name: str) -> bytes:
        """Return a tensor's bytes as they lie in the shard, unchecked (text has a checksum of another kind)."""
        entry = self._entries[name]
        with self.shards[entry.shard].open("rb") as handle:
            handle.seek(entry.offset)
            return handle.read(entry.size)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


# The index: a LevelDB table ---------------------------------------------------------------------------------------------


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a table: the footer points to the index block, that to the data blocks."""
    footer = data[-FOOTER:]
    if len(footer) < FOOTER or int.from_bytes(footer[-8:], "little") != MAGIC:
        raise Damaged("no table footer")
    _, at = varint(footer, 0)  # offset of the metaindex block
    _, at = varint(footer, at)  # its size
    for _, handle in _block(data, *_handle(footer, at)):
        yield from _block(data, *_handle(handle, 0))


def _handle(data: bytes, at: int) -> tuple[int, int]:
    offset, at = varint(data, at)
    size, _ = varint(data, at)
    return offset, size


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of one block; keys share a prefix with the key before them."""
    end = offset + size
    if size < 4 or end + 5 > len(data):
        raise Damaged("a block reaches past the end")
    if masked(crc32c(data[offset : end + 1])) != int.from_bytes(data[end + 1 : end + 5], "little"):
        raise Damaged("a block's checksum differs")
    if data[end]:
        raise Damaged("its blocks are compressed, which TensorFlow's own writer does not do")
    block = data[offset:end]
    restarts = int.from_bytes(block[-4:], "little")
    last = len(block) - 4 - 4 * restarts
    key, at = b"", 0
    while at < last:
        shared, at = varint(block, at)
        unshared, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or at + unshared + length > last:
            raise Damaged("an entry reaches past its block")
        key = key[:shared] + block[at : at + unshared]
        yield key, block[at + unshared : at + unshared + length]
        at += unshared + length


# Its values: protocol buffers ---------------------------------------------------------------------------------------------


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Damaged("a number does not end")


def message(data: bytes) -> Fields:
    """Return a protocol buffer's values by field number: ints, or bytes for nested messages."""
    fields: Fields = {}
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == 0:
            value, at = varint(data, at)
        elif kind in (1, 5):
            width = 8 if kind == 1 else 4
            value, at = int.from_bytes(data[at : at + width], "little"), at + width
        elif kind == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise Damaged("an unknown kind of field")
        if at > len(data):
            raise Damaged("a field reaches past its message")
        fields.setdefault(number, []).append(value)
    return fields


def _number(fields: Fields, number: int) -> int:
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise Damaged("a number was expected")
    return value


def _entry(data: bytes) -> Entry:
    """Read a BundleEntryProto. Sliced (partitioned) variables do not occur in published BERTs and are refused."""
    fields = message(data)
    if 7 in fields:
        raise Damaged("partitioned variables are not read")
    shape = fields.get(2, [b""])[-1]
    dims = message(shape).get(2, []) if isinstance(shape, bytes) else []
    sizes = tuple(_number(message(dim), 1) for dim in dims if isinstance(dim, bytes))
    return Entry(*(_number(fields, 1), sizes), *(_number(fields, i) for i in (3, 4, 5, 6)))


# Checksums ----------------------------------------------------------------------------------------------------------------


def masked(crc: int) -> int:
    """Return a CRC as LevelDB and TensorFlow store it."""
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF


def crc32c(data: bytes, lanes: int = 4096) -> int:
    """Return the CRC-32C of bytes: many lanes side by side in numpy, joined by the CRC's linearity."""
    per_lane = len(data) // lanes
    crc = np.uint32(0xFFFFFFFF)
    if per_lane >= 64:
        columns = np.frombuffer(data, np.uint8, lanes * per_lane).reshape(lanes, per_lane).T.copy()
        states = np.zeros(lanes, np.uint32)
        states[0] = crc
        for column in columns:
            states = TABLE[(states ^ column) & 0xFF] ^ states >> np.uint32(8)
        crc, data = _join(states, per_lane), data[lanes * per_lane :]
    state = int(crc)
    for byte in data:
        state = SMALL_TABLE[(state ^ byte) & 0xFF] ^ state >> 8
    return state ^ 0xFFFFFFFF


def _join(states: npt.NDArray[np.uint32], length: int) -> np.uint32:
    """Join the states of neighbouring lanes of ``length`` bytes, pair by pair (their number is a power of two)."""
    over = _over_zeros(length)
    while len(states) > 1:
        states = _apply(over, states[0::2]) ^ states[1::2]
        over = _apply(over, over)
    return np.uint32(states[0])


def _over_zeros(length: int) -> npt.NDArray[np.uint32]:
    """Return what ``length`` zero bytes make of each single bit of a state, uint32 [32]."""
    power = (np.uint32(1) << np.arange(32, dtype=np.uint32)).astype(np.uint32)
    step = TABLE[power & 0xFF] ^ power >> np.uint32(8)
    while length:
        if length & 1:
            power = _apply(step, power)
        step = _apply(step, step)
        length >>= 1
    return power


def _apply(matrix: npt.NDArray[np.uint32], states: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    bits = (states[:, None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
    mixed: npt.NDArray[np.uint32] = np.bitwise_xor.reduce(np.where(bits == 1, matrix, np.uint32(0)), axis=1)
    return mixed


def _small_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


SMALL_TABLE = _small_table()
TABLE = np.array(SMALL_TABLE, np.uint32)

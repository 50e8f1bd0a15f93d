"""Events sorted into buckets of neighbouring patients: in memory while they are few, on disk (a private folder, removed after) otherwise."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl
import pyarrow as pa

BUCKET = 48 << 20  # bytes of plain CSV whose events are held at once
BUCKETS = 512
GZIP = 8  # how much tables of numbers grow when they are unpacked


def buckets_for(sizes: Iterator[tuple[int, bool]], patients: int) -> int:
    """Return how many buckets to use. ``sizes``: of every file, in bytes, and whether it is packed."""
    whole = sum(size * (GZIP if packed else 1) for size, packed in sizes)
    return max(1, min(BUCKETS, patients, math.ceil(whole / BUCKET)))


class Spill:
    """Events by bucket. ``rank`` of a patient, from 0 to ``patients``, says which bucket it is in."""

    def __init__(self, patients: int, buckets: int) -> None:
        self.width = max(1, math.ceil(patients / buckets))
        self.buckets = max(1, math.ceil(patients / self.width))
        self._folder: Any = tempfile.TemporaryDirectory(prefix="healthfm-") if self.buckets > 1 else None
        self._writers: dict[int, Any] = {}
        self._held: list[pl.DataFrame] = []

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if self._folder is not None:
            self._folder.cleanup()

    def _path(self, bucket: int) -> Path:
        return Path(self._folder.name) / f"{bucket}.arrows"

    def add(self, events: pl.DataFrame) -> None:
        """Take in events, which have a column ``_rank``."""
        if self._folder is None:
            self._held.append(events)
            return
        parts = events.with_columns((pl.col("_rank") // self.width).alias("_bucket")).partition_by(
            "_bucket", as_dict=True, include_key=False, maintain_order=True
        )
        for (bucket,), part in parts.items():
            table = part.to_arrow()
            if bucket not in self._writers:
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writers[bucket] = pa.ipc.new_stream(str(self._path(bucket)), table.schema, options=options)
            self._writers[bucket].write_table(table)

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def read(self) -> Iterator[tuple[range, pl.DataFrame | None]]:
        """Yield, bucket by bucket, the ranks in it and their events (None where there are none), in the order in which they came."""
        self._close()
        for bucket in range(self.buckets):
            ranks = range(bucket * self.width, (bucket + 1) * self.width)
            if self._folder is None:
                yield ranks, pl.concat(self._held) if self._held else None
            elif self._path(bucket).exists():
                with pa.memory_map(str(self._path(bucket))) as handle, pa.ipc.open_stream(handle) as reader:
                    frame = pl.from_arrow(reader.read_all())
                self._path(bucket).unlink()
                assert isinstance(frame, pl.DataFrame)
                yield ranks, frame
            else:
                yield ranks, None

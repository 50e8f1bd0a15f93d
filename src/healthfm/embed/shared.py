"""One embedding is computed once: where vectors already lie on this machine, found by what was embedded and how.

``HEALTHFM_HOME/embeddings/KEY`` holds, for one key (model, weights, preprocessing, precision, code), parts of vectors that no run
folder has, and the names of run folders that hold others. Nothing there is ever changed; it can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from healthfm.home import home
from healthfm.models.model import Float32

PARTS_HELD = 16  # parts whose vectors are kept in memory


class Shared:
    """The vectors of one key. Safe to ask from several threads; ``key`` None, or one of random weights, shares nothing."""

    def __init__(self, key: Mapping[str, Any] | None) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[Path, tuple[list[str], pa.ChunkedArray]] = OrderedDict()
        self.folder: Path | None = None
        if key is None or key.get("random"):
            return
        text = json.dumps(key, sort_keys=True, indent=1)
        name = "".join(c if c.isalnum() or c in "-." else "-" for c in str(key["model"]))
        folder = home() / "embeddings" / f"{name}--{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(folder / "key.json", text.encode())
        except OSError:  # a home that cannot be written to: everything is computed
            return
        self.folder = folder
        self._index()

    def _index(self) -> None:
        """Read which contents there are: 8 bytes of each digest, sorted, and where its vector stands."""
        self._paths = list(self._parts())
        starts: list[Any] = []
        for number, path in enumerate(self._paths):
            try:
                digests = pq.read_table(path, columns=["digest", "problem"])
            except (pa.ArrowException, OSError):
                continue
            rows = [(_short(d), number, row) for row, (d, p) in enumerate(zip(digests["digest"].to_pylist(), digests["problem"].to_pylist(), strict=True)) if p is None]  # fmt: skip
            starts += rows
        self._rows = np.array(starts, [("digest", np.uint64), ("path", np.int32), ("row", np.int32)])
        self._rows.sort(order="digest")

    def _parts(self) -> Iterator[Path]:
        assert self.folder is not None
        for path in sorted(self.folder.iterdir()):
            if path.suffix == ".parquet":
                yield path
            elif path.suffix == ".folder":
                yield from sorted(Path(path.read_text(encoding="utf-8")).glob("part-*.parquet"))

    def find(self, digest: str) -> Float32 | None:
        """Return the vector of a content, float32 [d], if it was ever computed under this key."""
        if self.folder is None or not len(self._rows):
            return None
        place = int(np.searchsorted(self._rows["digest"], _short(digest)))
        while place < len(self._rows) and self._rows["digest"][place] == _short(digest):
            found = self._vector(self._paths[self._rows["path"][place]], int(self._rows["row"][place]), digest)
            if found is not None:
                return found
            place += 1
        return None

    def _vector(self, path: Path, row: int, digest: str) -> Float32 | None:
        with self._lock:
            if path not in self._held:
                try:
                    table = pq.read_table(path, columns=["digest", "embedding"])
                except (pa.ArrowException, OSError):  # its run folder was moved or deleted since
                    return None
                self._held[path] = (table["digest"].to_pylist(), table["embedding"])
                if len(self._held) > PARTS_HELD:
                    self._held.popitem(last=False)
            digests, vectors = self._held[path]
        if row >= len(digests) or digests[row] != digest or not vectors[row].is_valid:
            return None
        return np.asarray(vectors[row].values, np.float32)

    def add(self, digests: Sequence[str], vectors: Sequence[Any]) -> None:
        """Keep vectors of contents."""
        if self.folder is None or not len(digests):
            return
        table = pa.table({
            "digest": list(digests), "embedding": pa.array(list(vectors), pa.list_(pa.float32())),
            "problem": pa.nulls(len(digests), pa.string()),
        })  # fmt: skip
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        name = hashlib.sha256("".join(digests).encode()).hexdigest()[:24]
        with suppress(OSError):
            _write(self.folder / f"{name}.parquet", sink.getvalue().to_pybytes())

    def register(self, room: Path) -> None:
        """Remember that a folder of parts holds vectors of this key."""
        if self.folder is not None:
            path = str(room.absolute())
            with suppress(OSError):
                _write(self.folder / f"{hashlib.sha256(path.encode()).hexdigest()[:24]}.folder", path.encode())


def _short(digest: str) -> np.uint64:
    return np.uint64(int(digest[:16], 16))


def _write(path: Path, data: bytes) -> None:
    if path.is_file():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    draft.touch(mode=0o600)
    draft.write_bytes(data)
    draft.replace(path)

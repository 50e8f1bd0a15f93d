"""One embedding is computed once: where vectors already lie on this machine, found by what the network was given and how it works.

``HEALTHFM_HOME/embeddings/KEY`` holds, for one key (a model's settings, precision, code), parts of vectors that no run folder has, the
names of run folders that hold others, and in ``contents`` which contents (``embed.identity``) became which inputs, so that they need not
be decoded to find their vectors. Nothing there is ever changed; it can be deleted at any time.
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
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from healthfm.home import home
from healthfm.models.model import Float32

PARTS_HELD = 16  # parts whose rows are kept in memory
FRESH = 1 << 14  # vectors of this process that are kept in memory
CHECK = "check.json"


class Known(NamedTuple):
    """What a content became: the digest of the network's inputs, that of its pixels ("": none is kept), whether it shows nothing, a
    pixel's height over its width, what was said while it was decoded, and whether it was cut.
    """

    digest: str
    seen: str = ""
    blank: bool = False
    ratio: float = 1.0
    notices: tuple[str, ...] = ()
    cut: bool = False


class Shared:
    """The vectors of one key. Safe to ask from several threads; ``key`` None, or one of random weights, shares nothing with others.

    What this process has computed is found in any case, the last ``FRESH`` of it.
    """

    def __init__(self, key: Mapping[str, Any] | None) -> None:
        self._lock = threading.Lock()
        self._fresh: OrderedDict[str, Float32] = OrderedDict()
        self._told: OrderedDict[str, Known] = OrderedDict()
        self._unwritten: dict[str, Known] = {}
        self.folder: Path | None = None
        self._vectors, self._contents = _Index([], "digest", []), _Index([], "content", [])
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
        self._vectors = _Index(list(self._parts()), "digest", ["embedding", "problem"])
        self._contents = _Index(sorted((folder / "contents").glob("*.parquet")), "content", list(Known._fields))

    def _parts(self) -> Iterator[Path]:
        assert self.folder is not None
        for path in sorted(self.folder.iterdir()):
            if path.suffix == ".parquet":
                yield path
            elif path.suffix == ".folder":
                yield from sorted(Path(path.read_text(encoding="utf-8")).glob("part-*.parquet"))

    def find(self, digest: str, fresh: bool = True) -> Float32 | None:
        """Return the vector of what a network is given, float32 [d], if it was ever computed under this key.

        Without ``fresh`` not by this process, so that what is found does not hang on how its threads went.
        """
        with self._lock:
            if fresh and digest in self._fresh:
                return self._fresh[digest]
            row = self._vectors.find(digest)
        return None if row is None else np.asarray(row["embedding"], np.float32)

    def known(self, content: str) -> Known | None:
        """Return what a content became, if that was ever seen under this key."""
        with self._lock:
            if content in self._told:
                return self._told[content]
            row = self._contents.find(content)
        return None if row is None else Known(**{**row, "notices": tuple(row["notices"])})

    def tell(self, content: str, known: Known) -> None:
        """Remember what a content became; ``add`` and ``register`` write it down."""
        with self._lock:
            self._unwritten[content] = _newest(self._told, content, known)

    def remember(self, digest: str, vector: Float32) -> None:
        """Keep a vector in memory: until ``add`` writes it down, and as long as there is room."""
        with self._lock:
            _newest(self._fresh, digest, vector)

    def add(self, digests: Sequence[str], vectors: Sequence[Any]) -> None:
        """Keep vectors, and what was told of contents."""
        for digest, vector in zip(digests, vectors, strict=True):
            self.remember(digest, vector)
        self.note()
        if self.folder is None or not len(digests):
            return
        table = pa.table({
            "digest": list(digests), "embedding": pa.array(list(vectors), pa.list_(pa.float32())),
            "problem": pa.nulls(len(digests), pa.string()),
        })  # fmt: skip
        _write_table(self.folder, list(digests), table)

    def note(self) -> None:
        """Write down what was told of contents."""
        with self._lock:
            rows, self._unwritten = self._unwritten, {}
        if self.folder is None or not rows:
            return
        table = pa.table({
            "content": list(rows), "digest": [one.digest for one in rows.values()],
            "seen": [one.seen for one in rows.values()], "blank": pa.array([one.blank for one in rows.values()], pa.bool_()),
            "ratio": pa.array([one.ratio for one in rows.values()], pa.float64()),
            "notices": pa.array([list(one.notices) for one in rows.values()], pa.list_(pa.string())),
            "cut": pa.array([one.cut for one in rows.values()], pa.bool_()),
        })  # fmt: skip
        with suppress(OSError):
            (self.folder / "contents").mkdir(exist_ok=True, mode=0o700)
        _write_table(self.folder / "contents", list(rows), table)

    def register(self, room: Path) -> None:
        """Remember that a folder of parts holds vectors of this key."""
        if self.folder is not None:
            path = str(room.absolute())
            with suppress(OSError):
                _write(self.folder / f"{hashlib.sha256(path.encode()).hexdigest()[:24]}.folder", path.encode())

    @property
    def check(self) -> dict[str, Any] | None:
        """How far vectors of this key were found to be from torch's float32, when that was last looked at."""
        try:
            return (
                dict(json.loads((self.folder / CHECK).read_text(encoding="utf-8"))) if self.folder is not None else None
            )
        except (OSError, ValueError, TypeError):
            return None

    def keep_check(self, found: Mapping[str, Any]) -> None:
        """Remember a check."""
        if self.folder is not None:
            with suppress(OSError):
                _write(self.folder / CHECK, json.dumps(found).encode())


class _Index:
    """Rows of Parquet files by a column of hexadecimal digests: of each, 8 bytes and where it stands are in memory, sorted."""

    def __init__(self, paths: Sequence[Path], by: str, columns: Sequence[str]) -> None:
        self._paths, self._by, self._columns = list(paths), by, list(columns)
        self._held: OrderedDict[Path, tuple[list[str | None], pa.Table]] = OrderedDict()
        rows: list[Any] = []
        for number, path in enumerate(self._paths):
            try:
                keys = pq.read_table(path, columns=[by])[by].to_pylist()
            except (pa.ArrowException, OSError):
                continue
            rows += [(_short(key), number, row) for row, key in enumerate(keys) if key is not None]
        self._rows = np.array(rows, [("key", np.uint64), ("path", np.int32), ("row", np.int32)])
        self._rows.sort(order="key")

    def find(self, key: str) -> dict[str, Any] | None:
        """Return a row by its whole digest; None where there is none that is readable and without a problem."""
        if not len(self._rows):
            return None
        place = int(np.searchsorted(self._rows["key"], _short(key)))
        while place < len(self._rows) and self._rows["key"][place] == _short(key):
            found = self._row(self._paths[self._rows["path"][place]], int(self._rows["row"][place]), key)
            if found is not None:
                return found
            place += 1
        return None

    def _row(self, path: Path, row: int, key: str) -> dict[str, Any] | None:
        if path not in self._held:
            try:
                table = pq.read_table(path, columns=[self._by, *self._columns])
            except (pa.ArrowException, OSError):  # its run folder was moved or deleted since
                return None
            self._held[path] = (table[self._by].to_pylist(), table)
            if len(self._held) > PARTS_HELD:
                self._held.popitem(last=False)
        keys, table = self._held[path]
        if row >= len(keys) or keys[row] != key:
            return None
        found = {name: table[name][row] for name in self._columns}
        if any(one.is_valid == (name == "problem") for name, one in found.items()):
            return None
        return {name: one.values.to_numpy() if name == "embedding" else one.as_py() for name, one in found.items()}


def _newest(held: OrderedDict[str, Any], key: str, value: Any) -> Any:
    held[key] = value
    held.move_to_end(key)
    if len(held) > FRESH:
        held.popitem(last=False)
    return value


def _short(digest: str) -> np.uint64:
    return np.uint64(int(digest[:16], 16))


def _write_table(folder: Path, names: Sequence[str], table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    name = hashlib.sha256("".join(names).encode()).hexdigest()[:24]
    with suppress(OSError):
        _write(folder / f"{name}.parquet", sink.getvalue().to_pybytes())


def _write(path: Path, data: bytes) -> None:
    if path.is_file():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    draft.touch(mode=0o600)
    draft.write_bytes(data)
    draft.replace(path)

"""Archives kept open for the next member: a zip's and a tar's directory is read once, a packed tar is read on from where it stands.

A member of a zip or a plain tar is then found at once. A ``tar.gz`` has no such way in: its members are cheap in their own order,
and any that lies behind costs the reading of all before it. What is kept belongs to one process (a fork shares a file's position) and
to one state of the file.
"""

from __future__ import annotations

import functools
import io
import os
import tarfile
import threading
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, Any

KEPT = 64  # archives: a set may be given out in as many


def plain(name: str) -> str:
    """Return a member's name as it is asked for: slashes forward, none doubled, no ``.`` before."""
    return str(PurePosixPath(name.replace("\\", "/")))


def zipped(path: Path) -> Zip:
    """Return a zip that may be open already."""
    return _zipped(*_state(path))


def tarred(path: Path) -> Tar:
    """Return a tar, packed or not, that may be open already."""
    return _tarred(*_state(path))


def _state(path: Path) -> tuple[str, int, int, int]:
    facts = path.stat()
    return str(path.absolute()), facts.st_mtime_ns, facts.st_size, os.getpid()


class Zip:
    """An open zip: any thread may open members of it."""

    def __init__(self, path: str) -> None:
        self._file = zipfile.ZipFile(path)
        self._odd = {plain(one.filename): one for one in self._file.infolist() if plain(one.filename) != one.filename}

    def info(self, member: str) -> zipfile.ZipInfo:
        """Return what the directory says of a member. Raises ``KeyError``: there is none."""
        return self._odd[member] if member in self._odd else self._file.getinfo(member)

    def open(self, info: zipfile.ZipInfo) -> IO[bytes]:
        """Open a member for reading."""
        return self._file.open(info)


class Tar:
    """A tar: of a plain one the places of all members, of a packed one the stream and what has passed by."""

    def __init__(self, path: str) -> None:
        self._path, self._lock = path, threading.Lock()
        with open(path, "rb") as handle:  # noqa: PTH123  a name serves as key
            head = handle.read(512)
        self._is_plain = len(head) == 512 and head[257:262] == b"ustar"
        self._places: dict[str, tuple[int, int]] | None = None
        self._restart()

    def _restart(self) -> None:
        self._tar: Any = tarfile.open(self._path)  # noqa: SIM115  kept open
        self._at: tarfile.TarInfo | None = None
        self._passed: set[str] = set()

    def size(self, member: str) -> int:
        """Return a member's size, having gone there. Raises ``KeyError``: there is none."""
        with self._lock:
            return self._place(member)[1] if self._is_plain else self._go_to(member).size

    def read(self, member: str) -> IO[bytes]:
        """Return a member's bytes. Raises ``KeyError``: there is none."""
        with self._lock:
            if self._is_plain:
                start, size = self._place(member)
                with open(self._path, "rb") as handle:  # noqa: PTH123
                    handle.seek(start)
                    found = handle.read(size)
                if len(found) < size:
                    raise EOFError
                return io.BytesIO(found)
            entry = self._tar.extractfile(self._go_to(member))
            assert entry is not None
            return io.BytesIO(entry.read())

    def _place(self, member: str) -> tuple[int, int]:
        if self._places is None:
            places: dict[str, tuple[int, int]] = {}
            for one in self._tar:
                if one.isreg() and not one.issparse():
                    places.setdefault(plain(one.name), (one.offset_data, one.size))
            self._places = places
        return self._places[member]

    def _go_to(self, member: str) -> tarfile.TarInfo:
        """Read on to a member; from the start where it has passed by, or where reading on met damage before."""
        if member in self._passed and (self._at is None or plain(self._at.name) != member):
            self._restart()
        while self._at is None or plain(self._at.name) != member or not self._at.isreg():
            self._at = self._tar.next()
            self._tar.members.clear()  # which would hold all that passed by
            if self._at is None:
                self._restart()
                raise KeyError(member)
            if self._at.isreg():
                self._passed.add(plain(self._at.name))
        return self._at


_zipped = functools.lru_cache(KEPT)(lambda path, *_: Zip(path))
_tarred = functools.lru_cache(KEPT)(lambda path, *_: Tar(path))

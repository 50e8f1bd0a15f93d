"""A file to be had: its address, its place below a folder, and what is published of its bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from healthfm.errors import FetchError

ROOM = ".healthfm"  # of a folder: what is under way, and the note of what was fetched
ALGORITHMS = ("sha256", "md5", "sha1", "git")  # git: the id of a blob


@dataclass(frozen=True)
class Item:
    """A file to be had: where it goes below the folder, its address, and its size in bytes and digest (``sha256:...``) where known."""

    path: str
    url: str
    size: int | None = None
    digest: str | None = None


def place(folder: Path, path: str) -> Path:
    """Return where a path below a folder lies. Raises ``FetchError``: it would leave the folder, or lie among our own notes."""
    inside = PurePosixPath(path)
    strange = (
        not path
        or "\\" in path
        or "\0" in path
        or ":" in inside.parts[0]
        or inside.is_absolute()
        or ".." in inside.parts
    )
    found = folder.joinpath(*inside.parts)
    if strange or inside.parts[0] == ROOM or not found.parent.resolve().is_relative_to(folder.resolve()):
        raise FetchError(f"{folder}: a file's name leads out of the folder; refused")
    return found


def digest(path: Path, algorithm: str) -> str:
    """Return ``ALGORITHM:hex`` of a file's bytes."""
    return _digest(lambda: path.open("rb"), path.stat().st_size, algorithm)


def _digest(begin: Callable[[], IO[bytes]], size: int, algorithm: str) -> str:
    seen = hashlib.new("sha1" if algorithm == "git" else algorithm, usedforsecurity=False)
    if algorithm == "git":
        seen.update(f"blob {size}\0".encode())
    with begin() as handle:
        while block := handle.read(1 << 20):
            seen.update(block)
    return f"{algorithm}:{seen.hexdigest()}"


def differs(path: Path, item: Item) -> str | None:
    """Say in what a file is not the published one, or None. Size and digest are compared where they are known."""
    return unlike(lambda: path.open("rb"), item)


def unlike(begin: Callable[[], IO[bytes]], item: Item) -> str | None:
    """Say in what the bytes that ``begin`` opens are not the published ones, or None."""
    with begin() as handle:
        size = handle.seek(0, os.SEEK_END)
    if item.size is not None and size != item.size:
        return f"it has {size:,} bytes, the published file {item.size:,}"
    if item.digest is not None:
        algorithm = item.digest.partition(":")[0]
        if algorithm not in ALGORITHMS:
            raise FetchError(f"{item.path}: its digest is of a kind that is not known ({', '.join(ALGORITHMS)} are)")
        if _digest(begin, size, algorithm) != item.digest.lower():
            return f"its {algorithm} digest is not the published one"
    return None

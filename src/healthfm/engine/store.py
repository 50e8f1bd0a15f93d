"""A run folder: what was asked, and append-only parts that appear whole or not at all.

``run.json`` holds the request. Parts are written beside their place and published by ``os.replace``; killing the
process loses at most the part being written. One process at a time writes to a folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from healthfm.errors import RunError

PART = re.compile(r"part-(\d{5,})\.parquet")
DRAFT = re.compile(r"\..+\.(parquet|json|html)\.\d+")  # as ``_publish`` names them


class RunFolder:
    """A folder for one run. Use it as a context manager: it is locked against other writers inside ``with``.

    ``room``: the subfolder that is there from the start.
    """

    def __init__(self, path: Path, room: str = "predictions") -> None:
        self.path = path
        self.room = room
        self._lock: IO[str] | None = None
        self._made: list[Path] = []  # the folders that were not there before, innermost first

    def __enter__(self) -> RunFolder:
        self._made = [one for one in (self.path, *self.path.parents) if not one.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self.path / self.room).mkdir(exist_ok=True, mode=0o700)
            self._lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot write there ({error.strerror}); choose another folder with --output"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise RunError(
                f"{self.path}: another process is writing this run; wait for it, or choose another folder with --output"
            ) from None
        for place in (self.path, *(one for one in self.path.iterdir() if one.is_dir())):
            for draft in (one for one in place.iterdir() if DRAFT.fullmatch(one.name)):
                draft.unlink()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, Exception) and self.path in self._made:
            self._undo()
        if self._lock is not None:
            self._lock.close()

    def _undo(self) -> None:
        """Take away a folder that was made for a request which was refused before there was a part."""
        rooms = [one for one in self.path.iterdir() if one.is_dir()]
        if any(True for room in rooms for _ in room.iterdir()):
            return
        for room in rooms:
            room.rmdir()
        for file in self.path.iterdir():
            file.unlink()
        for folder in self._made:
            if any(folder.iterdir()):
                return
            folder.rmdir()

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return a JSON file of the folder, or None when it is not there. Raises ``RunError`` when it is damaged."""
        path = self.path / name
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, OSError):
            raise RunError(
                f"{path}: damaged or not readable; move the folder away or choose another with --output"
            ) from None

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON file of the folder, whole or not at all."""
        self.write(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a text file of the folder, whole or not at all."""
        self._publish(self.path / name, lambda draft: draft.write_text(text, encoding="utf-8"))

    def published(self, room: str = "predictions") -> set[int]:
        """Return the numbers of the parts that are there; ``room`` is the subfolder that holds them."""
        folder = self.path / room
        found = (PART.fullmatch(path.name) for path in (folder.iterdir() if folder.is_dir() else ()))
        return {int(match.group(1)) for match in found if match}

    def publish(self, number: int, table: pa.Table, room: str = "predictions") -> None:
        """Add one part. Raises ``RunError`` when it cannot be written; earlier parts stay as they are."""
        self._publish(self.path / room / f"part-{number:05d}.parquet", lambda draft: pq.write_table(table, draft))

    def _publish(self, path: Path, write: Any) -> None:
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(exist_ok=True, mode=0o700)
            write(draft)
            with draft.open("rb+") as handle:
                os.fsync(handle.fileno())
            draft.replace(path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            kept = "what was published before is kept: make room, then run the same command again"
            raise RunError(f"{path}: cannot be written ({error.strerror or error}); {kept}") from None

    def part(self, number: int, room: str = "predictions", columns: list[str] | None = None) -> pa.Table:
        """Return one published part of a room, or some of its columns. Raises ``RunError`` when it is damaged."""
        try:
            return pq.read_table(self.path / room / f"part-{number:05d}.parquet", columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise RunError(f"{self.path / room}: a part is damaged ({type(error).__name__})") from None

    def metadata(self, number: int, room: str = "predictions") -> dict[str, str]:
        """Return what a published part says of itself. Raises ``RunError`` when it is damaged."""
        try:
            found = pq.read_schema(self.path / room / f"part-{number:05d}.parquet").metadata or {}
        except (pa.ArrowException, OSError) as error:
            raise RunError(f"{self.path / room}: a part is damaged ({type(error).__name__})") from None
        return {key.decode(): value.decode() for key, value in found.items()}

    def predictions(self, room: str = "predictions") -> pa.Table:
        """Return every published part of a room as one table, in part order."""
        parts = sorted(self.published(room))
        if not parts:
            raise RunError(f"{self.path}: no {room} yet")
        try:
            return pa.concat_tables([self.part(number, room) for number in parts])
        except pa.ArrowException as error:
            raise RunError(f"{self.path / room}: a part is damaged ({type(error).__name__})") from None

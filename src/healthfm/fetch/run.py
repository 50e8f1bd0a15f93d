"""Bring the files of a plan into a folder, say what is there already, and note what came from where."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from healthfm.errors import FetchError
from healthfm.fetch.file import Getter
from healthfm.fetch.item import ROOM, Item, differs, digest, place
from healthfm.fetch.web import USUAL, Manners

NOTE = "fetched.json"  # of the room: what came from where, by path
Progress = Callable[[int, int], Any]


def fetch(
    items: Sequence[Item], folder: Path, manners: Manners = USUAL, progress: Progress = lambda done, total: None
) -> list[Path]:
    """Bring every file into the folder, and return those that came; what is there already and is the published file stays.

    ``progress``: called with (bytes here, bytes in all as far as they are known). Killed at any moment, the next call goes on.
    Raises ``FetchError``: a file cannot be had, is not the published one, or another file lies in its place (which is never overwritten).
    """
    _each_once(items, folder)
    with _alone(folder):
        wanted = [one for one in items if not _here(one, folder)]
        _room_for(wanted, folder)
        meter = _Meter(items, wanted, progress)
        small = [one for one in wanted if one.size is not None and one.size <= manners.part]
        came = _all(small, folder, manners, meter, manners.connections)
        came += _all([one for one in wanted if one not in set(small)], folder, manners, meter, 1)
    return came


def noted(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what was fetched into a folder, by path: its ``url``, ``size`` and ``digest`` then; {} where nothing was."""
    try:
        found = json.loads((folder / ROOM / NOTE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _each_once(items: Sequence[Item], folder: Path) -> None:
    seen: set[str] = set()
    for one in items:
        spelt = str(place(folder, one.path)).casefold()  # two names may be one file on some systems
        if spelt in seen:
            raise FetchError(f"{one.path}: two of the files to fetch have this name; refused")
        seen.add(spelt)


def _here(item: Item, folder: Path) -> bool:
    """Whether the published file is in its place. Raises ``FetchError``: something else is."""
    target = place(folder, item.path)
    if not target.exists():
        return False
    known = noted(folder).get(item.path, {})
    sure = (
        item
        if item.size is not None or item.digest
        else Item(item.path, item.url, known.get("size"), known.get("digest"))
    )
    wrong = "nothing is known of it to tell" if sure.size is None and sure.digest is None else differs(target, sure)
    if wrong is not None:
        raise FetchError(
            f"{target}: this is not the file that would be fetched ({wrong}); move it away, it is not overwritten"
        )
    return True


def _room_for(wanted: Sequence[Item], folder: Path) -> None:
    need, free = sum(one.size or 0 for one in wanted), shutil.disk_usage(folder).free
    if need > free:
        raise FetchError(
            f"{folder}: {need:,} bytes are to come and {free:,} are free there; choose another folder with --root"
        )


def _all(items: Sequence[Item], folder: Path, manners: Manners, meter: _Meter, at_once: int) -> list[Path]:
    getters = [Getter(folder, one, manners, meter.of(one)) for one in items]
    pool = ThreadPoolExecutor(max(1, at_once))
    try:
        jobs = [pool.submit(_one, getter, folder) for getter in getters]
        for job in wait(jobs, return_when=FIRST_EXCEPTION).done:
            job.result()
        return [job.result() for job in jobs]
    finally:
        for getter in getters:
            getter.halt()
        pool.shutdown(wait=True, cancel_futures=True)


def _one(getter: Getter, folder: Path) -> Path:
    found = getter.get()
    item = getter.item
    told = item.digest if item.digest and item.digest.startswith("sha256:") else digest(found, "sha256")
    with _WRITING:
        notes = {**noted(folder), item.path: {"url": item.url, "size": found.stat().st_size, "digest": told}}
        draft = folder / ROOM / f"{NOTE}.new"
        draft.write_text(json.dumps(notes, indent=1, sort_keys=True))
        os.replace(draft, folder / ROOM / NOTE)  # noqa: PTH105
    return found


_WRITING = threading.Lock()


class _Meter:
    """Adds up the bytes of all files."""

    def __init__(self, items: Sequence[Item], wanted: Sequence[Item], progress: Progress) -> None:
        self.total = sum(one.size or 0 for one in items)
        self.held = {one.path: one.size or 0 for one in items if one not in set(wanted)}
        self.sum, self.progress, self.lock = sum(self.held.values()), progress, threading.Lock()

    def of(self, item: Item) -> Callable[[int], None]:
        """Return what is called with the bytes of one file."""

        def told(held: int) -> None:
            with self.lock:
                self.sum += held - self.held.get(item.path, 0)
                self.held[item.path] = held
                self.progress(self.sum, max(self.total, self.sum))

        return told


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder for this process."""
    try:
        (folder / ROOM).mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / ROOM / "lock").open("w")
    except OSError as error:
        raise FetchError(
            f"{folder}: cannot write there ({error.strerror}); choose another folder with --root"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FetchError(f"{folder}: another process fetches into it; wait for it") from None
        yield

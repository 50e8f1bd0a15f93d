"""One file from a server into a folder: in parts, resumed after any break, checked, and there whole or not at all.

What is under way lies in ``FOLDER/.healthfm``: the bytes so far, and a note of which parts of them are whole. The file is moved to its
place by ``os.replace`` when its size and digest are right; bytes that are not are thrown away.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from healthfm.errors import FetchError
from healthfm.fetch import web
from healthfm.fetch.item import ROOM, Item, differs, place
from healthfm.fetch.web import Broken, Manners, Reply

PARTS = 1000  # at most, of one file


class Changed(Exception):
    """The file on the server is another than the one whose parts are here."""


class Draft:
    """The bytes of a file so far. ``done``: the parts that are whole; ``total`` None: nothing is known of it yet."""

    def __init__(self, folder: Path, item: Item) -> None:
        name = hashlib.sha256(item.path.encode()).hexdigest()[:24]
        self.bytes, self.note = folder / ROOM / f"{name}.part", folder / ROOM / f"{name}.json"
        self.item = item
        self.total: int | None = None
        self.version: str | None = None
        self.part = 0
        self.done: set[int] = set()
        self._lock = threading.Lock()
        self._remember()

    def _remember(self) -> None:
        try:
            told = json.loads(self.note.read_text())
            if (
                told["url"] == self.item.url
                and self.bytes.stat().st_size == told["total"]
                and (self.item.size in (None, told["total"]))
            ):
                self.total, self.version, self.part, self.done = (
                    told["total"],
                    told["version"],
                    told["part"],
                    set(told["done"]),
                )
        except (OSError, ValueError, KeyError, TypeError):
            self.forget()

    def begin(self, total: int, version: str | None, part: int) -> None:
        """Make room for a file of ``total`` bytes of one version, in parts."""
        self.total, self.version, self.done = total, version, set()
        self.part = max(part, -(-total // PARTS))
        self.bytes.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.bytes.open("wb") as handle:
            handle.truncate(total)
        self._write()

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the first byte of a part, and the one behind its last."""
        assert self.total is not None
        return number * self.part, min(self.total, (number + 1) * self.part)

    @property
    def missing(self) -> list[int]:
        """The parts that are not here yet."""
        return [] if not self.total else [one for one in range(-(-self.total // self.part)) if one not in self.done]

    @property
    def held(self) -> int:
        """How many bytes of whole parts are here."""
        return sum(end - start for start, end in map(self.bounds, self.done))

    def keep(self, number: int, handle: int) -> None:
        """Note that a part is whole, after its bytes are on the disk."""
        os.fsync(handle)
        with self._lock:
            self.done.add(number)
            self._write()

    def _write(self) -> None:
        told = {
            "url": self.item.url,
            "total": self.total,
            "version": self.version,
            "part": self.part,
            "done": sorted(self.done),
        }
        draft = self.note.with_suffix(".new")
        draft.write_text(json.dumps(told))
        os.replace(draft, self.note)  # noqa: PTH105

    def forget(self) -> None:
        """Throw the bytes away."""
        self.total, self.version, self.done = None, None, set()
        self.note.unlink(missing_ok=True)
        self.bytes.unlink(missing_ok=True)


class Getter:
    """Brings one file. ``progress`` is called with the bytes of it that are here; ``stop`` ends its threads."""

    def __init__(
        self, folder: Path, item: Item, manners: Manners, progress: Callable[[int], Any] = lambda held: None
    ) -> None:
        self.item, self.manners, self.progress = item, manners, progress
        self.target = place(folder, item.path)
        self.draft = Draft(folder, item)
        self.stop = threading.Event()
        self._over = False
        self._held, self._lock = 0, threading.Lock()

    def get(self) -> Path:
        """Bring the file to its place and return that. Raises ``FetchError``: it cannot be had or written, or is not what was published."""
        try:
            return self._get()
        except OSError as error:
            raise FetchError(
                f"{self.target}: cannot be written ({error.strerror or type(error).__name__}); what came is kept"
            ) from None

    def _get(self) -> Path:
        for _ in range(3):
            try:
                self._fill()
                break
            except Changed:
                self.draft.forget()
        else:
            raise FetchError(f"{self.item.url}: the file on the server changes while it is fetched; try again later")
        wrong = differs(self.draft.bytes, self.item)
        if wrong is not None:
            self.draft.forget()
            raise FetchError(
                f"{self.item.url}: what the server gave is not the published file ({wrong}); nothing of it is kept"
            )
        self.target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.draft.bytes, self.target)  # noqa: PTH105
        self.draft.note.unlink(missing_ok=True)
        return self.target

    def _fill(self) -> None:
        if self.draft.total is None and not self._first():
            return
        self._told(self.draft.held)
        missing = self.draft.missing
        pool = ThreadPoolExecutor(max(1, min(self.manners.connections, len(missing) or 1)))
        try:
            jobs = [pool.submit(self._part, number) for number in missing]
            for job in wait(jobs, return_when=FIRST_EXCEPTION).done:
                job.result()
        finally:
            self.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            self.stop.clear()

    def _first(self) -> bool:
        """Ask for the first part, which tells how long the file is; False where the whole file came of it."""
        whole = False

        def attempt() -> None:
            nonlocal whole
            part = None if whole else (0, self.manners.part)
            try:
                with self._ask(part, None) as reply:
                    whole = not reply.partial
                    if reply.partial and reply.total is not None:
                        self._begin(reply)
                    elif reply.partial:
                        whole = True
                        raise Broken("the server does not say how long the file is", 0.0)
                    else:
                        self._stream(reply)
            except web.Unsatisfiable:  # an empty file has no first part
                if whole:
                    raise
                whole = True
                raise Broken("no first part", 0.0) from None

        self._persist(attempt, lambda: 0)
        return not whole

    def _begin(self, reply: Reply) -> None:
        """Make the draft, and write the first part into it; where that breaks off, it is one of those that are missing."""
        assert reply.total is not None
        self._hold_size(reply.total)
        self.draft.begin(reply.total, reply.version, self.manners.part)
        with contextlib.suppress(Broken), self.draft.bytes.open("r+b") as handle:
            at = 0
            for block in reply.blocks():
                handle.write(block)
                at += len(block)
                self._told(at)
                self._halt()
            handle.flush()
            if at == self.draft.bounds(0)[1]:
                self.draft.keep(0, handle.fileno())

    def _hold_size(self, total: int | None) -> None:
        if total is not None and self.item.size not in (None, total):
            raise FetchError(
                f"{self.item.url}: the server has {total:,} bytes where the published file has {self.item.size:,}; nothing is fetched"
            )

    def _stream(self, reply: Reply) -> None:
        """Write a whole file that comes in one go; it leaves no note, for it cannot be resumed."""
        if (
            reply.total is None
            and not reply.headers.get("Transfer-Encoding")
            and not (self.item.size or self.item.digest)
        ):
            raise FetchError(
                f"{self.item.url}: neither the server nor the card says how long the file is: whole and cut look alike; refused"
            )
        self._hold_size(reply.total)
        self.draft.bytes.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        at = 0
        with self.draft.bytes.open("wb") as handle:
            for block in reply.blocks():
                handle.write(block)
                at += len(block)
                if self.item.size is not None and at > self.item.size:
                    raise FetchError(
                        f"{self.item.url}: more than the {self.item.size:,} bytes of the published file come; refused"
                    )
                self._told(at)
                self._halt()
            handle.flush()
            os.fsync(handle.fileno())

    def _part(self, number: int) -> None:
        start, end = self.draft.bounds(number)
        at = start

        def attempt() -> None:
            nonlocal at
            with self._ask((at, end), self.draft.version) as reply:
                if (
                    not reply.partial
                    or reply.total not in (None, self.draft.total)
                    or reply.version != self.draft.version
                ):
                    raise Changed
                with self.draft.bytes.open("r+b") as handle:
                    handle.seek(at)
                    for block in reply.blocks():
                        handle.write(block)
                        at += len(block)
                        self._add(len(block))
                        self._halt()
                    handle.flush()
                    if at < end:
                        raise Broken("the server gave less of a part than was asked for")
                    self.draft.keep(number, handle.fileno())

        self._persist(attempt, lambda: at)

    def _ask(self, part: tuple[int, int] | None, version: str | None) -> Reply:
        try:
            return web.ask(self.item.url, self.manners, part, version, anywhere=self.item.digest is not None)
        except web.Unsatisfiable:
            if self.draft.total is None:
                raise
            raise Changed from None

    def _persist(self, attempt: Callable[[], None], at: Callable[[], int]) -> None:
        """Try until it is done; only tries that bring nothing count. Raises ``FetchError`` with what was the matter."""
        vain = 0
        while True:
            before = at()
            try:
                attempt()
                return
            except Broken as error:
                vain = 0 if at() > before else vain + 1
                if vain >= self.manners.tries:
                    raise FetchError(
                        f"{self.item.url}: {error}, {vain} times; what came is kept, run it again to go on"
                    ) from None
                self.stop.wait(
                    error.wait if error.wait is not None else min(30.0, self.manners.pause * 2 ** max(0, vain - 1))
                )
                self._halt()

    def halt(self) -> None:
        """End the work of all threads on this file."""
        self._over = True
        self.stop.set()

    def _halt(self) -> None:
        if self._over or self.stop.is_set():
            raise FetchError(f"{self.item.url}: stopped")

    def _add(self, count: int) -> None:
        with self._lock:
            self._held += count
            held = self._held
        self.progress(held)

    def _told(self, held: int) -> None:
        with self._lock:
            self._held = held
        self.progress(held)

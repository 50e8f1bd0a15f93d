"""Stages that run at the same time on one machine: a few threads each, results in order, a bounded number of items in flight.

``ordered(model, ordered(prepare, items))`` is the whole engine: the inner stage reads ahead while the outer one computes, and
neither runs further ahead than its window, so memory does not grow with the number of items. What stands between items and
sink is two plain functions; an engine for many machines would map the same two.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def ordered(work: Callable[[Given], Made], items: Iterable[Given], threads: int, ahead: int) -> Iterator[Made]:
    """Yield ``work(item)`` in the order of ``items``, made by ``threads``; at most ``ahead`` (or one a thread) are in flight.

    An error in ``work`` is raised where its result would be yielded; what has not begun then is dropped.
    """
    window: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="healthfm") as pool:
        try:
            for item in items:
                window.append(pool.submit(work, item))
                if len(window) >= max(ahead, threads):
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            for future in window:
                future.cancel()


@dataclass
class Done:
    """How many units a stage is about to have done; set it inside, where only the work itself tells.

    ``clock`` times it; ``inside`` are the seconds that stages within it took, which count as theirs.
    """

    units: int
    clock: Clock | None = None
    inside: float = 0.0


_running: ContextVar[Done | None] = ContextVar("stage", default=None)


class Clock:
    """Busy seconds and units of each stage, added up over its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        self._units: dict[str, int] = {}
        self._began = time.perf_counter()

    def start(self) -> None:
        """Count the wall time from now on; what was busy before stays counted."""
        self._began = time.perf_counter()

    @contextmanager
    def stage(self, name: str, units: int = 1) -> Iterator[Done]:
        """Count what happens inside as work of a stage on so many units; where it fails, its time alone."""
        outer, began, done = _running.get(), time.perf_counter(), Done(units, self)
        token = _running.set(done)
        try:
            yield done
        except BaseException:
            done.units = 0
            raise
        finally:
            _running.reset(token)
            spent = time.perf_counter() - began
            if outer is not None:
                outer.inside += spent
            with self._lock:
                self._seconds[name] = self._seconds.get(name, 0) + spent - done.inside
                self._units[name] = self._units.get(name, 0) + done.units

    def report(self, threads: dict[str, int]) -> dict[str, Any]:
        """Return the wall seconds and, a stage: units, busy seconds, their share of all, and units a second by itself.

        The last is what the stage's ``threads`` (default 1) would do with nothing else to wait for, as measured here.
        """
        every = sum(self._seconds.values()) or 1.0
        stages = {
            name: {
                "units": self._units[name], "seconds": seconds, "share": seconds / every,
                "alone_per_second": self._units[name] * threads.get(name, 1) / seconds if seconds else None,
            }
            for name, seconds in self._seconds.items()
        }  # fmt: skip
        return {"wall_seconds": time.perf_counter() - self._began, "stages": stages}


@contextmanager
def stage(name: str, units: int = 1) -> Iterator[Done]:
    """Count what happens inside as work of a stage, at the clock that times what this is a part of; at none where none does."""
    outer = _running.get()
    if outer is None or outer.clock is None:
        yield Done(units)
        return
    with outer.clock.stage(name, units) as done:
        yield done

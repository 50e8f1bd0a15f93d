"""Choices that change a picture or a number, said where they are made and heard by whoever keeps the record of the work.

``say`` is for what is done otherwise than the file asks, or beyond what it says; what cannot be done is an error. Nothing is lost by
saying: without a listener it is silent. A notice names no value of the user's data and is the same text for the same choice, so that
whoever hears it can count the files it holds for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_listening: ContextVar[list[str] | None] = ContextVar("notices", default=None)


def say(notice: str) -> None:
    """Tell whoever listens in this thread, once for each text."""
    heard = _listening.get()
    if heard is not None and notice not in heard:
        heard.append(notice)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Give the list that fills with what is said inside, in this thread."""
    heard: list[str] = []
    token = _listening.set(heard)
    try:
        yield heard
    finally:
        _listening.reset(token)


def counted(notice: str, ids: Sequence[str]) -> str:
    """Return a notice with the number of items it holds for and the first of them."""
    some = [*dict.fromkeys(ids)]
    return f"{notice}: {len(some)} ({', '.join(some[:3])}{', ...' if some[3:] else ''})"

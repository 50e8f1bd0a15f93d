"""What every verb needs to show its result: JSON for machines, tables for people, a progress bar."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from healthfm.models.remote.client import Client


LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
LOUDER = {"-v": 1, "--verbose": 1, "-vv": 2}
QUIET = ("-q", "--quiet")
_quiet: list[bool] = []  # whether this process was told to be


def set_up(words: Sequence[str]) -> list[str]:
    """Take what every command understands out of its words (up to ``--``): how much is said. Raises ``RunError``: an unknown level.

    ``HEALTHFM_LOG`` is a level, or ``LEVEL:FILE``. What is logged are names of rows, folders and counts, never a record.
    """
    from healthfm.errors import RunError

    end = list(words).index("--") if "--" in words else len(words)
    asked = sum(LOUDER.get(word, 0) for word in words[:end])
    _quiet[:] = [True] if any(word in QUIET for word in words[:end]) else []
    level, _, file = os.environ.get("HEALTHFM_LOG", "").partition(":")
    if level and level.lower() not in LEVELS:
        raise RunError(f"HEALTHFM_LOG is '{level}'; use {', '.join(LEVELS)}, or LEVEL:FILE")
    kept = LEVELS[level.lower()] if level else logging.WARNING
    shown = min(logging.WARNING if file else kept, logging.WARNING - 10 * min(asked, 2))
    log = logging.getLogger("healthfm")
    log.handlers[:] = []
    log.propagate = False
    try:
        handlers = [
            (logging.StreamHandler(), shown),
            *([(logging.FileHandler(file, delay=False), kept)] if file else []),
        ]
    except OSError as error:
        raise RunError(f"HEALTHFM_LOG: {file} cannot be written ({error.strerror})") from None
    for handler, least in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handler.setLevel(least)
        log.addHandler(handler)
    log.setLevel(min(least for _, least in handlers))
    return [word for i, word in enumerate(words) if i >= end or (word not in LOUDER and word not in QUIET)]


def kept_here(model: str, allowed: Sequence[str] | None) -> Client | None:
    """Return the server that ``endpoint:URL`` names, if a model's name is one. Raises ``RunError``: it is elsewhere, and not allowed."""
    from healthfm.models import own
    from healthfm.models.remote.client import Client, keep_here

    address = own.address(model)
    if address is None:
        return None
    client = Client(address)
    keep_here(client, allowed or ())
    return client


def emit_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    print(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def emit_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Print a table, folded to the terminal; in a pipe, columns of plain text in which no cell is cut."""
    cells = [[str(cell) if cell is not None else "" for cell in row] for row in rows]
    if not sys.stdout.isatty():
        widths = [max(len(row[i]) for row in [list(columns), *cells]) for i in range(len(columns))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [list(columns), *cells]
        ]
        print("\n".join([title, *lines] if title else lines))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)


def emit_fields(fields: Sequence[tuple[str, object]]) -> None:
    """Print labelled values, wrapped to the terminal; empty ones are left out."""
    import textwrap

    width = max(60, min(110, shutil.get_terminal_size().columns))
    margin = max(len(name) for name, _ in fields) + 2
    for name, value in fields:
        for i, line in enumerate(value if isinstance(value, list | tuple) else [value]):
            if line in (None, ""):
                continue
            label = (name if i == 0 else "").ljust(margin)
            print(
                textwrap.fill(
                    str(line), width, initial_indent=label, subsequent_indent=" " * margin, break_on_hyphens=False
                )
            )


@contextmanager
def progress_bar(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield a function (done, total) that draws a bar with rate and time left on standard error."""
    if quiet or _quiet:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    bars = Progress(*columns, console=Console(stderr=True))
    task = bars.add_task(what, total=None, rate="")
    first: list[int] = []

    def advance(done: int, total: int) -> None:
        if not first:
            bars.start()
            first.append(done)
        elapsed = bars.tasks[task].elapsed or 0
        rate = f"{(done - first[0]) / elapsed:.2f}/s" if elapsed and done > first[0] else ""
        bars.update(task, completed=done, total=total, rate=rate)

    try:
        yield advance
    finally:
        if first:  # a bar never started would leave an empty line before the error
            bars.stop()

"""What notebooks show of an object: a small table as HTML, every text in it escaped, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def facts(title: str, rows: Iterable[tuple[str, Any]]) -> str:
    """Return a table of named facts; those that are None or empty are left out."""
    told = [(name, str(value)) for name, value in rows if value not in (None, "", (), [])]
    body = "".join(
        f"<tr><th style='text-align:left'>{escape(a)}</th><td style='text-align:left'>{escape(b)}</td></tr>"
        for a, b in told
    )
    return f"<table><caption style='text-align:left'><b>{escape(title)}</b></caption>{body}</table>"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table with a head."""
    head = "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><caption style='text-align:left'><b>{escape(title)}</b></caption><tr>{head}</tr>{body}</table>"

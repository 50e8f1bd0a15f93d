"""How names are spelled: which spellings mean the same class, and how a server's name is shown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

SHOWN = 5  # how many classes an error names
LONGEST = 100  # characters shown of a server's name
DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
UNSEEN = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\ufeff"))
NUMBER = re.compile(r"([+-]?)0*(\d+)(?:\.(\d*))?")
TRUTHS = {"true": "1", "false": "0"}


def fold(name: str) -> str:
    """Return what all spellings of a class have in common: without case, width, blanks around, and the zeros of a number."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    text = " ".join(text.translate(UNSEEN).translate(DASHES).split())
    number = NUMBER.fullmatch(text)
    if number:
        part = (number[3] or "").rstrip("0")
        text = f"{number[1].strip('+')}{number[2]}{'.' if part else ''}{part}"
    return TRUTHS.get(text, text)


def fit(name: str, classes: Iterable[str]) -> str | None:
    """Return the one of these classes that a spelling means; None where there is none, or several."""
    known = list(classes)
    if name in known:
        return name
    same = [one for one in known if fold(one) == fold(name)]
    return same[0] if len(same) == 1 else None


def clash(counts: Mapping[str, int], what: str = "rows") -> str | None:
    """Say which classes are written in several ways, and how often each; None where none is. ``counts``: by spelling."""
    groups: dict[str, list[str]] = {}
    for name in sorted(counts):
        groups.setdefault(fold(name), []).append(name)
    double = [_told(names, counts, what) for names in groups.values() if len(names) > 1]
    if not double:
        return None
    more = f" and {len(double) - SHOWN} more" if len(double) > SHOWN else ""
    return f"one class is written in several ways: {'; '.join(double[:SHOWN])}{more}"


def _told(names: list[str], counts: Mapping[str, int], what: str) -> str:
    alike = len({unicodedata.normalize("NFC", one) for one in names}) < len(names)  # letters that look the same
    return " and ".join(f"{ascii(one) if alike else repr(one)} ({counts[one]} {what})" for one in names)


def short(name: str) -> str:
    """Return a served name as it is shown: of a path on the server's disk the last part."""
    last = PurePosixPath(name.replace("\\", "/")).name if name.startswith("/") or "\\" in name else name
    return "".join(one if one.isprintable() else "?" for one in last[:LONGEST])


def counted(n: int, one: str, several_of: str | None = None) -> str:
    """Return a count with its noun, or with what is said of one and of several: ``counted(n, "row is left out", "rows are left out")``."""
    return f"{n:,} {one if n == 1 else several_of or several(one)}"


def several(noun: str) -> str:
    """Return the plural of a noun."""
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"

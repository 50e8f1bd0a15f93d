"""Lists that a model writes, as JSON or line by line, and the places in a text of what they name.

An entry is an object with the fields that were asked for, a JSON list of as many texts, or a line with "|" or a tab between them, with or without a bullet
or a number before it. What is none of these is passed over where an entry was found, and no answer where none was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from healthfm.evaluate.stated import THOUGHTS
from healthfm.score.scripts import RANGES, spaced
from healthfm.spelling import fold

BULLET = re.compile(r"^\s*(?:[-*•·]|\d+[.)、]|\|)\s*")
BETWEEN = re.compile(r"\s*[|｜\t]\s*")
NONE = frozenset(
    {
        "none",
        "no",
        "nothing",
        "n/a",
        "null",
        "无",
        "没有",
        "none found",
        "no entities",
        "no mentions",
        "no relations",
        "-",
    }
)
NEXT = re.compile(r"(?is)\n\s*(?:text|question|passage|sentence|consultation)\s*[:：].*\Z")
WORD = rf"[^\W{RANGES}]"  # a letter of a script with blanks between words, or a digit
LONGEST = 12  # words of a line that is a name, not prose
Entry = tuple[str, ...]
Place = tuple[int, int]


def spoken(text: str) -> str:
    """Return a written text without its thoughts, and without a further question that the model goes on to write."""
    return NEXT.sub("", THOUGHTS.sub("", text))


def entries(text: str, fields: Sequence[str]) -> list[Entry] | None:
    """Return the entries of a written list, each a text for every field; [] where it says that there is none, None where it cannot be read."""
    text = spoken(text)
    values, was_list = [], False
    for value in _json_values(text):
        was_list = was_list or value == [] or value == {}
        values += list(_of_value(value, fields))
    if values or was_list:
        return _once(values)
    lines = [BULLET.sub("", line).strip().strip("|").strip() for line in text.splitlines()]
    rows = [tuple(cell.strip(" \"'`*") for cell in BETWEEN.split(line)) for line in lines if line]
    found = [
        row for row in rows if len(row) == len(fields) and all(row) and any(re.search(r"\w", cell) for cell in row)
    ]
    if found:
        return _once(found)
    said = {fold(line.strip(" .。!\"'`*")) for line in lines if line}
    return [] if said and all(any(one == none or one.startswith(f"{none} ") for none in NONE) for one in said) else None


def single(text: str) -> list[Entry] | None:
    """Return the entries of a list of one field: a JSON list of texts, or a short line each; None where there is neither: prose is no list."""
    text = spoken(text)
    for value in _json_values(text):
        if isinstance(value, list) and all(isinstance(one, str | int) and not isinstance(one, bool) for one in value):
            return _once([(str(one).strip(),) for one in value if str(one).strip()])
    lines = [BULLET.sub("", line).strip(" \"'`*") for line in text.splitlines() if line.strip()]
    if lines and fold(lines[0].strip(" .。!")) in NONE:
        return []
    short = [(one,) for one in lines if one and len(spaced(one).split()) <= LONGEST]
    return _once(short) or None


def _once(found: Sequence[Entry]) -> list[Entry]:
    return list(dict.fromkeys(found))


def _json_values(text: str) -> Iterator[Any]:
    """Yield the JSON lists and objects in a text, also those inside one that was cut off."""
    decoder, at = json.JSONDecoder(), 0
    while found := re.compile(r"[\[{]").search(text, at):
        try:
            value, at = decoder.raw_decode(text, found.start())
            yield value
        except (ValueError, RecursionError):
            at = found.start() + 1


def _of_value(value: Any, fields: Sequence[str]) -> Iterator[Entry]:
    """Yield the entries in a JSON value; an object that names a list for each kind ({"disease": ["flu"]}) is one of pairs."""
    if isinstance(value, Mapping):
        known = {fold(str(name)): one for name, one in value.items()}
        if all(name in known for name in fields):
            row = tuple(str(known[name]).strip() for name in fields if isinstance(known[name], str | int | float))
            if len(row) == len(fields) and all(row):
                yield row
            return
        for name, inner in value.items():
            if (
                len(fields) == len(("type", "text"))
                and isinstance(inner, list)
                and all(isinstance(one, str) for one in inner)
            ):
                yield from ((str(name).strip(), one.strip()) for one in inner if one.strip())
            else:
                yield from _of_value(inner, fields)
    elif isinstance(value, list):
        texts = [one.strip() for one in value if isinstance(one, str)]
        if len(value) == len(texts) == len(fields) and all(texts):
            yield tuple(texts)
            return
        for one in value:
            yield from _of_value(one, fields)


# Places -----------------------------------------------------------------------------------------------------------------


def places(mention: str, text: str) -> list[Place]:
    """Return where a mention stands in a text as whole words, in its own case or, where that is nowhere, in any; blanks of any width agree."""
    pieces = mention.split()
    if not pieces:
        return []
    bare = r"\s+".join(map(re.escape, pieces))
    before = rf"(?<!{WORD})" if re.match(WORD, pieces[0]) else ""
    after = rf"(?!{WORD})" if re.search(rf"{WORD}\Z", pieces[-1]) else ""
    for flags in (0, re.IGNORECASE):
        found = [match.span() for match in re.finditer(before + bare + after, text, flags)]
        if found:
            return found
    return []


def placed(mentions: Sequence[tuple[str, str]], text: str) -> tuple[list[tuple[int, int, str]], list[tuple[str, str]]]:
    """Return the spans (start, end, type) of mentions (type, text) wherever they stand in a text, and those that it does not hold.

    A mention inside a longer one of its type that was listed too is not placed there, unless it stands nowhere else.
    """
    spans: dict[tuple[int, int, str], None] = {}
    lost = []
    for kind, mention in sorted(dict.fromkeys(mentions), key=lambda one: -len(one[1])):
        found = places(mention, text)
        if not found:
            lost.append((kind, mention))
        free = [
            (start, end) for start, end in found
            if not any(a <= start and end <= b and (a, b) != (start, end) and of == kind for a, b, of in spans)
        ]  # fmt: skip
        spans.update(dict.fromkeys((start, end, kind) for start, end in free or found))
    return sorted(spans), lost

"""Chunks in rows of tags (IOB1, IOB2, IOE2, IOBES, BILOU): as CoNLL's scorer reads them, and strictly by a scheme.

A tag is "O", or a mark and a type ("B-disease"); a mark alone has the type "_". The two readings are those of seqeval (github.com/chakki-works/seqeval):
``lenient`` its default, which is conlleval's, ``strict`` its ``mode="strict"``. BILOU's L and U are read as IOBES' E and S in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Chunk = tuple[int, int, str]  # first token, token behind the last, type
MARKS = "BIOESLU"
AS_IOBES = {"L": "E", "U": "S"}
SCHEMES = {"IOB2": frozenset("IOB"), "IOE2": frozenset("IOE"), "IOBES": frozenset("IOBES"), "BILOU": frozenset("BILOU")}
OPENS = {"IOB2": "B", "IOBES": "BS"}  # what begins a chunk; in IOE2 any that does not go on one
CLOSED = {"IOE2": "E", "IOBES": "ES"}  # a chunk that ends with nothing of these is none


def split(tag: str) -> tuple[str, str]:
    """Return a tag's mark and type. Raises ``ValueError``: it has no mark that a scheme knows."""
    if tag == "O":
        return "O", ""
    mark, rest = tag[:1], tag[1:]
    if not mark or mark not in MARKS or mark == "O" or (rest and not rest.startswith("-")):
        raise ValueError("no tag of a scheme")
    return AS_IOBES.get(mark, mark), rest[1:] or "_"


def scheme_of(rows: Iterable[Sequence[str]]) -> str | None:
    """Return the scheme that the marks of all rows belong to, None where that cannot be told (IOB1: I alone)."""
    marks = {tag[:1] for row in rows for tag in row}
    if not marks - {"O", "I"}:
        return None if "I" in marks else "IOB2"
    return next((name for name, known in SCHEMES.items() if marks <= known), None)


def lenient(tags: Sequence[str]) -> list[Chunk]:
    """Return the chunks as conlleval reads them: one begins wherever a type does, whatever its mark."""
    found: list[Chunk] = []
    before, kind, start = "O", "", 0
    for place, tag in enumerate([*tags, "O"]):
        mark, now = split(tag)
        if before != "O" and (before in "ES" or mark in "BSO" or now != kind):
            found.append((start, place, kind))
        if mark != "O" and (mark in "BS" or before in "OES" or now != kind):
            start = place
        before, kind = mark, now
    return found


def strict(tags: Sequence[str], scheme: str) -> list[Chunk]:
    """Return the chunks that are written as the scheme demands; others are none."""
    scheme = "IOBES" if scheme == "BILOU" else scheme
    marks = [split(tag) for tag in tags]
    found: list[Chunk] = []
    place = 0
    while place < len(marks):
        mark, kind = marks[place]
        end = place + 1
        if mark == "O" or mark not in OPENS.get(scheme, mark):
            place = end
            continue
        if mark not in "ES":
            while end < len(marks) and marks[end][1] == kind and marks[end][0] in "IE":
                end += 1
                if marks[end - 1][0] == "E":
                    break
        if scheme not in CLOSED or marks[end - 1][0] in CLOSED[scheme]:
            found.append((place, end, kind))
        place = end
    return found

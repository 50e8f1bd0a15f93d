"""PubTator: titles and abstracts with their marked mentions and relations, as NCBI's curation tool writes them.

Specification: https://www.ncbi.nlm.nih.gov/CBBresearch/Lu/Demo/tmTools/Format.html, and the READMEs of the corpora in it. A document is
``ID|t|title``, ``ID|a|abstract``, then mentions ``ID TAB start TAB end TAB mention TAB type TAB concepts [TAB names]`` and relations
``ID TAB type TAB concept TAB concept``; an empty line ends it. Offsets count characters of the title, ONE character, the abstract.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from healthfm.errors import BadValue, DatasetError
from healthfm.formats.source import Row, Source, lines

TITLE = re.compile(r"([^|\t]+)\|t\|(.*)")
NOTHING = ("", "-", "-1")  # written where a mention stands for no known concept


@dataclass(frozen=True, slots=True)
class Mention:
    """A marked mention. ``concepts`` are ids; ``names`` what a composite mention ("A and B disease") says in full, in their order."""

    start: int
    end: int
    type: str
    concepts: tuple[str, ...]
    names: tuple[str, ...]


def documents(source: Source) -> Iterator[Row]:
    """Yield one ``Row`` a document: id, text, title, and its other lines as ``fields`` (lists of columns); numbered by line."""
    block: list[str] = []
    first = 1
    for number, line in lines(source):
        bare = line.rstrip("\r\n")
        if bare.strip():
            first = first if block else number
            block.append(bare)
        elif block:
            yield from _document(block, source, first)
            block = []
    if block:
        yield from _document(block, source, first)


def _document(block: list[str], source: Source, number: int) -> Iterator[Row]:
    titled = TITLE.fullmatch(block[0])
    abstract = f"{titled[1]}|a|" if titled else ""
    if titled is None or len(block) < 2 or not block[1].startswith(abstract):
        source.problems.add(
            DatasetError(f"{source}, row {number}: no title and abstract of one id at its head (ID|t|, ID|a|)")
        )
        return
    text = f"{titled[2]} {block[1].removeprefix(abstract)}"
    fields = [line.split("\t") for line in block[2:]]
    yield Row({"id": titled[1], "text": text, "title": titled[2], "fields": fields}, source, number)


def marked(row: Row) -> tuple[list[Mention], list[tuple[str, str, str]]]:
    """Return a document's mentions and its relations (type, concept, concept). Raises ``BadValue``: a line is neither, or misplaced."""
    mentions, relations = [], []
    for number, fields in enumerate(row["fields"], 3):
        if fields[0] != row["id"]:
            raise BadValue(f"its line {number} is of another document")
        if len(fields) in (6, 7) and fields[1].isdecimal() and fields[2].isdecimal():
            start, end = int(fields[1]), int(fields[2])
            if row["text"][start:end] != fields[3]:
                raise BadValue(f"its line {number}: the text at these offsets is not the mention")
            mentions.append(Mention(start, end, fields[4], _several(fields[5]), _several("".join(fields[6:]))))
        elif len(fields) == 4 and not fields[1].isdecimal():
            relations.append((fields[1], fields[2], fields[3]))
        else:
            raise BadValue(f"its line {number} is neither a mention nor a relation ({len(fields)} columns)")
    return mentions, relations


def _several(joined: str) -> tuple[str, ...]:
    return tuple(one for one in joined.split("|") if one not in NOTHING)

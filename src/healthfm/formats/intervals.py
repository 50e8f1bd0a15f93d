"""Places on a genome, a line each: GTF, GFF3 and BED.

GTF (GENCODE's and Ensembl's format pages) and GFF3 (Sequence Ontology, version 1.26) count from 1 and include the end; BED (UCSC's FAQ)
counts from 0 and does not. Rows here all have ``start`` and ``end`` from 0, the end not included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from healthfm.errors import BadValue
from healthfm.formats.source import Row, Source, lines

COLUMNS = ("contig", "source", "type", "start", "end", "score", "strand", "phase", "attributes")
ATTRIBUTE = re.compile(r'\s*([^\s";=]+)\s+(?:"([^"]*)"|([^";\s]+))\s*(?:;|$)')
BED = (
    "contig",
    "start",
    "end",
    "name",
    "score",
    "strand",
    "thickStart",
    "thickEnd",
    "itemRgb",
    "blockCount",
    "blockSizes",
    "blockStarts",
)
NARROW_PEAK = (*BED[:6], "signalValue", "pValue", "qValue", "peak")  # ENCODE: BED6 + 4
BROAD_PEAK = NARROW_PEAK[:-1]
STRANDS = {"+": "+", "-": "-", ".": None, "?": None, "": None}


def gtf(source: Source) -> Iterator[Row]:
    """Yield the lines of a GTF file; ``attributes`` maps each key to the list of its values (``tag`` occurs several times)."""
    return _nine(source, _gtf_attributes)


def gff3(source: Source) -> Iterator[Row]:
    """Yield the lines of a GFF3 file up to ``##FASTA``; ``attributes`` maps each key to the list of its values, escapes undone."""
    return _nine(source, _gff3_attributes)


def _nine(source: Source, attributes: object) -> Iterator[Row]:
    for number, line in lines(source):
        line = line.rstrip("\r\n")
        if line.startswith("##FASTA"):
            return
        if not line.strip() or line.startswith("#"):
            continue
        row = Row({}, source, number)
        try:
            cells = line.split("\t")
            if len(cells) != len(COLUMNS):
                raise BadValue(f"{len(cells)} columns, not {len(COLUMNS)}")
            row.update(zip(COLUMNS, cells, strict=True))
            row["start"], row["end"] = _place(int(cells[3]) - 1, int(cells[4]))
            row["strand"] = STRANDS[cells[6]]
            row["score"] = None if cells[5] == "." else float(cells[5])
            row["attributes"] = attributes(cells[8])  # type: ignore[operator]
        except (BadValue, ValueError, KeyError) as error:
            source.problems.add(row.error(f"cannot be read: {_why(error)}"))
            continue
        yield row


def _gtf_attributes(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    place = 0
    while place < len(text) and text[place:].strip(" ;"):
        match = ATTRIBUTE.match(text, place)
        if match is None:
            raise BadValue('its attributes are not KEY "VALUE"; ...')
        found.setdefault(match[1], []).append(match[2] if match[2] is not None else match[3])
        place = match.end()
    return found


def _gff3_attributes(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in text.strip().strip(";").split(";"):
        if part in ("", "."):
            continue
        key, equals, values = part.partition("=")
        if not equals:
            raise BadValue("its attributes are not KEY=VALUE;...")
        found.setdefault(unquote(key.strip()), []).extend(map(unquote, values.split(",")))
    return found


def bed(source: Source, names: tuple[str, ...] = BED) -> Iterator[Row]:
    """Yield the lines of a BED file: as many of ``names`` as a line has columns, 3 at least. Raises nothing: problems are collected.

    Columns are divided by tabs, or by blanks where no line has one. ``#``, ``track`` and ``browser`` lines are no places.
    """
    width = 0
    for number, line in lines(source):
        line = line.rstrip("\r\n")
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        row = Row({}, source, number)
        try:
            cells = line.split("\t") if "\t" in line else line.split()
            if len(cells) < 3 or len(cells) > len(names):
                raise BadValue(f"{len(cells)} columns, not 3 to {len(names)}")
            width = width or len(cells)
            if len(cells) != width:
                raise BadValue(f"{len(cells)} columns, the first line has {width}")
            row.update(zip(names, cells, strict=False))
            row["start"], row["end"] = _place(int(cells[1]), int(cells[2]))
            row["strand"] = STRANDS[row.get("strand", ".")]
        except (BadValue, ValueError, KeyError) as error:
            source.problems.add(row.error(f"cannot be read: {_why(error)}"))
            continue
        yield row


def _place(start: int, end: int) -> tuple[int, int]:
    if not 0 <= start <= end:
        raise BadValue("its end lies before its start, or its start before the contig")
    return start, end


def _why(error: Exception) -> str:
    if isinstance(error, BadValue):
        return str(error)
    return "its strand is none of + - ." if isinstance(error, KeyError) else "a number is none"

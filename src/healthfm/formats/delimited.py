"""CSV and TSV as rows by column name, in the dialects that people's programs write.

A file is read in the one way it can mean, or refused with its line: a quote never swallows records in silence. In CSV a cell
may be quoted (a quote inside is doubled, lines may break inside); in TSV a line is a record, and quotes are text unless they
enclose a whole cell.
"""

from __future__ import annotations

import ast
import csv
import functools
import io
import itertools
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from healthfm.errors import BadValue, DatasetError
from healthfm.formats.lines import UNSEEN, Lines, texts
from healthfm.formats.source import DAMAGE, Made, Row, Source

NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16
NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of other bytes
SHOWN = 200
ENCLOSED = re.compile(r'"((?:[^"]|"")*)"', re.DOTALL)
csv.field_size_limit(2**31 - 1)  # a clinical note may be longer than the csv module's 128 KiB


def rows(
    source: Source, delimiter: str, *, names: Sequence[str] | None = None, encoding: str = "utf-8"
) -> Iterator[Row]:
    """Yield the rows of a file whose name promises this delimiter, numbered by the line in which they end.

    ``names`` are the columns of a file that has no header. ``encoding``: of an owner who does not write UTF-8; a byte that is not of
    it becomes U+FFFD, which the reader has to name.
    """
    return _rows(Lines(_texts(source, encoding)), source, delimiter, names)


def _texts(source: Source, encoding: str) -> Iterator[tuple[str, bool]]:
    """Yield the text of a file, a part at a time. Raises ``DatasetError``: it is damaged, or not whole UTF-16."""
    try:
        if encoding == "utf-8":
            with source.open() as raw:
                utf16 = raw.read(2) in MARKS
            yield from texts(source, "utf-16" if utf16 else "utf-8", "strict" if utf16 else "surrogateescape")
        else:
            yield from texts(source, encoding, "replace")
    except UnicodeDecodeError:
        raise DatasetError(f"{source}: not whole UTF-16; save it as UTF-8") from None
    except DAMAGE as error:
        raise DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})") from None


def _rows(lines: Lines, source: Source, promised: str, names: Sequence[str] | None) -> Iterator[Row]:
    header, delimiter = (list(names), promised) if names else _header(lines, source, promised)
    unnamed = [place for place, name in enumerate(header) if not name]
    if unnamed == [0]:  # the row numbers that pandas writes
        unnamed = []
    named = [place for place in range(len(header)) if place not in unnamed]
    last = max(named, default=len(header))
    naming = _naming(header) if delimiter in NAMES and not unnamed else None
    while True:
        if naming is not None and not lines.waiting:
            yield from _plain_rows(lines, len(header), naming, delimiter, source)
        lines.held.clear()
        start = lines.number + 1
        try:
            cells = _record(lines, delimiter, len(header))
            if _blank(cells):
                continue
            _refuse_other_bytes(lines.held)
            if last < len(cells) < len(header):  # what is left out has no name
                cells += [""] * (len(header) - len(cells))
            if len(cells) != len(header):
                raise BadValue(f"{len(cells)} cells, {'its columns are' if names else 'the header has'} {len(header)}")
            if any(cells[place].strip() for place in unnamed):
                raise BadValue("a value in a column that the header does not name")
        except StopIteration:
            return
        except BadValue as error:
            where = f"line {start}" if lines.number <= start else f"lines {start} to {lines.number}"
            source.problems.add(DatasetError(f"{source}, {where}: {error}"))
            continue
        yield Row({header[place]: cells[place] for place in named}, source, lines.number)


def _plain_rows(
    lines: Lines, width: int, naming: Callable[..., dict[str, str]], delimiter: str, source: Source
) -> Iterator[Row]:
    """Yield the rows of the lines that hold nothing to ponder, up to one that does, which is put back."""
    cells_of = functools.partial(_plain_cells, delimiter=delimiter, width=width)
    while lines.more():
        found = _all_plain(lines, width, naming, delimiter) if lines.fresh else None
        whole = found is not None
        if found is None:
            rest = lines.lines()[lines.place :]
            found = itertools.starmap(naming, itertools.takewhile(bool, map(cells_of, rest)))
        number = lines.number
        for row in map(Made, found):
            number += 1
            row.source, row.number = source, number
            yield row
        if whole:
            lines.pass_over(number)
            continue
        lines.place, lines.number = lines.place + number - lines.number, number
        if lines.place < len(lines.block):
            return


def _plain_cells(line: str, delimiter: str, width: int) -> list[str]:
    """Return the cells of a line that holds nothing to ponder, none of another."""
    if '"' in line:
        cells = _enclosed(line, delimiter) if delimiter != "\t" else []
    else:
        cells = line.rstrip("\r\n").split(delimiter)
    if len(cells) != width or "\0" in line or not (line.isascii() or _is_utf8(line)) or not cells[0].strip():
        return []
    return cells


def _all_plain(
    lines: Lines, width: int, naming: Callable[..., dict[str, str]], delimiter: str
) -> Iterator[dict[str, str]] | None:
    """Return what a fresh text's lines hold by name where none of them holds anything to ponder; None where one may."""
    text = lines.text
    if not lines.sound and ("\0" in text or not _is_utf8(text)):
        return None
    if '"' not in text:
        found = _bare_cells(text, delimiter)
    elif delimiter == "\t" or _quoted_after_a_blank(text, delimiter):
        return None
    else:
        held = lines.lines()
        try:
            found = list(csv.reader(held, delimiter=delimiter, strict=True))
        except csv.Error:
            return None
        if len(found) != len(held):  # a cell of several lines makes fewer
            return None
    plain = set(map(len, found)) == {width} and all(map(str.strip, map(operator.itemgetter(0), found)))
    return itertools.starmap(naming, found) if plain else None


def _bare_cells(text: str, delimiter: str) -> list[list[str]]:
    """Return the cells of each of some whole lines without quotes."""
    found = text.splitlines()
    if len(found) != text.count("\n"):  # Python ends lines at more than we do, or the last one has no end
        found = io.IncrementalNewlineDecoder(None, translate=True).decode(text, final=True).split("\n")
        if not found[-1]:
            found.pop()
    return list(map(str.split, found, itertools.repeat(delimiter)))


def _quoted_after_a_blank(text: str, delimiter: str) -> bool:
    """Whether a quote may stand behind a blank at the beginning of a cell."""
    for before in text.split('"')[:-1]:
        if before[-1:].isspace() and before[-1] != "\n":
            bare = before.rstrip()
            if not bare or bare[-1] == delimiter or "\n" in before[len(bare) :] or "\r" in before[len(bare) :]:
                return True
    return False


def _naming(header: Sequence[str]) -> Callable[..., dict[str, str]]:
    """Return what makes a mapping of a row's cells: a display of keys and values is twice as fast as ``dict(zip(header, cells))``.

    The names are put in as constants, never as text of a program; a table of more columns than ``SHOWN`` is zipped.
    """
    if len(header) > SHOWN:
        return lambda *cells: dict(zip(header, cells, strict=False))
    places = range(len(header))
    made = ast.parse(
        f"lambda {', '.join(f'c{n}' for n in places)}: {{{', '.join(f'0: c{n}' for n in places)}}}", mode="eval"
    )
    made.body.body.keys = [ast.copy_location(ast.Constant(name), made.body.body) for name in header]  # type: ignore[attr-defined]
    return eval(compile(made, "<columns>", "eval"))  # type: ignore[no-any-return]


def _enclosed(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line in which quotes enclose whole cells and nothing else; no cell where they do more."""
    before, *rest = line.split('"')
    if len(rest) % 2 or (before and before[-1] != delimiter):
        return []
    cells = before[:-1].split(delimiter) if before else []
    rest[-1] = rest[-1].rstrip("\r\n") + delimiter
    cell = ""
    for inside, after in zip(rest[::2], rest[1::2], strict=True):
        cell += inside
        if not after:  # a quote, doubled
            cell += '"'
        elif after[0] != delimiter or after[-1] != delimiter or cell[:1].isspace():
            return []
        else:
            cells.append(cell)
            cell = ""
            if len(after) > 1:
                cells += after[1:-1].split(delimiter)
    return cells


def _is_utf8(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:  # what "surrogateescape" makes of other bytes
        return False
    return True


def _blank(cells: Sequence[str]) -> bool:
    """Whether a line holds nothing: empty, blanks, or the delimiters that spreadsheets leave below a table."""
    return not any(cell.strip() for cell in cells)


# The header -----------------------------------------------------------------------------------------------------------


def _header(lines: Lines, source: Source, promised: str) -> tuple[list[str], str]:
    """Return the column names, without blanks around, and the delimiter that stands between them."""
    head = next((line for line in lines if line.strip()), None)
    if head is None:
        raise DatasetError(f"{source}: the file is empty")
    try:
        _refuse_other_bytes([head])
        told = re.fullmatch(r"sep=(.)\s*", head)  # a spreadsheet's note on what comes
        delimiter = told.group(1) if told else _delimiter(head, promised)
        if not told:
            lines.put_back(1)
        header = [bare_name(name) for name in _record(lines, delimiter, None)]
        if header[0].startswith("#") and header[0] != "#":
            raise BadValue("begins with #: take comments out of the file, and the # off the names of columns")
    except (BadValue, StopIteration) as error:
        raise DatasetError(f"{source}, line {max(lines.number, 1)}: {error or 'no names of columns'}") from None
    each_once([name for name in header if name], source)
    return header, delimiter


def bare_name(name: str) -> str:
    """Return a column's name without blanks around it, seen or not."""
    return name.strip().strip(UNSEEN).strip()


def each_once(names: Sequence[str], source: Source) -> None:
    """Raise ``DatasetError`` naming the columns that occur twice."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise DatasetError(f"{source}: column names occur twice: {', '.join(twice)}")


def _delimiter(head: str, promised: str) -> str:
    """Return what divides the names of columns: what the file's name promises, or the one other mark that does."""
    parts = {mark: len(next(csv.reader([head], delimiter=mark), [""])) for mark in NAMES}
    if parts[promised] > 1:
        rival = next((mark for mark in (";", "\t") if parts[mark] > parts[promised]), None) if promised == "," else None
        if rival is not None:
            raise BadValue(f"both {NAMES[promised]} and {NAMES[rival]} divide the names of columns; keep one of them")
        return promised
    others = [mark for mark, count in parts.items() if count > 1]
    if len(others) > 1:
        raise BadValue(
            f"{' and '.join(NAMES[mark] for mark in others)} may divide the names of columns; keep one of them"
        )
    return others[0] if others else promised


# Records --------------------------------------------------------------------------------------------------------------


def _record(lines: Lines, delimiter: str, columns: int | None) -> list[str]:
    """Return the cells of the next record. Raises ``BadValue`` where its quotes do not add up."""
    return _tabbed(lines, columns) if delimiter == "\t" else _quoted(lines, delimiter, columns)


def _quoted(lines: Lines, delimiter: str, columns: int | None) -> list[str]:
    try:
        cells = next(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error as error:
        ended = "end of data" in str(error)
        raise BadValue(
            f"not valid CSV ({'a quote opens a cell and is never closed' if ended else f'{error}; a quote inside a quoted cell is doubled'})"
        ) from None
    if (
        columns is not None
        and columns > 1
        and len(lines.held) > 1
        and _swallowed(cells, lines.held, delimiter, columns)
    ):
        raise BadValue(
            "a quote opens a cell that runs on, and the lines in it look like records of their own; double a quote that is text, "
            "or keep the cell on one line"
        )
    blanks = [
        cell for cell in cells if cell[:1].isspace() and len(cell.strip()) > 1 and ENCLOSED.fullmatch(cell.strip())
    ]
    if blanks and any(
        cell in "".join(lines.held) for cell in blanks
    ):  # where the whole cell is quoted, its quotes are doubled
        raise BadValue("a blank stands before a quoted cell; take it out")
    return cells


def _swallowed(cells: Sequence[str], held: Sequence[str], delimiter: str, columns: int) -> bool:
    """Whether the lines within a quoted cell look like records: as many cells, without the blanks of prose, or numbered on."""
    first, *inside = (line.rstrip("\r\n").split(delimiter) for line in held)
    whole = all(len(parts) == columns and not any(part[:1].isspace() for part in parts[1:]) for parts in inside)
    number = cells[0].strip()
    onward = number.isdecimal() and all(
        len(parts) >= columns and parts[0].strip() == str(int(number) + place) for place, parts in enumerate(inside, 1)
    )
    return len(first) >= columns and (whole or onward)


def _tabbed(lines: Lines, columns: int | None) -> list[str]:
    """Return the cells of a line; of several where a quoted cell breaks, and none of them is a record by itself."""
    line = next(lines)
    cells = line.rstrip("\r\n").split("\t")
    opens = any(cell.startswith('"') and not ENCLOSED.fullmatch(cell) for cell in cells)
    if columns == 1 and len(cells) == 1 and opens:
        raise BadValue("a quote opens a cell and does not close on its line: is it text, or does the cell go on?")
    if opens:
        joined = _joined(line, lines, columns)
        if joined is not None:
            return joined
    return [_bare(cell) for cell in cells]


def _joined(line: str, lines: Lines, columns: int | None) -> list[str] | None:
    """Return the cells of a record with a tab or a line's end in a quoted cell; None where it is none, and the lines are put back."""

    def more() -> Iterator[str]:
        yield line
        for one in lines:
            if one.count("\t") + 1 == columns:  # a record by itself
                return
            yield one

    try:
        found = next(csv.reader(more(), delimiter="\t", strict=True))
    except csv.Error:
        found = []
    if found and columns in (None, len(found)):
        return found
    lines.put_back(len(lines.held) - 1)
    return None


def _bare(cell: str) -> str:
    found = ENCLOSED.fullmatch(cell)
    return found.group(1).replace('""', '"') if found else cell


def _refuse_other_bytes(held: Sequence[str]) -> None:
    for line in held:
        if NOT_UTF8.search(line):
            raise BadValue("not UTF-8; save it as UTF-8")
        if "\0" in line:
            raise BadValue("holds a NUL character: UTF-16 without its mark, or a damaged file")

"""Spreadsheets (XLSX) as rows by column name: the values that a sheet shows, no formula is computed and nothing is run.

Specification: ECMA-376 Office Open XML, part 1, SpreadsheetML. python-calamine reads them; it lays a sheet out as a full table and ends
the process where that does not fit, so how far a sheet's cells reach is looked at first.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from healthfm.errors import DatasetError
from healthfm.formats import delimited
from healthfm.formats.archive import refuse_bomb
from healthfm.formats.source import DAMAGE, Row, Source

HELD = 1 << 30  # up to how many bytes of a workbook are taken into memory, packed or unpacked
CELLS = 50_000_000  # and up to how many cells of a sheet
PLACE = re.compile(rb"<(?:[\w.-]+:)?(?:c|row)\s(?:[^<>]*?\s)?r\s*=\s*[\"']\s*([A-Za-z]{0,7})(\d{0,10})")
OTHERS = ("xl/workbook.bin", "content.xml")  # of XLSB and ODS


def sheets(source: Source) -> list[str]:
    """Return the names of a workbook's sheets, in its order."""
    return list(_workbook(source).sheet_names)


def rows(source: Source, sheet: str | None = None, header: int = 1) -> Iterator[Row]:
    """Yield the rows below the ``header``-th line of a sheet (None: the first), numbered as the sheet numbers them.

    Column names have no blanks around; a column without one is no part of a row. A cell is text, a number, a truth value or a
    date as ISO text, "" where it is empty; a row of empty cells is passed over. Raises ``DatasetError``: damage, no such sheet.
    """
    lines = cells(source, sheet)
    if len(lines) < header:
        raise DatasetError(f"{source}: the sheet has {len(lines)} lines, its column names should be in line {header}")
    names = [delimited.bare_name(str(one)) for one in lines[header - 1]]
    delimited.each_once([name for name in names if name], source)
    for number, line in enumerate(lines[header:], header + 1):
        if any(cell != "" for cell in line):
            yield Row({name: cell for name, cell in zip(names, line, strict=True) if name}, source, number)


def cells(source: Source, sheet: str | None = None) -> list[list[Any]]:
    """Return all cells of a sheet (None: the first), a list a line from the sheet's first line, all of one length."""
    book = _workbook(source)
    if not book.sheet_names or sheet not in (None, *book.sheet_names):
        raise DatasetError(f"{source}: no sheet '{sheet or ''}' (it has: {', '.join(book.sheet_names) or 'none'})")
    with _readable(source):
        found = book.get_sheet_by_name(sheet or book.sheet_names[0])
        return [[_plain(cell) for cell in line] for line in found.to_python(skip_empty_area=False)]


def _plain(cell: Any) -> Any:
    """Return a cell as text, number or truth value; a date or time as ISO text, a whole number that a sheet holds as 1.0 as 1."""
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return (
        cell.isoformat() if hasattr(cell, "isoformat") else cell if isinstance(cell, str | int | float) else str(cell)
    )


def _workbook(source: Source) -> Any:
    from python_calamine import CalamineWorkbook

    with _readable(source):
        with source.open() as handle:
            data = io.BytesIO(handle.read(HELD + 1))
        with zipfile.ZipFile(data) as packed:
            if set(OTHERS) & set(packed.namelist()):
                raise DatasetError(f"{source}: a workbook in another format than XLSX; save it as one")
            if len(data.getbuffer()) > HELD or sum(info.file_size for info in packed.infolist()) > HELD:
                raise DatasetError(f"{source}: a workbook of over {HELD >> 20} MB; refused")
            for info in packed.infolist():
                refuse_bomb(f"{source}!{info.filename}", info.file_size, info.compress_size)
                with packed.open(info) as member:
                    height, width = _reach(member)
                if height * width > CELLS:
                    raise DatasetError(f"{source}: a sheet of over {CELLS:,} cells; refused")
        data.seek(0)
        return CalamineWorkbook.from_filelike(data)


def _reach(member: IO[bytes]) -> tuple[int, int]:
    """Return the last row and the last column that the cells of a sheet name, from 1."""
    height = width = 1
    rest = b""
    while block := member.read(1 << 20):
        text = rest + block
        for column, row in PLACE.findall(text):
            height = max(height, int(row or 1))
            width = max(width, sum((byte - 64) * 26**n for n, byte in enumerate(reversed(column.upper()))))
        rest = text[text.rfind(b"<") :][: 1 << 16] if b"<" in text else b""
    return height, width


@contextmanager
def _readable(source: Source) -> Iterator[None]:
    """Turn what the reading libraries raise into ``DatasetError``; a panic of Rust code is none of Python's exceptions."""
    from python_calamine import CalamineError

    try:
        yield
    except (CalamineError, ValueError, RuntimeError, NotImplementedError, OverflowError, *DAMAGE) as error:
        raise DatasetError(f"{source}: not a workbook that can be read ({type(error).__name__})") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise DatasetError(f"{source}: not a workbook that can be read ({type(error).__name__})") from None

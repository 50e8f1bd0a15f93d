"""Spreadsheets: the values that a sheet shows, by column name; damage and bombs are one error."""

from __future__ import annotations

import contextlib
import datetime
import functools
import io
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthfm.errors import DatasetError
from healthfm.formats import spreadsheet
from healthfm.formats.source import Source


def book(path: Path, **sheets: list[list[Any]]) -> Source:
    """Write a workbook with these sheets, in order."""
    made = openpyxl.Workbook()
    made.remove(made.active)  # type: ignore[arg-type]
    for name, lines in sheets.items():
        sheet = made.create_sheet(name)
        for line in lines:
            sheet.append(line)
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(path)
    return Source(path)


def test_rows_are_numbered_as_the_sheet_numbers_them(tmp_path: Path) -> None:
    source = book(
        tmp_path / "a.xlsx",
        One=[[" id ", "text", None], ["007", "发热", "no name"], [None, None, None], [8, 1.5, None]],
    )
    found = list(spreadsheet.rows(source))
    assert [(row.number, dict(row)) for row in found] == [
        (2, {"id": "007", "text": "发热"}),
        (4, {"id": 8, "text": 1.5}),
    ]
    with pytest.raises(DatasetError, match=r"a.xlsx, row 2: no 'absent' \(it has: id, text\)"):
        _ = found[0]["absent"]


def test_a_sheet_is_named_and_names_may_stand_lower(tmp_path: Path) -> None:
    source = book(tmp_path / "a.xlsx", One=[["x"]], Two=[["title"], [None], ["a", "b"], [1, 2]])
    assert spreadsheet.sheets(source) == ["One", "Two"]
    assert [dict(r) for r in spreadsheet.rows(source, "Two", header=3)] == [{"a": 1, "b": 2}]
    assert spreadsheet.cells(source, "Two")[1] == ["", ""]  # an empty line is a line
    with pytest.raises(DatasetError, match=r"no sheet 'Three' \(it has: One, Two\)"):
        list(spreadsheet.rows(source, "Three"))
    with pytest.raises(DatasetError, match="the sheet has 1 lines, its column names should be in line 2"):
        list(spreadsheet.rows(source, "One", header=2))


def test_a_sheet_that_begins_lower_keeps_its_numbers(tmp_path: Path) -> None:
    source = book(tmp_path / "a.xlsx", One=[[], [], [None, "a"], [None, "x"]])
    assert [(row.number, dict(row)) for row in spreadsheet.rows(source, header=3)] == [(4, {"a": "x"})]


def test_dates_and_truth_are_values(tmp_path: Path) -> None:
    source = book(tmp_path / "a.xlsx", One=[["d", "t", "n"], [datetime.date(2020, 1, 2), True, 3.0]])
    assert dict(next(spreadsheet.rows(source))) == {"d": "2020-01-02", "t": True, "n": 3}


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="a"):
        list(spreadsheet.rows(book(tmp_path / "a.xlsx", One=[["a", "a"], [1, 2]])))


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    source = book(tmp_path / "a.xlsx", One=[["a"], [1]])
    with zipfile.ZipFile(source.path, "a", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/media/big.bin", b"\0" * (90 << 20))
    with pytest.raises(DatasetError, match="unpacks to over 1000 times its size"):
        list(spreadsheet.rows(source))


def test_one_cell_far_out_reserves_no_memory(tmp_path: Path) -> None:
    made = openpyxl.Workbook()
    made.active["A1"], made.active["XFD1048576"] = "a", "b"  # type: ignore[index]
    made.save(tmp_path / "a.xlsx")
    with pytest.raises(DatasetError, match="a sheet of over 50,000,000 cells"):
        list(spreadsheet.rows(Source(tmp_path / "a.xlsx")))


@pytest.mark.parametrize("data", [b"", b"id,text\n1,2\n", b"PK\x03\x04rest", b"\xd0\xcf\x11\xe0" + b"\0" * 600])
def test_what_is_no_workbook_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.xlsx").write_bytes(data)
    with pytest.raises(DatasetError, match=r"a\.xlsx: not a workbook that can be read"):
        list(spreadsheet.rows(Source(tmp_path / "a.xlsx")))


@functools.cache
def small() -> bytes:
    """Return a workbook, the same each time: its writer stamps it with the time."""
    made, held = openpyxl.Workbook(), io.BytesIO()
    made.active.append(["a", "b"])  # type: ignore[union-attr]
    made.save(held)
    return held.getvalue()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_change_of_a_byte_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.xlsx"
    whole = bytearray(small())
    for place in data.draw(st.lists(st.integers(0, 2000), min_size=1, max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(whole[: data.draw(st.integers(1, 4000))]))
    with contextlib.suppress(DatasetError):
        list(spreadsheet.rows(Source(path)))
    path.write_bytes(bytes(whole))
    with contextlib.suppress(DatasetError):
        list(spreadsheet.rows(Source(path)))

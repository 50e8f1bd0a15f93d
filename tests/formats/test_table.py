"""CSV, TSV, Parquet and JSON lines as rows by column name."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from healthfm.errors import DatasetError
from healthfm.formats import table
from healthfm.formats.source import Problems, Source


def write(folder: Path, name: str, content: str | bytes) -> Source:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return Source(folder / name)


def parquet(folder: Path, rows: int = 1000) -> Path:
    path = folder / "a.parquet"
    pq.write_table(pa.table({"id": list(range(rows)), "text": [f"note {n} " * 20 for n in range(rows)]}), path)
    return path


def test_cells_stay_text_so_that_leading_zeros_survive(tmp_path: Path) -> None:
    rows = list(table.rows(write(tmp_path, "a.csv", 'id,value\n007,1.50\n"08","a, ""b""\nc"\n')))
    assert [dict(row) for row in rows] == [{"id": "007", "value": "1.50"}, {"id": "08", "value": 'a, "b"\nc'}]
    assert [row.number for row in rows] == [2, 4]


def test_tsv_csv_gzipped_csv_json_lines_and_parquet_give_the_same_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["1", "2"], "b": ["x,y", "z"]}), tmp_path / "a.parquet")
    sources = [
        write(tmp_path, "a.tsv", "a\tb\n1\tx,y\n2\tz\n"),
        write(tmp_path, "a.csv", '\ufeffa,b\r\n1,"x,y"\r\n2,z\r\n'),
        write(tmp_path, "a.csv.gz", gzip.compress(b'a,b\n1,"x,y"\n\n2,z\n', mtime=0)),
        write(tmp_path, "a.jsonl", '{"a": "1", "b": "x,y"}\n{"a": "2", "b": "z"}\n'),
        Source(tmp_path / "a.parquet"),
    ]
    expected = [{"a": "1", "b": "x,y"}, {"a": "2", "b": "z"}]
    assert [[dict(row) for row in table.rows(source)] for source in sources] == [expected] * 5


def test_columns_that_occur_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.csv: column names occur twice: dose, id"):
        list(table.rows(write(tmp_path, "a.csv", "id,dose,id,dose,name\n1,2,3,4,5\n")))
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["dose", "dose"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match=r"a\.parquet: column names occur twice: dose"):
        list(table.rows(Source(tmp_path / "a.parquet")))


@pytest.mark.parametrize(("cells", "count"), [("3", 1), ("3,4,5", 3)])
def test_a_ragged_row_is_an_error_and_not_filled_up(tmp_path: Path, cells: str, count: int) -> None:
    with pytest.raises(DatasetError, match=f"line 3: {count} cells, the header has 2"):
        list(table.rows(write(tmp_path, "a.csv", f"a,b\n1,2\n{cells}\n")))


def test_collecting_lists_every_bad_row_and_keeps_every_good_one(tmp_path: Path) -> None:
    content = 'a,b\n1,2\n3\n4,5\n"6"x,7\n8,9\n1,2,3\n10,11\n'
    problems = Problems("collect")
    rows = list(table.rows(Source(write(tmp_path, "a.csv", content).path, problems=problems)))
    assert [row["a"] for row in rows] == ["1", "4", "8", "10"]
    assert [str(error).split(": ")[0].rpartition("line ")[2] for error in problems.found] == ["3", "5", "7"]


def test_a_quote_that_is_never_closed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not valid CSV"):
        list(table.rows(write(tmp_path, "a.csv", 'a,b\n1,"Jane\n2,3\n')))


def test_a_cell_as_long_as_a_discharge_letter_is_read(tmp_path: Path) -> None:
    rows = list(table.rows(write(tmp_path, "a.csv", f"id,text\n1,{'long ' * 60_000}\n")))
    assert len(rows[0]["text"]) == 300_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"a,b\n1,caf\xe9\n", "not UTF-8; save it as UTF-8"),
        ("a.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 999, mtime=0)[:-12], "damaged or cut short"),
        ("a.xlsx", b"PK", "not a table healthfm reads"),
    ],
)
def test_a_file_that_is_no_table_is_an_error_that_names_it(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        list(table.rows(write(tmp_path, name, content)))
    assert name in str(caught.value)


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    assert list(table.rows(write(tmp_path, "a.csv", "a,b\n"))) == []


def test_parquet_rows_are_numbered_from_1_over_all_batches(tmp_path: Path) -> None:
    rows = list(table.rows(Source(parquet(tmp_path, 70_000))))
    assert (rows[0].number, rows[-1].number, rows[-1]["id"]) == (1, 70_000, 69_999)


def test_a_truncated_parquet_file_is_an_error(tmp_path: Path) -> None:
    path = parquet(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DatasetError, match=r"a\.parquet: not a readable Parquet file"):
        list(table.rows(Source(path)))


@pytest.mark.parametrize("part", [0.1, 0.5])
def test_a_parquet_file_with_overwritten_bytes_is_an_error(tmp_path: Path, part: float) -> None:
    path = parquet(tmp_path)
    content = bytearray(path.read_bytes())
    start = int(len(content) * part)
    content[start : start + 100] = b"\xff" * len(content[start : start + 100])
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="not a readable Parquet file"):
        list(table.rows(Source(path)))

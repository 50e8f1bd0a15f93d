"""The dialects of CSV and TSV: read in the one way they can mean, or refused with their line."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from healthfm.errors import DatasetError
from healthfm.formats import delimited, lines, table
from healthfm.formats.source import Held, Problems, Source


def read(folder: Path, name: str, content: str | bytes) -> tuple[list[dict[str, str]], list[str]]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    problems = Problems("collect")
    rows = [dict(row) for row in table.rows(Source(path, problems=problems))]
    return rows, [str(one).rpartition(f"{name}, ")[2].partition(":")[0] for one in problems.found]


def test_a_quote_in_tsv_swallows_no_line(tmp_path: Path) -> None:
    rows, problems = read(tmp_path, "a.tsv", 'id\tnote\tflu\n1\t"Cough\tyes\n2\tand fever"\tno\n3\t6" scar\tno\n')
    assert [row["note"] for row in rows] == ['"Cough', 'and fever"', '6" scar']
    assert [row["flu"] for row in rows] == ["yes", "no", "no"] and problems == []


def test_a_quoted_cell_of_tsv_may_hold_tabs_quotes_and_line_ends(tmp_path: Path) -> None:
    rows, problems = read(tmp_path, "a.tsv", 'id\tnote\n1\t"a\tb"\n2\t"say ""hm"""\n3\t"one\ntwo"\n4\tplain\n')
    assert [row["note"] for row in rows] == ["a\tb", 'say "hm"', "one\ntwo", "plain"] and problems == []


def test_an_open_quote_in_tsv_of_one_column_is_refused_with_its_line(tmp_path: Path) -> None:
    assert read(tmp_path, "a.tsv", 'note\nx\n"open\n')[1] == ["line 3"]


@pytest.mark.parametrize("second", ["2,and fever", "2,and fever, and chills"], ids=["as many cells", "numbered on"])
def test_lines_that_look_like_records_inside_a_quote_of_csv_are_refused(tmp_path: Path, second: str) -> None:
    rows, problems = read(tmp_path, "a.csv", f'id,note,flu\n1,"Cough,yes\n{second}",no\n3,well,no\n')
    assert [row["id"] for row in rows] == ["3"] and problems == ["lines 2 to 3"]


def test_prose_over_several_lines_in_a_quoted_cell_stays_one_cell(tmp_path: Path) -> None:
    note = "Cough, fever,\nno rash, no pain\n2 tablets, twice"
    rows, problems = read(tmp_path, "a.csv", f'id,note,flu\n1,"{note}",no\n2,"{note}",yes\n')
    assert [row["note"] for row in rows] == [note, note] and problems == []


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ('a,b\n1,"Jane\n2,3\n', ["lines 2 to 3"]),
        ('a,b\n1,"a \\"b\\" c"\n2,3\n', ["line 2"]),
        ('a,b\n1, "x y"\n2,3\n', ["line 2"]),
        ("a,b\n1,2,\n2,3\n", ["line 2"]),
        ("a,b\n1\n2,3\n", ["line 2"]),
        ("a,b,\n1,2,\n2,3,lost\n", ["line 3"]),
        ("a,b\n1,x\0\n2,3\n", ["line 2"]),
        ("a,b\n1,caf\xe9\n2,3\n".encode("latin-1"), ["line 2"]),
    ],
    ids=[
        "never closed",
        "backslash",
        "blank before",
        "trailing comma",
        "a cell fewer",
        "unnamed column",
        "NUL",
        "latin-1",
    ],
)
def test_what_cannot_be_told_is_refused_with_its_line(tmp_path: Path, content: str | bytes, lines: list[str]) -> None:
    assert read(tmp_path, "a.csv", content)[1] == lines


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id;note\n1;a, b\n2;c\n"),
        ("a.csv", "sep=;\nid;note\n1;a, b\n2;c\n"),
        ("a.csv", "id\tnote\n1\ta, b\n2\tc\n"),
        ("a.tsv", 'id,note\n1,"a, b"\n2,c\n'),
        ("a.csv", '\ufeffid,note\r1,"a, b"\r2,c\r'),
        ("a.csv", '\n id , note \r\n1,"a, b"\r\n,\r\n\r\n2,c\r\n'),
        ("a.csv", 'id,note\n1,"a, b"\n2,c\n'.encode("utf-16")),
        ("a.csv", 'id,note,,\n1,"a, b",,\n2,c,,\n'),
    ],
    ids=["semicolons", "sep=", "tabs", "commas", "CR and mark", "blanks", "UTF-16", "empty columns"],
)
def test_dialects_that_can_mean_one_thing_only_are_understood(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert read(tmp_path, name, content) == ([{"id": "1", "note": "a, b"}, {"id": "2", "note": "c"}], [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# made by hand\nid,note\n1,a\n", "line 1: begins with #"),
        ("id;a;b,c\n1;2;3,4\n", "line 1: both commas and semicolons"),
        ("id,note\n".encode("utf-16-le"), "line 1: holds a NUL"),
        ("id,note, note\n", "column names occur twice: note"),
    ],
)
def test_a_header_that_cannot_be_told_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, "a.csv", content)


MARKED = {"UTF-8": "utf-8", "UTF-16, little": "utf-16-le", "UTF-16, big": "utf-16-be"}


@pytest.mark.parametrize("marks", ["\ufeff", "\ufeff\ufeff", "\ufeff\u200b"], ids=["one", "two", "and no width"])
@pytest.mark.parametrize("quoted", [False, True], ids=["bare", "quoted"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz"])
@pytest.mark.parametrize("coding", MARKED)
def test_a_mark_at_the_beginning_is_no_part_of_the_first_name(
    tmp_path: Path, coding: str, name: str, quoted: bool, marks: str
) -> None:
    """A program that reads a file as it is and marks it again when it saves leaves two."""
    first, tab = ('"id"' if quoted else "id"), "\t" if name == "a.tsv" else ","
    content = f"{marks}{first}{tab}note\n1{tab}a\n".encode(MARKED[coding])
    assert read(tmp_path, name, gzip.compress(content) if name.endswith("gz") else content) == ([{"id": "1", "note": "a"}], [])  # fmt: skip


def test_a_mark_before_a_blank_line_or_a_note_on_what_comes_is_no_part_of_a_name(tmp_path: Path) -> None:
    for head in ("\ufeff\n", "\ufeff\n\ufeff", "\ufeffsep=,\n", "\ufeff\ufeffsep=,\n"):
        assert read(tmp_path, "a.csv", f"{head}id,note\n1,a\n") == ([{"id": "1", "note": "a"}], [])


def test_a_mark_that_stands_in_the_name_of_a_column_of_any_table_is_no_part_of_it(tmp_path: Path) -> None:
    """A table that was made from a file whose mark was read as text."""
    rows = [{"\ufeffid": 1, "note\u200b": "a"}]
    assert read(tmp_path, "a.jsonl", json.dumps(rows[0]) + "\n") == ([{"id": 1, "note": "a"}], [])
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "made.parquet")
    assert read(tmp_path, "a.parquet", (tmp_path / "made.parquet").read_bytes()) == ([{"id": 1, "note": "a"}], [])
    with pytest.raises(DatasetError, match="column names occur twice: id"):
        read(tmp_path, "a.jsonl", '{"\\ufeffid": 1, "id": 2}\n')


def test_row_numbers_that_pandas_writes_are_kept_without_a_name(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", ",note\n0,a\n")[0] == [{"": "0", "note": "a"}]


def test_a_quoted_cell_may_hold_a_blank_and_a_quoted_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,text\n1," ""All of it."""\n2," ""On two\nlines."" "\n')
    assert [row["text"] for row in table.rows(Source(path))] == [' "All of it."', ' "On two\nlines." ']
    path.write_text('id,text\n1, "All of it."\n')  # here the quotes may be the cell's own
    with pytest.raises(DatasetError, match="a blank stands before a quoted cell"):
        list(table.rows(Source(path)))


def test_names_of_json_columns_have_no_blanks_around(tmp_path: Path) -> None:
    assert read(tmp_path, "a.jsonl", '{"id": 0, " note ": "a"}\n')[0] == [{"id": 0, "note": "a"}]


def test_a_key_that_a_json_line_has_twice_is_a_problem_of_that_line(tmp_path: Path) -> None:
    rows, problems = read(tmp_path, "a.jsonl", '{"id": 1, "x": 1, "x": 2}\n{"id": 2, "x": 3}\n')
    assert rows == [{"id": 2, "x": 3}] and problems == ["line 1"]


# Files without a header, and of other encodings --------------------------------------------------------------------------


def test_named_columns_make_the_first_line_a_record(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,"b, c"\n\n1,2\n', encoding="utf-8")
    source = Source(tmp_path / "t.csv")
    assert [dict(row) for row in delimited.rows(source, ",", names=("x", "y"))] == [
        {"x": "a", "y": "b, c"},
        {"x": "1", "y": "2"},
    ]
    (tmp_path / "t.csv").write_text("a,b\n1,2,3\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="line 2: 3 cells, its columns are 2"):
        list(delimited.rows(source, ",", names=("x", "y")))


def test_another_encoding_is_the_readers_to_name_and_a_byte_that_is_none_of_it_is_marked(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("名,值\n痛,㙓\n".encode("gb18030") + b"a\xff,b\n")
    source = Source(tmp_path / "t.csv")
    assert [dict(row) for row in delimited.rows(source, ",", encoding="gb18030")] == [
        {"名": "痛", "值": "㙓"},
        {"名": "a\ufffd", "值": "b"},
    ]
    with pytest.raises(DatasetError, match="not UTF-8"):
        list(delimited.rows(source, ","))


def test_columns_without_a_name_at_the_end_may_be_left_out_of_a_row_and_no_others(tmp_path: Path) -> None:
    """As in a table whose header ends in commas that its rows have not."""
    rows, problems = read(tmp_path, "a.csv", "id,x,,,\n1,2\n3,4,,,\n5\n6,7,,,8\n")
    assert rows == [{"id": "1", "x": "2"}, {"id": "3", "x": "4"}] and problems == ["line 4", "line 5"]


@pytest.mark.parametrize("delimiter", [",", "\t"], ids=["csv", "tsv"])
def test_plain_lines_are_read_as_the_careful_way_reads_them(
    delimiter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(0)
    monkeypatch.setattr(lines, "BLOCK", 46)  # some lines: those behind the first are looked at all at once
    texts = [
        "a,b,c\n".replace(",", delimiter).encode() + b"".join(draw.choices(PIECES, [one * draw.random() ** 4 for one in WEIGHTS], k=draw.randrange(40))).replace(b",", delimiter.encode())
        for _ in range(200)
    ]  # fmt: skip

    texts.append(b'a,b,c\n1,"one\ntwo",z\n3,x,y\n1,"one\ntwo",z\n3,x,y\n1,"one\ntwo",z\n3,x,y\n1,"one\ntwo",z\n3,x,y\n'.replace(b",", delimiter.encode()))  # fmt: skip

    def found(data: bytes) -> tuple[list[tuple[object, dict[str, str]]], list[str]]:
        (tmp_path / "a").write_bytes(data)
        problems = Problems("collect")
        rows = [(row.number, dict(row)) for row in delimited.rows(Source(tmp_path / "a", problems=problems), delimiter)]
        return rows, list(map(str, problems.found))

    quick = [found(data) for data in texts]
    assert sum(len(rows) for rows, _ in quick) > 100 and sum(len(problems) for _, problems in quick) > 100
    monkeypatch.setattr(delimited, "_plain_rows", lambda *_: iter(()))
    assert quick == [found(data) for data in texts]


PIECES = (
    b"x",
    b",",
    b'"',
    b"\n",
    b" ",
    b"\r\n",
    "é".encode(),
    b"\xff",
    b"\0",
    b",y,z\n",
    b'"q",',
    b',"a ""b"""\n',
    b'"one\ntwo"',
    b"\r",
    b'"a, b","c ""d"", e",f\n',
    b' "a",b,c\n',
    b'a, "b",c\n',
    b",,\n",
)
WEIGHTS = (9, 9, 4, 6, 3, 2, 1, 0.3, 0.3, 8, 5, 3, 1, 0.3, 9, 2, 2, 2)


ODD = ("", '1,"x, y",z', '1,"x\ny",z', '1, "x",z', '1,"x', ",,", "a\0,b,c", "\udcff,b,c", "a,b", "a,b,c,d")


def drawn(draw: random.Random) -> tuple[list[str], str]:
    """Return some lines, most of them of three plain cells, and what ends them."""
    cells = [
        draw.choices("ab1 é痛㙓\xa0\x0b\x0c\x1c\x85\u2028\u3000", k=draw.randrange(4))
        for _ in range(3 * draw.randrange(30))
    ]
    plain = [",".join(map("".join, cells[at : at + 3])) for at in range(0, len(cells), 3)]
    odd = draw.random() ** 6
    return [draw.choice(ODD) if draw.random() < odd else line for line in plain], draw.choice(
        ["\n", "\r\n", "\r", "\n\r"]
    )


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
def test_lines_cut_all_at_once_are_read_as_the_careful_way_reads_them(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends a line, wherever a part of the file ends, whatever else Python would end a line at; the numbers of rows and problems too."""
    quick, draw, seen = delimited._plain_rows, random.Random(0), list[tuple[int, int]]()
    for _ in range(150):
        held, end = drawn(draw)
        promised, mark = draw.choice([(",", ","), (",", "|"), ("\t", "\t")])
        text = (end.join(["a,b,c", *held]) + draw.choice(["", end])).replace(",", mark)
        raw = text.encode(encoding, "surrogateescape" if encoding == "utf-8" else "replace")
        monkeypatch.setattr(lines, "BLOCK", draw.choice([1, 40, 1 << 14]))

        def found(raw: bytes = raw, promised: str = promised) -> tuple[list[object], list[str]]:
            problems = Problems("collect")
            source = Held(Path("t"), None, problems, raw)
            rows = delimited.rows(source, promised, encoding=encoding)
            return [(row.number, list(row.items()), row.source is source) for row in rows], [*map(str, problems.found)]

        monkeypatch.setattr(delimited, "_plain_rows", lambda *_: iter(()))
        careful = found()
        monkeypatch.setattr(delimited, "_plain_rows", quick)
        assert found() == careful
        seen.append((len(careful[0]), len(careful[1])))
    assert sum(rows > 5 and not problems for rows, problems in seen) > 30
    assert sum(rows > 0 and problems > 0 for rows, problems in seen) > 30


def test_what_is_gbk_is_the_same_text_in_gb18030() -> None:
    """GB18030 is decoded as GBK where it can be, which is quicker."""
    for pair in (bytes([one, two]) for one in range(128, 256) for two in range(256)):
        try:
            text = pair.decode("gbk")
        except UnicodeDecodeError:
            continue
        assert text == pair.decode("gb18030")

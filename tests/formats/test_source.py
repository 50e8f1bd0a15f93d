"""Sources: plain, packed and gzipped files read alike; errors say where and never repeat a value."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import random
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from healthfm.errors import BadValue, DatasetError
from healthfm.formats import archive
from healthfm.formats.source import Problems, Row, Source, lines

SECRET = "Jane Roe, born 1950"


def row(problems: Problems | None = None) -> Row:
    return Row({"name": SECRET, "age": "x"}, Source(Path("visits.csv"), problems=problems or Problems()), 7)


def test_plain_gzipped_and_archived_files_give_the_same_lines(tmp_path: Path) -> None:
    text = "eins\nzwei – drei\n\nvier"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("in/a.txt", text)
        packed.writestr("in/a.txt.gz", gzip.compress(text.encode()))
    sources = [
        Source(tmp_path / "a.txt"), Source(tmp_path / "a.txt.gz"),
        Source(tmp_path / "a.zip", "in/a.txt"), Source(tmp_path / "a.zip", "in/a.txt.gz"),
    ]  # fmt: skip
    expected = [(1, "eins\n"), (2, "zwei – drei\n"), (3, "\n"), (4, "vier")]
    assert [list(lines(source)) for source in sources] == [expected] * 4
    assert {source.name for source in sources} == {"a.txt"}


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\ntwo\n")
    assert [text for _, text in lines(Source(tmp_path / "a.txt"))] == ["one\n", "two\n"]


def test_a_line_separator_inside_a_string_does_not_end_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\u2028b\u0085c\nd\n", encoding="utf-8")
    assert [number for number, _ in lines(Source(tmp_path / "a.txt"))] == [1, 2]


def test_bytes_that_are_not_utf_8_are_reported_at_their_own_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\ncaf\xe9\nfour\n")
    with pytest.raises(DatasetError, match=r"a\.txt, line 3: not UTF-8"):
        list(lines(Source(tmp_path / "a.txt")))


def test_collecting_keeps_every_line_around_the_one_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ncaf\xe9\nthree\n")
    problems = Problems("collect")
    assert [text for _, text in lines(Source(tmp_path / "a.txt", problems=problems))] == ["one\n", "three\n"]
    assert [str(error) for error in problems.found] == [f"{tmp_path / 'a.txt'}, line 2: not UTF-8"]


def test_a_gzip_file_that_was_cut_short_is_an_error_after_its_last_line(tmp_path: Path) -> None:
    whole = gzip.compress("".join(f"{n}\n" for n in random.Random(0).sample(range(10**9), 5000)).encode())
    (tmp_path / "a.gz").write_bytes(whole[: len(whole) // 2])
    met = []
    with pytest.raises(DatasetError, match=r"a\.gz, after line \d+: the file is damaged or cut short") as caught:
        for number, _ in lines(Source(tmp_path / "a.gz")):
            met.append(number)
    assert met
    assert f"after line {met[-1]}:" in str(caught.value)


@pytest.mark.parametrize("where", [0, 200, -6])
def test_a_gzip_file_with_a_changed_byte_is_an_error(tmp_path: Path, where: int) -> None:
    whole = bytearray(gzip.compress(random.Random(0).randbytes(5000).hex().encode()))
    whole[where] ^= 0xFF
    (tmp_path / "a.gz").write_bytes(whole)
    with pytest.raises(DatasetError, match="damaged or cut short"):
        list(lines(Source(tmp_path / "a.gz")))


def test_an_absent_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.txt: cannot be opened: No such file"):
        Source(tmp_path / "gone.txt").open()


def test_a_missing_key_names_file_row_and_the_keys_there_but_no_value() -> None:
    with pytest.raises(DatasetError) as caught:
        row()["dose"]
    assert str(caught.value) == "visits.csv, row 7: no 'dose' (it has: name, age)"


def test_an_error_inside_a_row_is_located_and_hides_the_value() -> None:
    with pytest.raises(DatasetError) as caught, row() as one:
        int(one["name"])
    assert str(caught.value) == "visits.csv, row 7: cannot be read: ValueError"
    assert SECRET not in str(caught.value)


def test_the_reason_of_our_own_refusals_is_told() -> None:
    with pytest.raises(DatasetError, match=r"row 7: cannot be read: the dose is negative"), row():
        raise BadValue("the dose is negative")


def test_collecting_notes_the_row_and_goes_on() -> None:
    problems = Problems("collect")
    with row(problems) as one:
        one["dose"]
    with row(problems) as one:
        float(one["age"])
    assert [str(error) for error in problems.found] == [
        "visits.csv, row 7: no 'dose' (it has: name, age)", "visits.csv, row 7: cannot be read: ValueError",
    ]  # fmt: skip


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, MemoryError, ZeroDivisionError])
def test_errors_that_are_not_of_the_row_pass_through_even_when_collecting(fatal: type[BaseException]) -> None:
    with pytest.raises(fatal), row(Problems("collect")):
        raise fatal


# Packed streams and encodings -----------------------------------------------------------------------------------------


def zst(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as packed:
        packed.write(data)
    return out.getvalue().to_pybytes()


PACK = {".gz": gzip.compress, ".zst": zst, ".bz2": bz2.compress}
TEXT = "".join(f"{n} – zeile\n" for n in range(3000))


@pytest.mark.parametrize("end", PACK)
def test_a_packed_stream_reads_as_the_file_alone_and_in_an_archive_also_of_several_frames(
    tmp_path: Path, end: str
) -> None:
    data, cut = TEXT.encode(), TEXT.encode().index(b"1500")
    packed = PACK[end](data[:cut]) + PACK[end](data[cut:])
    (tmp_path / f"a.txt{end}").write_bytes(packed)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr(f"in/a.txt{end}", packed)
    for source in (Source(tmp_path / f"a.txt{end}"), Source(tmp_path / "a.zip", f"in/a.txt{end}")):
        assert "".join(text for _, text in lines(source)) == TEXT and source.name == "a.txt"
        with source.open() as handle:  # readers of tables and images go back and forth
            assert handle.seek(0, 2) == len(data) and handle.seek(7) == 7 and handle.read(5) == data[7:12]
            assert handle.seek(-9, 2) == len(data) - 9 and handle.read() == data[-9:]


@pytest.mark.parametrize("end", PACK)
@pytest.mark.parametrize("inside", [True, False])
def test_a_packed_stream_that_is_cut_or_a_bomb_is_refused(
    tmp_path: Path, end: str, inside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "SMALL", 1 << 20)

    def source(packed: bytes) -> Source:
        if not inside:
            (tmp_path / f"a.txt{end}").write_bytes(packed)
            return Source(tmp_path / f"a.txt{end}")
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
            made.writestr(f"a.txt{end}", packed)
        return Source(tmp_path / "a.zip", f"a.txt{end}")

    whole = PACK[end](random.Random(0).randbytes(40_000).hex().encode())
    with pytest.raises(DatasetError, match="damaged or cut short"):
        list(lines(source(whole[: len(whole) // 2])))
    with pytest.raises(DatasetError, match="unpacks to over 1000 times its size"):
        for _ in iter(functools.partial(source(PACK[end](b"\0" * (9 << 20))).open().read, 1 << 20), b""):
            pass


def test_a_table_and_json_lines_are_read_packed_in_any_way(tmp_path: Path) -> None:
    from healthfm.formats import jsonl, table

    for end, pack in PACK.items():
        (tmp_path / f"a.csv{end}").write_bytes(pack(b"id,n\n1,x\n"))
        (tmp_path / f"a.jsonl{end}").write_bytes(pack(b'{"id": 1}\n'))
        assert [dict(one) for one in table.rows(Source(tmp_path / f"a.csv{end}"))] == [{"id": "1", "n": "x"}]
        assert [dict(one) for one in jsonl.rows(Source(tmp_path / f"a.jsonl{end}"))] == [{"id": 1}]
        out = io.BytesIO()
        pq.write_table(pa.table({"id": [1, 2]}), out)
        (tmp_path / f"a.parquet{end}").write_bytes(pack(out.getvalue()))
        assert [one["id"] for one in table.rows(Source(tmp_path / f"a.parquet{end}"))] == [1, 2]


def test_an_encoding_is_read_as_its_owner_says_and_told_by_its_name(tmp_path: Path) -> None:
    from healthfm.formats import jsonl

    (tmp_path / "a.jsonl").write_bytes('{"病": "头痛"}\n{"病": "发热"}\n'.encode("gb18030") + b'{"x": "\xff"}\n')
    problems = Problems("collect")
    found = list(jsonl.rows(Source(tmp_path / "a.jsonl", problems=problems), encoding="gb18030"))
    assert [dict(one) for one in found] == [{"病": "头痛"}, {"病": "发热"}]
    assert [str(one).partition(", ")[2] for one in problems.found] == ["line 3: not GB18030"]
    for encoding, said in (("gb9999", "no text encoding 'gb9999'"), ("utf-16", "not read by lines")):
        with pytest.raises(DatasetError, match=said):
            list(lines(Source(tmp_path / "a.jsonl"), encoding))
    with pytest.raises(DatasetError, match="no text encoding"):
        Source(tmp_path / "a.jsonl").text("gb9999")

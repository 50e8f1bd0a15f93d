"""Sources: plain, packed and gzipped files read alike; errors say where and never repeat a value."""

from __future__ import annotations

import gzip
import random
import zipfile
from pathlib import Path

import pytest

from healthfm.errors import BadValue, DatasetError
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

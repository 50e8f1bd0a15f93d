"""CSV by columns: text as it stands, bounded, and damage by name."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from healthfm.errors import DatasetError
from healthfm.formats import batches
from healthfm.formats.source import Problems, Source


def rows(path: Path, problems: Problems | None = None, block: int = batches.BLOCK) -> list[dict[str, str | None]]:
    return [
        row for one in batches.batches(Source(path, problems=problems or Problems()), block) for row in one.to_pylist()
    ]


@pytest.mark.parametrize("packed", [True, False])
def test_cells_stay_the_text_they_are(tmp_path: Path, packed: bool) -> None:
    raw = '\ufeffID, Value \n007,1.50\n8,"a ""q"", and\nmore"\n\n,x\n9,\n'.encode()
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(raw) if packed else raw)
    assert rows(path) == [
        {"id": "007", "value": "1.50"}, {"id": "8", "value": 'a "q", and\nmore'}, {"id": None, "value": "x"}, {"id": "9", "value": None},
    ]  # fmt: skip


def test_tabs_are_told_by_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\tb\n1,5\t2\n")
    assert rows(tmp_path / "t.csv") == [{"a": "1,5", "b": "2"}]


def test_a_file_comes_in_batches(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{i},x\n" for i in range(5000)))
    found = list(batches.batches(Source(tmp_path / "t.csv"), block=1000))
    assert len(found) > 10 and [row["a"] for one in found for row in one.to_pylist()] == [str(i) for i in range(5000)]


def test_a_header_alone_is_no_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n")
    assert rows(tmp_path / "t.csv") == []


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "empty"), (b"a,a\n1,2\n", "twice"), (b"a,b\n\xff,1\n", "UTF-8"), (b"a,b\n1,2,\xff\n3,4\n", "UTF-8"), (b"a,b\n1,\xc3", "UTF-8"), (b"a,b\n1,2,3\n1,2\n", "1 rows have not the header's 2 cells"),
        (b'a,b\n1,"2\n3,4\n', "never closed"), (b'a,b\n1,2\n"\n3,4\n', "never closed|cells"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_without_a_value(tmp_path: Path, raw: bytes, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(raw)
    with pytest.raises(DatasetError, match=rf"t\.csv: .*({said})"):
        rows(tmp_path / "t.csv")


def test_of_a_file_that_is_collected_the_good_rows_come(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2,3\n4,5\n")
    problems = Problems("collect")
    assert rows(tmp_path / "t.csv", problems) == [{"a": "4", "b": "5"}] and len(problems.found) == 1


def test_a_packed_file_that_is_cut_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"a,b\n" + b"1,2\n" * 100_000)
    (tmp_path / "t.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="cut short"):
        rows(tmp_path / "t.csv.gz")


WHOLE = b"subject_id,itemid,value\n" + b"".join(b'%d,%d,"a ""b"", c"\n' % (i, i % 7) for i in range(200))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.one_of(
    st.binary(max_size=300), st.integers(0, len(WHOLE)).map(lambda n: WHOLE[:n]),
    st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)).map(lambda at: WHOLE[: at[0]] + bytes([at[1]]) + WHOLE[at[0] + 1 :]),
    st.sampled_from(["utf-16", "utf-16-le", "utf-32"]).map(lambda name: WHOLE.decode().encode(name)),
), packed=st.booleans(), cut=st.booleans())  # fmt: skip
def test_whatever_the_bytes_are_it_is_rows_or_a_dataset_error(
    tmp_path: Path, raw: bytes, packed: bool, cut: bool
) -> None:
    data = gzip.compress(raw) if packed else raw
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(data[: len(data) // 2] if cut else data)
    try:
        found = rows(path)
    except DatasetError:
        return
    assert all(isinstance(value, str | None) for row in found for value in row.values())


def test_a_row_may_be_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    """Of many lines too: a note; a batch is as large as its longest row needs."""
    notes = ["a, b\n" * 200, "c" * 900, 'she said ""no""\n' * 100, "d"]
    (tmp_path / "t.csv").write_text("id,note\n" + "".join(f'{n},"{note}"\n' for n, note in enumerate(notes)))
    assert [row["note"] for row in rows(tmp_path / "t.csv", block=64)] == [note.replace('""', '"') for note in notes]

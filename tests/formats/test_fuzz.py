"""Whatever a file holds, reading it ends in records or in one of our errors: never a crash, a hang, a flood of memory, or a silent loss."""

from __future__ import annotations

import gzip
import json
import pickle
import pkgutil
import tempfile
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import healthfm.formats
from healthfm.errors import DatasetError, HealthfmError
from healthfm.formats import archive, conll, jsonl, pubtator, table, xml
from healthfm.formats.npz import Arrays
from healthfm.formats.source import Problems, Source
from tests.formats.broken import CONLL, FORMATS, PUBTATOR, SPOIL, good, spoilt

NO_BYTES = {
    "notices",
    "walk",
    "packed",
    "wfdb_record",
    "lines",
    "mapped",
}  # modules that read no file, or (those from packed on) for others: through archive, two files at once, for delimited


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", range(len(FORMATS)), ids=lambda n: f"{FORMATS[n].module}-{FORMATS[n].name}")
def test_a_spoilt_file_is_read_or_refused_in_one_line(number: int) -> None:
    one = FORMATS[number]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / one.name

        def read(data: bytes) -> None:
            path.write_bytes(data)
            try:
                one.read(path)
            except HealthfmError as error:
                assert "\n" not in str(error) and str(error)

        @settings(max_examples=one.examples, suppress_health_check=list(HealthCheck), database=None)
        @given(SPOIL)
        def spoil(changes: list[tuple[str, float, int]]) -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(spoilt(good(number), changes))

        path.write_bytes(good(number))
        one.read(path)  # the good file is read
        read(b"")
        spoil()


def test_every_module_of_formats_is_broken_here() -> None:
    there = {module.name for module in pkgutil.iter_modules(healthfm.formats.__path__)}
    assert there - {one.module for one in FORMATS} - NO_BYTES == set(), (
        "add a good file of it to tests/formats/broken.py"
    )


# Nothing is lost in silence ------------------------------------------------------------------------------------------


@settings(max_examples=60, suppress_health_check=list(HealthCheck), database=None)
@given(SPOIL)
def test_every_line_of_json_lines_is_a_row_or_a_problem(changes: list[tuple[str, float, int]]) -> None:
    data = spoilt(
        "".join(json.dumps({"id": n, "text": f"ä{n}"}, ensure_ascii=False) + "\n" for n in range(8)).encode(), changes
    )
    with tempfile.TemporaryDirectory() as folder:
        path, problems = Path(folder) / "a.jsonl", Problems("collect")
        path.write_bytes(data)
        rows = list(jsonl.rows(Source(path, problems=problems)))
    full = sum(bool(line.strip(b" \t\r\n\x0b\x0c")) for line in data.split(b"\n"))
    assert len(rows) + len(problems.found) >= full - sum(
        not line.decode("utf-8", "ignore").strip() for line in data.split(b"\n") if line.strip(b" \t\r\n\x0b\x0c")
    )


@pytest.mark.parametrize(("module", "text"), [(pubtator.documents, PUBTATOR), (conll.sentences, CONLL)])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8"])
def test_a_block_with_a_line_that_is_not_utf_8_is_no_block_less(
    module: Any, text: str, encoding: str, tmp_path: Path
) -> None:
    data = (
        text.encode(encoding)
        if encoding == "utf-16"
        else text.encode().replace(b"flu.", b"fl\xfc.").replace(b"Grippe", b"Gr\xfc\xdfe")
    )
    (tmp_path / "a.txt").write_bytes(data)
    problems = Problems("collect")
    list(module(Source(tmp_path / "a.txt", problems=problems)))
    assert problems.found
    with pytest.raises(DatasetError):
        list(module(Source(tmp_path / "a.txt")))


# Files that mean harm -------------------------------------------------------------------------------------------------


class Harm:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def test_no_pickle_calls_anything(tmp_path: Path) -> None:
    mark = tmp_path / "called"
    np.savez(tmp_path / "a.npz", x=np.array([Harm(mark)], dtype=object))
    with pytest.raises(DatasetError, match="needs pickle; refused"):
        dict(Arrays(Source(tmp_path / "a.npz")))
    for name in ("a.npy", "a.csv", "a.jsonl", "a.parquet", "a.xml", "a.zip", "a.png"):
        (tmp_path / name).write_bytes(pickle.dumps(Harm(mark)))
        for one in FORMATS:
            if Path(one.name).suffix == Path(name).suffix:
                try:
                    one.read(tmp_path / name)
                except HealthfmError:
                    continue
    assert not mark.exists()


ENTITIES = {
    "billion laughs": '<!DOCTYPE s [<!ENTITY a "ha">' + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)) + "]><s><doc>&j;</doc></s>",
    "a file of this machine": '<!DOCTYPE s [<!ENTITY f SYSTEM "file:///etc/passwd">]><s><doc>&f;</doc></s>',
    "in an attribute": '<!DOCTYPE s [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><s><doc id="&b;">x</doc></s>',
    "from outside": '<!DOCTYPE s SYSTEM "http://127.0.0.1:9/x.dtd"><s><doc>&gone;</doc></s>',
    "a parameter": '<!DOCTYPE s [<!ENTITY % p SYSTEM "file:///etc/hostname">%p;]><s><doc>x</doc></s>',
}  # fmt: skip


@pytest.mark.parametrize("text", ENTITIES.values(), ids=ENTITIES)
def test_entities_bring_nothing_in(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text)
    tracemalloc.start()
    try:
        found = "".join(
            "".join(one.itertext()) + str(dict(one.attrib))
            for _, one in xml.elements(Source(tmp_path / "a.xml"), "doc")
        )
    except DatasetError:
        found = ""
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) < 1000 and "root:" not in found and peak < 32 << 20


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..\\x", "a\\..\\..\\x"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_path_that_leaves_the_archive_is_refused(name: str, kind: str, tmp_path: Path) -> None:
    import io
    import tarfile

    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr(name, "x")
    else:
        with tarfile.open(path, "w") as tar:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    for read in (lambda: list(archive.members(path)), lambda: archive.unpack(path, tmp_path / "out")):
        with pytest.raises(DatasetError, match="leaves the archive"):
            read()


def test_a_table_of_text_that_unpacks_to_too_much_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "SMALL", 1 << 18)
    monkeypatch.setattr(archive, "MAX_RATIO", 100)
    bomb = gzip.compress(b"id\n" + b"0" * (4 << 20))
    (tmp_path / "a.csv.gz").write_bytes(bomb)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.csv", b"id\n" + b"0" * (4 << 20))
        packed.writestr("b.csv.gz", bomb)
    for source in (
        Source(tmp_path / "a.csv.gz"),
        Source(tmp_path / "a.zip", "a.csv"),
        Source(tmp_path / "a.zip", "b.csv.gz"),
    ):
        tracemalloc.start()
        with pytest.raises(DatasetError, match="unpacks to over 100 times its size"):
            for _ in table.rows(source):
                pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16 << 20


def deep(kind: str) -> str:
    return {
        "jsonl": "[" * 100_000,
        "json": '{"a":' * 100_000,
        "digits": '{"a": ' + "9" * 10_000 + "}",
        "xml": "<a>" * 100_000,
        "column": "a," * 100_000,
    }[kind]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("jsonl", "a.jsonl"), ("json", "a.json"), ("digits", "a.jsonl"), ("xml", "a.xml"), ("column", "a.csv")],
)
def test_nesting_and_numbers_without_end_are_refused(kind: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(deep(kind))
    for one in FORMATS:
        if one.name == name:
            try:
                rows, problems = one.read(tmp_path / name)
            except HealthfmError:
                continue
            assert problems and not rows


@settings(max_examples=30, suppress_health_check=list(HealthCheck), database=None)
@given(st.binary(max_size=400))
def test_bytes_of_any_kind_are_no_crash_whatever_the_name_says(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for one in FORMATS:
            if one.module in (
                "jsonl",
                "delimited",
                "table",
                "pubtator",
                "conll",
                "xml",
                "source",
                "archive",
                "npz",
                "tf_variables",
                "image",
            ):
                path = Path(folder) / one.name
                path.write_bytes(data)
                try:
                    one.read(path)
                except HealthfmError as error:
                    assert "\n" not in str(error)

"""Pickles: plain data comes out, nothing is ever called, damage is an error."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthfm.errors import DatasetError
from healthfm.formats import pickled
from healthfm.formats.source import Source

VALUE = [{"a": "发热", "b": [1, 2.5, None, True], "c": ("x", b"y")}, {1, 2}, frozenset({"z"}), OrderedDict(k=1), 2**80]


def of(tmp_path: Path, data: bytes) -> Source:
    (tmp_path / "x.pk").write_bytes(data)
    return Source(tmp_path / "x.pk")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_of_every_protocol_is_read(tmp_path: Path, protocol: int) -> None:
    older = [
        {"a": "发热", "b": [1, 2.5, None, True]},
        ("x", "y"),
        2**80,
    ]  # bytes and sets are a function's work in these
    value = VALUE if protocol >= 3 else older
    assert pickled.load(of(tmp_path, pickle.dumps(value, protocol))) == value


def test_text_that_python_2_wrote_is_utf_8(tmp_path: Path) -> None:
    said = "发热".encode()
    assert pickled.load(of(tmp_path, b"U" + bytes([len(said)]) + said + b".")) == "发热"


class Calls:
    """What an attacker would pickle: ``load`` of it calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.how = (function, arguments)

    def __reduce__(self) -> Any:
        return self.how


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("function", [os.system, eval, getattr, bytearray, pickle.loads, os.mkdir])
def test_nothing_is_called(tmp_path: Path, protocol: int, function: Any) -> None:
    folder = tmp_path / "made"
    argument = str(folder) if function in (os.mkdir, os.system) else "1"
    data = pickle.dumps([["plain"], Calls(function, argument)], protocol)
    with pytest.raises(DatasetError, match="names a class or function, which is never run"):
        pickled.load(of(tmp_path, data))
    assert not folder.exists()


def test_a_class_of_ones_own_or_of_numpy_is_refused(tmp_path: Path) -> None:
    for value in (Path("/"), Calls(int, 1)):
        with pytest.raises(DatasetError, match="save it again as plain lists and mappings"):
            pickled.load(of(tmp_path, pickle.dumps(value)))


@pytest.mark.parametrize(
    "data",
    [
        b"", b".", b"not a pickle", b"\x80\x04]", pickle.dumps(VALUE)[:-9], b"\x80\xffN.",
        b"\x8e" + (2**40).to_bytes(8, "little") + b"x", b"\x80\x02]K\x01\x86b.", b"Paddress\n.", b"\x82\x01.",
    ],
)  # fmt: skip
def test_damage_and_absurd_sizes_are_one_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DatasetError, match="x.pk: "):
        pickled.load(of(tmp_path, data))


def test_no_memory_is_reserved_for_a_place_that_a_file_names(tmp_path: Path) -> None:
    assert pickled.load(of(tmp_path, b"\x80\x04Nr\xff\xff\xff\x7f.")) is None  # the memo's two thousand millionth


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_change_of_a_byte_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = bytearray(pickle.dumps(VALUE))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3)):
        whole[place] = data.draw(st.integers(0, 255))
    try:
        pickled.load(of(tmp_path_factory.getbasetemp(), bytes(whole)))
    except DatasetError:
        pass


def test_the_entries_of_a_list_are_numbered(tmp_path: Path) -> None:
    assert [(row.number, one) for row, one in pickled.items(of(tmp_path, pickle.dumps(["a", 2])))] == [(1, "a"), (2, 2)]
    with pytest.raises(DatasetError, match="a pickled list was expected, not a dict"):
        list(pickled.items(of(tmp_path, pickle.dumps({}))))

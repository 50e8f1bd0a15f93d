"""BioC: the same document from XML and JSON, its passages in their places."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthfm.errors import DatasetError
from healthfm.formats import bioc, xml
from healthfm.formats.source import Problems, Source

XML = """<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE collection SYSTEM "BioC.dtd"><collection><source>x</source><document><id>12</id><infon key="year">2000</infon>
<passage><infon key="type">title</infon><offset>0</offset><text>Naïve β-cells.</text></passage>
<passage><infon key="type">abstract</infon><offset>15</offset><text>Skin and nail disease.</text>
<annotation id="T1"><infon key="type">Disease</infon><location offset="15" length="4"/><location offset="29" length="7"/><text>Skin disease</text></annotation></passage>
<relation id="R1"><infon key="relation">CID</infon><node refid="T1" role="Arg1"/></relation></document></collection>"""
DOCUMENT = {
    "id": "12", "infons": {"year": 2000}, "passages": [
        {"offset": 0, "infons": {"type": "title"}, "text": "Naïve β-cells.", "annotations": [], "relations": []},
        {"offset": 15, "infons": {"type": "abstract"}, "text": "Skin and nail disease.", "relations": [], "annotations": [
            {"id": "T1", "infons": {"type": "Disease"}, "text": "Skin disease", "locations": [{"offset": 29, "length": 7}, {"offset": 15, "length": 4}]},
        ]},
    ], "relations": [{"id": "R1", "infons": {"relation": "CID"}, "nodes": [{"refid": "T1", "role": "Arg1"}]}],
}  # fmt: skip


def write(path: Path, text: str) -> Source:
    path.write_text(text, encoding="utf-8")
    return Source(path)


def test_xml_and_json_say_the_same(tmp_path: Path) -> None:
    (one,) = bioc.documents(write(tmp_path / "a.xml", XML))
    (other,) = bioc.documents(write(tmp_path / "a.json", json.dumps({"documents": [DOCUMENT]})))
    (alone,) = bioc.documents(write(tmp_path / "b.json", json.dumps(DOCUMENT)))
    assert dict(one) == dict(other) == dict(alone)
    assert one["text"] == "Naïve β-cells. Skin and nail disease."  # characters, not bytes: the abstract begins at 15
    (mention,) = one["annotations"]
    assert mention == bioc.Annotation("T1", {"type": "Disease"}, "Skin disease", ((15, 19), (29, 36)))
    assert bioc.spoken(one["text"], mention.places) == mention.text
    assert one["passages"][1] == (15, 37, {"type": "abstract"}) and one["infons"] == {"year": "2000"}
    assert one["relations"] == [bioc.Link("R1", {"relation": "CID"}, (("T1", "Arg1"),))]


def test_passages_lie_where_they_say(tmp_path: Path) -> None:
    apart = {**DOCUMENT, "passages": [{"offset": 0, "text": "A."}, {"offset": 5, "text": "B."}]}
    (one,) = bioc.documents(write(tmp_path / "a.json", json.dumps(apart)))
    assert one["text"] == "A.   B."
    sentences = {
        **DOCUMENT,
        "passages": [
            {"offset": 0, "sentences": [{"offset": 0, "text": "A."}, {"offset": 3, "text": "B.", "annotations": []}]}
        ],
    }
    (one,) = bioc.documents(write(tmp_path / "a.json", json.dumps(sentences)))
    assert one["text"] == "A. B."
    over = {**DOCUMENT, "passages": [{"offset": 0, "text": "Long."}, {"offset": 3, "text": "B."}]}
    source = Source(
        write(tmp_path / "a.json", json.dumps({"documents": [over, DOCUMENT]})).path, None, Problems("collect")
    )
    assert [row["id"] for row in bioc.documents(source)] == ["12"]
    far = {**DOCUMENT, "passages": [{"offset": 0, "text": "A."}, {"offset": 10**13, "text": "B."}]}
    with pytest.raises(DatasetError, match="row 1: cannot be read: a passage lies far behind"):
        list(bioc.documents(write(tmp_path / "b.json", json.dumps(far))))
    assert "row 1: cannot be read: a passage begins before the one above it ends" in str(source.problems.found[0])


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not well-formed XML"):
        list(bioc.documents(write(tmp_path / "a.xml", XML[:-30])))
    with pytest.raises(DatasetError, match="row 1: cannot be read"):
        list(bioc.documents(write(tmp_path / "a.json", json.dumps([1]))))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_change_of_a_byte_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["f.xml", "f.json"]))
    whole = bytearray((XML if name == "f.xml" else json.dumps(DOCUMENT)).encode())
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(bytes(whole[: data.draw(st.integers(1, len(whole)))]))
    with contextlib.suppress(DatasetError):
        list(bioc.documents(Source(path)))
    with contextlib.suppress(DatasetError):
        list(xml.stream(Source(path), "document"))

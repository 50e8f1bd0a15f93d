"""XML: read whole, with nothing of the outside world, and errors that say where and never repeat the text."""

from __future__ import annotations

from pathlib import Path

import pytest

from healthfm.errors import BadValue, DatasetError
from healthfm.formats import xml
from healthfm.formats.source import Problems, Source

BOMB = '<!DOCTYPE a [<!ENTITY x "yyyyyyyyyy"><!ENTITY z "&x;&x;&x;&x;">]><a><b>secret &z;</b></a>'


def source(folder: Path, text: str | bytes, problems: Problems | None = None) -> Source:
    path = folder / "one.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Source(path, problems=problems or Problems())


def test_text_and_attributes_are_read_by_path(tmp_path: Path) -> None:
    [(row, pair)] = xml.elements(source(tmp_path, "<a><p><q id='7'> caf&#233; &amp; <i>co</i> </q></p></a>"), "p")
    assert xml.text(pair, "q") == "café & co"
    assert xml.attribute(pair, "q", "id") == "7"
    assert row.number == 1


def test_the_declared_encoding_counts(tmp_path: Path) -> None:
    found = xml.root(source(tmp_path, '<?xml version="1.0" encoding="iso-8859-1"?><a>é</a>'.encode("iso-8859-1")))
    assert found.text == "é"


@pytest.mark.parametrize(("path", "name", "said"), [("r", None, "no r element"), ("q", "id", "no id on a q element")])
def test_what_is_absent_is_named(tmp_path: Path, path: str, name: str | None, said: str) -> None:
    element = xml.root(source(tmp_path, "<p><q>secret</q></p>"))
    with pytest.raises(BadValue, match=said):
        xml.text(element, path) if name is None else xml.attribute(element, path, name)


def test_entities_of_the_files_own_are_refused_and_not_expanded(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="entities that it defines itself"):
        xml.root(source(tmp_path, BOMB))


def test_an_external_entity_is_never_fetched(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("the secret")
    text = f'<!DOCTYPE a [<!ENTITY x SYSTEM "{(tmp_path / "secret.txt").as_uri()}">]><a>&x;</a>'
    with pytest.raises(DatasetError, match="entities"):
        xml.root(source(tmp_path, text))


def test_broken_xml_is_an_error_with_its_line_and_without_its_text(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not well-formed XML, near line 2") as caught:
        list(xml.elements(source(tmp_path, "<a>\n<b>Mrs Smith</c></a>"), "b"))
    assert "Smith" not in str(caught.value)


def test_broken_xml_is_collected_when_asked(tmp_path: Path) -> None:
    problems = Problems("collect")
    assert list(xml.elements(source(tmp_path, "<a><b>", problems), "b")) == []
    assert len(problems.found) == 1


def test_entries_are_read_one_at_a_time_and_one_inside_another_is_not_one(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_text("<r><d>1</d><p><d>inner</d></p><d>2<d>deep</d></d><d>3</d>")  # cut short
    problems = Problems("collect")
    found = [(row.number, element.text) for row, element in xml.stream(Source(path, None, problems), "d", top=True)]
    assert found == [(1, "1"), (2, "2"), (3, "3")] and "after row 3" in str(problems.found[0])


def test_an_entry_with_an_entity_of_the_files_own_is_refused_and_not_emptied(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    path = tmp_path / "x.xml"
    path.write_text(
        f'<!DOCTYPE r [<!ENTITY e SYSTEM "{secret}"><!ENTITY i "inside">]><r><d>a &e; b</d><d>c &i; d</d><d>fine &amp; well</d></r>'
    )
    problems = Problems("collect")
    assert [element.text for _, element in xml.stream(Source(path, None, problems), "d", top=True)] == ["fine & well"]
    assert len(problems.found) == 2 and "entities that its file defines itself" in str(problems.found[0])

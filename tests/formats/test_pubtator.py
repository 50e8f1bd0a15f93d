"""PubTator: offsets over title, one character, abstract; composite mentions; lines that are no layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from healthfm.errors import DatasetError
from healthfm.formats import pubtator
from healthfm.formats.source import Problems, Source

HEAD = "1|t|Gène and | pain. \n1|a|Eye and ear pain.\n"  # an accent, a bar, a blank at the title's end: all count


def write(folder: Path, text: str, problems: Problems | None = None) -> Source:
    path = folder / "a.txt"
    path.write_text(text, encoding="utf-8", newline="")
    return Source(path, problems=problems or Problems())


def test_a_document_is_its_title_one_character_and_its_abstract(tmp_path: Path) -> None:
    lines = "1\t0\t4\tGène\tGene\t-1\n1\t18\t34\tEye and ear pain\tDisease\tD1|D2\teye pain|ear pain\n1\tCID\tD3\tD1\n"
    [row] = pubtator.documents(write(tmp_path, HEAD + lines))
    assert (row["id"], row["title"], row["text"]) == ("1", "Gène and | pain. ", "Gène and | pain.  Eye and ear pain.")
    mentions, relations = pubtator.marked(row)
    assert mentions == [
        pubtator.Mention(0, 4, "Gene", (), ()),
        pubtator.Mention(18, 34, "Disease", ("D1", "D2"), ("eye pain", "ear pain")),
    ]
    assert relations == [("CID", "D3", "D1")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_documents_are_parted_by_empty_lines_and_numbered_by_their_first(tmp_path: Path, end: str) -> None:
    text = f"1|t|A{end}1|a|B{end}{end}{end}2|t|C{end}2|a|{end}"
    rows = list(pubtator.documents(write(tmp_path, text)))
    assert [(row["id"], row["text"], row.number) for row in rows] == [("1", "A B", 1), ("2", "C ", 5)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1\t1\t5\tGène\tGene\tD1", "its line 3: the text at these offsets is not the mention"),
        ("1\t0\t5\tGène\tGene\tD1", "the text at these offsets is not the mention"),
        ("1\t0\t900\tGène\tGene\tD1", "the text at these offsets is not the mention"),
        ("2\t0\t4\tGène\tGene\tD1", "its line 3 is of another document"),
        ("1\t0\t4\tGène\tGene", "neither a mention nor a relation"),
        ("1\t0\tx\tGène\tGene\tD1", "neither a mention nor a relation"),
        ("1 0 4 Gène Gene D1", "another document"),
    ],
)  # fmt: skip
def test_a_line_that_does_not_fit_is_an_error_without_its_words(tmp_path: Path, line: str, reason: str) -> None:
    [row] = pubtator.documents(write(tmp_path, HEAD + line))
    with pytest.raises(DatasetError, match=reason) as caught, row:
        pubtator.marked(row)
    assert "a.txt, row 1: cannot be read" in str(caught.value) and "Gène" not in str(caught.value)


@pytest.mark.parametrize("text", ["1|a|B\n", "1|t|A\n", "1|t|A\n2|a|B\n", "no head\n1|t|A\n1|a|B\n"])
def test_a_document_without_its_head_is_a_problem_and_the_next_is_read(tmp_path: Path, text: str) -> None:
    problems = Problems("collect")
    rows = list(pubtator.documents(write(tmp_path, text + "\n" + HEAD, problems)))
    assert [row["id"] for row in rows] == ["1"] and rows[0]["title"].startswith("Gène")
    [error] = problems.found
    assert "a.txt, row 1: no title and abstract of one id" in str(error)

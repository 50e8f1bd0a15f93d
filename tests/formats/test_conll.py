"""CoNLL columns: sentences, documents, and chunks of IOB tags as characters."""

from __future__ import annotations

from pathlib import Path

import pytest

from healthfm.errors import BadValue
from healthfm.formats import conll
from healthfm.formats.source import Problems, Source


def write(folder: Path, text: str, problems: Problems | None = None) -> Source:
    path = folder / "a.txt"
    path.write_text(text, encoding="utf-8", newline="")
    return Source(path, problems=problems or Problems())


def test_a_mark_of_a_document_is_no_sentence_and_a_last_sentence_needs_no_empty_line(tmp_path: Path) -> None:
    text = "-DOCSTART- (77)\n\na NN O\nb NN B-X\n\n\n\nc NN O\n\n-DOCSTART- (78)\n\nd NN O"
    rows = list(conll.sentences(write(tmp_path, text)))
    assert [(r["tokens"], r["tags"], r["document"], r["documents"], r.number) for r in rows] == [
        (["a", "b"], ["O", "B-X"], "77", 1, 3), (["c"], ["O"], "77", 1, 8), (["d"], ["O"], "78", 2, 12),
    ]  # fmt: skip


def test_documents_without_ids_and_none_at_all(tmp_path: Path) -> None:
    marked = list(conll.sentences(write(tmp_path, "-DOCSTART-\tO\n\na\tO\n\n-DOCSTART-\tO\n\nb\tO\n")))
    assert [(r["document"], r["documents"]) for r in marked] == [(None, 1), (None, 2)]
    [plain] = conll.sentences(write(tmp_path, "a\tO\r\nb c\tB-X\r\n"))
    assert (plain["tokens"], plain["document"], plain["documents"]) == (["a", "b c"], None, 0)


@pytest.mark.parametrize("line", ["b", "b\tNN\tO", "\tO"])
def test_a_line_of_other_columns_is_a_problem_of_its_sentence_alone(tmp_path: Path, line: str) -> None:
    problems = Problems("collect")
    rows = list(conll.sentences(write(tmp_path, f"a\tO\n\nSecret\tO\n{line}\n\nc\tO\n", problems)))
    assert [r["tokens"] for r in rows] == [["a"], ["c"]]
    [error] = problems.found
    assert "a.txt, row 3" in str(error) and "Secret" not in str(error)


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        (["B-X", "I-X", "O"], [(0, 5, "X")]),
        (["B-X", "B-X", "I-X"], [(0, 2, "X"), (3, 9, "X")]),  # two that touch
        (["I-X", "I-X", "O"], [(0, 5, "X")]),  # IOB1
        (["I-X", "I-Y", "I-Y"], [(0, 2, "X"), (3, 9, "Y")]),
        (["B-X", "O", "I-X"], [(0, 2, "X"), (6, 9, "X")]),
        (["O", "O", "B-a-b"], [(6, 9, "a-b")]),
        (["B", "I", "O"], [(0, 5, "")]),  # one type, and no word for it
        (["I", "B", "O"], [(0, 2, ""), (3, 5, "")]),
        (["I", "O", "I"], [(0, 2, ""), (6, 9, "")]),
        (["O", "O", "O"], []),
    ],
)
def test_chunks_are_those_of_the_conll_scorer(tags: list[str], found: list[tuple[int, int, str]]) -> None:
    assert conll.spans(["ab", "cd", "efg"], tags) == ("ab cd efg", found)


@pytest.mark.parametrize("tag", ["S-X", "E-X", "B-", "I-", "S", "o", "X", ""])
def test_a_tag_of_another_scheme_is_refused(tag: str) -> None:
    with pytest.raises(BadValue, match="not one of the IOB scheme"):
        conll.spans(["a"], [tag])

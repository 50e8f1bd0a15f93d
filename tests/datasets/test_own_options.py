"""Which columns are the options of own questions, what is in them, and which one an answer means."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError


def asked(folder: Path, *rows: dict[str, Any], **columns: str) -> list[tuple[dict[str, str], Any]]:
    """Return the options and the answer of each question that can be read; what is wrong where one cannot."""
    path = folder / "q.jsonl"
    path.write_text("".join(json.dumps({"question": "Which?", **row}) + "\n" for row in rows))
    opened = open_dataset(path, on_error="collect", columns=columns)
    found: list[Any] = [(dict(r.options), r.answer) for r in opened]  # type: ignore[attr-defined]
    return found + [str(one).rpartition("': ")[2] for one in opened.errors]


@pytest.mark.parametrize(
    "names",
    [string.ascii_uppercase, "ABCDEFGHIJKL", "abcde", ["option_a", "option_b", "option_c"], ["opa", "opb"], ["Option 1", "Option 2", "Option 3"],
     ["choice_0", "choice_1"], [f"ending{i}" for i in range(12)], ["1", "2"]],
)  # fmt: skip
def test_columns_of_options_are_found_by_what_they_are_called(tmp_path: Path, names: list[str]) -> None:
    row = {name: f"text {name}" for name in names}
    (tmp_path / "q.csv").write_text(f"id,question,{','.join(row)},answer\n1,q,{','.join(row.values())},B\n")
    opened = open_dataset(tmp_path / "q.csv")
    (record,) = opened
    assert record.options == dict(zip(string.ascii_uppercase, row.values(), strict=False))  # type: ignore[attr-defined]
    assert record.answer == "B" and record.meta == {}  # type: ignore[attr-defined]
    plain = [f"the columns {', '.join(names)} are the options {', '.join(string.ascii_uppercase[: len(names)])}"]
    assert opened.notices == ([] if names[0] == "A" else plain)


@pytest.mark.parametrize(
    ("names", "message"),
    [("ABD", r"A, B, D look like options, but C is not among them.*options\.A=A,options\.B=B,options\.D=D"),
     (["option_b", "option_c"], "but A is not among them"), (["A", "B", "opa", "opb"], "A, B and opa, opb all look like options"),
     (["Option One", "Option Two"], "in which order"), (["answer1", "answer2"], "may be options, or accepted answers"),
     (["options", "choices"], "options and choices all look like options"), (["option1", "option3"], "but 2 is not")],
)  # fmt: skip
def test_columns_that_may_be_options_are_refused_with_the_mapping_to_write(
    tmp_path: Path, names: list[str], message: str
) -> None:
    (tmp_path / "q.csv").write_text(f"id,question,{','.join(names)},answer\n1,q,{','.join('x' for _ in names)},A\n")
    with pytest.raises(DatasetError, match=message):
        open_dataset(tmp_path / "q.csv")


@pytest.mark.parametrize(
    "options",
    [["x", "y", None], ["x", "y", float("nan"), " "], {"A": "x", "B": "y", "C": None}, {"text": ["x", "y"], "label": ["A", "B"]},
     [{"key": "A", "value": "x"}, {"key": "B", "value": "y"}], [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}], '["x", "y"]'],
)  # fmt: skip
def test_options_in_one_column_come_in_any_shape_and_what_is_missing_is_none(tmp_path: Path, options: Any) -> None:
    assert asked(tmp_path, {"options": options, "answer": "B"}) == [({"A": "x", "B": "y"}, "B")]


def test_a_parquet_map_holds_options(tmp_path: Path) -> None:
    column = pa.array([[("A", "x"), ("B", "y")]], pa.map_(pa.string(), pa.string()))
    pq.write_table(pa.table({"question": ["q"], "options": column, "answer": ["A"]}), tmp_path / "q.parquet")
    (record,) = open_dataset(tmp_path / "q.parquet")
    assert record.options == {"A": "x", "B": "y"}  # type: ignore[attr-defined]


def test_a_missing_option_keeps_its_place(tmp_path: Path) -> None:
    assert asked(tmp_path, {"options": ["x", None, "z"], "answer": "C"}, {"options": ["x", None, "z"], "answer": 0}) == [
        ({"A": "x", "C": "z"}, "C"), ({"A": "x", "C": "z"}, "A"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [({"A": {"t": 1}, "B": "y"}, "a struct where one text or number is needed"), ([["A", "x"], ["B", "y"]], "a list where one text"),
     (["x"] * 27, "27 options without keys, and 26 letters; give each a key (a mapping)"), (["x", None], "1 option(s), at least two are needed"),
     ([{"a": 1, "b": 2}] * 2, "options in structs that are not a key and a value each"), (None, "there are no options in it"),
     ({"A": "x", " A": "y"}, "two options have the same key"), ("x, y", "options are neither a mapping nor a list")],
)  # fmt: skip
def test_options_that_are_none_are_refused(tmp_path: Path, options: Any, message: str) -> None:
    (told,) = asked(tmp_path, {"options": options, "answer": "A"})
    assert str(told).startswith(message)


# Answers --------------------------------------------------------------------------------------------------------------

XYZ = {"options": ["aspirin", "heparin", "warfarin"]}


@pytest.mark.parametrize(
    ("answer", "key"),
    [("B", "B"), ("b", "B"), ("(B)", "B"), ("B.", "B"), (" B ", "B"), ("heparin", "B"), ("Heparin", "B"), (["A", "b"], ("A", "B")), ('["A", "B"]', ("A", "B")),
     (None, None), (0, "A"), (3, "C"), ([], None)],
)  # fmt: skip
def test_an_answer_is_a_key_the_text_of_an_option_or_a_number_that_can_mean_one_only(
    tmp_path: Path, answer: Any, key: Any
) -> None:
    assert asked(tmp_path, {**XYZ, "answer": answer})[0][1] == key


def test_numbers_are_counted_from_where_the_whole_table_shows(tmp_path: Path) -> None:
    def keys(*answers: int) -> list[Any]:
        return [
            one[1] for one in asked(tmp_path, *({**XYZ, "answer": one} for one in answers)) if isinstance(one, tuple)
        ]

    assert keys(1, 0, 2) == ["B", "A", "C"]
    assert keys(1, 3, 2) == ["A", "C", "B"]
    assert keys(1, 2) == []  # nothing shows it
    assert keys(0, 3, 1) == []  # it shows both


def test_a_number_that_may_mean_two_options_is_refused_with_both(tmp_path: Path) -> None:
    assert asked(tmp_path, {**XYZ, "answer": 1}) == [
        "the answer may mean A or B; give the key of the option (A, B, C), or say from where it counts (--columns answer.from0=COLUMN or "
        "answer.from1=COLUMN)"
    ]


def test_a_text_that_is_the_key_of_another_option_is_refused_where_answers_are_texts(tmp_path: Path) -> None:
    vitamins = {"options": ["B", "C", "D"]}
    assert asked(tmp_path, {**vitamins, "answer": "C"}, {**vitamins, "answer": "A"}) == [
        ({"A": "B", "B": "C", "C": "D"}, "C"), ({"A": "B", "B": "C", "C": "D"}, "A"),
    ]  # fmt: skip
    assert asked(tmp_path, {**vitamins, "answer": "D"}, {**vitamins, "answer": "C"}) == [
        ({"A": "B", "B": "C", "C": "D"}, "C"), "the answer may mean B or C; give the key of the option (A, B, C)",
    ]  # fmt: skip


def test_the_number_of_a_numbered_column_is_that_column(tmp_path: Path) -> None:
    row = {"option1": "x", "option2": "y", "option3": "z"}
    assert [one[1] for one in asked(tmp_path, *({**row, "answer": one} for one in (1, "3", "B")))] == ["A", "C", "B"]
    assert asked(tmp_path, {**row, "answer": 0}) == ["the answer is not among the options (A, B, C)"]


def test_questions_with_and_without_options_in_one_file_are_not_taken_for_free_answers(tmp_path: Path) -> None:
    found = asked(tmp_path, {"answer": "x"}, {"A": "x", "B": "y", "answer": "A"})
    assert found == [({"A": "x", "B": "y"}, "A"), "0 option(s), at least two are needed"]


def test_names_in_another_case_are_understood_and_said(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text(" ID ,Question,Context, A ,B,Answer,Patient\n0,q,c,x,y,B,p\n")
    opened = open_dataset(tmp_path / "q.csv")
    (record,) = opened
    assert (record.id, record.context, record.answer, record.patient) == ("0", "c", "B", "p")  # type: ignore[attr-defined]
    assert "the column Context is taken as context" in opened.notices
    (tmp_path / "q.csv").write_text("Question,QUESTION,answer\nq,q,x\n")
    with pytest.raises(DatasetError, match="Question and QUESTION may both be question"):
        open_dataset(tmp_path / "q.csv")


def test_two_options_of_one_text_are_noticed_with_their_rows(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("id,question,A,B,C,answer\n0,q,x,y,x,B\n1,q,x,y,z,B\n")
    opened = open_dataset(tmp_path / "q.csv")
    assert opened.summary()["notices"] == ["two options have the same text (rows 2)"]

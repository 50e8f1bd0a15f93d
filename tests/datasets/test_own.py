"""Own data: class folders, manifests and folders with a dataset.toml."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow

from healthfm import open_dataset
from healthfm.datasets.dataset import Dataset
from healthfm.errors import DatasetError
from healthfm.evaluate.protocols import make_items
from healthfm.records import QA, Document, Image, MultipleChoice

QUESTIONS = [
    {"id": "007", "question": "Which, first?", "A": "aspirin", "B": "beta blocker", "C": "", "answer": "B"},
    {"id": "08", "question": "And “then”?", "A": "more", "B": "less", "C": "none", "answer": "C"},
]


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.full((3, 4), value, np.uint8)).save(path)
    return path


def questions(opened: Dataset) -> list[tuple[str, str, dict[str, str], Any]]:
    return [(r.id, r.question, dict(r.options), r.answer) for r in opened]  # type: ignore[attr-defined]


EXPECTED = [
    ("007", "Which, first?", {"A": "aspirin", "B": "beta blocker"}, "B"),
    ("08", "And “then”?", {"A": "more", "B": "less", "C": "none"}, "C"),
]


# Manifests of questions -----------------------------------------------------------------------------------------------


def delimited(rows: list[dict[str, Any]], mark: str) -> str:
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    return "".join(mark.join(f'"{cell}"' for cell in line) + "\n" for line in lines)


@pytest.mark.parametrize("name", ["q.csv", "q.tsv", "q.csv.gz", "q.parquet", "q.jsonl"])
def test_a_manifest_without_a_mapping_is_understood_by_its_column_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "q.parquet":
        pq.write_table(pa.Table.from_pylist(QUESTIONS), path)
    elif name == "q.jsonl":
        put(path, "".join(json.dumps(row) + "\n" for row in QUESTIONS))
    else:
        text = delimited(QUESTIONS, "\t" if name == "q.tsv" else ",")
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    opened = open_dataset(path)
    assert questions(opened) == EXPECTED
    assert (opened.splits, opened.card.record, opened.card.slug) == (
        ("test",),
        "MultipleChoice",
        "q" if name != "q.csv.gz" else "q-csv",
    )


@pytest.mark.parametrize("name", ["q.csv", "q.tsv", "q.csv.gz", "q.parquet", "q.jsonl"])
@pytest.mark.parametrize("marks", ["\ufeff", "\ufeff\ufeff"], ids=["one", "two"])
def test_marks_of_byte_order_are_no_part_of_a_manifests_first_name(tmp_path: Path, marks: str, name: str) -> None:
    """In Parquet and JSON lines they stand where they were read as text from another file."""
    rows = [{f"{marks}{key}" if key == "id" else key: value for key, value in row.items()} for row in QUESTIONS]
    if name == "q.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    elif name == "q.jsonl":
        put(tmp_path / name, "".join(json.dumps(row) + "\n" for row in rows))
    else:
        content = f"{marks}{delimited(QUESTIONS, chr(9) if name == 'q.tsv' else ',')}".encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert questions(open_dataset(tmp_path / name)) == EXPECTED


@pytest.mark.parametrize(
    ("options", "mapping"),
    [
        ({"options": '{"A": "x", "B": "y"}'}, {}),
        ({"options": '["x", "y"]'}, {}),
        ({"options": {"A": "x", "B": "y", "C": None}}, {}),
        ({"options": ["x", "y"]}, {}),
        ({"A": "x", "B": "y", "C": None}, {}),
        ({"choices": ["x", "y"]}, {"options": "choices"}),
        ({"first": "x", "second": "y", "third": ""}, {"options": {"A": "first", "B": "second", "C": "third"}}),
    ],
    ids=["JSON mapping", "JSON list", "mapping", "list", "letters", "mapped list", "mapped columns"],
)
def test_options_come_as_json_lists_mappings_or_columns(
    tmp_path: Path, options: dict[str, Any], mapping: dict[str, Any]
) -> None:
    path = put(tmp_path / "q.jsonl", json.dumps({"id": "1", "question": "q", **options, "answer": "A"}) + "\n")
    assert questions(open_dataset(path, columns=mapping)) == [("1", "q", {"A": "x", "B": "y"}, "A")]


def test_columns_are_mapped_and_the_rest_goes_to_meta(tmp_path: Path) -> None:
    text = "nr,stem,case,one,two,key,who,clinic,dx,year\n001,Which?,Fever.,x,y,a,P1,north,flu,1999\n"
    mapping = {
        "id": "nr", "question": "stem", "context": "case", "options": {"a": "one", "b": "two"}, "answer": "key",
        "patient": "who", "site": "clinic", "labels": {"diagnosis": "dx"},
    }  # fmt: skip
    (record,) = open_dataset(put(tmp_path / "q.csv", text), columns=mapping)
    assert isinstance(record, MultipleChoice)
    assert (record.id, record.question, record.context, record.answer) == ("001", "Which?", "Fever.", "a")
    assert (record.patient, record.site, record.labels) == ("P1", "north", {"diagnosis": "flu"})
    assert record.meta == {"year": "1999"}


def test_several_answers_stay_several(tmp_path: Path) -> None:
    row = {"question": "q", "options": ["x", "y", "z"], "answer": ["A", "C"]}
    (record,) = open_dataset(put(tmp_path / "q.jsonl", json.dumps(row)))
    assert record.answer == ("A", "C")  # type: ignore[attr-defined]


def test_an_answer_left_empty_is_withheld(tmp_path: Path) -> None:
    (record,) = open_dataset(put(tmp_path / "q.csv", "question,A,B,answer\nq,x,y,\n"))
    assert record.answer is None  # type: ignore[attr-defined]


def test_rows_without_an_id_are_numbered(tmp_path: Path) -> None:
    opened = open_dataset(put(tmp_path / "n.csv", "text\na\nb\n"))
    assert [r.id for r in opened] == ["2", "3"]


def test_own_questions_can_be_asked_at_once(tmp_path: Path) -> None:
    opened = open_dataset(put(tmp_path / "q.csv", delimited(QUESTIONS, ",")))
    items = make_items(list(opened), opened.card.protocols[str(opened.card.default_protocol)])
    assert items[0].prompt == "Question: Which, first?\nA. aspirin\nB. beta blocker\nAnswer:"
    assert (items[0].continuations, items[0].target) == ((" A", " B"), "B")


def test_own_data_may_not_leave_the_machine(tmp_path: Path) -> None:
    card = open_dataset(put(tmp_path / "n.csv", "text\na\n")).card
    assert (card.access, card.remote_ok, card.shareable_inputs, card.shareable_outputs) == ("own", False, False, False)


# Splits and other records ---------------------------------------------------------------------------------------------


def test_a_split_column_divides_the_rows(tmp_path: Path) -> None:
    text = "id,text,split\n1,a,Train\n2,b,TEST\n3,c,val\n4,d,train\n5,e,external\n"
    opened = open_dataset(put(tmp_path / "n.csv", text))
    assert opened.splits == ("train", "validation", "test", "external")
    assert [(r.id, r.split) for r in opened["train"]] == [("1", "train"), ("4", "train")]
    assert [(r.id, r.split) for r in opened] == [
        ("1", "train"),
        ("4", "train"),
        ("3", "validation"),
        ("2", "test"),
        ("5", "external"),
    ]
    assert all("split" not in r.meta for r in opened)


def test_a_mapped_split_column_is_used_and_must_be_there(tmp_path: Path) -> None:
    path = put(tmp_path / "n.csv", "id,text,fold\n1,a,train\n2,b,test\n")
    assert open_dataset(path, columns={"split": "fold"}).splits == ("train", "test")
    with pytest.raises(DatasetError, match=r"n\.csv: no column 'flod' \(it has: id, text, fold\)"):
        open_dataset(path, columns={"split": "flod"})


def test_texts_and_open_questions_are_recognised(tmp_path: Path) -> None:
    (note,) = open_dataset(put(tmp_path / "n.csv", "text,label\nFever.,flu\n"))
    assert isinstance(note, Document) and (note.text, note.labels) == ("Fever.", {"label": "flu"})
    (one,) = open_dataset(put(tmp_path / "a.csv", "question,context,answer\nWhy?,Because.,That.\n"))
    assert isinstance(one, QA) and (one.context, one.answers) == ("Because.", ("That.",))
    row = json.dumps({"question": "Why?", "answers": ["x", "y"]})
    (several,) = open_dataset(put(tmp_path / "b.jsonl", row))
    assert isinstance(several, QA) and several.answers == ("x", "y")


def test_a_manifest_of_images_decodes_only_on_demand(tmp_path: Path) -> None:
    picture(tmp_path / "scans" / "a.png", 7)
    put(tmp_path / "scans" / "b.png", "broken")
    path = put(tmp_path / "m.csv", "id,image,label,patient\n01,scans/a.png,flu,P1\n02,scans/b.png,well,P2\n")
    good, broken = open_dataset(path)
    assert isinstance(good, Image) and (good.id, good.patient, good.labels) == ("01", "P1", {"label": "flu"})
    assert good.pixels.tolist() == [[7] * 4] * 3
    assert isinstance(broken, Image) and broken.labels == {"label": "well"}
    with pytest.raises(DatasetError, match=r"b\.png: not a readable image"):
        broken.pixels  # noqa: B018


# Mistakes in manifests ------------------------------------------------------------------------------------------------


def test_a_mapping_to_a_field_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "n.csv", "text,who\na,P1\n")
    with pytest.raises(DatasetError, match=r"no field is called pateint \(fields: id, .*patient"):
        open_dataset(path, columns={"pateint": "who"})


@pytest.mark.parametrize("field", ["id", "patient", "text"])
def test_a_mapping_to_a_column_that_does_not_exist_names_it(tmp_path: Path, field: str) -> None:
    path = put(tmp_path / "n.csv", "text,who\nJane Roe,P1\n")
    with pytest.raises(DatasetError, match=r"n\.csv: no column 'wohl' \(it has: text, who\)") as caught:
        list(open_dataset(path, columns={field: "wohl"}))
    assert "Jane" not in str(caught.value)


def test_options_mapped_to_a_column_that_does_not_exist_name_it(tmp_path: Path) -> None:
    path = put(tmp_path / "q.csv", "question,A,B\nq,x,y\n")
    with pytest.raises(DatasetError, match=r"q\.csv: no column 'choices'"):
        list(open_dataset(path, columns={"options": "choices"}))


def test_labels_need_names(tmp_path: Path) -> None:
    path = put(tmp_path / "n.csv", "text,dx\na,flu\n")
    with pytest.raises(DatasetError, match=r"labels maps label names to columns, e\.g\. labels\.diagnosis=dx"):
        open_dataset(path, columns={"labels": "dx"})


def test_a_manifest_whose_columns_say_nothing_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"which columns hold the record\? It has stem, key"):
        open_dataset(put(tmp_path / "q.csv", "stem,key\nq,A\n"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("n.csv", "", "the file is empty"),
        ("n.csv", "text\n", "no rows"),
        ("n.jsonl", "", "no rows"),
        ("n.xlsx", "PK", "not a table healthfm reads"),
        ("n.csv", "id,text,id\n1,a,2\n", "column names occur twice: id"),
    ],
)
def test_a_manifest_that_holds_nothing_to_read_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        open_dataset(put(tmp_path / name, text))


def test_collecting_lists_every_bad_row_of_a_manifest_and_keeps_every_good_one(tmp_path: Path) -> None:
    text = 'question,options,answer\nq1,"[""x"", ""y""]",A\nq2,"[""x""",A\nq3,"[""x"", ""y""]",C\nq4,"[""x"", ""y""]",B\nq5\nq6,7,A\n'
    opened = open_dataset(put(tmp_path / "q.csv", text), on_error="collect")
    assert [r.question for r in opened] == ["q1", "q4"]  # type: ignore[attr-defined]
    assert [str(e).partition("q.csv, ")[2] for e in opened.errors] == [
        'row 3: cannot be read: column \'options\': looks like a list but is no JSON; write ["a", "b"]',
        "row 4: cannot be read: column 'answer': the answer is not among the options (A, B)",
        "line 6: 1 cells, the header has 3",
        "row 7: cannot be read: column 'options': options are neither a mapping nor a list",
    ]


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no file or folder"):
        open_dataset(tmp_path / "gone.csv")


# dataset.toml ---------------------------------------------------------------------------------------------------------

TOML = """
name = "Ward questions"
summary = "Questions asked on our ward."
record = "MultipleChoice"
default_protocol = "short"

[files]
train = "train.csv"
test = "test.csv"

[columns]
question = "stem"
patient = "who"

[protocols.short]
summary = "The letter is scored."
task = "multiple-choice"
options = "letters"
follows = "the ward"
template = "{{ question }} ->"
"""


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    put(tmp_path / "ward" / "dataset.toml", TOML)
    put(tmp_path / "ward" / "train.csv", "id,stem,A,B,answer,who\n1,q1,x,y,A,P1\n2,q2,x,y,B,P2\n")
    put(tmp_path / "ward" / "test.csv", "id,stem,A,B,answer,who\n1,q3,x,y,A,P3\n")
    return tmp_path / "ward"


def test_a_folder_with_a_dataset_toml_opens_by_folder_or_file(ward: Path) -> None:
    for path in (ward, ward / "dataset.toml"):
        opened = open_dataset(path)
        assert opened.splits == ("train", "test")
        assert [(r.id, r.split, r.question, r.patient) for r in opened] == [  # type: ignore[attr-defined]
            ("1", "train", "q1", "P1"), ("2", "train", "q2", "P2"), ("1", "test", "q3", "P3"),
        ]  # fmt: skip
        assert (opened.card.name, opened.card.summary) == ("Ward questions", "Questions asked on our ward.")
        assert make_items(list(opened), opened.card.protocols["short"])[0].prompt == "q1 ->"


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("[columns]", "[colums]", "colums: Extra inputs are not permitted"),
        ('patient = "who"', 'patiant = "who"', "no field is called patiant"),
        ('"MultipleChoice"', '"MultipleChoise"', "record: Input should be"),
        ("summary = ", "summary ", "not valid TOML"),
        ('test = "test.csv"', 'test = "tests.csv"', r"no file 'tests\.csv'"),
        ('options = "letters"', 'options = "letter"', r"protocols\.short\.options: Input should be"),
        ('[files]\ntrain = "train.csv"\ntest = "test.csv"', "", r"\[files\] names no manifest"),
        ('task = "multiple-choice"\n', "", r"protocols\.short\.task: Field required"),
    ],
)
def test_a_mistake_in_a_dataset_toml_is_told_with_the_file(ward: Path, right: str, wrong: str, message: str) -> None:
    assert right in TOML
    put(ward / "dataset.toml", TOML.replace(right, wrong))
    with pytest.raises(DatasetError, match=message) as caught:
        open_dataset(ward)
    assert str(ward) in str(caught.value)


def test_a_default_protocol_that_does_not_exist_is_a_dataset_error(ward: Path) -> None:
    put(ward / "dataset.toml", TOML.replace('default_protocol = "short"', 'default_protocol = "shrot"'))
    with pytest.raises(DatasetError, match="default_protocol"):
        open_dataset(ward)


# Class folders --------------------------------------------------------------------------------------------------------


def test_class_folders_of_pictures_become_labelled_images(tmp_path: Path) -> None:
    picture(tmp_path / "polyp" / "b.png", 2)
    picture(tmp_path / "polyp" / "a.PNG", 1)
    picture(tmp_path / "normal" / "a.bmp", 3)
    (tmp_path / "polyp" / ".DS_Store").write_text("x")
    opened = open_dataset(tmp_path)
    assert [(r.id, r.split, r.labels["class"]) for r in opened] == [
        ("normal/a.bmp", "test", "normal"), ("polyp/a.PNG", "test", "polyp"), ("polyp/b.png", "test", "polyp"),
    ]  # fmt: skip
    assert [int(r.pixels[0, 0]) for r in opened] == [3, 1, 2]  # type: ignore[attr-defined]
    assert (opened.card.labels[0].kind, opened.card.labels[0].classes) == ("binary", ("normal", "polyp"))


def test_class_folders_below_split_folders_keep_their_split(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("a", "b", "c"):
            put(tmp_path / split / name / "1.txt", f"{split} {name}")
    opened = open_dataset(tmp_path)
    assert opened.splits == ("train", "validation", "test")
    assert [(r.id, r.split, r.labels["class"], r.text) for r in opened["validation"]] == [  # type: ignore[attr-defined]
        (f"val/{name}/1.txt", "validation", name, f"val {name}") for name in ("a", "b", "c")
    ]
    assert opened.card.labels[0].kind == "multi-class"


def test_two_folders_that_mean_one_split_are_refused(tmp_path: Path) -> None:
    for split in ("val", "dev"):
        for name in ("a", "b"):
            put(tmp_path / split / name / "1.txt", "x")
    with pytest.raises(DatasetError, match="two folders mean the same split: dev, val"):
        open_dataset(tmp_path)


def test_reading_the_labels_of_pictures_decodes_none(tmp_path: Path) -> None:
    for name in ("polyp", "normal"):
        put(tmp_path / name / "1.png", "broken")
    records = list(open_dataset(tmp_path))
    assert [r.labels["class"] for r in records] == ["normal", "polyp"]
    with pytest.raises(DatasetError, match=r"1\.png: not a readable image"):
        records[0].pixels  # type: ignore[attr-defined]  # noqa: B018


def test_files_that_are_not_read_are_listed_and_none_is_dropped_in_silence(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / name / "1.txt", name)
    put(tmp_path / "a" / "2.docx", "x")
    put(tmp_path / "b" / "deeper" / "3.txt", "x")
    (tmp_path / "b" / "4.txt").write_bytes(b"caf\xe9")
    opened = open_dataset(tmp_path, on_error="collect")
    assert [r.id for r in opened] == ["a/1.txt", "b/1.txt"]
    assert [str(e).partition(", row ")[2].partition(": ")[0] for e in opened.errors] == [
        "b/4.txt",
        "b/deeper",
    ]
    assert opened.passed_over == [("a/2.docx", "document")]
    with pytest.raises(DatasetError, match=r"row b/4\.txt: cannot be read: UnicodeDecodeError"):
        list(open_dataset(tmp_path))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "neither a dataset.toml nor class folders"),
        (("only/1.txt",), "neither a dataset.toml nor class folders .* found folders: only"),
        (("a/1.pdf", "b/1.pdf"), r"class folders hold \.pdf; healthfm reads"),
    ],
)
def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    for file in files:
        put(tmp_path / file, "x")
    with pytest.raises(DatasetError, match=message):
        open_dataset(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such name")
def test_a_home_relative_path_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "n.csv", "text\na\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(open_dataset(Path("~/n.csv"))) == 1

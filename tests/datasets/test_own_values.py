"""What the cells of a user's own table mean: nothing, text, numbers, lists, structs; ids, folds, labels."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from healthfm import open_dataset
from healthfm.datasets.dataset import Dataset
from healthfm.datasets.own import values as own_values
from healthfm.errors import BadValue, DatasetError
from healthfm.records import MISSING

NAN = float("nan")


def lines(path: Path, *rows: dict[str, Any], **how: Any) -> Dataset:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return open_dataset(path, **how)


def told(opened: Dataset) -> list[str]:
    """Return what is wrong with which row."""
    list(opened)
    return [str(one).rpartition(", row ")[2].replace("cannot be read: ", "") for one in opened.errors]


# Single values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, NAN, "", "  ", "\u00a0\n", Decimal("NaN")])
def test_nothing_is_nothing(value: Any) -> None:
    assert own_values.missing(value) and own_values.text(value) is None and own_values.several(value) == ()
    assert own_values.label(value, None) is MISSING


@pytest.mark.parametrize(
    ("value", "meant"),
    [(0, "0"), (0.0, "0"), (False, "False"), (1.0, "1"), (1.5, "1.5"), (Decimal("2.50"), "2.5"), (Decimal("100"), "100"), ("007", "007"),
     (datetime.date(2026, 1, 2), "2026-01-02"), (b"text", "text"), ("NA", "NA")],
)  # fmt: skip
def test_a_value_that_is_falsy_or_no_text_is_still_a_value(value: Any, meant: str) -> None:
    assert own_values.text(value) == meant
    assert own_values.label(value, None) == meant
    assert own_values.several(value) == (meant,)


@pytest.mark.parametrize("value", [float("inf"), {"a": 1}, ["a"], b"\xff\xfe", 1e17])
def test_what_is_neither_text_nor_number_is_refused(value: Any) -> None:
    with pytest.raises(BadValue):
        own_values.text(value)


@pytest.mark.parametrize(
    ("value", "answers"),
    [(["a", None, "b", NAN, "a"], ("a", "b")), ('["a", "b"]', ("a", "b")), ({"text": ["a", "a"], "answer_start": [3, 9]}, ("a",)),
     ({"text": [], "answer_start": []}, ()), ([{"text": "a", "answer_start": 3}], ("a",)), ("[sic] so", ("[sic] so",)), ([], ())],
)  # fmt: skip
def test_accepted_answers_are_read_in_the_shapes_that_hubs_have(value: Any, answers: tuple[str, ...]) -> None:
    assert own_values.several(value) == answers


@pytest.mark.parametrize("value", [{"value": "a"}, [["a"]], "['a', 'b']", "[{'a': 1}]"])
def test_answers_in_another_shape_are_refused(value: Any) -> None:
    with pytest.raises(BadValue):
        own_values.several(value)


# Through a file -------------------------------------------------------------------------------------------------------


def test_ids_folds_patients_sites_and_labels_of_zero_are_kept(tmp_path: Path) -> None:
    rows = [{"id": i, "text": "x", "patient": i, "site": i, "label": i, "fold": i} for i in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "n.parquet")
    for opened in (
        lines(tmp_path / "n.jsonl", *rows, columns={"split": "fold"}),
        open_dataset(tmp_path / "n.parquet", columns={"split": "fold"}),
    ):
        assert opened.splits == ("0", "1", "2")
        assert [(r.id, r.split, r.patient, r.site, r.labels["label"]) for r in opened] == [
            (s, s, s, s, s) for s in "012"
        ]


def test_ids_that_a_gap_made_floating_are_whole_again(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [0.0, 1.0, 2.5], "text": ["a", "b", "c"]}), tmp_path / "n.parquet")
    assert [r.id for r in open_dataset(tmp_path / "n.parquet")] == ["0", "1", "2.5"]


def test_an_id_or_a_split_left_empty_is_refused_with_its_row(tmp_path: Path) -> None:
    rows = [
        {"id": "", "text": "a", "split": "train"},
        {"id": 7, "text": "b", "split": None},
        {"id": "7", "text": "c", "split": "train"},
    ]
    assert told(lines(tmp_path / "n.jsonl", *rows, on_error="collect")) == [
        "1: the column 'id' is empty", "2: the column 'split', which says the split, is empty",
    ]  # fmt: skip


def test_one_id_as_number_and_as_text_is_one_and_both_rows_are_named(tmp_path: Path) -> None:
    opened = lines(tmp_path / "n.jsonl", {"id": 1, "text": "a"}, {"id": "1", "text": "b"}, on_error="collect")
    assert told(opened) == ["2: the id '1' occurs twice, first in row 1"]


def test_a_bad_row_is_listed_once_however_many_splits_there_are(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("id,text,split\n1,a,train\n2,b\n3,c,test\n4,d,validation\n")
    opened = open_dataset(tmp_path / "n.csv", on_error="collect")
    assert len(list(opened)) == 3 and len(opened.errors) == 1


def test_missing_labels_are_missing_and_lists_are_sets(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": one} for one in (None, NAN, " ", ["x", "y"], '["x"]', [], "flu")]
    found = [r.labels["label"] for r in lines(tmp_path / "n.jsonl", *rows)]
    assert found == [MISSING, MISSING, MISSING, {"x", "y"}, {"x"}, set(), "flu"]


def test_words_for_nothing_are_text_and_noticed_with_their_rows(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("id,text,label\n1,a,nan\n2,b,flu\n3,c,nan\n")
    opened = open_dataset(tmp_path / "n.csv")
    assert [r.labels["label"] for r in opened] == ["nan", "flu", "nan"]
    assert [one.partition(":")[0] for one in opened.summary()["notices"]] == ["the column label says 'nan' (rows 2, 4)"]


def test_passages_of_a_context_are_its_lines_and_other_structs_are_refused(tmp_path: Path) -> None:
    contexts = [{"contexts": ["One.", "Two."], "labels": ["A"]}, ["One.", None], None, {"other": 1}]
    opened = lines(
        tmp_path / "q.jsonl",
        *({"question": "q", "context": one, "answer": "a"} for one in contexts),
        on_error="collect",
    )
    assert [r.context for r in opened] == ["One.\nTwo.", "One.", ""]  # type: ignore[attr-defined]
    assert told(opened) == ["4: column 'context': a struct where one text or number is needed"]


def test_a_resolution_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.svs").write_bytes(b"")
    (tmp_path / "s.csv").write_text("id,slide,mpp\n1,s.svs,0\n2,s.svs,half\n3,gone.svs,1\n")
    assert told(open_dataset(tmp_path / "s.csv", on_error="collect")) == [
        "2: mpp is not above 0", "3: column 'mpp': no number", "4: no file 'gone.svs'",
    ]  # fmt: skip


# Classes --------------------------------------------------------------------------------------------------------------

TOML = '[files]\n"*" = "n.csv"\n[[labels]]\nname = "dx"\nkind = "{kind}"\nclasses = {classes}\n'


def declared(folder: Path, kind: str, classes: list[str], text: str) -> Dataset:
    (folder / "dataset.toml").write_text(TOML.format(kind=kind, classes=json.dumps(classes)))
    (folder / "n.csv").write_text(text, encoding="utf-8")
    return open_dataset(folder, on_error="collect")


def test_declared_classes_take_every_spelling_and_no_other_class(tmp_path: Path) -> None:
    opened = declared(
        tmp_path, "binary", ["no", "yes"], "id,text,label\n1,a,Yes\n2,b, YES\n3,c,\uff4e\uff4f\n4,d,perhaps\n5,e,\n"
    )
    assert [r.labels["dx"] for r in opened] == ["yes", "yes", "no", MISSING]
    assert told(opened) == ["5: column 'label': none of the classes of 'dx' (no, yes)"]


def test_declared_numbers_take_every_way_to_write_them(tmp_path: Path) -> None:
    opened = declared(tmp_path, "binary", ["0", "1"], "id,text,dx\n1,a,1.0\n2,b,TRUE\n3,c,0\n4,d,False\n")
    assert [r.labels["dx"] for r in opened] == ["1", "1", "0", "0"]


def test_a_declared_set_is_a_json_list_or_one_class(tmp_path: Path) -> None:
    opened = declared(tmp_path, "multi-label", ["x", "y"], 'id,text,dx\n1,a,"[""X"", ""y""]"\n2,b,x\n3,c,x|y\n4,d,[]\n')
    assert [r.labels["dx"] for r in opened] == [{"x", "y"}, {"x"}, set()]
    assert told(opened) == ["4: column 'dx': none of the classes of 'dx' (x, y)"]


def test_one_class_in_two_spellings_is_refused_over_all_splits(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("id,text,label,split\n1,a,Yes,train\n2,b,no,train\n3,c,yes,test\n4,d,yes,test\n")
    with pytest.raises(
        DatasetError, match=r"n\.csv: the label 'label': one class .*'Yes' \(1 rows\) and 'yes' \(2 rows\)"
    ):
        list(open_dataset(tmp_path / "n.csv"))
    opened = open_dataset(tmp_path / "n.csv", on_error="collect")
    assert len(list(opened)) == 4 and len(opened.errors) == 1


def test_true_and_1_are_one_class_in_two_spellings(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'1' \(1 rows\) and 'True' \(1 rows\)"):
        list(lines(tmp_path / "n.jsonl", {"text": "a", "label": True}, {"text": "b", "label": 1}))


def test_a_binary_label_never_has_three_classes(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'dx' is binary and names 3 classes"):
        declared(tmp_path, "binary", ["x", "y", "z"], "text,dx\na,x\n")
    opened = declared(tmp_path, "binary", [], "text,dx\na,x\nb,y\nc,z\n")
    list(opened)
    assert "is binary and has 3 classes" in str(opened.errors[0])


# Columns --------------------------------------------------------------------------------------------------------------


def test_columns_add_to_those_of_a_dataset_toml_and_are_refused_where_there_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text('[files]\ntest = "n.csv"\n[columns]\ntext = "body"\nid = "nr"\n')
    (tmp_path / "n.csv").write_text("nr,body,key,who\n1,a,k1,P1\n")
    (record,) = open_dataset(tmp_path, columns={"id": "key", "patient": "who"})
    assert (record.id, record.text, record.patient) == ("k1", "a", "P1")  # type: ignore[attr-defined]
    for name in ("x/1.txt", "y/1.txt"):
        (tmp_path / "folders" / name).parent.mkdir(parents=True)
        (tmp_path / "folders" / name).write_text("a")
    with pytest.raises(DatasetError, match="columns are those of a table, and this is none"):
        open_dataset(tmp_path / "folders", columns={"text": "body"})
    with pytest.raises(DatasetError, match="columns are those of a table of your own"):
        open_dataset("pubmedqa", columns={"text": "body"})

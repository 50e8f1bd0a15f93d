"""Opening, selecting, counting and converting datasets, and what happens to rows that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow

from healthfm import open_dataset
from healthfm.datasets.dataset import as_row
from healthfm.datasets.reader import dataset, reader_of, record_kind
from healthfm.errors import CardError, DatasetError
from healthfm.records import MISSING, Box, Image, MultipleChoice

FOUR_OPTIONS = "data_clean/questions/US/4_options/phrases_no_exclude_{}.jsonl"
GOOD = {
    "question": "Which drug – first?", "answer": "b", "options": {"A": "a", "B": "b"}, "meta_info": "step1", "answer_idx": "B"
}  # fmt: skip
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write lines (rows or raw text) as the official MedQA file of a split; return the root."""

    def put(*lines: Any, split: str = "test") -> Path:
        path = tmp_path / FOUR_OPTIONS.format(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines))
        return tmp_path

    return put


# Selecting ------------------------------------------------------------------------------------------------------------


def test_iteration_covers_the_present_splits_in_the_cards_order(write: Write) -> None:
    write(GOOD, GOOD, split="test")
    root = write(GOOD, split="train")
    opened = open_dataset("medqa", root=root)
    assert opened.splits == ("train", "test")
    assert [record.id for record in opened] == ["train-1", "test-1", "test-2"]
    assert (len(opened), len(opened["test"]), len(opened["train"])) == (3, 2, 1)


def test_a_split_is_selected_by_our_word_or_the_owners(write: Write) -> None:
    root = write(GOOD, split="dev")
    for opened in (
        open_dataset("medqa", root=root, split="dev"),
        open_dataset("medqa", root=root, split="validation"),
        open_dataset("medqa", root=root)["dev"],
    ):
        assert [(r.id, r.split) for r in opened] == [("validation-1", "validation")]


@pytest.mark.parametrize("split", ["train", "tset", ""])
def test_a_split_that_is_not_there_is_an_error_that_lists_those_present(write: Write, split: str) -> None:
    with pytest.raises(DatasetError, match=rf"medqa:us-4-options has no split '{split}' here \(present: test\)"):
        open_dataset("medqa", root=write(GOOD), split=split)


def test_a_dataset_can_be_iterated_again_and_sees_the_same(write: Write) -> None:
    opened = open_dataset("medqa", root=write(GOOD, GOOD))
    assert list(opened) == list(opened)


def test_variant_and_protocol_come_from_the_name(write: Write, medqa_root: Path) -> None:
    opened = open_dataset("MedQA-USMLE:us-4-options@text", root=medqa_root)
    assert (opened.name, opened.protocol) == ("medqa:us-4-options", "text")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("medqaa", "near names: .*medqa"),
        ("medqa:uk", "no variant 'uk'"),
        ("medqa@letter", "no protocol 'letter'"),
    ],
)
def test_a_misspelt_name_is_a_card_error(name: str, message: str) -> None:
    with pytest.raises(CardError, match=message):
        open_dataset(name)


def test_a_row_without_a_reader_says_so() -> None:
    with pytest.raises(DatasetError, match="s2orc: healthfm has no reader for this dataset yet"):
        open_dataset("s2orc")


def test_a_reader_cannot_be_registered_twice(medqa_root: Path) -> None:
    open_dataset("medqa", root=medqa_root)
    with pytest.raises(CardError, match="'medqa' already has a reader"):
        dataset("medqa", record=MultipleChoice)(lambda files, split: iter(()))


def test_a_reader_yields_the_record_its_card_names(medqa_root: Path, pubmedqa_root: Path) -> None:
    for name, root in (("medqa", medqa_root), ("pubmedqa", pubmedqa_root)):
        opened = open_dataset(name, root=root)
        assert record_kind(opened.card) is reader_of(opened.card).record is type(next(iter(opened)))  # type: ignore[attr-defined]


# Rows that cannot be read ---------------------------------------------------------------------------------------------


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in GOOD.items() if k != key}


BAD = [without("question"), "[1, 2]", '{"question": "cut', {**GOOD, "answer_idx": "E"}, {**GOOD, "options": "a or b"}]


def test_reading_stops_at_the_first_bad_row_unless_told_to_collect(write: Write) -> None:
    records = iter(open_dataset("medqa", root=write(GOOD, BAD[0], GOOD)))
    assert next(records).id == "test-1"
    with pytest.raises(DatasetError, match=r"phrases_no_exclude_test\.jsonl, row 2: no 'question'"):
        next(records)


def test_collecting_lists_every_bad_row_and_keeps_every_good_one(write: Write) -> None:
    mixed = [one for bad in BAD for one in (GOOD, bad)] + [GOOD]
    opened = open_dataset("medqa", root=write(*mixed), on_error="collect")
    assert [record.id for record in opened] == ["test-1", "test-3", "test-5", "test-7", "test-9", "test-11"]
    assert len(opened.errors) == len(BAD)
    where = [str(error).partition("jsonl, ")[2].partition(":")[0] for error in opened.errors]
    assert where == ["row 2", "line 4", "line 6", "row 8", "row 10"]


def test_collected_errors_are_of_the_last_pass_only(write: Write) -> None:
    opened = open_dataset("medqa", root=write(GOOD, BAD[0]), on_error="collect")
    for _ in range(2):
        list(opened)
    assert (len(opened.errors), len(opened.notices)) == (1, 1)
    assert len(opened.summary()["errors"]) == 1


def test_an_unknown_way_to_treat_errors_is_refused(medqa_root: Path) -> None:
    with pytest.raises(DatasetError, match="on_error is 'ignore'; use 'raise' or 'collect'"):
        open_dataset("medqa", root=medqa_root, on_error="ignore")  # type: ignore[arg-type]


def test_an_id_that_occurs_twice_is_an_error_or_collected(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("id,text\n1,a\n2,b\n1,c\n")
    with pytest.raises(DatasetError, match=r"notes\.csv, row 4: .*the id '1' occurs twice, first in row 2"):
        list(open_dataset(tmp_path / "notes.csv"))
    opened = open_dataset(tmp_path / "notes.csv", on_error="collect")
    assert [r.text for r in opened] == ["a", "b"]  # type: ignore[attr-defined]
    assert len(opened.errors) == 1


# Counts ---------------------------------------------------------------------------------------------------------------


def test_a_count_that_differs_from_the_card_is_reported(write: Write) -> None:
    opened = open_dataset("medqa", root=write(GOOD, GOOD))
    assert len(opened) == 2
    assert opened.notices == ["medqa:us-4-options, split test: 2 records read, the card says 1273"]


def test_an_empty_file_is_reported_by_its_count(write: Write) -> None:
    opened = open_dataset("medqa", root=write())
    assert opened.summary()["splits"] == {"test": {"records": 0, "card": 1273}}
    assert opened.notices == ["medqa:us-4-options, split test: 0 records read, the card says 1273"]


def test_the_summary_counts_labels_patients_and_absent_splits(tmp_path: Path) -> None:
    text = "id,text,label,who\n1,a,ill,p1\n2,b,well,p1\n3,c,ill,p2\n"
    (tmp_path / "notes.csv").write_text(text)
    summary = open_dataset(tmp_path / "notes.csv", columns={"patient": "who", "labels": {"state": "label"}}).summary()
    assert summary["labels"] == {"state": {"ill": 2, "well": 1}}
    assert (summary["patients"], summary["record"], summary["absent_splits"]) == (2, "Document", [])
    assert summary["splits"] == {"test": {"records": 3, "card": None}}


def test_the_summary_of_official_files_holds_them_against_the_card(medqa_root: Path) -> None:
    summary = open_dataset("medqa", root=medqa_root).summary()
    assert summary["splits"] == {"test": {"records": 1273, "card": 1273}}
    assert summary["absent_splits"] == ["train", "validation"]
    assert summary["labels"] == {"answer": {"A": 353, "B": 309, "C": 346, "D": 265}}


# Conversions ----------------------------------------------------------------------------------------------------------


def test_arrow_parquet_and_hugging_face_hold_the_same_rows(write: Write, tmp_path: Path) -> None:
    opened = open_dataset("medqa", root=write(GOOD, {**GOOD, "question": "Second, “quoted”\nquestion"}))
    table = opened.to_arrow()
    assert table.num_rows == 2
    first = table.to_pylist()[0]
    assert (first["id"], first["split"], first["question"], first["answer"]) == (
        "test-1",
        "test",
        GOOD["question"],
        "B",
    )
    assert json.loads(first["options"]) == GOOD["options"]
    assert list(json.loads(first["options"])) == ["A", "B"]
    assert json.loads(first["meta"]) == {"answer": "b", "step": "step1"}
    assert pq.read_table(opened.to_parquet(tmp_path / "out.parquet")).to_pylist() == table.to_pylist()
    assert opened.to_hf().to_list() == table.to_pylist()


def test_a_parquet_file_written_by_us_opens_as_own_data_with_the_same_questions(write: Write, tmp_path: Path) -> None:
    opened = open_dataset("medqa", root=write(GOOD, {**GOOD, "answer_idx": "A"}))
    again = open_dataset(opened.to_parquet(tmp_path / "out.parquet"), split="test")
    assert [(r.id, r.question, dict(r.options), r.answer) for r in again] == [  # type: ignore[attr-defined]
        (r.id, r.question, dict(r.options), r.answer) for r in opened  # type: ignore[attr-defined]
    ]  # fmt: skip


def test_a_dataset_without_records_cannot_be_converted(write: Write) -> None:
    with pytest.raises(DatasetError, match="no records to convert"):
        open_dataset("medqa", root=write()).to_arrow()


def test_torch_sees_the_records_themselves_and_a_loader_can_batch_them(write: Write) -> None:
    from torch.utils.data import DataLoader

    opened = open_dataset("medqa", root=write(*[GOOD] * 5))
    mapped = opened.to_torch()
    assert [mapped[i] for i in range(len(mapped))] == list(opened)  # type: ignore[arg-type]
    loader = DataLoader(mapped, batch_size=2, collate_fn=lambda records: [r.id for r in records])
    assert list(loader) == [["test-1", "test-2"], ["test-3", "test-4"], ["test-5"]]


def test_conversions_decode_no_pixels(tmp_path: Path) -> None:
    for name in ("cyst", "polyp"):
        (tmp_path / name).mkdir()
        Pillow.new("RGB", (2, 2), (9, 8, 7)).save(tmp_path / name / "a.png")
    (tmp_path / "polyp" / "b.png").write_bytes(b"broken")
    opened = open_dataset(tmp_path)
    assert opened.to_arrow().column("labels").to_pylist() == ['{"class": "cyst"}'] + ['{"class": "polyp"}'] * 2
    assert "load" not in opened.to_arrow().column_names
    mapped = opened.to_torch()
    assert mapped[0].pixels.tolist() == [[[9, 8, 7]] * 2] * 2  # type: ignore[attr-defined]
    with pytest.raises(DatasetError, match=r"b\.png: not a readable image"):
        mapped[2].pixels  # type: ignore[attr-defined]  # noqa: B018


def test_marks_sets_and_several_answers_become_plain_json() -> None:
    labels = {"a": MISSING, "b": frozenset({"y", "x"}), "c": 0.5}
    row = as_row(MultipleChoice(id="1", question="q", options={"A": "a", "B": "b"}, answer=("A", "B"), labels=labels))
    assert json.loads(row["labels"]) == {"a": "missing", "b": ["x", "y"], "c": 0.5}
    assert json.loads(row["answer"]) == ["A", "B"]
    seen = as_row(Image(id="1", load=lambda: None, boxes=(Box("polyp", (1, 2, 3, 4)),)))  # type: ignore[arg-type, return-value]
    assert seen.keys() == {"id", "split", "patient", "site", "labels", "meta", "boxes", "polygons"}
    assert json.loads(seen["boxes"]) == [{"label": "polyp", "corners": [1, 2, 3, 4]}]

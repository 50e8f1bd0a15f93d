"""Sets that were never released: what their cards ask of a user's own data is read, and what differs is named."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import PIL.Image
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.records import Conversation, Document, Image, Message, MultipleChoice, Slide
from tests.datasets import hospital
from tests.real_files import SLIDE


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def refused(name: str, root: Path, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        list(open_dataset(name, root))


@pytest.mark.evidence("gap-replay", "importer")
def test_a_rebuilt_corpus(tmp_path: Path) -> None:
    lines(
        tmp_path / "pubmed.jsonl",
        {"text": "An abstract.", "source": "s2orc", "pmid": 1},
        {"text": "Another.", "source": "s2orc"},
    )
    lines(tmp_path / "guidelines.jsonl", {"text": "A guideline.", "source": "nice"})
    found = list(open_dataset("gap-replay", tmp_path))
    assert [(one.id, one.text) for one in found if isinstance(one, Document)] == [
        ("guidelines-1", "A guideline."), ("pubmed-1", "An abstract."), ("pubmed-2", "Another."),
    ]  # fmt: skip
    assert found[1].meta == {"source": "s2orc", "pmid": 1}
    lines(tmp_path / "pubmed.jsonl", {"source": "s2orc"})
    refused("gap-replay", tmp_path, "pubmed.jsonl, row 1: no 'text'")


@pytest.mark.evidence("gatortron-ehrs", "importer")
def test_notes_of_ones_own(tmp_path: Path) -> None:
    lines(
        tmp_path / "notes.jsonl",
        {"note_id": 1, "text": "Pt stable.", "patient_id": 7},
        {"note_id": 2, "text": "No pain."},
    )
    first, second = open_dataset("gatortron-ehrs", tmp_path)
    assert isinstance(first, Document) and (first.id, first.text, first.patient, second.patient) == (
        "1",
        "Pt stable.",
        "7",
        None,
    )
    row = {
        "note_id": "5",
        "person_id": "7",
        "note_date": "2020-01-02",
        "note_class_concept_id": "44814637",
        "note_text": 'He said "ow".\n\nPlan: none',
    }
    hospital.table(tmp_path / "omop", "omop", "note", [row, {**row, "note_id": "6", "note_text": ""}])
    opened = open_dataset("gatortron-ehrs:omop", tmp_path / "omop", on_error="collect")
    [note] = opened
    assert isinstance(note, Document) and (note.id, note.patient, note.text, note.meta["note_date"]) == (
        "5",
        "7",
        row["note_text"],
        "2020-01-02",
    )
    assert "note.csv.gz, row 2: cannot be read: 'note_text' is not text" in str(opened.errors[0])


@pytest.mark.evidence("md-ehr", "importer")
def test_records_and_their_diagnoses(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "record": {"主诉": "咳嗽三天", "现病史": "无发热"}, "diagnosis": "支气管炎", "patient_id": "9"},
        {"record": "头痛", "diagnosis": "偏头痛"},
    ]
    (tmp_path / "mine.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    first, second = open_dataset("md-ehr", tmp_path)
    assert isinstance(first, Conversation) and first.turns == (
        Message("user", "主诉：咳嗽三天\n现病史：无发热"),
        Message("assistant", "支气管炎"),
    )
    assert (first.id, first.patient, second.id, second.patient) == ("a", "9", "mine-2", None)
    (tmp_path / "mine.json").write_text(json.dumps([{"record": "头痛"}]), encoding="utf-8")
    refused("md-ehr", tmp_path, "no 'diagnosis'")


def bianque(root: Path, asked: str) -> Path:
    path = root / "data" / "cMedialog_example.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, quoting=csv.QUOTE_ALL)
        writer.writerows(
            [("input", "target", "answer_choice", "type"), (asked, "多喝水。\n早睡。", "[]", "medical_qa")]
        )
    return root


@pytest.mark.evidence("bianquecorpus", "importer")
@pytest.mark.parametrize(
    "end", ["\n", "\\n"]
)  # the owners' sample writes the end of a line before 医生： as two characters
def test_turns_of_bianque_are_told_by_who_speaks(tmp_path: Path, end: str) -> None:
    asked = f"病人：头痛\n还想问：病人：怎么办？{end}医生：多久了？{end}病人：三天{end}医生："
    [one] = open_dataset("bianquecorpus", bianque(tmp_path, asked))
    assert isinstance(one, Conversation) and one.turns == (
        Message("user", "头痛\n还想问：病人：怎么办？"), Message("assistant", "多久了？"), Message("user", "三天"), Message("assistant", "多喝水。\n早睡。"),
    )  # fmt: skip
    assert one.meta == {"answer_choice": "[]", "type": "medical_qa"}


@pytest.mark.parametrize("asked", ["头痛\n医生：", "病人：头痛", "病人：头痛\n医生：多久了？"])
def test_what_is_no_turn_of_bianque_is_refused(tmp_path: Path, asked: str) -> None:
    refused("bianquecorpus", bianque(tmp_path, asked), "'input' is not turns behind")


@pytest.mark.evidence("bimed1-3m", "importer")
def test_chats_and_questions_in_two_languages(tmp_path: Path) -> None:
    lines(
        tmp_path / "rows.jsonl",
        {
            "id": 1,
            "conversations": [{"from": "human", "value": "ما هو؟"}, {"from": "gpt", "value": "دواء"}],
            "language": "ar",
        },
        {"messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A drug."}]},
        {"question": "Which?", "options": {"A": "x", "B": "y"}, "answer": "B", "language": "en"},
    )
    first, second, third = open_dataset("bimed1-3m", tmp_path)
    assert (
        isinstance(first, Conversation)
        and first.turns == (Message("user", "ما هو؟"), Message("assistant", "دواء"))
        and first.meta == {"language": "ar"}
    )
    assert isinstance(second, Conversation) and (second.id, second.turns[1].content) == ("rows-2", "A drug.")
    assert isinstance(third, MultipleChoice) and (third.options, third.answer) == ({"A": "x", "B": "y"}, "B")
    lines(tmp_path / "rows.jsonl", {"messages": [{"role": "doctor", "content": "x"}]})
    refused("bimed1-3m", tmp_path, "a turn is from none of human, gpt")


@pytest.mark.evidence("mass-100k", "importer")
def test_slides_with_the_tiles_of_clam(tmp_path: Path) -> None:
    """CLAM's layout (wsi_core/WholeSlideImage.py, process_contour): coords in level-0 pixels, patch_size and patch_level as attributes."""
    (tmp_path / "slides").mkdir()
    (tmp_path / "patches").mkdir()
    (tmp_path / "slides" / SLIDE.name).symlink_to(SLIDE)
    with h5py.File(tmp_path / "patches" / f"{SLIDE.stem}.h5", "w") as file:
        coords = file.create_dataset("coords", data=np.array([[0, 0], [256, 0], [512, 256]]))
        coords.attrs.update(patch_size=256, patch_level=0, name=SLIDE.stem)
    [one] = open_dataset("mass-100k", tmp_path)
    assert isinstance(one, Slide) and (one.id, one.meta["tile_count"]) == (SLIDE.stem, 3) and one.open().mpp > 0
    (tmp_path / "patches" / f"{SLIDE.stem}.h5").rename(tmp_path / "patches" / "another.h5")
    opened = open_dataset("mass-100k", tmp_path, on_error="collect")
    assert [record.meta["tiles"] for record in opened] == [None]
    assert "another.h5: tiles of a slide that is not here" in str(opened.errors[0])


@pytest.mark.evidence("retfound-data", "importer")
def test_a_folder_a_class(tmp_path: Path) -> None:
    for place in ("train/normal/1.png", "train/glaucoma/1.png", "test/normal/2.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (4, 3), (9, 8, 7)).save(tmp_path / place)
    opened = open_dataset("retfound-data", tmp_path)
    assert opened.splits == ("train", "test")
    found = {one.id: one for one in opened}
    assert {name: one.labels["class"] for name, one in found.items()} == {
        "train/normal/1.png": "normal", "train/glaucoma/1.png": "glaucoma", "test/normal/2.png": "normal",
    }  # fmt: skip
    one = found["test/normal/2.png"]
    assert isinstance(one, Image) and one.pixels.shape == (3, 4, 3) and one.split == "test"


def llava(root: Path, value: str, image: object = "a.png") -> Path:
    (root / "images").mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        PIL.Image.new("RGB", (4, 3)).save(root / "images" / name)
    row = {
        "id": "7",
        "image": image,
        "conversations": [{"from": "human", "value": value}, {"from": "gpt", "value": "Mitoses."}],
    }
    (root / "mine.json").write_text(json.dumps([row]))
    return root


@pytest.mark.evidence("pathchatinstruct", "importer")
def test_images_stand_where_the_turn_says(tmp_path: Path) -> None:
    [one] = open_dataset(
        "pathchatinstruct", llava(tmp_path, "<image>\nWhat is seen, beside <image>?", ["a.png", "b.png"])
    )
    assert isinstance(one, Conversation)
    first, second = one.turns
    assert [part.id if isinstance(part, Image) else part for part in first.content] == [
        "a.png",
        "What is seen, beside ",
        "b.png",
        "?",
    ]
    assert second == Message("assistant", "Mitoses.") and [picture.id for picture in one.media] == ["a.png", "b.png"]  # type: ignore[attr-defined]
    [plain] = open_dataset("pathchatinstruct", llava(tmp_path, "What is a mitosis?", None))
    assert (
        isinstance(plain, Conversation)
        and plain.turns[0] == Message("user", "What is a mitosis?")
        and plain.media == ()
    )


@pytest.mark.parametrize(
    ("value", "image", "said"),
    [
        ("No place.", "a.png", "names 1 more than <image> stands"), ("<image> <image>", "a.png", "stands more often"),
        ("<image>", "c.png", "not in images/"),
    ],
)  # fmt: skip
def test_images_that_do_not_add_up_are_refused(tmp_path: Path, value: str, image: str, said: str) -> None:
    refused("pathchatinstruct", llava(tmp_path, value, image), said)

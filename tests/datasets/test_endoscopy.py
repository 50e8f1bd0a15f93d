"""Frames and films of endoscopy and operations: boxes, masks, folds, intervals and triplets in the owners' layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.cards import catalog
from healthfm.cards.schema import DatasetCard
from healthfm.errors import DatasetError
from healthfm.records import Box, Video
from tests.datasets.drawn import film, picture, put, text

# LDPolypVideo -----------------------------------------------------------------------------------------------------------------


@pytest.mark.evidence("ldpolypvideo", "layout")
def test_ldpolyp_texts_begin_with_the_number_of_boxes(tmp_path: Path) -> None:
    """resources/LDPolypVideo.md: {TrainValid,Test}/{Images,Annotations}/VIDEO/FRAME, boxes as x1 y1 x2 y2."""
    for number, lines in (("0001", ("0",)), ("0002", ("2", "1 2 3 4", "10 20 30 40"))):
        picture(tmp_path / f"TrainValid/Images/1/{number}.jpg")
        text(tmp_path / f"TrainValid/Annotations/1/{number}.txt", *lines)
    film(tmp_path / "videos with polyps/7.avi", 2)
    film(tmp_path / "videos without polyps/8.avi", 2)
    none, two = open_dataset("ldpolypvideo", tmp_path, "train")
    assert (none.id, none.patient, none.boxes) == ("1/0001", "video 1", ())
    assert two.boxes == (Box("polyp", (1, 2, 3, 4)), Box("polyp", (10, 20, 30, 40)))
    films = list(open_dataset("ldpolypvideo:unboxed", tmp_path))
    assert [(r.id, r.labels) for r in films] == [
        ("videos with polyps/7.avi", {"has polyp": "with"}),
        ("videos without polyps/8.avi", {"has polyp": "without"}),
    ]
    assert isinstance(films[0], Video)


@pytest.mark.parametrize("lines", [("1",), ("1", "1 2 3"), ("2", "1 2 3 4"), ("1 2 3 4",), ("1", "3 2 1 4"), ()])
def test_ldpolyp_texts_that_do_not_add_up_are_named(tmp_path: Path, lines: tuple[str, ...]) -> None:
    picture(tmp_path / "Test/Images/101/0001.jpg")
    text(tmp_path / "Test/Annotations/101/0001.txt", *lines)
    text(tmp_path / "Test/Annotations/101/0002.txt", "0")
    opened = open_dataset("ldpolypvideo", tmp_path, "test", on_error="collect")
    assert list(opened) == [] and "row 101/0001.jpg: cannot be read" in str(opened.errors[0])
    assert opened.passed_over == [("101/0002", "a text of boxes without its frame")]


# SUN --------------------------------------------------------------------------------------------------------------------------

FRAME = "case_M_20181001100941_0U62372100109341_1_005_001-1_a10_ayy_image000{}.jpg"


@pytest.mark.evidence("sun", "layout")
def test_sun_cases_are_patients_and_their_texts_hold_a_line_a_frame(tmp_path: Path) -> None:
    """amed8k.sundatabase.org: case1 to case100 with annotation_txt/case1.txt, case101 to case113 without a polyp."""
    for case, number in ((1, 1), (1, 2), (101, 1)):
        picture(tmp_path / f"case{case}" / FRAME.format(number))
    text(tmp_path / "annotation_txt/case1.txt", f"{FRAME.format(1)} 10,20,30,40,0", f"{FRAME.format(2)} 1,2,3,4,0")
    one, two, without = open_dataset("sun", tmp_path)
    assert (one.patient, one.boxes, two.boxes) == (
        "case1",
        (Box("polyp", (10, 20, 30, 40)),),
        (Box("polyp", (1, 2, 3, 4)),),
    )
    assert (without.patient, without.boxes, without.labels) == ("case101", (), {"has polyp": "without"})
    picture(tmp_path / "case1" / FRAME.format(3))
    (tmp_path / "case1" / FRAME.format(1)).unlink()
    opened = open_dataset("sun", tmp_path, on_error="collect")
    assert len(list(opened)) == 2 and "no line of its text holds its box" in str(opened.errors[0])
    assert str(opened.errors[1]) == f"sun: 1 boxes of frames that are not here: case1/{FRAME.format(1)}"


def test_sun_seg_has_masks_in_other_folders(tmp_path: Path) -> None:
    """github.com/GewelsJI/VPS: {split}/Frame/CASE/*.jpg and {split}/GT/CASE/*.png."""
    picture(tmp_path / "TestEasyDataset/Seen/Frame/case1_3/image0001.jpg", size=(4, 6))
    marked = np.zeros((4, 6), np.uint8)
    marked[1, 2:5] = 255
    put(tmp_path / "TestEasyDataset/Seen/GT/case1_3/image0001.png", marked)
    put(tmp_path / "TestEasyDataset/Seen/GT/case1_3/image0002.png", marked)
    opened = open_dataset("sun:sun-seg", tmp_path)
    [record] = opened
    assert opened.splits == ("test-easy-seen",) and record.patient == "case1"
    np.testing.assert_array_equal(record.masks["polyp"](), marked == 255)
    assert opened.passed_over == [("case1_3/image0002", "a mask without its frame")]


# Kvasir-Capsule ---------------------------------------------------------------------------------------------------------------


def capsule(root: Path, *more: str) -> Path:
    for name in ("a1_20404", "a1_20405", "b2_7", "c3_1"):
        picture(root / f"labelled_images/x/{name}.jpg")
    text(
        root / "metadata.csv", "filename;video_id;frame_number;finding_category;finding_class;x1;y1;x2;y2;x3;y3;x4;y4",
        "a1_20404.jpg;a1;20404;Luminal;Erosion;10;20;30;20;30;40;10;40", "a1_20404.jpg;a1;20404;Luminal;Erosion;1;2;3;2;3;4;1;4",
        "a1_20405.jpg;a1;20405;Luminal;Normal clean mucosa;;;;;;;", "b2_7.jpg;b2;7;Anatomy;Pylorus", *more,
    )  # fmt: skip
    for fold, names in ((0, ("a1_20404", "b2_7")), (1, ("a1_20405",))):
        text(root / f"official_splits/split_{fold}.csv", "filename,label", *(f"{name}.jpg,Normal" for name in names))
    return root


@pytest.mark.evidence("kvasir-capsule", "layout")
def test_capsule_rows_without_a_box_are_cut_short_and_folds_share_videos(tmp_path: Path) -> None:
    """scripts/generate_csv_from_json.py writes 12 cells, or 5, below a header of 13; official_splits/split_0.csv names files."""
    opened = open_dataset("kvasir-capsule", capsule(tmp_path))
    boxed, normal, pylorus = opened["all"]
    assert boxed.boxes == (Box("Erosion", (10, 20, 30, 40)), Box("Erosion", (1, 2, 3, 4))) and boxed.patient == "a1"
    assert (normal.labels, normal.boxes, normal.meta["frame"]) == ({"finding_class": "Normal clean mucosa"}, (), 20405)
    assert (pylorus.labels, pylorus.meta["category"]) == ({"finding_class": "Pylorus"}, "Anatomy")
    first, second = opened["fold-0"], opened["fold-1"]
    assert [r.id for r in first] == ["a1_20404.jpg", "b2_7.jpg"] and [r.id for r in second] == ["a1_20405.jpg"]
    assert {r.patient for r in first} & {r.patient for r in second} == {
        "a1"
    } and "share seven of the 43 videos" in first.notices[0]
    assert (
        opened["all"].passed_over == []
        and ("c3_1.jpg", "a picture that no row of metadata.csv names") in first.passed_over
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("c3_1.jpg;c3;1;Luminal;Ulcer;1;2;3;4;5;6;7;8;9", "line 6|row 6.*14 cells, the header has 13"),
        ("c3_1.jpg;c3;1", "3 cells, the header has 13"),
        ("c3_1.jpg;c3;1;Luminal;Dragon;;;;;;;", "'finding_class' has a value that the card does not know"),
        ("a1_20405.jpg;a1;20405;Luminal;Ulcer;;;;;;;", "the rows of one frame name two findings"),
    ],
)
def test_capsule_rows_that_are_not_the_layout_are_named(tmp_path: Path, row: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        list(open_dataset("kvasir-capsule", capsule(tmp_path, row), "all"))


def test_capsule_films_carry_the_intervals_of_what_is_seen(tmp_path: Path) -> None:
    film(tmp_path / "labelled_videos/a1.mp4", 3)
    film(tmp_path / "unlabelled_videos/z9.mp4", 3)
    about = {
        "a1": {
            "segments": {
                "s": {"seen": [[0, 9], [20, 30]], "metadata": {"pillcam_subtype": None, "segment_type": "Pylorus"}}
            },
            "findings": {},
        }
    }
    (tmp_path / "metadata.json").write_text(json.dumps(about))
    [labelled] = open_dataset("kvasir-capsule:labelled-videos", tmp_path)
    assert labelled.meta["intervals"] == [
        {"class": "Pylorus", "first": 0, "last": 9},
        {"class": "Pylorus", "first": 20, "last": 30},
    ]
    [other] = open_dataset("kvasir-capsule:unlabelled-videos", tmp_path)
    assert other.id == "z9" and other.meta["intervals"] == []


# HyperKvasir ------------------------------------------------------------------------------------------------------------------


def hyper(root: Path) -> Path:
    top = root / "labeled-images"
    for group, folder, name in (("lower-gi-tract/pathological-findings", "polyps", "p1"), ("lower-gi-tract/quality-of-mucosal-views", "bbps-2-3", "b1"),
                                ("upper-gi-tract/anatomical-landmarks", "z-line", "z1")):  # fmt: skip
        picture(top / group / folder / f"{name}.jpg")
    text(
        top / "image-labels.csv", "Video file,Organ,Finding,Classification", "p1,Lower GI,polyps,pathological-findings"
    )
    text(
        root / "official_splits/2_fold_split.csv",
        "file-name;class-name;split-index",
        "p1.jpg;polyp;0",
        "b1.jpg;bbps-2-3;1",
        "z1.jpg;normal-z-line;1",
    )
    return root


@pytest.mark.evidence("hyperkvasir", "layout")
def test_hyperkvasir_folders_are_classes_and_the_column_video_file_names_pictures(tmp_path: Path) -> None:
    """README and official_splits/2_fold_split.csv of simula/hyper-kvasir, which calls eight classes otherwise than their folders."""
    opened = open_dataset("hyperkvasir", hyper(tmp_path))
    assert {r.id: r.labels["Finding"] for r in opened["all"]} == {
        "p1.jpg": "polyps",
        "b1.jpg": "bbps-2-3",
        "z1.jpg": "z-line",
    }
    assert [r.meta for r in opened["fold-0"]] == [
        {"group": "pathological-findings", "Organ": "Lower GI", "Finding": "polyps"}
    ]
    assert sorted(r.id for r in opened["fold-1"]) == ["b1.jpg", "z1.jpg"]
    picture(tmp_path / "labeled-images/lower-gi-tract/pathological-findings/polyps/new.jpg")
    with pytest.raises(DatasetError, match=r"new\.jpg: cannot be read: the list of folds has not this picture"):
        list(open_dataset("hyperkvasir", tmp_path, "fold-0"))


def test_hyperkvasir_masks_are_jpeg_and_boxes_are_json(tmp_path: Path) -> None:
    marked = np.zeros((16, 24), np.uint8)
    marked[4:8, 8:16] = 255
    picture(tmp_path / "segmented-images/images/p1.jpg", size=(16, 24), colour=True)
    put(tmp_path / "segmented-images/masks/p1.jpg", np.repeat(marked[..., None], 3, axis=2))
    boxes = {
        "p1": {"height": 16, "width": 24, "bbox": [{"label": "polyp", "xmin": 8, "ymin": 4, "xmax": 16, "ymax": 8}]}
    }
    (tmp_path / "segmented-images/bounding-boxes.json").write_text(json.dumps(boxes))
    [record] = open_dataset("hyperkvasir:segmented-images", tmp_path)
    assert record.boxes == (Box("polyp", (8, 4, 16, 8)),)
    np.testing.assert_array_equal(record.masks["polyp"](), marked == 255)


def test_hyperkvasir_films_and_unlabelled_pictures(tmp_path: Path) -> None:
    film(tmp_path / "labeled-videos/lower-gi-tract/pathological-findings/polyps/v1.avi", 2)
    text(
        tmp_path / "labeled-videos/video-labels.csv",
        "Video file,Organ,Finding,Classification",
        "v1,Lower GI,Polyp,pathological-findings",
        "v2,Lower GI,Polyp,x",
    )
    picture(tmp_path / "unlabeled-images/images/u1.jpg")
    opened = open_dataset("hyperkvasir:labeled-videos", tmp_path, on_error="collect")
    [record] = opened
    assert (
        record.meta["Finding"] == "Polyp"
        and record.labels == {"film": "Polyp"}
        and len(list(record.frames())) == 2
        and "no file 'v2' among the 1 here" in str(opened.errors[0])
    )
    assert [(r.id, r.labels) for r in open_dataset("hyperkvasir:unlabeled-images", tmp_path)] == [("u1.jpg", {})]


# CholecT45 --------------------------------------------------------------------------------------------------------------------

NAMES = {"triplet": ("grasper,dissect,cystic_plate", "grasper,dissect,gallbladder"), "instrument": ("grasper", "bipolar"), "verb": ("grasp", "retract"),
         "target": ("gallbladder", "cystic_plate", "liver")}  # fmt: skip


def cholec(root: Path, *videos: str) -> Path:
    top = root / "CholecT45"
    for video in videos:
        for number in range(3):
            picture(top / f"data/{video}/{number:06d}.png")
        for part, names in NAMES.items():
            text(
                top / f"{part}/{video}.txt",
                *(
                    f"{number}," + ",".join("1" if place == number else "0" for place in range(len(names)))
                    for number in range(2)
                ),
            )
    for part, names in NAMES.items():
        text(top / f"dict/{part}.txt", *(f"{number}:{name}" for number, name in enumerate(names)))
    text(top / "dict/maps.txt", "1,0,2,0,2,0")
    return root


@pytest.mark.evidence("cholect45", "layout")
def test_cholect45_columns_count_from_zero_and_folds_stand_in_the_owners_code(tmp_path: Path) -> None:
    """README of CAMMA-public/cholect45 (files, columns, dict) and dataloader_pth.py (both divisions)."""
    opened = open_dataset("cholect45", cholec(tmp_path, "VID79", "VID02", "VID31"), "fold-1", on_error="collect")
    records = list(opened)
    assert [r.id for r in records] == ["VID79/000000", "VID79/000001", "VID02/000000", "VID02/000001"]
    assert records[1].labels == {
        "triplet": {"grasper,dissect,gallbladder"},
        "instrument": {"bipolar"},
        "verb": {"retract"},
        "target": {"cystic_plate"},
    }
    assert records[0].patient == "VID79" and records[1].meta["second"] == 1.0
    assert sum("which is of split 'fold-1'" in str(e) for e in opened.errors) == 7  # the other videos of the fold
    assert [name for name, _ in opened.passed_over] == ["VID02/000002.png", "VID79/000002.png"]
    assert [r.patient for r in open_dataset("cholect45:rendezvous", tmp_path, "train", on_error="collect")] == [
        *["VID79"] * 2,
        *["VID02"] * 2,
        *["VID31"] * 2,
    ]


def test_cholect45_divisions_part_the_45_videos() -> None:
    card = catalog.card("cholect45", "dataset")
    assert isinstance(card, DatasetCard)
    videos = {split: [int(one) for one in words.split()] for split, words in card.splits.items()}
    folds = [videos[f"fold-{number}"] for number in range(1, 6)]
    crossed, paper = (
        sorted(one for fold in folds for one in fold),
        sorted(videos["train"] + videos["validation"] + videos["test"]),
    )
    assert [len(fold) for fold in folds] == [9] * 5 and len(set(crossed)) == 45 and crossed == paper
    assert not {92, 96, 103, 110, 111} & set(paper) and videos["validation"] == [8, 12, 29, 50, 78]


def test_cholect45_tables_that_are_not_the_layout_are_named(tmp_path: Path) -> None:
    top = cholec(tmp_path, "VID79") / "CholecT45"
    text(top / "verb/VID79.txt", "0,1,0", "1,2,0")
    opened = open_dataset("cholect45", tmp_path, "fold-1", on_error="collect")
    assert [r.id for r in opened] == ["VID79/000000"]
    told = " ".join(map(str, opened.errors))
    assert (
        "VID79.txt, row 2: cannot be read: 1 labels that are neither 0 nor 1" in told
        and "a frame that not all four tables have" in told
    )
    text(top / "dict/verb.txt", "1:grasp", "2:retract")
    with pytest.raises(DatasetError, match=r"verb\.txt: the labels are not numbered from 0 on"):
        list(open_dataset("cholect45", tmp_path, "fold-1"))

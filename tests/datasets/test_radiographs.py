"""Radiographs: the owners' tables, lists and boxes, and what is damaged in them."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.records import MISSING, UNCERTAIN, Box
from tests.datasets.drawn import picture, put, text
from tests.real_files import elsewhere

# ChestX-ray14 -----------------------------------------------------------------------------------------------------------------

OF_2020 = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
ROWS = ("00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.143,0.143", "00000001_001.png,Cardiomegaly|Emphysema,1,1,58,M,PA,2894,2729,0.143,0.143",
        "00000002_000.png,No Finding,0,2,80,M,AP,2500,2048,0.171,0.171")  # fmt: skip
BOXES = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


def nih(root: Path, *rows: str, side: int = 8) -> Path:
    for name in ("00000001_000", "00000001_001", "00000002_000"):
        put(root / f"images_00{name[7]}/images/{name}.png", np.full((side, side), 7, np.uint8))
    text(root / "Data_Entry_2017_v2020.csv", OF_2020, *(rows or ROWS))
    text(root / "train_val_list.txt", "00000002_000.png")
    (root / "test_list.txt").write_text("00000001_000.png\n00000001_001.png")  # whose last line has no end
    return root


@pytest.mark.evidence("chestx-ray14", "layout")
def test_nih_findings_stand_in_a_header_that_its_own_commas_break(tmp_path: Path) -> None:
    """Data_Entry_2017_v2020.csv, train_val_list.txt, test_list.txt and the folders of twelve archives."""
    opened = open_dataset("chestx-ray14", nih(tmp_path))
    [train], test = list(opened["train"]), list(opened["test"])
    assert (train.id, train.patient, train.labels) == ("00000002_000.png", "2", {"Finding Labels": frozenset()})
    assert [r.labels["Finding Labels"] for r in test] == [{"Cardiomegaly"}, {"Cardiomegaly", "Emphysema"}]
    assert test[1].meta == {"age": 58.0, "sex": "M", "view": "PA", "follow-up": "1"} and {r.patient for r in test} == {
        "1"
    }
    assert not opened["test"].passed_over and test[0].pixels.shape == (8, 8)


def test_nih_of_2017_has_ages_with_units_and_a_comma_at_the_end(tmp_path: Path) -> None:
    nih(tmp_path)
    (tmp_path / "Data_Entry_2017_v2020.csv").unlink()
    ages = (("57", "058Y"), ("58", "411Y"), ("80", "006M"))
    rows = [
        row.replace(f",{of_2020},M", f",{of_2017},M") + "," for row, (of_2020, of_2017) in zip(ROWS, ages, strict=True)
    ]
    text(tmp_path / "Data_Entry_2017.csv", f"{OF_2020},", *rows)
    opened = open_dataset("chestx-ray14", tmp_path)
    assert [r.meta["age"] for r in opened["test"]] == [58.0, None] and [r.meta["age"] for r in opened["train"]] == [0.5]
    text(tmp_path / "Data_Entry_2017_v2020.csv", OF_2020, *ROWS)
    assert [r.meta["age"] for r in open_dataset("chestx-ray14", tmp_path, "test")] == [
        57.0,
        58.0,
    ]  # the later where both lie there


@pytest.mark.parametrize("end", ["", ",,,"])
def test_nih_boxes_are_left_top_width_height_and_call_infiltration_infiltrate(tmp_path: Path, end: str) -> None:
    """BBox_List_2017.csv has nine names of columns and rows of six cells, in another copy of nine."""
    nih(tmp_path, side=1024)
    text(
        tmp_path / "BBox_List_2017.csv",
        BOXES,
        f"00000001_000.png,Infiltrate,225.5,547.25,86.5,79.0{end}",
        f"00000001_000.png,Cardiomegaly,1,2,3,4{end}",
    )
    one, two = open_dataset("chestx-ray14", tmp_path, "test")
    assert (
        one.boxes == (Box("Infiltration", (225.5, 547.25, 312.0, 626.25)), Box("Cardiomegaly", (1, 2, 4, 6)))
        and two.boxes == ()
    )


def test_nih_boxes_do_not_fit_pictures_made_smaller(tmp_path: Path) -> None:
    nih(tmp_path, side=224)
    text(tmp_path / "BBox_List_2017.csv", BOXES, "00000001_000.png,Mass,1,2,3,4")
    opened = open_dataset("chestx-ray14", tmp_path, "test", on_error="collect")
    assert [r.id for r in opened] == ["00000001_001.png"]
    assert "the picture has 224 x 224 pixels and the boxes of BBox_List_2017.csv are for 1024 x 1024" in str(
        opened.errors[0]
    )


def test_nih_rows_that_contradict_themselves_or_the_lists_are_named(tmp_path: Path) -> None:
    rows = (
        "00000001_000.png,No Finding|Mass,0,1,57,M,PA,1,1,1,1",
        "00000003_000.png,Mass,0,3,57,M,PA,1,1,1,1",
        "00000002_000.png,Phlebitis,0,2,57,M,PA,1,1,1,1",
    )
    opened = open_dataset("chestx-ray14", nih(tmp_path, *rows), on_error="collect")
    assert list(opened) == []
    told = " ".join(map(str, opened.errors))
    assert "row 2: cannot be read: 'No Finding' beside a finding" in told and "Phlebitis" not in told
    assert "row 3: cannot be read: the picture stands in both of the lists of splits, or in none" in told
    assert "row 4: cannot be read: 'Finding Labels' has a value that the card does not know" in told
    assert "test_list.txt: 1 pictures that the labels do not name: 00000001_001.png" in told
    assert [name for name, _ in opened.passed_over] == ["00000001_001.png"]


@pytest.mark.evidence("chestx-ray14", "sample", where="reference")
def test_nih_real_table_lists_boxes_and_pictures(tmp_path: Path) -> None:
    """The owners' table of 112,120 rows, 984 boxes and 25,596 names of the test list; two of the pictures, in half of their size."""
    real = elsewhere("chestxray14")
    with (real / "Sample_zero-shot_Classification_CXR14/data_sample/test.csv").open() as handle:
        test = [row["Image Index"] for row in csv.DictReader(handle)]
    with gzip.open(real / "torchxrayvision/data/Data_Entry_2017_v2020.csv.gz", "rt") as handle:
        header, *table = handle.read().splitlines()
    with gzip.open(real / "torchxrayvision/data/BBox_List_2017.csv.gz", "rt") as handle:
        boxes = handle.read().splitlines()
    assert (len(table), len(test), len(boxes)) == (112_120, 25_596, 985)
    wanted = ("00000001", "00027426")
    mine = [row for row in table if row.startswith(wanted)]
    names = {row.split(",")[0] for row in mine}
    text(tmp_path / "Data_Entry_2017_v2020.csv", header, *mine)
    text(tmp_path / "test_list.txt", *(name for name in test if name in names))
    text(tmp_path / "train_val_list.txt", *sorted(names - set(test)))
    (tmp_path / "images").mkdir()
    for file in (real / "tests").iterdir():
        (tmp_path / "images" / file.name).write_bytes(file.read_bytes())
    opened = open_dataset("chestx-ray14", tmp_path, on_error="collect")
    records = {r.id: r for r in opened}
    assert set(records) == {"00000001_000.png", "00027426_000.png"} and len(opened.errors) == len(mine) - 2
    assert records["00000001_000.png"].labels == {"Finding Labels": {"Cardiomegaly"}}
    assert records["00000001_000.png"].pixels.shape == (512, 512) and records["00000001_000.png"].meta["age"] == 57
    text(tmp_path / "BBox_List_2017.csv", *boxes)
    assert not [e for e in open_dataset("chestx-ray14", tmp_path, on_error="collect").errors if "BBox" in str(e)]


# CheXpert ---------------------------------------------------------------------------------------------------------------------

CHEXPERT = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"


def chexpert(root: Path, *more: str, folder: str = "CheXpert-v1.0-small") -> Path:
    for name in ("train/patient00001/study1/view1_frontal", "train/patient00002/study2/view1_frontal", "train/patient00002/study2/view2_lateral",
                 "valid/patient64541/study1/view1_frontal"):  # fmt: skip
        picture(root / folder / f"{name}.jpg")
    text(
        root / folder / "train.csv", CHEXPERT, f"{folder}/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0",
        f"{folder}/train/patient00002/study2/view1_frontal.jpg,Female,87,Frontal,AP,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,",
        f"{folder}/train/patient00002/study2/view2_lateral.jpg,Female,87,Lateral,,,,0.0,1.0,,,,,,,,,,", *more,
    )  # fmt: skip
    text(
        root / folder / "valid.csv",
        CHEXPERT,
        f"{folder}/valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP,0.0,1.0,1.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0",
    )
    return root


@pytest.mark.evidence("chexpert", "layout")
@pytest.mark.parametrize(("variant", "folder"), [("small", "CheXpert-v1.0-small"), ("full", "CheXpert-v1.0")])
def test_chexpert_minus_one_is_uncertain_and_nothing_is_missing(tmp_path: Path, variant: str, folder: str) -> None:
    """train.csv as torchxrayvision/data/chexpert_train.csv.gz has it, valid.csv in the same columns."""
    opened = open_dataset(f"chexpert:{variant}", chexpert(tmp_path, folder=folder))
    first, open_, lateral = opened["train"]
    assert (first.id, first.patient) == ("patient00001/study1/view1_frontal", "patient00001")
    assert first.labels["observations"] == {"No Finding", "Support Devices"}
    assert [first.labels[one] for one in ("No Finding", "Pneumothorax", "Edema")] == ["present", "absent", MISSING]
    assert [open_.labels[one] for one in ("Cardiomegaly", "Edema", "Lung Opacity", "Pneumonia")] == [
        UNCERTAIN,
        UNCERTAIN,
        "present",
        MISSING,
    ]
    assert open_.labels["observations"] is UNCERTAIN  # neither present nor absent, unless somebody says so by name
    assert lateral.labels["observations"] == {"Lung Opacity"} and lateral.labels["Cardiomegaly"] == "absent"
    assert (lateral.meta["Frontal/Lateral"], lateral.meta["AP/PA"], lateral.patient) == ("Lateral", "", "patient00002")
    [valid] = opened["validation"]
    assert valid.labels["observations"] == {"Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity"}
    assert MISSING not in valid.labels.values() and valid.patient == "patient64541"


def test_chexpert_of_2021_has_folders_that_its_paths_do_not_name(tmp_path: Path) -> None:
    root = tmp_path / "chexpertchestxrays-u20210408"
    picture(root / "CheXpert-v1.0 batch 2 (train 1)/patient00001/study1/view1_frontal.jpg")
    picture(root / "CheXpert-v1.0 batch 3 (train 2)/patient21514/study1/view1_frontal.jpg")
    end = ",Frontal,AP,0,,,1,,,,,,,-1,,,"
    text(
        root / "train_cheXbert.csv",
        CHEXPERT,
        *(f"CheXpert-v1.0/train/patient{n}/study1/view1_frontal.jpg,Male,50{end}" for n in ("00001", "21514")),
    )
    records = list(open_dataset("chexpert:u20210408", tmp_path))
    assert [r.patient for r in records] == ["patient00001", "patient21514"]
    assert [records[0].labels[one] for one in ("No Finding", "Lung Opacity", "Pleural Effusion")] == [
        "absent",
        "present",
        UNCERTAIN,
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("x/train/patient00001/study1/view1_frontal.jpg,Male,1,Lateral,,,,,,,,,,,,,,,", "its view is not that of"),
        (
            "x/train/patient00001/study1/view1.jpg,Male,1,Frontal,,,,,,,,,,,,,,,",
            "'Path' does not end in patient, study and view",
        ),
        (
            "x/train/patient00001/study1/view1_frontal.jpg,Male,1,Frontal,,2.0,,,,,,,,,,,,,",
            "'No Finding' has a value that the card does not know",
        ),
        (
            "x/train/patient00009/study1/view1_frontal.jpg,Male,1,Frontal,,1.0,,,,,,,,,,,,,",
            "no file 'patient00009/study1/view1_frontal.jpg'",
        ),
    ],
)
def test_chexpert_rows_that_are_not_the_layout_are_named(tmp_path: Path, row: str, reason: str) -> None:
    opened = open_dataset("chexpert", chexpert(tmp_path, row), "train", on_error="collect")
    assert len(list(opened)) == 3 and len(opened.errors) == 1
    assert "train.csv, row 5: cannot be read" in str(opened.errors[0]) and reason in str(opened.errors[0])


# PadChest ---------------------------------------------------------------------------------------------------------------------

PADCHEST = ("", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM", "ViewPosition_DICOM", "Projection",
            "MethodProjection", "Pediatric", "ReportID", "Report", "MethodLabel", "Labels", "Localizations", "LabelsLocalizationsBySentence", "labelCUIS", "LocalizationsCUIS")  # fmt: skip


def padchest(root: Path, *labels: str) -> Path:
    root.mkdir(exist_ok=True)
    with gzip.open(root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz", "wt", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(PADCHEST)
        for number, one in enumerate(labels):
            put(root / f"{number % 2}/21684{number}.png", np.full((4, 6), 40_000 + number, np.uint16))
            table.writerow([number, f"21684{number}.png", number % 2, "20140915", f"S{number}", f"P{number // 2}", 1930, "F", "POSTEROANTERIOR", "PA",
                            "Manual review of DICOM fields", "No", 4, "sin hallazgos patologic .", "Physician", one, "['loc right', ' loc basal']",
                            "[['normal']]", "['C0205307']", "[]"])  # fmt: skip
    return root


@pytest.mark.evidence("padchest", "layout")
def test_padchest_lists_are_pythons_with_blanks_and_none_of_them_is_no_normal_picture(tmp_path: Path) -> None:
    """torchxrayvision datasets.py, PC_Dataset: the table's name and columns, rows without Labels left out, 16 bits."""
    root = padchest(
        tmp_path,
        "['normal']",
        "['pleural effusion', ' pleural effusion', \"aortic aneurysm\", '']",
        "",
        "[]",
        "[' unchanged', 'cardiomegaly']",
    )
    records = list(open_dataset("padchest", root))
    assert [r.labels["Labels"] for r in records] == [
        {"normal"},
        {"pleural effusion", "aortic aneurysm"},
        MISSING,
        MISSING,
        UNCERTAIN,  # as in an earlier examination, which is not told
    ]
    assert [r.patient for r in records] == ["P0", "P0", "P1", "P1", "P2"] and records[0].id == "216840.png"
    assert (
        records[1].meta["localizations"] == ["loc right", "loc basal"]
        and records[0].meta["Report"] == "sin hallazgos patologic ."
    )
    assert records[3].pixels.dtype == np.uint16 and records[3].pixels.max() == 40_003  # 8 bits would clip it to 255


@pytest.mark.parametrize(
    "cell", ["__import__('os').getcwd()", "['normal'", "normal", "[1, 2]", "[" * 10_000, "{'a': 1}"]
)
def test_padchest_cells_that_are_no_list_of_names_are_refused_and_never_run(tmp_path: Path, cell: str) -> None:
    opened = open_dataset("padchest", padchest(tmp_path, "['normal']", cell), on_error="collect")
    assert len(list(opened)) == 1
    assert "row 3: cannot be read: 'Labels' is no list" in str(opened.errors[0]) and "import" not in str(
        opened.errors[0]
    )


# MURA -------------------------------------------------------------------------------------------------------------------------


def mura(root: Path, *studies: str) -> Path:
    top = root / "MURA-v1.1"
    views = ("XR_WRIST/patient11185/study1_positive/image1.png", "XR_WRIST/patient11185/study1_positive/image2.png",
             "XR_ELBOW/patient11185/study1_negative/image1.png")  # fmt: skip
    for view in views:
        picture(top / "valid" / view)
    text(top / "valid_image_paths.csv", *(f"MURA-v1.1/valid/{view}" for view in views))
    text(
        top / "valid_labeled_studies.csv",
        *(
            studies
            or (
                "MURA-v1.1/valid/XR_WRIST/patient11185/study1_positive/,1",
                "MURA-v1.1/valid/XR_ELBOW/patient11185/study1_negative/,0",
            )
        ),
    )
    return root


@pytest.mark.evidence("mura", "layout")
def test_mura_labels_examinations_and_each_view_says_which_it_belongs_to(tmp_path: Path) -> None:
    """MURA-v1.1, as read by public loaders: {split}_image_paths.csv and {split}_labeled_studies.csv without a header."""
    opened = open_dataset("mura", mura(tmp_path))
    records = list(opened)
    assert opened.splits == ("validation",) and [r.labels["abnormality"] for r in records] == [
        "positive",
        "positive",
        "negative",
    ]
    assert [r.meta["study"] for r in records] == [*["XR_WRIST/patient11185/study1"] * 2, "XR_ELBOW/patient11185/study1"]
    assert {r.patient for r in records} == {"patient11185"} and len({r.id for r in records}) == 3


def test_mura_holds_the_table_against_the_folders(tmp_path: Path) -> None:
    opened = open_dataset(
        "mura", mura(tmp_path, "MURA-v1.1/valid/XR_WRIST/patient11185/study1_positive/,0"), on_error="collect"
    )
    assert list(opened) == []
    assert [str(e).rpartition("cannot be read: ")[2] for e in opened.errors] == [
        "the examination's label is not that of its folder"
    ] * 2 + ["the examination has no label"]


def test_a_radiograph_cut_short_is_named_when_it_is_decoded(tmp_path: Path) -> None:
    mura(tmp_path)
    file = tmp_path / "MURA-v1.1/valid/XR_ELBOW/patient11185/study1_negative/image1.png"
    file.write_bytes(file.read_bytes()[:40])
    *_, last = open_dataset("mura", tmp_path)
    with pytest.raises(DatasetError, match=r"image1\.png: not a readable image"):
        _ = last.pixels

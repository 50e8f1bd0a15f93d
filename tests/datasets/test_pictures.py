"""Pictures in class folders and pictures with one table: the owners' layouts, and what is damaged in them."""

from __future__ import annotations

import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.formats import image
from healthfm.records import MISSING
from tests.cli.command import run
from tests.datasets.drawn import picture, put, text

# Class folders ----------------------------------------------------------------------------------------------------------------


@pytest.mark.evidence("retinal-oct-c8", "layout")
def test_oct_c8_folders_are_split_and_class(tmp_path: Path) -> None:
    """resources/Retinal_OCT-C8.md: RetinalOCT_Dataset/{train,val,test}/CLASS/{class}_{split}_{number}.jpg, eight classes."""
    root = tmp_path / "RetinalOCT_Dataset"
    for split in ("train", "val", "test"):
        for name in ("AMD", "CNV", "CSR", "DME", "DR", "DRUSEN", "MH", "NORMAL"):
            picture(root / split / name / f"{name.lower()}_{split}_1001.jpg")
    opened = open_dataset("retinal-oct-c8", tmp_path)
    assert opened.splits == ("train", "validation", "test")
    records = list(opened["validation"])
    assert len(records) == 8 and {r.patient for r in records} == {None}
    assert {r.id: r.labels["class"] for r in records}["DR/dr_val_1001.jpg"] == "DR"  # not DRUSEN, whose name begins so
    put(root / "test/GLAUCOMA/x_test_1.jpg", np.zeros((4, 4), np.uint8))
    with pytest.raises(
        DatasetError, match=r"GLAUCOMA/x_test_1\.jpg: cannot be read: 'class' has a value that the card does not know"
    ):
        list(open_dataset("retinal-oct-c8", tmp_path, "test"))


@pytest.mark.evidence("lc25000", "layout")
def test_lc25000_says_that_its_copies_leak(tmp_path: Path) -> None:
    """github.com/tampapath/lung_colon_image_set: organ folders, five class folders, no split."""
    root = tmp_path / "lung_colon_image_set"
    for folder, name in (("colon_image_sets/colon_aca", "colonca"), ("colon_image_sets/colon_n", "colonn"),
                         ("lung_image_sets/lung_aca", "lungaca"), ("lung_image_sets/lung_n", "lungn"), ("lung_image_sets/lung_scc", "lungscc")):  # fmt: skip
        for number in (1, 2):
            picture(root / folder / f"{name}{number}.jpeg", colour=True)
    opened = open_dataset("lc25000", tmp_path)
    records = list(opened)
    assert opened.splits == ("all",) and len(records) == 10 and all(r.patient is None for r in records)
    assert [r.labels["class"] for r in records[:4]] == ["colon_aca", "colon_aca", "colon_n", "colon_n"]
    assert "in any random split copies of one tile stand on both sides" in opened.notices[0]
    assert not list(open_dataset("retinal-oct-c8", _oct(tmp_path / "other"), "test").notices)


def _oct(root: Path) -> Path:
    picture(root / "RetinalOCT_Dataset/test/AMD/amd_test_1.jpg")
    return root


@pytest.mark.evidence("nct-crc-he", "layout")
def test_crc_tests_on_tiles_of_other_patients_and_keeps_the_normalised_set_apart(tmp_path: Path) -> None:
    """kaiko-ai.github.io/eva/main/datasets/crc: {set}/{CLASS}/{CLASS}-{CODE}.tif; packed as the owners give it, and not."""
    drawn = picture(tmp_path / "NCT-CRC-HE-100K/MUS/MUS-AAEIAGSI.tif", 1, (224, 224), True)
    picture(tmp_path / "NCT-CRC-HE-100K/MUC/MUC-AAEIAGSI.tif", 2, colour=True)
    picture(tmp_path / "NCT-CRC-HE-100K-NONORM/MUS/MUS-AAEIAGSI.tif", 3, colour=True)
    picture(tmp_path / "x/TUM-TCGA-AAICEQFN.tif", 4, colour=True)
    with zipfile.ZipFile(tmp_path / "CRC-VAL-HE-7K.zip", "w") as packed:
        packed.write(tmp_path / "x/TUM-TCGA-AAICEQFN.tif", "CRC-VAL-HE-7K/TUM/TUM-TCGA-AAICEQFN.tif")
    train = list(open_dataset("nct-crc-he", tmp_path, "train"))
    assert [(r.id, r.labels["tissue"]) for r in train] == [
        ("MUC/MUC-AAEIAGSI.tif", "MUC"),
        ("MUS/MUS-AAEIAGSI.tif", "MUS"),
    ]
    np.testing.assert_array_equal(train[1].pixels, drawn)
    [test] = open_dataset("nct-crc-he", tmp_path, "test")
    assert test.labels == {"tissue": "TUM"} and test.pixels.shape == (6, 5, 3)  # read where it lies packed
    raw = open_dataset("nct-crc-he:not-normalised", tmp_path)
    assert raw.splits == ("train",) and [r.id for r in raw] == ["MUS/MUS-AAEIAGSI.tif"]


@pytest.mark.evidence("limuc", "layout")
def test_limuc_grades_stand_in_order_and_the_name_says_the_patient(tmp_path: Path) -> None:
    """README of GorkemP/labeled-images-for-ulcerative-colitis: train_and_validation_sets and test_set, 'Mayo 0' to 'Mayo 3'."""
    drawn = picture(tmp_path / "train_and_validation_sets/Mayo 2/UC_patient_12_1.bmp", 1, (288, 352), True)
    picture(tmp_path / "train_and_validation_sets/Mayo 0/UC_patient_12_2.bmp", colour=True)
    picture(tmp_path / "test_set/Mayo 3/UC_patient_2_10.bmp", colour=True)
    picture(tmp_path / "patient_based_classified_images/12/Mayo 2/UC_patient_12_1.bmp", colour=True)
    train, test = (list(open_dataset("limuc", tmp_path, split)) for split in ("train", "test"))
    assert [(r.id, r.patient, r.labels["Mayo endoscopic score"]) for r in (*train, *test)] == [
        ("Mayo 0/UC_patient_12_2.bmp", "12", "0"), ("Mayo 2/UC_patient_12_1.bmp", "12", "2"), ("Mayo 3/UC_patient_2_10.bmp", "2", "3"),
    ]  # fmt: skip
    np.testing.assert_array_equal(train[1].pixels, drawn)
    by_patient = open_dataset("limuc:by-patient", tmp_path)
    assert by_patient.splits == ("all",) and [(r.id, r.patient) for r in by_patient] == [
        ("12/Mayo 2/UC_patient_12_1.bmp", "12")
    ]
    picture(tmp_path / "test_set/Mayo 3/polyp.bmp")
    opened = open_dataset("limuc", tmp_path, "test", on_error="collect")
    assert len(list(opened)) == 1 and "row Mayo 3/polyp.bmp: cannot be read: its name is not UC_patient" in str(
        opened.errors[0]
    )


# One table --------------------------------------------------------------------------------------------------------------------


def airogs(root: Path, *rows: str) -> Path:
    for number in range(3):
        picture(root / f"{number}/TRAIN{number:06d}.jpg", number, colour=True)
    text(
        root / "train_labels.csv",
        "challenge_id,class",
        *(rows or ("TRAIN000000,NRG", "TRAIN000001,RG", "TRAIN000002,NRG")),
    )
    return root


@pytest.mark.evidence("airogs", "layout")
def test_airogs_joins_its_table_with_six_folders(tmp_path: Path) -> None:
    """zenodo.org/records/5793241: folders 0 to 5 of TRAIN......jpg, train_labels.csv (challenge_id, class of NRG and RG)."""
    records = list(open_dataset("airogs", airogs(tmp_path), "train"))
    assert [(r.id, r.labels["class"]) for r in records] == [
        ("TRAIN000000", "NRG"),
        ("TRAIN000001", "RG"),
        ("TRAIN000002", "NRG"),
    ]
    with pytest.raises(
        DatasetError, match=r"train_labels\.csv, row 3: cannot be read: 'class' has a value that the card does not know"
    ):
        list(open_dataset("airogs", airogs(tmp_path, "TRAIN000000,NRG", "TRAIN000001,U"), "train"))


def test_a_picture_that_is_not_there_is_an_error_of_its_row_and_one_that_no_row_names_is_passed_over(
    tmp_path: Path,
) -> None:
    root = airogs(tmp_path, "TRAIN000000,NRG", "TRAIN000009,RG", "TRAIN000002,NRG")
    opened = open_dataset("airogs", root, "train", on_error="collect")
    assert [r.id for r in opened] == ["TRAIN000000", "TRAIN000002"]
    assert [str(e) for e in opened.errors] == [
        f"{root / 'train_labels.csv'}, row 3: cannot be read: no file 'TRAIN000009' among the 3 here"
    ]
    reason = "a picture that no row of train_labels.csv names"
    assert opened.passed_over == [("TRAIN000001", reason)] and f"1 file passed over: 1 {reason}" in opened.notices
    with pytest.raises(DatasetError, match=r"row 3: .*no file 'TRAIN000009'"):
        list(open_dataset("airogs", root, "train"))
    result = run("check", "airogs", "--root", root)
    assert result.returncode == 1 and "no file 'TRAIN000009'" in " ".join(result.stdout.split())
    assert f"TRAIN000001: {reason}" in " ".join(result.stdout.split())
    told = json.loads(run("check", "airogs", "--root", root, "--json").stdout)
    assert told["passed_over"] == [{"file": "TRAIN000001", "reason": reason}] and len(told["errors"]) == 1


def test_two_pictures_of_one_name_are_told_apart_by_nobody(tmp_path: Path) -> None:
    airogs(tmp_path)
    picture(tmp_path / "4/TRAIN000001.jpg")
    opened = open_dataset("airogs", tmp_path, "train", on_error="collect")
    assert len(list(opened)) == 3 and "bears the name of another picture" in str(opened.errors[0])


@pytest.mark.parametrize("name", ["zip", "tar", "tar.gz"])
def test_pictures_left_packed_are_read_where_they_are(tmp_path: Path, name: str) -> None:
    airogs(tmp_path / "plain")
    expected = [r.pixels for r in open_dataset("airogs", tmp_path / "plain", "train")]
    for number in range(3):
        source, member = tmp_path / f"plain/{number}/TRAIN{number:06d}.jpg", f"{number}/TRAIN{number:06d}.jpg"
        target = tmp_path / "packed" / f"{number}.{name}"
        target.parent.mkdir(exist_ok=True)
        if name == "zip":
            with zipfile.ZipFile(target, "w") as packed:
                packed.write(source, member)
        else:
            with tarfile.open(target, "w:gz" if name == "tar.gz" else "w") as tar:
                tar.add(source, member)
    (tmp_path / "packed/train_labels.csv").write_bytes((tmp_path / "plain/train_labels.csv").read_bytes())
    for record, pixels in zip(open_dataset("airogs", tmp_path / "packed", "train"), expected, strict=True):
        np.testing.assert_array_equal(record.pixels, pixels)


def test_reading_records_decodes_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    airogs(tmp_path)
    monkeypatch.setattr(image, "pixels", lambda source: pytest.fail("a picture was decoded"))
    assert len(list(open_dataset("airogs", tmp_path, "train"))) == 3


def fetal(root: Path, *more: str) -> Path:
    for name in ("Patient00001_Plane1_1_of_2", "Patient00001_Plane1_2_of_2", "Patient01234_Plane3_1_of_1"):
        picture(root / f"Images/{name}.png")
    text(
        root / "FETAL_PLANES_DB_data.csv", "Image_name;Patient_num;Plane;Brain_plane;Operator;US_Machine;Train ",
        "Patient00001_Plane1_1_of_2;1;Other;Not A Brain;Other;Aloka;0", "Patient00001_Plane1_2_of_2;1;Fetal abdomen;Not A Brain;Op. 1;Voluson E6;0",
        "Patient01234_Plane3_1_of_1;1234;Fetal brain;Trans-thalamic;Op. 2;Voluson S10;1", *more,
    )  # fmt: skip
    return root


@pytest.mark.evidence("fetal-planes", "layout")
def test_fetal_planes_has_semicolons_a_blank_behind_train_and_names_without_suffix(tmp_path: Path) -> None:
    """README.md of zenodo.org/records/3904280: Images/, FETAL_PLANES_DB_data.csv and its seven columns."""
    opened = open_dataset("fetal-planes", fetal(tmp_path))
    [train], test = list(opened["train"]), list(opened["test"])
    assert (train.id, train.patient) == ("Patient01234_Plane3_1_of_1", "1234")
    assert train.labels == {"Plane": "Fetal brain", "Brain_plane": "Trans-thalamic"}
    assert train.meta == {"Operator": "Op. 2", "US_Machine": "Voluson S10"}
    assert [r.labels["Plane"] for r in test] == ["Other", "Fetal abdomen"] and {r.patient for r in test} == {"1"}
    assert not opened["test"].passed_over  # a picture of the other split is none that no row names


@pytest.mark.parametrize(
    "row", ["Patient00009_Plane1_1_of_1;9;Other;Not A Brain;Other;Aloka;2", "a;9;Fetal foot;Not A Brain;Other;Aloka;0"]
)
def test_fetal_planes_refuses_what_its_card_does_not_know(tmp_path: Path, row: str) -> None:
    with pytest.raises(DatasetError, match=r"FETAL_PLANES_DB_data\.csv, row 5: cannot be read") as caught:
        list(open_dataset("fetal-planes", fetal(tmp_path, row), "test"))
    assert "foot" not in str(caught.value)


TRUTH = "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target"


def isic(root: Path) -> Path:
    for name in ("ISIC_0015719", "ISIC_0052212", "ISIC_0068279"):
        picture(root / f"train/{name}.jpg", colour=True)
    picture(root / "ISIC_2020_Test_Input/ISIC_0052060.jpg", colour=True)
    rows = ("ISIC_0015719,IP_3075186,female,45,upper extremity,unknown,benign,0", "ISIC_0052212,IP_2842074,,,,nevus,benign,0",
            "ISIC_0068279,IP_3075186,male,80,torso,melanoma,malignant,1")  # fmt: skip
    text(root / "ISIC_2020_Training_GroundTruth.csv", TRUTH, *rows)
    text(root / "ISIC_2020_Training_Duplicates.csv", "image_name_1,image_name_2", "ISIC_0015719,ISIC_0052212")
    text(
        root / "ISIC_2020_Test_Metadata.csv",
        "image,patient,age_approx,anatom_site_general,sex",
        "ISIC_0052060,IP_3579794,70,,male",
    )
    return root


@pytest.mark.evidence("isic-2020", "layout")
def test_isic_2020_has_patients_duplicates_and_withheld_targets(tmp_path: Path) -> None:
    """challenge2020.isic-archive.com: the tables and their columns, ISIC_2020_Training_Duplicates.csv (image_name_1, image_name_2)."""
    opened = open_dataset("isic-2020", isic(tmp_path))
    train = list(opened["train"])
    assert [(r.id, r.patient, r.labels["target"]) for r in train] == [
        ("ISIC_0015719", "IP_3075186", "benign"), ("ISIC_0052212", "IP_2842074", "benign"), ("ISIC_0068279", "IP_3075186", "malignant"),
    ]  # fmt: skip
    assert [r.meta["duplicates"] for r in train] == [["ISIC_0052212"], ["ISIC_0015719"], []]
    assert (
        "target" not in train[2].meta
        and "benign_malignant" not in train[2].meta
        and train[2].meta["diagnosis"] == "melanoma"
    )
    [test] = opened["test"]
    assert (test.id, test.patient, test.labels) == ("ISIC_0052060", "IP_3579794", {"target": MISSING})


def test_isic_2020_reads_the_second_edition_where_it_lies_there_and_holds_the_target_against_the_word(
    tmp_path: Path,
) -> None:
    isic(tmp_path)
    header = TRUTH.replace("patient_id,", "patient_id,lesion_id,")
    second = tmp_path / "ISIC_2020_Training_GroundTruth_v2.csv"
    text(
        second,
        header,
        "ISIC_0015719,IP_3075186,IL_1,female,45,torso,unknown,benign,0",
        "ISIC_0068279,IP_1,IL_2,male,80,torso,melanoma,benign,1",
    )
    opened = open_dataset("isic-2020", tmp_path, "train", on_error="collect")
    [record] = opened
    assert record.meta["lesion_id"] == "IL_1"
    assert "row 3: cannot be read: 'target' and 'benign_malignant' differ" in str(opened.errors[0])
    assert "Duplicates.csv: 1 pictures that the labels do not name: ISIC_0052212" in str(opened.errors[1])
    assert opened.passed_over == [("ISIC_0052212", f"a picture that no row of {second.name} names")]


@pytest.mark.evidence("isic-archive", "layout")
@pytest.mark.parametrize("column", ["diagnosis_1", "benign_malignant"])
def test_the_archive_is_read_by_its_header_before_and_after_2024(tmp_path: Path, column: str) -> None:
    """isic_cli/cli/image.py and io/http.py: ISIC_{number}.JPG, metadata.csv, attribution.txt, licenses/."""
    for name in ("ISIC_0000001", "ISIC_0000002", "ISIC_0000003"):
        picture(tmp_path / f"{name}.JPG", colour=True)
    text(
        tmp_path / "metadata.csv", f"isic_id,attribution,copyright_license,{column},lesion_id,patient_id,sex",
        "ISIC_0000001,Anonymous,CC-0,Benign,IL_1,IP_7,male", "ISIC_0000002,Anonymous,CC-BY-NC,Malignant,IL_2,,", "ISIC_0000003,Anonymous,CC-BY,,,,female",
    )  # fmt: skip
    text(tmp_path / "licenses/CC-0.txt", "x")
    records = list(open_dataset("isic-archive", tmp_path))
    assert [(r.patient, r.labels) for r in records] == [
        ("IP_7", {column: "Benign"}),
        ("IL_2", {column: "Malignant"}),
        (None, {column: MISSING}),
    ]
    assert records[1].meta["copyright_license"] == "CC-BY-NC" and records[0].pixels.shape == (6, 5, 3)
    text(tmp_path / "metadata.csv", "isic_id,attribution", "ISIC_0000001,Anonymous")
    with pytest.raises(DatasetError, match="row 2: cannot be read: neither benign_malignant nor diagnosis_1"):
        list(open_dataset("isic-archive", tmp_path))

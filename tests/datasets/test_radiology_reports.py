"""MIMIC-CXR: reports beside the folders of pictures, their sections by the owners' rules, and labels that are left open."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from healthfm import open_dataset
from healthfm.datasets.readers import radiology_reports
from healthfm.errors import DatasetError
from healthfm.records import MISSING, UNCERTAIN
from tests.datasets.laid import lay
from tests.real_files import PYDICOM

OBSERVATIONS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion", "Lung Opacity", "No Finding",
    "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)
 
 INDICATION:  Cough.
 
 FINDINGS: 
 
 The lungs are clear.  NOTE: no heading in a line.
 
 CONCLUSION:  First reading.
 
 IMPRESSION: 
 
 No acute process.
"""
PATIENT = "files/p10/p10000032"
SPLIT = "dicom_id,study_id,subject_id,split\n"


def jpg(root: Path, split: str = "", reports: bool = True) -> Path:
    """Lay out two examinations of one patient: three pictures, one of them of the second examination."""
    rows = split or SPLIT + "aa,50414267,10000032,train\nbb,50414267,10000032,train\ncc,53189527,10000032,train\n"
    values = {"Atelectasis": "1.0", "Edema": "-1.0", "Fracture": "0.0"}
    lay(root, {
        "mimic-cxr-2.0.0-split.csv.gz": rows,
        "mimic-cxr-2.0.0-metadata.csv.gz": "dicom_id,subject_id,study_id,ViewPosition\naa,10000032,50414267,PA\nbb,10000032,50414267,LATERAL\ncc,10000032,53189527,AP\n",
        "mimic-cxr-2.0.0-chexpert.csv.gz": f"subject_id,study_id,{','.join(OBSERVATIONS)}\n10000032,50414267,{','.join(values.get(one, '') for one in OBSERVATIONS)}\n",
        "mimic-cxr-2.0.0-negbio.csv.gz": f"subject_id,study_id,{','.join(OBSERVATIONS)}\n10000032,50414267,{','.join('1.0' if one == 'Edema' else '' for one in OBSERVATIONS)}\n",
    })  # fmt: skip
    if reports:
        lay(root, {f"{PATIENT}/s50414267.txt": REPORT, f"{PATIENT}/s53189527.txt": "No heading."})
    for number, name in enumerate(("s50414267/aa", "s50414267/bb", "s53189527/cc")):
        (root / PATIENT / name).parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(np.full((4, 6), 40 * number, np.uint8)).save(root / PATIENT / f"{name}.jpg")
    return root


@pytest.mark.evidence("mimic-cxr", "layout")
def test_an_examination_has_its_pictures_and_the_report_beside_their_folder(tmp_path: Path) -> None:
    """Paths and columns of mimic-cxr-jpg 2.1.0; files/p10/p10000032/s50414267.txt of mimic-cxr."""
    one, two = open_dataset("mimic-cxr", jpg(tmp_path), "train")
    assert (one.id, one.patient, [image.id for image in one.media]) == ("s50414267", "10000032", ["aa", "bb"])
    assert one.text == REPORT and two.text == "No heading." and one.media[1].pixels.shape == (4, 6)
    assert one.meta["views"] == ["PA", "LATERAL"] and two.meta["views"] == ["AP"]
    assert [(one.text[s.start : s.end].strip()[:12], s.type) for s in one.sections] == [
        ("FINAL REPORT", "preamble"), ("CHEST (PA AN", "examination"), ("Cough.", "indication"), ("The lungs ar", "findings"),
        ("First readin", "impression"), ("No acute pro", "impression"),
    ]  # fmt: skip


def test_of_two_impressions_the_last_counts_and_uncertain_is_neither_present_nor_absent(tmp_path: Path) -> None:
    one, two = open_dataset("mimic-cxr", jpg(tmp_path), "train")
    assert one.meta["sections"]["impression"] == "No acute process." and one.meta["sections"]["last_paragraph"] is None
    assert (one.labels["Atelectasis"], one.labels["Edema"], one.labels["Fracture"], one.labels["Pneumonia"]) == (
        "present", UNCERTAIN, "absent", MISSING,
    )  # fmt: skip
    assert one.labels["observations"] is UNCERTAIN and one.meta["negbio"]["Edema"] == "present"
    assert set(two.labels.values()) == {MISSING} and len(two.labels) == 15  # no row of the table is of it


def test_a_report_inside_the_folder_of_pictures_is_not_its_report(tmp_path: Path) -> None:
    jpg(tmp_path)
    shutil.move(tmp_path / PATIENT / "s50414267.txt", tmp_path / PATIENT / "s50414267/s50414267.txt")
    opened = open_dataset("mimic-cxr", tmp_path, "train", on_error="collect")
    assert [one.id for one in opened] == ["s53189527"] and "its report is not beside" in str(opened.errors[0])


def test_an_examination_in_two_splits_and_a_picture_that_is_not_here_are_named(tmp_path: Path) -> None:
    rows = SPLIT + "aa,50414267,10000032,train\nbb,50414267,10000032,test\ndd,53189527,10000032,train\n"
    opened = open_dataset("mimic-cxr", jpg(tmp_path, rows), "train", on_error="collect")
    assert not list(opened)
    assert "several patients or splits" in str(opened.errors[0]) and "no file" in str(opened.errors[1])
    with pytest.raises(DatasetError, match=r"split\.csv\.gz, row 2: .*several patients or splits"):
        list(open_dataset("mimic-cxr", tmp_path, "train"))


def test_without_the_other_editions_reports_the_texts_are_empty_and_that_is_said(tmp_path: Path) -> None:
    opened = open_dataset("mimic-cxr", jpg(tmp_path, reports=False), "train")
    assert [one.text for one in opened] == ["", ""] and "no reports are here" in opened.notices[0]


def test_the_dicom_twin_is_one_part_and_says_the_official_split_where_its_table_is(tmp_path: Path) -> None:
    lay(tmp_path, {
        "cxr-record-list.csv.gz": f"subject_id,study_id,dicom_id,path\n10000032,50414267,aa,{PATIENT}/s50414267/aa.dcm\n",
        "mimic-cxr-2.0.0-split.csv.gz": SPLIT + "aa,50414267,10000032,validate\n",
        f"{PATIENT}/s50414267.txt": REPORT, f"{PATIENT}/s50414267/aa.dcm": PYDICOM / "CT_small.dcm",
    })  # fmt: skip
    (one,) = open_dataset("mimic-cxr:dicom", tmp_path)
    assert (one.id, one.split, one.meta["official split"]) == ("s50414267", "all", "validate")
    assert one.media[0].pixels.shape == (128, 128) and one.labels == {}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("CHEST\n INDICATION:  Pain. \n \n Lungs clear.\n \n Heart normal.\n", {"last_paragraph": "Lungs clear.\n \n Heart normal."}),
        ("X\n IMPRESSION:\n FINDINGS: a\n", {"impression": "FINDINGS: a"}),  # a heading right below a bare one is text to the owners
        ("X\n PA AND LATERAL CHEST:  a\n \n IMPRESSION: \n", {"findings": "a"}),
        ("X\n FINDINGS AND IMPRESSION:  a\n COMPARISONS:  b\n", {"impression": "a", "comparison": "b"}),
        ("IMPRESSION: at the very start\n", {}),
    ],
)  # fmt: skip
def test_sections_are_cut_as_the_owners_cut_them(text: str, kept: dict[str, str]) -> None:
    """Values of txt/create_section_files.py of MIT-LCP/mimic-cxr on these texts."""
    found = radiology_reports.by_section(text, radiology_reports.sections(text))
    assert {name: one for name, one in found.items() if one is not None} == kept

"""Collections of DICOM series: series by their headers, the downloader's table, readings in XML, and what is no scan."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pydicom
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.records import Image, Polygon, Volume
from tests.datasets.laid import lay
from tests.formats.segmentations import segmentation
from tests.real_files import PYDICOM


def series(folder: Path, uid: str, patient: str, count: int = 3, **more: Any) -> Path:
    """Write slices of 128 x 128 pixels, the first file that of the highest position; more: elements of every header."""
    folder.mkdir(parents=True, exist_ok=True)
    data = pydicom.dcmread(PYDICOM / "CT_small.dcm")
    data.PatientID, data.SeriesInstanceUID, data.StudyInstanceUID = patient, uid, f"{uid}.9"
    for number in range(1, count + 1):
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{number}"
        data.InstanceNumber, data.ImagePositionPatient = number, [-158, -179, -75 - 5 * number]
        for name, value in more.items():
            setattr(data, name, value)
            if value is None:
                delattr(data, name)
        pydicom.dcmwrite(folder / f"1-{number:03}.dcm", data)
    return folder


def sheet(path: Path, *lines: Sequence[Any]) -> None:
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(line)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)


# TCIA -------------------------------------------------------------------------------------------------------------------------

HEADER = (
    "Series UID,Collection,3rd Party Analysis,Data Description URI,Subject ID,Study UID,Study Description,Study Date,Series Description,Manufacturer,"
    "Modality,SOP Class Name,SOP Class UID,Number of Images,File Size,File Location,Download Timestamp\n"
)
STUDY = "C4KC-KiTS/KiTS-00000/01-01-2000-NA-abd-12345"


def listing(*rows: tuple[str, int, str]) -> str:
    return HEADER + "".join(
        f"{uid},C4KC-KiTS,,,KiTS-00000,1.9,abd,01-01-2000,art,GE,CT,CT,,{count},1 MB,{place},now\n" for uid, count, place in rows
    )  # fmt: skip


@pytest.mark.evidence("tcia", "layout")
def test_the_downloaders_table_names_the_series_and_the_headers_say_which_files_are_of_it(tmp_path: Path) -> None:
    """manifest-*/metadata.csv of the NBIA Data Retriever, whose File Location has the slashes of its system; a SEG beside the scan."""
    top = tmp_path / "manifest-1600000000000"
    series(top / STUDY / "2.000000-art-00001", "1.2", "KiTS-00000")
    drawn = np.zeros((3, 128, 128), bool)
    drawn[0, 10:20, 30:60] = drawn[2, 11, 5] = True  # of the lowest slice and the highest
    segmentation(top / STUDY / "300.000000-Seg-00002/1-001.dcm", top / STUDY / "2.000000-art-00001", [("Kidney", drawn), ("Mass", drawn[::-1])], SeriesInstanceUID="1.3")  # fmt: skip
    back = STUDY.replace("/", "\\")
    lay(
        top,
        {
            "metadata.csv": listing(
                ("1.2", 3, f".\\{back}\\2.000000-art-00001"), ("1.3", 1, f".\\{back}\\300.000000-Seg-00002")
            )
        },
    )
    opened = open_dataset("tcia", tmp_path)
    (one,) = opened
    assert isinstance(one, Volume) and (one.id, one.patient, one.site, one.modality) == (
        "1.2",
        "KiTS-00000",
        "C4KC-KiTS",
        "CT",
    )
    assert one.voxels.shape == (128, 128, 3) and one.affine[2, 3] == -90 and one.spacing[2] == 5
    assert list(one.masks) == ["Kidney", "Mass"] and not opened.passed_over
    assert (one.masks["Kidney"]() == drawn.transpose(2, 1, 0)).all() and one.masks["Mass"]()[40, 15].tolist() == [
        False,
        False,
        True,
    ]
    assert not any("not the folder" in one for one in opened.notices)
    shutil.move(top / STUDY / "2.000000-art-00001", top / STUDY / "renamed")
    opened = open_dataset("tcia", tmp_path)
    assert [one.id for one in opened] == ["1.2"] and any("not the folder" in one for one in opened.notices)


def test_a_missing_a_doubled_and_an_unlisted_series_are_named(tmp_path: Path) -> None:
    top = tmp_path / "manifest-1"
    series(top / STUDY / "a", "1.2", "P", 2)
    shutil.copytree(series(top / STUDY / "b", "1.3", "P"), top / STUDY / "c")
    twice = series(top / STUDY / "d", "1.4", "P")
    shutil.copy(twice / "1-001.dcm", twice / "1-009.dcm")
    series(top / STUDY / "e", "1.5", "P")
    two = series(top / STUDY / "f", "1.6", "P", 1)
    series(tmp_path / "x", "1.7", "P", 1)
    shutil.move(tmp_path / "x/1-001.dcm", two / "2-001.dcm")
    rows = (("1.2", 3, f"{STUDY}/a"), ("1.3", 3, f"{STUDY}/b"), ("1.4", 3, f"{STUDY}/d"), ("1.8", 1, f"{STUDY}/g"))
    lay(top, {"metadata.csv": listing(*rows)})
    opened = open_dataset("tcia", tmp_path, on_error="collect")
    assert [one.id for one in opened] == ["1.3"]
    told = "\n".join(map(str, opened.errors))
    for words in (
        "2 files of the series are here, 3 are listed", "series 1.3 stands in", "1-009.dcm and 1-001.dcm are one slice", "1.5 is not listed",
        "2 series in one folder", "its series is not here",
    ):  # fmt: skip
        assert words in told, words
    with pytest.raises(DatasetError, match="2 files of the series"):
        list(open_dataset("tcia", tmp_path))


def test_a_gap_between_slices_is_named_when_they_are_decoded_and_a_radiograph_is_an_image(tmp_path: Path) -> None:
    top = tmp_path / "manifest-1"
    (series(top / STUDY / "a", "1.2", "P", 4) / "1-002.dcm").unlink()
    series(top / STUDY / "b", "1.3", "P", 1, ImagePositionPatient=None)
    gap, plain = open_dataset("tcia", tmp_path)
    with pytest.raises(DatasetError, match="slices are missing or uneven"):
        gap.load()
    assert isinstance(plain, Image) and plain.id == "1.3.1" and plain.pixels.shape == (128, 128)


# LIDC-IDRI --------------------------------------------------------------------------------------------------------------------


def roi(uid: str, points: Sequence[tuple[int, int]], inclusion: str = "TRUE", z: float = 0) -> str:
    edges = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points)
    return f"<roi><imageZposition>{z}</imageZposition><imageSOP_UID>{uid}</imageSOP_UID><inclusion>{inclusion}</inclusion>{edges}</roi>"


SQUARE = ((1, 2), (3, 2), (3, 4))


def reading(series: str, *rois: str) -> str:
    """Write a reading session with a rated nodule of these outlines, and one with a small nodule and a non-nodule."""
    first = (
        "<readingSession><servicingRadiologistID>a</servicingRadiologistID><unblindedReadNodule><noduleID>N1</noduleID><characteristics>"
        f"<subtlety>5</subtlety><malignancy>3</malignancy></characteristics>{''.join(rois)}</unblindedReadNodule></readingSession>"
    )
    second = (
        f"<readingSession><unblindedReadNodule><noduleID>7</noduleID><characteristics/>{roi(f'{series}.3', [(9, 8)])}</unblindedReadNodule>"
        f"<nonNodule><nonNoduleID>8</nonNoduleID><imageZposition>0</imageZposition><imageSOP_UID>{series}.2</imageSOP_UID>"
        "<locus><xCoord>5</xCoord><yCoord>6</yCoord></locus></nonNodule></readingSession>"
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><LidcReadMessage uid="1" xmlns="http://www.nih.gov"><ResponseHeader>'
        f"<SeriesInstanceUid>{series}</SeriesInstanceUid></ResponseHeader>{first}{second}</LidcReadMessage>"
    )


RADIOGRAPH = (
    '<IdriReadMessage uid="2" xmlns="http://www.nih.gov/idri"><ResponseHeader><CXRSeriesInstanceUid>1.3</CXRSeriesInstanceUid></ResponseHeader>'
    "<CXRreadingSession/></IdriReadMessage>"
)
SCAN = "LIDC-IDRI/LIDC-IDRI-0001/01-01-2000-NA-NA-30178"


@pytest.mark.evidence("lidc-idri", "layout")
def test_outlines_of_the_readers_join_slices_by_uid_and_their_plane_is_that_of_the_voxels(tmp_path: Path) -> None:
    """Elements of the XML as the card's sources name them; every imageZposition is wrong here, for the UID joins."""
    folder = series(tmp_path / SCAN / "3000566.000000-NA-03192", "1.2", "LIDC-IDRI-0001")
    series(tmp_path / SCAN / "CR", "1.3", "LIDC-IDRI-0001", 1, Modality="DX", ImagePositionPatient=None)
    hole = ((2, 2), (2, 3), (3, 3))
    lay(folder, {"069.xml": reading("1.2", roi("1.2.1", SQUARE), roi("1.2.1", hole, "FALSE"))})
    lay(tmp_path / SCAN / "CR", {"070.xml": RADIOGRAPH})
    opened = open_dataset("lidc-idri", tmp_path)
    (one,) = opened
    assert one.polygons == (
        Polygon("reader 1 nodule N1", ((1, 2), (3, 2), (3, 4)), 2),  # the first file is the highest slice
        Polygon("reader 1 nodule N1 hole", ((2, 2), (2, 3), (3, 3)), 2),
        Polygon("reader 2 nodule 7 point", ((9, 8),), 0),
        Polygon("reader 2 non-nodule 8 point", ((5, 6),), 1),
    )
    assert one.voxels.shape[2] == 3 and (one.affine @ [0, 0, 2, 1])[2] == -80  # -75 - 5 is the position of slice 1
    assert one.meta["nodules"][0] == {
        "name": "reader 1 nodule N1", "reader": 1, "characteristics": {"subtlety": 5, "malignancy": 3}, "under 3 mm": False,
    }  # fmt: skip
    assert one.meta["nodules"][1]["under 3 mm"] and sorted(reason for _, reason in opened.passed_over) == [
        "a radiograph of the collection, no CT scan", "no annotation of a CT scan (of a radiograph)",
    ]  # fmt: skip


def test_what_half_of_the_readers_agree_on_is_a_mask_of_the_consensus_variant(tmp_path: Path) -> None:
    """Outlines are the first ring outside: an outline around 3 x 3 pixels; two readers' nodules meet, and a third lies apart."""
    series(tmp_path / SCAN / "a", "1.2", "LIDC-IDRI-0001")

    def ring(x: int, y: int) -> list[tuple[int, int]]:
        return (
            [(x + i, y) for i in range(4)]
            + [(x + 4, y + i) for i in range(4)]
            + [(x + 4 - i, y + 4) for i in range(4)]
            + [(x, y + 4 - i) for i in range(4)]
        )

    def session(name: str, *rois: str) -> str:
        return f"<readingSession><unblindedReadNodule><noduleID>{name}</noduleID><characteristics><malignancy>3</malignancy></characteristics>{''.join(rois)}</unblindedReadNodule></readingSession>"

    cut = roi("1.2.1", [(5, 5), (6, 5), (7, 5), (7, 6), (7, 7), (6, 7), (5, 7), (5, 6)], "FALSE")  # cuts (6, 6)
    whole = reading("1.2").replace("</LidcReadMessage>", session("A", roi("1.2.1", ring(4, 4)), cut) + session("B", roi("1.2.1", ring(5, 4))) + session("C", roi("1.2.3", ring(60, 60))) + "</LidcReadMessage>")  # fmt: skip
    lay(tmp_path / SCAN / "a", {"069.xml": whole})
    (plain,), (one,) = open_dataset("lidc-idri", tmp_path), open_dataset("lidc-idri:consensus", tmp_path)
    assert plain.polygons == one.polygons and not plain.masks
    assert one.meta["consensus"] == {
        "nodule 1": ["reader 3 nodule A", "reader 4 nodule B"],
        "nodule 2": ["reader 5 nodule C"],
    }
    first, second = (np.argwhere(mask()).tolist() for mask in one.masks.values())
    both = {(x, y) for x in (5, 6, 7) for y in (5, 6, 7)} - {(6, 6)} | {(x, y) for x in (6, 7, 8) for y in (5, 6, 7)}
    assert {tuple(at) for at in first} == {(x, y, 2) for x, y in both} and len(
        second
    ) == 9  # one of the two is half of them


def test_readings_of_the_owners_zip_and_those_that_fit_no_slice(tmp_path: Path) -> None:
    series(tmp_path / SCAN / "a", "1.2", "LIDC-IDRI-0001")
    series(tmp_path / SCAN / "b", "1.4", "LIDC-IDRI-0001")
    series(tmp_path / SCAN / "c", "1.5", "LIDC-IDRI-0001")
    lay(
        tmp_path,
        {
            "tcia-lidc-xml/157/158.xml": reading("1.2", roi("1.2.1", SQUARE)),
            "tcia-lidc-xml/157/159.xml": reading("1.4", roi("1.2.1", SQUARE)),
        },
    )
    opened = open_dataset("lidc-idri", tmp_path, on_error="collect")
    assert [one.id for one in opened] == ["1.2"]
    assert [
        "on a slice that is not here" in str(opened.errors[0]),
        "no annotation of this series" in str(opened.errors[1]),
    ] == [True, True]
    with pytest.raises(DatasetError, match=r"row 1\.4: .*on a slice that is not here"):
        list(open_dataset("lidc-idri", tmp_path))


# Trials -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.evidence("nlst", "layout")
@pytest.mark.parametrize("deep", ["NLST/100002/1.9/1.2", "NLST/100002/01-02-1999-NLST-LSS-36517/0/1.2"])
def test_a_participants_rows_join_by_pid_at_any_depth(tmp_path: Path, deep: str) -> None:
    """Tables of nlst.780.idc.delivery.052821; pid is the PatientID. The table has both arms, of which one has images."""
    series(tmp_path / deep, "1.2", "100002")
    name = "nlst_780_{}_idc_20210527.csv"
    lay(tmp_path, {
        name.format("prsn"): "pid,age,gender\n100001,60,1\n100002,65,2\n",
        name.format("screen"): "pid,study_yr\n100002,0\n100002,1\n100001,0\n",
        name.format("ctab"): "pid,study_yr,sct_ab_desc\n100002,1,51\n", name.format("ctabc"): "pid,study_yr\n", name.format("canc"): "pid,study_yr\n",
        "100002_1001.svs": "no slide",
    })  # fmt: skip
    one, slide = open_dataset("nlst", tmp_path)
    assert (one.id, one.patient, one.meta["participant"]["age"], slide.patient) == ("1.2", "100002", "65", "100002")
    assert (
        [row["study_yr"] for row in one.meta["screen"]] == ["0", "1"]
        and len(one.meta["ctab"]) == 1
        and "canc" not in one.meta
    )
    series(tmp_path / deep.replace("100002", "100003").replace("1.2", "1.3"), "1.3", "100003")
    with pytest.raises(DatasetError, match=r"row 1\.3: .*not in the table of participants"):
        list(open_dataset("nlst", tmp_path))


@pytest.mark.evidence("i-spy2", "layout")
def test_the_clinical_sheet_numbers_patients_without_their_prefix(tmp_path: Path) -> None:
    """ISPY2-Imaging-Cohort-1-Clinical-Data.xlsx: Patient_ID is a number, pCR 0 or 1; masks are DICOM SEG."""
    top = tmp_path / "manifest-1"
    for uid, patient in (("1.2", "ISPY2-102011"), ("1.3", "ISPY2-7")):
        series(top / f"ISPY2/{patient}/01-01-2000-1-MR/1-a", uid, patient, Modality="MR")
    lone = series(tmp_path / "elsewhere", "1.8", "ISPY2-7")
    segmentation(top / "ISPY2/ISPY2-7/01-01-2000-1-MR/2-mask/1.dcm", lone, [("x", np.ones((3, 8, 8), bool))])
    sheet(
        tmp_path / "ISPY2-Imaging-Cohort-1-Clinical-Data.xlsx",
        ("Patient_ID", "ARM", "HR", "HER2", "MP", "pCR"),
        (102011, "Paclitaxel", 1, 0, 0, 1),
        (7, "P", 0, 0, 0, 0),
    )
    opened = open_dataset("i-spy2", tmp_path)
    found = {one.patient: one.labels["pCR"] for one in opened}
    assert found == {"ISPY2-102011": "yes", "ISPY2-7": "no"} and "of no series that is here" in opened.passed_over[0][1]
    sheet(
        tmp_path / "ISPY2-Imaging-Cohort-1-Clinical-Data.xlsx", ("Patient_ID", "pCR"), (11102011, 1), (7, 0)
    )  # no number that ends alike
    opened = open_dataset("i-spy2", tmp_path, on_error="collect")
    assert [one.patient for one in opened] == ["ISPY2-7"] and "not in the clinical data" in str(opened.errors[0])


@pytest.mark.evidence("i-spy2", "layout")
def test_phases_are_channels_and_an_analysis_mask_counts_where_it_is_zero(tmp_path: Path) -> None:
    """Four phases in one series by TemporalPositionIdentifier; a FRACTIONAL mask of bits, which names no series (torch-em, acrin_6698.py)."""
    top = tmp_path / "manifest-1/ISPY2/ISPY2-7/01-01-2000-1-MR"
    dce = top / "3-dce"
    dce.mkdir(parents=True)
    slices = series(
        tmp_path / "one", "1.2", "ISPY2-7", SeriesDescription="ISPY2: VOLSER: bi-lateral: SER", Modality="MR"
    )
    for phase in (2, 1, 3, 4):
        for number, path in enumerate(sorted(slices.glob("1-*.dcm")), 1):
            data = pydicom.dcmread(path)
            data.TemporalPositionIdentifier, data.SOPInstanceUID = phase, f"1.2.{phase}.{number}"
            data.RescaleIntercept = 1000 * phase
            pydicom.dcmwrite(dce / f"{phase}-{number:03}.dcm", data)
    bits = np.full((3, 40, 50), 33, np.uint8)  # outside the box, below the threshold of enhancement
    bits[1, 4:9, 7:9] = 0
    segmentation(
        top / "4-mask/1.dcm", slices, [("VOLSER", bits)], kind="FRACTIONAL", named=False, at=(20, 30), SeriesDescription="ISPY2: VOLSER: bi-lateral: Analysis Mask",
 )  # fmt: skip
    sheet(tmp_path / "ISPY2-Imaging-Cohort-1-Clinical-Data.xlsx", ("Patient_ID", "pCR"), (7, 0))
    (found,) = open_dataset("i-spy2", tmp_path)
    assert isinstance(found, Volume) and found.channels == ("phase 1", "phase 2", "phase 3", "phase 4")
    assert found.voxels.shape == (128, 128, 3, 4) and found.affine[2, 3] == -90
    assert (np.diff(found.voxels.mean(axis=(0, 1, 2))) == 1000).all()
    mask = found.masks["functional tumour volume"]()
    assert mask.shape == (128, 128, 3) and mask.sum() == 10 and mask[37:39, 24:29, 1].all()
    next((top / "3-dce").glob("4-*.dcm")).unlink()
    (found,) = open_dataset("i-spy2", tmp_path)
    with pytest.raises(DatasetError, match="phase 4 has 2 slices, the first has 3"):
        found.load()


@pytest.mark.evidence("duke-breast-cancer-mri", "layout")
def test_the_clinical_sheet_has_groups_above_its_names_and_codes_below(tmp_path: Path) -> None:
    """Clinical_and_Other_Features.xlsx and Annotation_Boxes.xlsx, as the sources of the card have their columns."""
    series(
        tmp_path / "Duke-Breast-Cancer-MRI/Breast_MRI_001/01-01-1990-MRI/600-pre",
        "1.2",
        "Breast_MRI_001",
        Modality="MR",
    )
    sheet(
        tmp_path / "Clinical_and_Other_Features.xlsx", ("Patient Information", None, "Tumor", None, "Pathology", None), ("Patient ID", "Age", "ER", "Side", "HER2", "Side"),
        (None, "days", "0=neg,1=pos", "L/R", "0=neg", "L/R"), ("Breast_MRI_001", -15209, 1, "L", 0, "R"), ("Breast_MRI_002", -1, 0, "R", 1, "R"),
    )  # fmt: skip
    sheet(
        tmp_path / "Annotation_Boxes.xlsx", ("Patient ID", "Start Row", "End Row", "Start Column", "End Column", "Start Slice", "End Slice"),
        ("Breast_MRI_001", 234, 271, 308, 341, 89, 112),
    )  # fmt: skip
    (one,) = open_dataset("duke-breast-cancer-mri", tmp_path)
    assert one.meta["clinical"] == {
        "Patient ID": "Breast_MRI_001",
        "Age": -15209,
        "ER": 1,
        "Tumor: Side": "L",
        "HER2": 0,
        "Pathology: Side": "R",
    }
    assert one.meta["box as in the sheet"]["End Slice"] == 112 and one.boxes == ()
    series(tmp_path / "Duke-Breast-Cancer-MRI/Breast_MRI_003/01-01-1990-MRI/600-pre", "1.3", "Breast_MRI_003")
    with pytest.raises(DatasetError, match=r"row 1\.3: .*not in the clinical data"):
        list(open_dataset("duke-breast-cancer-mri", tmp_path))

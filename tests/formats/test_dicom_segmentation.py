"""DICOM SEG on the grid of its scan: in its place, by its segments, and refused where it lies elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from healthfm.errors import DatasetError
from healthfm.formats.dicom import segmentation as seg
from healthfm.formats.dicom import series as dicom_series
from tests.datasets.test_dicom_collections import series
from tests.formats.segmentations import segmentation

SHAPE = (128, 128, 3)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return series(tmp_path_factory.mktemp("scan"), "1.2", "P")


def uids(scan: Path) -> list[frozenset[str]]:
    return [frozenset([str(pydicom.dcmread(file).SOPInstanceUID)]) for file in dicom_series.files(scan)]


def test_segments_have_their_meaning_and_their_place_also_where_they_cover_a_part(scan: Path, tmp_path: Path) -> None:
    drawn = np.zeros((3, 30, 20), bool)
    drawn[1, 3, 2] = drawn[2, 3:5, 2:9] = True
    path = segmentation(tmp_path / "a.dcm", scan, [("Mass", drawn), ("Duct", ~drawn)], at=(50, 70))
    told = seg.describe(path)
    assert (told.series, told.stored) == ("1.2", "BINARY")
    assert (
        told.segments[0] == (1, "Mass", "Morphologically Abnormal Structure", "Neoplasm")
        and told.segments[1].number == 2
    )
    affine = dicom_series.affine(scan)
    for number, mask in ((1, drawn), (2, ~drawn)):
        expected = np.zeros(SHAPE, bool)
        expected[70:90, 50:80] = mask.transpose(2, 1, 0)
        assert (seg.mask(path, number, SHAPE, affine, uids(scan)) == expected).all()


def test_a_fraction_of_half_counts_and_its_kind_must_be_known(scan: Path, tmp_path: Path) -> None:
    values = np.zeros((3, 128, 128), np.uint8)
    values[0, 0, :4] = 1, 127, 128, 255
    path = segmentation(tmp_path / "a.dcm", scan, [("x", values)], kind="FRACTIONAL")
    assert seg.mask(path, 1, SHAPE, dicom_series.affine(scan))[:5, 0, 0].tolist() == [False, False, True, True, False]
    path = segmentation(tmp_path / "b.dcm", scan, [("x", values)], kind="FRACTIONAL", SegmentationFractionalType="OTHER")  # fmt: skip
    with pytest.raises(DatasetError, match="neither a probability nor an occupancy"):
        seg.mask(path, 1, SHAPE, dicom_series.affine(scan))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ("turned", "another grid"), ("spacing", "another grid"), ("between", "another grid"), ("outside", "outside the scan"),
        ("swapped", "another slice than the one that it names"), ("no position", "no position"), ("cut", "cut short"),
    ],
)  # fmt: skip
def test_a_segmentation_that_is_not_of_the_scan_is_refused(scan: Path, tmp_path: Path, wrong: str, match: str) -> None:
    path = segmentation(tmp_path / "a.dcm", scan, [("x", np.ones((3, 100, 100), bool))])
    data = pydicom.dcmread(path)
    shared, frames = data.SharedFunctionalGroupsSequence[0], data.PerFrameFunctionalGroupsSequence
    if wrong == "turned":
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = [0, 1, 0, 1, 0, 0]
    elif wrong == "spacing":
        shared.PixelMeasuresSequence[0].PixelSpacing = [0.7, 0.7]
    elif wrong in ("between", "outside"):
        frames[1].PlanePositionSequence[0].ImagePositionPatient[2] += 2.5 if wrong == "between" else 50
    elif wrong == "swapped":
        frames[0].DerivationImageSequence, frames[1].DerivationImageSequence = frames[1].DerivationImageSequence, frames[0].DerivationImageSequence  # fmt: skip
    elif wrong == "no position":
        del frames[2].PlanePositionSequence
    else:
        data.PixelData = data.PixelData[:100]
    pydicom.dcmwrite(path, data)
    with pytest.raises(DatasetError, match=match):
        seg.mask(path, 1, SHAPE, dicom_series.affine(scan), uids(scan))

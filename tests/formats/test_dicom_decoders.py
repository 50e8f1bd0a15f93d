"""Every file with pixels that pydicom ships, and its larger collection where it is there, against SimpleITK (GDCM) and pydicom.

``tests/data/dicom_decoders.tsv`` says of each file how far from each of the two its values may be, or why they differ; ``docs/dicom.md``
tells whose are right. A lossless copy (``twin``) of another file has its values.
"""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from healthfm.errors import DatasetError
from healthfm.formats.dicom import file as dicom
from healthfm.formats.dicom import picture as dicom_picture
from healthfm.formats.source import Source
from tests.real_files import DATA, PYDICOM, elsewhere

REASONS = {
    "none": "it cannot decode the file",
    "refused": "the file is damaged, or lacks what says how to read it: a DatasetError",
    "wrong": "its values are not those of the other decoder and of the lossless copy (32 bit big-endian words, 16 and 32 bit RLE)",
    "x255": "it shows bits as 0 and 255, the stored values are 0 and 1 (PS3.5 8.1.1)",
    "inverted": "it inverts MONOCHROME1 as it reads; PS3.3 C.7.6.3.1.2 puts that at display, after the modality and VOI LUT",
    "colours": "it resolves the palette as it reads: its colours are those of our picture",
    "float": "the same values, rounded to another width of floats",
}
with (DATA / "dicom_decoders.tsv").open(encoding="utf-8") as handle:
    ROWS = list(csv.DictReader(handle, delimiter="\t"))


IMPLICIT = {"SC_rgb_jpeg.dcm"}  # written without value representations, which takes GDCM gigabytes and seconds to see


def located(row: dict[str, str], name: str) -> Path:
    folder = PYDICOM if row["where"] == "package" else elsewhere("pydicom_data/data_store/data")
    return folder / name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
def test_values_are_those_of_other_decoders(row: dict[str, str], tmp_path: Path) -> None:
    path = located(row, row["file"])
    if row["simpleitk"] == "refused":
        with pytest.raises(DatasetError):
            dicom.stored_values(Source(path))
        return
    stored = dicom.stored_values(Source(path))
    if row["twin"]:
        np.testing.assert_array_equal(stored, dicom.stored_values(Source(located(row, row["twin"]))))
    if row["pydicom"] != "none":
        assert_near(stored, pydicom.dcmread(path, force=True).pixel_array, float(row["pydicom"]))
    if row["simpleitk"] != "none":
        theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(for_itk(path, tmp_path)))).squeeze()
        check_itk(row["simpleitk"], path, theirs)
    assert row["twin"] or row["pydicom"] != "none" or row["simpleitk"] not in ("none", "wrong")  # something holds it


def for_itk(path: Path, folder: Path) -> Path:
    """Return the file, or a copy with the same pixel data and the representations that its transfer syntax asks for."""
    if path.name not in IMPLICIT:
        return path
    copy = pydicom.dcmread(path)
    str(copy)  # every element is read, with its representation
    copy.save_as(folder / path.name)
    return folder / path.name


def check_itk(expected: str, path: Path, theirs: np.ndarray) -> None:
    """Hold values (SimpleITK applies the rescale) against SimpleITK's, or show that the named reason is the whole difference."""
    ours = dicom_picture.values(Source(path))
    if expected == "colours":
        eight = theirs if theirs.dtype == np.uint8 else theirs >> 8
        assert_near(dicom_picture.picture(Source(path)), eight, 0)
    elif expected == "x255":
        assert_near(ours, theirs // 255, 0)
    elif expected == "inverted":
        assert np.ptp(ours.astype(np.int64) + theirs) <= 1
    elif expected == "float":
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    elif expected == "wrong":
        assert np.abs(ours.astype(np.float64) - theirs).max() > 1000  # once it agrees, the row says so
    else:
        assert_near(ours, theirs, float(expected))


def assert_near(found: np.ndarray, theirs: np.ndarray, most: float) -> None:
    assert found.shape == theirs.shape
    assert np.abs(found.astype(np.float64) - theirs).max() <= most


def test_the_table_names_every_file_with_pixels_that_the_package_ships() -> None:
    named = {row["file"] for row in ROWS if row["where"] == "package"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in PYDICOM.glob("*.dcm"):
            if "PixelData" in pydicom.dcmread(path, force=True):
                assert path.name in named
    assert {row[side] for row in ROWS for side in ("simpleitk", "pydicom")} - set(REASONS) <= {"0", "1"}


@pytest.mark.parametrize(("name", "times"), [("16bit", 257), ("32bit", 0x1010101)])
def test_deep_rle_is_the_byte_picture_repeated(name: str, times: int) -> None:
    bytes_, deep = (dicom.stored_values(Source(PYDICOM / f"SC_rgb_rle{n}.dcm")) for n in ("", f"_{name}"))
    np.testing.assert_array_equal(bytes_.astype(np.int64) * times, deep)

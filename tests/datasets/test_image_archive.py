"""Downloads of the Image and Data Archive: images join the search table by the number behind _I, not by their folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from tests.datasets.drawn import text
from tests.datasets.test_dicom_collections import series
from tests.datasets.test_volumes import put

HEADER = "Image Data ID,Subject,Group,Sex,Age,Visit,Modality,Description,Type,Acq Date,Format,Downloaded"
PLACE = "{}/MPRAGE/2006-11-15_09_47_59.0"


def slices(root: Path, subject: str, folder: str, image: int) -> None:
    """Write three slices, named as the archive does: series and image stand in the name, the folder bears one of them."""
    place = series(root / PLACE.format(subject) / folder, f"1.{image}", subject, Modality="MR")
    for number, path in enumerate(sorted(place.glob("1-*.dcm"))):
        path.rename(place / f"ADNI_{subject}_MR_MPRAGE_br_raw_20061115094759_{number}_S22684_I{image}.dcm")


@pytest.mark.evidence("adni", "layout")
@pytest.mark.evidence("ppmi", "layout")
@pytest.mark.parametrize(("slug", "subject"), [("adni", "002_S_0413"), ("ppmi", "3102")])
def test_an_image_joins_its_row_by_its_own_number_in_a_folder_that_bears_the_series(
    tmp_path: Path, slug: str, subject: str
) -> None:
    top = tmp_path / slug.upper()
    slices(top, subject, "S22684", 29704)
    put(top, f"{PLACE.format(subject)}/I7/X_MR_Br_2006_S1_I7.nii")
    text(
        tmp_path / "scans_1_02_2024.csv",
        HEADER,
        f"I29704,{subject},CN,F,76,sc,MRI,MPRAGE,Original,11/15/2006,DCM,",
        f"7,{subject},MCI,F,76,sc,MRI,N3,Processed,11/15/2006,NiFTI,",
    )
    text(tmp_path / "Demographics_1Jan2024.csv", "PATNO,EVENT_ID", "3102,BL")
    opened = open_dataset(slug, tmp_path)
    found = {one.id: one for one in opened}
    assert {id: (one.patient, one.labels["Group"], one.voxels.shape) for id, one in found.items()} == {
        "I29704": (subject, "CN", (128, 128, 3)), "I7": (subject, "MCI", (2, 3, 4)),
    }  # fmt: skip
    assert found["I29704"].meta["Acq Date"] == "11/15/2006" and opened.passed_over == [
        ("Demographics_1Jan2024.csv", "a table without images")
    ]


def test_what_the_search_table_and_the_folders_do_not_have_in_common_is_named(tmp_path: Path) -> None:
    for subject, image in (("002_S_0413", 1), ("002_S_0559", 2)):
        slices(tmp_path / "ADNI", subject, f"I{image}", image)
    put(tmp_path / "ADNI", f"{PLACE.format('002_S_0413')}/I3/scan.nii")
    text(
        tmp_path / "scans.csv", HEADER, "I2,002_S_0413,CN,F,76,sc,MRI,a,b,c,d,", "I9,002_S_0413,CN,F,76,sc,MRI,a,b,c,d,"
    )
    opened = open_dataset("adni", tmp_path, on_error="collect")
    assert not list(opened)
    told = "\n".join(map(str, opened.errors))
    for words in (
        "does not end in the number",
        "row I1: cannot be read: the image is in no search table",
        "of another subject",
        "its image is not here",
    ):
        assert words in told
    text(tmp_path / "scans.csv", "RID,PTID", "1,002_S_0413")
    with pytest.raises(DatasetError, match="none of the tables here has a column 'Image Data ID'"):
        list(open_dataset("adni", tmp_path))

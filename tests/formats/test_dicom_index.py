"""The index of DICOM headers: pydicom's values, whatever way a header is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from healthfm.errors import DatasetError
from healthfm.formats.dicom import file as dicom
from healthfm.formats.dicom import index as dicom_index
from healthfm.formats.source import Problems
from tests.formats.test_dicom import written
from tests.real_files import PYDICOM, elsewhere


def same(folder: Path) -> int:
    """Compare every file with pydicom; return how many the parser read by itself."""
    alone = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or not dicom.is_dicom(path):
            continue
        try:
            expected: object = dicom_index.by_pydicom(path)
        except DatasetError as error:
            expected = str(error)
        try:
            found: object = dicom_index.read(path)
        except DatasetError as error:
            found = str(error)
        assert found == expected, path.name
        try:
            dicom_index._parse(path.read_bytes())
            alone += 1
        except Exception:
            pass
    return alone


def test_every_file_that_pydicom_ships_has_pydicoms_values() -> None:
    assert same(PYDICOM) > 60


def test_every_file_of_the_collections_has_pydicoms_values() -> None:
    assert same(elsewhere("pydicom_data")) > 30
    assert same(elsewhere("totalsegmentator_examples/tests/reference_files/example_ct_dicom")) == 20
    assert same(elsewhere("cxr_samples")) >= 1


def nested(depth: int, undefined: bool) -> Dataset:
    item = Dataset()
    item.CodeValue = "T-A0100"
    item.RequestedProcedureDescription = "chest"
    if depth:
        item.RequestAttributesSequence = Sequence([nested(depth - 1, undefined), nested(0, undefined)])
        item["RequestAttributesSequence"].is_undefined_length = undefined
    item.is_undefined_length_sequence_item = undefined
    return item


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
@pytest.mark.parametrize("undefined", [False, True])
def test_sequences_of_any_depth_are_passed_over(tmp_path: Path, undefined: bool, syntax: str) -> None:
    holder = nested(4, undefined)
    path = written(tmp_path / "a.dcm", np.zeros((5, 7), np.int16), RequestAttributesSequence=Sequence([holder, holder]))
    data = pydicom.dcmread(path)
    data["RequestAttributesSequence"].is_undefined_length = undefined
    data.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(path, data, implicit_vr=syntax.endswith("1.2"), little_endian=True)
    row = dicom_index._parse(path.read_bytes())
    assert row == dicom_index.by_pydicom(path)
    assert (row["Rows"], row["Columns"], row["PatientID"]) == (5, 7, "MRN-4711")


def test_a_header_longer_than_the_first_bytes_is_read_on(tmp_path: Path) -> None:
    path = written(tmp_path / "a.dcm", np.zeros((5, 7), np.int16), ImageComments="x" * 100, PatientComments="y" * 9000)
    assert dicom_index.read(path)["Rows"] == 5


@pytest.mark.parametrize(
    "tags",
    [
        {"SpecificCharacterSet": "ISO_IR 100", "PatientID": "Müller"}, {"PatientID": " lead"}, {"PatientID": ""},
        {"Modality": ""}, {"ImagePositionPatient": [1.5, -2, 3e2]}, {"PixelSpacing": [0.5, 0.25]}, {"SliceThickness": None},
        {"NumberOfFrames": "1"}, {"InstanceNumber": "-3"},
    ],
)  # fmt: skip
def test_values_of_any_form_are_pydicoms(tmp_path: Path, tags: dict[str, object]) -> None:
    path = written(tmp_path / "a.dcm", np.zeros((2, 2), np.int16), **tags)
    assert dicom_index.read(path) == dicom_index.by_pydicom(path)


def test_a_folder_is_read_in_order_and_files_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    shutil.copy(PYDICOM / "CT_small.dcm", tmp_path / "b.dcm")
    (tmp_path / "a").mkdir()
    shutil.copy(PYDICOM / "MR_small.dcm", tmp_path / "a" / "IM0001")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "c.dcm").write_text("broken")
    problems = Problems("collect")
    found = list(dicom_index.index(tmp_path, problems))
    assert [(p.name, row["Modality"], row["Rows"]) for p, row in found] == [("b.dcm", "CT", 128), ("IM0001", "MR", 64)]
    assert [str(e).rpartition("/")[2] for e in problems.found] == [
        "c.dcm: not a DICOM file, or its first bytes are damaged"
    ]
    with pytest.raises(DatasetError, match="not a DICOM file"):
        list(dicom_index.index(tmp_path))


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be opened"):
        dicom_index.read(tmp_path / "gone.dcm")

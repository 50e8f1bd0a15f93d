"""DICOM series to volumes: SimpleITK's voxels and geometry, and no stack that is not one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from healthfm.errors import DatasetError
from healthfm.formats.dicom import series as dicom_series
from tests.formats.test_dicom import written
from tests.real_files import PYDICOM, elsewhere

TILTED = [0.8, 0.6, 0, 0, 0, -1]  # across and down, of a stack that runs askew through the patient


def by_itk(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), np.diag([-1, -1, 1, 1]) @ matrix


def stack(folder: Path, change: Callable[[int, dict[str, object]], None] = lambda n, tags: None) -> Path:
    """Write six slices in an order other than their positions'."""
    folder.mkdir(exist_ok=True)
    normal = np.cross(TILTED[:3], TILTED[3:])
    for number in (3, 0, 5, 1, 4, 2):
        tags: dict[str, object] = {
            "SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2", "Modality": "CT", "InstanceNumber": 6 - number,
            "ImagePositionPatient": [round(float(v), 4) for v in np.array([-10, 20, 30]) + 2.5 * number * normal],
            "ImageOrientationPatient": TILTED, "PixelSpacing": [0.5, 0.75], "SOPInstanceUID": f"1.2.3.{number}",
            "RescaleSlope": 1, "RescaleIntercept": -1024, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        }  # fmt: skip
        change(number, tags)
        if tags:
            pixels = np.full((4, 3), number * 100, np.int16) + np.arange(12, dtype=np.int16).reshape(4, 3)
            written(folder / f"{(number * 7) % 11}.dcm", pixels, **tags)
    return folder


def test_a_real_ct_has_the_voxels_and_the_affine_of_simpleitk() -> None:
    folder = elsewhere("totalsegmentator_examples/tests/reference_files/example_ct_dicom")
    voxels, affine = by_itk(folder)
    np.testing.assert_array_equal(dicom_series.voxels(folder), voxels)
    np.testing.assert_allclose(dicom_series.affine(folder), affine, atol=1e-6)


def test_an_askew_stack_is_sorted_by_position_and_placed_as_simpleitk_places_it(tmp_path: Path) -> None:
    voxels, affine = by_itk(stack(tmp_path / "s"))
    found = dicom_series.voxels(tmp_path / "s")
    assert found.shape == (3, 4, 6) and found.min() == -1024
    assert found[0, 0].tolist() == [n * 100 - 1024 for n in range(6)] and found[1, 0, 0] == -1023
    np.testing.assert_array_equal(found, voxels)
    np.testing.assert_allclose(dicom_series.affine(tmp_path / "s"), affine, atol=1e-3)


def dropped(number: int, tags: dict[str, object]) -> None:
    if number == 2:
        tags.clear()


def twice(number: int, tags: dict[str, object]) -> None:
    if number == 3:
        tags["ImagePositionPatient"] = [-10.0, 20.0, 30.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dropped, r"slices are missing or uneven: 1 of 4 distances differ from 2\.5 mm"),
        (twice, "1 slices lie at the position of another"),
        (lambda n, tags: tags.update(SeriesInstanceUID=f"1.{n % 2}"), "2 series in one folder"),
        (lambda n, tags: tags.update(PixelSpacing=[0.5, 0.5 + 0.1 * n]), "the files differ in PixelSpacing"),
        (lambda n, tags: tags.update(ImageOrientationPatient=[1, 0, 0, 0, 1, 0] if n == 2 else TILTED), "localizer"),
        (lambda n, tags: tags.pop("ImagePositionPatient") if n < 2 else None, "2 of 6 files have no ImagePositionPatient"),
        (lambda n, tags: tags.clear(), "no DICOM images in this folder"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_volume_is_refused(
    tmp_path: Path, change: Callable[[int, dict[str, object]], None], message: str
) -> None:
    folder = stack(tmp_path / "s", change)
    for read in (dicom_series.voxels, dicom_series.affine):
        with pytest.raises(DatasetError, match=message):
            read(folder)


def test_one_slice_is_as_deep_as_it_is_thick(tmp_path: Path) -> None:
    folder = stack(tmp_path / "s", lambda n, tags: tags.clear() if n else tags.update(SliceThickness=4))
    assert np.linalg.norm(dicom_series.affine(folder)[:3, 2]) == pytest.approx(4)


def test_frames_of_an_enhanced_file_are_sorted_by_their_positions(tmp_path: Path) -> None:
    groups, shared = [], Dataset()
    for number in (2, 0, 1):
        position, group = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, 3.0 * number]
        group.PlanePositionSequence = Sequence([position])
        groups.append(group)
    turn, measures = Dataset(), Dataset()
    turn.ImageOrientationPatient, measures.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 2]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([turn]), Sequence([measures])
    array = np.array([2, 0, 1], np.int16)[:, None, None] * np.ones((3, 4, 5), np.int16)
    path = written(
        tmp_path / "a.dcm", array, NumberOfFrames=3,
        PerFrameFunctionalGroupsSequence=Sequence(groups), SharedFunctionalGroupsSequence=Sequence([shared]),
    )  # fmt: skip
    assert dicom_series.voxels(path)[0, 0].tolist() == [0, 1, 2]
    assert dicom_series.affine(path).diagonal().tolist() == [-2, -1, 3, 1]


def test_frames_without_positions_are_no_volume() -> None:
    with pytest.raises(DatasetError, match="not one volume: its frames have no position, orientation or spacing"):
        dicom_series.affine(PYDICOM / "examples_ybr_color.dcm")
    assert pydicom.dcmread(PYDICOM / "examples_ybr_color.dcm").NumberOfFrames == 30


# Straight and even --------------------------------------------------------------------------------------------------------


def moved(jumps: list[float]) -> Callable[[int, dict[str, object]], None]:
    """Return a change that moves slices sideways, along their rows, by so many millimetres."""

    def change(number: int, tags: dict[str, object]) -> None:
        at = np.array(tags["ImagePositionPatient"]) + jumps[number] * np.array(TILTED[:3])
        tags["ImagePositionPatient"] = [round(float(v), 4) for v in at]

    return change


@pytest.mark.parametrize(
    ("jumps", "slice_before"),
    [
        ([0, 0, 0, 15, 15, 15], 2), ([0, 0, 30, 0, 0, 0], 1), ([0, 10, 0, 10, 0, 10], None), ([3, 0, 0, 0, 0, 0], 0),
        ([0, 0, 0, 0, 0, 0.3], 4), ([0, 0.1, 0.4, 0.9, 1.6, 2.5], None),
    ],
)  # fmt: skip
def test_slices_that_jump_or_drift_within_their_plane_are_refused(
    tmp_path: Path, jumps: list[float], slice_before: int | None
) -> None:
    folder = stack(tmp_path / "s", moved(jumps))
    name = r"\d+" if slice_before is None else str(slice_before * 7 % 11)
    for read in (dicom_series.voxels, dicom_series.affine):
        with pytest.raises(
            DatasetError, match=rf"slices jump within their plane, by up to [\d.]+ mm \(after {name}\.dcm\)"
        ):
            read(folder)


def test_a_tilted_gantry_is_a_sheared_affine_and_a_lean_beyond_any_gantry_is_refused(tmp_path: Path) -> None:
    folder = stack(tmp_path / "s", moved([0.5 * n for n in range(6)]))
    voxels, affine = by_itk(stack(tmp_path / "plain"))
    np.testing.assert_array_equal(dicom_series.voxels(folder), voxels)
    sheared = affine.copy()
    sheared[:3, 2] += 0.5 * np.array([-0.8, -0.6, 0])  # along the rows, in RAS
    np.testing.assert_allclose(dicom_series.affine(folder), sheared, atol=1e-3)
    with pytest.raises(DatasetError, match="slices lie askew: each is moved within its plane, by 63 degrees"):
        dicom_series.affine(stack(tmp_path / "askew", moved([5.0 * n for n in range(6)])))


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "orientation is not two directions"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "orientation is not two directions"),
        ({"PixelSpacing": [0, 0.5]}, "spacings above 0"),
    ],
)
def test_a_geometry_that_places_nothing_is_refused(tmp_path: Path, tags: dict[str, object], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        dicom_series.affine(stack(tmp_path / "s", lambda n, found: found.update(tags)))


@pytest.mark.parametrize("name", ["EchoNumbers", "TemporalPositionIdentifier"])
def test_echoes_and_time_points_between_each_other_are_told_apart(tmp_path: Path, name: str) -> None:
    folder = stack(tmp_path / "s", lambda n, tags: tags.update({name: 1 + n % 2}))
    with pytest.raises(DatasetError, match=f"not one volume: 2 volumes, which {name} tells apart"):
        dicom_series.voxels(folder)


def test_a_frame_whose_pixels_are_of_another_size_is_refused(tmp_path: Path) -> None:
    groups = []
    for number in range(3):
        place, turn, size, group = Dataset(), Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient, turn.ImageOrientationPatient = [0, 0, 3.0 * number], [1, 0, 0, 0, 1, 0]
        size.PixelSpacing = [1, 2 if number == 2 else 1]
        group.PlanePositionSequence, group.PlaneOrientationSequence = Sequence([place]), Sequence([turn])
        group.PixelMeasuresSequence = Sequence([size])
        groups.append(group)
    path = written(tmp_path / "a.dcm", np.zeros((3, 4, 5), np.int16), NumberOfFrames=3, PerFrameFunctionalGroupsSequence=Sequence(groups))  # fmt: skip
    with pytest.raises(DatasetError, match="its frames have different pixel spacings"):
        dicom_series.affine(path)


def test_a_report_among_the_slices_is_left_out_and_an_image_that_lacks_its_size_is_not(tmp_path: Path) -> None:
    folder = stack(tmp_path / "s")
    data = pydicom.dcmread(folder / "0.dcm")
    for name in ("PixelData", "Rows", "Columns"):
        delattr(data, name)
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    pydicom.dcmwrite(folder / "report.dcm", data)
    assert dicom_series.voxels(folder).shape == (3, 4, 6)
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    pydicom.dcmwrite(folder / "report.dcm", data)
    with pytest.raises(DatasetError, match="1 of 7 files have no Rows"):
        dicom_series.voxels(folder)

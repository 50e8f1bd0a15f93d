"""Volumes of any format under one convention: nibabel's axes and millimetres."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from healthfm.errors import DatasetError
from healthfm.formats import volume
from healthfm.formats.source import Source
from tests.formats.test_dicom_series import stack

ARRAY = np.random.default_rng(0).integers(-500, 3000, (7, 6, 5)).astype(np.int16)
AFFINE = np.array([[0, -0.8, 0, 12], [0.9, 0, 0, -7], [0, 0, 2.5, 30], [0, 0, 0, 1.0]])


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    nib.save(nib.Nifti1Image(ARRAY, AFFINE), tmp_path / "a.nii.gz")
    return tmp_path / "a.nii.gz"


@pytest.mark.parametrize("name", ["b.mha", "b.mhd", "b.nrrd", "b.nii"])
def test_one_volume_in_every_format_has_the_same_voxels_and_place(tmp_path: Path, nifti: Path, name: str) -> None:
    sitk.WriteImage(sitk.ReadImage(str(nifti)), str(tmp_path / name))
    for path in (nifti, tmp_path / name):
        np.testing.assert_array_equal(volume.voxels(Source(path)), ARRAY)
        np.testing.assert_allclose(volume.affine(Source(path)), AFFINE, atol=1e-5)
    assert volume.spacing(volume.affine(Source(nifti))) == pytest.approx((0.9, 0.8, 2.5))


def test_a_dicom_series_and_its_nifti_have_the_same_voxels_at_the_same_place(tmp_path: Path) -> None:
    folder = stack(tmp_path / "s")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    sitk.WriteImage(reader.Execute(), str(tmp_path / "s.nii.gz"))
    np.testing.assert_array_equal(volume.voxels(Source(folder)), volume.voxels(Source(tmp_path / "s.nii.gz")))
    np.testing.assert_allclose(volume.affine(Source(folder)), volume.affine(Source(tmp_path / "s.nii.gz")), atol=1e-3)


def test_channels_are_the_last_axis(tmp_path: Path) -> None:
    colours = np.random.default_rng(1).integers(0, 255, (4, 5, 6, 3), dtype=np.uint8)  # z, y, x, channel
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "c.mha"))
    np.testing.assert_array_equal(volume.voxels(Source(tmp_path / "c.mha")), colours.transpose(2, 1, 0, 3))


def test_to_ras_turns_axes_as_nibabel_does_and_keeps_every_voxel_where_it_is(nifti: Path) -> None:
    expected = nib.as_closest_canonical(nib.load(nifti))
    array, affine = volume.to_ras(volume.voxels(Source(nifti)), volume.affine(Source(nifti)))
    np.testing.assert_array_equal(array, np.asanyarray(expected.dataobj))
    np.testing.assert_allclose(affine, expected.affine, atol=1e-6)
    assert nib.aff2axcodes(affine) == ("R", "A", "S")


@pytest.mark.parametrize("place", ["../secret.raw", "/etc/hostname", "..\\\\secret.raw"])
@pytest.mark.parametrize("name", ["a.mhd", "a.nrrd"])
def test_a_header_may_not_point_out_of_its_folder(tmp_path: Path, name: str, place: str) -> None:
    text = {
        "a.mhd": f"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = {place}\n",
        "a.nrrd": f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\ndata file: {place}\n\n",
    }[name]
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.raw").write_bytes(bytes(8))
    (tmp_path / "in" / name).write_text(text)
    for read in (volume.voxels, volume.affine):
        with pytest.raises(DatasetError, match="lies outside its own folder; refused"):
            read(Source(tmp_path / "in" / name))


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.nii.gz", "a.xyz"])
def test_what_is_no_volume_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no volume at all")
    with pytest.raises(DatasetError, match=rf"{name}: not a ") as caught:
        volume.voxels(Source(tmp_path / name))
    assert "\n" not in str(caught.value)

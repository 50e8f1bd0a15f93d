"""Volumes of any format under one convention: nibabel's axes and millimetres."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

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


# What headers leave open ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(("unit", "scale"), [("meter", 1000), ("mm", 1), ("micron", 0.001), ("unknown", 1)])
def test_an_affine_is_in_millimetres_whatever_the_files_unit(
    tmp_path: Path, kind: type, unit: str, scale: float
) -> None:
    image = kind(ARRAY, AFFINE)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_allclose(volume.affine(Source(tmp_path / "a.nii.gz"))[:3], AFFINE[:3] * scale, rtol=1e-6)
    if kind is nib.Nifti1Image:
        by_itk = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
        assert volume.spacing(volume.affine(Source(tmp_path / "a.nii.gz"))) == pytest.approx(
            by_itk.GetSpacing(), rel=1e-5
        )


def with_header(path: Path, **fields: tuple[int, str, list[float]]) -> Source:
    """Write a NIfTI-1 file and overwrite fields of its header: (offset, kind, values)."""
    nib.save(nib.Nifti1Image(ARRAY, AFFINE), path)
    data = bytearray(path.read_bytes())
    for offset, kind, values in fields.values():
        struct.pack_into(f"<{len(values)}{kind}", data, offset, *values)
    path.write_bytes(data)
    return Source(path)


ZERO_ROWS, NO_SFORM, QFORM = (280, "f", [0.0] * 12), (254, "h", [0]), (252, "h", [1])


def test_a_sform_that_is_all_zero_is_none_and_the_qform_counts(tmp_path: Path) -> None:
    source = with_header(tmp_path / "a.nii", rows=ZERO_ROWS, code=QFORM)
    np.testing.assert_allclose(volume.affine(source), AFFINE, atol=1e-5)
    with pytest.raises(DatasetError, match=r"b\.nii: its sform is said to be set but is all zero, and it has no qform"):
        volume.affine(with_header(tmp_path / "b.nii", rows=ZERO_ROWS))


def test_where_sform_and_qform_differ_the_sform_counts_as_for_nibabel(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ARRAY, AFFINE)
    image.set_qform(np.diag([3, 3, 3, 1]), code=1)
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(
        volume.affine(Source(tmp_path / "a.nii")), nib.load(tmp_path / "a.nii").affine, atol=1e-6
    )


def test_a_qform_that_turns_the_third_axis_is_heeded(tmp_path: Path) -> None:
    source = with_header(tmp_path / "a.nii", sform=NO_SFORM, code=QFORM, qfac=(76, "f", [-1.0]))
    np.testing.assert_allclose(volume.affine(source), AFFINE @ np.diag([1, 1, -1, 1]), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows": (280, "f", [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0])}, "singular"),
        ({"rows": (280, "f", [float("nan")] * 12)}, "not finite"),
        ({"sform": NO_SFORM, "pixdim": (76, "f", [1, 0, 0, 0])}, "singular"),
    ],
)
def test_an_affine_that_places_nothing_is_refused_by_name(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=rf"a\.nii: its affine .*{message}"):
        volume.affine(with_header(tmp_path / "a.nii", **fields))


@pytest.mark.parametrize(
    ("given", "shape"),
    [((4, 3), (4, 3, 1)), ((4, 3, 1), (4, 3, 1)), ((4, 3, 2, 1), (4, 3, 2)), ((4, 3, 2, 1, 1), (4, 3, 2)), ((4, 3, 2, 5), (4, 3, 2, 5))],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha"])
def test_axes_of_one_beyond_the_third_are_dropped_and_a_plane_is_one_slice(
    tmp_path: Path, name: str, given: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    if name == "a.mha" and len(given) > 4:
        pytest.skip("ITK has four axes")
    array = np.arange(np.prod(given), dtype=np.int16).reshape(given)
    if name == "a.mha":
        sitk.WriteImage(sitk.GetImageFromArray(array.transpose(), isVector=False), str(tmp_path / name))
    else:
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / name)
    source = Source(tmp_path / name)
    np.testing.assert_array_equal(volume.voxels(source), array.reshape(shape))
    turned, matrix = volume.to_ras(volume.voxels(source), volume.affine(source))
    assert turned.shape == shape and np.isfinite(matrix).all()


@pytest.mark.parametrize("name", ["a.NII", "a.Nii.Gz", "a.nii.GZ", "a.MHA", "a.NRRD"])
def test_suffixes_are_known_in_any_case(tmp_path: Path, nifti: Path, name: str) -> None:
    if "ii" in name.lower():
        plain = tmp_path / f"b{name[1:].lower()}"
        nib.save(nib.Nifti1Image(ARRAY, AFFINE), plain)
    else:
        plain = tmp_path / f"b{name[1:].lower()}"
        sitk.WriteImage(sitk.ReadImage(str(nifti)), str(plain))
    plain.rename(tmp_path / name)
    np.testing.assert_array_equal(volume.voxels(Source(tmp_path / name)), ARRAY)
    np.testing.assert_allclose(volume.affine(Source(tmp_path / name)), AFFINE, atol=1e-5)


def test_a_pair_of_header_and_voxels_is_one_volume_and_analyze_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(ARRAY, AFFINE), tmp_path / "a.hdr")
    np.testing.assert_array_equal(volume.voxels(Source(tmp_path / "a.hdr")), ARRAY)
    np.testing.assert_allclose(volume.affine(Source(tmp_path / "a.hdr")), AFFINE, atol=1e-5)
    nib.save(nib.AnalyzeImage(ARRAY, np.eye(4)), tmp_path / "b.hdr")
    for read in (volume.voxels, volume.affine):
        with pytest.raises(DatasetError, match=r"b\.hdr: Analyze 7\.5, which does not say which side is left"):
            read(Source(tmp_path / "b.hdr"))


def test_complex_voxels_are_refused_and_colours_are_channels(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(ARRAY.astype(np.complex64), AFFINE), tmp_path / "c.nii")
    with pytest.raises(DatasetError, match=r"c\.nii: complex voxels; save their magnitude"):
        volume.voxels(Source(tmp_path / "c.nii"))
    colours = np.zeros(ARRAY.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"] = 7
    nib.save(nib.Nifti1Image(colours, AFFINE), tmp_path / "r.nii")
    found = volume.voxels(Source(tmp_path / "r.nii"))
    assert found.shape == (*ARRAY.shape, 3) and found[0, 0, 0].tolist() == [0, 7, 0]

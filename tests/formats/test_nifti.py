"""NIfTI: nibabel's values, dtype and affine, for real files and for every way a header can be written."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthfm.errors import DatasetError
from healthfm.formats import nifti
from healthfm.formats.source import Source
from tests.real_files import NIBABEL, elsewhere


def same(path: Path) -> None:
    image = nib.load(path)
    expected = np.asanyarray(image.dataobj)
    found = nifti.voxels(Source(path))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(nifti.affine(Source(path)), image.affine, atol=1e-6)
    assert nifti.shape(Source(path)) == image.shape


def test_every_volume_that_nibabel_ships_is_read_as_nibabel_reads_it() -> None:
    files = [p for p in (*NIBABEL.glob("*.nii"), *NIBABEL.glob("*.nii.gz")) if ".dconn" not in p.name]
    assert len(files) >= 5
    for path in files:
        same(path)


def test_real_ct_mr_and_label_maps_are_read_as_nibabel_reads_them() -> None:
    files = list(elsewhere("totalsegmentator_examples").rglob("*.nii.gz"))
    assert len(files) > 100
    for path in sorted(files, key=lambda p: p.stat().st_size)[:: len(files) // 12]:
        same(path)


ARRAY = np.random.default_rng(0).integers(-500, 3000, (7, 6, 5)).astype(np.int16)
AFFINE = np.array([[-0.8, 0.1, 0, 12], [0.1, 0.9, 0.2, -7], [0, 0.2, 2.5, 30], [0, 0, 0, 1]])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "i4", "f4", "f8", "u2", "i8", "i1", ">f4"])
def test_every_number_type_and_byte_order(
    tmp_path: Path, kind: type, dtype: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = ">" if dtype[0] == ">" else "<"
    header = (nib.Nifti1Header if kind is nib.Nifti1Image else nib.Nifti2Header)(endianness=order)
    header.set_data_dtype(dtype)
    image = kind(ARRAY.astype(dtype), AFFINE, header)
    nib.save(image, tmp_path / f"a{suffix}")
    monkeypatch.setattr(nifti, "_by_nibabel", None)  # none of these is so rare that it would be needed
    same(tmp_path / f"a{suffix}")


@given(
    sform=st.booleans(), qform=st.booleans(), flip=st.booleans(), ndim=st.integers(1, 5), scale=st.sampled_from([None, (2.5, -3), (1, 0), (0, 5)]),
    turn=st.tuples(*[st.floats(-3, 3)] * 3),
)  # fmt: skip
def test_every_affine_and_scale(
    tmp_path_factory: pytest.TempPathFactory, sform: bool, qform: bool, flip: bool, ndim: int,
    scale: tuple[float, float] | None, turn: tuple[float, float, float],
) -> None:  # fmt: skip
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", turn).as_matrix() * [1, 2, -3 if flip else 3]
    matrix[:3, 3] = 5, -6, 7
    image = nib.Nifti1Image(np.arange(120, dtype=np.int16)[: 2**ndim].reshape((2,) * ndim), None)
    image.header.set_sform(AFFINE if sform else None, int(sform))
    image.header.set_qform(matrix if qform else None, int(qform))
    path = tmp_path_factory.mktemp("a") / "a.nii.gz"
    nib.save(image, path)
    if scale is not None:
        data = bytearray(gzip.decompress(path.read_bytes()))
        data[112:120] = np.array(scale, "<f4").tobytes()
        path.write_bytes(gzip.compress(bytes(data)))
    same(path)


def test_what_is_rare_goes_to_nibabel(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(ARRAY.astype(np.complex64), AFFINE), tmp_path / "complex.nii.gz")
    same(tmp_path / "complex.nii.gz")
    whole = tmp_path / "whole.nii"
    nib.save(nib.Nifti1Image(ARRAY, AFFINE), whole)
    data = whole.read_bytes()
    (tmp_path / "members.nii.gz").write_bytes(gzip.compress(data[:300]) + gzip.compress(data[300:]))
    np.testing.assert_array_equal(nifti.voxels(Source(tmp_path / "members.nii.gz")), ARRAY)


def test_a_volume_inside_an_archive_is_the_same_volume(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(ARRAY, AFFINE), tmp_path / "a.nii.gz")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.write(tmp_path / "a.nii.gz", "in/a.nii.gz")
    source = Source(tmp_path / "a.zip", "in/a.nii.gz")
    np.testing.assert_array_equal(nifti.voxels(source), ARRAY)
    np.testing.assert_allclose(nifti.affine(source), AFFINE, atol=1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("keep", [0, 100, 400, 0.7])
def test_a_file_cut_short_is_an_error(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"a{suffix}"
    nib.save(nib.Nifti1Image(ARRAY, AFFINE), path)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size) if isinstance(keep, float) else keep])
    with pytest.raises(DatasetError, match=rf"a{suffix}: "):
        nifti.voxels(Source(path))


def test_a_flipped_bit_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(ARRAY, AFFINE), path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(DatasetError, match=r"cut short|not a readable"):
        nifti.voxels(Source(path))


def test_a_header_that_claims_more_than_its_bytes_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(ARRAY, AFFINE), path)
    data = bytearray(path.read_bytes())
    data[40:56] = np.array([3, 32767, 32767, 32767, 1, 1, 1, 1], "<i2").tobytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(DatasetError, match=r"cut short: .* packed bytes cannot hold"):
        nifti.voxels(Source(tmp_path / "b.nii.gz"))


def test_a_nifti_of_surfaces_is_no_volume(tmp_path: Path) -> None:
    axes = nib.cifti2.ScalarAxis(["a"]), nib.cifti2.BrainModelAxis.from_surface(range(5), 5, "CortexLeft")
    nib.save(nib.Cifti2Image(np.zeros((1, 5), np.float32), axes), tmp_path / "a.dscalar.nii")
    with pytest.raises(DatasetError, match="surfaces or matrices, not of a volume"):
        nifti.shape(Source(tmp_path / "a.dscalar.nii"))

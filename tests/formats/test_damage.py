"""Files with any bytes changed or cut off are read or are one of our errors, whatever the format."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from healthfm.errors import HealthfmError
from healthfm.formats import image, nifti
from healthfm.formats.dicom import index as dicom_index
from healthfm.formats.dicom import picture as dicom_picture
from healthfm.formats.dicom import series as dicom_series
from healthfm.formats.npz import Arrays
from healthfm.formats.source import Source
from tests.real_files import PYDICOM

ARRAY = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
CHANGES = 60


def whole(name: str, folder: Path) -> Path:
    """Return an undamaged file of this name."""
    path = folder / name
    if (PYDICOM / name).is_file():
        return PYDICOM / name
    if name == "deep.png":
        path.write_bytes(imagecodecs.png_encode(ARRAY.astype(np.uint16) * 200))
    elif name == "a.npz":
        np.savez(path, x=ARRAY)
    elif ".nii" in name:
        nib.save(nib.Nifti1Image(ARRAY[..., 0].astype(np.int16), np.eye(4)), path)
    else:
        Image.fromarray(ARRAY).save(path)
    return path


def read_dicom(path: Path) -> None:
    for read in (
        lambda: dicom_picture.picture(Source(path)),
        lambda: dicom_index.read(path),
        lambda: dicom_series.affine(path),
    ):
        try:
            read()
        except HealthfmError as error:
            assert "\n" not in str(error)


def read_nifti(path: Path) -> Any:
    return nifti.voxels(Source(path)), nifti.affine(Source(path))


READERS: dict[str, Callable[[Path], Any]] = {
    **dict.fromkeys(("a.jpg", "a.png", "a.bmp", "a.tif", "deep.png"), lambda p: image.pixels(Source(p))),
    **dict.fromkeys(("a.nii", "a.nii.gz"), read_nifti),
    **dict.fromkeys(
        ("CT_small.dcm", "MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm",
         "examples_palette.dcm", "MR_small_implicit.dcm", "liver_1frame.dcm", "SC_rgb_jpeg_gdcm.dcm"), read_dicom,
    ),
    "a.npz": lambda p: dict(Arrays(Source(p))),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_damage_is_told_and_never_thrown(tmp_path: Path, name: str) -> None:
    draw = random.Random(name)
    data = whole(name, tmp_path).read_bytes()
    path = tmp_path / f"damaged-{name}"
    for _ in range(CHANGES):
        spoilt = bytearray(data)
        for _ in range(draw.choice((1, 1, 3, 30))):
            spoilt[draw.randrange(min(len(spoilt), draw.choice((300, 2000, 10**9))))] = draw.choice(
                (0, 255, draw.randrange(256))
            )
        if draw.random() < 0.2:
            del spoilt[draw.randrange(len(spoilt)) :]
        path.write_bytes(spoilt)
        try:
            READERS[name](path)
        except HealthfmError as error:
            assert "\n" not in str(error)

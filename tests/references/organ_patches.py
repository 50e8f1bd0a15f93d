"""Cut ``tests/data/organs.npz``, small real CT pictures by organ, out of TotalSegmentator's own test files.

    python -m tests.references.organ_patches FOLDER

FOLDER is a checkout of github.com/wasserth/TotalSegmentator (seen at 0e65a448d557382b1e925276212b3bec7f5aff83, Apache-2.0). Two
patients' CT series and their reference segmentations are laid on 3 mm, windowed to soft tissue (-160 to 240) and cut to squares
around voxels of an organ: one patient's are ``train_images``, the other's ``test_images``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

TARGET = Path(__file__).parents[1] / "data" / "organs.npz"
FILES = Path("tests/reference_files")
ORGANS = {"spleen": (1,), "liver": (5,), "stomach": (6,), "aorta": (52,), "vertebra": (31, 32, 33, 34), "left back muscle": (86,), "right back muscle": (87,)}  # fmt: skip
SIDE, AIR, BLACK, WHITE = 32, -1000, -160, 240
Arrays = dict[str, np.ndarray]


def on_3_mm(image: sitk.Image, filled: float, rule: int) -> np.ndarray:
    """Return voxels [slices feet first, front to back, right to left], 3 mm apart."""
    image = sitk.DICOMOrient(image, "LPS")
    size = [round(count * apart / 3) for count, apart in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    laid = sitk.Resample(image, size, sitk.Transform(), rule, image.GetOrigin(), (3.0, 3.0, 3.0), image.GetDirection(), filled)  # fmt: skip
    return sitk.GetArrayFromImage(laid)


def squares(ct: sitk.Image, organs: sitk.Image, each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures uint8 [n, side, side] around drawn voxels of each organ, and the organs' numbers [n, 1]."""
    voxels, names = on_3_mm(ct, AIR, sitk.sitkLinear), on_3_mm(organs, 0, sitk.sitkNearestNeighbor)
    grey = np.rint(np.clip((voxels.astype(np.float32) - BLACK) / (WHITE - BLACK), 0, 1) * 255).astype(np.uint8)
    wide = np.pad(grey, ((0, 0), (SIDE // 2, SIDE // 2), (SIDE // 2, SIDE // 2)))
    rng, found = np.random.default_rng(seed), []
    for labels in ORGANS.values():
        places = np.argwhere(np.isin(names, labels))
        chosen = places[rng.permutation(len(places))[:each]]
        found.append(np.stack([wide[z, y : y + SIDE, x : x + SIDE] for z, y, x in chosen]))
    return np.concatenate(found), np.repeat(np.arange(len(ORGANS)), each)[:, None].astype(np.uint8)


def cut(folder: Path) -> Arrays:
    """Return the arrays of MedMNIST's layout."""
    files = folder / FILES
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(files / "example_ct_dicom")))
    one = [sitk.ReadImage(str(files / name)) for name in ("example_ct_sm.nii.gz", "example_seg.nii.gz")]
    other = [reader.Execute(), sitk.ReadImage(str(files / "example_seg_dicom.nii.gz"))]
    train, test = squares(*one, each=80, seed=0), squares(*other, each=30, seed=1)
    return {"train_images": train[0], "train_labels": train[1], "test_images": test[0], "test_labels": test[1]}


if __name__ == "__main__":
    np.savez_compressed(TARGET, **cut(Path(sys.argv[1])))

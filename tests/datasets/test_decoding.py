"""``check`` decodes: the planted fault of each family of layouts has its line, and the rest of the copy goes on."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from healthfm.datasets.check import check_dataset
from tests.cli.command import run
from tests.datasets.drawn import put as draw
from tests.datasets.test_arrays import mrnet
from tests.datasets.test_dicom_collections import series
from tests.datasets.test_lesions import nerves
from tests.datasets.test_slides_and_tiles import biopsies
from tests.datasets.test_video import dynamic
from tests.datasets.test_volumes import put
from tests.formats.segmentations import segmentation

CASE = "AbdomenCT-1K-ImagePart1/Case_0000{}_0000.nii.gz", "Mask/Case_0000{}.nii.gz"


def cut(path: Path, share: float = 0.6) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def scans(root: Path) -> Path:
    """Three series of the archive's tree, of which the first shall be damaged."""
    top = root / "manifest-1/C4KC-KiTS/KiTS-00000/01-01-2000-NA-abd-1"
    for uid in ("1.2", "1.3"):
        series(top / f"{uid}-art", uid, "KiTS-00000", 4)
    return top / "1.2-art"


def missing_slice(root: Path) -> None:
    (scans(root) / "1-002.dcm").unlink()


def doubled_slice(root: Path) -> None:
    folder = scans(root)
    data = pydicom.dcmread(folder / "1-002.dcm")
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.99"
    pydicom.dcmwrite(folder / "1-009.dcm", data)


def mixed_orientations(root: Path) -> None:
    path = scans(root) / "1-003.dcm"
    data = pydicom.dcmread(path)
    data.ImageOrientationPatient = [0, 1, 0, 0, 0, 1]
    pydicom.dcmwrite(path, data)


def cut_slice(root: Path) -> None:
    cut(scans(root) / "1-003.dcm")


def mask_between_slices(root: Path) -> None:
    folder = scans(root)
    path = segmentation(folder.parent / "seg/1.dcm", folder, [("Mass", np.ones((4, 9, 9), bool))])
    data = pydicom.dcmread(path)
    data.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient[2] += 2
    pydicom.dcmwrite(path, data)


def cases(root: Path, shape: bool) -> None:
    for number in (1, 2):
        put(root, CASE[0].format(number))
        put(root, CASE[1].format(number), [1], np.eye(4) if number == 2 and not shape else np.diag([1.0, 1, 3, 1]))
    if shape:
        import nibabel

        small = nibabel.Nifti1Image(np.zeros((2, 3, 3), np.uint8), np.diag([1.0, 1, 3, 1]))
        small.to_filename(root / CASE[1].format(2))


def half_there(root: Path) -> None:
    cases(root, True)
    put(root, CASE[1].format(2), [1])
    put(root, CASE[0].format(3))
    put(root, CASE[1].format(4), [1])


def other_mask(root: Path) -> None:
    nerves(root)
    draw(root / "train/1_10_mask.tif", np.zeros((3, 3), np.uint8))


def cut_picture(root: Path) -> None:
    nerves(root)
    cut(root / "train/1_10.tif")


def cut_array(root: Path) -> None:
    cut(mrnet(root) / "MRNet-v1.0/train/axial/0001.npy", 0.9)


def lying_film(root: Path) -> None:
    path = next((dynamic(root) / "EchoNet-Dynamic/Videos").glob("0X1005*"))
    raw = bytearray(path.read_bytes())
    at = raw.index(b"strh") + 40  # dwLength of the stream's header
    assert struct.unpack_from("<I", raw, at)[0] == 4
    struct.pack_into("<I", raw, at, 9)
    path.write_bytes(raw)


def cut_film(root: Path) -> None:
    cut(next((dynamic(root) / "EchoNet-Dynamic/Videos").glob("0X1005*")), 0.3)


def far_outline(root: Path) -> None:
    biopsies(root, "0,0,0,1", "1,0,0,0", geometry="POLYGON ((90010 5, 90020 5, 90020 25, 90010 5))")


def figures(root: Path) -> list[str]:
    names = ["PMC1_f1.jpg", "PMC2_f1.jpg", "PMC3_f1.jpg"]
    (root / "pmc_oa.jsonl").write_text("".join(json.dumps({"image": one, "caption": "c"}) + "\n" for one in names))
    return names


def cut_member(root: Path) -> None:
    pack(root, figures(root), broken="PMC2_f1.jpg")


def unlisted_and_absent(root: Path) -> None:
    pack(root, [*figures(root)[1:], "PMC9_f9.jpg"])


def pack(root: Path, names: list[str], broken: str = "") -> None:
    with zipfile.ZipFile(root / "images.zip", "w") as archive:
        for name in names:
            held = io.BytesIO()
            Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)).save(held, "JPEG")
            raw = held.getvalue()
            archive.writestr(
                f"caption_T060_filtered_top4_sep_v0_subfigures/{name}", raw[:400] if name == broken else raw
            )


FAULTS: dict[str, tuple[str, Callable[[Path], object], tuple[str, ...], int]] = {
    "F11 mask of another size": ("ultrasound-nerve-segmentation", other_mask, ("1_10", "3 x 3"), 4),
    "F11 picture cut short": ("ultrasound-nerve-segmentation", cut_picture, ("1_10.tif", "damaged, or cut short"), 4),
    "F12 slice missing": ("tcia", missing_slice, ("1.2-art", "slices are missing or uneven"), 2),
    "F12 slice doubled": ("tcia", doubled_slice, ("1.2-art", "lie at the position of another"), 2),
    "F12 mixed orientations": ("tcia", mixed_orientations, ("1.2-art", "differ in ImageOrientationPatient"), 2),
    "F12 slice cut short": ("tcia", cut_slice, ("1-003.dcm", "cut short"), 2),
    "F12 SEG between slices": ("tcia", mask_between_slices, ("seg/1.dcm", "another grid"), 2),
    "F13 mask of another shape": (
        "abdomenct-1k",
        lambda root: cases(root, True),
        ("Case_00002", "[2, 3, 3] voxels"),
        2,
    ),
    "F13 mask of another affine": (
        "abdomenct-1k",
        lambda root: cases(root, False),
        ("Case_00002", "affine is not that of"),
        2,
    ),
    "F13 no mask, no image": (
        "abdomenct-1k",
        half_there,
        ("no mask of Case_00003", "Case_00004.nii.gz: a mask without an image"),
        2,
    ),
    "F14 array cut short": ("mrnet:axial", cut_array, ("0001", "cut short"), 3),
    "F15 header lies": ("echonet-dynamic", lying_film, ("0X1005D03EED19C65B", "says 9 frames, 4 are there"), 3),
    "F15 film cut short": ("echonet-dynamic", cut_film, ("0X1005D03EED19C65B",), 3),
    "F16 outline outside": ("tissuenet", far_outline, ("C01_B001_S01", "polygon '2' lies outside"), 2),
    "F17 member cut short": ("pmc-oa", cut_member, ("PMC2_f1.jpg", "damaged, or cut short"), 9),
    "F17 listed, not there": ("pmc-oa", unlisted_and_absent, ("no file 'PMC1_f1.jpg'",), 6),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_has_its_line_and_the_rest_goes_on(fault: str, tmp_path: Path) -> None:
    name, plant, words, count = FAULTS[fault]
    plant(tmp_path)
    found = check_dataset(name, tmp_path)
    told = [one for one in found["faults"] if not one.startswith("split ")]  # a miniature has not the card's counts
    for word in words:
        assert any(word in one for one in told), (word, told)
    assert len(told) == (2 if fault == "F13 no mask, no image" else 1), told
    assert sum(one["records"] for one in found["splits"].values()) == count


def test_what_is_here_and_not_listed_is_passed_over_by_name_and_pixels_may_be_left_out(tmp_path: Path) -> None:
    unlisted_and_absent(tmp_path)
    assert any("PMC9_f9.jpg" in one["file"] for one in check_dataset("pmc-oa", tmp_path)["passed_over"])
    shutil.rmtree(tmp_path / "x", ignore_errors=True)
    cut_member(tmp_path)
    with_pixels, without = (
        " ".join(run("check", "pmc-oa", tmp_path, *more).stdout.split()) for more in ([], ["--no-pixels"])
    )
    assert "cut short" in with_pixels and "cut short" not in without

"""Pictures with marks: DeepLesion's boxes, windows and spacing, and the nerves' masks as files and as run lengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import run_lengths
from healthfm.records import MISSING, Box, Image, Volume
from tests.datasets.drawn import picture, put, text

# DeepLesion -------------------------------------------------------------------------------------------------------------------

DL_INFO = ("File_name,Patient_index,Study_index,Series_ID,Key_slice_index,Measurement_coordinates,Bounding_boxes,Lesion_diameters_Pixel_,"
           "Normalized_lesion_location,Coarse_lesion_type,Possibly_noisy,Slice_range,Spacing_mm_px_,Image_size,DICOM_windows,Patient_gender,Patient_age,Train_Val_Test")  # fmt: skip


def lesion(
    file: str = "000001_01_01_109.png", key: int = 109, box: str = "2, 3, 5, 6", kind: int = 3, noisy: int = 0, slices: str = "108, 110",
    spacing: str = "0.5, 0.25, 5", window: str = "-175, 275", split: int = 1, patient: int = 1,
) -> str:  # fmt: skip
    measured = '"233.537, 95.0204, 234.057, 106.977, 231.169, 101.605, 236.252, 101.143"'
    return (f'{file},{patient},1,1,{key},{measured},"{box}","11.9677, 5.10387","0.44666, 0.283794, 0.434454",{kind},{noisy},"{slices}",'
            f'"{spacing}","8, 10","{window}",F,62,{split}')  # fmt: skip


def deeplesion(root: Path, *rows: str) -> Path:
    text(root / "DL_info.csv", DL_INFO, *rows)
    for number in (108, 109, 110):
        put(root / f"Images_png/000001_01_01/{number:03d}.png", hounsfield(number))
    return root


def hounsfield(number: int, zero: int = 32768) -> np.ndarray:
    """Return 8 rows of 10: -1000 but for the slice's number in the corner and 50 and 275 beside it."""
    pixels = np.full((8, 10), zero - 1000, np.int64)
    pixels[0, :3] = zero + number, zero + 50, zero + 275
    return pixels.astype(np.uint16)


@pytest.mark.evidence("deeplesion", "layout")
def test_deeplesion_key_slices_are_windowed_and_carry_every_lesion_of_theirs(tmp_path: Path) -> None:
    """The columns of DL_info.csv and its lists in cells (tensorflow_datasets deeplesion); value - 32768 is HU."""
    other = "000002_01_01_020.png"
    root = deeplesion(
        tmp_path, lesion(), lesion(box="-4.5, 0.5, 3, 99", kind=5, noisy=1), lesion(other, split=2, patient=2)
    )
    put(root / "Images_png/000002_01_01/020.png", hounsfield(20))
    [record] = open_dataset("deeplesion", root, "train")
    assert isinstance(record, Image) and (record.id, record.patient) == ("000001_01_01_109", "1")
    assert record.boxes == (
        Box("lesion", (2, 3, 5, 6)),
        Box("lesion", (0, 0.5, 3, 8)),
    )  # the second stuck out at three sides
    assert (
        record.meta["lesions"][1]["Bounding_boxes"] == [-4.5, 0.5, 3, 99]
        and record.meta["lesions"][1]["Possibly_noisy"] == "1"
    )
    assert record.labels == {"Coarse_lesion_type": {"mediastinum", "lung"}}
    assert (record.meta["window"], record.meta["spacing"]) == ([-175, 275], [0.5, 0.25, 5])
    assert record.pixels.dtype == np.uint8 and record.pixels[0, :4].tolist() == [
        161,
        128,
        255,
        0,
    ]  # (109 + 175) / 450 of 255
    assert [r.patient for r in open_dataset("deeplesion", root, "validation")] == ["2"]


def test_deeplesion_untyped_lesions_leave_their_slice_without_types(tmp_path: Path) -> None:
    [record] = open_dataset("deeplesion", deeplesion(tmp_path, lesion(kind=-1), lesion(kind=5)), "train")
    assert record.labels == {"Coarse_lesion_type": MISSING} and [one["type"] for one in record.meta["lesions"]] == [
        None,
        "lung",
    ]


def test_deeplesion_volumes_are_hounsfield_units_with_spacing(tmp_path: Path) -> None:
    [record] = open_dataset("deeplesion:volumes", deeplesion(tmp_path, lesion(spacing="0.5, 0.25, -5")), "train")
    assert isinstance(record, Volume) and record.spacing == (0.5, 0.25, 5.0)
    assert record.voxels.shape == (10, 8, 3) and record.voxels.dtype == np.int16
    assert (
        record.voxels[0, 0].tolist() == [108, 109, 110]
        and record.voxels[:3, 0, 0].tolist() == [108, 50, 275]
        and record.voxels[5, 5, 1] == -1000
    )
    assert record.boxes == (Box("lesion", (2, 3, 1, 5, 6, 2)),)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (lesion(box="2, 3, 5"), "'Bounding_boxes' is no list of 4 numbers"),
        (lesion(box="12, 3, 15, 6"), "a box without an inside, or one that lies outside its picture"),
        (lesion(window="275, -175"), "'DICOM_windows' ends before it begins"),
        (lesion(kind=9), "'Coarse_lesion_type' has a value that the card does not know"),
        (lesion(split=4), "'Train_Val_Test' is none of 1, 2 and 3"),
        (lesion("000001_01_01_111.png"), "no file '000001_01_01/111.png'"),
    ],
)
def test_deeplesion_rows_that_are_not_the_layout_are_named(tmp_path: Path, row: str, reason: str) -> None:
    opened = open_dataset(
        "deeplesion", deeplesion(tmp_path, row, lesion("000001_01_01_110.png", 110)), "train", on_error="collect"
    )
    assert [r.id for r in opened] == ["000001_01_01_110"]
    assert (
        len(opened.errors) == 1
        and "DL_info.csv, row 2: cannot be read" in str(opened.errors[0])
        and reason in str(opened.errors[0])
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (lesion(slices="108, 112"), "no file '000001_01_01/111.png'"),
        (lesion(key=120), "'Key_slice_index' is not within"),
    ],
)
def test_deeplesion_volumes_miss_no_slice(tmp_path: Path, row: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=f"row 2: cannot be read: {reason}"):
        list(open_dataset("deeplesion:volumes", deeplesion(tmp_path, row), "train"))


def test_deeplesion_pictures_saved_anew_in_8_bits_are_refused(tmp_path: Path) -> None:
    deeplesion(tmp_path, lesion())
    put(tmp_path / "Images_png/000001_01_01/109.png", np.zeros((8, 10), np.uint8))
    [record] = open_dataset("deeplesion", tmp_path, "train")
    with pytest.raises(DatasetError, match=r"109\.png: not 16 bits of one channel"):
        _ = record.pixels


# Ultrasound nerves ------------------------------------------------------------------------------------------------------------


def nerves(root: Path) -> Path:
    for subject, number, marked in ((1, 1, True), (1, 10, False), (12, 1, True)):
        picture(root / f"train/{subject}_{number}.tif", number, (4, 6))
        nerve = np.zeros((4, 6), np.uint8)
        nerve[1:3, 2] = 255 if marked else 0
        nerve[0, 3] = 255 if marked else 0
        put(root / f"train/{subject}_{number}_mask.tif", nerve)
    picture(root / "test/1.tif", 5, (4, 6))
    text(root / "train_masks.csv", "subject,img,pixels", "1,1,10 2 13 1", "1,10,", "12,1,10 2 13 1")
    return root


@pytest.mark.evidence("ultrasound-nerve-segmentation", "layout")
def test_nerves_masks_lie_beside_their_frames_and_run_down_the_columns(tmp_path: Path) -> None:
    """resources/UNS.md: train/{subject}_{image}.tif and _mask.tif (0, 255), test/{image}.tif, train_masks.csv counted from 1."""
    opened = open_dataset("ultrasound-nerve-segmentation", nerves(tmp_path))
    train = list(opened["train"])
    assert [(r.id, r.patient, r.labels["presence"]) for r in train] == [
        ("train/12_1", "12", "nerve"),
        ("train/1_1", "1", "nerve"),
        ("train/1_10", "1", "no nerve"),
    ]
    [mask] = train[1].masks.values()
    expected = np.zeros((4, 6), bool)
    expected[1:3, 2] = expected[0, 3] = True
    np.testing.assert_array_equal(mask(), expected)
    assert not next(iter(train[2].masks.values()))().any()
    [test] = opened["test"]
    assert (test.id, test.patient, test.labels, test.masks) == ("test/1", None, {"presence": MISSING}, {})
    assert "contradictory masks" in opened.remarks[0]
    for file in tmp_path.glob("train/*_mask.tif"):
        file.unlink()
    from_runs = list(open_dataset("ultrasound-nerve-segmentation", tmp_path, "train"))
    np.testing.assert_array_equal(from_runs[1].masks["brachial plexus"](), expected)  # not its transpose


def test_nerves_masks_that_do_not_fit_are_named(tmp_path: Path) -> None:
    nerves(tmp_path)
    put(tmp_path / "train/1_1_mask.tif", np.zeros((6, 4), np.uint8))
    put(tmp_path / "train/1_10_mask.tif", np.full((4, 6), 7, np.uint8))
    put(tmp_path / "train/99_1_mask.tif", np.zeros((4, 6), np.uint8))
    opened = open_dataset("ultrasound-nerve-segmentation", tmp_path, "train", on_error="collect")
    _, turned, grey = opened
    with pytest.raises(DatasetError, match=r"1_1_mask\.tif: a mask of 4 x 6, its picture has 6 x 4"):
        turned.masks["brachial plexus"]()
    with pytest.raises(DatasetError, match=r"1_10_mask\.tif: no mask of 0 and 255"):
        grey.masks["brachial plexus"]()
    assert "a mask of 99_1, of which there is no frame" in str(opened.errors[0])
    (tmp_path / "train/12_1_mask.tif").unlink()
    text(tmp_path / "train_masks.csv", "subject,img,pixels", "1,1,1 1", "1,10,")
    opened = open_dataset("ultrasound-nerve-segmentation", tmp_path, "train", on_error="collect")
    assert len(list(opened)) == 2 and "row 12_1: cannot be read: the frame has no mask" in str(opened.errors[0])


@pytest.mark.parametrize("runs", ["1", "0 2", "5 2 6 1", "4 x", "24 2", "3 0", "9" * 30 + " 1"])
def test_run_lengths_that_mean_no_mask_are_refused(runs: str) -> None:
    with pytest.raises(BadValue, match="run lengths"):
        run_lengths.mask(runs, 4, 6)


def test_run_lengths_may_touch_and_fill_a_picture() -> None:
    assert run_lengths.mask("1 4 5 20", 4, 6).all() and not run_lengths.mask(" ", 4, 6).any()

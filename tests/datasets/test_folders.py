"""Own files of pixels: class folders, loose files, globs, npz; volumes, DICOM series, slides and films among them."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Pillow

from healthfm import open_dataset
from healthfm.datasets.media import decoded
from healthfm.errors import DatasetError
from healthfm.records import Image, Slide, Video, Volume
from tests.datasets.test_own import picture, put
from tests.formats.test_dicom_series import stack
from tests.formats.test_video import film
from tests.real_files import PYDICOM, SLIDE, elsewhere


def volume(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.full((2, 3, 4), value, np.int16), np.diag([1, 2, 3, 1])), path)
    return path


# Class folders --------------------------------------------------------------------------------------------------------------


def test_class_folders_of_volumes_become_labelled_volumes(tmp_path: Path) -> None:
    for name, value in (("well", 1), ("ill", 2)):
        volume(tmp_path / name / f"{value}.nii.gz", value)
    first, second = open_dataset(tmp_path)
    assert isinstance(first, Volume) and (first.id, first.labels) == ("ill/2.nii.gz", {"class": "ill"})
    assert (first.voxels == 2).all() and first.voxels.shape == (2, 3, 4) and first.spacing == (1, 2, 3)
    np.testing.assert_array_equal(second.affine, np.diag([1, 2, 3, 1]))  # type: ignore[attr-defined]
    assert open_dataset(tmp_path).card.modalities == ("volume",)


def test_a_folder_of_dicom_slices_inside_a_class_folder_is_one_volume(tmp_path: Path) -> None:
    for name in ("ill", "well"):
        (tmp_path / name).mkdir()
        stack(tmp_path / name / "scan1")
    first, _ = open_dataset(tmp_path)
    assert isinstance(first, Volume) and first.id == "ill/scan1"
    assert first.voxels.shape == (3, 4, 6)


def test_dicom_files_in_class_folders_are_pictures_whatever_their_names(tmp_path: Path) -> None:
    for name, file in (("ct", "CT_small.dcm"), ("mr", "MR_small.dcm")):
        (tmp_path / name).mkdir()
        shutil.copy(PYDICOM / file, tmp_path / name / "IM0001")
    first, second = open_dataset(tmp_path)
    assert isinstance(first, Image) and (first.id, first.pixels.shape, first.pixels.dtype) == (
        "ct/IM0001",
        (128, 128),
        np.uint16,
    )
    assert second.pixels.max() == 65535  # type: ignore[attr-defined]


def test_slides_and_films_in_class_folders(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "slides" / name).mkdir(parents=True)
        shutil.copy(SLIDE, tmp_path / "slides" / name / "1.svs")
        (tmp_path / "films" / name).mkdir(parents=True)
        film(tmp_path / "films" / name / "1.mp4", "mpeg4")
    slide, _ = open_dataset(tmp_path / "slides")
    assert isinstance(slide, Slide)
    assert slide.open().mpp == 0.499
    video, _ = open_dataset(tmp_path / "films")
    assert isinstance(video, Video)
    assert video.track().rate == 5 and len(list(video.frames())) == 10


def test_a_voxel_file_beside_its_header_and_a_mirax_folder_are_no_items_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / "v" / name / "1.mhd", "x")
        put(tmp_path / "v" / name / "1.raw", "x")
        put(tmp_path / "s" / name / "1.mrxs", "x")
        put(tmp_path / "s" / name / "1" / "Data0000.dat", "x")
    assert [r.id for r in open_dataset(tmp_path / "v")] == ["a/1.mhd", "b/1.mhd"]
    assert [r.id for r in open_dataset(tmp_path / "s")] == ["a/1.mrxs", "b/1.mrxs"]


def test_the_commonest_kind_is_read_and_the_rest_is_listed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / name / "1.png")
    volume(tmp_path / "a" / "2.nii", 1)
    put(tmp_path / "a" / "notes.txt", "x")
    picture(tmp_path / "stray.png")
    opened = open_dataset(tmp_path, on_error="collect")
    assert [r.id for r in opened] == ["a/1.png", "b/1.png"]
    assert [str(e).rpartition("/")[2] for e in opened.errors] == [
        "stray.png: lies outside the class folders", "2.nii: cannot be read: not an image file healthfm reads here",
    ]  # fmt: skip
    assert opened.passed_over == [("a/notes.txt", "text")]


def test_one_unreadable_picture_among_many_is_one_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    for number in range(300):
        picture(tmp_path / "ab"[number % 2] / f"{number:03}.png", number % 256)
    whole = (tmp_path / "a" / "100.png").read_bytes()
    (tmp_path / "a" / "100.png").write_bytes(whole[: len(whole) // 2])
    opened = open_dataset(tmp_path, on_error="collect")
    found = {record.id: int(pixels[0, 0]) for record, pixels in decoded(opened)}
    assert len(found) == 299 and found["b/099.png"] == 99
    (error,) = opened.errors
    assert str(error).startswith(f"{tmp_path / 'a' / '100.png'}: not a readable image")
    with pytest.raises(DatasetError, match=r"100\.png: not a readable image"):
        list(decoded(open_dataset(tmp_path)))


def test_the_real_patches_of_two_lung_cancers_open_as_they_come(tmp_path: Path) -> None:
    with zipfile.ZipFile(elsewhere("tcga_luadlusc_patches/assets/data/tcga_luadlusc.zip")) as packed:
        packed.extractall(tmp_path)
    (root,) = {p.parent for p in tmp_path.rglob("test")}
    opened = open_dataset(root, on_error="collect")
    assert opened.splits == ("train", "test") and len(opened) == len(list(root.rglob("*.jpg")))
    assert {str(r.labels["class"]) for r in opened} == {"LUAD", "LUSC"} and not opened.errors
    for record in list(opened)[::40]:
        with Pillow.open(root / record.id) as shown:
            np.testing.assert_array_equal(record.pixels, np.asarray(shown))  # type: ignore[attr-defined]


# Loose files and globs ------------------------------------------------------------------------------------------------------


def test_a_folder_of_pictures_a_glob_and_one_file_open_without_labels(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "deep/c.png", ".hidden.png"):
        picture(tmp_path / name, len(name))
    put(tmp_path / "read.me", "x")
    assert [r.id for r in open_dataset(tmp_path / "*.png")] == ["a.png", "b.png"]
    assert [r.id for r in open_dataset(tmp_path / "**" / "*.png")] == ["a.png", "b.png", "deep/c.png"]
    (one,) = open_dataset(tmp_path / "a.png")
    assert (one.id, one.labels, int(one.pixels[0, 0])) == ("a.png", {}, 5)  # type: ignore[attr-defined]
    opened = open_dataset(tmp_path, on_error="collect")
    assert [r.id for r in opened] == ["a.png", "b.png"]
    assert opened.errors == []
    assert opened.passed_over == [
        (".hidden.png", "hidden"), ("deep/c.png", "in a folder below; FOLDER/**/* reads it"), ("read.me", "unknown kind (.me)")
    ]  # fmt: skip
    with pytest.raises(DatasetError, match="matches no file"):
        open_dataset(tmp_path / "*.jpg")


# Manifests ------------------------------------------------------------------------------------------------------------------


def test_a_manifest_names_volumes_series_slides_and_films(tmp_path: Path) -> None:
    volume(tmp_path / "v" / "1.nii.gz", 4)
    stack(tmp_path / "v" / "series")
    shutil.copy(SLIDE, tmp_path / "s.svs")
    film(tmp_path / "f.mp4", "mpeg4")
    volumes = list(open_dataset(put(tmp_path / "v.csv", "id,volume,label\n1,v/1.nii.gz,x\n2,v/series,y\n")))
    assert [r.voxels.shape for r in volumes] == [(2, 3, 4), (3, 4, 6)]  # type: ignore[attr-defined]
    assert volumes[1].labels == {"label": "y"}
    slides = list(open_dataset(put(tmp_path / "s.csv", "id,slide,mpp\n1,s.svs,\n2,s.svs,0.25\n")))
    assert [r.open().mpp for r in slides] == [0.499, 0.25] and slides[1].meta == {}  # type: ignore[attr-defined]
    (video,) = open_dataset(put(tmp_path / "f.csv", "clip\nf.mp4\n"), columns={"video": "clip"})
    assert video.track().length == 10  # type: ignore[attr-defined]


def test_a_file_that_a_manifest_names_and_that_is_not_there_fails_alone(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    opened = open_dataset(put(tmp_path / "m.csv", "id,image\n1,a.png\n2,gone.png\n1,a.png\n"), on_error="collect")
    assert [record.id for record, _ in decoded(opened)] == ["1"]
    assert [str(e).rpartition("/")[2] for e in opened.errors] == [
        "m.csv, row 3: cannot be read: no file 'gone.png'",
        "m.csv, row 4: cannot be read: the id '1' occurs twice, first in row 2",
    ]


def test_records_of_pixels_become_rows_without_their_pixels(tmp_path: Path) -> None:
    volume(tmp_path / "1.nii", 4)
    table = open_dataset(put(tmp_path / "v.csv", "id,volume\n1,1.nii\n")).to_arrow()
    assert table.num_rows == 1 and "load" not in table.column_names and "masks" not in table.column_names


# npz ------------------------------------------------------------------------------------------------------------------------


def test_an_npz_in_medmnists_layout_opens_by_its_path(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 255, (6, 8, 8, 3), dtype=np.uint8)
    np.savez(
        tmp_path / "flat.npz", train_images=pictures[:4], train_labels=[[0], [1], [1], [0]], test_images=pictures[4:]
    )
    opened = open_dataset(tmp_path / "flat.npz")
    assert opened.splits == ("train", "test")
    first, *_, last = opened
    assert isinstance(first, Image) and (first.id, first.labels, last.labels) == ("train-0", {"label": "0"}, {})
    np.testing.assert_array_equal(last.pixels, pictures[5])  # type: ignore[attr-defined]
    np.savez(tmp_path / "deep.npz", val_images=np.zeros((2, 5, 5, 5), np.uint8), val_labels=[[1, 0, 1], [0, 0, 0]])
    first, second = open_dataset(tmp_path / "deep.npz")
    assert isinstance(first, Volume) and first.split == "validation" and first.voxels.shape == (5, 5, 5)
    assert (first.labels, second.labels) == ({"label": frozenset({"0", "2"})}, {"label": frozenset()})
    np.savez(tmp_path / "other.npz", x=[1])
    with pytest.raises(DatasetError, match=r"no train_images, val_images or test_images in it \(has: x\)"):
        open_dataset(tmp_path / "other.npz")


def test_class_folders_of_one_class_in_two_spellings_are_refused(tmp_path: Path) -> None:
    for place in ("train/Benign", "train/malign", "test/benign", "test/malign"):
        picture(tmp_path / place / "1.png")
    with pytest.raises(
        DatasetError, match=r"'Benign' \(1 files\) and 'benign' \(1 files\); give the folders of a class one name"
    ):
        open_dataset(tmp_path)

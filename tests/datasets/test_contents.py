"""What a folder's files are: known by their content where their names say nothing, or passed over with the reason."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import pytest

from healthfm import open_dataset
from healthfm.datasets import media
from healthfm.datasets.own.contents import unfit
from healthfm.errors import DatasetError
from healthfm.records import Image, Volume
from tests.datasets.test_own import picture, put
from tests.formats.test_dicom import written
from tests.formats.test_dicom_series import stack
from tests.formats.test_volume import with_header
from tests.real_files import PYDICOM

CT = PYDICOM / "CT_small.dcm"


def bare(path: Path) -> Path:
    """Write the CT as a data set alone, without preamble and header of the file."""
    data = pydicom.dcmread(CT)
    pydicom.dcmwrite(path, data, implicit_vr=True, little_endian=True, enforce_file_format=False, force_encoding=True)
    stripped = path.read_bytes()
    if stripped[128:132] == b"DICM":
        with pydicom.filebase.DicomBytesIO() as out:
            out.is_little_endian, out.is_implicit_VR = True, True
            pydicom.filewriter.write_dataset(out, pydicom.Dataset({t: e for t, e in data.items() if t.group != 2}))
            stripped = out.getvalue()
    path.write_bytes(stripped)
    assert stripped[128:132] != b"DICM" and stripped[:2] == b"\x08\x00"
    return path


def packed(path: Path) -> Path:
    path.write_bytes(gzip.compress(CT.read_bytes()))
    return path


def copied(path: Path) -> Path:
    shutil.copy(CT, path)
    return path


# Known by content -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("IM_0002", copied), ("1.2.840.113.7", copied), ("slice.CT", copied), ("scan.MR.001.jpg", copied), ("UP.DCM", copied),
        ("IM7", bare), ("a.bin", bare), ("a.dcm.gz", packed), ("A.DCM.GZ", packed), ("IM1.gz", packed),
    ],
)  # fmt: skip
def test_dicom_is_read_whatever_it_is_called(tmp_path: Path, name: str, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / name)
    assert media.kind_of(path) == "Image" and unfit(path) is None
    (record,) = open_dataset(path)
    (expected,) = open_dataset(copied(tmp_path / "plain.dcm"))
    assert isinstance(record, Image) and isinstance(expected, Image)
    np.testing.assert_array_equal(record.pixels, expected.pixels)


@pytest.mark.parametrize("name", ["X.JPE", "a.jfif", "a.jp2", "a.webp", "a.Png", "noname", "a.j2k"])
def test_pictures_are_read_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    kind = {".jp2": "JPEG2000", ".j2k": "JPEG2000", ".webp": "WEBP", ".png": "PNG", "": "PNG"}.get(
        Path(name).suffix.lower(), "JPEG"
    )
    PIL.Image.fromarray(np.full((8, 9, 3), 90, np.uint8)).save(tmp_path / name, format=kind)
    (record,) = open_dataset(tmp_path / name)
    assert isinstance(record, Image) and record.pixels.shape == (8, 9, 3) and abs(int(record.pixels[0, 0, 0]) - 90) < 3


def test_a_cameras_raw_file_that_begins_like_a_tiff_is_no_picture(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "a.nef", format="TIFF")
    assert unfit(tmp_path / "a.nef") == "unknown kind (.nef)"


@pytest.mark.parametrize("first", ["000.dcm", "IM0", "000.CT", "000.dcm.gz"])
def test_a_series_of_mixed_names_has_all_its_slices(tmp_path: Path, first: str) -> None:
    whole = stack(tmp_path / "whole")
    mixed = tmp_path / "mixed"
    shutil.copytree(whole, mixed)
    for number, path in enumerate(sorted(mixed.iterdir())[:3]):
        name = f"{number}{first}" if not first.startswith("IM") else f"IM{number}"
        data = path.read_bytes()
        path.unlink()
        (mixed / name).write_bytes(gzip.compress(data) if first.endswith(".gz") else data)
    put(tmp_path / "v.csv", "id,volume\n1,whole\n2,mixed\n")
    one, two = open_dataset(tmp_path / "v.csv")
    assert isinstance(one, Volume) and isinstance(two, Volume) and two.voxels.shape == (3, 4, 6)
    np.testing.assert_array_equal(one.voxels, two.voxels)


@pytest.mark.parametrize("data", [b"", b"not a slice at all", b"\x08\x00\x16\x00 damaged"])
def test_a_file_called_like_the_slices_that_is_none_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    folder = tmp_path / "s"
    for path in sorted(stack(folder).iterdir()):
        path.rename(path.with_name(f"IM{path.stem}"))
    (folder / "IM99").write_bytes(data)
    put(tmp_path / "v.csv", "id,volume\n1,s\n")
    with pytest.raises(DatasetError, match="IM99: called like the slices beside it, but no DICOM"):
        next(iter(open_dataset(tmp_path / "v.csv"))).voxels  # type: ignore[attr-defined]  # noqa: B018
    assert any("IM99" in error for error in open_dataset(tmp_path / "v.csv", on_error="collect").summary()["errors"])


def test_a_packed_file_that_grows_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("healthfm.formats.archive.SMALL", 1000)
    monkeypatch.setattr("healthfm.formats.archive.MAX_RATIO", 2)
    (tmp_path / "a.dcm.gz").write_bytes(gzip.compress(CT.read_bytes()[:3000] + bytes(1 << 20)))
    with pytest.raises(DatasetError, match=r"a\.dcm\.gz: unpacks to over 2 times its size; refused"):
        next(iter(open_dataset(tmp_path / "a.dcm.gz"))).pixels  # type: ignore[attr-defined]  # noqa: B018


# Passed over ------------------------------------------------------------------------------------------------------------------


def report(path: Path) -> Path:
    """Write a structured report: a DICOM without pixels."""
    written(path, np.zeros((2, 2), np.uint8))
    data = pydicom.dcmread(path)
    for name in ("PixelData", "Rows", "Columns"):
        delattr(data, name)
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    pydicom.dcmwrite(path, data)
    return path


REASONS = {
    "sr.dcm": "DICOM without pixels, such as a report", "a.zip": "archive: unpack it to read what is in it", "a.tar.gz": "archive: unpack it to read what is in it",
    "list.csv": "table: name it to read what it lists", "list.csv.gz": "table: name it to read what it lists", "side.json": "JSON",
    "read.TXT": "text", "empty": "empty", "x.xyz": "unknown kind (.xyz)", "noname": "unknown kind (no suffix)", "v.raw": "voxels of a header beside them",
    "lone.raw": "voxels without a header", ".hidden.png": "hidden", "Thumbs.db": "system file", "envi.hdr": "unknown kind (.hdr)",
}  # fmt: skip


def everything(folder: Path) -> Path:
    for name in REASONS:
        put(folder / name, "" if name == "empty" else "x")
    report(folder / "sr.dcm")
    put(folder / "v.mhd", "x")
    picture(folder / "a.png")
    picture(folder / "below" / "b.png")
    picture(folder / ".git" / "c.png")
    return folder


def test_every_file_of_a_folder_is_a_record_an_error_or_passed_over_with_the_reason(tmp_path: Path) -> None:
    folder = everything(tmp_path / "mine")
    (folder / "v.mhd").unlink()
    (folder / "v.hdr").write_bytes((348).to_bytes(4, "little"))
    picture(folder / "a2.png")
    opened = open_dataset(folder, on_error="collect")
    summary = opened.summary()
    reasons = {one["file"]: one["reason"] for one in summary["passed_over"]}
    assert reasons == {**REASONS, "below/b.png": "in a folder below; FOLDER/**/* reads it", ".git": "hidden"}
    assert [record.id for record in opened] == ["a.png", "a2.png"]
    (error,) = summary["errors"]  # a medical file of another kind than the rest is no file to pass over
    assert "v.hdr" in error and summary["notices"] == []
    (notice,) = opened.notices
    assert notice.startswith(f"{len(reasons) - 2} files passed over: ") and "(and 2 of the system" in notice
    assert opened["test"].summary()["passed_over"] == summary["passed_over"]


def test_class_folders_account_for_their_files_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / name / "1.png")
    put(tmp_path / "README.md", "x")
    put(tmp_path / "a" / "report.pdf", "x")
    report(tmp_path / "b" / "sr.dcm")
    put(tmp_path / "b" / "Thumbs.db", "x")
    opened = open_dataset(tmp_path)
    assert [record.id for record in opened] == ["a/1.png", "b/1.png"]
    assert sorted(opened.passed_over) == [
        ("README.md", "text"), ("a/report.pdf", "document"), ("b/Thumbs.db", "system file"),
        ("b/sr.dcm", "DICOM without pixels, such as a report"),
    ]  # fmt: skip


def test_a_picture_beside_the_split_folders_is_an_error(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("a", "b"):
            picture(tmp_path / split / name / "1.png")
    picture(tmp_path / "stray.png")
    opened = open_dataset(tmp_path, on_error="collect")
    assert len(list(opened)) == 4
    assert [str(error).rpartition("/")[2] for error in opened.errors] == ["stray.png: lies outside the class folders"]


def test_what_lies_beside_the_slices_of_a_series_is_told(tmp_path: Path) -> None:
    put(stack(tmp_path / "s") / "notes.txt", "x")
    picture(tmp_path / "s" / "key.png")
    opened = open_dataset(put(tmp_path / "v.csv", "id,volume\n1,s\n"))
    assert [record.voxels.shape for record in opened] == [(3, 4, 6)]  # type: ignore[attr-defined]
    assert [(Path(file).name, reason) for file, reason in opened.passed_over] == [("key.png", "no slice of the series"), ("notes.txt", "text")]  # fmt: skip


def test_a_glob_accounts_for_what_it_matches_and_a_folder_whose_files_match_is_none_itself(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    shutil.copy(CT, tmp_path / ".x.dcm")
    put(tmp_path / "n.json", "{}")
    (tmp_path / "deep").mkdir()
    shutil.copy(CT, tmp_path / "deep" / "IM1")
    opened = open_dataset(tmp_path / "**" / "*")
    assert [record.id for record in opened] == ["a.png", "deep/IM1"]
    assert opened.passed_over == [(".x.dcm", "hidden"), ("n.json", "JSON")]


def test_a_report_that_is_named_by_itself_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"sr\.dcm: DICOM without pixels, such as a report: no record"):
        open_dataset(report(tmp_path / "sr.dcm"))


def test_check_finds_a_volume_that_has_no_place(tmp_path: Path) -> None:
    with_header(tmp_path / "flat.nii", rows=(280, "f", [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
    summary = open_dataset(tmp_path / "flat.nii", on_error="collect").summary()
    assert len(summary["errors"]) == 1 and "flat.nii: its affine" in summary["errors"][0]
    with pytest.raises(DatasetError, match="singular"):
        open_dataset(tmp_path / "flat.nii").summary()


def test_a_folder_without_any_record_says_what_it_holds(tmp_path: Path) -> None:
    put(tmp_path / "scans.zip", "x")
    with pytest.raises(DatasetError, match=r"nor files of pixels; .*; 1 file passed over: 1 archive: unpack it"):
        open_dataset(tmp_path)

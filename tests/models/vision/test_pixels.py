"""One door for pixels: every verb takes what ``healthfm embed`` takes, and an item is the same thing to all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import PIL.Image
import pytest

from healthfm import CapabilityError, DatasetError, RunError
from healthfm.embed.embedder import Embedder
from healthfm.embed.items import gather
from healthfm.embed.run import embed
from healthfm.models.vision import pixels
from healthfm.models.vision.vision_model import VisionModel
from healthfm.records import Document, Image, Slide, Volume
from tests.embed.conftest import small

GREY = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
GREY[0, :2] = 0, 255  # a viewer shows a DICOM without a window over its whole range
VOXELS = np.random.default_rng(1).integers(-300, 400, (12, 10, 5), dtype=np.int16)


@pytest.fixture(scope="module")
def tower() -> VisionModel:
    model = small()
    model.show_between(-160, 240)
    return model


def dicom(path: Path, array: np.ndarray, place: int = 0) -> Path:
    """A secondary capture, or a slice at a place along the body."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    data.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = *array.shape, 1, "MONOCHROME2"
    bits, signed = array.dtype.itemsize * 8, int(array.dtype.kind == "i")
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, signed
    data.PixelSpacing, data.ImageOrientationPatient, data.ImagePositionPatient = (
        [1, 1],
        [1, 0, 0, 0, 1, 0],
        [0, 0, place],
    )
    data.PixelData = array.tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def item(kind: str, folder: Path) -> Any:
    if kind == "png":
        PIL.Image.fromarray(GREY).save(folder / "a.png")
        return folder / "a.png"
    if kind == "dicom":
        return dicom(folder / "a.dcm", GREY)
    if kind == "nifti":
        nibabel.save(nibabel.Nifti1Image(VOXELS, np.eye(4)), folder / "a.nii.gz")
        return folder / "a.nii.gz"
    if kind == "series":
        (folder / "series").mkdir()
        for i in range(5):
            dicom(folder / "series" / f"{i}.dcm", np.ascontiguousarray(VOXELS[::-1, ::-1, i].T), i)
        return folder / "series"
    return {
        "array": GREY, "picture": PIL.Image.fromarray(GREY), "image record": Image(id="a", load=lambda: GREY),
        "volume record": Volume(id="a", load=lambda: VOXELS, place=lambda: np.eye(4)),
    }[kind]  # fmt: skip


STILL, DEEP = ("png", "dicom", "array", "picture", "image record"), ("nifti", "series", "volume record")


@pytest.mark.parametrize("kind", [*STILL, *DEEP])
def test_an_item_is_the_same_to_every_verb(tower: VisionModel, tmp_path: Path, kind: str) -> None:
    one = item(kind, tmp_path)
    vector = tower.embed([one])
    made = tower.preprocess([GREY, one])
    if kind in STILL:
        assert vector.shape == (1, 32) and np.array_equal(vector, tower.embed([GREY]))
        assert set(made) == {"pixels"} and np.array_equal(made["pixels"][0], made["pixels"][1])
    else:
        slices = [np.flipud(np.fliplr(VOXELS[:, :, i].T)) for i in range(5)]
        shown = [np.rint((one.clip(-160, 240) + 160) / 400 * 255).astype(np.uint8) for one in slices]
        np.testing.assert_allclose(vector[0], tower.embed(shown).mean(0), atol=1e-5)
        assert made["item"].tolist() == [0, 1, 1, 1, 1, 1] and len(made["pixels"]) == 6
        assert tower.embed([one], output="tokens")[0].shape == (5 * len(tower.embed([GREY], output="tokens")[0]), 32)
    np.testing.assert_allclose(Embedder(tower, engine="torch")([one]), vector, atol=1e-5)
    if isinstance(one, Path) and one.is_file():
        found = embed(tower, gather([one], False), tmp_path / "out", engine="torch").vectors
        np.testing.assert_allclose(found, vector, atol=1e-5)


@pytest.mark.parametrize("verb", ["embed", "preprocess"])
def test_what_is_no_picture_is_refused_in_one_clear_line(tower: VisionModel, tmp_path: Path, verb: str) -> None:
    (tmp_path / "notes.dat").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.svs").write_bytes(b"")
    for given, kind, words in (
        ("a.png", RunError, "a str is text"),
        (tmp_path / "gone.nii", DatasetError, "no such file"),
        (tmp_path / "notes.dat", DatasetError, "not a readable image, volume or film"),
        (tmp_path / "empty", DatasetError, "a folder without DICOM slices"),
        (Document(id="7", text="secret"), RunError, "7: a Document holds no pictures"),
        (tmp_path / "a.svs", RunError, r"a\.svs: a slide is many tiles.*healthfm embed"),
        (Slide(id="s", open=lambda: None), RunError, "s: a slide is many tiles.*healthfm embed"),  # type: ignore[arg-type,return-value]
    ):
        with pytest.raises(kind, match=words) as error:
            getattr(tower, verb)([given])
        assert "secret" not in str(error.value) and "\n" not in str(error.value)


def test_a_tiff_with_levels_is_a_slide_and_one_without_a_picture(tower: VisionModel, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("openslide")
    PIL.Image.fromarray(GREY).save(tmp_path / "plain.tif")
    assert np.array_equal(tower.embed([tmp_path / "plain.tif"]), tower.embed([GREY]))
    large = np.random.default_rng(2).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "deep.tif") as file:
        file.write(large, tile=(128, 128), photometric="rgb")
        file.write(np.ascontiguousarray(large[::2, ::2]), tile=(128, 128), photometric="rgb", subfiletype=1)
    with pytest.raises(RunError, match="a slide is many tiles"):
        tower.embed([tmp_path / "deep.tif"])


def test_the_door_reads_no_pixel(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"damaged")
    assert isinstance(pixels.opened(tmp_path / "a.nii"), Volume)


def test_a_card_without_a_transform_takes_arrays_and_refuses_pictures_by_the_fields_name(tmp_path: Path) -> None:
    model = small()
    model.transform = None
    assert model.embed([np.zeros((3, 16, 16), np.float32)]).shape[0] == 1
    for one in (item("png", tmp_path), item("picture", tmp_path), item("image record", tmp_path)):
        with pytest.raises(CapabilityError, match=r"its card has no \[run\.transform\]"):
            model.embed([one])

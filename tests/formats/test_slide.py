"""Whole-slide images: OpenSlide's pixels, and the fast reader only where it gives them."""

from __future__ import annotations

import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openslide
import pydicom
import pytest
import tifffile
from benchmarks.synthetic_slide import make
from PIL import Image as Pillow
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from scipy.ndimage import gaussian_filter

from healthfm.datasets import media
from healthfm.errors import DatasetError
from healthfm.formats.slide import pyramid as slides
from healthfm.formats.slide import tiff_tiles
from healthfm.formats.slide.pyramid import SlideFile
from tests.real_files import SLIDE


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of 2048 pixels with two levels, at half a micrometre per pixel."""
    return make(tmp_path_factory.mktemp("slide") / "made.svs", 2048)


def by_openslide(path: Path, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
    peer = openslide.OpenSlide(path)
    down = round(peer.level_downsamples[level])
    return np.asarray(peer.read_region((x * down, y * down), level, (width, height)))[..., :3]


def test_a_real_slide_tells_its_size_resolution_and_levels() -> None:
    with SlideFile(SLIDE) as slide:
        assert (slide.size, slide.mpp, slide.levels) == ((2220, 2967), 0.499, ((2220, 2967, 1.0),))
        assert slide.properties["openslide.vendor"] == "aperio"


RECTANGLES = [
    (0, 0, 240, 240),
    (240, 480, 240, 240),
    (1, 2, 3, 4),
    (100, 333, 256, 224),
    (1964, 2711, 256, 256),
    (0, 2900, 700, 67),
]


@pytest.mark.parametrize("rectangle", RECTANGLES)
def test_every_rectangle_of_a_real_slide_is_openslides_read_from_the_stored_tiles(rectangle: tuple[int, ...]) -> None:
    with SlideFile(SLIDE) as slide:
        assert slide.reader(0) == "tiles"
        for _ in range(2):  # the second time from the cache
            np.testing.assert_array_equal(slide.read(0, *rectangle), by_openslide(SLIDE, 0, *rectangle))


def test_every_level_is_openslides(synthetic: Path) -> None:
    with SlideFile(synthetic) as slide:
        assert [round(level.downsample) for level in slide.levels] == [1, 4]
        for level in (0, 1):
            assert slide.reader(level) == "tiles"
            np.testing.assert_array_equal(
                slide.read(level, 33, 65, 300, 200), by_openslide(synthetic, level, 33, 65, 300, 200)
            )


def test_a_cache_smaller_than_a_row_gives_the_same_pixels(synthetic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_tiles, "CACHE_BYTES", 1)
    with SlideFile(synthetic) as slide:
        assert slide.reader(0) == "tiles"
        np.testing.assert_array_equal(slide.read(0, 10, 20, 1500, 1100), by_openslide(synthetic, 0, 10, 20, 1500, 1100))


def test_threads_read_the_same_pixels(synthetic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_tiles, "CACHE_BYTES", 6 * 256 * 256 * 3)  # so small that they push each other's tiles out
    places = [(x, y) for y in range(0, 1800, 97) for x in range(0, 1800, 113)]
    with SlideFile(synthetic) as slide, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: slide.read(0, *place, 200, 200), places))
    for (x, y), pixels in list(zip(places, found, strict=True))[::5]:
        np.testing.assert_array_equal(pixels, by_openslide(synthetic, 0, x, y, 200, 200))


def test_a_fast_reader_that_differs_anywhere_is_not_used(synthetic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = tiff_tiles.StoredTiles._decode

    def brighter(self: tiff_tiles.StoredTiles, index: int) -> np.ndarray:
        tile = decode(self, index).copy()
        tile[::7, ::5, 1] ^= 1
        return tile

    monkeypatch.setattr(tiff_tiles.StoredTiles, "_decode", brighter)
    with SlideFile(synthetic) as slide:
        assert slide.reader(0) == "openslide"
        np.testing.assert_array_equal(slide.read(0, 5, 6, 70, 80), by_openslide(synthetic, 0, 5, 6, 70, 80))


def test_a_slide_without_tifffile_is_read_by_openslide(synthetic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slides, "tiled_pages", lambda path: {})
    with SlideFile(synthetic) as slide:
        assert slide.reader(0) == "openslide"
        np.testing.assert_array_equal(slide.read(1, 5, 6, 70, 80), by_openslide(synthetic, 1, 5, 6, 70, 80))


def test_outside_the_slide_is_white(synthetic: Path) -> None:
    with SlideFile(synthetic) as slide:
        pixels = slide.read(0, 2000, -10, 100, 40)
        assert (pixels[:, 48:] == 255).all() and (pixels[:10] == 255).all()
        np.testing.assert_array_equal(pixels[10:, :48], by_openslide(synthetic, 0, 2000, 0, 48, 30))


def test_a_thumbnail_is_the_average_of_the_whole_slide(synthetic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SlideFile(synthetic) as slide:
        whole = slide.read(0, 0, 0, 2048, 2048)
        monkeypatch.setattr(slides, "BLOCK", 300)
        small = slide.thumbnail(3)
    assert small.shape == (683, 683, 3)
    expected = whole[:2046, :2046].reshape(682, 3, 682, 3, 3).mean((1, 3))
    assert np.abs(small[:682, :682] - expected).max() <= 1


def test_a_generic_pyramid_takes_its_resolution_from_the_tiff_tags(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 255, (512, 768, 3), dtype=np.uint8)

    def write(name: str, resolution: tuple[float, float], unit: str) -> Path:
        tifffile.imwrite(
            tmp_path / name, array, tile=(256, 256), photometric="rgb", compression="jpeg",
            resolution=resolution, resolutionunit=unit, metadata=None,
        )  # fmt: skip
        return tmp_path / name

    with SlideFile(write("a.tif", (40000, 40000), "CENTIMETER")) as slide:
        assert slide.mpp == pytest.approx(0.25) and slide.reader(0) == "tiles"
    with SlideFile(write("b.tif", (50800, 50800), "INCH")) as slide:
        assert slide.mpp == pytest.approx(0.5)
    with (
        SlideFile(write("c.tif", (72, 72), "INCH")) as slide,
        pytest.raises(DatasetError, match=r"pass mpp= if you know it"),
    ):
        slide.mpp  # noqa: B018
    with (
        SlideFile(write("d.tif", (40000, 20000), "CENTIMETER")) as slide,
        pytest.raises(DatasetError, match="not square"),
    ):
        slide.mpp  # noqa: B018


def test_a_slide_without_resolution_says_so_and_takes_the_users(tmp_path: Path) -> None:
    path = make(tmp_path / "a.svs", 512, mpp=None)
    with SlideFile(path) as slide, pytest.raises(DatasetError, match=r"does not say how many micrometres .* pass mpp="):
        slide.mpp  # noqa: B018
    with SlideFile(path, mpp=0.25) as slide:
        assert slide.mpp == 0.25


def test_what_is_no_slide_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_bytes(SLIDE.read_bytes()[:5000])
    (tmp_path / "b.svs").write_text("no slide")
    for name in ("a.svs", "b.svs", "gone.svs"):
        with pytest.raises(DatasetError, match=rf"{name}: not a") as caught:
            SlideFile(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_slide_damaged_inside_is_an_error_where_it_is_read(tmp_path: Path) -> None:
    shutil.copy(SLIDE, tmp_path / "a.svs")
    with tifffile.TiffFile(tmp_path / "a.svs") as file:
        offset, size = file.pages[0].dataoffsets[40], file.pages[0].databytecounts[40]  # type: ignore[union-attr]
    with (tmp_path / "a.svs").open("r+b") as handle:
        handle.seek(offset)
        handle.write(bytes(size))
    with SlideFile(tmp_path / "a.svs") as slide:
        row, column = divmod(40, 10)
        with pytest.raises(DatasetError, match="damaged at level 0"):
            slide.read(0, column * 240 + 10, row * 240 + 10, 200, 200)


def dicom_level(path: Path, array: np.ndarray, down: int) -> None:
    """Write one level of a DICOM whole-slide image: JPEG tiles in the order of PS3.3 C.7.6.17.3 (TILED_FULL)."""
    frames = []
    for y in range(0, len(array), 256):
        for x in range(0, array.shape[1], 256):
            packed = io.BytesIO()
            Pillow.fromarray(array[y : y + 256, x : x + 256]).save(packed, "JPEG", quality=95, subsampling=0)
            frames.append(packed.getvalue())
    data, spacing, shared, optical = Dataset(), Dataset(), Dataset(), Dataset()
    spacing.PixelSpacing, optical.OpticalPathIdentifier = [0.0005 * down] * 2, "1"
    shared.PixelMeasuresSequence = Sequence([spacing])
    facts: dict[str, object] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6", "SOPInstanceUID": f"1.2.3.4.{down}", "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4", "Modality": "SM", "Rows": 256, "Columns": 256, "NumberOfFrames": len(frames),
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE" if down == 1 else "RESAMPLED"],
        "TotalPixelMatrixColumns": array.shape[1], "TotalPixelMatrixRows": len(array), "TotalPixelMatrixFocalPlanes": 1,
        "DimensionOrganizationType": "TILED_FULL", "SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL_422",
        "PlanarConfiguration": 0, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0,
        "SharedFunctionalGroupsSequence": Sequence([shared]), "OpticalPathSequence": Sequence([optical]),
        "NumberOfOpticalPaths": 1, "PixelData": encapsulate(frames),
    }  # fmt: skip
    for name, value in facts.items():
        setattr(data, name, value)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    pydicom.dcmwrite(path, data, enforce_file_format=True)


def test_a_dicom_slide_opens_from_its_folder_with_all_its_levels(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(128, 400, (1024, 1024, 3))
    array = gaussian_filter(noise, (4, 4, 0)).clip(0, 255).astype(np.uint8)
    dicom_level(tmp_path / "1.dcm", array, 1)
    dicom_level(tmp_path / "2.dcm", array[::4, ::4], 4)
    with SlideFile(tmp_path) as slide:
        assert (slide.size, slide.mpp, [round(one.downsample) for one in slide.levels]) == ((1024, 1024), 0.5, [1, 4])
        assert np.abs(slide.read(0, 100, 300, 200, 200).astype(int) - array[300:500, 100:300]).mean() < 2
        assert np.abs(slide.read(1, 10, 20, 50, 60).astype(int) - array[80:320:4, 40:240:4]).mean() < 4
        assert slide.reader(0) == "openslide"
    assert media.kind_of(tmp_path) == "Slide"

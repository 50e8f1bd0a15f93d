"""Still images to arrays."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from healthfm.errors import BadValue, DatasetError
from healthfm.formats import image
from healthfm.formats.source import Source

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_lossless_pictures_come_back_as_written(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RGB).save(tmp_path / f"a{suffix}")
    read = image.pixels(Source(tmp_path / f"a{suffix}"))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, RGB)


def test_grey_pictures_keep_their_depth(tmp_path: Path) -> None:
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30) * 109
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(RGB[..., 0]).save(tmp_path / "grey.png")
    read = image.pixels(Source(tmp_path / "deep.png"))
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, deep)
    np.testing.assert_array_equal(image.pixels(Source(tmp_path / "grey.png")), RGB[..., 0])


def test_a_palette_is_resolved_to_colours_and_bits_to_grey(tmp_path: Path) -> None:
    two = np.zeros((4, 4, 3), np.uint8)
    two[:2] = (255, 0, 10)
    Image.fromarray(two).quantize(2).save(tmp_path / "palette.png")
    Image.fromarray(two[..., 0]).convert("1").save(tmp_path / "bits.png")
    with Image.open(tmp_path / "palette.png") as written:
        assert written.mode == "P"
    np.testing.assert_array_equal(image.pixels(Source(tmp_path / "palette.png")), two)
    np.testing.assert_array_equal(image.pixels(Source(tmp_path / "bits.png")), two[..., 0])


def test_a_picture_inside_an_archive_is_the_same_picture(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.write(tmp_path / "a.png", "in/a.png")
    np.testing.assert_array_equal(image.pixels(Source(tmp_path / "a.zip", "in/a.png")), RGB)


@pytest.mark.parametrize("keep", [0, 20, 1000])
def test_a_picture_that_was_cut_short_is_an_error_that_names_it(tmp_path: Path, keep: int) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:keep])
    with pytest.raises(DatasetError, match=r"a\.png: not a readable image") as error:
        image.pixels(Source(tmp_path / "a.png"))
    assert ("no picture" if keep == 0 else "cut short") in str(error.value)
    assert "Error" not in str(error.value)  # words, not the names of classes


# What files hold ------------------------------------------------------------------------------------------------------------

DEEP = np.random.default_rng(1).integers(0, 2**16, (20, 30, 3), dtype=np.uint16)


def test_colour_of_16_bits_keeps_its_lower_byte(tmp_path: Path) -> None:
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(DEEP))
    tifffile.imwrite(tmp_path / "deep.tif", DEEP, photometric="rgb")
    for name in ("deep.png", "deep.tif"):
        with Image.open(tmp_path / name) as shown:
            assert np.asarray(shown).dtype == np.uint8  # Pillow alone would drop it
        read = image.pixels(Source(tmp_path / name))
        assert read.dtype == np.uint16
        np.testing.assert_array_equal(read, DEEP)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_inks_become_colours(tmp_path: Path, suffix: str) -> None:
    inks = Image.fromarray(RGB).convert("CMYK")
    inks.save(tmp_path / f"a{suffix}")
    read = image.pixels(Source(tmp_path / f"a{suffix}"))
    assert read.shape == (20, 30, 3)
    with Image.open(tmp_path / f"a{suffix}") as written:
        assert written.mode == "CMYK"
        np.testing.assert_array_equal(read, np.asarray(written.convert("RGB")))


def test_alpha_stays_as_the_last_channel(tmp_path: Path) -> None:
    for channels in (2, 4):
        array = np.random.default_rng(2).integers(0, 256, (5, 6, channels), dtype=np.uint8)
        Image.fromarray(array).save(tmp_path / "a.png")
        np.testing.assert_array_equal(image.pixels(Source(tmp_path / "a.png")), array)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_camera_meant_it(tmp_path: Path, orientation: int) -> None:
    turned = Image.fromarray(RGB)
    turned.getexif()[image.ORIENTATION] = orientation
    turned.save(tmp_path / "a.jpg", exif=turned.getexif())
    with Image.open(tmp_path / "a.jpg") as written:
        expected = np.asarray(ImageOps.exif_transpose(written))
    np.testing.assert_array_equal(image.pixels(Source(tmp_path / "a.jpg")), expected)


def test_a_picture_of_one_pixel_is_a_picture(tmp_path: Path) -> None:
    Image.fromarray(RGB[:1, :1]).save(tmp_path / "a.png")
    assert image.rgb8(image.pixels(Source(tmp_path / "a.png"))).shape == (1, 1, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(20_000, 9_000), (30_000, 30_000)])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path, width: int, height: int) -> None:
    header = b"IHDR" + struct.pack(">II", width, height) + b"\x08\x00\x00\x00\x00"
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    body = b"IDAT" + zlib.compress(b"\0" * 1000)
    data = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + data)
    with pytest.raises(DatasetError, match=r"bomb\.png: more than 178 million pixels, refused .* as a slide"):
        image.pixels(Source(tmp_path / "bomb.png"))


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".bmp"])
def test_other_formats_cut_short_are_errors_too(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.repeat(RGB, 9, axis=0)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DatasetError, match="not a readable image"):
        image.pixels(Source(path))


# The one rule for RGB -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "1", "P", "CMYK"])
def test_eight_bit_pictures_become_rgb_as_pillow_makes_them(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(RGB).convert(mode).save(path)
    with Image.open(path) as written:
        expected = np.asarray(written.convert("RGB"))
    np.testing.assert_array_equal(image.rgb8(image.pixels(Source(path))), expected)


def test_sixteen_bits_are_scaled_by_their_full_range() -> None:
    deep = np.array([[0, 128, 129, 257 * 7, 65535]], np.uint16)
    assert image.rgb8(deep)[0, :, 0].tolist() == [0, 0, 1, 7, 255]
    np.testing.assert_array_equal(image.rgb8(DEEP), np.rint(DEEP / 257.0).astype(np.uint8))


def test_floats_from_0_to_1_and_booleans_are_pictures_and_other_values_are_refused() -> None:
    assert image.rgb8(np.array([[0.0, 0.5, 1.0]]))[0, :, 1].tolist() == [0, 128, 255]
    assert image.rgb8(np.array([[False, True]]))[0, :, 2].tolist() == [0, 255]
    for wrong in (
        np.array([[0.0, 1.5]]),
        np.array([[np.nan]]),
        np.array([[-5]], np.int16),
        np.zeros((2, 2, 5), np.uint8),
    ):
        with pytest.raises(BadValue):
            image.rgb8(wrong)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_size_is_told_from_the_header_as_the_picture_is_shown(
    tmp_path: Path, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[274] = orientation
    Image.new("L", (9, 4)).save(path, exif=exif)
    assert image.size(Source(path)) == image.pixels(Source(path)).shape == ((4, 9) if orientation == 1 else (9, 4))
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(DatasetError, match=r"a\.jpg: not a readable image"):
        image.size(Source(path))

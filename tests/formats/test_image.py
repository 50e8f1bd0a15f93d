"""Still images to arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from healthfm.errors import DatasetError
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
    with pytest.raises(DatasetError, match=r"a\.png: not a readable image"):
        image.pixels(Source(tmp_path / "a.png"))

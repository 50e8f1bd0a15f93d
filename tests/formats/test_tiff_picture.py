"""TIFF: what its own tags say, whatever packed it; and files of several pages or pictures."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from healthfm.errors import BadValue, DatasetError
from healthfm.formats import image, notices
from healthfm.formats.source import Source

GREY = np.random.default_rng(0).integers(0, 65536, (40, 48), dtype=np.uint16)
COLOUR = np.random.default_rng(1).integers(0, 65536, (40, 48, 3), dtype=np.uint16)
PACKED = [
    {"byteorder": order, "tile": tile, **how}
    for order, tile, how in itertools.product("<>", (None, (16, 16)), ({}, {"compression": "lzw"}, {"compression": "zlib", "predictor": True}))
]  # fmt: skip


def read(path: Path) -> np.ndarray:
    return image.pixels(Source(path))


@pytest.mark.parametrize("packed", PACKED, ids=str)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_zero_is_white_where_the_file_says_so(
    tmp_path: Path, packed: dict[str, object], kind: type[np.generic]
) -> None:
    array = GREY if kind is np.uint16 else (GREY >> 8).astype(np.uint8)
    tifffile.imwrite(tmp_path / "w.tif", array, photometric="miniswhite", **packed)
    tifffile.imwrite(tmp_path / "b.tif", array, photometric="minisblack", **packed)
    np.testing.assert_array_equal(read(tmp_path / "w.tif"), np.iinfo(kind).max - array)
    np.testing.assert_array_equal(read(tmp_path / "b.tif"), array)


@pytest.mark.parametrize("packed", PACKED, ids=str)
def test_planes_of_16_bits_are_put_together(tmp_path: Path, packed: dict[str, object]) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate", **packed
    )
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), COLOUR)


def bits_of(path: Path, values: np.ndarray, bits: int, photometric: int = 1, order: str = "<") -> Path:
    """Write samples of any number of bits, packed from the highest bit on, rows at bytes (TIFF 6.0 page 29)."""
    spread = ((values[..., None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).reshape(len(values), -1)
    raw = np.packbits(spread, axis=1).tobytes()
    raw += b"\0" * (len(raw) % 2)
    height, width = values.shape
    tags = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 8),
        (277, 1),
        (278, height),
        (279, len(raw)),
    ]
    body = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(raw))
    path.write_bytes(head + raw + struct.pack(f"{order}H", len(tags)) + body + bytes(4))
    return path


@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14])
@pytest.mark.parametrize("order", "<>")
def test_samples_of_any_bits_fill_the_range(tmp_path: Path, bits: int, order: str) -> None:
    top = (1 << bits) - 1
    values = np.linspace(0, top, 40 * 48).astype(np.int64).reshape(40, 48)
    full = 255 if bits <= 8 else 65535
    for photometric, right in ((1, values), (0, top - values)):
        found = read(bits_of(tmp_path / "a.tif", values, bits, photometric, order))
        np.testing.assert_array_equal(found, np.rint(right * (full / top)))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("order", "<>")
def test_floats_are_floats(tmp_path: Path, kind: type[np.generic], order: str) -> None:
    array = (GREY / 65535).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", byteorder=order)
    found = read(tmp_path / "a.tif")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, array.astype(np.float32))
    tifffile.imwrite(tmp_path / "w.tif", array, photometric="miniswhite", byteorder=order)
    with pytest.raises(DatasetError, match="its black is not known"):
        read(tmp_path / "w.tif")


def test_signed_samples_never_become_another_picture(tmp_path: Path) -> None:
    for kind in (np.int8, np.int16, np.int32):
        array = np.array([[-5, 0, 100]], kind)
        tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
        found = read(tmp_path / "a.tif")
        np.testing.assert_array_equal(found, array)
        with pytest.raises(BadValue):
            image.rgb8(found)


def test_alpha_and_other_samples(tmp_path: Path) -> None:
    alpha = GREY[..., None]
    tifffile.imwrite(
        tmp_path / "a.tif", np.concatenate([COLOUR, alpha], -1), photometric="rgb", extrasamples=["unassalpha"]
    )
    np.testing.assert_array_equal(image.rgb8(read(tmp_path / "a.tif")), image.rgb8(COLOUR))
    tifffile.imwrite(
        tmp_path / "b.tif",
        np.concatenate([alpha, alpha // 2], -1),
        photometric="miniswhite",
        extrasamples=["unassalpha"],
    )
    np.testing.assert_array_equal(image.rgb8(read(tmp_path / "b.tif"))[..., 1], image.rgb8(65535 - GREY)[..., 1])
    tifffile.imwrite(
        tmp_path / "c.tif", np.concatenate([COLOUR, alpha, alpha], -1), photometric="rgb", extrasamples=[0, 0]
    )
    with pytest.raises(DatasetError, match="5 samples a pixel of 16 bits"):
        read(tmp_path / "c.tif")
    tifffile.imwrite(tmp_path / "d.tif", COLOUR, photometric="minisblack", planarconfig="contig", extrasamples=[0, 0])
    with pytest.raises(DatasetError, match="3 samples a pixel of 16 bits whose PhotometricInterpretation is 1"):
        read(tmp_path / "d.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_every_depth_is_turned_by_the_orientation(tmp_path: Path, orientation: int, kind: type[np.generic]) -> None:
    array = COLOUR if kind is np.uint16 else (COLOUR >> 8).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    turns = {1: array, 2: array[:, ::-1], 3: array[::-1, ::-1], 4: array[::-1], 5: array.swapaxes(0, 1)}
    turns |= {6: np.rot90(array, -1), 7: np.rot90(array, 2).swapaxes(0, 1), 8: np.rot90(array)}
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), turns[orientation])


# Several pages or pictures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_several_pages_are_counted_and_refused(tmp_path: Path, big: bool, kind: type[np.generic]) -> None:
    pages = np.stack([GREY, GREY, GREY]).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack", bigtiff=big)
    with pytest.raises(DatasetError, match=r"a\.tif: 3 pages, not one picture"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("small_first", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_smaller_copy_is_no_page(tmp_path: Path, small_first: bool, kind: type[np.generic]) -> None:
    array = GREY if kind is np.uint16 else (GREY >> 8).astype(np.uint8)
    pages = [(array, 0), (array[::4, ::4], 1)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page, copy in pages[::-1] if small_first else pages:
            file.write(page, photometric="minisblack", subfiletype=copy)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), array)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_is_refused_and_one_picture_of_its_kind_is_read(tmp_path: Path, suffix: str) -> None:
    one, two = (Image.fromarray((COLOUR >> 8).astype(np.uint8) // n) for n in (1, 2))
    one.save(tmp_path / f"one{suffix}", lossless=True)
    assert read(tmp_path / f"one{suffix}").shape == (40, 48, 3)
    one.save(tmp_path / f"a{suffix}", save_all=True, append_images=[two], lossless=True)
    with pytest.raises(DatasetError, match="2 pictures in one file"):
        read(tmp_path / f"a{suffix}")


def test_the_first_of_a_cameras_pictures_is_used_and_that_is_said(tmp_path: Path) -> None:
    one, two = (Image.fromarray((COLOUR >> 8).astype(np.uint8) // n) for n in (1, 2))
    one.save(tmp_path / "plain.jpg", quality=95)
    one.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[two], quality=95)
    with notices.listening() as said:
        np.testing.assert_array_equal(read(tmp_path / "a.jpg"), read(tmp_path / "plain.jpg"))
    assert len(said) == 1 and "its first is used" in said[0]


def test_a_chain_of_pages_that_bites_its_tail_ends(tmp_path: Path) -> None:
    path = bits_of(tmp_path / "a.tif", np.zeros((4, 8), np.int64), 8)
    data = bytearray(path.read_bytes())
    data[-4:] = data[4:8]  # the next page is the first
    path.write_bytes(data)
    assert read(path).shape == (4, 8)

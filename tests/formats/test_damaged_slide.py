"""Slides with tiles that are missing or damaged: what OpenSlide shows, or one line; never the end of the work, never made-up pixels."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import openslide
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from healthfm.errors import DatasetError
from healthfm.formats.slide import pyramid as slides
from healthfm.formats.slide.pyramid import SlideFile
from healthfm.formats.slide.tiling import plan, read_tile
from tests.real_files import SLIDE

SIDE, TILE = 640, 160  # a tile of 160 needs 32 bits for its size where nothing is compressed
APERIO = "Aperio Image Library v12.0.15 \r\n640x640 [0,0 640x640] (160x160) {} Q=70|AppMag = 20|MPP = 0.5000"
KINDS: dict[str, dict[str, Any]] = {
    "jpeg": {"compression": "jpeg", "photometric": "rgb"},
    "jpeg in YCbCr": {"compression": "jpeg", "photometric": "ycbcr"},
    "lzw": {"compression": "lzw", "photometric": "rgb"},
    "deflate": {"compression": "deflate", "photometric": "rgb"},
    "uncompressed": {"photometric": "rgb"},
    "big": {"compression": "jpeg", "photometric": "rgb"},
    "aperio jpeg": {"compression": "jpeg", "photometric": "rgb", "description": APERIO.format("JPEG/RGB")},
    "aperio j2k": {"compression": 33005, "photometric": "rgb", "description": APERIO.format("J2K/KDU")},
}
Change = Callable[[BinaryIO, "Place"], None]


class Place:
    """Where a stored tile's bytes, its offset and its byte count stand in a file."""

    def __init__(self, path: Path, page: int, index: int) -> None:
        with tifffile.TiffFile(path) as file:
            one: Any = file.pages[page]
            self.at, self.size = one.dataoffsets[index], one.databytecounts[index]
            self.tags = []
            for name in ("TileOffsets", "TileByteCounts"):
                tag = one.tags[name]
                wide = {3: 2, 4: 4, 16: 8}[int(tag.dtype)]
                self.tags.append((tag.valueoffset + wide * index, wide))

    def state(self, handle: BinaryIO, offset: int | None = None, size: int | None = None) -> None:
        """Write another offset or byte count."""
        for value, (at, wide) in zip((offset, size), self.tags, strict=True):
            if value is not None:
                handle.seek(at)
                handle.write(value.to_bytes(wide, "little"))

    def fill(self, handle: BinaryIO, data: bytes, start: int = 0) -> None:
        """Overwrite bytes of the tile."""
        handle.seek(self.at + start)
        handle.write(data)


def picture() -> np.ndarray:
    """Smooth colours all over."""
    noise = np.random.default_rng(0).normal(150, 250, (SIDE, SIDE, 3))
    return gaussian_filter(noise, (4, 4, 0)).clip(0, 250).astype(np.uint8)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives a slide of two levels in a kind of compression; not to be changed."""
    folder, pixels, made = tmp_path_factory.mktemp("whole"), picture(), {}

    def give(kind: str) -> Path:
        if kind not in made:
            how = {"tile": (TILE, TILE), "metadata": None, "resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
            with tifffile.TiffWriter(folder / f"{kind}.svs", bigtiff=kind == "big") as file:
                file.write(pixels, **how, **KINDS[kind])
                if "aperio" in kind:
                    file.write(
                        np.full((256, 256, 3), 240, np.uint8),
                        photometric="rgb",
                        description=KINDS[kind]["description"],
                        metadata=None,
                    )
                file.write(pixels[::2, ::2].copy(), **how, **KINDS[kind], subfiletype=1)
            made[kind] = folder / f"{kind}.svs"
        return made[kind]

    return give


def changed(source: Path, target: Path, change: Change, index: int = 5, page: int = 0) -> Path:
    """Copy a slide with one stored tile changed."""
    shutil.copy(source, target)
    place = Place(source, page, index)
    with target.open("r+b") as handle:
        change(handle, place)
    return target


def by_openslide(path: Path, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
    """OpenSlide's pixels on white."""
    with openslide.OpenSlide(path) as peer:
        down = round(peer.level_downsamples[level])
        found = peer.read_region((x * down, y * down), level, (width, height))
    white = np.full((height, width, 3), 255.0)
    alpha = np.asarray(found)[..., 3:] / 255
    return np.rint(np.asarray(found)[..., :3] * alpha + white * (1 - alpha)).astype(np.uint8)


RECTANGLES = [(0, 0, 125, 125), (160, 160, 160, 160), (125, 187, 187, 187), (437, 437, 187, 187)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_compression_gives_openslides_pixels(kind: str, whole: Callable[[str], Path]) -> None:
    path = whole(kind)
    with SlideFile(path) as slide:
        for level in range(len(slide.levels)):
            for x, y, w, h in RECTANGLES:
                x, y = x >> level, y >> level
                if x + w <= slide.levels[level].width and y + h <= slide.levels[level].height:
                    np.testing.assert_array_equal(slide.read(level, x, y, w, h), by_openslide(path, level, x, y, w, h))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index", [0, 5, 15])
def test_a_missing_tile_is_what_openslide_shows_and_the_fast_reader_goes_on(
    kind: str, index: int, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    path = changed(whole(kind), tmp_path / "a.svs", lambda f, tile: tile.state(f, 0, 0), index)
    with SlideFile(path) as slide:
        y, x = divmod(index, 4)
        for rectangle in (*RECTANGLES, (x * TILE, y * TILE, TILE, TILE)):
            np.testing.assert_array_equal(slide.read(0, *rectangle), by_openslide(path, 0, *rectangle))
        if kind not in ("jpeg in YCbCr", "aperio j2k"):
            assert slide.reader(0) == "tiles"
        assert len(plan(slide, 0.5, TILE, tissue=None)) == 16


DAMAGE: dict[str, Change] = {
    "zeroed": lambda f, tile: tile.fill(f, bytes(tile.size)),
    "second half zeroed": lambda f, tile: tile.fill(f, bytes(tile.size - tile.size // 2), tile.size // 2),
    "cut short": lambda f, tile: tile.state(f, size=tile.size // 2),
    "a block of a disk lost": lambda f, tile: tile.fill(f, bytes(min(512, tile.size // 3)), tile.size // 3),
    "another's bytes": lambda f, tile: tile.fill(f, np.random.default_rng(3).bytes(tile.size // 2), tile.size // 4),
    "offset of the file's head": lambda f, tile: tile.state(f, offset=0),
    "claims 4 GB": lambda f, tile: tile.state(f, size=2**31),
}
UNSEEN = {("uncompressed", "zeroed"), ("uncompressed", "second half zeroed"), ("uncompressed", "a block of a disk lost"), ("uncompressed", "another's bytes")}  # fmt: skip


@pytest.mark.parametrize("kind", ["jpeg", "lzw", "deflate", "uncompressed", "aperio jpeg", "aperio j2k"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_tile_is_one_line_or_openslides_pixels_and_the_others_are_read(
    kind: str, damage: str, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    path = changed(whole(kind), tmp_path / "a.svs", DAMAGE[damage])
    with SlideFile(path) as slide:
        try:
            found = slide.read(0, TILE, TILE, TILE, TILE)
        except DatasetError as error:
            assert "damaged at level 0" in str(error) and "\n" not in str(error)
        else:
            assert (kind, damage) in UNSEEN or kind == "aperio j2k" or damage == "a block of a disk lost"
            np.testing.assert_array_equal(found, by_openslide(path, 0, TILE, TILE, TILE, TILE))
        for rectangle in ((0, 0, 160, 160), (320, 160, 320, 320), (160, 0, 160, 160)):
            np.testing.assert_array_equal(slide.read(0, *rectangle), by_openslide(whole(kind), 0, *rectangle))


def test_a_cut_jpeg_that_libjpeg_paints_grey_is_never_given(tmp_path: Path) -> None:
    """The fast decoder raises nothing here; the same on real tiles with restart markers."""
    path = changed(SLIDE, tmp_path / "a.svs", lambda f, tile: tile.state(f, size=tile.size // 2), 40)
    with SlideFile(path) as slide:
        assert slide.reader(0) == "tiles"
        with pytest.raises(DatasetError, match=r"a\.svs: damaged at level 0"):
            slide.read(0, 0, 960, 240, 240)
        np.testing.assert_array_equal(slide.read(0, 240, 960, 240, 240), by_openslide(SLIDE, 0, 240, 960, 240, 240))


def test_the_thumbnail_takes_what_is_damaged_or_missing_in_a_coarse_level_from_a_finer_one(
    whole: Callable[[str], Path], tmp_path: Path
) -> None:
    with SlideFile(whole("jpeg")) as slide:
        expected = slide.thumbnail(4).astype(int)
    for name, change in (("damaged", DAMAGE["zeroed"]), ("missing", lambda f, tile: tile.state(f, 0, 0))):
        path = changed(whole("jpeg"), tmp_path / f"{name}.svs", change, 3, page=1)
        with SlideFile(path) as slide:
            found, unknown = slide.overview(4)
        assert not unknown.any() and np.abs(found - expected).mean() < 4, name


def test_tiles_that_are_all_missing_in_a_level_leave_the_thumbnail_whole(
    whole: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "a.svs"
    shutil.copy(whole("jpeg"), path)
    with path.open("r+b") as handle:
        for index in range(4):
            Place(whole("jpeg"), 1, index).state(handle, 0, 0)
    with SlideFile(path) as slide:
        assert slide.thumbnail(4).mean() < 200
        np.testing.assert_array_equal(slide.read(1, 0, 0, 100, 100), by_openslide(path, 1, 0, 0, 100, 100))


def test_a_tile_that_is_damaged_at_the_finest_level_is_asked_for_and_told(
    whole: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "flat.svs"
    tifffile.imwrite(
        path, np.full((512, 512, 3), 245, np.uint8), tile=(256, 256), compression="jpeg", photometric="rgb", metadata=None,
        resolution=(20000, 20000), resolutionunit="CENTIMETER",
    )  # fmt: skip
    changed(path, tmp_path / "a.svs", DAMAGE["cut short"], 3)
    with SlideFile(tmp_path / "a.svs") as slide:
        tiles = plan(slide, 0.5, 128)
        assert sorted(map(tuple, tiles.coords.tolist())) == [(256, 256), (256, 384), (384, 256), (384, 384)]
        for number in range(4):
            with pytest.raises(DatasetError, match="damaged"):
                read_tile(slide, tiles, number)


def test_a_slide_damaged_throughout_is_one_line(
    whole: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.svs"
    tifffile.imwrite(path, picture(), tile=(64, 64), compression="jpeg", photometric="rgb", metadata=None)
    with tifffile.TiffFile(path) as file, path.open("r+b") as handle:
        for at, size in zip(file.pages[0].dataoffsets, file.pages[0].databytecounts, strict=True):  # type: ignore[union-attr]
            handle.seek(at)
            handle.write(bytes(size))
    monkeypatch.setattr(slides, "MOST_DAMAGED", 3)
    with SlideFile(path, mpp=0.5) as slide, pytest.raises(DatasetError, match="damaged at level 0"):
        plan(slide, 0.5, 128)


def test_an_error_of_another_kind_from_a_decoder_is_ours(
    whole: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise MemoryError

    with SlideFile(whole("jpeg")) as slide:
        monkeypatch.setattr(slide, "_fast_reader", lambda level: None)
        monkeypatch.setattr(openslide.OpenSlide, "read_region", broken)
        with pytest.raises(DatasetError, match=r"jpeg\.svs: damaged at level 0 \(MemoryError\)"):
            slide.read(0, 0, 0, 10, 10)


def test_what_was_never_scanned_has_the_slides_background(whole: Callable[[str], Path]) -> None:
    with SlideFile(whole("jpeg")) as slide:
        slide.properties["openslide.background-color"] = "102030"
        assert slide.read(0, -10, 0, 10, 10)[0, 0].tolist() == [16, 32, 48]

"""Slides as tiles: at the resolution asked for, on tissue, never from pixels that were not scanned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from benchmarks.synthetic_slide import make
from PIL import Image

from healthfm.errors import BadValue, DatasetError
from healthfm.formats.slide import tiling
from healthfm.formats.slide.pyramid import SlideFile
from healthfm.formats.slide.tiling import Tiles, level_of, plan, read_tile, read_tiles
from tests.formats.test_slide import synthetic  # noqa: F401  a fixture
from tests.real_files import SLIDE


@pytest.fixture
def slide(synthetic: Path) -> SlideFile:  # noqa: F811
    """Half a micrometre per pixel, levels of 1 and 4, 2048 pixels."""
    return SlideFile(synthetic)


def test_tiles_at_the_scanned_resolution_are_the_stored_pixels(slide: SlideFile) -> None:
    tiles = plan(slide, 0.5, 256, tissue=None)
    assert (len(tiles), tiles.span, level_of(slide, tiles)) == (64, 256.0, (0, 256))
    assert sorted(map(tuple, tiles.coords.tolist())) == [
        (x, y) for x in range(0, 2048, 256) for y in range(0, 2048, 256)
    ]
    for (x, y), pixels in list(zip(tiles.coords, read_tiles(slide, tiles), strict=True))[::9]:
        np.testing.assert_array_equal(pixels, slide.read(0, int(x), int(y), 256, 256))


def test_a_resolution_that_a_level_has_is_read_from_it(slide: SlideFile) -> None:
    tiles = plan(slide, 2.0, 100, tissue=None)
    assert level_of(slide, tiles) == (1, 100) and tiles.span == 400
    np.testing.assert_array_equal(read_tile(slide, tiles, 1), slide.read(1, 100, 0, 100, 100))


def test_between_levels_the_finer_one_is_made_smaller(slide: SlideFile) -> None:
    tiles = plan(slide, 1.0, 100, tissue=None)
    assert level_of(slide, tiles) == (0, 200) and tiles.span == 200
    expected = Image.fromarray(slide.read(0, 200, 0, 200, 200)).resize((100, 100), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(read_tile(slide, tiles, 1), np.asarray(expected))


def test_a_scale_within_calibration_is_taken_as_it_is() -> None:
    with SlideFile(SLIDE) as real:  # 0.499 micrometres
        tiles = plan(real, 0.5, 224)
        assert tiles.span == 224 and level_of(real, tiles) == (0, 224)


def test_pixels_that_were_not_scanned_are_made_up_only_when_asked_for(slide: SlideFile) -> None:
    with pytest.raises(
        DatasetError, match=r"scanned at 0\.5 micrometres per pixel, 0\.25 asks for pixels it does not have"
    ):
        plan(slide, 0.25, 256)
    tiles = plan(slide, 0.25, 256, tissue=None, upsample=True)
    assert tiles.span == 128 and read_tile(slide, tiles, 0).shape == (256, 256, 3)


def test_neighbours_share_the_overlap_and_no_tile_leaves_the_slide(slide: SlideFile) -> None:
    tiles = plan(slide, 0.7, 200, overlap=50, tissue=None)
    columns = np.unique(tiles.coords[:, 0])
    assert set(np.diff(columns).tolist()) == {210} and tiles.span == pytest.approx(280)
    assert (tiles.coords + 280).max() <= 2048 and columns.max() + 210 + 280 > 2048
    uneven = np.unique(plan(slide, 0.5031 * 1.03, 100, tissue=None).coords[:, 0])  # 103.64 pixels a tile
    assert np.abs(uneven - np.arange(len(uneven)) * 100 * 0.5031 * 1.03 / 0.5).max() <= 0.5  # no drift
    with pytest.raises(BadValue, match="an overlap of 256 pixels does not fit tiles of 256"):
        plan(slide, 0.5, 256, overlap=256)


@pytest.mark.parametrize(("mpp", "count"), [(0.716, 19), (1.177, 11)])
def test_a_tile_that_rounding_would_push_over_the_edge_is_left_out(slide: SlideFile, mpp: float, count: int) -> None:
    """Corners stand on whole pixels: the last tile fits before its corner is rounded, and not behind."""
    tiles = plan(slide, mpp, 100, overlap=30, tissue=None)
    columns = np.unique(tiles.coords[:, 0])
    assert len(columns) == count and count * 0.7 * tiles.span + tiles.span <= 2048  # one more before rounding
    assert columns[-1] + np.ceil(tiles.span) <= 2048 < np.rint(count * 0.7 * tiles.span) + np.ceil(tiles.span)


@pytest.mark.parametrize(("columns", "kept"), [(20, [0, 256]), (19, [0])], ids=["a quarter", "less"])
def test_a_quarter_of_a_tile_in_tissue_is_enough_where_nothing_is_asked(
    slide: SlideFile, columns: int, kept: list[int]
) -> None:
    def left(thumbnail: np.ndarray) -> np.ndarray:  # a column of it is 16 pixels of the slide, a tile 16 columns
        return np.broadcast_to(np.arange(thumbnail.shape[1]) < columns, thumbnail.shape[:2])

    assert np.unique(plan(slide, 0.5, 256, tissue=left).coords[:, 0]).tolist() == kept


def test_tiles_of_a_slide_that_is_wider_than_high_stand_where_its_tissue_is(tmp_path: Path) -> None:
    pixels = np.full((512, 1024, 3), 243, np.uint8)
    pixels[256:, 640:896] = np.random.default_rng(0).integers((150, 60, 130), (220, 130, 210), (256, 256, 3))
    with tifffile.TiffWriter(tmp_path / "wide.tif") as file:
        how = {"tile": (128, 128), "photometric": "rgb", "resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
        file.write(pixels, **how)
        file.write(np.ascontiguousarray(pixels[::2, ::2]), **{**how, "subfiletype": 1})
    with SlideFile(tmp_path / "wide.tif") as wide:
        tiles = plan(wide, 0.5, 128)
        assert tiles.coords.tolist() == [[x, y] for y in (256, 384) for x in (640, 768)]
        assert all(tile.mean() < 200 for tile in read_tiles(wide, tiles))


def test_only_tiles_with_enough_tissue_are_kept_by_any_function_that_finds_it(slide: SlideFile) -> None:
    seen: list[tuple[int, ...]] = []

    def left_third(thumbnail: np.ndarray) -> np.ndarray:
        seen.append(thumbnail.shape)
        mask = np.zeros(thumbnail.shape[:2], bool)
        mask[:, : thumbnail.shape[1] // 3] = True  # 682 level-0 pixels
        return mask

    half = plan(slide, 0.5, 256, tissue=left_third, min_tissue=0.5)
    assert np.unique(half.coords[:, 0]).tolist() == [0, 256, 512] and len(half) == 24
    most = plan(slide, 0.5, 256, tissue=left_third, min_tissue=0.9)
    assert np.unique(most.coords[:, 0]).tolist() == [0, 256]
    assert seen[0] == (128, 128, 3)
    with pytest.raises(BadValue, match="the tissue mask has the shape"):
        plan(slide, 0.5, 256, tissue=lambda thumbnail: np.ones((3, 3), bool))


def test_tissue_of_the_made_up_slide_is_found_by_otsu(slide: SlideFile) -> None:
    found = {tuple(c) for c in plan(slide, 0.5, 256).coords.tolist()}
    dark = {
        (x, y) for x in range(0, 2048, 256) for y in range(0, 2048, 256) if slide.read(0, x, y, 256, 256).mean() < 225
    }
    assert found == dark and 0 < len(found) < 64


def test_a_slide_without_tissue_is_one_line(tmp_path: Path) -> None:
    with SlideFile(make(tmp_path / "a.svs", 1024, tissue=0)) as slide:
        with pytest.raises(DatasetError, match=r"a\.svs: no tissue found"):
            plan(slide, 0.5, 256)
        with pytest.raises(DatasetError, match=r"1024 x 1024 pixels, smaller than one tile of 2048"):
            plan(slide, 4.0, 256)


def test_tiles_follow_each_other_in_strips_so_that_neighbours_share_the_cache(
    slide: SlideFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiling, "STRIP", 512)
    assert plan(slide, 0.5, 256, tissue=None).coords[:6].tolist() == [
        [0, 0],
        [256, 0],
        [0, 256],
        [256, 256],
        [0, 512],
        [256, 512],
    ]


def test_reading_goes_on_from_any_tile(slide: SlideFile) -> None:
    tiles = plan(slide, 0.5, 512, tissue=None)
    rest = list(read_tiles(slide, tiles, 13))
    assert len(rest) == 3
    np.testing.assert_array_equal(rest[0], read_tile(slide, tiles, 13))


def test_tiles_of_another_shape_are_refused() -> None:
    with pytest.raises(BadValue, match=r"coordinates have the shape \(3,\)"):
        Tiles(np.zeros(3, np.int64), 256, 256.0)
    with pytest.raises(BadValue, match="a size and a span above 0"):
        Tiles(np.zeros((1, 2), np.int64), 256, 0.0)

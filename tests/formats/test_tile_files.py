"""Tiles and features as other tools store them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from healthfm.errors import BadValue, DatasetError
from healthfm.formats.slide import tile_files
from healthfm.formats.slide.pyramid import SlideFile
from healthfm.formats.slide.tiling import Tiles, level_of, plan
from tests.formats.test_slide import synthetic  # noqa: F401  a fixture

COORDS = np.array([[0, 0], [512, 0], [0, 1024]], np.int64)
FEATURES = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)


@pytest.fixture
def slide(synthetic: Path) -> SlideFile:  # noqa: F811
    return SlideFile(synthetic)


def h5(path: Path, coords: np.ndarray = COORDS, features: np.ndarray | None = None, **attributes: object) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("coords", data=coords).attrs.update(attributes)
        if features is not None:
            file["features"] = features
    return path


def test_tridents_tiles_are_read(tmp_path: Path) -> None:
    path = h5(
        tmp_path / "a_patches.h5", patch_size=256, patch_size_level0=512, level0_magnification=40, target_magnification=20,
        overlap=0, name="a", savetodir="x", level0_width=2048, level0_height=2048,
    )  # fmt: skip
    tiles = tile_files.read_coords(path)
    assert (tiles.size, tiles.span) == (256, 512.0)
    np.testing.assert_array_equal(tiles.coords, COORDS)


def test_clams_tiles_of_a_lower_level_need_the_slide(tmp_path: Path, slide: SlideFile) -> None:
    attributes = {"patch_level": 1, "downsample": (4.0, 4.0), "level_dim": (512, 512), "name": "a", "save_path": "x"}
    path = h5(tmp_path / "a.h5", COORDS.astype(np.int32), patch_size=128, **attributes)
    with pytest.raises(DatasetError, match="its tiles were cut from level 1: give the slide too"):
        tile_files.read_coords(path)
    tiles = tile_files.read_coords(path, slide)
    assert (tiles.size, tiles.span, level_of(slide, tiles)) == (128, 512.0, (1, 128))
    assert tile_files.read_coords(h5(tmp_path / "b.h5", patch_size=256, patch_level=0)).span == 256
    with pytest.raises(DatasetError, match="cut from level 7, the slide has 2"):
        tile_files.read_coords(h5(tmp_path / "c.h5", patch_size=256, patch_level=7), slide)


def test_slide2vecs_tiles_are_read_with_the_facts_beside_them(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.coordinates.npz", tile_index=np.arange(3), x=COORDS[:, 0], y=COORDS[:, 1])
    with pytest.raises(DatasetError, match=r"a\.coordinates\.meta\.json beside it is absent"):
        tile_files.read_coords(tmp_path / "a.coordinates.npz")
    facts = {"tiling": {"requested_tile_size_px": 224, "tile_size_lv0": 448}}
    (tmp_path / "a.coordinates.meta.json").write_text(json.dumps(facts))
    tiles = tile_files.read_coords(tmp_path / "a.coordinates.npz")
    assert (tiles.size, tiles.span) == (224, 448.0)
    np.testing.assert_array_equal(tiles.coords, COORDS)


def test_slide2vecs_share_of_overlap_becomes_pixels_and_its_slide_is_checked(tmp_path: Path, slide: SlideFile) -> None:
    np.savez_compressed(tmp_path / "a.coordinates.npz", x=COORDS[:, 0], y=COORDS[:, 1])
    facts: dict[str, dict[str, object]] = {
        "tiling": {"requested_tile_size_px": 224, "tile_size_lv0": 448, "overlap": 0.25},
        "slide": {"dimensions": [2048, 2048]},
    }
    (tmp_path / "a.coordinates.meta.json").write_text(json.dumps(facts))
    assert tile_files.read_coords(tmp_path / "a.coordinates.npz", slide).overlap == 56
    facts["slide"] = {"dimensions": [2048, 1024]}
    (tmp_path / "a.coordinates.meta.json").write_text(json.dumps(facts))
    with pytest.raises(DatasetError, match="its slide has 2048 x 1024 pixels, this one 2048 x 2048"):
        tile_files.read_coords(tmp_path / "a.coordinates.npz", slide)


@pytest.mark.parametrize("shape", [(3, 5), (1, 3, 5)])
def test_features_are_read_with_their_coordinates(tmp_path: Path, shape: tuple[int, ...]) -> None:
    features, coords = tile_files.read_features(h5(tmp_path / "a.h5", features=FEATURES.reshape(shape)))
    np.testing.assert_array_equal(features, FEATURES)
    np.testing.assert_array_equal(coords, COORDS)  # type: ignore[arg-type]
    np.savez_compressed(tmp_path / "a.npz", features=FEATURES, tile_index=np.arange(3))
    features, coords = tile_files.read_features(tmp_path / "a.npz")
    np.testing.assert_array_equal(features, FEATURES)
    assert coords is None


def test_what_is_written_is_read_back_and_carries_what_trident_and_clam_ask_for(
    tmp_path: Path, slide: SlideFile
) -> None:
    tiles = plan(slide, 2.0, 128, tissue=None)
    values = np.random.default_rng(1).normal(size=(len(tiles), 7)).astype(np.float32)
    tile_files.write(tmp_path / "a.h5", slide, tiles, values)
    again = tile_files.read_coords(tmp_path / "a.h5")
    assert (again.size, again.span) == (128, 512.0)
    np.testing.assert_array_equal(again.coords, tiles.coords)
    features, coords = tile_files.read_features(tmp_path / "a.h5")
    np.testing.assert_array_equal(features, values)
    np.testing.assert_array_equal(coords, tiles.coords)  # type: ignore[arg-type]
    with h5py.File(tmp_path / "a.h5") as file:
        found = dict(file["coords"].attrs)
    assert {k: found[k] for k in ("patch_size", "patch_size_level0", "level0_magnification", "target_magnification", "patch_level")} == {
        "patch_size": 128, "patch_size_level0": 512, "level0_magnification": 20, "target_magnification": 5, "patch_level": 1,
    }  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_tiles_that_are_no_levels_pixels_are_not_offered_to_clam(tmp_path: Path, slide: SlideFile) -> None:
    tile_files.write(tmp_path / "a.h5", slide, plan(slide, 1.0, 256, tissue=None))
    with h5py.File(tmp_path / "a.h5") as file:
        assert "patch_level" not in file["coords"].attrs and "features" not in file


@pytest.mark.parametrize("name", ["a_patches.h5", "a.h5"])
def test_a_slides_file_is_found_by_its_name_and_one_alone(tmp_path: Path, slide: SlideFile, name: str) -> None:
    with pytest.raises(DatasetError, match=r"holds none of a_patches\.h5, a\.h5, a\.coordinates\.npz"):
        tile_files.of_slide(tmp_path, "a", slide)
    h5(tmp_path / name, patch_size=256, patch_size_level0=512)
    assert len(tile_files.of_slide(tmp_path, "a", slide)) == 3
    (tmp_path / "a.coordinates.npz").write_bytes(b"")
    with pytest.raises(DatasetError, match=rf"holds {name} and a\.coordinates\.npz; keep the one"):
        tile_files.of_slide(tmp_path, "a", slide)


@pytest.mark.parametrize(
    ("coords", "attributes", "message"),
    [
        (
            COORDS,
            {"level0_width": 4096, "level0_height": 2048},
            "its slide has 4096 x 2048 pixels, this one 2048 x 2048",
        ),
        (np.add(COORDS, [[0, 1024]]), {}, "1 of 3 tiles begin outside the slide of 2048 x 2048 pixels"),
        (np.subtract(COORDS, [[1, 0]]), {}, "2 of 3 tiles begin outside the slide"),
        (np.zeros((0, 2), np.int64), {}, "names no tile"),
        (COORDS, {"name": "b"}, "it was written for the slide b"),
    ],
)
def test_tiles_of_another_slide_are_refused(tmp_path: Path, slide: SlideFile, coords: np.ndarray, attributes: dict[str, Any], message: str) -> None:  # fmt: skip
    h5(tmp_path / "a.h5", coords, patch_size=256, patch_size_level0=256, **attributes)
    with pytest.raises(DatasetError, match=message):
        tile_files.of_slide(tmp_path, "a", slide)


def test_the_overlap_of_tiles_is_kept(tmp_path: Path, slide: SlideFile) -> None:
    tile_files.write(tmp_path / "a.h5", slide, plan(slide, 1.0, 256, overlap=64, tissue=None))
    assert tile_files.read_coords(tmp_path / "a.h5", slide).overlap == 64


def test_features_of_another_number_are_refused_and_nothing_is_written(tmp_path: Path, slide: SlideFile) -> None:
    with pytest.raises(BadValue, match="2 features for 3 tiles"):
        tile_files.write(tmp_path / "a.h5", slide, Tiles(COORDS, 256, 256.0), FEATURES[:2])
    with pytest.raises(DatasetError, match="3 features, 2 coordinates"):
        tile_files.read_features(h5(tmp_path / "b.h5", COORDS[:2], FEATURES))
    assert [p.name for p in tmp_path.iterdir()] == ["b.h5"]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: p.write_text("no file"), "not a readable file of tiles"),
        (lambda p: h5(p), "do not say the size of a tile"),
        (lambda p: h5py.File(p, "w").close(), "it has no 'coords'"),
        (lambda p: h5(p, np.arange(5)), "not a readable file of tiles"),
    ],
)
def test_files_without_what_is_needed_are_one_line(tmp_path: Path, write: object, message: str) -> None:
    write(tmp_path / "a.h5")  # type: ignore[operator]
    with pytest.raises(DatasetError, match=rf"a\.h5: .*{message}|a\.h5: {message}"):
        tile_files.read_coords(tmp_path / "a.h5")

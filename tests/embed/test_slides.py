"""Slides through ``embed``: none of their faults stops a run, none is embedded as a picture, and no label at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from healthfm.embed.items import gather
from healthfm.embed.run import Embeddings, embed
from healthfm.errors import RunError
from healthfm.models.vision.vision_model import VisionModel
from tests.formats.test_damaged_slide import DAMAGE, changed
from tests.formats.test_slide_files import part


def run(tower: VisionModel, output: Path, *words: Path, mpp: float | None = None) -> Embeddings:
    return embed(tower, gather(words, texts=False), output, engine="torch", mpp=mpp)


def test_a_damaged_tile_is_a_line_and_the_rest_is_done(
    tower: VisionModel, slide: Callable[..., Path], tmp_path: Path
) -> None:
    good = slide(512, "good.tif")
    bad = changed(good, tmp_path / "bad.tif", DAMAGE["cut short"], 5)
    made = run(tower, tmp_path / "out", bad, good)
    assert {(one["id"], one["problem"]) for one in made.failures} == {
        (bad.as_posix(), "damaged at level 0 (OpenSlideError)")
    }
    assert len(made.failures) == 16  # tiles of 32 in a stored one of 128
    vectors = made.table
    assert vectors["id"].to_pylist().count(good.as_posix()) == 128 and len(vectors) == 128 + 128 - 16


def test_missing_tiles_are_white_and_stop_nothing(
    tower: VisionModel, slide: Callable[..., Path], tmp_path: Path
) -> None:
    good = slide(512, "good.tif")
    sparse = changed(
        good, tmp_path / "sparse.tif", lambda f, tile: tile.state(f, 0, 0), 13
    )  # beside what is looked at when it is opened
    made = run(tower, tmp_path / "out", sparse)
    assert not made.failures and len(made.table) == 128  # the coarse level, which has it all, says where tissue is
    white = made.vectors[
        [(x, y) == (128, 384) for x, y in zip(*(made.table[one].to_pylist() for one in "xy"), strict=True)]
    ]
    expected = tower.embed([np.full((32, 32, 3), 255, np.uint8)])
    np.testing.assert_allclose(white, expected, atol=1e-4)


def test_the_same_bytes_are_the_same_tiles_by_either_name(
    tower: VisionModel, slide: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "flat.tif"
    with tifffile.TiffFile(slide(512)) as file:
        pixels = file.pages[0].asarray()
    tifffile.imwrite(
        path,
        pixels,
        tile=(128, 128),
        photometric="rgb",
        metadata=None,
        resolution=(20000, 20000),
        resolutionunit="CENTIMETER",
    )
    shutil.copy(path, tmp_path / "flat.svs")
    one, other = (run(tower, tmp_path / suffix, tmp_path / f"flat.{suffix}", mpp=0.5) for suffix in ("tif", "svs"))
    assert len(one.table) == 128
    np.testing.assert_array_equal(one.vectors, other.vectors)


def test_mpp_is_never_passed_over(
    tower: VisionModel, slide: Callable[..., Path], photos: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="mpp is for the tiles of slides, and no item is one"):
        run(tower, tmp_path / "out", photos(2), mpp=0.5)
    with pytest.raises(RunError, match="mpp is -1"):
        run(tower, tmp_path / "out", slide(256), mpp=-1)
    made = run(tower, tmp_path / "both", slide(256), photos(1, "one"), mpp=0.5)
    assert made.manifest["notices"] == [
        f"mpp is for slides: 1 of the items are none and were embedded whole ({(tmp_path / 'one' / '000.jpg').as_posix()})"
    ]


def test_a_walk_takes_a_dicom_slide_once_and_never_its_label(tower: VisionModel, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    part(data / "one", "level.dcm")
    part(data / "one", "label.dcm", "LABEL")
    part(data / "lost", "label.dcm", "LABEL")
    items = gather([data], texts=False)
    assert [item.id for item in items.found] == ["lost/label.dcm", "one"]
    made = embed(tower, items, tmp_path / "out", engine="torch")
    told = {one["id"]: one["problem"] for one in made.failures}
    assert "the label image of a slide" in told["lost/label.dcm"] and "no tissue found" in told["one"]
    assert not len(made.table)


def test_a_run_says_where_its_tiles_are_little_of_what_is_on_the_slide(tower: VisionModel, tmp_path: Path) -> None:
    pixels = np.full((1024, 1024, 3), 243, np.uint8)
    draw = np.random.default_rng(0)
    pixels[:256, :256] = np.kron(
        draw.integers(0, 90, (64, 64, 3)) + np.array((130, 30, 120)), np.ones((4, 4, 1))
    ).astype(np.uint8)
    pixels[600:900] = (30, 60, 180)
    path = tmp_path / "a.svs"
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        photometric="rgb",
        metadata=None,
        resolution=(20000, 20000),
        resolutionunit="CENTIMETER",
    )
    made = run(tower, tmp_path / "out", path)
    (notice,) = made.manifest["notices"]
    assert notice.startswith(f"{path.as_posix()}: tiles cover ") and "is like ink, black or grey" in notice
    again = run(tower, tmp_path / "out", path)  # every tile is there: the slide is not opened again
    assert again.manifest["notices"] == [notice]

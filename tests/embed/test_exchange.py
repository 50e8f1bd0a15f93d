"""Tiles that other tools chose, in; features for other tools, out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from healthfm import load_model
from healthfm.embed.items import gather
from healthfm.embed.run import Embeddings, embed
from healthfm.errors import RunError
from healthfm.models.vision.vision_model import VisionModel
from healthfm.records import Slide
from tests.embed.conftest import SMALL

Slides = Callable[..., Path]


@pytest.fixture(scope="module")
def random() -> VisionModel:
    """A tower whose vectors are never found again: each run computes its own."""
    return load_model("uni", "random", config=SMALL, device="cpu")  # type: ignore[return-value]


def trident(path: Path, coords: np.ndarray, size: int, span: int, side: int) -> Path:
    """Write coordinates as ``trident/IO.py: coords_to_h5`` does."""
    path.parent.mkdir(exist_ok=True)
    attributes = {
        "patch_size": size, "patch_size_level0": span, "level0_magnification": 20, "target_magnification": 20 * size // span,
        "overlap": 0, "name": path.stem.removesuffix("_patches"), "savetodir": "x", "level0_width": side, "level0_height": side,
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        chunks = {"maxshape": (None, 2), "chunks": (1, 2)}
        file.create_dataset("coords", data=np.asarray(coords, np.int64), **chunks).attrs.update(attributes)
    return path.parent


def places(made: Embeddings) -> np.ndarray:
    return np.stack([made.table[axis].to_numpy() for axis in ("x", "y")], axis=1)


def parts(made: Embeddings) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((made.path / "embeddings").iterdir())}


@pytest.mark.parametrize("mpp", [0.5, 1.0])  # the slide's own pixels, and tiles made half as large
def test_tridents_tiles_have_the_vectors_of_the_same_tiles_of_ours(random: VisionModel, slide: Slides, tmp_path: Path, mpp: float) -> None:  # fmt: skip
    path = slide(256)
    ours = embed(random, [path], tmp_path / "ours", mpp=mpp)
    chosen = np.arange(len(ours.vectors))[::-3]
    folder = trident(tmp_path / "patches" / "slide_patches.h5", places(ours)[chosen], 32, round(64 * mpp), 256)
    theirs = embed(random, [path], tmp_path / "theirs", coords=folder)
    assert not theirs.failures
    np.testing.assert_array_equal(places(theirs), places(ours)[chosen])
    np.testing.assert_array_equal(theirs.vectors, ours.vectors[chosen])
    assert list(theirs.manifest["coords"]) == [path.as_posix()]
    moved = trident(tmp_path / "moved" / "slide_patches.h5", places(ours)[chosen] + [[5, 0]], 32, round(64 * mpp), 256)
    other = embed(random, [path], tmp_path / "other", coords=moved)
    assert np.abs(other.vectors - theirs.vectors).max() > 1e-3


def test_a_slide_without_coordinates_is_one_line_until_it_has_them(random: VisionModel, slide: Slides, tmp_path: Path) -> None:  # fmt: skip
    paths = [
        slide(256, "a.tif"),
        slide(256, "b.tif"),
        slide(256, "c.tif", resolution=None),
    ]  # c: its coordinates need none
    grid = np.array([[0, 0], [32, 0], [64, 96], [0, 64], [32, 32]])
    folder = trident(tmp_path / "patches" / "a_patches.h5", grid, 32, 32, 256)
    trident(folder / "c_patches.h5", grid[:2], 32, 32, 256)
    embedded = [embed(random, paths, tmp_path / "out", coords=folder, units_per_part=2)]
    assert [(one["id"], one["problem"].split(":")[0]) for one in embedded[0].failures] == [
        (str(paths[1]), "no coordinates")
    ]
    before = parts(embedded[0])
    trident(folder / "b.h5", grid[1:], 32, 32, 512)
    embedded.append(embed(random, paths, tmp_path / "out", coords=folder, units_per_part=2))
    assert "its slide has 512 x 512 pixels" in embedded[1].failures[0]["problem"]
    (folder / "b.h5").unlink()
    trident(folder / "b_patches.h5", grid[1:], 32, 32, 256)
    embedded.append(embed(random, paths, tmp_path / "out", coords=folder, units_per_part=2))
    assert not embedded[2].failures and embedded[2].manifest["vectors"] == 5 + 4 + 2
    after = parts(embedded[2])
    assert {name: after[name] for name in before if not name.startswith("part-10000000")} == {
        name: data for name, data in before.items() if not name.startswith("part-10000000")
    }


def test_coordinates_that_vectors_were_made_by_must_not_change(random: VisionModel, slide: Slides, tmp_path: Path) -> None:  # fmt: skip
    path = slide(256)
    grid = np.array([[0, 0], [32, 0], [64, 96], [0, 64], [32, 32]])
    folder = trident(tmp_path / "patches" / "slide.h5", grid, 32, 32, 256)
    made = embed(random, [path], tmp_path / "out", coords=folder, units_per_part=2)
    whole = parts(made)
    (made.path / "embeddings" / "part-00002.parquet").unlink()
    assert parts(embed(random, [path], tmp_path / "out", coords=folder, units_per_part=2)) == whole
    (made.path / "embeddings" / "part-00002.parquet").unlink()
    trident(folder / "slide.h5", grid[::-1], 32, 32, 256)
    with pytest.raises(RunError, match=r"was begun with other coordinates for .*slide\.tif; choose another folder"):
        embed(random, [path], tmp_path / "out", coords=folder, units_per_part=2)
    with pytest.raises(RunError, match="coords differ"):
        embed(random, [path], tmp_path / "out", units_per_part=2)


def test_features_are_written_as_trident_and_clam_read_them(random: VisionModel, slide: Slides, photos: Slides, tmp_path: Path) -> None:  # fmt: skip
    ome = slide(256).rename(tmp_path / "a.ome.tif")
    paths = [photos(1) / "000.jpg", ome, slide(256, "b.tif", resolution=None)]
    made = embed(random, paths, tmp_path / "out", features=tmp_path / "h5", units_per_part=10)
    assert [one["id"] for one in made.failures] == [str(paths[2])]
    assert [path.name for path in (tmp_path / "h5").iterdir()] == ["a.h5"]
    table = made.table.slice(1)  # after the photo
    with h5py.File(tmp_path / "h5" / "a.h5") as file:
        np.testing.assert_array_equal(file["features"][:], made.vectors[1:])
        assert file["features"].dtype == np.float32 and file["features"].shape == (32, 32)
        np.testing.assert_array_equal(file["coords"][:], np.stack([table["x"].to_numpy(), table["y"].to_numpy()], 1))
        attributes = dict(file["coords"].attrs)
    stated = ("patch_size", "patch_size_level0", "patch_level", "level0_magnification", "target_magnification", "name")
    assert [attributes[name] for name in stated] == [32, 32, 0, 20, 20, "a"]
    again = embed(random, paths[1:2], tmp_path / "again", coords=tmp_path / "h5")  # a file of features names tiles too
    np.testing.assert_array_equal(again.vectors, made.vectors[1:])


def test_features_that_were_made_otherwise_are_not_written_over(
    random: VisionModel, slide: Slides, tmp_path: Path
) -> None:
    path, kept = slide(256), tmp_path / "h5" / "slide.h5"
    embed(random, [path], tmp_path / "out", features=tmp_path / "h5")
    embed(random, [path], tmp_path / "again", features=tmp_path / "h5")  # the same model: the same file
    before = kept.read_bytes()
    other = load_model("uni", "random", config={**SMALL, "depth": 1}, device="cpu")
    with pytest.raises(RunError, match=r"slide\.h5: holds features that were made otherwise"):
        embed(other, [path], tmp_path / "other", features=tmp_path / "h5")
    with pytest.raises(RunError, match=r"slide\.h5: holds features that were made otherwise"):  # of other tiles
        embed(random, [path], tmp_path / "coarse", mpp=1.0, features=tmp_path / "h5")
    assert kept.read_bytes() == before
    with h5py.File(kept) as file:
        assert file["features"].attrs["encoder"] == "uni"


def test_features_of_others_tiles_keep_what_these_say(random: VisionModel, slide: Slides, tmp_path: Path) -> None:
    path = slide(256, resolution=None)
    folder = trident(tmp_path / "patches" / "slide_patches.h5", np.array([[0, 0], [48, 0]]), 32, 64, 256)
    with h5py.File(folder / "slide_patches.h5", "a") as file:
        file["coords"].attrs["overlap"] = 8
    made = embed(random, [path], tmp_path / "out", coords=folder, features=tmp_path / "h5")
    with h5py.File(tmp_path / "h5" / "slide.h5") as file:
        attributes = dict(file["coords"].attrs)
        np.testing.assert_array_equal(file["features"][:], made.vectors)
    assert [attributes[name] for name in ("patch_size", "patch_size_level0", "overlap")] == [32, 64, 8]
    assert "level0_magnification" not in attributes  # neither the slide nor its resolution tells


def test_what_cannot_go_by_the_name_of_a_slides_file_is_refused(random: VisionModel, slide: Slides, photos: Slides, tmp_path: Path) -> None:  # fmt: skip
    path = slide(256)
    (tmp_path / "patches").mkdir()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "slide.tif").write_bytes(path.read_bytes())
    for items, how, says in (
        (gather([photos(1)], False), {}, "no item is one"),
        ([path, tmp_path / "more" / "slide.tif"], {}, "have one name"),
        ([path], {"mpp": 0.5}, "mpp is for tiles of our own"),
        ([path], {"features": tmp_path / "more" / ".." / "patches"}, "features need another folder"),
        ([path], {"coords": tmp_path / "absent"}, "no folder of coordinates"),
        ([Slide(id="s", open=lambda: None)], {}, "this record names none"),  # type: ignore[arg-type,return-value]
    ):
        with pytest.raises(RunError, match=says):
            embed(random, items, tmp_path / "out", **{"coords": tmp_path / "patches", **how})  # type: ignore[arg-type]

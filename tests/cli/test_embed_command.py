"""``healthfm embed`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import nibabel
import numpy as np
import PIL.Image
import pytest
from safetensors.torch import save_file

from healthfm import load_model
from tests.cli.command import run
from tests.cli.test_evaluate_command import assert_one_clear_line
from tests.real_files import SLIDE


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small Vision Transformer under UNI's key names, and its config beside it."""
    folder = tmp_path_factory.mktemp("weights")
    numbers = {"embed_dim": 32, "depth": 1, "num_heads": 2}
    save_file(
        load_model("uni", "random", config=numbers, device="cpu").network.state_dict(), folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps({"model_args": numbers}))
    return folder


def test_a_folder_is_embedded_failures_are_told_and_a_rerun_tries_them_again(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(3):
        PIL.Image.fromarray(np.full((20, 30, 3), 80 * i, np.uint8)).save(tmp_path / "photos" / f"{i}.jpg")
    good = (tmp_path / "photos" / "2.jpg").read_bytes()
    (tmp_path / "photos" / "2.jpg").write_bytes(good[:300])
    words = ("embed", "uni", tmp_path / "photos", "--weights", weights, "--device", "cpu", "--output", tmp_path / "out")
    first = run(*words)
    assert first.returncode == 1, first.stderr
    assert "failed: 2.jpg: " in first.stdout
    assert "failed: 2.jpg: not a readable image (damaged, or cut short)" in first.stdout
    assert "slowest stage: " in first.stdout
    assert {"load", "compile, check"} <= {line.split("  ")[0] for line in first.stdout.splitlines()}
    assert "2 vectors in " in first.stdout
    assert "Traceback" not in first.stderr
    assert {"read", "decode", "preprocess", "model", "write"} <= {
        line.split()[0] for line in first.stdout.splitlines() if line
    }
    plain = run(*words)
    assert (
        plain.returncode == 1 and "Traceback" not in plain.stderr
    )  # a run in which nothing but the damaged one is left
    assert "failed: 2.jpg: " in plain.stdout and "1 without a vector" in plain.stdout
    second = run(*words, "--json")
    assert second.returncode == 1
    assert [one["id"] for one in json.loads(second.stdout)["failures"]] == ["2.jpg"]
    (tmp_path / "photos" / "2.jpg").write_bytes(good)
    assert_one_clear_line(run(*words), "another request", "items")  # a changed file is another request
    again = run(*words[:-1], tmp_path / "again", "--window", "0", "9", "--json")
    assert again.returncode == 0, again.stderr
    assert "notice: --window changes nothing here: no item is a volume" in again.stderr
    assert json.loads(again.stdout)["vectors"] == 3


def test_volumes_are_embedded_by_their_slices_once_a_window_is_given(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    values = np.random.default_rng(0).integers(-1000, 1000, (12, 10, 2)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "ct" / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.full_like(values, -1000), np.eye(4)), tmp_path / "ct" / "air.nii.gz")
    words = ("embed", "uni", tmp_path / "ct", "--weights", weights, "--device", "cpu", "--engine", "torch")
    blind = run(*words, "--output", tmp_path / "blind")
    assert blind.returncode == 1 and "failed: a.nii.gz: voxels of int16 need a window" in blind.stdout
    seen = run(*words, "--window", "-160", "240", "--output", tmp_path / "seen", "--json")
    assert seen.returncode == 0, seen.stderr
    assert json.loads(seen.stdout)["vectors"] == 2
    assert "notice: volumes that are all black or all white, as if the window were wrong: 1 (air.nii.gz)" in seen.stderr
    assert_one_clear_line(run(*words, "--window", "240", "-160", "--output", tmp_path / "no"), "the smaller first")


def test_a_real_slides_tiles_are_taken_from_another_tool_and_its_features_are_given_back(weights: Path, tmp_path: Path) -> None:  # fmt: skip
    (tmp_path / "patches").mkdir()
    with h5py.File(tmp_path / "patches" / f"{SLIDE.stem}_patches.h5", "w") as file:
        coords = file.create_dataset("coords", data=np.array([[448, 672], [0, 224]]))
        coords.attrs.update(patch_size=224, patch_size_level0=224, level0_width=2220, level0_height=2967)
    words = (
        "embed",
        "uni",
        SLIDE,
        "--weights",
        weights,
        "--device",
        "cpu",
        "--engine",
        "torch",
        "--output",
        tmp_path / "out",
    )
    made = run(*words, "--coords", tmp_path / "patches", "--features", tmp_path / "h5", "--json")
    assert made.returncode == 0, made.stderr
    with h5py.File(tmp_path / "h5" / f"{SLIDE.stem}.h5") as file:
        assert file["features"].shape == (2, 32)
        assert file["coords"][:].tolist() == [[448, 672], [0, 224]]
        assert file["coords"].attrs["level0_magnification"] == 20


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("nothing/",), ["no file or folder"]),
        ((".", "--precision", "int4"), ["precision is 'int4'", "bfloat16"]),
        ((".", "--engine", "fast"), ["--engine is 'fast'"]),
    ],
)
def test_a_wrong_call_is_one_clear_line(weights: Path, more: tuple[str, ...], says: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert_one_clear_line(run("embed", "uni", *more, "--weights", weights, "--device", "cpu"), *says)


def test_a_map_is_drawn_beside_the_vectors(weights: Path, tmp_path: Path) -> None:
    for i in range(4):
        place = tmp_path / "photos" / ("cyst" if i % 2 else "polyp") / f"{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.random.default_rng(i).integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(place)
    words = (
        "embed",
        "uni",
        tmp_path / "photos",
        "--weights",
        weights,
        "--device",
        "cpu",
        "--output",
        tmp_path / "out",
        "--map",
    )
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert f"map  {tmp_path / 'out/map.html'}" in done.stdout
    page = (tmp_path / "out/map.html").read_text()
    assert "Principal components" in page and "By folder" in page

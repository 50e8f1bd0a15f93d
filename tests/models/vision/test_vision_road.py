"""The whole road: weights in each row's published file format, the real command line, a finished report; and real tiles."""

from __future__ import annotations

import argparse
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from healthfm import load_model
from healthfm.adapt import probe
from healthfm.models.vision import transform
from healthfm.models.vision.vision_model import VisionModel
from tests.models import road
from tests.models.vision.test_vision_rows import LIMIT, ticks
from tests.models.vision.towers import DATA, distance, expected, furthest, pixels, recipe, small
from tests.real_files import ELSEWHERE
from tests.references.recipe_weights import recipe_image

ROWS = ("uni", "conch-v1-5", "virchow", "retfound", "ctranspath", "hipt", "remedis")
TILES = ELSEWHERE / "tcga_luadlusc_patches/assets/data/tcga_luadlusc.zip"


def published(slug: str, folder: Path) -> Path:
    """The small network of ``expected(slug)`` in the row's published files; its numbers stand in a ``config.json`` beside them."""
    facts = expected({"retfound": "retfound-mae"}.get(slug, slug))
    numbers = {k: v for k, v in facts["config"].items() if k != "decoder"}
    tensors = recipe(facts["shapes"])
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_args": numbers}))
    if slug in ("uni", "virchow", "conch-v1-5"):
        torch.save(tensors, folder / f"pytorch_model{'_vision' if slug == 'conch-v1-5' else ''}.bin")
    elif slug == "retfound":
        torch.save(
            {"model": tensors, "epoch": 799, "args": argparse.Namespace(lr=1e-3)}, folder / "RETFound_mae_natureCFP.pth"
        )
    elif slug == "ctranspath":
        torch.save({"model": tensors}, folder / "ctranspath.pth")
    elif slug == "hipt":
        for name, prefix in (("vit256_small_dino.pth", "model256."), ("vit4k_xs_dino.pth", "model4k.")):
            stage = {f"module.backbone.{k.removeprefix(prefix)}": v for k, v in tensors.items() if k.startswith(prefix)}
            stage["module.head.last_layer.weight_g"] = torch.ones(4, 1)
            torch.save(
                {"student": {}, "teacher": stage, "epoch": 3, "args": argparse.Namespace(arch="vit_small")},
                folder / name,
            )
    else:
        shutil.copytree(DATA / "bit_savedmodel", folder, dirs_exist_ok=True)
    return folder


def class_folders(folder: Path, side: int, classes: int = 2, each: int = 3) -> Path:
    """``train`` and ``test`` of class folders with PNG and JPEG pictures, one class darker than the other."""
    for split in ("train", "test"):
        for label in range(classes):
            (folder / split / f"class{label}").mkdir(parents=True)
            for i in range(each):
                array = recipe_image(f"{split} {label} {i}", side, side) // (label + 1)
                suffix = "png" if i % 2 else "jpg"
                PIL.Image.fromarray(array).save(folder / split / f"class{label}" / f"{split}{label}{i}.{suffix}")
    return folder


def other(slug: str, folder: Path) -> Path:
    """The row's files with other weights in them (REMEDIS: in BiT's other file format)."""
    published(slug, folder)
    if slug != "remedis":
        return road.disturb(folder)
    shutil.rmtree(folder / "variables")
    np.savez(
        folder / "weights.npz",
        **{key: value.numpy() for key, value in road.other(recipe(expected(slug)["shapes"])).items()},
    )
    return folder


def is_the_references(model: VisionModel, slug: str) -> bool:
    """Whether a network gives what the owners' gives with the weights that ``published`` writes."""
    x = pixels(64, 64)
    if (
        slug == "retfound"
    ):  # the owners' file has no trained head; test_vision_rows holds this network against their code
        facts = expected("retfound-mae")
        numbers = {k: v for k, v in facts["config"].items() if k != "decoder"}
        ours = load_model(slug, {"model": recipe(facts["shapes"])}, config=numbers, device="cpu")
        return np.array_equal(model.forward({"pixels": x})["pooled"], ours.forward({"pixels": x})["pooled"])
    if slug == "hipt":
        [run] = expected(slug)["runs"]
        return distance(model.forward({"pixels": pixels(*run["size"])})["pooled"], run["pooled"]) <= LIMIT
    return furthest(model, slug) <= LIMIT


@pytest.mark.parametrize("slug", ticks(ROWS, "road"))
def test_a_linear_probe_on_class_folders_from_published_files_to_a_report(slug: str, tmp_path: Path) -> None:
    """The published files hold the reference's weights, whose vectors made the probe; other weights make another."""
    weights = published(slug, tmp_path / "weights")
    pictures = class_folders(tmp_path / "tiles", 256 if slug == "hipt" else 64)
    rivals = () if slug == "uni" else ("--no-baseline",)  # once is enough
    rows = road.evaluated(tmp_path / "run", slug, pictures, "--task", "linear-probe", "--weights", weights, *rivals)
    fit, test = (sorted((pictures / split).rglob("*.*g")) for split in ("train", "test"))
    assert [row["id"] for row in rows] == [str(path.relative_to(pictures)) for path in test]
    assert [row["target"] for row in rows] == [path.parent.name for path in test]
    labels = [path.parent.name for path in fit]
    model = load_model(slug, weights, device="cpu")
    assert is_the_references(model, slug)
    vectors = model.embed(test)
    road.assert_probed(tmp_path / "run", rows, labels, model.embed(fit), vectors)
    others = load_model(slug, other(slug, tmp_path / "other"), device="cpu")
    changed = others.embed(test)
    moved = road.probabilities(tmp_path / "run", rows, labels, others.embed(fit), changed)
    road.assert_moved(vectors, changed)
    assert not np.allclose(road.scores(rows), moved, rtol=1e-2, atol=0)


# A network trained on pictures ------------------------------------------------------------------------------------------


PLAIN = {"resize": [64, 64], "mean": [0.5] * 3, "std": [0.25] * 3}


def trained(pictures: list[np.ndarray], labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Train UNI's small network on pictures of two classes for some steps; return its state under the published names."""
    torch.manual_seed(0)
    model = load_model("uni", "random", config={**expected("uni")["config"], "transform": PLAIN}, device="cpu")
    network, head = model.network, torch.nn.Linear(32, 2)
    assert network is not None
    x = model.preprocess(pictures)["pixels"]
    optimiser = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=5e-3)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(head(network(x)[1]), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return dict(network.state_dict())


def accuracy(model: Any, train: list[np.ndarray], fit: list[str], test: list[np.ndarray], truth: list[str]) -> float:
    names = sorted(set(fit))
    shares, _ = probe.nearest_neighbours(model.embed(train), fit, model.embed(test), names)
    return float(np.mean([names[int(row.argmax())] == label for row, label in zip(shares, truth, strict=True)]))


def textures(seed: int, count: int) -> tuple[list[np.ndarray], list[str]]:
    """Pictures whose class is the direction of their stripes: no colour or brightness gives it away."""
    rng = np.random.default_rng(seed)
    made, labels = [], []
    for i in range(count):
        waves = np.sin(np.arange(112) * rng.uniform(0.3, 0.9) + rng.uniform(0, 6))[:, None].repeat(112, 1)
        picture = (waves if i % 2 else waves.T) * rng.uniform(40, 90) + rng.normal(120, 12, (112, 112))
        made.append(np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, -1))
        labels.append("across" if i % 2 else "down")
    return made, labels


def test_a_trained_network_saved_as_published_separates_new_pictures(tmp_path: Path) -> None:
    train, fit = textures(0, 48)
    test, truth = textures(1, 48)
    torch.save(
        trained(train, torch.tensor([label == "across" for label in fit]).long()), tmp_path / "pytorch_model.bin"
    )
    config = {**expected("uni")["config"], "transform": PLAIN}
    before, after = (
        load_model("uni", w, config=config, device="cpu") for w in ("random", tmp_path / "pytorch_model.bin")
    )
    assert accuracy(before, train, fit, test, truth) < 0.8 < 0.95 <= accuracy(after, train, fit, test, truth)


@pytest.mark.skipif(not TILES.is_file(), reason="needs the real H&E tiles of UNI's demonstration")
def test_real_tiles_go_through_every_rows_transform_and_network() -> None:
    with zipfile.ZipFile(TILES) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][:6]
        tiles = [np.asarray(PIL.Image.open(io.BytesIO(archive.read(name)))) for name in names]
    assert len(tiles) == 6 and all(tile.ndim == 3 for tile in tiles)
    for slug in ("uni", "virchow", "ctranspath", "remedis"):
        vectors = small(slug).embed(tiles)
        assert vectors.shape[0] == 6 and np.isfinite(vectors).all()
        assert len(np.unique(vectors.round(5), axis=0)) == 6
        rule = small(slug).transform
        assert rule is not None and transform.pixels(tiles[0], rule).std() > 0.05

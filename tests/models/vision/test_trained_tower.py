"""A trained vision network down the whole road: it learns organs on one patient's CT and names them on another's.

No trained weights of a vision row can be had here, so RAD-DINO's architecture, reduced, is trained for seconds on real pictures, in
transformers' own class, which writes the published files itself. ``tests/references/organ_patches.py`` says what the pictures are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from healthfm import CheckpointError, compare, evaluate, load_model
from healthfm.models.files import checkpoint
from healthfm.models.model import Model
from tests.real_files import elsewhere
from tests.references.organ_patches import ORGANS, SIDE, TARGET, cut

GREY, SPREAD = 0.5307, 0.2583  # RAD-DINO's own
SMALL = Dinov2Config(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE, patch_size=8)
RULE = {"resize": [SIDE, SIDE], "mean": [GREY] * 3, "std": [SPREAD] * 3}
STEPS, BATCH, RATE = 300, 48, 3e-3


@dataclass(frozen=True)
class Made:
    """The network as transformers has it, and its files before and after training."""

    network: Dinov2Model
    before: Path
    after: Path


def pixels(pictures: np.ndarray) -> torch.Tensor:
    return grey(pictures).repeat(1, 3, 1, 1)


def grey(pictures: np.ndarray) -> torch.Tensor:
    return ((torch.from_numpy(pictures).float() / 255 - GREY) / SPREAD)[:, None]


def train(network: Dinov2Model, pictures: np.ndarray, labels: np.ndarray) -> None:
    """Teach the organs of one patient, in other contrasts and places, as another patient's scan will have them."""
    head = torch.nn.Linear(SMALL.hidden_size, len(ORGANS))
    learned = [*network.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(learned, lr=RATE, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
    x, y = grey(pictures), torch.from_numpy(labels[:, 0]).long()
    for _ in range(STEPS):
        rows = torch.randint(len(x), (BATCH,))
        seen = x[rows] * (0.7 + 0.6 * torch.rand(BATCH, 1, 1, 1)) + 0.5 * torch.randn(BATCH, 1, 1, 1)
        seen = torch.roll(seen, torch.randint(-3, 4, (2,)).tolist(), (2, 3))
        seen = seen.expand(-1, 3, -1, -1)
        loss = torch.nn.functional.cross_entropy(head(network(seen).pooler_output), y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


@pytest.fixture(scope="module")
def organs() -> dict[str, np.ndarray]:
    with np.load(TARGET) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, organs: dict[str, np.ndarray]) -> Iterator[Made]:
    folder, threads = tmp_path_factory.mktemp("tower"), torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Dinov2Model(SMALL).eval()
        network.save_pretrained(folder / "before")
        train(network, organs["train_images"], organs["train_labels"])
    network.save_pretrained(folder / "after")
    yield Made(network, folder / "before", folder / "after")
    torch.set_num_threads(threads)


def rad_dino(weights: Path) -> Model:
    return load_model("rad-dino", weights, config={"transform": RULE}, device="cpu")


def test_published_files_of_a_trained_network_load_strictly_and_give_its_own_vectors(
    made: Made, organs: dict[str, np.ndarray]
) -> None:
    assert {"config.json", "model.safetensors"} <= {path.name for path in made.after.iterdir()}
    pictures = organs["test_images"]
    with torch.inference_mode():
        theirs = made.network(pixels(pictures)).last_hidden_state[:, 0].numpy()
    ours, before = (rad_dino(weights).embed(list(pictures)) for weights in (made.after, made.before))
    assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)
    assert np.linalg.norm(before - theirs) > 0.1 * np.linalg.norm(theirs)


def test_a_trained_network_that_lacks_one_tensor_is_refused(made: Made) -> None:
    tensors = dict(checkpoint.read(made.after).tensors)
    del tensors["encoder.layer.1.layer_scale2.lambda1"]
    numbers = {"embed_dim": 64, "depth": 2, "num_heads": 2, "img_size": SIDE, "patch_size": 8}
    with pytest.raises(CheckpointError, match=r"blocks\.1\.ls2\.gamma"):
        load_model("rad-dino", tensors, config={**numbers, "transform": RULE}, device="cpu")


def test_training_on_one_patient_makes_a_linear_probe_far_better_on_another(made: Made, tmp_path: Path) -> None:
    """The rows of the paired test are squares of one patient's scan: it speaks of that scan, not of patients."""
    after, before = (
        evaluate(rad_dino(weights), TARGET, task="linear-probe", baseline=False, output=tmp_path / weights.name)
        for weights in (made.after, made.before)
    )
    assert after.metrics["accuracy"]["n"] == 210 and len(after.scores["classes"]) == len(ORGANS)
    assert before.metrics["accuracy"]["value"] < 0.35 < 0.45 < after.metrics["accuracy"]["value"]
    found = compare([after, before])
    [pair] = found.pairs
    assert pair["value"] > 0.15 and pair["low"] > 0.1 and pair["p_holm"] < 0.001
    assert found.ranking[0]["run"] == pair["first"] and not found.ranking[0]["not_told_apart_from"]
    assert after.report().is_file()


def test_the_stored_pictures_are_what_is_cut_from_the_owners_files(organs: dict[str, np.ndarray]) -> None:
    again = cut(elsewhere("totalsegmentator_examples"))
    assert again.keys() == organs.keys()
    assert all(np.array_equal(again[name], organs[name]) for name in organs)

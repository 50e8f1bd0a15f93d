"""Small vision checkpoints made of a reference's key names, and how far our outputs are from its own."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from healthfm import load_model
from healthfm.cards import catalog
from healthfm.models.files import checkpoint
from healthfm.models.vision import hierarchical, resnet, swin, vit
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision.vision_model import VisionModel
from tests.references.recipe_weights import recipe_array, recipe_image

DATA = Path(__file__).parents[2] / "data"
KEPT = 600
FAMILIES: dict[str, Any] = {"vit": vit, "swin": swin, "resnet": resnet, "hierarchical": hierarchical}


@functools.cache
def expected(name: str) -> dict[str, Any]:
    return dict(json.loads((DATA / "expected" / f"{name}.vision.json").read_text()))


@functools.cache
def manifest(name: str) -> dict[str, dict[str, list[int]]]:
    packed = json.loads(gzip.decompress((DATA / "manifests" / f"{name}.vision.json.gz").read_bytes()))
    return dict(packed["variants"])


def recipe(shapes: Mapping[str, list[int]]) -> dict[str, torch.Tensor]:
    """Weights made from key names; counters of batch norms stay whole numbers."""
    return {
        key: torch.zeros((), dtype=torch.long) if key.endswith("num_batches_tracked") else torch.from_numpy(np.asarray(recipe_array(key, tuple(shape))))
        for key, shape in shapes.items()
    }  # fmt: skip


@functools.cache
def filled(name: str) -> dict[str, torch.Tensor]:
    """The weights of the small network of ``expected(name)``."""
    return recipe(expected(name)["shapes"])


def small(slug: str, name: str = "", weights: Any = None, **config: Any) -> VisionModel:
    """The row with the small network of ``expected(name)`` in it."""
    name = name or slug.partition(":")[0]
    facts, weights = expected(name), dict(filled(name)) if weights is None else weights
    return load_model(slug, weights, config={**facts["config"], **config}, device="cpu")  # type: ignore[return-value]


def fit_on_meta(slug: str, shapes: Mapping[str, list[int]]) -> vision.Tower:
    """Load a manifest strictly into the row's full-size network, without memory."""
    card, variant = catalog.card(slug, "model"), slug.partition(":")[2] or None
    run = vision.settings(card, variant, {}, {})  # type: ignore[arg-type]
    family = FAMILIES[run.family]
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    with torch.device("meta"):
        network: vision.Tower = family.build(run)
        checkpoint.load_strict(network, vision.published(tensors, network, run, family.DIALECTS), run.ignore_keys)
    return network


def pixels(height: int, width: int) -> torch.Tensor:
    """The two pictures of ``vision_networks.py``."""
    both = np.stack([recipe_image(f"network {i}", height, width) for i in range(2)])
    return torch.from_numpy(both).permute(0, 3, 1, 2).float() / 127.5 - 1


def thinned(values: np.ndarray) -> np.ndarray:
    """An output's numbers in a row, as many as ``vision_networks.py`` keeps."""
    return values.ravel()[:: 1 + values.size // KEPT]


def distance(ours: np.ndarray, theirs: object) -> float:
    """Relative L2, or infinity where the largest difference is over 1e-3 of the reference's root mean square.

    ``theirs``: all numbers in a row, or (``KEPT`` in vision_networks.py) every so many.
    """
    reference = np.asarray(theirs, np.float64).ravel()
    ours = thinned(ours)
    if ours.shape != reference.shape:
        return float("inf")
    size = np.linalg.norm(reference)
    error = ours - reference
    return (
        float(np.linalg.norm(error) / size)
        if np.abs(error).max() <= 1e-3 * size / np.sqrt(reference.size)
        else float("inf")
    )


def furthest(model: VisionModel, name: str) -> float:
    """The largest distance of a small model's tokens and vectors from the reference's, over the sizes it was run at."""
    facts = expected(name)
    worst = 0.0
    for run in facts["runs"]:
        found = model.forward({"pixels": pixels(*run["size"])})
        prefix = model.network.prefix
        ours = {
            "tokens": found["tokens"], "cls": found["tokens"][:, 0],
            "patches": found["tokens"][:, prefix:].mean(1), "pooled": found["pooled"], "logits": found.get("logits"),
        }  # fmt: skip
        worst = max(worst, *(distance(ours[key], value) for key, value in run.items() if key != "size"))  # type: ignore[arg-type]
    return worst

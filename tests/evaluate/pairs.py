"""A small pair of towers in its published files: OpenAI's names, a file of merges, a context that holds whole sentences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from tests.models.joint.test_dual_encoder import STATED, with_tokens
from tests.models.vision.towers import recipe

CONTEXT = 60


def weights(folder: Path, slug: str = "pathasst") -> Path:
    """Write the files of ``slug`` (chexzero: an ensemble of two) and return their folder."""
    folder.mkdir()
    tensors = {
        **with_tokens(folder),
        **recipe({"positional_embedding": [CONTEXT, 64]}),
        "logit_scale": torch.tensor(4.0),
    }
    if slug != "chexzero":
        torch.save(tensors, folder / {"pathasst": "pathclip-base.pt", "plip": "pytorch_model.bin"}[slug])
        (folder / "config.json").write_text(json.dumps(STATED))
        return folder
    for seed in (0, 1):
        moved = {k: v * (1 + 0.2 * seed) if v.ndim > 1 else v for k, v in tensors.items()}
        torch.save(moved, folder / f"best_64_{seed}_0.86.pt")
    return folder


def chest_mnist(root: Path, each: int = 6) -> Path:
    """Write ChestMNIST as its owners' npz holds it, few pictures; return the folder."""
    draw, arrays = np.random.default_rng(0), {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = draw.integers(0, 256, (each, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = draw.integers(0, 2, (each, 14), dtype=np.uint8)
    np.savez(root / "chestmnist.npz", **arrays)
    return root

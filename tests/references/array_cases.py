"""Masks, chains and survival times made by code, for array metrics and their references alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

Masks = tuple[str, np.ndarray, np.ndarray, tuple[float, ...]]


def masks() -> Iterator[Masks]:
    """Yield name, reference, prediction and spacing: blobs in 2-D and 3-D, some at the grid's edge, some of one voxel."""
    for seed in range(24):
        rng = np.random.default_rng(seed)
        shape = tuple(rng.integers(12, 28, 2 if seed % 2 else 3).tolist())
        field = ndimage.gaussian_filter(rng.standard_normal(shape), 2)
        other = field + 0.5 * field.std() * ndimage.gaussian_filter(rng.standard_normal(shape), 1)
        level = rng.uniform(0, 1.2) * field.std()
        spacing = tuple(np.round(rng.uniform(0.5, 3, len(shape)), 2).tolist())
        yield f"blobs {seed}", field > level, other > level, spacing
    whole, dot = np.ones((9, 10), bool), np.zeros((9, 10), bool)
    dot[4, 0] = True
    yield "whole grid and one voxel at its edge", whole, dot, (1.0, 2.5)
    line = np.zeros((7, 8, 9), bool)
    line[3, 2:6, 4] = True
    yield "a line and itself one step away", line, np.roll(line, 1, axis=0), (0.8, 0.8, 2.0)


def chain(seed: int, length: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return true and predicted CA positions, which residues are known, and contact scores (with ties)."""
    rng = np.random.default_rng(seed)
    true = np.cumsum(rng.standard_normal((length, 3)) * 2.2, axis=0)
    noise = rng.standard_normal((length, 3)) * rng.uniform(0.1, 3)
    apart = np.linalg.norm(true[:, None] - true[None], axis=-1)
    scores = 1 / (1 + apart + 6 * rng.random((length, length)))
    return true, true + noise, rng.random(length) < 0.9, np.round((scores + scores.T) / 2, 4)


def survival(seed: int, n: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times (with ties), predicted times (with ties) and whether the event was seen."""
    rng = np.random.default_rng(seed)
    time = rng.integers(1, 30, n).astype(float)
    return time, np.round(time + rng.normal(0, 8, n)), rng.random(n) < 0.6

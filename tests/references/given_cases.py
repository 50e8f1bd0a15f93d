"""Masks of lesions and pictures with boxes made by code, for the metrics of what is given and for their references alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import ndimage

Maps = tuple[str, np.ndarray, np.ndarray]
REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
CHALLENGES = {"BraTS-GLI": 3, "BraTS-MEN": 1}  # steps of dilation
LABELS = ("nodule", "mass", "effusion")
RATES = (0.125, 0.25, 0.5, 1, 2, 4, 8)


def brats() -> Iterator[Maps]:
    """Yield name, reference and prediction: maps of three tumour parts of many lesions, one of them empty at times."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        field = ndimage.gaussian_filter(rng.standard_normal((40, 36, 32)), 2)
        other = field + 1.75 * field.std() * ndimage.gaussian_filter(rng.standard_normal(field.shape), 1)
        level = 1.6 * field.std()
        found = [
            np.select([one > 1.35 * level, one > 1.15 * level, one > level], [3, 1, 2], 0).astype(np.uint8)
            for one in (field, other)
        ]
        if seed > 2:
            found[seed - 3][:] = 0
        yield f"lesions {seed}", *found


def pictures(seed: int, n: int = 14) -> list[dict[str, Any]]:
    """Return rows of true and given boxes of three labels: boxes found twice, of another label, nowhere near; equal scores where the seed is odd."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        true: list[dict[str, Any]] = []
        given: list[dict[str, Any]] = []
        for _ in range(rng.integers(0, 5)):
            (x, y), (w, h), label = rng.integers(0, 80, 2), rng.integers(5, 40, 2), str(rng.choice(LABELS))
            true.append({"label": label, "corners": [float(one) for one in (x, y, x + w, y + h)]})
            for _ in range(rng.integers(0, 3)):
                across, down = rng.integers(-5, 6, 2)
                corners = [
                    float(one) for one in (x + across, y + down, x + across + w, y + down + h + rng.integers(0, 4))
                ]
                named = label if rng.random() < 0.9 else str(rng.choice(LABELS))
                given.append(
                    {"label": named, "corners": corners, "score": round(float(rng.random()), 1 if seed % 2 else 4)}
                )
        for _ in range(rng.integers(0, 4)):
            (x, y), (w, h) = rng.integers(0, 80, 2), rng.integers(5, 40, 2)
            corners = [float(one) for one in (x, y, x + w, y + h)]
            given.append(
                {"label": str(rng.choice(LABELS)), "corners": corners, "score": round(0.8 * float(rng.random()), 2)}
            )
        rows.append({"id": f"{i:03d}", "target": true, "prediction": given})
    return rows

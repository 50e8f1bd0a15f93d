"""CLIP-Adapter: a small network on pictures' vectors, trained on few examples, before they are compared with the classes' texts.

Gao et al., "CLIP-Adapter: Better Vision-Language Models with Feature Adapters" (IJCV 2024), equations 4 to 7: two layers without biases, a
quarter as wide between them, and a fifth of their output with four fifths of the vector. Only vectors are needed, so it is trained on all
examples at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from healthfm.adapt.probe import Array

RATIO, REDUCTION = 0.2, 4
STEPS, RATE = 100, 1e-3  # ours: Adam on all examples at once


def adapted(train: Array, y: Sequence[int], test: Array, texts: Array, scale: float, seed: int) -> Array:
    """Return class probabilities of ``test``, float64 [n, classes], by an adapter fitted on ``train`` [m, d] with its classes ``y``.

    ``texts``: the classes' vectors [classes, d]; ``scale``: what similarities are multiplied by.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        dim = train.shape[1]
        narrow = max(1, dim // REDUCTION)
        network = nn.Sequential(nn.Linear(dim, narrow, bias=False), nn.ReLU(), nn.Linear(narrow, dim, bias=False), nn.ReLU())  # fmt: skip
    x, z, w = (unit(torch.as_tensor(np.array(one, np.float32))) for one in (train, test, texts))
    target = torch.as_tensor(np.asarray(y, np.int64))

    def logits(vectors: torch.Tensor) -> torch.Tensor:
        return scale * unit(RATIO * network(vectors) + (1 - RATIO) * vectors) @ w.T

    with torch.enable_grad():
        optimiser = torch.optim.Adam(network.parameters(), RATE)
        for _ in range(STEPS):
            optimiser.zero_grad()
            nn.functional.cross_entropy(logits(x), target).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    with torch.inference_mode():
        found: Array = logits(z).double().softmax(1).numpy()
    return found


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Return vectors of length 1."""
    return nn.functional.normalize(vectors, dim=-1)

"""Attention-based multiple-instance learning: a slide is a bag of tile vectors, and its class is learned from the bag alone.

Gated attention of Ilse, Tomczak and Welling, "Attention-based Deep Multiple Instance Learning" (ICML 2018), equation 9, on a
first layer with ReLU. Every tile of a bag is used, in training and at test time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from sklearn.model_selection import GroupShuffleSplit
from torch import nn

from healthfm.adapt.probe import HELD_OUT, Array
from healthfm.errors import RunError
from healthfm.models.vision.hierarchical import GatedAttention

WIDTH = 256
EPOCHS = 100
PATIENCE = 15
RATE, DECAY = 2e-4, 1e-4


class AttentionPooling(nn.Module):
    """A bag [m, d] to class scores [classes] and the attention that each tile got, [m], which adds up to 1."""

    def __init__(self, dim: int, classes: int, width: int = WIDTH) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Dropout(0.25))
        self.attention = GatedAttention(width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, bag: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tiles = self.first(bag)
        weights = self.attention(tiles)
        return self.classifier(weights @ tiles), weights


def bags(table: pa.Table, by: str = "id") -> dict[Any, Array]:
    """Return the vectors of each item of an ``Embeddings.table``, float32 [tiles, d], tiles in order.

    ``by``: the column that tells items apart. Rows that have no vector are left out. Vectors whose rows lie together are not copied.
    """
    pieces: dict[Any, list[Array]] = {}
    for batch in table.select([by, "embedding"]).to_batches():
        batch = batch.filter(batch["embedding"].is_valid()) if batch["embedding"].null_count else batch
        if not len(batch):
            continue
        items = batch[by].to_pylist()
        vectors = np.asarray(batch["embedding"].flatten(), np.float32).reshape(len(items), -1)
        starts = [row for row, one in enumerate(items) if not row or one != items[row - 1]]
        for start, end in itertools.pairwise([*starts, len(items)]):
            pieces.setdefault(items[start], []).append(vectors[start:end])
    return {one: some[0] if len(some) == 1 else np.concatenate(some) for one, some in pieces.items()}


def attention_mil(
    train: Sequence[Array], labels: Sequence[str], test: Sequence[Array], classes: Sequence[str], groups: Sequence[str],
    seed: int, *, epochs: int = EPOCHS, width: int = WIDTH,
) -> tuple[Array, list[Array], dict[str, Any]]:  # fmt: skip
    """Return class probabilities of the test bags, float64 [n, classes], the attention of each one's tiles, and what was done.

    Bags are float32 [tiles, d] each; no second copy of them is held. Trained one bag a step; the epoch with the smallest loss on
    a fifth of the training patients (``groups``), who are held out whole, is kept. The same seed gives the same numbers on the same machine. Raises ``RunError``: one class
    only, fewer than five patients, or an empty bag.
    """
    refuse_few(labels, groups)
    if any(len(bag) == 0 for bag in (*train, *test)):
        raise RunError("a bag without tiles has no class to learn or to tell")
    y = np.array([list(classes).index(one) for one in labels])
    fit, held = _held_out(y, groups, seed)
    mean, scale = _moments([train[i] for i in fit])

    def ready(bag: Array) -> torch.Tensor:
        return torch.from_numpy((bag - mean) / scale)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = AttentionPooling(train[0].shape[1], len(classes), width)
        best, epoch = _train(network, lambda i: ready(train[i]), torch.from_numpy(y), fit, held, epochs)
    network.eval()
    chances, attention = [], []
    with torch.inference_mode():
        for bag in test:
            scores, weights = network(ready(bag))
            chances.append(scores.double().softmax(0).numpy())
            attention.append(weights.numpy())
    facts = {
        "probe": "gated attention pooling (Ilse 2018)", "width": width, "epoch": epoch, "held_out_loss": best, "fitted_on": len(fit),
        "held_out": len(held),
    }  # fmt: skip
    return np.stack(chances), attention, facts


def refuse_few(labels: Sequence[str], groups: Sequence[str]) -> None:
    """Raise ``RunError`` where bags of these labels and patients are too few to learn from."""
    if len(set(labels)) < 2 or len(set(groups)) < 5:
        raise RunError("attention pooling needs two classes and five patients, at least, to learn from")


def _held_out(y: Array, groups: Sequence[str], seed: int) -> tuple[Array, Array]:
    """Return the rows to fit and those of a fifth of the patients, the first draw that leaves every class to fit."""
    for fit, held in GroupShuffleSplit(20, test_size=HELD_OUT, random_state=seed).split(y, y, groups):
        if set(y[fit]) == set(y):
            return fit, held
    raise RunError("no fifth of the patients can be held out without losing a class: too few patients have one of them")


def _moments(bags: Sequence[Array]) -> tuple[Array, Array]:
    count = sum(map(len, bags))
    mean = sum(bag.sum(0, dtype=np.float64) for bag in bags) / count
    variance = sum(((bag - mean) ** 2).sum(0) for bag in bags) / count
    return np.asarray(mean, np.float32), np.maximum(np.sqrt(variance), 1e-6).astype(np.float32)


def _train(
    network: AttentionPooling, bag: Callable[[int], torch.Tensor], y: torch.Tensor, fit: Array, held: Array, epochs: int
) -> tuple[float, int]:  # fmt: skip
    """Train on ``bag(i)``, the i-th one standardised; leave the network as it was at its best epoch.

    Return that epoch's loss on the held-out bags, and its number.
    """
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY, fused=True)
    best, kept, state = float("inf"), 0, network.state_dict()
    for epoch in range(1, epochs + 1):
        network.train()
        for i in torch.randperm(len(fit)).tolist():
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(bag(fit[i]))[0], y[fit[i]]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        network.eval()
        with torch.inference_mode():
            loss = float(torch.stack([nn.functional.cross_entropy(network(bag(i))[0], y[i]) for i in held]).mean())
        if loss < best:
            best, kept, state = loss, epoch, {name: value.clone() for name, value in network.state_dict().items()}
        elif epoch - kept >= PATIENCE:
            break
    network.load_state_dict(state)
    return best, kept

"""Attention pooling finds the few tiles that make a slide's class, and only from the bag's label."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from healthfm.adapt.mil import AttentionPooling, _held_out, attention_mil, bags
from healthfm.errors import RunError

CLASSES = ["no", "yes"]


def made(n: int, seed: int) -> tuple[list[np.ndarray], list[str], list[np.ndarray]]:
    """Bags of 20 to 40 noise tiles; in those of class yes, two tiles lie apart."""
    rng = np.random.default_rng(seed)
    found, labels, marks = [], [], []
    for i in range(n):
        bag = rng.normal(size=(int(rng.integers(20, 40)), 16)).astype(np.float32)
        mark = np.zeros(len(bag), bool)
        if i % 2:
            mark[rng.choice(len(bag), 2, replace=False)] = True
            bag[mark, :4] += 4
        found, labels, marks = [*found, bag], [*labels, CLASSES[i % 2]], [*marks, mark]
    return found, labels, marks


def test_the_class_is_learned_from_bags_and_attention_lies_on_the_tiles_that_make_it() -> None:
    train, labels, _ = made(80, 0)
    test, truth, marks = made(40, 1)
    groups = [str(i // 2) for i in range(80)]
    chances, attention, how = attention_mil(train, labels, test, CLASSES, groups, seed=0, epochs=15, width=32)
    accuracy = np.mean([CLASSES[i] == t for i, t in zip(chances.argmax(1), truth, strict=True)])
    assert accuracy >= 0.9
    on_mark = [a[m].sum() for a, m in zip(attention, marks, strict=True) if m.any()]
    assert np.mean(on_mark) > 0.5  # two of about thirty tiles
    assert all(len(a) == len(bag) for a, bag in zip(attention, test, strict=True))  # every tile was used
    assert how["fitted_on"] + how["held_out"] == 80
    assert how["held_out"] % 2 == 0  # both bags of a patient, or none


def test_the_same_seed_fits_the_same() -> None:
    train, labels, _ = made(20, 0)
    groups = [str(i) for i in range(20)]
    first, again, other = (
        attention_mil(train, labels, train[:4], CLASSES, groups, seed=seed, epochs=2, width=32)[0] for seed in (0, 0, 1)
    )
    assert np.array_equal(again, first) and not np.array_equal(other, first)


def test_the_pooling_is_the_papers_equation() -> None:
    torch.manual_seed(0)
    network = AttentionPooling(8, 2, 4).eval()
    bag = torch.randn(5, 8)
    scores, weights = network(bag)
    h = torch.relu(bag @ network.first[0].weight.T + network.first[0].bias)
    v, u, w = (getattr(network.attention, f"attention_{one}") for one in "abc")
    tanh, gate = torch.tanh(h @ v[0].weight.T + v[0].bias), torch.sigmoid(h @ u[0].weight.T + u[0].bias)
    raw = ((tanh * gate) @ w.weight.T + w.bias)[:, 0]
    expected = raw.exp() / raw.exp().sum()
    assert torch.allclose(weights, expected, atol=1e-6)
    assert torch.allclose(scores, network.classifier((expected[:, None] * h).sum(0)), atol=1e-6)
    assert torch.allclose(network(bag[[3, 1, 4, 0, 2]])[0], scores, atol=1e-6)  # a bag has no order


def test_bags_are_the_tiles_of_each_item_in_order() -> None:
    table = pa.table({"id": ["a", "a", "b", "a"], "embedding": [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]})
    found = bags(table)
    assert {one: rows.tolist() for one, rows in found.items()} == {"a": [[0, 1], [2, 3], [6, 7]], "b": [[4, 5]]}


@pytest.mark.parametrize(
    ("groups", "labels", "says"),
    [("0123", ["no", "yes"] * 2, "five patients"), ("012345", ["no"] * 6, "two classes")],
)
def test_too_little_to_learn_from_is_said(groups: str, labels: list[str], says: str) -> None:
    train, _, _ = made(len(groups), 0)
    with pytest.raises(RunError, match=says):
        attention_mil(train, labels, train[:1], CLASSES, list(groups), 0, epochs=1)
    with pytest.raises(RunError, match="without tiles"):
        attention_mil([*made(6, 0)[0]], ["no", "yes"] * 3, [np.zeros((0, 16), np.float32)], CLASSES, list("012345"), 0)


def test_the_only_patient_of_a_class_is_never_the_one_held_out() -> None:
    train, _, _ = made(6, 0)
    labels = ["no"] * 5 + ["yes"]
    for seed in range(6):
        fit, held = _held_out(np.array([0] * 5 + [1]), list("012345"), seed)
        assert 5 in fit and len(held) == 2
    attention_mil(train, labels, train[:1], CLASSES, list("012345"), 0, epochs=1, width=8)

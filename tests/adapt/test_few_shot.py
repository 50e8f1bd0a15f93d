"""Few-shot probes: what is drawn, and what the interval over draws is of."""

from __future__ import annotations

import numpy as np
import pytest

from healthfm.adapt.few_shot import draw, few_shot
from healthfm.adapt.probe import linear_probe
from healthfm.errors import RunError
from tests.adapt.test_probe import blobs

CLASSES = ["a", "b", "c"]


def test_a_draw_has_so_many_of_each_class_and_of_as_many_patients_as_there_are() -> None:
    y = np.array([0] * 12 + [1] * 12)
    groups = [str(i // 4) for i in range(12)] + [str(10 + i) for i in range(12)]  # three patients, then twelve
    for seed in range(20):
        rows = draw(y, groups, 5, np.random.default_rng(seed), ["a", "b"])
        assert np.bincount(y[rows]).tolist() == [5, 5]
        assert len(set(rows.tolist())) == 10
        counts = sorted([groups[i] for i in rows[:5]].count(one) for one in "012")
        assert counts == [1, 2, 2]
        assert len({groups[i] for i in rows[5:]}) == 5


def test_more_examples_do_better_and_vary_less() -> None:
    train, labels = blobs(300, 0, 2.5)
    test, truth = blobs(300, 1, 2.5)
    groups = [str(i) for i in range(300)]
    one, many = (few_shot(train, labels, test, truth, CLASSES, groups, k, seed=0)[1] for k in (1, 30))
    over_one, over_many = one["accuracy_over_draws"], many["accuracy_over_draws"]
    assert over_many["mean"] > over_one["mean"] + 0.05
    assert over_many["high"] - over_many["low"] < over_one["high"] - over_one["low"]
    assert len(over_one["draws"]) == one["draws"] == 20
    assert over_one["low"] <= np.median(over_one["draws"]) <= over_one["high"]


def test_every_draw_is_returned_and_the_same_seed_draws_the_same() -> None:
    train, labels = blobs(90, 0, 3.0)
    test, truth = blobs(60, 1, 3.0)
    groups = [str(i) for i in range(90)]
    chances, how = few_shot(train, labels, test, truth, CLASSES, groups, 4, seed=3, repeats=5)
    again, _ = few_shot(train, labels, test, truth, CLASSES, groups, 4, seed=3, repeats=1)
    assert chances.shape == (5, 60, 3) and np.array_equal(chances[:1], again)
    right = [np.mean([CLASSES[i] == t for i, t in zip(one.argmax(1), truth, strict=True)]) for one in chances]
    over = how["accuracy_over_draws"]
    assert right == over["draws"] and len(set(right)) > 1
    assert abs(right[how["shown_draw"]] - over["mean"]) == min(abs(one - over["mean"]) for one in right)


def test_too_few_examples_of_a_class_are_said() -> None:
    train, labels = blobs(9, 0, 3.0)
    with pytest.raises(RunError, match="has 3 examples to fit on, 4 are asked for"):
        few_shot(train, labels, train, labels, CLASSES, [str(i) for i in range(9)], 4, 0)


def test_a_balanced_probe_finds_the_rare_class_more_often() -> None:
    rng = np.random.default_rng(0)
    labels = ["rare" if i % 20 == 0 else "usual" for i in range(600)]
    points = np.stack([rng.normal(size=2) + (1.5 if one == "rare" else 0) for one in labels])
    groups = [str(i) for i in range(300)]
    recalls = []
    for balanced in (False, True):
        shares, how = linear_probe(points[:300], labels[:300], points[300:], ["rare", "usual"], groups, 0, balanced)
        assert how["balanced"] is balanced
        recalls.append(np.mean([row[0] > 0.5 for row, one in zip(shares, labels[300:], strict=True) if one == "rare"]))
    assert recalls[1] > recalls[0] + 0.3

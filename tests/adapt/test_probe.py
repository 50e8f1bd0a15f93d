"""Probes find what is there, and nothing where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from healthfm.adapt.probe import linear_probe, multi_label_probe, nearest_neighbours


def blobs(n: int, seed: int, apart: float) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    labels = [["a", "b", "c"][i % 3] for i in range(n)]
    centres = {"a": (0, 0, apart), "b": (0, apart, 0), "c": (apart, 0, 0)}
    return np.stack([rng.normal(size=3) + centres[label] for label in labels]), labels


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_separate_classes_are_told_apart_and_noise_is_not(kind: str) -> None:
    for apart, low, high in ((6.0, 0.95, 1.0), (0.0, 0.2, 0.5)):
        train, labels = blobs(150, 0, apart)
        test, targets = blobs(150, 1, apart)
        groups = [str(i) for i in range(150)]
        shares, how = (
            linear_probe(train, labels, test, ["a", "b", "c"], groups, 0)
            if kind == "linear"
            else nearest_neighbours(train, labels, test, ["a", "b", "c"])
        )
        np.testing.assert_allclose(shares.sum(axis=1), 1)
        assert how["fitted_on"] == 150
        accuracy = np.mean([["a", "b", "c"][i] == t for i, t in zip(shares.argmax(1), targets, strict=True)])
        assert low <= accuracy <= high


def test_a_class_that_training_lacks_gets_probability_zero() -> None:
    train, labels = blobs(60, 0, 3.0)
    keep = [i for i, label in enumerate(labels) if label != "b"]
    shares, _ = linear_probe(train[keep], [labels[i] for i in keep], train, ["a", "b", "c"], [str(i) for i in keep], 0)
    assert (shares[:, 1] == 0).all()


def test_the_penalty_is_chosen_on_patients_it_was_not_fitted_on() -> None:
    """Ten near-copies a patient with random labels: only held-out patients show that nothing was learnt."""
    rng = np.random.default_rng(0)
    centres, label = rng.normal(size=(30, 40)), rng.integers(0, 2, 30)
    train = np.repeat(centres, 10, axis=0) + 0.01 * rng.normal(size=(300, 40))
    labels = [str(one) for one in np.repeat(label, 10)]
    by_patient = linear_probe(train, labels, train, ["0", "1"], [str(i // 10) for i in range(300)], 0)[1]["C"]
    by_row = linear_probe(train, labels, train, ["0", "1"], [str(i) for i in range(300)], 0)[1]["C"]
    assert by_patient < by_row


def test_each_class_of_a_multi_label_probe_is_the_linear_probe_of_it_alone() -> None:
    train, labels = blobs(120, 0, 3.0)
    test, _ = blobs(30, 1, 3.0)
    sets = [[label] if i % 4 else [label, "d"] for i, label in enumerate(labels)]
    groups = [str(i) for i in range(120)]
    found, how = multi_label_probe(train, sets, test, ["a", "b", "c", "d", "e"], groups, 0)
    for column, name in enumerate(["a", "b", "c", "d"]):
        alone, told = linear_probe(train, [str(name in one) for one in sets], test, ["False", "True"], groups, 0)
        np.testing.assert_allclose(found[:, column], alone[:, 1])
        assert how["C"][name] == told["C"]
    assert (found[:, 4] == 0).all() and how["C"]["e"] is None

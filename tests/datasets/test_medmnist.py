"""MedMNIST's npz files, every variant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.cards import catalog
from healthfm.cards.schema import DatasetCard
from healthfm.errors import DatasetError
from healthfm.records import Image, Volume

CARD = catalog.card("medmnist-v2", "dataset")
OWNERS = json.loads((Path(__file__).parents[1] / "data/medmnist_info.json").read_text())[
    "sets"
]  # medmnist/info.py, as it says
KINDS = {
    "multi-class": "multi-class",
    "binary-class": "binary",
    "multi-label, binary-class": "multi-label",
    "ordinal-regression": "ordinal",
}
COUNTS = {"train": 5, "val": 3, "test": 4}


def miniature(root: Path, variant: str, columns: int = 1, colour: bool = False) -> dict[str, np.ndarray]:
    """Write an npz as the owners' code reads it: six uint8 arrays, labels of two axes."""
    draw = np.random.default_rng(len(variant))
    shape = (28, 28, 28) if variant.endswith("3d") else (28, 28, 3) if colour else (28, 28)
    arrays = {}
    for split, count in COUNTS.items():
        arrays[f"{split}_images"] = draw.integers(0, 256, (count, *shape), dtype=np.uint8)
        arrays[f"{split}_labels"] = draw.integers(0, 2, (count, columns), dtype=np.uint8)
        arrays[f"{split}_labels"][:2] = [[0], [1]]
    np.savez_compressed(root / f"{variant}.npz", **arrays)
    return arrays


@pytest.mark.evidence("medmnist-v2", "layout")
@pytest.mark.parametrize("variant", list(CARD.variants))
def test_every_set_is_read_with_its_own_classes(tmp_path: Path, variant: str) -> None:
    labels, several = OWNERS[variant]["labels"], OWNERS[variant]["task"].startswith("multi-label")
    arrays = miniature(tmp_path, variant, len(labels) if several else 1, OWNERS[variant]["channels"] == 3)
    opened = open_dataset(f"medmnist-v2:{variant}", tmp_path)
    assert [one.name for one in opened.card.labels] == [variant]
    for theirs, ours in (("train", "train"), ("val", "validation"), ("test", "test")):
        records = list(opened[ours])
        assert [r.id for r in records] == [f"{theirs}-{i}" for i in range(COUNTS[theirs])]
        for record, picture, row in zip(records, arrays[f"{theirs}_images"], arrays[f"{theirs}_labels"], strict=True):
            assert isinstance(record, Volume if variant.endswith("3d") else Image)
            np.testing.assert_array_equal(record.load(), picture)
            marked = frozenset(labels[i] for i in np.flatnonzero(row))
            assert record.labels == {variant: marked if several else labels[row[0]]}


@pytest.mark.evidence("medmnist-v2", "layout")
@pytest.mark.parametrize("variant", list(OWNERS))
def test_the_card_says_of_every_set_what_the_owners_file_says(variant: str) -> None:
    """Labels in the order of the numbers that stand for them (in breastmnist 0 is malignant), the task, and how many there are."""
    assert isinstance(CARD, DatasetCard) and set(CARD.variants) == set(OWNERS)
    [space] = [one for one in CARD.labels if one.name == variant]
    owners = OWNERS[variant]
    assert list(space.classes) == owners["labels"] and space.kind == KINDS[owners["task"]]
    assert space.codes == {label: str(number) for number, label in enumerate(owners["labels"])}
    counts = {
        split: CARD.counts[variant][ours]
        for split, ours in (("train", "train"), ("val", "validation"), ("test", "test"))
    }
    assert counts == owners["samples"] and CARD.variants[variant].records == sum(counts.values())


def test_a_label_that_is_no_class_is_listed(tmp_path: Path) -> None:
    arrays = miniature(tmp_path, "breastmnist")
    arrays["test_labels"][2] = 7
    np.savez(tmp_path / "breastmnist.npz", **arrays)
    opened = open_dataset("medmnist-v2:breastmnist", tmp_path, "test", on_error="collect")
    assert [r.id for r in opened] == ["test-0", "test-1", "test-3"]
    assert [str(e).rpartition(", ")[2] for e in opened.errors] == [
        "row test 2: cannot be read: its label is the number of no class"
    ]
    arrays["test_labels"] = arrays["test_labels"][:2]
    np.savez(tmp_path / "breastmnist.npz", **arrays)
    with pytest.raises(DatasetError, match="4 images and 2 labels in 'test'"):
        list(open_dataset("medmnist-v2:breastmnist", tmp_path, "test"))

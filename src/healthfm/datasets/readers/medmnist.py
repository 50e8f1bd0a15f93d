"""MedMNIST: one npz a set, with ``train_images``, ``train_labels`` and so on; any of the published sizes."""

from __future__ import annotations

from collections.abc import Iterator

from healthfm.datasets.locate import Files
from healthfm.datasets.own.folders import npz_records
from healthfm.datasets.reader import dataset
from healthfm.formats.npz import Arrays
from healthfm.records import Image, Record


@dataset("medmnist-v2", record=Image)
def medmnist(files: Files, split: str) -> Iterator[Record]:
    """Images of the 2D sets, volumes of the 3D sets; the classes' names are on the card, by the number the file holds."""
    (space,) = files.card.labels
    record = "Volume" if space.name.endswith("3d") else "Image"
    return npz_records(
        Arrays(files["arrays"]), split, record, space.name, space.classes, several=space.kind == "multi-label"
    )

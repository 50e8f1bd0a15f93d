"""MRNet: one array a series and plane, three tables without a header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.records import Volume
from tests.datasets.drawn import text


def mrnet(root: Path) -> Path:
    top = root / "MRNet-v1.0"
    for split, numbers in (("train", (0, 1)), ("valid", (1130,))):
        for place, plane in enumerate(("axial", "coronal", "sagittal")):
            for number in numbers:
                file = top / split / plane / f"{number:04d}.npy"
                file.parent.mkdir(parents=True, exist_ok=True)
                np.save(file, np.full((place + 2, 4, 5), number % 256, np.uint8) + np.arange(5, dtype=np.uint8))
    for task, ones in (("abnormal", "11"), ("acl", "01"), ("meniscus", "00")):
        text(top / f"train-{task}.csv", *(f"{number:04d},{one}" for number, one in enumerate(ones)))
        text(top / f"valid-{task}.csv", "1130,1")
    return root


@pytest.mark.evidence("mrnet", "layout")
@pytest.mark.parametrize(("plane", "depth"), [("axial", 2), ("coronal", 3), ("sagittal", 4)])
def test_mrnet_has_three_labels_an_examination_and_no_header_swallows_the_first(
    tmp_path: Path, plane: str, depth: int
) -> None:
    """MRNet-v1.0/{train,valid}/{axial,coronal,sagittal}/0000.npy, {split}-{abnormal,acl,meniscus}.csv without a header."""
    opened = open_dataset(f"mrnet:{plane}", mrnet(tmp_path))
    train = list(opened["train"])
    assert [(r.id, r.labels) for r in train] == [
        ("train/0000", {"abnormal": "present", "acl": "absent", "meniscus": "absent"}),
        ("train/0001", {"abnormal": "present", "acl": "present", "meniscus": "absent"}),
    ]
    assert isinstance(train[1], Volume) and train[1].voxels.shape == (5, 4, depth)  # the slices last
    assert train[1].voxels[:, 0, 0].tolist() == [1, 2, 3, 4, 5] and train[1].meta == {"plane": plane}
    assert [r.id for r in opened["validation"]] == ["validation/1130"]


def test_mrnet_misses_and_leftovers_are_named(tmp_path: Path) -> None:
    top = mrnet(tmp_path) / "MRNet-v1.0"
    (top / "train/axial/0000.npy").unlink()
    np.save(top / "train/axial/0099.npy", np.zeros((2, 4, 5), np.uint8))
    text(top / "train-acl.csv", "0000,0")
    opened = open_dataset("mrnet", tmp_path, "train", on_error="collect")
    assert list(opened) == []
    assert [str(e).rpartition("cannot be read: ")[2] for e in opened.errors] == [
        "no file '0000.npy' among the 2 here",
        "the examination has no label 'acl'",
    ]
    assert [name for name, _ in opened.passed_over] == ["0099.npy"]


def test_mrnet_arrays_that_need_pickle_or_hold_something_else_are_refused(tmp_path: Path) -> None:
    top = mrnet(tmp_path) / "MRNet-v1.0/train/axial"
    np.save(top / "0000.npy", np.array([print], dtype=object), allow_pickle=True)
    np.save(top / "0001.npy", np.zeros((2, 4, 5), np.float32))
    one, two = open_dataset("mrnet", tmp_path, "train")
    with pytest.raises(DatasetError, match=r"0000\.npy: not a readable npy file"):
        one.load()
    with pytest.raises(DatasetError, match=r"0001\.npy: not the uint8 of three axes"):
        two.load()

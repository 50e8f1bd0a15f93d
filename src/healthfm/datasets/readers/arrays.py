"""Examinations as arrays: a .npy a series, and tables without a header for the labels."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from healthfm.datasets.locate import Files
from healthfm.datasets.pictures import Pictures
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, npz
from healthfm.formats.source import Row, Source
from healthfm.records import Label, Volume

TASKS = ("abnormal", "acl", "meniscus")


@dataset("mrnet", record=Volume)
def mrnet(files: Files, split: str) -> Iterator[Volume]:
    """One plane of each knee (the variant); three tables of 0 and 1 in the same order of examinations."""
    series, tables = Pictures(files, "series"), {task: _labels(files, task) for task in TASKS}
    numbers = list(dict.fromkeys(number for one in tables.values() for number in one))
    for row in series.named_by(Row({"id": number}, files["abnormal labels"], number) for number in numbers):
        with row:
            series.know(f"{row['id']}.npy")
            labels: dict[str, Label] = {}
            for task, one in tables.items():
                if row["id"] not in one:
                    raise BadValue(f"the examination has no label '{task}'")
                labels[task] = files.label(task, one[row["id"]])
            yield Volume(
                id=f"{split}/{row['id']}", split=split, labels=labels, meta={"plane": files.variant}, modality="MR",
                load=functools.partial(_slices_last, series.source(f"{row['id']}.npy")), place=functools.partial(np.eye, 4),
            )  # fmt: skip


def _labels(files: Files, task: str) -> dict[str, str]:
    found = dict[str, str]()
    for row in delimited.rows(files[f"{task} labels"], ",", names=("id", "label")):
        with row:
            number = row["id"].strip().zfill(4)
            if number in found:
                raise BadValue("the examination is labelled twice")
            found[number] = row["label"]
    return found


def _slices_last(source: Source) -> npt.NDArray[np.uint8]:
    """Return [column, row, slice] of a file that holds [slice, row, column]."""
    found = npz.array(source)
    if found.ndim != 3 or found.dtype != np.uint8:
        raise DatasetError(f"{source}: not the uint8 of three axes that a series is")
    return found.transpose(2, 1, 0)

"""What the user gives, held against a dataset: a folder of masks, or a file of boxes, to a checked table and the facts of its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from healthfm.datasets.dataset import Dataset
from healthfm.errors import RunError
from healthfm.score import tasks
from healthfm.score.given import boxes, masks

MASKS, BOXES = "masks", "boxes"  # kinds of tables


def task_of(path: Path, opened: Dataset, asked: str | None) -> str:
    """Return the task of what is given: as asked, as the card says, or by what it is. Raises ``RunError``: a task of neither."""
    given = MASKS if path.is_dir() else BOXES
    said = opened.card.evaluation.task if opened.card.evaluation else None
    task = (
        asked
        or (said if said and tasks.TASKS[said].kind == given else None)
        or ("segmentation" if path.is_dir() else "detection")
    )
    if task not in tasks.TASKS or tasks.TASKS[task].kind != given:
        fit = ", ".join(name for name, one in tasks.TASKS.items() if one.kind == given)
        what = "a folder is one of masks" if path.is_dir() else "a file held against a dataset is one of boxes"
        raise RunError(f"{path}: {what}, whose tasks are {fit}; not '{task}'")
    return task


def table(
    path: Path, opened: Dataset, task: str, resample: str | None = None, tolerance: float | None = None
) -> tuple[pa.Table, dict[str, Any]]:
    """Return the table of what is given, and the facts of its run. Raises ``RunError`` for what does not fit."""
    if resample not in (None, masks.NEAREST):
        raise RunError(f"resample is '{resample}'; a mask is brought to another grid by '{masks.NEAREST}' alone")
    if tolerance is not None and not tolerance >= 0:
        raise RunError("the tolerance of the surface distance is 0 or more")
    kind = tasks.TASKS[task].kind
    if kind == BOXES and (resample or tolerance is not None):
        raise RunError("--resample and --tolerance are for masks, not for boxes")
    made, told = (
        masks.table(path, opened, resample is not None, tolerance) if kind == MASKS else boxes.table(path, opened)
    )
    data = str(opened.path.absolute()) if opened.path else None
    facts = {
        "given": {"path": str(path.absolute()), "resample": resample, "tolerance": tolerance, **told},
        "data": {"shareable_inputs": opened.card.may_show_inputs, "path": data, "columns": opened.columns},
        "root": str(opened.root.absolute()) if opened.root else None,
    }
    return made, facts

"""A table of predictions to metrics, with nothing of the model: what ``metrics.json`` holds is made here alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.evaluate import metrics, statistics

NAMED = 5  # how many offending rows an error names
SMALL_GROUP = 20
TASKS = {
    "multiple-choice": "one of the question's options",
    "yes-no-maybe": "yes, no or maybe",
    "multi-class": "one of several classes",
    "linear-probe": "one of several classes, by logistic regression on frozen embeddings",
    "knn": "one of several classes, by the nearest embeddings",
}
CLASSES = {"yes-no-maybe": ("yes", "no", "maybe")}  # the label space of a task that has one of its own


def check_table(table: pa.Table, task: str) -> pa.Table:
    """Return the table, checked: columns ``id``, ``target``, and ``prediction`` or ``probabilities`` with ``options``.

    Raises ``RunError`` naming the rows: no id, an id twice, a missing target, a NaN, a label outside the known ones.
    """
    if task not in TASKS:
        raise RunError(f"no task '{task}' (tasks: {', '.join(TASKS)})")
    names = set(table.column_names)
    needed = {"id", "target"} | (set() if "probabilities" in names else {"prediction"})
    if needed - names:
        raise RunError(
            f"the table lacks the columns {', '.join(sorted(needed - names))} (it has {', '.join(table.column_names)})"
        )
    if table.num_rows == 0:
        raise RunError("the table has no rows")
    ids = _column(table, "id")
    _refuse("have no id", [str(i + 1) for i, one in enumerate(ids) if one is None])
    seen: set[str | None] = set()
    _refuse("have an id that occurred before", [str(one) for one in ids if one in seen or seen.add(one)])  # type: ignore[func-returns-value]
    targets = _column(table, "target")
    _refuse("have no target", [str(i) for i, t in zip(ids, targets, strict=True) if t is None])
    if "probabilities" in names:
        if "options" not in names:
            raise RunError("the table has probabilities but no options column to say of what")
        if not (_is_list(table["probabilities"].type, numbers=True) and _is_list(table["options"].type)):
            raise RunError("the columns probabilities (numbers) and options need a list in each row")
        rows = list(zip(ids, table["probabilities"].to_pylist(), table["options"].to_pylist(), strict=True))
        _refuse(
            "have NaN, infinite or missing probabilities",
            [str(i) for i, p, _ in rows if not p or not np.isfinite(np.array(p, float)).all()],
        )
        _refuse("have probabilities outside 0 to 1", [str(i) for i, p, _ in rows if min(p) < 0 or max(p) > 1 + 1e-6])
        _refuse(
            "have as many options as probabilities", [str(i) for i, p, o in rows if len(p) != len(o or ())], negate=True
        )
        choices = [[_label(one) for one in o] for _, _, o in rows]
        _refuse(
            "have a target that is not among their options",
            [str(i) for i, t, o in zip(ids, targets, choices, strict=True) if t not in o],
        )
        table = _set(table, "options", pa.array(choices, pa.list_(pa.string())))
        if "prediction" not in names:
            best = [o[int(np.argmax(p))] for (_, p, _), o in zip(rows, choices, strict=True)]
            table = table.append_column("prediction", pa.array(best, pa.string()))
    predictions = _column(table, "prediction")
    if "probabilities" in names:
        _refuse(
            "have a prediction that is not among their options",
            [str(i) for i, p, o in zip(ids, predictions, choices, strict=True) if p is not None and p not in o],
        )
    for name, values in (("id", ids), ("target", targets), ("prediction", predictions)):
        table = _set(table, name, pa.array(values, pa.string()))
    return table


def _column(table: pa.Table, name: str) -> list[str | None]:
    """Return a column as text; None where a value is missing or NaN."""
    return [_label(value) for value in table[name].to_pylist()]


def _label(value: Any) -> str | None:
    if value is None or value != value:
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)  # a gap makes 1 to 1.0


def _is_list(kind: pa.DataType, numbers: bool = False) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    inner = kind.value_type
    return not numbers or pa.types.is_floating(inner) or pa.types.is_integer(inner) or pa.types.is_null(inner)


def _set(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def _refuse(problem: str, rows: Sequence[str], negate: bool = False) -> None:
    if rows:
        more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
        word = "do not " if negate else ""
        raise RunError(f"{len(rows)} rows {word}{problem}: {', '.join(rows[:NAMED])}{more}")


def score(table: pa.Table, task: str, classes: Sequence[str] | None = None, seed: int = 0) -> dict[str, Any]:
    """Return the metrics of a checked table: values with 95 % intervals, confusion counts, calibration, subgroups.

    ``classes`` is the label space where it is known; a label outside it is an error, a missing prediction counts as wrong.
    """
    targets, predictions = table["target"].to_pylist(), table["prediction"].to_pylist()
    known = classes or CLASSES.get(task)
    space = list(known) if known else sorted(set(targets) | {p for p in predictions if p is not None})
    index = {name: i for i, name in enumerate(space)}
    ids = table["id"].to_pylist()
    _refuse(
        f"have a target outside the classes {', '.join(space)}",
        [i for i, t in zip(ids, targets, strict=True) if t not in index],
    )
    _refuse(
        f"have a prediction outside the classes {', '.join(space)}",
        [i for i, p in zip(ids, predictions, strict=True) if p is not None and p not in index],
    )
    truth = np.array([index[t] for t in targets])
    guess = np.array([-1 if p is None else index[p] for p in predictions])
    patients = _column(table, "patient") if "patient" in table.column_names else [None] * len(ids)
    result: dict[str, Any] = {
        "task": task, "n": len(ids), "classes": space,
        "metrics": estimate(truth, guess, patients, len(space), seed),
        "confusion": metrics.confusion(truth, guess, len(space)).tolist(),
        "unanswered": int((guess < 0).sum()),
        "majority": _majority(truth, space),
        "calibration": _calibration(table),
        "subgroups": _subgroups(table, truth, guess, patients, len(space), seed),
    }  # fmt: skip
    return result


def estimate(
    truth: npt.NDArray[Any], guess: npt.NDArray[Any], patients: Sequence[Any], classes: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Return accuracy and macro-F1 with intervals.

    A patient with several samples makes the intervals clustered: whole patients are resampled. A sample without a
    patient is then a patient of its own, and the interval's method says of how many samples that was assumed.
    """
    table = metrics.confusion(truth, guess, classes)
    members: dict[Any, list[int]] = {}
    for row, patient in enumerate(patients):
        members.setdefault((row,) if patient is None else patient, []).append(row)
    unknown = sum(patient is None for patient in patients)
    clustered = len(members) < len(patients)
    tables = (
        np.stack([metrics.confusion(truth[rows], guess[rows], classes) for rows in members.values()])
        if clustered
        else table
    )
    found: dict[str, dict[str, Any]] = {}
    for name, formula in (("accuracy", metrics.accuracy), ("macro_f1", metrics.macro_f1)):
        if clustered:
            interval = statistics.cluster_bootstrap(tables, formula, seed)
            if unknown:
                note = f"{interval.method}; {unknown} samples without a patient count as one patient each"
                interval = replace(interval, method=note)
        elif name == "accuracy":
            interval = statistics.wilson(int((truth == guess).sum()), len(truth))
        else:
            interval = statistics.bootstrap_counts(table, formula, seed)
        found[name] = {"value": float(formula(table)), **interval.asdict(), "n": len(truth)}
    return found


def _majority(truth: npt.NDArray[Any], space: Sequence[str]) -> dict[str, Any]:
    counts = np.bincount(truth, minlength=len(space))
    return {"class": space[int(counts.argmax())], "accuracy": float(counts.max() / len(truth)), "n": len(truth)}


def _calibration(table: pa.Table) -> dict[str, Any] | None:
    if "probabilities" not in table.column_names:
        return None
    rows = list(
        zip(table["probabilities"].to_pylist(), table["target"].to_pylist(), table["options"].to_pylist(), strict=True)
    )
    if any(p is None for p, _, _ in rows):
        return None
    confidence = np.array([max(p) for p, _, _ in rows])
    correct = np.array([o[int(np.argmax(p))] == t for p, t, o in rows], dtype=float)
    curve = metrics.reliability(confidence, correct)
    squares = [sum((q - (k == t)) ** 2 for q, k in zip(p, o, strict=True)) for p, t, o in rows]
    return {
        "ece": metrics.expected_calibration_error(curve),
        "brier": float(np.mean(squares)),
        "bins": curve,
        "binning": "equal mass",
    }


def _subgroups(
    table: pa.Table, truth: npt.NDArray[Any], guess: npt.NDArray[Any], patients: Sequence[Any], classes: int, seed: int,
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    found: dict[str, list[dict[str, Any]]] = {}
    for column in (name for name in table.column_names if name.startswith("subgroup.")):
        values = _column(table, column)
        for value in sorted({v for v in values if v is not None}):
            rows = np.flatnonzero([v == value for v in values])
            accuracy = estimate(truth[rows], guess[rows], [patients[i] for i in rows.tolist()], classes, seed)[
                "accuracy"
            ]
            found.setdefault(column.removeprefix("subgroup."), []).append(
                {"group": value, **accuracy, "too_few": len(rows) < SMALL_GROUP}
            )
    return found

"""A table of predictions to metrics, with nothing of the model: what ``metrics.json`` holds is made here alone."""

from __future__ import annotations

from collections.abc import Sequence
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
}


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
    ids = [None if value is None else str(value) for value in table["id"].to_pylist()]
    _refuse("have no id", [str(i + 1) for i, one in enumerate(ids) if one is None])
    seen: set[str | None] = set()
    _refuse("have an id that occurred before", [str(one) for one in ids if one in seen or seen.add(one)])  # type: ignore[func-returns-value]
    targets = table["target"].to_pylist()
    _refuse("have no target", [str(i) for i, t in zip(ids, targets, strict=True) if t is None or t != t])
    if "probabilities" in names:
        if "options" not in names:
            raise RunError("the table has probabilities but no options column to say of what")
        rows = list(zip(ids, table["probabilities"].to_pylist(), table["options"].to_pylist(), strict=True))
        _refuse(
            "have NaN, infinite or missing probabilities",
            [str(i) for i, p, _ in rows if not p or not np.isfinite(np.array(p, float)).all()],
        )
        _refuse(
            "have as many options as probabilities", [str(i) for i, p, o in rows if len(p) != len(o or ())], negate=True
        )
        _refuse(
            "have a target that is not among their options",
            [str(i) for (i, _, o), t in zip(rows, targets, strict=True) if str(t) not in map(str, o)],
        )
    table = table.set_column(table.column_names.index("id"), "id", pa.array(ids, pa.string()))
    table = table.set_column(
        table.column_names.index("target"), "target", pa.array([str(t) for t in targets], pa.string())
    )
    if "prediction" not in names:
        best = [str(o[int(np.argmax(p))]) for _, p, o in rows]
        table = table.append_column("prediction", pa.array(best, pa.string()))
    predictions = [None if p is None or p != p else str(p) for p in table["prediction"].to_pylist()]
    return table.set_column(table.column_names.index("prediction"), "prediction", pa.array(predictions, pa.string()))


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
    space = list(classes) if classes else sorted(set(targets) | {p for p in predictions if p is not None})
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
    patients = table["patient"].to_pylist() if "patient" in table.column_names else [None] * len(ids)
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
    """Return accuracy and macro-F1 with intervals; patients with several samples make the intervals clustered."""
    table = metrics.confusion(truth, guess, classes)
    known = [p for p in patients if p is not None]
    clustered = len(known) == len(patients) and len(set(known)) < len(known)
    found: dict[str, dict[str, Any]] = {}
    for name, formula in (("accuracy", metrics.accuracy), ("macro_f1", metrics.macro_f1)):
        if clustered:
            groups = {p: np.flatnonzero([q == p for q in patients]) for p in dict.fromkeys(patients)}
            tables = np.stack([metrics.confusion(truth[rows], guess[rows], classes) for rows in groups.values()])
            interval = statistics.cluster_bootstrap(tables, formula, seed)
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
    correct = np.array([str(o[int(np.argmax(p))]) == t for p, t, o in rows], dtype=float)
    curve = metrics.reliability(confidence, correct)
    squares = [sum((q - (str(k) == t)) ** 2 for q, k in zip(p, o, strict=True)) for p, t, o in rows]
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
        values = [None if v is None else str(v) for v in table[column].to_pylist()]
        for value in sorted({v for v in values if v is not None}):
            rows = np.flatnonzero([v == value for v in values])
            accuracy = estimate(truth[rows], guess[rows], [patients[i] for i in rows], classes, seed)["accuracy"]
            found.setdefault(column.removeprefix("subgroup."), []).append(
                {"group": value, **accuracy, "too_few": len(rows) < SMALL_GROUP}
            )
    return found

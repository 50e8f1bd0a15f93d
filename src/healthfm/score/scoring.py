"""A table of predictions to metrics, with nothing of the model: what ``metrics.json`` holds is made here alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score import tasks
from healthfm.score.kinds import (
    assays,
    boxes,
    candidates,
    expression,
    kind,
    labels,
    likelihood,
    masks,
    matches,
    names,
    numbers,
    ordinal,
    ranking,
    reading,
    relations,
    sets,
    signatures,
    similarity,
    spans,
    structures,
    tags,
    text,
)
from healthfm.score.kinds import classes as one_class
from healthfm.score.kinds.kind import Kind, Read
from healthfm.score.statistics import calibration, curves, selective, subgroups
from healthfm.score.statistics.draws import over
from healthfm.score.statistics.estimate import estimate
from healthfm.score.statistics.statistic import Statistic

KINDS: Mapping[str, Kind] = {
    "classes": one_class, "labels": labels, "ordinal": ordinal, "numbers": numbers, "text": text, "ranking": ranking, "matches": matches,
    "likelihood": likelihood, "spans": spans, "reading": reading, "candidates": candidates, "similarity": similarity, "tags": tags, "relations": relations, "sets": sets,
    "masks": masks, "boxes": boxes,
    "assays": assays, "expression": expression, "signatures": signatures, "structures": structures,
}  # fmt: skip
BESIDE = ("auroc", "macro_auroc", "sensitivity", "specificity")  # what a group's row says beside the headline
UNASKED = {  # the column of answers, before there are any
    "classes": ("prediction", pa.string()), "labels": ("prediction", pa.list_(pa.string())), "text": ("output", pa.string()),
    "ranking": ("ranking", pa.list_(pa.string())), "matches": ("ranks", pa.list_(pa.int64())), "numbers": ("prediction", pa.float64()), "spans": ("prediction", spans.SPANS),
    "reading": ("prediction", pa.string()), "candidates": ("scores", candidates.NUMBERS), "similarity": ("prediction", pa.float64()),
    "tags": ("prediction", pa.list_(pa.string())), "relations": ("prediction", relations.RELATIONS), "sets": ("prediction", pa.list_(pa.string())),
    "assays": ("prediction", pa.float64()), "expression": ("prediction", expression.NUMBERS),
}  # fmt: skip
UNCERTAIN = "ignore"  # how uncertain labels count unless asked otherwise


def table_kind(task: str) -> Kind:
    """Return the kind of a task's table. Raises ``RunError`` for an unknown task."""
    if task not in tasks.TASKS:
        raise RunError(f"no task '{task}' (tasks: {', '.join(tasks.TASKS)})")
    return KINDS[tasks.TASKS[task].kind]


def check_table(
    table: pa.Table, task: str, classes: Sequence[str] | None = None, named: bool = False
) -> pa.Table:  # fmt: skip
    """Return the table, checked for its task: the columns it needs are there and in their types.

    ``named``: every class gets one name, that of the ``classes`` where they are declared (``kinds.names``). Raises ``RunError`` naming the rows: no id, an id twice, a missing target, a NaN, a label outside the known ones.
    """
    checker = table_kind(task)
    if named and tasks.TASKS[task].kind in ("classes", "ordinal", "labels"):
        table = names.unify(table, task, classes or tasks.TASKS[task].classes or None)
    return checker.check(table)


def check_targets(
    task: str, ids: Sequence[str], targets: Sequence[str | Sequence[str]], classes: Sequence[str] | None
) -> None:  # fmt: skip
    """Raise ``RunError``, before any model is asked, where the scores could not be computed of these targets."""
    name = tasks.TASKS[task].kind
    column, kind_of_answer = UNASKED[name]
    several = name in ("labels", "text", "ranking", "tags", "sets", "reading", "candidates", "matches")
    whole = kind_of_answer if name in ("spans", "relations") else None
    nothing: list[Any] = [[] if name == "ranking" else None] * len(ids)
    columns = {
        "id": pa.array(ids, pa.string()),
        "target": pa.array([list(one) for one in targets] if several else targets, whole),
    }
    check_table(pa.table({**columns, column: pa.array(nothing, kind_of_answer)}), task)
    if classes and name in ("classes", "labels"):
        rows = [{one} if isinstance(one, str) else set(one) for one in targets]
        kind.refuse(
            f"have a target outside the classes {', '.join(classes)}",
            [i for i, row in zip(ids, rows, strict=True) if row - set(classes)],
        )


def statistics_of(
    table: pa.Table, task: str, classes: Sequence[str] | None = None, uncertain: str = UNCERTAIN
) -> dict[str, Statistic]:  # fmt: skip
    """Return every metric of a checked table by name (``NAME/CLASS`` for one class), as functions of the rows drawn."""
    return dict(table_kind(task).read(table, task, classes, uncertain).statistics)


def patients_of(table: pa.Table) -> list[str | None]:
    """Return the patient of each row, None where it has none."""
    return kind.texts(table, "patient") if "patient" in table.column_names else [None] * table.num_rows


def score(
    table: pa.Table, task: str, classes: Sequence[str] | None = None, seed: int = 0, uncertain: str = UNCERTAIN,
    draws: Sequence[pa.Table] = (),
) -> dict[str, Any]:  # fmt: skip
    """Return the metrics of a checked table: values with 95 % intervals, calibration, curves, subgroups, rules.

    ``classes`` is the label space where it is known; a label outside it is an error, a missing prediction counts as wrong.
    ``uncertain``: how uncertain labels count (``labels.UNCERTAIN``). ``draws``: the predictions of the same rows, in their order, by a model
    fitted on each draw of examples; metrics are then means over draws, and what has no mean (confusion, calibration, curves) is
    that of ``table``.
    """
    read = table_kind(task).read(table, task, classes, uncertain)
    if draws:
        many = [statistics_of(one, task, classes or read.facts.get("classes"), uncertain) for one in draws]
        read = replace(read, statistics=over(many))
    patients = patients_of(table)
    sure = {}
    if read.confident is not None:
        sure = {"ece": calibration.ece(*read.confident), "aurc": selective.aurc(*read.confident)}
    found = estimate({**read.statistics, **sure}, patients, seed)
    overall = {name: one for name, one in found.items() if "/" not in name and name not in sure}
    rules = list(read.rules)
    result: dict[str, Any] = {
        "task": task, "kind": tasks.TASKS[task].kind, "n": table.num_rows, "headline": read.headline,
        "classes": [], "confusion": None, "unanswered": 0, "majority": None, **read.facts,
        "metrics": overall, "per_class": _per_class(found),
        "calibration": _calibration(read, found), "curves": curves.roc_and_pr(read.ranked),
        "selective": selective.of_rows(*read.confident, found["aurc"]) if read.confident is not None else None,
        "subgroups": _subgroups(table, draws or [table], read, task, classes, uncertain, patients, seed),
        "fairness": _fairness(table, read, patients), "learning_curve": None,
        "rules": [*rules, *(f"{name}: {one['rule']}" for name, one in overall.items() if "rule" in one)],
    }  # fmt: skip
    return result


def _per_class(found: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    classes: dict[str, dict[str, Any]] = {}
    for name, one in found.items():
        metric, slash, of = name.partition("/")
        if slash:
            classes.setdefault(of, {})[metric] = one
    return classes


def _calibration(read: Read, found: Mapping[str, dict[str, Any]]) -> dict[str, Any] | None:
    if read.confident is None:
        return None
    error = found["ece"]
    return {
        "ece": error["value"], "ece_low": error["low"], "ece_high": error["high"], "ece_method": error["method"], "brier": read.brier, "bins": calibration.reliability(*read.confident),
        "binning": "equal mass", "rule": error["rule"],
    }  # fmt: skip


def groups_of(table: pa.Table) -> dict[str, list[str | None]]:
    """Return the subgroup of each row, by name of the grouping."""
    names = [name for name in table.column_names if name.startswith("subgroup.")]
    return {name.removeprefix("subgroup."): kind.texts(table, name) for name in names}


def _subgroups(
    table: pa.Table, tables: Sequence[pa.Table], read: Read, task: str, classes: Sequence[str] | None, uncertain: str,
    patients: Sequence[Any], seed: int,
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    """Return the headline metric by group, and its gap to the rest, of the rows whose group is known; beside it how well each group is
    ranked and found (``BESIDE``), where the task has that. ``tables``: the predictions of every draw, or the one table.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    space = classes or read.facts.get("classes")
    wanted = [read.headline, *(name for name in BESIDE if name in read.statistics and name != read.headline)]

    def of(rows: Sequence[int]) -> dict[str, Statistic]:
        try:
            many = [statistics_of(one.take(rows), task, space, uncertain) for one in tables]
        except RunError:  # a part may hold nothing to score, such as only rows without a number
            return {}
        every = many[0] if len(many) == 1 else over(many)
        return {name: every[name] for name in wanted if name in every}

    for name, groups in groups_of(table).items():
        known = [i for i, group in enumerate(groups) if group is not None]
        whole = of(known)
        for group in sorted({str(groups[i]) for i in known}):
            rows = [i for i in known if groups[i] == group]
            inside = np.array([groups[i] == group for i in known])
            values = estimate(of(rows), [patients[i] for i in rows], seed)
            gaps = {
                metric: subgroups.gap(whole[metric], inside, [patients[i] for i in known], seed)
                for metric in values if metric in whole and not inside.all()
            }  # fmt: skip
            lower = {metric for metric in wanted if read.statistics[metric].lower_is_better}
            found.setdefault(name, []).append(subgroups.row(group, wanted, values, len(rows), gaps, lower))
    return found


def _fairness(table: pa.Table, read: Read, patients: Sequence[Any]) -> dict[str, Any]:
    if read.binary is None:
        return {}
    return {name: subgroups.fairness(*read.binary, groups, patients) for name, groups in groups_of(table).items()}

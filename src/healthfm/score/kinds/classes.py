"""One class a row: ``target`` and ``prediction``, or ``options`` with ``probabilities``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score.kinds import kind
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics import single_label
from healthfm.score.metrics.arrays import lanes
from healthfm.score.metrics.discrimination import Auroc, AveragePrecision, macro
from healthfm.score.metrics.options import by_length
from healthfm.score.metrics.screening import HighSpecificity
from healthfm.score.statistics.statistic import (
    Bools,
    Cells,
    Counts,
    Floats,
    Ints,
    Statistic,
    Values,
    of_cells,
    of_counts,
    of_mean,
)
from healthfm.score.tasks import TASKS

TINY = np.finfo(np.float64).eps  # the least probability that log-loss believes, as scikit-learn's does
ROUNDED = 0.02  # how far from 1 a sum of probabilities may be that were written with few decimals
SCREENING, PARTIAL = "screening", "partial_auroc_90"  # the rule of a task, and its first metric
LETTERS = "a question's options are not classes that recur: no AUROC, kappa or balanced accuracy is given"


def check(table: pa.Table) -> pa.Table:
    """Return the table with labels as text, and a prediction where there are probabilities alone."""
    likely = "probabilities" in table.column_names
    kind.need(table, "id", "target", *(() if likely else ("prediction",)))
    ids, targets = kind.check_ids(table), kind.texts(table, "target")
    kind.refuse("have no target", [i for i, t in zip(ids, targets, strict=True) if t is None])
    if likely:
        options, values = kind.check_probabilities(table, ids)
        kind.refuse(
            "have a target that is not among their options",
            [i for i, t, o in zip(ids, targets, options, strict=True) if t not in o],
        )
        table = kind.put(table, "options", options, pa.list_(pa.string()))
        if "prediction" not in table.column_names:
            best = [o[int(np.argmax(p))] for p, o in zip(values, options, strict=True)]
            table = table.append_column("prediction", pa.array(best, pa.string()))
    predictions = kind.texts(table, "prediction")
    if likely:
        kind.refuse(
            "have a prediction that is not among their options",
            [i for i, p, o in zip(ids, predictions, options, strict=True) if p is not None and p not in o],
        )
    for name, column in (("id", ids), ("target", targets), ("prediction", predictions)):
        table = kind.put(table, name, column, pa.string())
    return table


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str, ordered: bool = False) -> Read:
    """Return the metrics of one class a row. ``ordered``: the classes are a scale."""
    targets, predictions = table["target"].to_pylist(), table["prediction"].to_pylist()
    known, letters = classes or TASKS[task].classes or None, TASKS[task].letters
    if not letters or all(_share(one) and "." in one for one in predictions if one is not None):
        # a few questions may all be answered by letters that no target is
        _refuse_no_class(targets, predictions, {*(known or ()), *_offered(table, task)})
    seen = {one for one in (*targets, *predictions) if one is not None} | _offered(table, task)
    space = list(known) if known else sorted(seen)
    if TASKS[task].two and len(space) > 2:
        raise RunError(
            f"a {task} task has two classes, these are {len(space)}: {', '.join(space[: kind.NAMED])}; use multi-class"
        )
    for what, names in (("target", targets), ("prediction", predictions)):
        kind.refuse(
            f"have a {what} outside the classes {', '.join(space)}",
            [i for i, one in zip(table["id"].to_pylist(), names, strict=True) if one is not None and one not in space],
        )
    truth, guess = kind.indices(targets, space), kind.indices(predictions, space)
    counts = single_label.confusion(truth, guess, len(space))
    found, rules = _answered(truth, guess, len(space), letters, ordered), [LETTERS] if letters else []
    facts: dict[str, Any] = {
        "classes": space, "confusion": counts.tolist(), "unanswered": int((guess < 0).sum()), "majority": majority(truth, space),
    }  # fmt: skip
    if (normalised := by_length(table)) is not None:
        hits = [one == target for one, target in zip(normalised, targets, strict=True)]
        found.insert(
            1,
            of_mean(
                "acc_norm", hits, "by log-likelihood divided by the option's characters, as lm-evaluation-harness does"
            ),
        )
    if facts["unanswered"]:
        rules.append("a row without an answer counts as wrong, as a class of its own in kappa and MCC")
    rules += _absent(counts, space)
    likely = _probabilities(table)
    rules += _sums(table) if likely is not None else []
    confident = brier = None
    ranked: dict[str, tuple[Bools, Floats]] = {}
    if likely is not None:
        confidence, right, chance, squares = likely
        confident, brier = (confidence, right), float(squares.mean())
        found += [
            of_mean("log_loss", -np.log(np.maximum(chance, TINY)), lower_is_better=True),
            of_mean("brier", squares, lower_is_better=True),
        ]
        matrix = None if letters else _matrix(table, space)
        if matrix is not None:
            ranked = {name: (truth == i, matrix[:, i]) for i, name in enumerate(space)}
            ranked = {space[1]: ranked[space[1]]} if len(space) == 2 else ranked
            found += ranking(ranked, {}, single=len(space) == 2)
            found += _screened(truth == 1, matrix[:, 1]) if TASKS[task].rule == SCREENING else []
        elif not letters:
            rules.append("the options differ from row to row: no AUROC or average precision is given")
    if len(space) == 2 and not letters:
        rules.append(f"positive class: '{space[1]}', the second of the two")
        if likely is not None:
            rules.append(
                "Brier score: summed over both classes (Brier 1950), twice the score of the positive class alone"
            )
    statistics, lost = kind.defined(found)
    if TASKS[task].rule == SCREENING and likely is None:
        raise RunError(
            f"{task} needs the probability of '{space[1]}' of every row (--columns probability.{space[1]}=COLUMN)"
        )
    headline = PARTIAL if PARTIAL in statistics else "accuracy"
    return Read(
        statistics, headline, rules + lost, facts, confident, brier, ranked,
        (truth == 1, guess == 1) if len(space) == 2 and not letters else None,
    )  # fmt: skip


def _screened(truth: Bools, score: Floats) -> list[Statistic]:
    """Return what AIROGS measures of referable glaucoma. Source: github.com/qurAI-amsterdam/airogs-evaluation@72c007a2 evaluation.py."""
    curve = HighSpecificity(truth, score)
    return [
        of_counts(PARTIAL, len(truth), lambda counts: curve.area(lanes(counts)), "on McClish's scale, 0.5 is chance", scale_free=True),
        of_counts(
            "sensitivity_at_95_specificity", len(truth), lambda counts: curve.sensitivity(lanes(counts)),
            "the highest at scores that occur in the table, so that the threshold is chosen on the rows that are evaluated", scale_free=True,
        ),
    ]  # fmt: skip


def majority(truth: Ints, space: Sequence[str]) -> dict[str, Any]:
    """Return the baseline of always answering the commonest class."""
    counts = np.bincount(truth, minlength=len(space))
    return {"class": space[int(counts.argmax())], "accuracy": float(counts.max() / len(truth)), "n": len(truth)}


def ranking(ranked: Mapping[str, tuple[Bools, Floats]], known: Mapping[str, Bools], single: bool) -> list[Statistic]:
    """Return AUROC and average precision of each class and their means, or of the one class there is (``single``).

    ``known``: the rows to look at, for classes that are not known everywhere.
    """
    found: list[Statistic] = []
    for name, metric in (("auroc", Auroc), ("average_precision", AveragePrecision)):
        kernels = [metric(truth, score, known.get(one)) for one, (truth, score) in ranked.items()]
        for kernel, (one, (truth, score)) in zip(kernels, ranked.items(), strict=True):
            rows = known.get(one)
            pair = (truth, score) if rows is None else (truth[rows], score[rows])
            found.append(
                of_counts(
                    name if single else f"{name}/{one}", len(truth), _mean_at([kernel]),
                    scores=pair if name == "auroc" else None, among=rows, scale_free=True,
                )
            )  # fmt: skip
        if not single:
            rule = "mean over the classes for which it is defined, in each resample too"
            found.append(of_counts(f"macro_{name}", len(truth), _mean_at(kernels), rule, scale_free=True))
    return found


def _mean_at(kernels: Sequence[Auroc | AveragePrecision]) -> Callable[[Counts], Values]:
    return lambda counts: macro(kernels, lanes(counts))


def _answered(truth: Ints, guess: Ints, size: int, letters: bool, ordered: bool) -> list[Statistic]:
    cell = truth * (size + 1) + np.where(guess < 0, size, guess)

    def metric(name: str, formula: Any, rule: str | None = None, **more: Any) -> Statistic:
        shaped = lambda counts: formula(counts.reshape(*counts.shape[:-1], size, size + 1))  # noqa: E731
        return of_cells(name, Cells(cell, size * (size + 1), shaped), rule, **more)

    found = [
        metric("accuracy", single_label.accuracy, hits=truth == guess),
        metric("macro_f1", single_label.macro_f1),
    ]
    if letters:
        return found
    found += [
        metric("balanced_accuracy", single_label.balanced_accuracy),
        metric("mcc", single_label.matthews),
        metric("kappa", single_label.kappa),
    ]
    if ordered:
        rule = "an unanswered row counts as the class farthest from its target" if (guess < 0).any() else None
        found.append(metric("quadratic_kappa", lambda counts: single_label.kappa(counts, quadratic=True), rule))
    if size == 2:
        found += [
            metric("sensitivity", single_label.sensitivity, hits=truth == guess, among=truth == 1),
            metric("specificity", single_label.specificity, hits=truth == guess, among=truth == 0),
        ]
    return found


def _refuse_no_class(targets: Sequence[str | None], predictions: Sequence[str | None], known: set[str]) -> None:
    """Raise ``RunError`` where predictions are there and none is a class: a column of scores, say, or of other names."""
    space, given = known | set(targets), {one for one in predictions if one is not None}
    if not given or given & space:
        return
    named = sorted(str(one) for one in space)
    hint = "name the column whose values are classes (--columns prediction=COLUMN)"
    if len(named) == 2 and all(_share(one) for one in given):
        hint = f"they look like probabilities: did you mean --columns probability.{named[1]}=COLUMN?"
    raise RunError(f"none of the predictions is one of the classes {', '.join(named[:10])}; {hint}")


def _share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _absent(counts: Ints, space: Sequence[str]) -> list[str]:
    empty = [name for i, name in enumerate(space) if counts[i].sum() == 0]
    if not empty:
        return []
    return [
        f"classes without a target here: {', '.join(empty)}; means over classes leave out what is not defined for them"
    ]


def _offered(table: pa.Table, task: str) -> set[str]:
    """Return the classes that probabilities speak of, beside those that occur."""
    if "probabilities" not in table.column_names or TASKS[task].letters:
        return set()
    return {one for row in table["options"].to_pylist() for one in row}


def _probabilities(table: pa.Table) -> tuple[Floats, Bools, Floats, Floats] | None:
    """Return by row: the highest probability, whether that was right, the target's, and the Brier score's squares."""
    if "probabilities" not in table.column_names:
        return None
    columns = (table[name].to_pylist() for name in ("probabilities", "target", "options"))
    rows = [(p, o.index(t), int(np.argmax(p))) for p, t, o in zip(*columns, strict=True)]
    squares = [sum((q - (i == t)) ** 2 for i, q in enumerate(p)) for p, t, _ in rows]
    return (
        np.array([p[best] for p, _, best in rows], np.float64), np.array([t == best for _, t, best in rows]),
        np.array([p[t] for p, t, _ in rows], np.float64), np.array(squares, np.float64),
    )  # fmt: skip


def _sums(table: pa.Table) -> list[str]:
    """Say of how many rows the probabilities do not sum to 1."""
    off = np.array([abs(sum(row) - 1) for row in table["probabilities"].to_pylist()])
    share = float((off > ROUNDED).mean())
    if not share:
        return []
    return [
        f"the probabilities of {share:.1%} of the rows do not sum to 1 ({off.max():.3f} away at most); they are used as they stand, and "
        "log-loss, Brier score and calibration then say little"
    ]


def _matrix(table: pa.Table, space: Sequence[str]) -> Floats | None:
    """Return probabilities [n, class], or None where rows do not speak of the same classes."""
    options = table["options"].to_pylist()
    if any(set(row) != set(space) for row in options):
        return None
    place = {name: i for i, name in enumerate(space)}
    matrix = np.empty((len(options), len(space)))
    for i, (row, p) in enumerate(zip(options, table["probabilities"].to_pylist(), strict=True)):
        matrix[i, [place[name] for name in row]] = p
    return matrix

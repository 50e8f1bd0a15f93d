"""Any of several classes a row: ``target`` and ``prediction`` are lists, or ``options`` with ``probabilities`` of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from healthfm.errors import RunError
from healthfm.score.kinds import kind
from healthfm.score.kinds.classes import ranking
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics import multilabel
from healthfm.score.metrics.arrays import lanes
from healthfm.score.statistics.statistic import Bools, Counts, Floats, Statistic, Values, of_counts, of_mean

THRESHOLD = 0.5
UNCERTAIN = {
    "ignore": "left out of that class's metrics", "positive": "count as present", "negative": "count as absent",
}  # fmt: skip


def check(table: pa.Table) -> pa.Table:
    """Return the table with lists of text, and a prediction where there are probabilities alone (from 0.5 on)."""
    likely = "probabilities" in table.column_names
    kind.need(table, "id", "target", *(() if likely else ("prediction",)))
    ids = kind.check_ids(table)
    targets = kind.lists(table, ids, "target")
    columns = {"target": targets}
    if "uncertain" in table.column_names:
        columns["uncertain"] = [row or [] for row in kind.lists(table, ids, "uncertain", missing=True)]
        kind.refuse(
            "have a class both in target and in uncertain",
            [i for i, t, u in zip(ids, targets, columns["uncertain"], strict=True) if set(t or ()) & set(u or ())],
        )
    if likely:
        options, values = kind.check_probabilities(table, ids)
        kind.refuse(
            "have a target that is not among their options",
            [i for i, t, o in zip(ids, targets, options, strict=True) if set(t or ()) - set(o)],
        )
        kind.refuse(
            "do not speak of the same classes as the first row",
            [i for i, o in zip(ids, options, strict=True) if set(o) != set(options[0])],
        )
        columns["options"] = list(options)
        columns["prediction"] = [
            [o for o, q in zip(row, p, strict=True) if q >= THRESHOLD] for row, p in zip(options, values, strict=True)
        ]
    if "prediction" in table.column_names:
        columns["prediction"] = kind.lists(table, ids, "prediction", missing=True)
    table = kind.put(table, "id", ids, pa.string())
    for name, column in columns.items():
        table = kind.put(table, name, column, pa.list_(pa.string()))
    return table


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return the metrics of any of several classes. ``uncertain``: how uncertain labels count, a key of ``UNCERTAIN``."""
    if uncertain not in UNCERTAIN:
        raise RunError(f"no rule '{uncertain}' for uncertain labels (rules: {', '.join(UNCERTAIN)})")
    names = set(table.column_names) & {"target", "prediction", "options", "uncertain"}
    seen = {name: [set(row or ()) for row in table[name].to_pylist()] for name in sorted(names)}
    space = list(classes) if classes else sorted({one for rows in seen.values() for row in rows for one in row})
    if not space:
        raise RunError("no row names a class, in target or in prediction: say which classes there are (classes)")
    for name, rows in seen.items():
        kind.refuse(
            f"have a class in {name} that is not one of {', '.join(space)}",
            [i for i, row in zip(table["id"].to_pylist(), rows, strict=True) if row - set(space)],
        )
    truth, open_ = _matrix(table, "target", space), _matrix(table, "uncertain", space)
    guess = _matrix(table, "prediction", space)
    if uncertain == "positive":
        truth = truth | open_
    known = ~open_ if uncertain == "ignore" else np.ones_like(truth)
    found = _decided(truth, guess, known, space)
    ranked: dict[str, tuple[Bools, Floats]] = {}
    if "probabilities" in table.column_names:
        scores = _scores(table, space)
        ranked = {name: (truth[:, i], scores[:, i]) for i, name in enumerate(space)}
        partly = {name: known[:, i] for i, name in enumerate(space) if not known[:, i].all()}
        found += ranking(ranked, partly, single=False)
    statistics, lost = kind.defined(found)
    empty = [name for i, name in enumerate(space) if not (truth & known)[:, i].any()]
    missing = sum(row is None for row in table["prediction"].to_pylist())
    rules = [
        *([f"uncertain labels ({int(open_.sum())}) {UNCERTAIN[uncertain]}"] if open_.any() else []),
        *([f"classes without a positive here: {', '.join(empty)}; means leave out what is not defined for them"] if empty else []),
        *([f"a class is predicted from a probability of {THRESHOLD} on, unless the table says otherwise"] if ranked else []),
        *(["a row without an answer counts as wrong as a whole, and as no class predicted"] if missing else []),
    ]  # fmt: skip
    positives = dict(zip(space, (truth & known).sum(axis=0).tolist(), strict=True))
    headline = "macro_auroc" if "macro_auroc" in statistics else "macro_f1"
    shown = {name: (t[known[:, i]], s[known[:, i]]) for i, (name, (t, s)) in enumerate(ranked.items())}
    facts = {"classes": space, "unanswered": missing, "positives": positives}
    return Read(statistics, headline, rules + lost, facts, ranked=shown)


def _decided(truth: Bools, guess: Bools, known: Bools, space: Sequence[str]) -> list[Statistic]:
    n, size = truth.shape
    cells = np.stack([truth & guess, truth & ~guess, ~truth & guess], axis=-1) & known[:, :, None]
    spread = sparse.csr_array(cells.reshape(n, -1).T.astype(np.int16))

    def counted(formula: Callable[[npt.NDArray[np.number]], Values]) -> Callable[[Counts], Values]:
        def at(counts: Counts) -> Values:
            drawn = lanes(counts)
            tallied = (spread.astype(drawn.dtype, copy=False) @ drawn).T.astype(np.int64)
            return formula(tallied.reshape(-1, size, 3))

        return at

    sure = known.all(axis=1)
    exact = of_mean(
        "subset_accuracy",
        ((truth == guess) | ~known).all(axis=1),
        None if sure.all() else "uncertain classes are taken as right",
    )
    return [
        of_counts("macro_f1", n, counted(multilabel.macro_f1)), of_counts("micro_f1", n, counted(multilabel.micro_f1)), exact,
        *(of_counts(f"f1/{name}", n, counted(_f1_of(i))) for i, name in enumerate(space)),
    ]  # fmt: skip


def _f1_of(place: int) -> Callable[[npt.NDArray[np.number]], Values]:
    return lambda counts: multilabel.f1(counts)[..., place]


def _matrix(table: pa.Table, name: str, space: Sequence[str]) -> Bools:
    place = {one: i for i, one in enumerate(space)}
    matrix = np.zeros((table.num_rows, len(space)), bool)
    for i, row in enumerate(table[name].to_pylist() if name in table.column_names else ()):
        matrix[i, [place[one] for one in row or ()]] = True
    return matrix


def _scores(table: pa.Table, space: Sequence[str]) -> Floats:
    place = {one: i for i, one in enumerate(space)}
    matrix = np.zeros((table.num_rows, len(space)))
    for i, (row, p) in enumerate(zip(table["options"].to_pylist(), table["probabilities"].to_pylist(), strict=True)):
        matrix[i, [place[one] for one in row]] = p
    return matrix

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
from healthfm.score.metrics import multilabel, triplets
from healthfm.score.metrics.arrays import lanes, ratio
from healthfm.score.statistics.statistic import Bools, Counts, Floats, Statistic, Values, of_counts, of_mean
from healthfm.score.tasks import TASKS

THRESHOLD = 0.5
TRIPLETS = "triplets"  # the rule of a task
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
    if "unmeasured" in table.column_names:
        columns["unmeasured"] = [row or [] for row in kind.lists(table, ids, "unmeasured", missing=True)]
        kind.refuse(
            "have a class both in target and in unmeasured",
            [i for i, t, u in zip(ids, targets, columns["unmeasured"], strict=True) if set(t or ()) & set(u or ())],
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
    names = set(table.column_names) & {"target", "prediction", "options", "uncertain", "unmeasured"}
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
    unmeasured = _matrix(table, "unmeasured", space)
    known = (~open_ if uncertain == "ignore" else np.ones_like(truth)) & ~unmeasured
    answered = np.array([row is not None for row in table["prediction"].to_pylist()])
    of_videos = TASKS[task].rule == TRIPLETS
    found = _triplets(table, truth & known, space) if of_videos else _decided(truth, guess, known, answered, space)
    by_document: list[str] = []
    if "document" in table.column_names and not of_videos:
        more, by_document = _by_document(table, truth & known, guess & known)
        found += more
    ranked: dict[str, tuple[Bools, Floats]] = {}
    if "probabilities" in table.column_names and not of_videos:
        scores = _scores(table, space)
        ranked = {name: (truth[:, i], scores[:, i]) for i, name in enumerate(space)}
        partly = {name: known[:, i] for i, name in enumerate(space) if not known[:, i].all()}
        found += ranking(ranked, partly, single=False)
    statistics, lost = kind.defined(found)
    empty = [name for i, name in enumerate(space) if not (truth & known)[:, i].any()]
    missing = int((~answered).sum())
    rules = [
        *by_document,
        *([f"uncertain labels ({int(open_.sum())}) {UNCERTAIN[uncertain]}"] if open_.any() else []),
        *([f"classes of a row that nobody measured ({int(unmeasured.sum())} in all) are left out of that class's metrics"] if unmeasured.any() else []),
        *([f"classes without a positive here: {', '.join(empty)}; means leave out what is not defined for them"] if empty else []),
        *([f"a class is predicted from a probability of {THRESHOLD} on, unless the table says otherwise"] if ranked else []),
        *(["a row without an answer counts as wrong as a whole, and as no class predicted"] if missing else []),
    ]  # fmt: skip
    positives = dict(zip(space, (truth & known).sum(axis=0).tolist(), strict=True))
    headline = next(name for name in ("ap_ivt", "macro_auroc", "macro_f1") if name in statistics)
    shown = {name: (t[known[:, i]], s[known[:, i]]) for i, (name, (t, s)) in enumerate(ranked.items())}
    facts = {"classes": space, "unanswered": missing, "positives": positives}
    return Read(statistics, headline, rules + lost, facts, ranked=shown)


def _decided(truth: Bools, guess: Bools, known: Bools, answered: Bools, space: Sequence[str]) -> list[Statistic]:
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
        ((truth == guess) | ~known).all(axis=1) & answered,
        None if sure.all() else "uncertain and unmeasured classes are taken as right",
    )
    return [
        of_counts("macro_f1", n, counted(multilabel.macro_f1)), of_counts("micro_f1", n, counted(multilabel.micro_f1)), exact,
        of_mean("sample_f1", _by_row(truth & known, guess & known) * answered, "the F1 of each row's classes, 1 where it has none and none is predicted"),
        *(of_counts(f"f1/{name}", n, counted(_f1_of(i))) for i, name in enumerate(space)),
    ]  # fmt: skip


def _by_row(truth: Bools, guess: Bools) -> Floats:
    """Return the F1 of each row's classes [n], 1 where there is none on either side."""
    both = truth.sum(axis=1) + guess.sum(axis=1)
    return np.where(both > 0, 2 * (truth & guess).sum(axis=1) / np.maximum(both, 1), 1.0)


def _by_document(table: pa.Table, truth: Bools, guess: Bools) -> tuple[list[Statistic], list[str]]:
    """Return BLUE's metrics of the Hallmarks of Cancer: precision and recall of each document's classes, averaged, and the F1 of both means.

    A document has the classes of all its rows. Source: github.com/ncbi-nlp/BLUE_Benchmark@2b3dc247 blue/eval_hoc.py, which calls the two means by each
    other's names, and cannot take a document without a class: such are left out here.
    """
    names = kind.texts(table, "document")
    kind.refuse("have no document", [i for i, one in zip(table["id"].to_pylist(), names, strict=True) if one is None])
    every = list(dict.fromkeys(names))
    place = {one: number for number, one in enumerate(every)}
    rows = np.array([place[one] for one in names])
    spread = sparse.csr_array((np.ones(len(rows), np.int64), (rows, np.arange(len(rows)))), (len(every), len(rows)))
    true, said = (spread @ truth.astype(np.int64)) > 0, (spread @ guess.astype(np.int64)) > 0
    whole = true.any(axis=1)
    hits = (true & said).sum(axis=1)
    precise, found = hits / np.maximum(said.sum(axis=1), 1), hits / np.maximum(true.sum(axis=1), 1)
    share = (
        spread / spread.sum(axis=1)[:, None]
    ).tocsr()  # a resample draws rows: a document counts as much as its rows were drawn, on average

    def means(counts: Counts) -> tuple[Values, Values]:
        drawn = np.asarray(share @ counts.T.astype(np.float64)) * whole[:, None]
        n = np.maximum(drawn.sum(axis=0), 1e-12)
        return precise @ drawn / n, found @ drawn / n

    def f1(counts: Counts) -> Values:
        p, r = means(counts)
        return np.divide(2 * p * r, p + r, out=np.zeros_like(p), where=p + r > 0)

    made = [
        of_counts("document_f1", len(rows), f1), of_counts("document_precision", len(rows), lambda c: means(c)[0]),
        of_counts("document_recall", len(rows), lambda c: means(c)[1]),
    ]  # fmt: skip
    bare = int((~whole).sum())
    said_of = (
        f"document metrics take {len(every)} documents, each with the classes of all its rows (BLUE's rule for HoC)"
    )
    return made if whole.any() else [], [said_of + (f"; {bare} without a class are left out" if bare else "")]


def _triplets(table: pa.Table, truth: Bools, space: Sequence[str]) -> list[Statistic]:
    """Return the average precision of triplets and of their parts, the mean over parts of the mean over videos (the column ``patient``).

    Source: ivtmetrics 0.1.5 (github.com/CAMMA-public/ivtmetrics), ``Recognition.compute_video_AP`` with null verbs and targets.
    """
    if strange := [name for name in space if name.count(",") != 2]:
        raise RunError(f"{len(strange)} classes are no instrument,verb,target, the first of them '{strange[0]}'")
    if not {"probabilities", "patient"} <= set(table.column_names):
        raise RunError(
            "triplets are scored by the probability of each, video by video: options, probabilities and patient, which names the video"
        )
    names = kind.texts(table, "patient")
    kind.refuse(
        "have no video (patient)", [i for i, one in zip(table["id"].to_pylist(), names, strict=True) if one is None]
    )
    videos = [np.flatnonzero(np.array([name == one for name in names])) for one in dict.fromkeys(names)]
    share = sparse.csr_array(
        (np.concatenate([np.full(len(one), 1 / len(one)) for one in videos]), (np.repeat(np.arange(len(videos)), [len(one) for one in videos]), np.concatenate(videos))),
        (len(videos), len(names)),
    )  # fmt: skip
    score = _scores(table, space)
    made = []
    for name, which in triplets.PARTS.items():
        found = triplets.by_video(truth, score, videos, triplets.parts(space, which))
        made.append(of_counts(f"ap_{name}", len(names), _mean_of_means(found, share), "by video, as ivtmetrics"))
    return made


def _mean_of_means(found: Floats, share: sparse.csr_array) -> Callable[[Counts], Values]:
    """Return the mean over columns of the mean over the rows that have it, each row weighing as often as its samples were drawn."""
    there = ~np.isnan(found)

    def at(counts: Counts) -> Values:
        drawn = np.asarray(share @ counts.T.astype(np.float64)).T
        each = ratio(drawn @ np.where(there, found, 0), drawn @ there)
        known = ~np.isnan(each)
        return ratio(np.where(known, each, 0).sum(axis=1), known.sum(axis=1))

    return at


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

"""Probes: a frozen model's embeddings of two splits, and a classifier between them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from healthfm.adapt import probe
from healthfm.adapt.few_shot import few_shot
from healthfm.datasets.dataset import Dataset, split_name
from healthfm.embed import identity
from healthfm.errors import RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.classification import HALF, chance_columns, label_of, labelled, labels_of, space_of
from healthfm.evaluate.job import (
    CHARACTERS_PER_PART,
    Ask,
    Job,
    cut_parts,
    need_split,
    sample_columns,
    subgroup_columns,
)
from healthfm.models.model import Model
from healthfm.records import Record, Slide, TextRecord, unit_of
from healthfm.score import learning

if TYPE_CHECKING:
    from healthfm.embed.embedder import Embedder

CURVED = (
    "linear-probe",
    "balanced-probe",
    "multi-label-probe",
)  # also fitted on parts of their samples: a learning curve
PICTURE = 400  # what a picture or a recording counts for in a part, in characters


def prepare(ask: Ask) -> Job:
    """Return the job of embedding a training and an evaluated split and classifying the second from the first.

    ``shots_from`` names the training split; when it is the evaluated one, half of its patients (a seeded draw) are for fitting.
    """
    assert ask.task is not None
    opened, task = ask.opened, ask.task
    source, fit, records, notices = two_splits(ask)
    if task == "few-shot" and not ask.shots:
        raise RunError("few-shot needs the number of examples a class: shots=5 (--shots 5)")
    several = task == "multi-label-probe"
    if several:
        space = space_of(opened.card, None)
        classes = list(space.classes)
    read = (lambda r: labels_of(r, space)) if several else (lambda r: label_of(r, opened))
    fit, labels, unfit = labelled(fit, read)
    records, every, lost = labelled(records, read)
    notices += [*(f"to fit on: {one}" for one in unfit), *lost]
    if not several:
        classes = classes_of(labels, every, opened)
    if task == "few-shot":
        _refuse_few(labels, ask.shots or 0)
    chosen = protocols.sample(len(records), ask.limit, ask.seed)
    total, records, targets = len(records), [records[i] for i in chosen], [every[i] for i in chosen]
    inputs = [_input(r, task) for r in (*fit, *records)]
    sources = identity.of_records([*fit, *records])
    columns = subgroup_columns(records, ask.subgroups)
    kept: dict[str, Any] = {}
    embedder = one_embedder(kept)

    def compute(model: Model, rows: range) -> pa.Table:
        part = slice(rows.start, rows.stop)
        return embed_part(embedder(model), inputs[part], sources[part], kept)

    groups = [unit_of(r) for r in fit]
    lazy = any(isinstance(one, Record) for one in inputs)
    beside: dict[str, pa.Table] = {}
    common: dict[str, pa.Array] = {}  # the columns that the predictions of all fits have

    def fitted(train: Any, test: Any, rows: Sequence[int]) -> tuple[pa.Table, Mapping[str, Any]]:
        """Return the predictions of a classifier fitted on some rows, and what was chosen for it."""
        x, y, who = train[rows], [labels[i] for i in rows], [groups[i] for i in rows]
        if several:
            shares, how = probe.multi_label_probe(x, y, test, classes, who, ask.seed)
        elif task == "knn":
            shares, how = probe.nearest_neighbours(x, y, test, classes)
        else:
            shares, how = probe.linear_probe(x, y, test, classes, who, ask.seed, task == "balanced-probe")
        return predicted(shares), how

    def predicted(shares: Any) -> pa.Table:
        found = [
            [c for c, p in zip(classes, row, strict=True) if p > HALF] if several else classes[int(row.argmax())]
            for row in shares
        ]
        return pa.table({
            **common, **chance_columns(classes, shares),
            "prediction": pa.array(found, pa.list_(pa.string()) if several else pa.string()),
        })  # fmt: skip

    def drawn(train: Any, test: Any) -> tuple[pa.Table, Mapping[str, Any]]:
        """Return the predictions of the draw that is shown, those of all beside them, and how the draws did."""
        assert ask.shots is not None
        shares, how = few_shot(train, labels, test, targets, classes, groups, ask.shots, ask.seed)
        beside[learning.DRAWS] = learning.stack({i: predicted(one) for i, one in enumerate(shares)}, learning.DRAW)
        return predicted(shares[how["shown_draw"]]), how

    def finish(table: pa.Table) -> tuple[pa.Table, Mapping[str, Any]]:
        vectors = np.stack(table["embedding"].to_numpy())
        train, test = vectors[: len(fit)], vectors[len(fit) :]
        common.update(sample_columns(records, targets, table["input"].to_pylist()[len(fit) :] if lazy else None))
        whole, how = drawn(train, test) if task == "few-shot" else fitted(train, test, range(len(fit)))
        how = {**how, **said(table, [r.id for r in (*fit, *records)]), "arithmetic": kept["arithmetic"]}
        for name, column in columns.items():
            whole = whole.append_column(name, column)
        if task not in CURVED:
            return whole, how
        named: list[Any] = labels if several else [(one,) for one in labels]
        parts = learning.nested(groups, named, ask.seed)
        smaller = {len(rows): fitted(train, test, rows.tolist()) for rows in parts}
        if smaller:
            beside[learning.ROOM] = learning.stack({size: few for size, (few, _) in smaller.items()})
        return whole, {**how, "curve": [dict(one) for _, one in smaller.values()]}

    return Job(
        task=task, name=f"{opened.name}#{task}", verb="embed", records=records, total=total, classes=classes,
        every_target=None if several else every, targets=targets, parts=cut_parts([_size(one) for one in inputs]), compute=compute,
        room="embeddings", finish=finish, beside=beside, kept=kept,
        content=[[r.id, source, label] for r, source, label in zip((*fit, *records), sources, (*labels, *targets), strict=True)],
        asked={"fit_on": source, "fitted_on": len(fit), **({"shots": ask.shots} if task == "few-shot" else {})}, facts={"notices": notices},
    )  # fmt: skip


def _refuse_few(labels: Sequence[str], shots: int) -> None:
    """Raise ``RunError`` where a class has fewer examples than are asked for."""
    counts = Counter(labels)
    few = min(counts, key=lambda name: counts[name])
    if counts[few] < shots:
        raise RunError(f"class '{few}' has {counts[few]} examples to fit on, {shots} are asked for")


def _input(record: Record, task: str) -> str | Record:
    """Return what is embedded of a record. Raises ``RunError`` for a slide, which is many pictures too many."""
    if isinstance(record, Slide):
        raise RunError(f"a slide is a bag of tiles, which {task} does not take: use --task mil")
    return record.as_text if isinstance(record, TextRecord) else record


def _size(content: str | Record) -> int:
    """Return what an input counts for in a part; a volume or film has a part to itself."""
    if isinstance(content, str):
        return len(content)
    return CHARACTERS_PER_PART if content.stacked else PICTURE


def two_splits(ask: Ask) -> tuple[str, list[Record], list[Record], list[str]]:
    """Return the split to fit on, its records, those to evaluate, and the reader's notices; no patient is on both sides.

    Raises ``RunError``: a split is absent, patients stand in both, or a number of examples was asked of what takes none.
    """
    opened, split, task = ask.opened, ask.split, ask.task
    source = split_name(opened.card, ask.shots_from)
    asked = need_split(opened, split)
    records = list(asked)
    if source == split:
        fit, records = _carve(records, ask.seed)
    elif source in opened.splits:
        fit = list(opened[source])
    else:
        raise RunError(
            f"{opened.name}: {task} is fitted on split '{source}', which is absent in {opened.root} (present: "
            f"{', '.join(opened.splits)}). Get it, or carve: shots_from='{split}' (--shots-from {split}) fits on half of the patients of '{split}' "
            "and evaluates the others"
        )
    _refuse_straddling(fit, records)
    if ask.shots and task != "few-shot":
        raise RunError(
            f"{task} is fitted on a whole split and takes no number of examples; few-shot does (--task few-shot)"
        )
    return source, fit, records, list(asked.notices)


def one_embedder(kept: Mapping[str, Any]) -> Callable[[Model], Embedder]:
    """Return what gives a model's ``Embedder``, always the same one: its network is made and checked once a run, as ``kept`` says."""

    @functools.cache
    def make(model: Model) -> Embedder:
        from healthfm.embed.embedder import Embedder  # needs torch, which statistics alone do not

        return Embedder(model, settled=kept.get("arithmetic"))

    return make


def embed_part(
    embedder: Embedder, inputs: Sequence[str | Record], sources: Sequence[str] | None, kept: dict[str, Any]
) -> pa.Table:
    """Return a model's embeddings as a table, a row each, with what a report says of them. Notes the arithmetic in ``kept``.

    ``sources``: the identities of the inputs, where they are files. Raises ``RunError``: NaN, or another number of vectors.
    """
    from healthfm.models.vision.transform import is_square  # needs Pillow

    units = embedder.units(inputs, sources)
    kept.setdefault("arithmetic", embedder.facts)
    return pa.table({
        "embedding": pa.array([unit.vector for unit in units], pa.list_(pa.float32())),
        "content": pa.array([unit.source or None for unit in units], pa.string()),
        "input": pa.array([unit.seen or None for unit in units], pa.string()),
        "blank": pa.array([unit.blank for unit in units], pa.bool_()), "cut": pa.array([unit.cut for unit in units], pa.bool_()),
        "ratio": pa.array([None if is_square(unit.ratio) else unit.ratio for unit in units], pa.float64()),
        "notices": pa.array([list(unit.notices) for unit in units], pa.list_(pa.string())),
    })  # fmt: skip


def said(table: pa.Table, ids: Sequence[str]) -> dict[str, Any]:
    """Return what a report says of embeddings: the volumes that show nothing, and how many texts were cut, if any."""
    blank = sorted({one for one, empty in zip(ids, table["blank"].to_pylist(), strict=True) if empty})
    cut = sum(table["cut"].to_pylist())
    return {
        "blank": blank, "squared": squared_among(ids, table), "said": said_among(ids, table), **({"cut": cut} if cut else {}),
    }  # fmt: skip


def squared_among(ids: Sequence[str], table: pa.Table) -> dict[str, float]:
    """Return, by id, the height over width of the pixels that were made square before a network saw them."""
    return {one: ratio for one, ratio in zip(ids, table["ratio"].to_pylist(), strict=True) if ratio is not None}


def said_among(ids: Sequence[str], table: pa.Table) -> dict[str, list[str]]:
    """Return what was said while contents were decoded, each with the ids it holds for."""
    found: dict[str, dict[str, None]] = {}
    for one, notices in zip(ids, table["notices"].to_pylist(), strict=True):
        for notice in notices or ():
            found.setdefault(notice, {})[one] = None
    return {notice: list(names) for notice, names in found.items()}


def classes_of(labels: Sequence[str], every: Sequence[str], opened: Dataset) -> list[str]:
    """Return the classes of the labels to fit on and of all to evaluate: the card's, where it names them. Raises ``RunError``: one only."""
    known = set(labels) | set(every)
    stated = next((space.classes for space in opened.card.labels if set(space.classes) >= known), None)
    if len(set(labels)) < 2:
        raise RunError(f"{opened.name}: the split to fit on has one class only, two are needed")
    return list(stated) if stated else sorted(known)


def _carve(records: list[Record], seed: int) -> tuple[list[Record], list[Record]]:
    patients = list(dict.fromkeys(map(unit_of, records)))
    order = np.random.default_rng(seed).permutation(len(patients))
    chosen = {patients[i] for i in order[: len(patients) // 2]}
    return [r for r in records if unit_of(r) in chosen], [r for r in records if unit_of(r) not in chosen]


def _refuse_straddling(fit: Sequence[Record], records: Sequence[Record]) -> None:
    shared = {r.patient for r in fit if r.patient is not None} & {r.patient for r in records if r.patient is not None}
    if shared:
        raise RunError(f"{len(shared)} patients stand in both splits; a probe fitted so would leak")

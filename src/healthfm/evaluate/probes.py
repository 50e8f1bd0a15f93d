"""Probes: a frozen model's embeddings of two splits, and a classifier between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.adapt import probe
from healthfm.datasets.dataset import Dataset, split_name
from healthfm.errors import RunError
from healthfm.evaluate import tasks
from healthfm.evaluate.job import Job, cut_parts, need_split, sample_columns, subgroup_columns
from healthfm.models.model import Model
from healthfm.records import QA, Document, Mark, MultipleChoice, Record, digest

TASKS = ("linear-probe", "knn")


def prepare(
    opened: Dataset,
    task: str,
    split: str,
    *,
    fit_on: str,
    subgroups: Sequence[str] | None,
    seed: int,
    limit: int | None,
) -> Job:
    """Return the job of embedding a training and an evaluated split and classifying the second from the first.

    ``fit_on`` names the training split; when it is the evaluated one, half of its patients (a seeded draw) are for fitting.
    """
    source = split_name(opened.card, fit_on)
    asked = need_split(opened, split)
    records = list(asked)
    if source == split:
        fit, records = _carve(records, seed)
    elif source in opened.splits:
        fit = list(opened[source])
    else:
        raise RunError(
            f"{opened.name}: {task} is fitted on split '{source}', which is absent in {opened.root} (present: "
            f"{', '.join(opened.splits)}). Get it, or carve: shots_from='{split}' (--shots-from {split}) fits on half of the patients of '{split}' "
            "and evaluates the others"
        )
    _refuse_straddling(fit, records)
    labels, every = [label_of(r, opened) for r in fit], [label_of(r, opened) for r in records]
    classes = _classes(labels, every, opened)
    chosen = tasks.sample(len(records), limit, seed)
    records, targets = [records[i] for i in chosen], [every[i] for i in chosen]
    texts = [text_of(r) for r in (*fit, *records)]
    columns = subgroup_columns(records, subgroups)

    def compute(model: Model, rows: range) -> pa.Table:
        vectors = np.asarray(model.embed(texts[rows.start : rows.stop]), dtype=np.float32)
        if vectors.shape[0] != len(rows) or not np.isfinite(vectors).all():
            raise RunError("the model returned NaN, or another number of embeddings than there were texts")
        return pa.table({"embedding": pa.array(list(vectors), pa.list_(pa.float32()))})

    def finish(table: pa.Table) -> tuple[pa.Table, Mapping[str, Any]]:
        vectors = np.stack(table["embedding"].to_numpy())
        train, test = vectors[: len(fit)], vectors[len(fit) :]
        if task == "knn":
            shares, how = probe.nearest_neighbours(train, labels, test, classes)
        else:
            groups = [r.patient or r.id for r in fit]
            shares, how = probe.linear_probe(train, labels, test, classes, groups, seed)
        return _predictions(records, targets, classes, shares, columns), how

    return Job(
        task=task, name=f"{opened.name}#{task}", verb="embed", records=records, targets=targets, every_target=every, classes=classes,
        parts=cut_parts([len(text) for text in texts]), compute=compute, room="embeddings", finish=finish,
        content=[[r.id, digest(r), label] for r, label in zip((*fit, *records), (*labels, *targets), strict=True)],
        asked={"fit_on": source, "fitted_on": len(fit)}, facts={"notices": list(asked.notices)},
    )  # fmt: skip


def text_of(record: Record) -> str:
    """Return the text that stands for a record: a document's, or a question's with its context before it."""
    if isinstance(record, Document):
        return record.text
    if isinstance(record, QA | MultipleChoice):
        return f"{record.context}\n{record.question}" if record.context else record.question
    raise RunError(f"a {type(record).__name__} has no text to embed")


def label_of(record: Record, opened: Dataset) -> str:
    """Return the class of a record: its answer, or its label of the card's first label space."""
    if isinstance(record, MultipleChoice):
        label = tasks.answer_of(record)
    else:
        name = opened.card.labels[0].name if opened.card.labels else next(iter(record.labels), "label")
        label = record.labels.get(name)  # type: ignore[assignment]
    if label is None or isinstance(label, Mark):
        raise RunError(
            f"record {record.id} has no label: a probe needs one on every record it is fitted or evaluated on"
        )
    return str(label)


def _classes(labels: Sequence[str], every: Sequence[str], opened: Dataset) -> list[str]:
    known = set(labels) | set(every)
    stated = next((space.classes for space in opened.card.labels if set(space.classes) >= known), None)
    if len(set(labels)) < 2:
        raise RunError(f"{opened.name}: the split to fit on has one class only, two are needed")
    return list(stated) if stated else sorted(known)


def _carve(records: list[Record], seed: int) -> tuple[list[Record], list[Record]]:
    patients = list(dict.fromkeys(r.patient or r.id for r in records))
    order = np.random.default_rng(seed).permutation(len(patients))
    chosen = {patients[i] for i in order[: len(patients) // 2]}
    return [r for r in records if (r.patient or r.id) in chosen], [
        r for r in records if (r.patient or r.id) not in chosen
    ]


def _refuse_straddling(fit: Sequence[Record], records: Sequence[Record]) -> None:
    shared = {r.patient for r in fit if r.patient is not None} & {r.patient for r in records if r.patient is not None}
    if shared:
        raise RunError(f"{len(shared)} patients stand in both splits; a probe fitted so would leak")


def _predictions(
    records: Sequence[Record],
    targets: Sequence[str],
    classes: Sequence[str],
    shares: np.ndarray[Any, Any],
    columns: Mapping[str, pa.Array],
) -> pa.Table:
    best = [classes[int(row.argmax())] for row in shares]
    return pa.table({
        **sample_columns(records, targets),
        "options": pa.array([list(classes)] * len(records), pa.list_(pa.string())),
        "probabilities": pa.array([row.tolist() for row in shares], pa.list_(pa.float64())),
        "prediction": pa.array(best, pa.string()),
        **columns,
    })  # fmt: skip

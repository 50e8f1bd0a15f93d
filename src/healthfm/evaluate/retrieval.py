"""Retrieval of text by text: which passage, of all of the split's, belongs to a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.evaluate import matching, protocols
from healthfm.evaluate.embedded import Embedded, said
from healthfm.evaluate.job import Ask, Finished, Job, cut_parts, left_out, need_split, sample_columns, subgroup_columns
from healthfm.records import QA, MultipleChoice, Record

DEPTH = 100  # how many of the best passages a row keeps
QUERIES_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Retrieval(Embedded):
    """Questions, and all passages of their split, ranked for each by the cosine of embeddings. ``ids``: of the passages."""

    ids: Sequence[str]

    def finish(self, table: pa.Table, settled: Mapping[str, Any]) -> Finished:
        vectors, count = _unit(np.stack(table["embedding"].to_numpy())), len(self.ids)
        best, scores = _rank(vectors[count:], vectors[:count])
        found = pa.table({
            **sample_columns(self.records, self.targets),
            "ranking": pa.array([[self.ids[i] for i in row] for row in best.tolist()], pa.list_(pa.string())),
            "scores": pa.array(scores.tolist(), pa.list_(pa.float64())),
            **self.columns,
        })  # fmt: skip
        told = {name: value for name, value in said(table, [""] * len(self.inputs)).items() if name == "cut"}
        return Finished(found, {"retrieval": "cosine of embeddings", "passages": count, "kept": best.shape[1], **told})


def prepare(ask: Ask) -> Job:
    """Return the job of ranking the passages of a split for each of its questions; of pictures with texts see ``matching``.

    A question's passages are its context, or its answers where it has none. Equal passages are one; it is named by the first
    record that has it, and right for all of them. A limit draws questions: the passages stay those of the whole split.
    """
    assert ask.task is not None
    split = need_split(ask.opened, ask.split)
    every = list(split)
    if matching.belongs(every):
        return matching.prepare(ask, every, split.notices)
    if ask.task == matching.TASK:
        raise RunError(f"{ask.opened.name}: {ask.task} is of records with a picture and a text, and here is none")
    asking = [record for record in every if passages_of(record)]
    if not asking:
        raise RunError(f"{ask.opened.name}: no record of split '{ask.split}' has a context or an answer to find")
    names: dict[str, str] = {}
    for record in asking:
        for number, passage in enumerate(passages_of(record)):
            names.setdefault(passage, f"{record.id}#{number}" if number else record.id)
    records = [asking[i] for i in protocols.sample(len(asking), ask.request.limit, ask.request.seed)]
    targets = [list(dict.fromkeys(names[passage] for passage in passages_of(record))) for record in records]
    texts = [*names, *(record.question for record in records)]  # type: ignore[attr-defined]
    lost = left_out(
        [record for record in every if not passages_of(record)], "record has no passage", "records have no passage"
    )
    return Retrieval(
        task=ask.task, name=f"{ask.opened.name}#{ask.task}", records=records, total=len(asking), inputs=texts, ids=list(names.values()),
        targets=targets, columns=subgroup_columns(records, ask.request.subgroups), parts=cut_parts([len(text) for text in texts]),
        content=[texts, targets, [record.id for record in records]], facts={"notices": [*split.notices, *lost]},
    )  # fmt: skip


def passages_of(record: Record) -> tuple[str, ...]:
    """Return what a question should find: its context, or its answers where it has none."""
    if not isinstance(record, QA | MultipleChoice):
        raise RunError(f"retrieval needs questions, or pictures with texts; these are {type(record).__name__} records")
    if record.context:
        return (record.context,)
    return record.answers if isinstance(record, QA) else ()


def _rank(
    queries: np.ndarray[Any, Any], passages: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the best passages of each query, best first (of equals the earlier), and their cosines."""
    best, scores = [], []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        cosine = queries[start : start + QUERIES_AT_ONCE] @ passages.T
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :DEPTH]
        best.append(order)
        scores.append(np.take_along_axis(cosine, order, axis=1))
    return np.concatenate(best), np.concatenate(scores)


def _unit(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    wide = np.asarray(vectors, dtype=np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12))

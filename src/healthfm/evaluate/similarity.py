"""How like two texts are: the cosine of their embeddings, beside what people said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.classification import labelled
from healthfm.evaluate.embedded import Embedded, said
from healthfm.evaluate.job import Ask, Finished, Job, cut_parts, need_split, sample_columns, subgroup_columns
from healthfm.records import Pair, Record


@dataclass(frozen=True, kw_only=True)
class EmbeddedPairs(Embedded):
    """Pairs of texts; the first half of ``inputs`` are the first texts, the second half the second."""

    def finish(self, table: pa.Table, settled: Mapping[str, Any]) -> Finished:
        vectors, n = np.stack(table["embedding"].to_numpy()).astype(np.float64), len(self.records)
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        found = pa.table({
            **sample_columns(self.records), "target": pa.array(self.targets, pa.float64()),
            "prediction": pa.array((unit[:n] * unit[n:]).sum(axis=1).tolist(), pa.float64()), **self.columns,
        })  # fmt: skip
        told = {name: value for name, value in said(table, [""] * len(self.inputs)).items() if name == "cut"}
        return Finished(found, {"similarity": "cosine of embeddings", **told})


def prepare(ask: Ask) -> Job:
    """Return the job of comparing the two texts of each pair. The target is the first label that is a number."""
    assert ask.task is not None
    split = need_split(ask.opened, ask.split)
    every = [record for record in split if isinstance(record, Pair)]
    if not every:
        raise RunError(f"{ask.opened.name}: similarity needs pairs of texts, and split '{ask.split}' has none")
    kept, targets, lost = labelled(every, number_of)
    chosen = protocols.sample(len(kept), ask.request.limit, ask.request.seed)
    records: list[Record] = [kept[i] for i in chosen]
    texts = [one.a for one in records] + [one.b for one in records]  # type: ignore[attr-defined]
    wanted = [targets[i] for i in chosen]
    return EmbeddedPairs(
        task=ask.task, name=f"{ask.opened.name}#{ask.task}", records=records, total=len(kept), inputs=texts, targets=wanted,
        columns=subgroup_columns(records, ask.request.subgroups), parts=cut_parts([len(text) for text in texts]),
        content=[texts, wanted, [record.id for record in records]], facts={"notices": [*split.notices, *lost]},
    )  # fmt: skip


def number_of(record: Record) -> float | None:
    """Return a record's first label that is a number, None where it has none."""
    values = [one for one in record.labels.values() if isinstance(one, int | float) and not isinstance(one, bool)]
    return float(values[0]) if values and values[0] == values[0] else None

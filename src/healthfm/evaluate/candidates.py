"""Answer selection: the candidates of a query put in order, by the cosine of embeddings or by how likely each is as the answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.errors import RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.embedded import Embedded, said
from healthfm.evaluate.job import (
    Ask,
    Finished,
    Job,
    cut_parts,
    left_out,
    need_split,
    rows_of,
    sample_columns,
    subgroup_columns,
)
from healthfm.models.model import Model
from healthfm.records import Ranking
from healthfm.score.kinds.candidates import NUMBERS
from healthfm.score.kinds.kind import RIVAL
from healthfm.score.metrics import wording

K1, B = 1.5, 0.75  # Okapi's numbers, as rank_bm25 and Lucene's neighbours have them
BY_LENGTH = "log-likelihood of the candidate's tokens behind the prompt, divided by its characters: a long answer does not lose by its length"


@dataclass(frozen=True, kw_only=True)
class EmbeddedCandidates(Embedded):
    """Queries with candidates, all texts embedded once. ``of``: for each query the number of its own text and of each candidate's."""

    of: Sequence[Sequence[int]]

    def finish(self, table: pa.Table, settled: Mapping[str, Any]) -> Finished:
        vectors = np.stack(table["embedding"].to_numpy()).astype(np.float64)
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        scores = [(unit[own] @ unit[query]).tolist() for query, *own in self.of]
        assert self.targets is not None
        found = pa.table({
            **sample_columns(self.records), "target": pa.array(self.targets, NUMBERS), "scores": pa.array(scores, NUMBERS), **self.columns,
        })  # fmt: skip
        told = {name: value for name, value in said(table, [""] * len(self.inputs)).items() if name == "cut"}
        return Finished(found, {"candidates": "cosine of embeddings", **told})


@dataclass(frozen=True, kw_only=True)
class LikelyCandidates(Job):
    """Queries whose candidates are scored by their likelihood behind a prompt."""

    prompts: Sequence[str]
    options: Sequence[Sequence[str]]

    def compute(self, tool: Model, rows: range) -> pa.Table:
        assert self.targets is not None
        part, options = slice(rows.start, rows.stop), self.options[rows.start : rows.stop]
        likely = [np.asarray(row, np.float64) for row in tool.score(self.prompts[part], options)]
        if [len(row) for row in likely] != [len(row) for row in options]:
            raise RunError("the model returned another number of scores than there were candidates")
        if not all(np.isfinite(row).all() for row in likely):
            raise RunError("the model returned NaN or infinite scores")
        lengths = [[max(1, len(one)) for one in self.records[i].candidates] for i in rows]  # type: ignore[attr-defined]
        return pa.table({
            **sample_columns(self.records[part]), "target": pa.array(self.targets[part], NUMBERS),
            "scores": pa.array([(row / size).tolist() for row, size in zip(likely, lengths, strict=True)], NUMBERS),
            "log_likelihoods": pa.array([row.tolist() for row in likely], NUMBERS), **rows_of(self.columns, rows),
        })  # fmt: skip


def embedded(ask: Ask) -> Job:
    """Return the job of ranking each query's candidates by the cosine of their embeddings to its own."""
    assert ask.task is not None
    records, total, columns, notices = _queries(ask)
    place: dict[str, int] = {}
    of = [[place.setdefault(text, len(place)) for text in (record.query, *record.candidates)] for record in records]
    targets, texts = [list(record.relevance or ()) for record in records], list(place)
    return EmbeddedCandidates(
        task=ask.task, name=f"{ask.opened.name}#{ask.task}", records=records, total=total, inputs=texts, of=of, targets=targets, columns=columns,
        parts=cut_parts([len(text) for text in texts]), content=[texts, of, targets, [record.id for record in records]], facts={"notices": notices},
    )  # fmt: skip


def likely(ask: Ask) -> Job:
    """Return the job of ranking each query's candidates by their likelihood as its answer."""
    name, protocol = protocols.choose_protocol(ask.opened.card, ask.protocol, ask.task)
    if ask.request.shots or protocol.shots:
        raise RunError(f"{protocol.task} is asked without solved examples")
    records, total, columns, notices = _queries(ask)
    prompts = [protocols.render(record, protocol) for record in records]
    options = [[protocol.delimiter + (one or " ") for one in record.candidates] for record in records]
    targets = [list(record.relevance or ()) for record in records]
    return LikelyCandidates(
        task=protocol.task, name=f"{ask.opened.name}@{name}", records=records, total=total, prompts=prompts, options=options, targets=targets,
        columns=columns, parts=cut_parts([len(p) + sum(map(len, o)) for p, o in zip(prompts, options, strict=True)]),
        content=[[r.id, p, o, t] for r, p, o, t in zip(records, prompts, options, targets, strict=True)],
        asked={"scored": BY_LENGTH}, facts={"protocol": protocol.model_dump(), "notices": notices},
    )  # fmt: skip


def _queries(ask: Ask) -> tuple[list[Ranking], int, dict[str, pa.Array], list[str]]:
    """Return the queries that a limit keeps, how many the split has, their columns (subgroups, and BM25's scores), and notices."""
    split = need_split(ask.opened, ask.split)
    every = [record for record in split if isinstance(record, Ranking)]
    solved = [record for record in every if any(record.relevance or ())]
    if not solved:
        raise RunError(f"{ask.opened.name}: no query of split '{ask.split}' has a candidate that is known to be right")
    records = [solved[i] for i in protocols.sample(len(solved), ask.request.limit, ask.request.seed)]
    columns = subgroup_columns(records, ask.request.subgroups)
    columns[f"{RIVAL}bm25"] = pa.array(bm25(records, every), NUMBERS)
    withheld = left_out(
        [one for one in every if one.relevance is None],
        "query withholds what is right",
        "queries withhold what is right",
    )
    wrong = left_out(
        [one for one in every if one.relevance is not None and not any(one.relevance)],
        "query has no right candidate",
        "queries have no right candidate",
    )
    return records, len(solved), columns, [*split.notices, *withheld, *wrong]


def bm25(queries: Sequence[Ranking], every: Sequence[Ranking]) -> list[list[float]]:
    """Return Okapi BM25 of each query's candidates; how rare a word is, is counted among all candidates of ``every`` query.

    Words are ``wording.plain``'s; the weight of a word is log(1 + (N - n + 0.5) / (n + 0.5)), as Lucene has it.
    """
    texts = dict.fromkeys(text for record in every for text in record.candidates)
    words = {text: Counter(wording.plain(text)) for text in texts}
    holding = Counter(word for counts in words.values() for word in counts)
    mean = sum(sum(counts.values()) for counts in words.values()) / max(1, len(words)) or 1.0
    weight = {word: math.log(1 + (len(words) - n + 0.5) / (n + 0.5)) for word, n in holding.items()}

    def score(query: Sequence[str], text: str) -> float:
        counts = words[text]
        norm = K1 * (1 - B + B * sum(counts.values()) / mean)
        return sum(weight[one] * counts[one] * (K1 + 1) / (counts[one] + norm) for one in query if one in counts)

    return [
        [score(query, text) for text in record.candidates]
        for record in queries
        for query in [wording.plain(record.query)]
    ]

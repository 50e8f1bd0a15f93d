"""The cheap rivals of an evaluation: which there are, what they are fitted on, and their predictions of the same samples.

Whether they are made is decided by counts alone, so that the same request has the same rivals on any machine.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.adapt import baselines as rivals
from healthfm.adapt.byte_model import ORDER, ByteModel
from healthfm.adapt.glimpses import AFAR, Several
from healthfm.errors import HealthfmError
from healthfm.evaluate import lookups
from healthfm.evaluate.bags import Bagged
from healthfm.evaluate.fitted import Fitted, answers
from healthfm.evaluate.job import Ask, Job, sample_columns
from healthfm.evaluate.perplexity import WholeTexts, words_of
from healthfm.evaluate.retrieval import DEPTH, Retrieval
from healthfm.evaluate.similarity import EmbeddedPairs
from healthfm.evaluate.taught import Taught, inside, taught
from healthfm.records import QA, Image, MultipleChoice, Record, Slide, Volume, unit_of
from healthfm.score.baselines import BY, FACTS
from healthfm.score.kinds.kind import RIVAL
from healthfm.score.tasks import TASKS

MOST = 20_000  # samples that are predicted
MOST_CHARACTERS = 20_000_000  # of texts, in all
MOST_DRAWN = 4_000  # pictures, to fit on and to predict together
MOST_PIXELS = 700_000_000  # of all pictures, were they as large as the first
MOST_VOXELS = 2_000_000_000  # of all volumes, the same
MOST_BYTES = 5_000_000  # of texts whose every byte is predicted, and of those to fit on
MOST_WRITTEN = 2_000  # answers in words, which are scored for each rival
FITTED = "those that are fitted"
BESIDE = {"spans": "prediction", "candidates": "scores"}  # by kind: the column that a way beside the samples fills
WAYS = {
    "dictionary": "looking up the training split's mentions, word for word",
    "bm25": "BM25, which knows shared words alone",
}


def predictions(ask: Ask, job: Job) -> pa.Table:
    """Return the rivals' predictions of a job's samples, one below the other, ``BY`` naming whose each is.

    Its metadata (``FACTS``) say what each rival is, what all are fitted on, and why there are no others.
    """
    kind, letters = TASKS[job.task].kind, TASKS[job.task].letters
    if kind == "text" and job.targets is not None:
        return _written(ask, job)
    if isinstance(job, WholeTexts):
        return _of_bytes(ask, job)
    if isinstance(job, lookups.LISTINGS):
        found, left = lookups.ways(ask, job)
        columns = {name: values for name, (_, values) in found.items()}
        return _columns(job, "prediction", columns, {name: says for name, (says, _) in found.items()}, left)
    if isinstance(job, Retrieval | EmbeddedPairs):
        return _of_words(job)
    if kind in BESIDE:
        columns = {name.removeprefix(RIVAL): values for name, values in job.columns.items() if name.startswith(RIVAL)}
        none = "" if columns else "looking up the training split's mentions: there is no other split 'train' with some"
        return _columns(job, BESIDE[kind], columns, {name: WAYS.get(name, name) for name in columns}, none)
    if kind not in ("classes", "labels", "numbers") or job.targets is None:
        return _table([], {}, {"why_not": f"no rival of {job.task} is known here"})
    known, why_not = taught(ask, job), {}
    made, tables = {}, []
    common = sample_columns(job.records, job.targets, [None] * len(job.records))
    if kind == "classes":
        made["majority"], shares = _majority(known, job, letters)
        tables.append(_named("majority", common, job, shares))
    elif kind == "numbers" and known.labels:
        mean = float(np.mean(known.labels))
        made["mean"] = f"always {mean:.4g}, the mean of split '{known.source}'"
        tables.append(_named("mean", common, job, np.full((len(job.records), 1), mean)))
    if known.why_not:
        why_not[FITTED] = known.why_not
    else:
        looked = isinstance(job, Fitted)  # which is such a one itself
        for one, found in _fitted(known, job, letters, ask.request.seed):
            if isinstance(found, str):
                why_not[one.saying(kind == "numbers")] = found
            else:
                looked |= one.looks
                made[one.name] = one.saying(kind == "numbers")
                tables.append(_named(one.name, common, job, found))
        if not looked and not why_not:
            noun = job.facts.get("noun") or job.records[0].noun
            why_not[f"those that look at what a {noun} holds"] = "none is known here"
    told = (
        {"fit_on": known.source, "fitted_on": len(known.records), "left_out": known.left_out} if known.records else {}
    )
    return _table(tables, made, {**told, "why_not": "; ".join(f"{name}: {why}" for name, why in why_not.items())})


def _table(tables: Sequence[pa.Table], made: dict[str, str], told: dict[str, Any]) -> pa.Table:
    whole = (
        pa.concat_tables(tables)
        if tables
        else pa.table({BY: pa.array([], pa.string()), "id": pa.array([], pa.string())})
    )
    return whole.replace_schema_metadata({FACTS: json.dumps({"made": made, **told})})


def _named(name: str, common: dict[str, pa.Array], job: Job, shares: Any) -> pa.Table:
    """Return a rival's table, by its probabilities of each record's options."""
    if not TASKS[job.task].letters:
        columns = answers(job.task, job.classes, np.asarray(shares))
    else:
        options = [list(record.options) for record in job.records if isinstance(record, MultipleChoice)]
        columns = {
            "options": pa.array(options, pa.list_(pa.string())), "probabilities": pa.array([list(map(float, one)) for one in shares], pa.list_(pa.float64())),
            "prediction": pa.array([keys[int(np.argmax(one))] for keys, one in zip(options, shares, strict=True)], pa.string()),
        }  # fmt: skip
    return pa.table({BY: pa.array([name] * len(job.records), pa.string()), **common, **columns})


def _majority(taught: Taught, job: Job, letters: bool) -> tuple[str, Any]:
    """Return the rival that always gives one answer, the commonest to fit on, or, where that is nothing, in the split itself."""
    seen = list(taught.labels) or list(job.every_target or job.targets or ())
    counts = Counter(map(str, seen))
    best = max(sorted(counts), key=lambda one: counts[one])
    where = f"the commonest of split '{taught.source}'" if taught.labels else "the commonest of this very split"
    said = f"always '{best}', {where}"
    if letters:  # the commonest of the keys that a question has
        keys = [list(record.options) for record in job.records if isinstance(record, MultipleChoice)]
        return said, [[(counts[key] + 1e-9) / sum(counts[k] + 1e-9 for k in row) for key in row] for row in keys]
    assert job.classes is not None
    return said, np.tile([counts[one] / len(seen) for one in job.classes], (len(job.records), 1))


def _fitted(taught: Taught, job: Job, letters: bool, seed: int) -> list[tuple[rivals.Baseline, Any]]:
    """Return every declared rival that can look at these records, with its probabilities, or why it gives none."""
    records: Sequence[Record] = job.records
    if isinstance(job, Bagged):
        records = [inside(bag) for bag in job.test]
    every = [*taught.records, *records]
    found: list[tuple[rivals.Baseline, Any]] = []
    if letters:
        short = _too_much(every, len(job.records), drawn=False)
        return [(OPTIONS, short or rivals.options_only(taught.records, list(job.records)))]  # type: ignore[arg-type]
    for one in rivals.BASELINES:
        if (isinstance(job, Fitted) and one.name == job.rival) or not one.fits(every):
            continue
        try:
            found.append((one, _too_much(every, len(job.records), one.drawn) or rivals.predict(
                one, taught.records, taught.labels, records, job.classes or (), [unit_of(r) for r in taught.records], seed, taught.unknown
            )))  # fmt: skip
        except HealthfmError as error:
            found.append((one, str(error)))
    return found


OPTIONS = rivals.Baseline(
    name="options-only", says="logistic regression on the options' words and lengths, without knowledge", kinds=(MultipleChoice,), features=rivals.words,
)  # fmt: skip


def _too_much(every: Sequence[Record], count: int, drawn: bool) -> str:
    """Say why a rival would be more than a minute's work; "" where it is less."""
    if drawn:
        pictures = sum(len(one.members) if isinstance(one, Several) else 1 for one in every)
        if pictures > MOST_DRAWN:
            return f"{pictures:,} {every[0].members[0].noun if isinstance(every[0], Several) else every[0].noun}s, more than {MOST_DRAWN:,}"
        what, pixels = _pixels(every[0])
        most = MOST_VOXELS if what == "voxels" else MOST_PIXELS
        return f"about {pixels * pictures:,} {what}, more than {most:,}" if pixels * pictures > most else ""
    if count > MOST:
        return f"{count:,} samples, more than {MOST:,}"
    size = sum(len(_text(one)) for one in every)
    return f"{size:,} characters, more than {MOST_CHARACTERS:,}" if size > MOST_CHARACTERS else ""


def _pixels(record: Record) -> tuple[str, int]:
    """Return how much of a record is decoded: voxels or pixels, and their number. A film's frame and a slide's level count as they are stored."""
    if isinstance(record, Several):
        return _pixels(record.members[0])
    if isinstance(record, Volume):
        return "voxels", int(record.voxels.size)
    if isinstance(record, Slide):
        opened: Any = record.open()
        try:
            far = max(1.0, max(opened.size) / AFAR) * 1.01
            return "pixels", min(one.width * one.height for one in opened.levels if one.downsample <= far)
        finally:
            opened.close()
    return "pixels", int(np.prod(np.shape(record.pixels)[:2])) if isinstance(record, Image) else 0


def _text(record: Record) -> str:
    return record.as_text if hasattr(record, "question") or hasattr(record, "text") else ""


# Answers in words -----------------------------------------------------------------------------------------------------


def _written(ask: Ask, job: Job) -> pa.Table:
    """Return the rivals of answers in words: the answer of the question most alike, the commonest answer, and a sentence that is there already."""
    if len(job.records) > MOST_WRITTEN:
        return _table([], {}, {"why_not": f"{len(job.records):,} answers in words, more than {MOST_WRITTEN:,}"})
    records = [one for one in job.records if isinstance(one, QA)]
    there = any(one.context for one in records)
    made = {
        "context"
        if there
        else "question": f"the {'sentence of the context with most words of the question' if there else 'question itself'} as the answer"
    }
    said = [[rivals.sentence(one) for one in records]]
    known = taught(ask, job)
    why_not = known.why_not or _too_much([*known.records, *records], len(records), drawn=False)
    if not why_not:
        counts = Counter(one.answers[0] for one in known.records)
        best = max(sorted(counts), key=lambda one: counts[one])
        made["nearest"] = "the answer to the question most alike (TF-IDF)"
        said.append(rivals.nearest(known.records, records))
        if counts[best] > 1:
            made["commonest"] = f"always the answer that is commonest in split '{known.source}'"
            said.append([best] * len(records))
    told = (
        {"fit_on": known.source, "fitted_on": len(known.records), "left_out": known.left_out} if known.records else {}
    )
    ids = [one.id for one in records]
    tables = [
        pa.table({BY: pa.array([name] * len(ids), pa.string()), "id": pa.array(ids, pa.string()), "prediction": pa.array(answers, pa.string())})
        for name, answers in zip(made, said, strict=True)
    ]  # fmt: skip
    return _table(tables, made, {**told, "why_not": f"{FITTED}: {why_not}" if why_not else ""})


# Ways whose predictions are there, a column each --------------------------------------------------------------------------


def _columns(job: Job, column: str, found: dict[str, pa.Array], made: dict[str, str], why_not: str) -> pa.Table:
    """Return predictions by the names of the ways that made them, put into the table's own ``column``."""
    ids = pa.array([one.id for one in job.records], pa.string())
    tables = [
        pa.table({BY: pa.array([name] * len(ids), pa.string()), "id": ids, column: values})
        for name, values in found.items()
    ]
    return _table(tables, made, {"why_not": why_not})


# What a byte costs ----------------------------------------------------------------------------------------------------


def _of_bytes(ask: Ask, job: WholeTexts) -> pa.Table:
    """Return the rival of a language model's likelihoods: counts of bytes, fitted on as many of the training texts as are a minute's work."""
    known = taught(ask, job)
    size = sum(len(one.encode()) for one in job.texts)
    why_not = known.why_not or (f"{size:,} bytes of text, more than {MOST_BYTES:,}" if size > MOST_BYTES else "")
    if why_not:
        return _table([], {}, {"why_not": f"{FITTED}: {why_not}"})
    ends = np.cumsum([len(text.encode()) for text in known.labels])
    fit = list(known.labels)[: max(1, int(np.searchsorted(ends, MOST_BYTES, side="right")))]
    ids, octets = [one.id for one in job.records], [len(text.encode()) for text in job.texts]
    table = pa.table({
        BY: pa.array(["bytes"] * len(ids), pa.string()), "id": pa.array(ids, pa.string()), "log_likelihood": ByteModel(fit).log_likelihoods(job.texts),
        "tokens": pa.array(octets, pa.int64()), "words": pa.array([words_of(text) for text in job.texts], pa.int64()), "bytes": pa.array(octets, pa.int64()),
    })  # fmt: skip
    made = {"bytes": f"counts of each byte behind the {ORDER} before it, without knowledge of words"}
    return _table([table], made, {"fit_on": known.source, "fitted_on": len(fit), "left_out": known.left_out})


# Words that two texts share -------------------------------------------------------------------------------------------


def _of_words(job: Retrieval | EmbeddedPairs) -> pa.Table:
    """Return the rival of embeddings of texts, which needs no fit: the words that two texts share."""
    texts = [str(one) for one in job.inputs]
    if len(texts) > MOST or sum(map(len, texts)) > MOST_CHARACTERS:
        return _table(
            [], {}, {"why_not": f"{len(texts):,} texts, more than {MOST:,}, or {MOST_CHARACTERS:,} characters"}
        )
    ids = [one.id for one in job.records]
    if isinstance(job, Retrieval):
        count = len(job.ids)
        order = rivals.ranked(texts[:count], texts[count:], DEPTH)
        column = {"ranking": pa.array([[job.ids[i] for i in row] for row in order], pa.list_(pa.string()))}
        says = "words that question and passage share (cosine of TF-IDF)"
    else:
        shared = [rivals.overlap(a, b) for a, b in zip(texts[: len(ids)], texts[len(ids) :], strict=True)]
        column, says = {"prediction": pa.array(shared, pa.float64())}, "the share of words that both texts have"
    table = pa.table({BY: pa.array(["words"] * len(ids), pa.string()), "id": pa.array(ids, pa.string()), **column})
    return _table([table], {"words": says}, {})

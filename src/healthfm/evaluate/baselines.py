"""The cheap rivals of an evaluation: which there are, what they are fitted on, and their predictions of the same samples.

Whether they are made is decided by counts alone, so that the same request has the same rivals on any machine.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.adapt import baselines as rivals
from healthfm.adapt.glimpses import AFAR, Several
from healthfm.datasets.dataset import split_name
from healthfm.errors import HealthfmError
from healthfm.evaluate import protocols
from healthfm.evaluate.bags import Bag, Bagged
from healthfm.evaluate.classification import ScoredClasses, chance_columns, chosen_column, label_of, labels_of, space_of
from healthfm.evaluate.dialogues import Replies, turns_to_answer
from healthfm.evaluate.free_text import as_question
from healthfm.evaluate.job import Ask, Job, sample_columns
from healthfm.evaluate.probes import Probed
from healthfm.records import QA, Conversation, Image, MultipleChoice, Record, Slide, Volume, unit_of
from healthfm.score.baselines import BY, FACTS
from healthfm.score.tasks import TASKS

MOST_FITTED = 5_000  # samples that are fitted on, drawn by the run's seed from more
MOST = 20_000  # samples that are predicted
MOST_CHARACTERS = 20_000_000  # of texts, in all
MOST_DRAWN = 4_000  # pictures, to fit on and to predict together
MOST_PIXELS = 700_000_000  # of all pictures, were they as large as the first
MOST_VOXELS = 2_000_000_000  # of all volumes, the same
MOST_WRITTEN = 2_000  # answers in words, which are scored for each rival
FEWEST = 10  # samples to fit on
FITTED = "those that are fitted"


@dataclass(frozen=True)
class _Taught:
    """What rivals are fitted on: records with what is right for each. ``source``: the split; ``why_not``: why there is nothing."""

    records: Sequence[Any] = ()
    labels: Sequence[Any] = ()
    source: str = ""
    left_out: int = 0
    why_not: str = ""


def predictions(ask: Ask, job: Job) -> pa.Table:
    """Return the rivals' predictions of a job's samples, one below the other, ``BY`` naming whose each is.

    Its metadata (``FACTS``) say what each rival is, what all are fitted on, and why there are no others.
    """
    kind, letters = TASKS[job.task].kind, TASKS[job.task].letters
    if kind == "text" and job.targets is not None:
        return _written(ask, job)
    if kind not in ("classes", "labels") or job.targets is None:
        return _table([], {}, {"why_not": f"no rival of {job.task} is known here"})
    taught, why_not = _taught(ask, job), {}
    made, tables = {}, []
    common = sample_columns(job.records, job.targets, [None] * len(job.records))
    if kind == "classes":
        made["majority"], shares = _majority(taught, job, letters)
        tables.append(_named("majority", common, job, shares))
    if taught.why_not:
        why_not[FITTED] = taught.why_not
    else:
        looked = False
        for one, found in _fitted(taught, job, letters, ask.request.seed):
            if isinstance(found, str):
                why_not[one.says] = found
            else:
                looked |= one.looks
                made[one.name] = one.says
                tables.append(_named(one.name, common, job, found))
        if not looked and not why_not:
            noun = job.facts.get("noun") or job.records[0].noun
            why_not[f"those that look at what a {noun} holds"] = "none is known here"
    told = (
        {"fit_on": taught.source, "fitted_on": len(taught.records), "left_out": taught.left_out}
        if taught.records
        else {}
    )
    return _table(tables, made, {**told, "why_not": "; ".join(f"{name}: {why}" for name, why in why_not.items())})


def _table(tables: Sequence[pa.Table], made: dict[str, str], told: dict[str, Any]) -> pa.Table:
    whole = (
        pa.concat_tables(tables)
        if tables
        else pa.table({BY: pa.array([], pa.string()), "id": pa.array([], pa.string())})
    )
    return whole.replace_schema_metadata({FACTS: json.dumps({"made": made, **told})})


def _named(name: str, common: dict[str, pa.Array], job: Job, shares: Sequence[Any]) -> pa.Table:
    """Return a rival's table, by its probabilities of each record's options."""
    several = TASKS[job.task].kind == "labels"
    if not TASKS[job.task].letters:
        assert job.classes is not None
        chances = np.asarray(shares)
        columns = {**chance_columns(job.classes, chances), "prediction": chosen_column(job.classes, chances, several)}
    else:
        options = [list(record.options) for record in job.records if isinstance(record, MultipleChoice)]
        columns = {
            "options": pa.array(options, pa.list_(pa.string())), "probabilities": pa.array([list(map(float, one)) for one in shares], pa.list_(pa.float64())),
            "prediction": pa.array([keys[int(np.argmax(one))] for keys, one in zip(options, shares, strict=True)], pa.string()),
        }  # fmt: skip
    return pa.table({BY: pa.array([name] * len(job.records), pa.string()), **common, **columns})


def _majority(taught: _Taught, job: Job, letters: bool) -> tuple[str, Any]:
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


def _fitted(taught: _Taught, job: Job, letters: bool, seed: int) -> list[tuple[rivals.Baseline, Any]]:
    """Return every declared rival that can look at these records, with its probabilities, or why it gives none."""
    records: Sequence[Record] = job.records
    if isinstance(job, Bagged):
        records = [_inside(bag) for bag in job.test]
    every = [*taught.records, *records]
    found: list[tuple[rivals.Baseline, Any]] = []
    if letters:
        short = _too_much(every, len(job.records), drawn=False)
        return [(OPTIONS, short or rivals.options_only(taught.records, list(job.records)))]  # type: ignore[arg-type]
    for one in rivals.BASELINES:
        if not one.fits(every):
            continue
        try:
            found.append((one, _too_much(every, len(job.records), one.drawn) or rivals.predict(
                one, taught.records, taught.labels, records, job.classes or (), [unit_of(r) for r in taught.records], seed
            )))  # fmt: skip
        except HealthfmError as error:
            found.append((one, str(error)))
    return found


OPTIONS = rivals.Baseline(
    name="options-only", says="logistic regression on the options' words and lengths, without knowledge", kinds=(MultipleChoice,), features=rivals.words,
)  # fmt: skip


def _inside(bag: Bag) -> Record:
    """Return what rivals may look at of a bag: its slide, volume or film, or all images of its patient."""
    one = bag.record
    if one.stacked:
        return one
    members = tuple(member for member in bag.members if isinstance(member, Image))
    return Several(
        id=one.id,
        split=one.split,
        patient=one.patient,
        site=one.site,
        labels=one.labels,
        meta=one.meta,
        members=members,
    )


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
    taught = _taught(ask, job)
    why_not = taught.why_not or _too_much([*taught.records, *records], len(records), drawn=False)
    if not why_not:
        counts = Counter(one.answers[0] for one in taught.records)
        best = max(sorted(counts), key=lambda one: counts[one])
        made["nearest"] = "the answer to the question most alike (TF-IDF)"
        said.append(rivals.nearest(taught.records, records))
        if counts[best] > 1:
            made["commonest"] = f"always the answer that is commonest in split '{taught.source}'"
            said.append([best] * len(records))
    told = (
        {"fit_on": taught.source, "fitted_on": len(taught.records), "left_out": taught.left_out}
        if taught.records
        else {}
    )
    ids = [one.id for one in records]
    tables = [
        pa.table({BY: pa.array([name] * len(ids), pa.string()), "id": pa.array(ids, pa.string()), "prediction": pa.array(answers, pa.string())})
        for name, answers in zip(made, said, strict=True)
    ]  # fmt: skip
    return _table(tables, made, {**told, "why_not": f"{FITTED}: {why_not}" if why_not else ""})


# What they are fitted on ----------------------------------------------------------------------------------------------


def _taught(ask: Ask, job: Job) -> _Taught:
    """Return what rivals may learn from: never a patient, or a record, that is evaluated."""
    if isinstance(job, Probed):
        if job.rule == "few":
            return _Taught(why_not="beside a model fitted on few examples they would have seen more")
        return _drawn(job.fit_on, job.labels, str(job.asked["fit_on"]), 0, ask)
    if isinstance(job, Bagged):
        fit, labels = [_inside(bag) for bag in job.fit], [bag.label for bag in job.fit]
        return _drawn(fit, labels, str(job.asked["fit_on"]), 0, ask)
    words = TASKS[job.task].kind == "text"
    if (
        not words
        and not isinstance(job, ScoredClasses)
        and not all(isinstance(one, MultipleChoice) for one in job.records)
    ):
        return _Taught(why_not=f"no way to fit one for {job.task} is known here")
    opened, source = ask.opened, split_name(ask.opened.card, ask.request.shots_from)
    if source == ask.split or source not in opened.splits:
        there = "is the evaluated one" if source == ask.split else f"is not here (present: {', '.join(opened.splits)})"
        return _Taught(why_not=f"the split '{source}' to fit on {there}")
    held = {record.patient for record in job.records if record.patient is not None}
    ids = {record.digest() for record in job.records if not isinstance(record, Image)}
    try:
        every = _questions(job, opened[source]) if words else list(opened[source])
        kept = [one for one in every if one.patient not in held and (isinstance(one, Image) or one.digest() not in ids)]
        read = [(one, _right(ask, job, one)) for one in kept]
    except HealthfmError as error:
        return _Taught(why_not=f"the split '{source}' to fit on cannot be used: {error}")
    right = [(one, label) for one, label in read if label is not None]
    return _drawn([one for one, _ in right], [label for _, label in right], source, len(every) - len(kept), ask)


def _questions(job: Job, split: Iterable[Record]) -> list[Any]:
    """Return the questions of a split as the job asks its own: those of a dataset, or the turns that a doctor answers."""
    if isinstance(job, Replies):
        return [one for record in split if isinstance(record, Conversation) for one in turns_to_answer(record)]
    return [one for one in map(as_question, split) if one is not None]


def _right(ask: Ask, job: Job, record: Record) -> Any:
    """Return what is right for a record to fit on, as the job's own targets are; None where that is unknown."""
    if isinstance(job, ScoredClasses):
        space = space_of(ask.opened.card, protocols.choose_protocol(ask.opened.card, ask.protocol, ask.task)[1].label)
        found: Any = labels_of(record, space) if job.several else label_of(record, ask.opened, space)
        return found if job.several or found in (job.classes or ()) else None
    if isinstance(record, QA):
        return record.answers or None
    if not isinstance(record, MultipleChoice) or not isinstance(record.answer, str):
        return None
    return record.answer if TASKS[job.task].letters or record.answer in (job.classes or ()) else None


def _drawn(records: Sequence[Record], labels: Sequence[Any], source: str, left_out: int, ask: Ask) -> _Taught:
    chosen = protocols.sample(len(records), MOST_FITTED, ask.request.seed) if records else []
    kept = [labels[i] for i in chosen]
    if len(kept) < FEWEST or (isinstance(kept[0], str) and len(set(kept)) < 2):
        gone = f" ({left_out} are of evaluated patients, or evaluated samples again)" if left_out else ""
        few = f"{len(kept)} samples of {len(set(map(str, kept)))} classes that can be used{gone}"
        return _Taught(why_not=f"the split '{source}' to fit on has {few}")
    return _Taught([records[i] for i in chosen], kept, source, left_out)

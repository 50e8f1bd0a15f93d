"""What the cheap rivals of an evaluation are fitted on: records with what is right for each, none of them of a patient or a record that is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from healthfm.adapt.glimpses import Several
from healthfm.datasets.dataset import split_name
from healthfm.errors import HealthfmError
from healthfm.evaluate import protocols
from healthfm.evaluate.bags import Bag, Bagged
from healthfm.evaluate.classification import ScoredClasses, label_of, labels_of, space_of
from healthfm.evaluate.dialogues import Replies, turns_to_answer
from healthfm.evaluate.few_labels import Few
from healthfm.evaluate.fitted import Fitted
from healthfm.evaluate.free_text import as_question
from healthfm.evaluate.job import Ask, Job
from healthfm.evaluate.perplexity import WholeTexts, whole_text
from healthfm.evaluate.probes import Probed
from healthfm.evaluate.zero_shot import Named, right
from healthfm.records import QA, Conversation, Image, MultipleChoice, Record
from healthfm.score.tasks import TASKS

MOST_FITTED = 5_000  # samples that are fitted on, drawn by the run's seed from more
FEWEST = 10  # samples to fit on


@dataclass(frozen=True)
class Taught:
    """What rivals are fitted on: records with what is right for each. ``source``: the split; ``why_not``: why there is nothing;
    ``unknown``: of sets of labels, those of each record that nobody looked for.
    """

    records: Sequence[Any] = ()
    labels: Sequence[Any] = ()
    source: str = ""
    left_out: int = 0
    why_not: str = ""
    unknown: Sequence[Sequence[str]] = ()


def taught(ask: Ask, job: Job) -> Taught:
    """Return what rivals may learn from: never a patient, or a record, that is evaluated."""
    if isinstance(job, Fitted):
        return _drawn(job.fit_on, job.labels, str(job.asked["fit_on"]), 0, ask, job.unknown)
    if isinstance(job, Probed):
        if job.rule == "few":
            return Taught(why_not="beside a model fitted on few examples they would have seen more")
        return _drawn(job.fit_on, job.labels, str(job.asked["fit_on"]), 0, ask, job.unknown)
    if isinstance(job, Few):
        return Taught(why_not="beside a model fitted on few examples they would have seen more")
    if isinstance(job, Bagged):
        fit, labels = [inside(bag) for bag in job.fit], [bag.label for bag in job.fit]
        return _drawn(fit, labels, str(job.asked["fit_on"]), 0, ask)
    words, whole = TASKS[job.task].kind == "text", isinstance(job, WholeTexts)
    if (
        not words
        and not whole
        and not isinstance(job, ScoredClasses | Named)
        and not all(isinstance(one, MultipleChoice) for one in job.records)
    ):
        return Taught(why_not=f"no way to fit one for {job.task} is known here")
    opened, source = ask.opened, split_name(ask.opened.card, ask.request.shots_from)
    if source == ask.split or source not in opened.splits:
        there = "is the evaluated one" if source == ask.split else f"is not here (present: {', '.join(opened.splits)})"
        return Taught(why_not=f"the split '{source}' to fit on {there}")
    held = {record.patient for record in job.records if record.patient is not None}
    ids = {record.digest() for record in job.records if not isinstance(record, Image)}
    try:
        every = _questions(job, opened[source]) if words else list(opened[source])
        kept = [one for one in every if one.patient not in held and (isinstance(one, Image) or one.digest() not in ids)]
        read = [(one, _right(ask, job, one)) for one in kept]
    except HealthfmError as error:
        return Taught(why_not=f"the split '{source}' to fit on cannot be used: {error}")
    known = [(one, label) for one, label in read if label is not None]
    return _drawn([one for one, _ in known], [label for _, label in known], source, len(every) - len(kept), ask)


def _questions(job: Job, split: Iterable[Record]) -> list[Any]:
    """Return the questions of a split as the job asks its own: those of a dataset, or the turns that a doctor answers."""
    if isinstance(job, Replies):
        return [one for record in split if isinstance(record, Conversation) for one in turns_to_answer(record)]
    return [one for one in map(as_question, split) if one is not None]


def _right(ask: Ask, job: Job, record: Record) -> Any:
    """Return what is right for a record to fit on, as the job's own targets are; None where that is unknown."""
    found: Any
    if isinstance(job, Named):
        found = right(record, ask.opened, job.space, job.naming, job.several)
        return found if job.several or found in (job.classes or ()) else None
    if isinstance(job, ScoredClasses):
        space = space_of(ask.opened.card, protocols.choose_protocol(ask.opened.card, ask.protocol, ask.task)[1].label)
        found = labels_of(record, space) if job.several else label_of(record, ask.opened, space)
        return found if job.several or found in (job.classes or ()) else None
    if isinstance(job, WholeTexts):
        return (whole_text(record).strip() and whole_text(record)) or None
    if isinstance(record, QA):
        return record.answers or None
    if not isinstance(record, MultipleChoice) or not isinstance(record.answer, str):
        return None
    return record.answer if TASKS[job.task].letters or record.answer in (job.classes or ()) else None


def _drawn(
    records: Sequence[Record], labels: Sequence[Any], source: str, left_out: int, ask: Ask, unknown: Sequence[Sequence[str]] = ()
) -> Taught:  # fmt: skip
    chosen = protocols.sample(len(records), MOST_FITTED, ask.request.seed) if records else []
    kept = [labels[i] for i in chosen]
    if len(kept) < FEWEST or (isinstance(kept[0], str) and len(set(kept)) < 2):
        gone = f" ({left_out} are of evaluated patients, or evaluated samples again)" if left_out else ""
        few = f"{len(kept)} samples of {len(set(map(str, kept)))} classes that can be used{gone}"
        return Taught(why_not=f"the split '{source}' to fit on has {few}")
    looked_for = [unknown[i] for i in chosen] if unknown else ()
    return Taught([records[i] for i in chosen], kept, source, left_out, unknown=looked_for)


def inside(bag: Bag) -> Record:
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

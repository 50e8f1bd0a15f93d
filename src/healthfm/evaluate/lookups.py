"""Cheap ways to answer in lists and in words of a passage: what shares words with the question, and what the training split said of the same names."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from healthfm.adapt import baselines as rivals
from healthfm.datasets.dataset import split_name
from healthfm.errors import HealthfmError
from healthfm.evaluate.dialogues import Findings, findings_of, joined
from healthfm.evaluate.job import Ask
from healthfm.evaluate.mentions import LONGEST, looked_up
from healthfm.evaluate.reading import ReadAnswers
from healthfm.evaluate.relations import ListedRelations, ScoredRelations, concepts_of, pair_of, relations_of
from healthfm.records import QA, Conversation, Document, Record
from healthfm.score.kinds.relations import RELATIONS

Listing = ReadAnswers | ListedRelations | ScoredRelations | Findings
LISTINGS = (ReadAnswers, ListedRelations, ScoredRelations, Findings)
STRINGS = pa.list_(pa.string())
MOST = 20_000  # records that are looked at, of each split


def ways(ask: Ask, job: Listing) -> tuple[dict[str, tuple[str, pa.Array]], str]:
    """Return what each cheap way of a job is, with its predictions, by name; and why there are no more ("": there are none missing)."""
    if len(job.records) > MOST:
        return {}, f"{len(job.records):,} {job.records[0].noun}s, more than {MOST:,}"
    if isinstance(job, ReadAnswers):
        return _of_passages(job), ""
    if isinstance(job, ScoredRelations):
        return _commonest(job), ""
    known, why_not = _training(ask, job)
    if why_not:
        return {}, f"looking up what the training split said: {why_not}"
    said = [_lookup(_text(one), known) for one in job.records]
    if isinstance(job, Findings):
        column = pa.array(said, STRINGS)
    else:
        column = pa.array([[dict(zip(("type", "head", "tail"), one, strict=True)) for one in row] for row in said], RELATIONS)  # fmt: skip
    source = split_name(ask.opened.card, ask.request.shots_from)
    return {"dictionary": (f"what split '{source}' said of the same names, looked up", column)}, ""


def _of_passages(job: ReadAnswers) -> dict[str, tuple[str, pa.Array]]:
    """Return the sentence that shares most words with the question, in words or as its number; and, where some questions have no answer, that none has one."""
    questions = [one for one in job.records if isinstance(one, QA)]
    says = "the sentence of the passage with most words of the question"
    empty = any(not one for one in job.targets or ())
    if job.sentences is None:
        found = {"context": (says, pa.array([rivals.sentence(one) for one in questions], pa.string()))}
        nothing = pa.array([""] * len(questions), pa.string())
    else:
        numbers = [[str(1 + rivals.closest(one.question, one.meta["sentences"]))] for one in questions]
        found, nothing = {"context": (says, pa.array(numbers, STRINGS))}, pa.array([[]] * len(questions), STRINGS)
    return {**found, "nothing": ("always that there is no answer", nothing)} if empty else found


def _commonest(job: ScoredRelations) -> dict[str, tuple[str, pa.Array]]:
    counts = Counter(one["type"] for row in job.targets or () for one in row)
    best = max(sorted(counts), key=lambda one: counts[one])
    given = [[{**one, "type": best} for one in pair_of(record)] for record in job.records]
    return {"majority": (f"always '{best}', the commonest of this very split", pa.array(given, RELATIONS))}


# What the training split said ------------------------------------------------------------------------------------------


def _training(ask: Ask, job: Listing) -> tuple[dict[tuple[str, ...], list[Any]], str]:
    """Return what the training split says, by the names that have to stand in a text for it; or why nothing is known."""
    opened, source = ask.opened, split_name(ask.opened.card, ask.request.shots_from)
    if source == ask.split or source not in opened.splits:
        return {}, f"the split '{source}' {'is the evaluated one' if source == ask.split else 'is not here'}"
    held = {one.patient for one in job.records if one.patient is not None}
    ids = {one.digest() for one in job.records}
    found: dict[tuple[str, ...], list[Any]] = {}
    try:
        every = list(opened[source])
        if len(every) > MOST:
            return {}, f"{len(every):,} records of split '{source}', more than {MOST:,}"
        for one in every:
            if one.patient not in held and one.digest() not in ids:
                _learn(found, one, job)
    except HealthfmError as error:
        return {}, f"the split '{source}' cannot be used: {error}"
    return found, "" if found else f"the split '{source}' states nothing"


def _learn(found: dict[tuple[str, ...], list[Any]], record: Record, job: Listing) -> None:
    """Add what a record says, by the names that stand for it."""
    if isinstance(job, Findings) and isinstance(record, Conversation):
        for name, status in findings_of(record, job.codes).items():
            found.setdefault((_key(name),), []).append(joined(name, status))
    elif isinstance(record, Document):
        names: dict[str, list[str]] = {}
        for name, concepts in concepts_of(record).items():
            for concept in concepts:
                names.setdefault(concept, []).append(name)
        for one in relations_of(record):
            for head in names.get(one["head"], [one["head"]]):
                for tail in names.get(one["tail"], [one["tail"]]):
                    found.setdefault((_key(head), _key(tail)), []).append((one["type"], one["head"], one["tail"]))


def _lookup(text: str, known: Mapping[tuple[str, ...], Sequence[Any]]) -> list[Any]:
    """Return what was said most often of names that all stand in a text."""
    lexicon = {name: ("", ()) for names in known for name in names if len(name.split()) <= LONGEST}
    held = {_key(text[span.start : span.end]) for span in looked_up(text, lexicon)}
    said = (
        known.get(names)
        for size in {len(one) for one in known}
        for names in itertools.product(sorted(held), repeat=size)
    )
    return list(dict.fromkeys(Counter(those).most_common(1)[0][0] for those in said if those))


def _key(name: str) -> str:
    return " ".join(name.lower().split())


def _text(record: Record) -> str:
    return "\n".join(turn.text for turn in record.turns) if isinstance(record, Conversation) else record.as_text

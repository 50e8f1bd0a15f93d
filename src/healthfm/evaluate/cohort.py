"""Cohorts: stays of timelines, what was known at a moment, and a classifier of what came of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn

import pyarrow as pa

from healthfm.adapt.counts import count_probe
from healthfm.cards.schema.cohort import Cohort
from healthfm.datasets import cohorts
from healthfm.errors import DatasetError, RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.classification import chance_columns, chosen_column
from healthfm.evaluate.job import Ask, Finished, Job, cut_parts, sample_columns, subgroup_columns
from healthfm.evaluate.probes import Probed
from healthfm.models import own
from healthfm.records import Timeline, unit_of
from healthfm.score.tasks import TASKS

STAY = 400  # what a stay counts for in a part, in characters


@dataclass(frozen=True, kw_only=True)
class Counted(Job):
    """A classifier on counts of codes: ``counts`` of the samples to fit on, then of those to evaluate, whose digests are ``inputs``."""

    counts: Sequence[Mapping[str, int]]
    inputs: Sequence[str]
    labels: Sequence[Any]
    groups: Sequence[str]
    seed: int
    room: str = "counts"
    whole: ClassVar[bool] = True

    def compute(self, tool: Any, rows: range) -> pa.Table:
        part = self.counts[rows.start : rows.stop]
        return pa.table({"counts": pa.array([json.dumps(one, sort_keys=True) for one in part], pa.string())})

    def finish(self, table: pa.Table, settled: Mapping[str, Any]) -> Finished:
        assert self.classes is not None
        counts, fitted = [json.loads(one) for one in table["counts"].to_pylist()], len(self.labels)
        chances, how = count_probe(counts[:fitted], self.labels, counts[fitted:], self.classes, self.groups, self.seed)
        several = TASKS[self.task].kind == "labels"
        predicted = pa.table({
            **sample_columns(self.records, self.targets, self.inputs), **chance_columns(self.classes, chances),
            "prediction": chosen_column(self.classes, chances, several), **self.columns,
        })  # fmt: skip
        return Finished(predicted, how)


@dataclass
class Side:
    """Samples on one side of a split, with what is kept of each."""

    records: list[Timeline]
    counts: list[Mapping[str, int]]
    digests: list[str]

    def without(self, patients: set[str]) -> Side:
        """Return it without the samples of some patients."""
        kept = [i for i, one in enumerate(self.records) if unit_of(one) not in patients]
        return Side(
            [self.records[i] for i in kept],
            [self.counts[i] for i in kept if self.counts],
            [self.digests[i] for i in kept],
        )


def prepare(ask: Ask) -> Job:
    """Return the job of fitting on the stays of a cohort that a split leaves and evaluating those it holds out.

    Raises ``RunError``: the dataset has no such cohort or split, or a side has no samples.
    """
    assert ask.task is not None
    opened, request, task = ask.opened, ask.request, ask.task
    declared = cohorts.cohorts_of(opened.card.slug)
    if task not in declared:
        there = f"it has: {', '.join(declared)}" if declared else "it has none"
        raise RunError(
            f"{opened.card.slug}: no cohort is declared for {task} ({there}); cohorts stand in healthfm/cards/cohorts"
        )
    if request.shots:
        raise RunError(f"{task} is fitted on a whole split and takes no number of examples")
    cohort = declared[task]
    counting = own.form(request.model) == "baseline"
    fit, held, notices = _sides(ask, cohort, counting)
    classes, several = list(cohort.label.names), TASKS[task].kind == "labels"
    read = (
        (lambda one: [name for name in classes if name in one.labels[task]])
        if several
        else (lambda one: one.labels[task])
    )
    labels, every = [read(one) for one in fit.records], [read(one) for one in held.records]
    if not several and len(set(labels)) < 2:
        raise RunError(f"{opened.name}: the {len(labels)} stays to fit on have one class only, two are needed")
    chosen = protocols.sample(len(every), request.limit, request.seed)
    kept = Side(
        [held.records[i] for i in chosen],
        [held.counts[i] for i in chosen if held.counts],
        [held.digests[i] for i in chosen],
    )
    targets, groups = [every[i] for i in chosen], [unit_of(one) for one in fit.records]
    content = [
        [one.id, digest, label]
        for side, some in ((fit, labels), (kept, targets))
        for one, digest, label in zip(side.records, side.digests, some, strict=True)
    ]
    common: dict[str, Any] = {
        "task": task, "name": f"{opened.name}#{task}", "records": kept.records, "total": len(every), "classes": classes,
        "every_target": None if several else every, "targets": targets, "parts": cut_parts([STAY] * len(content)), "labels": labels,
        "groups": groups, "seed": request.seed, "columns": subgroup_columns(kept.records, request.subgroups), "content": content,
        "asked": {"fit_on": f"all but {ask.split}", "fitted_on": len(fit.records), "cohort": cohort.model_dump(mode="json")},
        "facts": {"notices": notices},
    }  # fmt: skip
    if counting:
        return Counted(counts=[*fit.counts, *kept.counts], inputs=kept.digests, **common)
    return Probed(
        rule="several" if several else "linear", inputs=[*fit.records, *kept.records], fit_on=fit.records, **common
    )


def _sides(ask: Ask, cohort: Cohort, counting: bool) -> tuple[Side, Side, list[str]]:
    """Return the samples to fit on, those held out, and what a reader must know of them. Of counted samples the events are let go."""
    assert ask.task is not None
    opened = ask.opened
    split = cohorts.split_named(cohort, ask.split, f"{opened.card.slug}, {ask.task}")
    sides, drawn, neither = {"fit": Side([], [], []), "on": Side([], [], [])}, cohorts.Drawn(), 0
    for timeline in opened:
        assert isinstance(timeline, Timeline)
        for sample, start in cohorts.samples(timeline, cohort, ask.task, drawn):
            side = cohorts.side_of(sample, split, ask.request.seed)
            if side is None:
                neither += 1
                continue
            kept = sample.decoded()
            sides[side].digests.append(kept.digest())
            if counting:
                sides[side].counts.append(cohorts.counts_of(kept, start, cohort))
                kept = replace(kept, load=_gone)
            sides[side].records.append(kept)
    fit, held = sides["fit"], sides["on"]
    both = {unit_of(one) for one in held.records} & {unit_of(one) for one in fit.records}
    fit = fit.without(both)
    if not fit.records or not held.records:
        raise RunError(
            f"{opened.name}, {ask.task}: {len(fit.records)} stays to fit on and {len(held.records)} to evaluate; {drawn.told(len(held.records))}"
        )
    return fit, held, [*opened.notices, *_said(ask, cohort, fit, held, drawn, neither, len(both))]


def _said(ask: Ask, cohort: Cohort, fit: Side, held: Side, drawn: cohorts.Drawn, neither: int, both: int) -> list[str]:
    """Return what a report says of a cohort."""
    assert ask.task is not None
    every = [one.labels[ask.task] for one in (*fit.records, *held.records)]
    share = (
        f"; {every.count(cohort.label.classes[1]) / len(every):.1%} '{cohort.label.classes[1]}'"
        if cohort.label.classes
        else ""
    )
    published = cohort.published
    beside = "no count was published for it"
    if published is not None:
        rate = f", {published.share:.1%} of them so" if published.share is not None else ""
        beside = f"published: {published.samples:,} samples{rate} ({published.source}{', not read there' if published.checked == 'unverified' else ''})"
    split = cohort.splits[ask.split]
    how = (
        f"{split.share:.0%} of the patients, drawn, are held out"
        if split.share
        else f"fitted on {split.by} {', '.join(split.fit)}, held out {', '.join(split.on)}"
    )
    left = f"{neither} stays are on neither side" if neither else ""
    moved = f"{both} patients stand on both sides and are only evaluated" if both else ""
    dates = "every patient's dates are shifted by their own amount, so no split goes by them" if _shifted(held) else ""
    return [
        one
        for one in (
            f"{drawn.told(len(every))}{share}; {beside}",
            f"cohort follows {cohort.follows}",
            how,
            left,
            moved,
            dates,
        )
        if one
    ]


def _shifted(side: Side) -> bool:
    return side.records[0].clock == "shifted"


def _gone() -> NoReturn:
    raise DatasetError("the events of this stay were counted and let go")

"""Probes: a frozen model's embeddings of two splits, and a classifier between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.adapt import integration, probe
from healthfm.adapt.few_shot import few_shot
from healthfm.cards.schema import Labels
from healthfm.datasets.dataset import Dataset, split_name
from healthfm.embed import identity
from healthfm.errors import RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.classification import (
    ONE,
    SEVERAL,
    fitting_space,
    label_of,
    labelled,
    number_of,
    open_labels_of,
    space_of,
    unmeasured,
)
from healthfm.evaluate.embedded import Embedded, said
from healthfm.evaluate.fitted import Fitted, answers, checked
from healthfm.evaluate.job import (
    CHARACTERS_PER_PART,
    Ask,
    Finished,
    Job,
    cut_parts,
    need_split,
    sample_columns,
    subgroup_columns,
)
from healthfm.models import own
from healthfm.records import Molecule, Record, Slide, TextRecord, unit_of
from healthfm.records import Sequence as Letters
from healthfm.report import maps
from healthfm.score import learning, robustness
from healthfm.score.tasks import TASKS

NEEDS_SHOTS = "{} needs the number of examples a class: shots=5 (--shots 5)"
FEW = ("few", "adapter", "prompts")  # the rules that take a number of examples a class
WRITTEN = (TextRecord, Molecule, Letters)  # records whose text stands for them
PICTURE = 400  # what a picture or a recording counts for in a part, in characters


@dataclass(frozen=True, kw_only=True)
class Probed(Embedded):
    """A classifier between two splits' embeddings: ``rule`` says which (``Task.rule``).

    ``fit_on``: the records of the first rows, with their ``labels`` and ``groups`` (patients); ``shots``: examples a class, of few;
    ``unknown``: of several classes, those of each of ``fit_on`` that nobody looked for.
    """

    rule: str
    fit_on: Sequence[Record]
    labels: Sequence[Any]
    groups: Sequence[str]
    seed: int
    shots: int | None = None
    unknown: Sequence[Sequence[str]] = ()

    @property
    def several(self) -> bool:
        """Whether a row may have several classes."""
        return TASKS[self.task].kind == "labels"

    def finish(self, table: pa.Table, settled: Mapping[str, Any]) -> Finished:
        vectors, count = np.stack(table["embedding"].to_numpy()), len(self.labels)
        train, test = vectors[:count], vectors[count:]
        lazy = any(isinstance(one, Record) for one in self.inputs)
        common = sample_columns(self.records, self.targets, table["input"].to_pylist()[count:] if lazy else None)
        every, known = [*self.fit_on, *self.records], [*self.labels, *(self.targets or ())]
        beside: dict[str, pa.Table] = {maps.ROOM: maps.places(vectors, every, known, count)}
        if self.rule == "few":  # the draw that is shown, and those of all beside it
            assert self.shots is not None and self.targets is not None and self.classes is not None
            draws, how = few_shot(
                train, self.labels, test, self.targets, self.classes, self.groups, self.shots, self.seed
            )
            beside[learning.DRAWS] = learning.stack(
                {i: self._predicted(common, one) for i, one in enumerate(draws)}, learning.DRAW
            )
            shares = draws[how["shown_draw"]]
        else:
            shares, fitted = self._fitted(train, test, range(count))
            how = dict(fitted)
        whole = self._predicted(common, shares)
        ids = [record.id for record in self.fit_on] + [record.id for record in self.records]
        how = {
            **how,
            **said(table, ids),
            "arithmetic": settled["arithmetic"],
            **self._robustness(vectors),
            **integration.of_cells(vectors, every, known),
        }
        for name, column in self.columns.items():
            whole = whole.append_column(name, column)
        if not TASKS[self.task].curve:
            return Finished(whole, how, beside)
        named: list[Any] = (
            list(self.labels) if self.several else [(one if self.rule != "number" else "",) for one in self.labels]
        )
        smaller = {
            len(rows): self._fitted(train, test, rows.tolist())
            for rows in learning.nested(self.groups, named, self.seed)
        }
        if smaller:
            few = {size: self._predicted(common, one) for size, (one, _) in smaller.items()}
            beside[learning.ROOM] = learning.stack(few)
        return Finished(whole, {**how, "curve": [dict(one) for _, one in smaller.values()]}, beside)

    def _robustness(self, vectors: Any) -> dict[str, Any]:
        """Return whether the embeddings follow the class or the site, where every record has a site and it can be said."""
        records, sites = (
            [*self.fit_on, *self.records],
            [r.site for r in (*self.fit_on, *self.records) if r.site is not None],
        )
        if self.several or self.rule == "number" or len(sites) < len(records) or len(records) > robustness.MOST_SAMPLES:
            return {}
        try:
            labels = [*self.labels, *(self.targets or ())]
            return {
                "robustness": robustness.robustness_index(
                    vectors, labels, sites, list(map(unit_of, records)), seed=self.seed
                )
            }
        except RunError:
            return {}

    def _fitted(self, train: Any, test: Any, rows: Sequence[int]) -> tuple[Any, Mapping[str, Any]]:
        """Return the probabilities by a classifier fitted on some rows, and what was chosen for it."""
        x, y, who = train[rows], [self.labels[i] for i in rows], [self.groups[i] for i in rows]
        if self.rule == "number":
            return probe.ridge_probe(x, y, test, who, self.seed)
        assert self.classes is not None
        if self.rule == "several":
            return probe.multi_label_probe(
                x, y, test, self.classes, who, self.seed, [self.unknown[i] for i in rows] if self.unknown else ()
            )
        if self.rule == "nearest":
            return probe.nearest_neighbours(x, y, test, self.classes)
        return probe.linear_probe(x, y, test, self.classes, who, self.seed, self.rule == "balanced")

    def _predicted(self, common: Mapping[str, pa.Array], shares: Any) -> pa.Table:
        """Return predictions by probabilities [rows, classes]. ``common``: the columns that those of all fits have."""
        return pa.table({**common, **answers(self.task, self.classes, shares)})


def prepare(ask: Ask) -> Job:
    """Return the job of embedding a training and an evaluated split and classifying the second from the first.

    ``shots_from`` names the training split; when it is the evaluated one, half of its patients (a seeded draw) are for fitting.
    """
    assert ask.task is not None
    opened, request, task = ask.opened, ask.request, TASKS[ask.task]
    source, fit, records, notices = two_splits(ask)
    if task.rule == "few" and not request.shots:
        raise RunError(NEEDS_SHOTS.format(ask.task))
    several, classes = task.kind == "labels", None
    named = probed_space(ask) if task.kind == "classes" else None
    if several:
        space = fitting_space(opened, request.label, SEVERAL) or space_of(opened.card, None)
    read: Any = (
        (lambda r: open_labels_of(r, space, opened))
        if several
        else number_of(opened, request.label)
        if task.kind == "numbers"
        else (lambda r: label_of(r, opened, named))
    )
    fit, labels, unfit = labelled(fit, read)
    records, every, lost = labelled(records, read)
    notices += [*(f"to fit on: {one}" for one in unfit), *lost]
    if task.kind == "classes":
        classes = classes_of(labels, every, opened, named)
    left: list[list[str]] = []
    undecided: list[list[str]] = []
    if several:
        classes = list(space.classes) or sorted({name for sure, _ in (*labels, *every) for name in sure})
        labels, left = _by_rule(labels, request.uncertain)
        every, undecided = [sure for sure, _ in every], [one for _, one in every]
    if task.rule == "few":
        refuse_few(labels, request.shots or 0)
    chosen = protocols.sample(len(records), request.limit, request.seed)
    total, records, targets = len(records), [records[i] for i in chosen], [every[i] for i in chosen]
    unknown, open_ = ([unmeasured(r, space) for r in some] if several else [] for some in (fit, records))
    unknown = [[*one, *other] for one, other in zip(unknown, left, strict=True)]
    columns, undecided = subgroup_columns(records, request.subgroups), [undecided[i] for i in chosen] if several else []
    for name, some in (("unmeasured", open_), ("uncertain", undecided)):
        if any(some):
            columns = {**columns, name: pa.array(some, pa.list_(pa.string()))}
    rival = own.baseline(str(request.model)) if own.form(request.model) == "baseline" else None
    sources = identity.of_records([*fit, *records]) if rival is None else [one.id for one in (*fit, *records)]
    common: dict[str, Any] = {
        "task": ask.task, "name": f"{opened.name}#{ask.task}", "records": records, "total": total, "classes": classes,
        "every_target": every if task.kind == "classes" else None, "targets": targets, "fit_on": fit, "labels": labels, "unknown": unknown if any(unknown) else [],
        "groups": [unit_of(r) for r in fit], "seed": request.seed, "columns": columns,
        "content": [[r.id, its, label] for r, its, label in zip((*fit, *records), sources, (*labels, *targets), strict=True)]
        + ([["uncertain", left, undecided]] if any(left) or any(undecided) else []),
        "asked": {"fit_on": source, "fitted_on": len(fit), **({"shots": request.shots} if task.rule == "few" else {})}, "facts": {"notices": notices},
    }  # fmt: skip
    if rival is not None:
        return Fitted(rival=checked(rival, [*fit, *records], ask.task), parts=[[0, len(records)]], **common)
    inputs = [_input(r, ask.task) for r in (*fit, *records)]
    return Probed(
        rule=task.rule, parts=cut_parts([size_of(one) for one in inputs]), inputs=inputs, sources=sources, shots=request.shots, **common,
    )  # fmt: skip


def probed_space(ask: Ask) -> Labels | None:
    """Return the label space that one class is predicted of; None of questions, whose answers are theirs, and where the card declares none that fits."""
    if ask.request.label is None and ask.opened.card.record == "MultipleChoice":
        return None
    return fitting_space(ask.opened, ask.request.label, ONE)


def _by_rule(labels: Sequence[tuple[list[str], list[str]]], rule: str) -> tuple[list[list[str]], list[list[str]]]:
    """Return the classes of each row to fit on, and those of which nothing is known, by the rule for what is left open."""
    there = [sure + left if rule == "positive" else sure for sure, left in labels]
    return there, [left if rule == "ignore" else [] for _, left in labels]


def refuse_few(labels: Sequence[str], shots: int) -> None:
    """Raise ``RunError`` where a class has fewer examples than are asked for."""
    counts = Counter(labels)
    few = min(counts, key=lambda name: counts[name])
    if counts[few] < shots:
        raise RunError(f"class '{few}' has {counts[few]} examples to fit on, {shots} are asked for")


def _input(record: Record, task: str) -> str | Record:
    """Return what is embedded of a record. Raises ``RunError`` for a slide, which is many pictures too many."""
    if isinstance(record, Slide):
        raise RunError(f"a slide is a bag of tiles, which {task} does not take: use --task mil")
    return record.as_text if isinstance(record, WRITTEN) else record


def size_of(content: str | Record) -> int:
    """Return what an input counts for in a part; a volume or film has a part to itself."""
    if isinstance(content, str):
        return len(content)
    return CHARACTERS_PER_PART if content.stacked else PICTURE


def two_splits(ask: Ask) -> tuple[str, list[Record], list[Record], list[str]]:
    """Return the split to fit on, its records, those to evaluate, and the reader's notices; no patient is on both sides.

    Raises ``RunError``: a split is absent, patients stand in both (where no rule that was asked for lets them, which is said), or a number of examples was asked of what takes none.
    """
    assert ask.task is not None
    opened, split, task, request = ask.opened, ask.split, ask.task, ask.request
    source = split_name(opened.card, request.shots_from)
    asked = need_split(opened, split)
    records = list(asked)
    if source == split:
        fit, records = _carve(records, request.seed)
    elif source in opened.splits:
        fit = list(opened[source])
    else:
        raise RunError(
            f"{opened.name}: {task} is fitted on split '{source}', which is absent in {opened.root} (present: "
            f"{', '.join(opened.splits)}). Get it, or carve: shots_from='{split}' (--shots-from {split}) fits on half of the patients of '{split}' "
            "and evaluates the others"
        )
    both = shared_patients(fit, records)
    if both and opened.division is None:
        raise RunError(f"{both} patients stand in both splits; a probe fitted so would leak")
    straddling = (
        f"{both} patients stand in both splits, for the rule {opened.division.name} lets them"
        if both and opened.division
        else ""
    )
    unknown = sum(one.patient is None for one in (*fit, *records)) if source == split else 0
    if request.shots and TASKS[task].rule not in FEW:
        raise RunError(
            f"{task} is fitted on a whole split and takes no number of examples; few-shot does (--task few-shot)"
        )
    apart = (
        f"the halves of '{split}' are drawn by record, for {unknown} of {len(fit) + len(records)} records name no patient: "
        "records of one patient, or copies of one picture, may stand on both sides"
    )  # fmt: skip
    return source, fit, records, [*asked.notices, *([apart] if unknown else []), *([straddling] if straddling else [])]


def classes_of(labels: Sequence[str], every: Sequence[str], opened: Dataset, named: Labels | None = None) -> list[str]:
    """Return the classes of the labels to fit on and of all to evaluate: the card's, where it names them. Raises ``RunError``: one only."""
    known = set(labels) | set(every)
    stated = next(
        (space.classes for space in ([named] if named else opened.card.labels) if set(space.classes) >= known), None
    )
    if len(set(labels)) < 2:
        raise RunError(f"{opened.name}: the split to fit on has one class only, two are needed")
    return list(stated) if stated else sorted(known)


def _carve(records: list[Record], seed: int) -> tuple[list[Record], list[Record]]:
    patients = list(dict.fromkeys(map(unit_of, records)))
    order = np.random.default_rng(seed).permutation(len(patients))
    chosen = {patients[i] for i in order[: len(patients) // 2]}
    return [r for r in records if unit_of(r) in chosen], [r for r in records if unit_of(r) not in chosen]


def shared_patients(fit: Sequence[Record], records: Sequence[Record]) -> int:
    """Return how many patients have records on both sides."""
    return len(
        {r.patient for r in fit if r.patient is not None} & {r.patient for r in records if r.patient is not None}
    )

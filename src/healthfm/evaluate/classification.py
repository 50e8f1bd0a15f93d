"""Texts put into classes without training, by the likelihood of words: of the classes' names, or of yes and no for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from healthfm.cards.schema import DatasetCard, Labels
from healthfm.datasets.dataset import Dataset
from healthfm.errors import RunError
from healthfm.evaluate import protocols
from healthfm.evaluate.job import Ask, Job, cut_parts, left_out, need_split, rows_of, sample_columns, subgroup_columns
from healthfm.models.model import Model
from healthfm.records import UNCERTAIN, UNMEASURED, Mark, MultipleChoice, Record
from healthfm.score.tasks import TASKS

YES_NO = ("yes", "no")
HALF = 0.5  # a class is predicted where yes is likelier than no


@dataclass(frozen=True, kw_only=True)
class ScoredClasses(Job):
    """Texts whose classes are scored by likelihood: of their names, or (``several``) of yes and no for each.

    ``prompts``: one a record, or one for each class of a record; ``options``: what is scored behind each.
    """

    prompts: Sequence[str]
    options: Sequence[str]
    words: Sequence[str]
    several: bool

    def compute(self, tool: Model, rows: range) -> pa.Table:
        assert self.classes is not None and self.targets is not None
        part, each = self.records[rows.start : rows.stop], len(self.classes) if self.several else 1
        likely = likelihoods(tool, self.prompts[rows.start * each : rows.stop * each], self.options)
        shares = shares_of(likely)
        scored = {} if self.several else {
            "log_likelihoods": pa.array(likely.tolist(), pa.list_(pa.float64())),
            "option_lengths": pa.array([[len(word) for word in self.words]] * len(part), pa.list_(pa.int64())),
        }  # fmt: skip
        chances = shares[:, 0].reshape(len(part), -1) if self.several else shares
        return pa.table({
            **sample_columns(part, self.targets[rows.start : rows.stop]), **chance_columns(self.classes, chances), **scored,
            "prediction": chosen_column(self.classes, chances, self.several), **rows_of(self.columns, rows),
        })  # fmt: skip


def prepare(ask: Ask) -> Job:
    """Return the job of asking for the class of each text, the likeliest name; or yes or no for each class of several.

    There a class's probability is that of yes against no.
    """
    name, protocol = protocols.choose_protocol(ask.opened.card, ask.protocol, ask.task)
    request, several = ask.request, TASKS[protocol.task].kind == "labels"
    if request.shots or protocol.shots:
        raise RunError(f"{protocol.task} is asked without solved examples")
    split = need_split(ask.opened, ask.split)
    every = list(split)
    space = space_of(ask.opened.card, protocol.label)
    classes = list(space.classes)
    if len(classes) < 2 and not several:
        raise RunError(f"{ask.opened.name}: the card names no classes of '{space.name}' to choose from")
    every, labels, lost = labelled(every, lambda r: labels_of(r, space) if several else label_of(r, ask.opened, space))
    chosen = protocols.sample(len(every), request.limit, request.seed)
    records, targets = [every[i] for i in chosen], [labels[i] for i in chosen]
    words = [protocol.words.get(one, one) for one in classes]
    options = [protocol.delimiter + one for one in (YES_NO if several else words)]
    each = len(classes) if several else 1
    prompts = [
        protocols.render(record, protocol, **({"text": record.as_text} if not hasattr(record, "text") else {}), **more)
        for record in records
        for more in ([{"label": word} for word in words] if several else [{"labels": words}])
    ]
    lengths = [sum(map(len, prompts[i * each : (i + 1) * each])) for i in range(len(records))]
    return ScoredClasses(
        task=protocol.task, name=f"{ask.opened.name}@{name}", records=records, total=len(every), classes=classes,
        prompts=prompts, options=options, words=words, several=several, columns=subgroup_columns(records, request.subgroups),
        every_target=None if several else labels, targets=targets, parts=cut_parts(lengths),
        content=[prompts, options, [[r.id, target] for r, target in zip(records, targets, strict=True)]],
        facts={"protocol": protocol.model_dump(), "notices": [*split.notices, *lost]},
    )  # fmt: skip


def likelihoods(model: Model, prompts: Sequence[str], options: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the summed log-likelihoods of the options behind each prompt, float64 [n, options]."""
    scores = [np.asarray(row, dtype=np.float64) for row in model.score(prompts, [options] * len(prompts))]
    if len(scores) != len(prompts) or any(row.shape != (len(options),) for row in scores):
        raise RunError("the model returned another number of scores than there were options")
    found = np.stack(scores)
    if not np.isfinite(found).all():
        raise RunError(
            f"the model returned NaN or infinite scores for {int((~np.isfinite(found)).any(1).sum())} prompts"
        )
    return found


def shares_of(found: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how options share the likelihood behind each prompt, float64 [n, options], each row summing to 1."""
    odds = np.exp(found - found.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def chance_columns(classes: Sequence[str], chances: npt.NDArray[np.float64]) -> dict[str, pa.Array]:
    """Return the columns ``options`` and ``probabilities`` of chances, float64 [n, classes]."""
    return {
        "options": pa.array([list(classes)] * len(chances), pa.list_(pa.string())),
        "probabilities": pa.array([row.tolist() for row in chances], pa.list_(pa.float64())),
    }


# Labels of records ----------------------------------------------------------------------------------------------------


def chosen_column(classes: Sequence[str], chances: Any, several: bool) -> pa.Array:
    """Return what is predicted by chances [rows, classes]: the likeliest class, or (``several``) all that are likelier than not."""
    found = [
        [c for c, p in zip(classes, row, strict=True) if p > HALF] if several else classes[int(row.argmax())]
        for row in chances
    ]
    return pa.array(found, pa.list_(pa.string()) if several else pa.string())


def space_of(card: DatasetCard, name: str | None) -> Labels:
    """Return the label space of this name, or the card's first. Raises ``RunError`` that lists the names."""
    found = next((space for space in card.labels if name in (None, space.name)), None)
    if found is None:
        names = ", ".join(space.name for space in card.labels) or "none"
        raise RunError(f"{card.slug}: its card has no label space{f' {name}' if name else ''} (label spaces: {names})")
    return found


SEVERAL = ("multi-label",)
ONE = ("binary", "multi-class", "ordinal")


def fitting_space(opened: Dataset, name: str | None, kinds: Sequence[str]) -> Labels | None:
    """Return the label space of this name; without one the card's first of these kinds, else None.

    Raises ``RunError``: no such label space, or one of another kind.
    """
    if name is None:
        return next((space for space in opened.card.labels if space.kind in kinds), None)
    space = space_of(opened.card, name)
    if space.kind not in kinds:
        others = ", ".join(one.name for one in opened.card.labels if one.kind in kinds) or "none"
        raise RunError(
            f"{opened.name}: '{name}' is {space.kind}, this task is for {' or '.join(kinds)} labels (there are: {others})"
        )
    return space


def labelled(records: Sequence[Record], read: Callable[[Record], Any]) -> tuple[list[Record], list[Any], list[str]]:
    """Return the records that have a label, what ``read`` says it is, and a notice that names the others.

    Raises ``RunError`` where none has one.
    """
    found = [read(record) for record in records]
    lost = [record for record, label in zip(records, found, strict=True) if label is None]
    if records and len(lost) == len(records):
        raise RunError(f"record {records[0].id} has no label, nor has any other of its split, which this task needs")
    kept = [record for record, label in zip(records, found, strict=True) if label is not None]
    return (
        kept,
        [label for label in found if label is not None],
        left_out(lost, "record has no label", "records have no label"),
    )


def label_of(record: Record, opened: Dataset, space: Labels | None = None) -> str | None:
    """Return the class of a record: a question's answer, or its label of a space (the card's first); None where it is missing.

    Raises ``RunError``: several labels.
    """
    label: Any
    if isinstance(record, MultipleChoice) and (space is None or space.name not in record.labels):
        label = protocols.answer_of(record)
    else:
        first = opened.card.labels[0].name if opened.card.labels else next(iter(record.labels), "label")
        label = record.labels.get(space.name if space is not None else first)
    if label is None or isinstance(label, Mark):
        return None
    if isinstance(label, frozenset):
        raise RunError(f"record {record.id} has a set of labels; use a multi-label task")
    return str(label)


def labels_of(record: Record, space: Labels) -> list[str] | None:
    """Return the classes that a record has, in the space's order; None where they are missing.

    Raises ``RunError``: a label that is no set, or strange ones.
    """
    found = record.labels.get(space.name)
    if found is None or isinstance(found, Mark):
        return None
    if not isinstance(found, frozenset):
        raise RunError(f"record {record.id} has no set of labels '{space.name}', which a multi-label task needs")
    if space.classes and found - set(space.classes):
        raise RunError(f"record {record.id} has labels that the card's '{space.name}' does not name")
    return [name for name in space.classes or sorted(found) if name in found]


def open_labels_of(record: Record, space: Labels, opened: Dataset) -> tuple[list[str], list[str]] | None:
    """Return the classes that a record has, and those that its owner leaves open (which have label spaces of their own), in the space's order.

    None where its labels are missing.
    """
    if record.labels.get(space.name) is not UNCERTAIN:
        sure = labels_of(record, space)
        return None if sure is None else (sure, [])
    own = {
        one.name: one.positive or one.classes[-1] for one in opened.card.labels if one.kind == "binary" and one.classes
    }
    if not set(own) & set(space.classes):
        return None
    there = [name for name in space.classes if name in own and record.labels.get(name) == own[name]]
    return there, [name for name in space.classes if name in own and record.labels.get(name) is UNCERTAIN]


def unmeasured(record: Record, space: Labels) -> list[str]:
    """Return the classes of a record that nobody looked for, in the space's order."""
    return [name for name in space.classes if record.labels.get(name) is UNMEASURED]


def number_of(opened: Dataset, name: str | None) -> Callable[[Record], float | None]:
    """Return what reads a record's number: its label of a space (None: the card's first). Raises ``RunError``: the card has none, or it is no number."""
    space = (fitting_space(opened, None, ("number",)) if name is None else None) or space_of(opened.card, name)

    def read(record: Record) -> float | None:
        found = record.labels.get(space.name)
        if found is None or isinstance(found, Mark):
            return None
        if not isinstance(found, float):
            raise RunError(f"record {record.id} has a label '{space.name}' that is no number, which regression needs")
        return found

    return read

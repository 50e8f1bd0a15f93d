"""Pictures put into classes by the names of the classes alone, by a model that has pictures and texts in one space.

The prediction is that of the model's own sentences. Beside it stands what other sentences give (``score.prompts``): each distinct text is
encoded once, and every prompt is a product of matrices.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from healthfm.cards import catalog
from healthfm.cards.schema import Labels, ModelCard, Naming, ZeroShot
from healthfm.datasets.dataset import Dataset
from healthfm.embed import identity
from healthfm.embed.plan import matrix
from healthfm.errors import RunError
from healthfm.evaluate import prompted, prompts, protocols
from healthfm.evaluate.classification import chance_columns, chosen_column, label_of, labelled, labels_of
from healthfm.evaluate.embedded import Embedded, said, settle
from healthfm.evaluate.job import Ask, Finished, Job, cut_parts, need_split, sample_columns, subgroup_columns
from healthfm.evaluate.probes import size_of
from healthfm.evaluate.prompted import Answered, ByPrompt, Scored, Tool
from healthfm.evaluate.prompts import Prompt
from healthfm.models.model import Model
from healthfm.records import Record, Slide, Visual
from healthfm.score import prompts as spread
from healthfm.score.tasks import TASKS

SINGLE, SEVERAL = "zero-shot", "multi-label-zero-shot"  # the tasks: one class a sample, or any of several
KINDS = ("binary", "multi-class", "ordinal", "multi-label")
Floats = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Named(Embedded):
    """Texts, then pictures, in one space. ``rule``: the model's; ``asked_by``: its own prompt; ``drawn``: others; ``nonsense``: of words that mean
    nothing. ``texts``: every sentence of theirs, once, the first of ``inputs``; ``sentences``: where templates come from.
    """

    rule: ZeroShot
    asked_by: Prompt
    drawn: Sequence[Prompt]
    nonsense: Sequence[Prompt]
    texts: Sequence[str]
    sentences: Sequence[str]
    seed: int
    space: Labels | None
    naming: Naming | None
    answered: bool = False

    @property
    def several(self) -> bool:
        """Whether a row may have several classes."""
        return TASKS[self.task].kind == "labels"

    def tool(self, model: Model, settled: Mapping[str, Any] | None) -> Tool:  # type: ignore[override]
        return prompted.tool(model, settled, self._prompts if self.answered else None)

    @property
    def _prompts(self) -> list[Prompt]:
        return list(dict.fromkeys((self.asked_by, *self.drawn, *self.nonsense)))

    def compute(self, tool: Tool, rows: range) -> pa.Table:  # type: ignore[override]
        """Return embeddings, of an ensemble those of its members one behind the other."""
        made = [Embedded.compute(self, one, rows) for one in tool.embedders]
        table = made[0]
        if len(made) > 1:
            both = np.concatenate([matrix(one) for one in made], 1)
            column = table.column_names.index("embedding")
            table = table.set_column(column, "embedding", pa.array(both.tolist(), pa.list_(pa.float32())))
        return settle(tool.embedders[0], table, {"zero_shot": list(tool.spaces)})

    def finish(self, table: pa.Table, settled: Mapping[str, Any]) -> Finished:
        assert self.classes is not None and self.targets is not None
        vectors, count, spaces = matrix(table), len(self.inputs) - len(self.records), settled["zero_shot"]
        scored: ByPrompt
        if self.answered:
            scored = Answered(self._prompts, vectors, spaces[0]["places"], self.several)
        else:
            scored = Scored(self.rule.rule, spaces, self.texts, vectors[:count], vectors[count:], self.several)
        own, seen = scored(self.asked_by), table.slice(count)
        columns = sample_columns(self.records, self.targets, seen["input"].to_pylist())
        whole = self._predicted(columns, own)
        for name, column in self.columns.items():
            whole = whole.append_column(name, column)
        cut = sum(table["cut"].to_pylist())
        how = {
            "zero_shot": self._said(), **said(seen, [record.id for record in self.records]), **({"cut": cut} if cut else {}),
            "arithmetic": settled.get("arithmetic", {}),
        }  # fmt: skip
        return Finished(whole, how, {spread.ROOM: self._spread(scored, own, columns)})

    def _said(self) -> dict[str, Any]:
        """Return how classes were asked for, and who says so."""
        return {
            "rule": self.rule.rule, "templates": [list(one) for one in self.asked_by.templates], "names": list(self.asked_by.names),
            "source": self.rule.source, "named": self.naming.source if self.naming is not None else None, "sentences": list(self.sentences),
        }  # fmt: skip

    def _predicted(self, columns: Mapping[str, pa.Array], shares: Floats) -> pa.Table:
        assert self.classes is not None
        return pa.table({
            **columns, **chance_columns(self.classes, shares), "prediction": chosen_column(self.classes, shares, self.several),
        })  # fmt: skip

    def _spread(self, scored: ByPrompt, own: Floats, columns: Mapping[str, pa.Array]) -> pa.Table:
        """Return the predictions of all drawn prompts together; its metadata have the value of each, and of the controls."""
        metric, truth = spread.NAMES[TASKS[self.task].kind], self._truth()
        random = np.random.default_rng(self.seed)
        shuffled = [spread.value(metric, truth, own[random.permutation(len(own))]) for _ in range(prompts.SHUFFLES)]
        drawn = [spread.value(metric, truth, scored(one)) for one in self.drawn]
        empty = [spread.value(metric, truth, scored(one)) for one in self.nonsense]
        facts = {
            "metric": metric, "texts": len(self.texts), "sentences": list(self.sentences), "shuffled": shuffled, "nonsense": empty,
            "draws": [
                {"templates": list(one.templates[0]), "names": list(one.names), "value": value}
                for one, value in zip(self.drawn, drawn, strict=True)
            ],
        }  # fmt: skip
        together = scored.together(self.drawn) if self.drawn else own
        plain = {name: columns[name] for name in ("id", "target")}
        made = self._predicted(plain, together)
        return made.replace_schema_metadata({spread.FACTS: json.dumps(facts)})

    def _truth(self) -> Floats:
        """Return the number of each row's class [n], or which classes each row has [n, classes]."""
        assert self.classes is not None and self.targets is not None
        if self.several:
            return np.array([[name in one for name in self.classes] for one in self.targets])
        place = {name: i for i, name in enumerate(self.classes)}
        return np.array([place[one] for one in self.targets])


# What is asked --------------------------------------------------------------------------------------------------------


def prepare(ask: Ask) -> Job:
    """Return the job of telling the classes of a split's pictures by their names.

    Classes, names and samples are those of the dataset's card (``Naming``); a label space of several classes a sample makes it
    ``multi-label-zero-shot``. Raises ``RunError``: no pictures, no classes, names or templates that do not fit.
    """
    split = need_split(ask.opened, ask.split)
    return named(ask, list(split), split.notices)


def named(ask: Ask, records: list[Record], notices: Sequence[str]) -> Named:
    """Return the same job of records that were read (see ``prepare``)."""
    opened, request = ask.opened, ask.request
    naming = prompts.naming_of(opened.card, ask.protocol)
    space = _space(opened, naming)
    several = space is not None and space.kind == "multi-label" and not (naming is not None and naming.single)
    if ask.task == SEVERAL and not several:
        raise RunError(f"{opened.name}: its samples have one class each; --task {SINGLE}")
    _refuse_no_pictures(records, opened)
    records, labels, more = labels_for(records, opened, space, naming, several, request.seed)
    notices = [*notices, *more]
    classes = _classes(labels, space, naming, several)
    rule = _rule(ask)
    names, asks = prompts.called(space, classes, naming), prompted.asking(*_model_of(ask))
    if rule.lower_names:
        names = [tuple(dict.fromkeys(one.lower() for one in some)) for some in names]
    fixed = asks is not None and bool(asks.get("entities"))
    if asks is not None and fixed:
        names = prompted.known(names, classes, asks)
    own = prompts.own(rule, names, several and asks is None)
    drawn, empty, sources = [], [], ["the queries that the model was trained with"]
    if not fixed:
        pool, sources = prompts.pool(opened.card, rule, naming, several and asks is None)
        drawn = prompts.draws(pool, names, request.seed)
        empty = prompts.nonsense(own.templates, len(classes), request.seed)
    texts = list(dict.fromkeys(text for one in (own, *drawn, *empty) for text in one.texts))
    chosen = protocols.sample(len(records), request.limit, request.seed)
    total, every = len(records), labels
    records, targets = [records[i] for i in chosen], [every[i] for i in chosen]
    identities = identity.of_records(records)
    if all(name.strip().isdigit() for name in own.names):
        notices.append(
            "the classes are called by numbers, of which sentences say nothing: names belong on the card ([[zero_shot]])"
        )
    task = SEVERAL if several else SINGLE
    before = [] if asks is not None else texts
    inputs: list[str | Record] = [*before, *records]
    return Named(
        task=task, name=f"{opened.name}#{task}" + (f"@{naming.name}" if naming is not None and naming.name else ""), records=records, total=total,
        classes=classes, every_target=None if several else every, targets=targets, rule=rule, asked_by=own, drawn=drawn, nonsense=empty, texts=texts,
        sentences=sources, seed=request.seed, space=space, naming=naming, inputs=inputs, sources=[*([""] * len(before)), *identities],
        parts=cut_parts([size_of(one) for one in inputs]), columns=subgroup_columns(records, request.subgroups),
        content=[texts, rule.rule, [own.kinds, *(one.kinds for one in drawn)], [[r.id, source, label] for r, source, label in zip(records, identities, targets, strict=True)]],
        answered=asks is not None, asked={"rule": rule.rule}, facts={"notices": notices},
    )  # fmt: skip


def _rule(ask: Ask) -> ZeroShot:
    """Return the model's own rule and sentences: a loaded model's, else its card's, else each class's name by softmax."""
    from healthfm.models.model import Model

    named = ask.request.model
    if isinstance(named, Model):
        told = getattr(named, "rule", None) or next((one.rule for one in getattr(named, "members", ())), None)
        return told if isinstance(told, ZeroShot) else ZeroShot()
    _, variant = _model_of(ask)
    run = ask.card.runner(variant) if ask.card.run is not None else None
    return (run.zero_shot if run is not None else None) or ZeroShot()


def _model_of(ask: Ask) -> tuple[ModelCard, str | None]:
    """Return the card and the variant that are asked."""
    named = ask.request.model
    if not isinstance(named, str):
        return ask.card, named.variant
    return ask.card, catalog.split_name(named)[1] if ask.card.slug in named else None


def _space(opened: Dataset, naming: Naming | None) -> Labels | None:
    """Return the label space whose classes are told apart; None where the card declares none."""
    spaces = opened.card.labels
    if naming is not None:
        return next(one for one in spaces if one.name == naming.label)
    return next((one for one in spaces if one.kind in KINDS), None)


def _refuse_no_pictures(records: Sequence[Record], opened: Dataset) -> None:
    kind = type(records[0]) if records else Visual
    if not issubclass(kind, Visual):
        raise RunError(f"{opened.name}: {SINGLE} is for pictures, these are {kind.__name__} records")
    if issubclass(kind, Slide):
        raise RunError(
            f"{opened.name}: a slide is a bag of tiles, which {SINGLE} does not take: --task mil, or a folder of its tiles"
        )


def labels_for(
    records: Sequence[Record], opened: Dataset, space: Labels | None, naming: Naming | None, several: bool, seed: int
) -> tuple[list[Record], list[Any], list[str]]:  # fmt: skip
    """Return the records that are asked about, what is right for each, and notices of those that are not."""
    if naming is None or not (naming.single or naming.where or naming.each or naming.classes):
        read = (
            (lambda r: labels_of(r, space)) if several and space is not None else (lambda r: label_of(r, opened, space))
        )
        return labelled(records, read)
    assert space is not None
    kept, labels = [], []
    for record in records:
        label = right(record, opened, space, naming, several)
        if label is not None:
            kept.append(record)
            labels.append(label)
    if not kept:
        raise RunError(f"{opened.name}: no record of the split is one that {_told(naming)} takes")
    if naming.each is not None:
        order, count = np.random.default_rng(seed).permutation(len(kept)), dict.fromkeys(map(str, labels), 0)
        chosen = []
        for i in order:
            count[labels[i]] += 1
            if count[labels[i]] <= naming.each:
                chosen.append(int(i))
        kept, labels = [kept[i] for i in sorted(chosen)], [labels[i] for i in sorted(chosen)]
    return kept, labels, [f"{_told(naming)} takes {len(kept)} of {len(records):,} records ({naming.source})"]


def _told(naming: Naming) -> str:
    return f"@{naming.name}" if naming.name else f"the naming of '{naming.label}'"


def right(record: Record, opened: Dataset, space: Labels | None, naming: Naming | None, several: bool) -> Any:
    """Return what is right for a record, its class or the list of them; None where that is not known or not asked for."""
    if naming is not None and any(str(record.meta.get(name)) != value for name, value in naming.where.items()):
        return None
    if space is None or not (several or space.kind == "multi-label"):
        found = label_of(record, opened, space)
        return found if naming is None or not naming.classes or found in naming.classes else None
    held = labels_of(record, space)
    if held is None or naming is None:
        return held
    asked = naming.classes or space.classes
    if not naming.single:
        return [one for one in held if one in asked]
    alone = [one for one in held if one not in naming.besides]
    return alone[0] if len(alone) == 1 and alone[0] in asked else None


def _classes(labels: Sequence[Any], space: Labels | None, naming: Naming | None, several: bool) -> list[str]:
    """Return the classes that are told apart, in the card's order. Raises ``RunError``: fewer than two."""
    found = (
        list(naming.classes)
        if naming is not None and naming.classes
        else list(space.classes)
        if space is not None
        else []
    )
    found = found or sorted({one for label in labels for one in (label if several else [label])})
    if len(found) < (1 if several else 2):
        raise RunError(f"zero-shot needs classes to tell apart, and there is {found[0] if found else 'none'} alone")
    return found

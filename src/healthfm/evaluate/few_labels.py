"""Pictures put into classes by the classes' names and a few labelled examples: CLIP-Adapter and prompt tuning, beside zero-shot and a probe.

Only the examples that some draw takes are embedded. What every number of labels gives stands beside the predictions (``score.few_labels``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.preprocessing import StandardScaler

from healthfm.adapt import probe
from healthfm.adapt.few_shot import PENALTY, draw
from healthfm.embed import identity
from healthfm.embed.plan import matrix
from healthfm.errors import RunError
from healthfm.evaluate import zero_shot
from healthfm.evaluate.embedded import said
from healthfm.evaluate.job import Ask, Finished, Job, cut_parts, sample_columns
from healthfm.evaluate.probes import NEEDS_SHOTS, refuse_few, size_of, two_splits
from healthfm.evaluate.prompted import Scored, Tool
from healthfm.evaluate.prompts import Prompt
from healthfm.evaluate.zero_shot import Floats, Named
from healthfm.records import Record, unit_of
from healthfm.score import few_labels, learning
from healthfm.score.tasks import TASKS

DRAWS = {"adapter": 10, "prompts": 3}  # of the examples; a prompt's steps run the text tower
CALLED = {"adapter": "CLIP-Adapter", "prompts": "tuned prompt"}
Learn = Callable[
    [int, Prompt, Floats, Sequence[int], Floats], Floats
]  # member, prompt, examples, their classes, samples


@dataclass(frozen=True, kw_only=True)
class Few(Named):
    """Texts, then examples ``fit_on`` with their ``labels``, then samples. ``by``: what is fitted (``Task.rule``); ``examples``: those of
    each draw, by class, [draws, classes, shots] places in ``fit_on``: those of fewer come first.
    """

    by: str
    fit_on: Sequence[Record]
    labels: Sequence[str]
    examples: npt.NDArray[np.int64]

    @property
    def asks_again(self) -> bool:
        return self.by == "prompts"

    def finish(self, table: pa.Table, settled: Mapping[str, Any]) -> Finished:
        return self._learned(table, settled, self._adapter(matrix(table)[: len(self.texts)], settled["zero_shot"]))

    def finish_with(self, tool: Tool, table: pa.Table, settled: Mapping[str, Any]) -> Finished:
        from healthfm.adapt.tuning import tuned
        from healthfm.models.joint.contexts import Contexts

        templates = [one[0] for one in self.asked_by.templates]
        made = {one.names: [Contexts(member, one.names, templates) for member in tool.members] for one in self._asked}

        def learn(number: int, prompt: Prompt, x: Floats, y: Sequence[int], z: Floats) -> Floats:
            context = made[prompt.names][number]
            return tuned(context, context.shape, x, y, z, settled["zero_shot"][number]["scale"])

        return self._learned(table, settled, learn, tuned_from=made[self.asked_by.names][0].template)

    @property
    def _asked(self) -> tuple[Prompt, Prompt]:
        """The model's own prompt, and the same of words that mean nothing."""
        return self.asked_by, self.nonsense[0]

    def _adapter(self, texts: Floats, spaces: Sequence[Mapping[str, Any]]) -> Learn:
        from healthfm.adapt.adapter import adapted
        from healthfm.models.joint import zero_shot as joint

        place, size = {text: i for i, text in enumerate(self.texts)}, texts.shape[1] // len(spaces)

        def learn(number: int, prompt: Prompt, x: Floats, y: Sequence[int], z: Floats) -> Floats:
            own = texts[:, number * size : (number + 1) * size]
            known = {text: own[i] / np.linalg.norm(own[i]) for text, i in place.items()}
            means = joint.means(known, prompt.kinds, True)
            classes = means[0] if len(means) == 1 else means[0] - means[1]  # what is there against what is not
            return adapted(x, y, z, classes, spaces[number]["scale"], self.seed)

        return learn

    def _learned(self, table: pa.Table, settled: Mapping[str, Any], learn: Learn, **more: Any) -> Finished:
        """Return the predictions by all draws at all sizes."""
        assert self.classes is not None and self.targets is not None
        spaces, vectors = settled["zero_shot"], matrix(table)
        ends = np.cumsum([len(self.texts), len(self.fit_on)])
        texts, train, test = np.split(vectors, ends)
        place = {name: i for i, name in enumerate(self.classes)}
        y, truth = np.array([place[one] for one in self.labels]), self._truth()
        zero = Scored(self.rule.rule, spaces, self.texts, texts, test, False)(self.asked_by)

        def fitted(prompt: Prompt, rows: npt.NDArray[np.int64]) -> Floats:
            parts = [np.split(one, len(spaces), 1) for one in (train[rows], test)]
            every = [learn(i, prompt, x, y[rows].tolist(), z) for i, (x, z) in enumerate(zip(*parts, strict=True))]
            return np.asarray(np.mean(every, 0))

        def right(shares: Floats) -> float:
            return float((shares.argmax(1) == truth).mean())

        points, shares = [], list[Floats]()
        for size in few_labels.sizes(self.examples.shape[2]):
            taken = [one[:, :size].ravel() for one in self.examples]
            probed = partial(_probed, train, y, test, len(self.classes))
            shares = [fitted(self.asked_by, rows) for rows in taken]
            points += [
                {"by": few_labels.PROBE, "shots": size, "draws": [right(probed(rows)) for rows in taken]},
                {"by": CALLED[self.by], "shots": size, "draws": [right(one) for one in shares]},
            ]
        random = np.random.default_rng(self.seed)
        facts = {
            "by": CALLED[self.by], "points": points, "nonsense": [right(fitted(self._asked[1], rows)) for rows in taken],
            "shuffled": [right(one[random.permutation(len(one))]) for one in shares],
        }  # fmt: skip
        accuracy = np.array(points[-1]["draws"])
        balanced = [np.mean([(one.argmax(1) == truth)[truth == c].mean() for c in np.unique(truth)]) for one in shares]
        shown = int(np.argmin(np.abs(accuracy - accuracy.mean())))
        seen = table.slice(len(self.texts))
        common = sample_columns(self.records, self.targets, seen["input"].to_pylist()[len(self.fit_on) :])
        whole = self._predicted(common, shares[shown])
        for name, column in self.columns.items():
            whole = whole.append_column(name, column)
        classes, shots = self.examples.shape[1:]
        ids = [one.id for one in (*self.fit_on, *self.records)]
        how = {
            "probe": CALLED[self.by], "shots_per_class": shots, "draws": len(shares), "fitted_on": shots * classes, "shown_draw": shown,
            "accuracy_over_draws": few_labels.over(accuracy), "balanced_accuracy_over_draws": few_labels.over(balanced),
            "zero_shot": self._said(), **said(seen, ids), **more, "arithmetic": settled.get("arithmetic", {}),
        }  # fmt: skip
        plain = self._predicted(common, zero).replace_schema_metadata({few_labels.FACTS: json.dumps(facts)})
        draws = learning.stack({i: self._predicted(common, one) for i, one in enumerate(shares)}, learning.DRAW)
        return Finished(whole, how, {few_labels.ROOM: plain, learning.DRAWS: draws})


def _probed(
    train: Floats, y: npt.NDArray[np.int64], test: Floats, classes: int, rows: npt.NDArray[np.int64]
) -> Floats:  # fmt: skip
    """Return class probabilities by a logistic regression on a draw's examples, as ``few-shot`` fits it."""
    scaler = StandardScaler().fit(train[rows])
    made = probe.fit_penalised(scaler.transform(train[rows]), y[rows], PENALTY)
    found = np.zeros((len(test), classes))
    found[:, made.classes_] = made.predict_proba(scaler.transform(test))
    return found


def prepare(ask: Ask) -> Job:
    """Return the job of fitting on a few examples a class of ``shots_from``, at each number of them up to ``shots``.

    Classes, names and samples are those of ``zero-shot``. Raises ``RunError``: see there; no ``shots``, or a class that has fewer examples.
    """
    assert ask.task is not None
    shots, seed = ask.request.shots, ask.request.seed
    if not shots:
        raise RunError(NEEDS_SHOTS.format(ask.task))
    source, fit, records, notices = two_splits(ask)
    base = zero_shot.named(replace(ask, task=zero_shot.SINGLE), records, notices)
    if base.answered:
        raise RunError(
            f"{ask.card.slug} asks pictures by texts, which {ask.task} does not change: --task few-shot fits on its vectors"
        )
    if base.several or base.classes is None:
        raise RunError(f"{ask.opened.name}: {ask.task} puts a sample into one class, and these may have several")
    fit, labels, unfit = zero_shot.labels_for(fit, ask.opened, base.space, base.naming, False, seed)
    known = [i for i, one in enumerate(labels) if one in base.classes]
    fit, labels = [fit[i] for i in known], [labels[i] for i in known]
    if len(set(labels)) < 2:
        raise RunError(f"{ask.opened.name}: the split to fit on has one class only, two are needed")
    refuse_few(labels, shots)
    by = TASKS[ask.task].rule
    drawn, used = _draws(labels, list(map(unit_of, fit)), base.classes, shots, seed, DRAWS[by])
    fit, labels = [fit[i] for i in used], [labels[i] for i in used]
    texts = list(dict.fromkeys(text for one in (base.asked_by, base.nonsense[0]) for text in one.texts))
    inputs: list[str | Record] = [*texts, *fit, *base.records]
    sources = identity.of_records([*fit, *base.records])
    held = {one.name: getattr(base, one.name) for one in fields(base)}
    return Few(**held | {
        "task": ask.task, "name": base.name.replace(f"#{zero_shot.SINGLE}", f"#{ask.task}"), "by": by, "fit_on": fit, "labels": labels, "examples": drawn,
        "texts": texts, "inputs": inputs, "sources": [*([""] * len(texts)), *sources], "parts": cut_parts([size_of(one) for one in inputs]),
        "content": [base.content, texts, [[one.id, label] for one, label in zip(fit, labels, strict=True)], sources[: len(fit)], drawn.tolist()],
        "asked": {"fit_on": source, "fitted_on": len(fit), "shots": shots, **base.asked}, "facts": {"notices": [*base.facts["notices"], *(f"to fit on: {one}" for one in unfit)]},
    })  # fmt: skip


def _draws(
    labels: Sequence[str], groups: Sequence[str], classes: Sequence[str], shots: int, seed: int, count: int
) -> tuple[npt.NDArray[np.int64], list[int]]:  # fmt: skip
    """Return each draw's examples, [draws, classes that there are, shots], as places among those that any draw takes; and which those are."""
    place = {name: i for i, name in enumerate(classes)}
    y = np.array([place[one] for one in labels])
    drawn = np.stack(
        [draw(y, groups, shots, np.random.default_rng([seed, i]), classes).reshape(-1, shots) for i in range(count)]
    )
    used = np.unique(drawn)
    return np.searchsorted(used, drawn), used.tolist()

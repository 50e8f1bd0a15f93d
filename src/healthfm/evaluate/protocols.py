"""How records and a protocol of a dataset's card become prompts, options and targets, and which records a limit keeps.

A protocol is data (``[protocols.NAME]`` on a dataset card); this module renders it. Nothing here needs the model.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from healthfm.cards import template
from healthfm.cards.schema import DatasetCard, Protocol
from healthfm.errors import RunError
from healthfm.records import Document, MultipleChoice, Record
from healthfm.score.tasks import TASKS

OWN = {  # by task: how it is asked where a card does not say
    task: Protocol(**facts)
    for task, facts in tomllib.loads(
        (resources.files("healthfm.cards") / "protocols.toml").read_text(encoding="utf-8")
    ).items()
}
BETWEEN_SHOTS = "\n\n"
PROMPTED = tuple(name for name, task in TASKS.items() if task.prompted)


@dataclass(frozen=True)
class Item:
    """One question as the model meets it: ``prompt``, and for each option its key and the text that is scored."""

    record: MultipleChoice
    prompt: str
    keys: tuple[str, ...]
    continuations: tuple[str, ...]
    target: str

    @property
    def lengths(self) -> list[int] | None:
        """The characters of each option's text where the texts are what is scored; None where their keys are."""
        texts = tuple(self.record.options.values())
        delimiter = self.continuations[0].removesuffix(texts[0])
        return [len(one) for one in texts] if self.continuations == tuple(delimiter + one for one in texts) else None


def choose_protocol(card: DatasetCard, name: str | None, task: str | None) -> tuple[str, Protocol]:
    """Return the protocol to follow: the one named, else the first for the task, the card's default before others, else healthfm's ``OWN``.

    Raises ``RunError``: no such protocol, or none for the task.
    """
    for one, protocol in card.protocols.items():
        if protocol.task not in PROMPTED:
            raise RunError(
                f"{card.slug}: protocol '{one}' is for the task '{protocol.task}', which no protocol asks (tasks: {', '.join(PROMPTED)})"
            )
    known = f"protocols: {', '.join(f'@{n} ({p.task})' for n, p in card.protocols.items()) or 'none'}"
    if name is not None and name not in card.protocols:
        raise RunError(f"{card.slug} has no protocol '{name}' ({known})")
    if name is not None and task not in (None, card.protocols[name].task):
        raise RunError(f"{card.slug}@{name} is a {card.protocols[name].task} protocol, not {task} ({known})")
    order = [n for n in (name or card.default_protocol, *card.protocols) if n is not None]
    chosen = next((n for n in order if task in (None, card.protocols[n].task)), None)
    if chosen is None and task in OWN:
        return task, OWN[task]
    if chosen is None:
        plain = ", ".join(n for n, one in TASKS.items() if one.way is not None and (not one.prompted or n in OWN))
        wanted = f"no protocol for the task {task}" if task is not None else "no protocol to evaluate by"
        raise RunError(
            f"{card.slug}: {wanted}; its card or dataset.toml may name one ({known}). Tasks that need none: {plain} (--task)"
        )
    return chosen, card.protocols[chosen]


BY_LABEL = {
    "binary": "linear-probe",
    "multi-class": "linear-probe",
    "multi-label": "multi-label-probe",
    "number": "regression-probe",
}
PROBED = ("Molecule", "Signal", "Profile", "Sequence")  # records that nobody can be asked about in words


def unasked(card: DatasetCard, label: str | None = None) -> str | None:
    """Return the task of records that no protocol asks about, by the kind of a label space (None: the first); None: a protocol is needed."""
    found = next((one for one in card.labels if label in (None, one.name)), None)
    return None if found is None or card.protocols or card.record not in PROBED else BY_LABEL.get(found.kind)


def answer_of(record: Record) -> str | None:
    """Return a question's answer as text (several keys joined by "|"), or None where it is withheld."""
    answer = getattr(record, "answer", None)
    return "|".join(sorted(answer)) if isinstance(answer, tuple) else answer


def render(record: Record, protocol: Protocol, **more: Any) -> str:
    """Return a record's prompt, without its answer. ``more`` are values beside the record's own (a class's ``label``)."""
    values = {
        name: getattr(record, name)
        for name in ("question", "options", "context", "text", "query", "a", "b")
        if hasattr(record, name)
    }
    if isinstance(record, Document):  # a turn: what was said before it, and by whom it is said
        values |= {name: record.meta[name] for name in ("context", "speaker") if name in record.meta}
    if protocol.context == "long-answer":
        values["context"] = str(record.meta.get("long_answer") or "")
        if not values["context"]:
            raise RunError(f"record {record.id} has no long answer, which this protocol gives as context")
    return template.fill("the protocol's template", protocol.template, {**values, **more})


def continuations(record: MultipleChoice, protocol: Protocol) -> tuple[str, ...]:
    """Return what is scored for each option: its key, or its text, behind the protocol's delimiter."""
    shown = record.options.values() if protocol.options == "text" else record.options
    return tuple(protocol.delimiter + one for one in shown)


def shot_block(shots: Sequence[MultipleChoice], protocol: Protocol) -> str:
    """Return solved examples as they stand before every question ("" for none)."""
    solved = []
    for shot in shots:
        answer = answer_of(shot)
        if answer is None or answer not in shot.options:
            raise RunError(f"record {shot.id} has no single answer and cannot serve as an example")
        solved.append(
            render(shot, protocol) + continuations(shot, protocol)[list(shot.options).index(answer)] + BETWEEN_SHOTS
        )
    return "".join(solved)


def make_items(records: Sequence[Record], protocol: Protocol, shots: Sequence[MultipleChoice] = ()) -> list[Item]:
    """Return the items of a run. Raises ``RunError`` when records are not questions or withhold their answers."""
    before = shot_block(shots, protocol)
    items = []
    for record in records:
        if not isinstance(record, MultipleChoice):
            raise RunError(f"the task {protocol.task} needs MultipleChoice records, these are {type(record).__name__}")
        target = answer_of(record)
        if target is None:
            raise RunError(f"record {record.id} withholds its answer: this split cannot be scored; use another split")
        if target not in record.options:
            raise RunError(f"record {record.id} has no single answer, which the task {protocol.task} needs")
        items.append(
            Item(
                record,
                before + render(record, protocol),
                tuple(record.options),
                continuations(record, protocol),
                target,
            )
        )
    return items


def sample(n: int, limit: int | None, seed: int) -> list[int]:
    """Return which of ``n`` records a limit keeps, in their own order: a seeded sample, nested as the limit grows."""
    if limit is None or limit >= n:
        return list(range(n))
    if limit < 1:
        raise RunError(f"limit is {limit}; it must be at least 1")
    return sorted(order(n, seed)[:limit])


def order(n: int, seed: int) -> list[int]:
    """Return the seeded order of ``n`` records in which samples are drawn."""
    drawn: list[int] = np.random.default_rng(seed).permutation(n).tolist()
    return drawn

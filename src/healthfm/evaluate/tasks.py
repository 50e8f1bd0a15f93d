"""What is asked of a model: records and a protocol of the card become prompts, options and targets.

A protocol is data (``[protocols.NAME]`` on a dataset card); this module renders it. Nothing here needs the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from healthfm.cards.schema import DatasetCard, Protocol
from healthfm.errors import RunError
from healthfm.records import MultipleChoice, Record

BETWEEN_SHOTS = "\n\n"
_JINJA = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)


@dataclass(frozen=True)
class Item:
    """One question as the model meets it: ``prompt``, and for each option its key and the text that is scored."""

    record: MultipleChoice
    prompt: str
    keys: tuple[str, ...]
    continuations: tuple[str, ...]
    target: str


def choose_protocol(card: DatasetCard, name: str | None, task: str | None) -> tuple[str, Protocol]:
    """Return the protocol to follow: the one named, else the card's default. Raises ``RunError`` when there is none."""
    chosen = name or card.default_protocol
    if name is not None and name not in card.protocols:
        raise RunError(f"{card.slug} has no protocol '{name}' (protocols: {', '.join(card.protocols) or 'none'})")
    if chosen is None or chosen not in card.protocols:
        raise RunError(
            f"{card.slug}: no protocol to evaluate by; its card or dataset.toml must name one ({', '.join(card.protocols) or 'none'})"
        )
    protocol = card.protocols[chosen]
    if task is not None and task != protocol.task:
        fitting = [n for n, p in card.protocols.items() if p.task == task]
        raise RunError(
            f"{card.slug}@{chosen} is a {protocol.task} protocol, not {task}"
            + (f"; use @{fitting[0]}" if fitting else "")
        )
    return chosen, protocol


def answer_of(record: Record) -> str | None:
    """Return a question's answer as text (several keys joined by "|"), or None where it is withheld."""
    answer = getattr(record, "answer", None)
    return "|".join(sorted(answer)) if isinstance(answer, tuple) else answer


def render(record: MultipleChoice, protocol: Protocol) -> str:
    """Return a question's prompt, without its answer."""
    context = record.context
    if protocol.context == "long-answer":
        context = str(record.meta.get("long_answer") or "")
        if not context:
            raise RunError(f"record {record.id} has no long answer, which this protocol gives as context")
    try:
        return _JINJA.from_string(protocol.template).render(
            question=record.question, context=context, options=record.options
        )
    except TemplateError as error:
        raise RunError(f"the protocol's template cannot be rendered: {type(error).__name__}: {error}") from None
    except (TypeError, ValueError, ArithmeticError) as error:  # their messages can repeat a question
        raise RunError(f"the protocol's template cannot be rendered: {type(error).__name__}") from None


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
    order: list[int] = np.random.default_rng(seed).permutation(n)[:limit].tolist()
    return sorted(order)

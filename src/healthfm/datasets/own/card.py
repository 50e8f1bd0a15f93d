"""The card of a user's own data: nothing of it may be shared or sent out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from healthfm.cards.schema import DatasetCard, Labels, Protocol
from healthfm.datasets.media import MODALITIES

PASSAGE = "{% if context %}{{ context }}\n{% endif %}"
PROMPTED = (
    PASSAGE
    + "Question: {{ question }}\n{% for key, text in options.items() %}{{ key }}. {{ text }}\n{% endfor %}Answer:"
)
ANSWERED = PASSAGE + "Question: {{ question }}\nAnswer:"
CHOSEN = PASSAGE + "Question: {{ question }}\nAnswer with {{ options.values() | join(' or ') }}.\nAnswer:"
ANSWER = "answer"  # the label space that holds the answers of questions without options of their own
CLASSIFIED = "Text: {{ text }}\nQuestion: Which of these is it: {{ labels | join(', ') }}?\nAnswer:"


class Manifest(BaseModel):
    """A ``dataset.toml``: which record, which manifest file a split (or one with a split column), which columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    summary: str = "The user's own data."
    record: Literal["Document", "QA", "MultipleChoice", "Image", "Volume", "Slide", "Video"] | None = None
    files: Mapping[str, str] = Field(default_factory=dict)
    columns: Mapping[str, Any] = Field(default_factory=dict)
    labels: tuple[Labels, ...] = ()
    protocols: Mapping[str, Protocol] = Field(default_factory=dict)
    default_protocol: str | None = None


def told(error: ValidationError) -> str:
    """Say what a ``dataset.toml`` has wrong, field by field."""
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'dataset.toml'}: {e['msg'].removeprefix('Value error, ')}"
        for e in error.errors(include_url=False, include_input=False)
    )


def own_card(
    name: str, record: str, splits: tuple[str, ...], manifest: Manifest, closed: bool = False, guessed: tuple[Labels, ...] = ()
) -> DatasetCard:  # fmt: skip
    """Return the card of own data with these records and splits. ``closed``: the questions share their answers; ``guessed``: label spaces
    that nobody declared.
    """
    protocols, default, labels = manifest.protocols, manifest.default_protocol, (*manifest.labels, *guessed)
    if not protocols:
        protocols = _default_protocols(record, labels, closed)
        default = next(iter(protocols), default)
    return DatasetCard(
        slug=re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "own", name=manifest.name or name, summary=manifest.summary,
        group="own", modalities=(MODALITIES.get(record, "text"),), record=record, owner="the user", access="own",
        shareable_inputs=False, shareable_outputs=False, remote_ok=False, splits={s: s for s in splits},
        labels=labels, protocols=protocols, default_protocol=default,
    )  # fmt: skip


def stated_card(card: DatasetCard, manifest: Manifest) -> DatasetCard:
    """Return the card of own data without what healthfm guessed: a run's request goes by it, so that a better guess is no other request."""
    if manifest.protocols:
        return card.model_copy(update={"labels": manifest.labels})
    first = dict(list(_default_protocols(card.record, manifest.labels, False).items())[:1])
    default = next(iter(first), manifest.default_protocol)
    return card.model_copy(update={"labels": manifest.labels, "protocols": first, "default_protocol": default})


def _default_protocols(record: str, labels: tuple[Labels, ...], closed: bool) -> Mapping[str, Protocol]:
    """Return the protocols by which own records are asked where their owner says no other, the default first."""
    if record == "MultipleChoice" and closed:
        return {
            "closed": Protocol(
                summary="The answers there are stand in the prompt; each is scored.", task="closed-answer",
                template=CHOSEN, follows="healthfm's default for own questions",
            ),
            "closed-written": Protocol(
                summary="The answers there are stand in the prompt; the model writes, and its answer is read.", task="closed-answer-generated",
                template=CHOSEN, follows="healthfm's default for own questions",
            ),
            "answer": FREE,
        }  # fmt: skip
    if record == "MultipleChoice":
        return {"letters": LETTERS, "letters-written": LETTERS.model_copy(update={
            "summary": "The options are listed in the prompt; the model writes, and its answer is read.", "task": "multiple-choice-generated",
        })}  # fmt: skip
    if record == "QA":
        return {"answer": FREE}
    if record == "Document" and labels and labels[0].kind in ("binary", "multi-class", "ordinal"):
        return {
            "names": Protocol(
                summary="The classes are listed in the prompt; the name of each is scored.", task="text-classification",
                template=CLASSIFIED, follows="healthfm's default for own texts",
            )
        }  # fmt: skip
    return {}


LETTERS = Protocol(
    summary="The options are listed in the prompt; the letter is scored.", task="multiple-choice",
    options="letters", template=PROMPTED, follows="healthfm's default for own questions",
)  # fmt: skip
FREE = Protocol(
    summary="The question is asked as it stands; the answer is free text.", task="free-text",
    template=ANSWERED, follows="healthfm's default for own questions",
)  # fmt: skip

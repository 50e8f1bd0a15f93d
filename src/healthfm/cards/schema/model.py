"""What the card of a model may say."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from healthfm.cards.schema.common import Card, Checked, Facts, Slug, Template, Text, Variant
from healthfm.cards.schema.runner import Runner


class Result(Facts):
    """A published number, as printed by its source (``unit`` says whether it is a percentage)."""

    dataset: Text
    metric: Text
    value: float
    unit: Literal["%", ""] = ""
    variant: Text | None = None
    protocol: Text | None = None
    source: Text
    checked: Checked = "unverified"


class Exposure(Facts):
    """Data a model was trained on. ``dataset`` is the slug where the data is a row; ``splits`` when only some were used."""

    dataset: Slug | None = None
    name: Text
    stage: Literal["pretraining", "fine-tuning", "both"] = "pretraining"
    splits: tuple[str, ...] = ()
    size: Text | None = None
    source: Text
    checked: Checked = "unverified"


class Weights(Facts):
    """One published checkpoint: where it is, in which file format, how it may be had.

    ``part``: the part of [run.parts] that it holds, where each has files of its own.
    """

    variant: Text | None = None
    source: Text
    hub: Text | None = None
    package: Text | None = None
    files: tuple[str, ...] = ()
    format: Text
    access: Literal["open", "gated", "credentialed", "drive", "closed", "unreleased"]
    licence: Text | None = None
    digest: Text | None = None
    note: Text | None = None
    checked: Checked = "unverified"
    part: Text | None = None

    @model_serializer(mode="wrap")
    def _without_no_part(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if name != "part" or value is not None}


class Decoding(Facts):
    """How the owner's code generates; what it leaves to its library is absent. ``max_input_tokens`` keeps the last ones.

    ``temperature`` only where the owner's code draws; ``min_length`` counts the prompt's tokens too; ``early_stopping``: beams
    end as soon as there are as many finished texts.
    """

    max_new_tokens: int | None = None
    min_new_tokens: int | None = None
    min_length: int | None = None
    max_input_tokens: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    beams: int | None = None
    early_stopping: bool | None = None


class Prompt(Facts):
    """The owner's prompt: a Jinja template, how text becomes token ids, where generation stops, and where all was read.

    ``tokens``: "as tokenizer" (with the special tokens the tokenizer adds), "bare" (without them), or "parts" (cut at
    U+001F and encoded part by part, see ``healthfm.models.language.prompts``).
    ``after``: the answer is what stands behind the last of these; ``trim``: white space at its ends is dropped.
    ``default``: the form a chat takes where the tokenizer has no chat template. ``parser`` names the rule of
    ``healthfm.evaluate.parsers`` that reads the answer.
    """

    template: Template
    tokens: Literal["as tokenizer", "bare", "parts"] = "as tokenizer"
    stop: tuple[str, ...] = ()
    after: Template | None = None
    trim: bool = False
    default: bool = False
    parser: Text | None = None
    decode: Decoding = Decoding()
    note: Text | None = None
    source: Text
    checked: Checked = "unverified"


class Recipe(Facts):
    """How ``healthfm verify`` measures a published number again.

    It repeats the one entry of [[results]] with this data, ``metric`` and ``variant``. ``dataset`` is
    ``slug[:variant][@protocol]``; ``follows`` says why that protocol is the publisher's. ``tolerance`` (a fraction of 1) is the
    difference that precision and versions explain, where the measured interval is narrower.
    """

    dataset: Text
    metric: Text = "accuracy"
    variant: Text | None = None
    split: Text = "test"
    shots: int = 0
    tolerance: float = Field(ge=0, le=0.05)
    follows: Text
    checked: Checked = "unverified"

    @property
    def data(self) -> str:
        """The dataset's slug."""
        return self.dataset.partition("@")[0].partition(":")[0]


class ModelCard(Card):
    """A healthcare foundation model. ``keys_from``: whose key names and sizes the evidence holds, where they are not its owners' own."""

    kind: Literal["model"] = "model"
    group: Literal["language", "vision", "vision-language", "protein-molecule", "genome", "eeg", "general"]
    access: Literal["open", "gated", "credentialed", "drive", "closed", "unreleased"]
    architecture: Text
    keys_from: Text | None = None
    base: tuple[Text, ...] = ()
    base_models: tuple[Slug, ...] = ()
    parameters: int | None = None
    weights: tuple[Weights, ...] = ()
    trained_on: tuple[Exposure, ...] = ()
    prompts: Mapping[str, Prompt] = Field(default_factory=dict)
    results: tuple[Result, ...] = ()
    run: Runner | None = None
    verify: tuple[Recipe, ...] = ()

    @property
    def has_runner(self) -> bool:
        """Whether healthfm can run this row from its card."""
        return self.run is not None

    @model_validator(mode="after")
    def _variants_agree(self) -> ModelCard:
        for part, facts in (("weights", self.weights), ("results", self.results)):
            for fact in facts:
                if fact.variant is not None and fact.variant not in self.variants:
                    raise ValueError(f"{part}: variant '{fact.variant}' is not among [variants]")
        if sum(prompt.default for prompt in self.prompts.values()) > 1:
            raise ValueError("prompts: only one of them can be the default")
        return self

    def runner(self, variant: str | None) -> Runner:
        """Return ``[run]`` as a variant has it, its ``config`` included. Raises ``ValueError``: no runner, or one that does not fit."""
        if self.run is None:
            raise ValueError(f"{self.slug} has no [run]")
        name = variant or self.default_variant or ""
        if name not in self.variants:
            return self.run
        of = (self.run, self.variants[name])
        kept = self.runners.get(name)
        if (
            kept is None or kept[0] is not of[0] or kept[1] is not of[1]
        ):  # a changed copy of a card shares what was kept
            try:
                kept = self.runners[name] = (*of, self.run.under(_layer(of[1])))
            except ValueError as error:
                raise ValueError(f"variants.{name}.run.{error}") from None
        return kept[2]

    @functools.cached_property
    def runners(self) -> dict[str, tuple[Runner, Variant, Runner]]:
        """What ``runner`` made: each variant's [run], after what it was made of. One look at a checkpoint asks every card for all of them."""
        return {}

    @model_validator(mode="after")
    def _variants_run(self) -> ModelCard:
        parts = set(self.run.parts) if self.run is not None else set[str]()
        for name, variant in self.variants.items():
            if variant.run or self.run is not None:
                parts |= set(self.runner(name).parts)
        for weights in self.weights:
            if weights.part is not None and weights.part not in parts:
                raise ValueError(f"weights: part '{weights.part}' is not among [run.parts]")
        return self

    def published(self, recipe: Recipe) -> Result:
        """Return the one result that a recipe repeats. Raises ``ValueError`` when there is none, or several."""
        wanted = (recipe.data, recipe.metric, recipe.variant)
        found = [one for one in self.results if (one.dataset, one.metric, one.variant) == wanted]
        if len(found) != 1:
            raise ValueError(f"verify: {len(found)} results are {', '.join(map(str, wanted))}; a recipe repeats one")
        return found[0]

    @model_validator(mode="after")
    def _recipes_repeat_results(self) -> ModelCard:
        for recipe in self.verify:
            self.published(recipe)
        return self


def _layer(variant: Variant) -> dict[str, Any]:
    """Return what a variant says of ``[run]``. Raises ``ValueError``: a thing said in two places."""
    if "config" in variant.run:
        raise ValueError("config: a variant's numbers stand in its own [config]")
    if variant.architecture is None:
        return {**variant.run, "config": variant.config}
    if "architecture" in variant.run:
        raise ValueError("architecture: it stands beside the variant's summary too")
    return {**variant.run, "architecture": variant.architecture, "config": variant.config}

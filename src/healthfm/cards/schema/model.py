"""What the card of a model may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from healthfm.cards.schema.common import Card, Checked, Facts, Slug, Template, Text, Variant

Side = Annotated[int, Field(gt=0, le=8192)]
NATIVE_FAMILIES = ("causal_lm", "seq2seq")


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
    """One published checkpoint: where it is, in which file format, how it may be had."""

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


class Transform(Facts):
    """How the owner's code makes a picture into pixels. The steps run in this order, on 8 bit RGB; absent ones are left out.

    ``pad``: "square", evenly around the picture, in the colour ``fill``. ``part``: the middle with the shape of ``resize``, so large
    that this share of the shorter side is kept. ``resize``: the shorter side, or (height, width).
    ``crop``: the middle (height, width), or a square of that side. ``grey``: the luminance in all three channels. ``scale``:
    what values are divided by. ``mean`` and ``std``: a number a channel; or ``mean = "image"``: every picture's own, a channel.
    ``window``: the values of a volume's voxels that become black and white in its slices. ``volumes``: each slice is a grey
    picture ("slices"), or one whose channels are the slice below, itself and the slice above ("2.5d").
    """

    window: tuple[float, float] | None = None
    volumes: Literal["slices", "2.5d"] = "slices"
    pad: Literal["square"] | None = None
    fill: tuple[int, int, int] = (0, 0, 0)
    part: float | None = Field(default=None, gt=0, le=1)
    resize: Side | tuple[Side, Side] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "tensorflow-bicubic"] = "bilinear"
    crop: Side | tuple[Side, Side] | None = None
    grey: bool = False
    scale: float = Field(default=255, gt=0)
    mean: tuple[float, float, float] | Literal["image"] | None = None
    std: tuple[float, float, float] | None = None
    micrometres_per_pixel: tuple[float, ...] = ()
    source: Text | None = None
    checked: Checked = "unverified"

    @model_validator(mode="after")
    def _mean_and_std_go_together(self) -> Transform:
        if isinstance(self.mean, tuple) != (self.std is not None):
            raise ValueError("mean and std go together (mean = 'image' stands alone)")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError("window is (black, white), the smaller value first")
        if self.volumes == "2.5d" and self.grey:
            raise ValueError("volumes = '2.5d' needs the channels that grey makes one")
        whole = isinstance(self.resize, tuple)
        if (self.part is not None and not whole) or (
            self.interpolation == "tensorflow-bicubic" and (not whole or self.crop or self.grey)
        ):
            raise ValueError(
                "part and tensorflow-bicubic need resize = [height, width]; the latter is the last step before the mean"
            )
        return self


class Runner(Facts):
    """How a model runs: ``family`` names the module in ``healthfm.models``, ``config`` holds its architecture numbers.

    ``native``: the network is transformers' own class and the published key names are its own, in a family that builds such and reads
    them as they are (``NATIVE_FAMILIES``). ``dialect``: whose key names the checkpoint has. ``state``: the key under which its tensors stand; ``strip``: what comes off the front of key names, in
    this order. ``transform`` and ``pooling``: how pictures go in, and how one vector comes out.
    """

    family: Text
    architecture: Text
    native: bool = False
    dialect: Text | None = None
    state: Text | None = None
    strip: tuple[Text, ...] = ()
    config: Mapping[str, Any] = Field(default_factory=dict)
    ignore_keys: tuple[str, ...] = ()
    transform: Transform | None = None
    pooling: Text | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"

    @model_validator(mode="after")
    def _native_is_plain(self) -> Runner:
        if self.native and (self.family not in NATIVE_FAMILIES or self.dialect or self.state or self.strip):
            raise ValueError(
                f"native is for transformers' own classes under their own key names: families {', '.join(NATIVE_FAMILIES)}, without "
                "dialect, state or strip"
            )
        return self


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
        special = self.variants.get(variant or self.default_variant or "", Variant(summary="the only one"))
        config = {**self.run.config, **special.config}
        return Runner.model_validate({**self.run.model_dump(), **special.run, "config": config})

    @model_validator(mode="after")
    def _variants_run(self) -> ModelCard:
        for name, variant in self.variants.items():
            if variant.run:
                self.runner(name)
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

"""What a card may say. A card is data: one TOML file a row, validated here, with errors that name file and field.

Facts carry where they come from. ``checked`` says how well: ``read`` (seen at the source named), ``run``
(executed by us), ``unverified`` (from memory or second hand: repeat it only with that word beside it).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Template = Annotated[str, StringConstraints(min_length=1)]  # white space counts
Url = Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]
Side = Annotated[int, Field(gt=0, le=8192)]
Checked = Literal["read", "run", "unverified"]
Modality = Literal[
    "text", "image", "volume", "slide", "video", "signal", "sequence", "structure", "molecule",
    "region", "variant", "cells", "profile", "timeline", "trial", "study", "table", "graph",
]  # fmt: skip
NATIVE_FAMILIES = ("causal_lm", "seq2seq")


class Facts(BaseModel):
    """Base of every part of a card: unknown fields are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Listing(Facts):
    """One appearance of the row in a survey list: ``list`` is he-2024 or zhang-2024, ``entry`` its spelling there."""

    list: Literal["he-2024", "zhang-2024"]
    entry: Text
    section: Text
    subfield: Text | None = None


class Paper(Facts):
    """A publication, or the release page where there is none."""

    title: Text
    url: Url | None = None
    year: int | None = None


class Licence(Facts):
    """A licence in SPDX words where one fits; ``covers`` says of what (weights, data, code, a named part)."""

    name: Text
    covers: Text
    checked: Checked = "unverified"
    source: Text | None = None


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


class Link(Facts):
    """A tie between two datasets. ``what`` names the shared part, ``key`` the column or id that joins them."""

    dataset: Slug
    what: Text
    splits: tuple[str, ...] = ()
    key: Text | None = None
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


class Variant(Facts):
    """A named member of a row: a size, a part, a language. ``[config]`` on a model's variant overrides ``[run.config]``.

    ``architecture``: where it is not ``[run]``'s; the variant's ``[config]`` then stands alone. ``[run]`` on a model's variant
    overrides the card's own fields of ``[run]``.
    """

    summary: Text
    parameters: int | None = None
    records: int | None = None
    architecture: Text | None = None
    config: Mapping[str, Any] = Field(default_factory=dict)
    run: Mapping[str, Any] = Field(default_factory=dict)


class Card(Facts):
    """What models and datasets have in common."""

    slug: Slug
    name: Text
    aliases: tuple[str, ...] = ()
    summary: Text
    group: Text
    lists: tuple[Listing, ...] = ()
    modalities: tuple[Modality, ...]
    tasks: tuple[Text, ...] = ()
    languages: tuple[str, ...] = ()
    papers: tuple[Paper, ...] = ()
    homepage: Url | None = None
    code: Url | None = None
    licences: tuple[Licence, ...] = ()
    default_variant: str | None = None
    variants: Mapping[str, Variant] = Field(default_factory=dict)
    corrections: tuple[Text, ...] = ()
    obstacles: tuple[Text, ...] = ()
    unverified: tuple[Text, ...] = ()

    @property
    def listed(self) -> bool:
        """Whether the row stands in one of the two survey lists."""
        return bool(self.lists)

    @model_validator(mode="after")
    def _default_variant_exists(self) -> Card:
        if self.default_variant is not None and self.default_variant not in self.variants:
            raise ValueError(f"default_variant '{self.default_variant}' is not among [variants]")
        if self.variants and self.default_variant is None:
            raise ValueError("a card with [variants] names its default_variant")
        return self


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


class Run(Facts):
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
    def _native_is_plain(self) -> Run:
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
    U+001F and encoded part by part, see ``healthfm.models.prompts``).
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
    run: Run | None = None
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

    def runner(self, variant: str | None) -> Run:
        """Return ``[run]`` as a variant has it, its ``config`` included. Raises ``ValueError``: no runner, or one that does not fit."""
        if self.run is None:
            raise ValueError(f"{self.slug} has no [run]")
        special = self.variants.get(variant or self.default_variant or "", Variant(summary="the only one"))
        config = {**self.run.config, **special.config}
        return Run.model_validate({**self.run.model_dump(), **special.run, "config": config})

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


class OfficialFile(Facts):
    """Official files of one role. ``path`` may use ``{split}`` (the owner's word, see [splits]) and ``*``."""

    role: Text
    path: Text
    variant: Text | None = None
    splits: tuple[str, ...] = ()
    format: Text
    optional: bool = False
    note: Text | None = None


class Labels(Facts):
    """A label space: ``classes`` in the owner's order, each with its raw code where the files use one."""

    name: Text
    kind: Literal["binary", "multi-class", "multi-label", "ordinal", "number", "text", "mask", "boxes"]
    classes: tuple[str, ...] = ()
    codes: Mapping[str, str] = Field(default_factory=dict)
    note: Text | None = None

    @model_validator(mode="after")
    def _two_are_binary(self) -> Labels:
        if self.kind == "binary" and len(self.classes) not in (0, 2):
            raise ValueError(f"labels: '{self.name}' is binary and names {len(self.classes)} classes")
        return self


class Protocol(Facts):
    """A published way to ask the dataset's questions, or healthfm's own where ``follows`` says so.

    ``options``: what is scored for each option (its letter or key, or its text), behind ``delimiter``. Generated answers: ``parser``
    names the rule that reads them, ``stop`` and ``max_new_tokens`` end them. Classification: ``label`` names the label
    space (None: the card's first), ``words`` the classes where the prompt calls them otherwise.
    """

    summary: Text
    task: Literal[
        "multiple-choice", "multiple-choice-generated", "yes-no-maybe", "yes-no-maybe-generated", "free-text",
        "text-classification", "multi-label-classification",
    ]  # fmt: skip
    template: Template
    options: Literal["letters", "keys", "text"] = "keys"
    delimiter: str = " "
    shots: int = 0
    context: Literal["as-read", "long-answer"] = "as-read"
    parser: Text = "stated-answer"
    stop: tuple[str, ...] = ()
    max_new_tokens: int = Field(default=256, ge=1)
    label: Text | None = None
    words: Mapping[str, str] = Field(default_factory=dict)
    follows: Text
    variants: tuple[str, ...] = ()


class DatasetCard(Card):
    """A healthcare dataset or database."""

    kind: Literal["dataset"] = "dataset"
    group: Literal[
        "text", "imaging", "pathology", "signal", "genomics", "drug", "omics", "multi-modal", "ehr", "trial", "own"
    ]
    record: Text
    owner: Text
    access: Literal["open", "registration", "credentialed", "ids-only", "recipe-only", "unclear", "closed", "own"]
    shareable_inputs: bool
    shareable_outputs: bool
    remote_ok: bool
    size: Text | None = None
    files: tuple[OfficialFile, ...] = ()
    splits: Mapping[str, str] = Field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = Field(default_factory=dict)
    labels: tuple[Labels, ...] = ()
    layout_source: tuple[Text, ...] = ()
    layout_checked: Checked = "unverified"
    contains: tuple[Link, ...] = ()
    overlaps: tuple[Link, ...] = ()
    derived_from: tuple[Link, ...] = ()
    check_against: tuple[Text, ...] = ()
    reader: Annotated[str, StringConstraints(pattern=r"^[a-z_]+$")] | None = None
    default_protocol: str | None = None
    protocols: Mapping[str, Protocol] = Field(default_factory=dict)

    @property
    def has_runner(self) -> bool:
        """Whether healthfm has a reader for the official layout."""
        return self.reader is not None

    @model_validator(mode="after")
    def _names_agree(self) -> DatasetCard:
        known = set(self.variants) | {"default"}
        for variant in self.counts:
            if variant not in known:
                raise ValueError(f"counts.{variant}: not among [variants] (use 'default' where there are none)")
        for file in self.files:
            if file.variant is not None and file.variant not in self.variants:
                raise ValueError(f"files: variant '{file.variant}' is not among [variants]")
            unknown = set(file.splits) - set(self.splits)
            if unknown:
                raise ValueError(f"files: {file.path}: splits {sorted(unknown)} are not in [splits]")
        if self.protocols and self.default_protocol not in self.protocols:
            raise ValueError("a card with [protocols] names its default_protocol among them")
        if self.access in {"credentialed", "registration", "own"} and self.remote_ok:
            raise ValueError("remote_ok must be false: credentialed, registration-only and own data stay in the house")
        return self

"""How a model runs: the card's [run], the parts it is made of, and the one merge of what stands over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from healthfm.cards.schema.common import Checked, Facts, Template, Text, in_a_line

Side = Annotated[int, Field(gt=0, le=8192)]
FAMILIES = {  # the words of ``family``, and the module of ``healthfm.models`` that knows each (see ``models.families``)
    "causal_lm": "language.causal_lm",
    "dual_encoder": "joint.pair",
    "hierarchical": "vision.hierarchical",
    "masked_lm": "language.masked_lm",
    "query_decoder": "joint.query_decoder",
    "resnet": "vision.resnet",
    "seq2seq": "language.seq2seq",
    "swin": "vision.swin",
    "transformers": "native",
    "vit": "vision.vit",
}
NATIVE_FAMILIES = ("causal_lm", "seq2seq")


def _known(family: str) -> str:
    if family not in FAMILIES:
        raise ValueError(f"no family '{family}' (families: {', '.join(FAMILIES)})")
    return family


Family = Annotated[Text, AfterValidator(_known)]
LATER = ("fit", "grey_first", "pad_least")  # steps that a transform says only where it has them


class Transform(Facts):
    """How the owner's code makes a picture into pixels. The steps run in this order, on 8 bit RGB; absent ones are left out.

    ``fit``: the picture, its longer side of this many pixels (Lanczos, the other cut to a whole number), in the middle of a square in
    the colour ``fill``. ``grey_first``: the luminance, before all of these. ``pad``: evenly around the picture, in the colour ``fill``:
    "square", to a side of ``pad_least`` at least; or "sides", each side to ``pad_least`` where it is shorter. ``part``: the middle with the
    shape of ``resize``, so large that this share of the shorter side is kept. ``resize``: the shorter side, or (height, width).
    ``crop``: the middle (height, width), or a square of that side. ``grey``: the luminance in all three channels. ``scale``:
    what values are divided by. ``mean`` and ``std``: a number a channel; or ``mean = "image"``: every picture's own, a channel.
    ``window``: the values of a volume's voxels that become black and white in its slices. ``volumes``: each slice is a grey
    picture ("slices"), or one whose channels are the slice below, itself and the slice above ("2.5d").
    """

    window: tuple[float, float] | None = None
    volumes: Literal["slices", "2.5d"] = "slices"
    fit: Side | None = None
    grey_first: bool = False
    pad: Literal["square", "sides"] | None = None
    pad_least: Side | None = None
    fill: tuple[int, int, int] = (0, 0, 0)
    part: float | None = Field(default=None, gt=0, le=1)
    resize: Side | tuple[Side, Side] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "tensorflow-bicubic", "torch-bicubic"] = (
        "bilinear"
    )
    crop: Side | tuple[Side, Side] | None = None
    grey: bool = False
    scale: float = Field(default=255, gt=0)
    mean: tuple[float, float, float] | Literal["image"] | None = None
    std: tuple[float, float, float] | None = None
    micrometres_per_pixel: tuple[float, ...] = ()
    source: Text | None = None
    checked: Checked = "unverified"

    @model_serializer(mode="wrap")
    def _without_no_fit(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A transform without ``fit`` (and later steps) says what it said before there was one: digests of cards rest on it."""
        return {name: value for name, value in handler(self).items() if name not in LATER or value}

    @model_validator(mode="after")
    def _mean_and_std_go_together(self) -> Transform:
        if isinstance(self.mean, tuple) != (self.std is not None):
            raise ValueError("mean and std go together (mean = 'image' stands alone)")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError("window is (black, white), the smaller value first")
        if self.pad_least is None and self.pad == "sides":
            raise ValueError("pad = 'sides' needs pad_least, what sides are padded to")
        if self.volumes == "2.5d" and self.grey:
            raise ValueError("volumes = '2.5d' needs the channels that grey makes one")
        whole = isinstance(self.resize, tuple)
        if (self.part is not None and not whole) or (
            self.interpolation == "tensorflow-bicubic" and (not whole or self.crop or self.grey)
        ):
            raise ValueError(
                "part and tensorflow-bicubic need resize = [height, width]; the latter is the last step before the mean"
            )
        if self.interpolation == "torch-bicubic" and (not whole or self.crop):
            raise ValueError(
                "torch-bicubic needs resize = [height, width] and no crop: it is the last step before the mean"
            )
        return self


class Tokenizer(Facts):
    """How the owner's code makes a text into a part's token ids, beyond what the files beside the weights say.

    ``length``: so many ids are kept, special ones too; ``padded``: shorter texts are filled up to it. ``lower_case``: the text is lowered.
    ``attended``: the padding is seen as the text is, so that a vector depends on how far its text is filled up. ``closed``: the last token
    says that the text ends. ``repaired``: letters, quotation marks and entities are made plain first, as CLIP's owners do. ``file``: the file of the tokenizer, in the form of the package tokenizers; ``before``: what stands in front of
    every text.
    """

    length: int | None = Field(default=None, gt=0)
    padded: bool = False
    lower_case: bool | None = None
    attended: bool = False
    closed: bool = True
    repaired: bool = False
    file: Text | None = None
    before: Template | None = None
    source: Text | None = None
    checked: Checked = "unverified"

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A tokenizer whose padding is not seen and that closes texts says what it said before there were others: digests of cards rest on it."""
        plainly = {"attended": False, "closed": True, "repaired": False, "file": None, "before": None}
        return {name: value for name, value in plain(self).items() if plainly.get(name) != value or name not in plainly}

    @model_validator(mode="after")
    def _padding_has_an_end(self) -> Tokenizer:
        if self.padded and self.length is None:
            raise ValueError("padded needs the length that texts are filled up to")
        return self


class Projection(Facts):
    """What makes a part's vectors into those of the space that the parts share: linear layers, one a width of ``widths``; none
    where they come as they are.

    ``activation`` stands between two of them; ``norm``: a LayerNorm before the first. ``normalise``: the result is scaled to length 1.
    """

    widths: tuple[Annotated[int, Field(gt=0)], ...]
    bias: bool = True
    activation: Literal["gelu", "quick-gelu", "relu", "tanh"] | None = None
    norm: bool = False
    normalise: bool = False
    source: Text | None = None
    checked: Checked = "unverified"

    @model_validator(mode="after")
    def _layers_are_told_apart(self) -> Projection:
        if not (self.widths or self.normalise):
            raise ValueError(
                "a projection without layers (widths) scales its vectors to length 1 (normalise), or there is none"
            )
        if (len(self.widths) > 1) != (self.activation is not None):
            raise ValueError("activation stands between two layers: widths has several where it is stated, else one")
        return self


class ZeroShot(Facts):
    """How a model of pictures and texts names classes that it was not trained on: its owners' sentences, with {} for a class's name.

    ``rule``: "softmax" over the classes of their similarities, times the learned scale; or "pair", each class for itself, against what
    ``absent`` says of it, softmax over the two similarities without a scale; or "sigmoid", each class for itself, by its similarity times
    the learned scale plus the learned bias. A class's vector is the mean over its sentences, scaled to
    length 1 where the texts' are (``average``: "similarities", those to each of its sentences are averaged instead, so it is not scaled).
    ``top``: of an item of several pictures (a slide's tiles) each class has the mean of its so many largest similarities; without it, of all.
    ``ensemble``: a folder of several checkpoints is one model, the mean of its members' probabilities. ``lower_names``: a class's name
    stands in small letters. ``by_class``: a class's sentences are encoded together, filled up to the longest of them, where padding
    counts. ``limits``: the learned scale's logarithm lies between these.
    """

    templates: Annotated[tuple[Template, ...], Field(min_length=1)] = ("{}",)
    absent: tuple[Template, ...] = ()
    rule: Literal["softmax", "pair", "sigmoid"] = "softmax"
    top: int | None = Field(default=None, gt=0)
    ensemble: bool = False
    average: Literal["vectors", "similarities"] = "vectors"
    lower_names: bool = False
    by_class: bool = False
    limits: tuple[float, float] | None = None
    source: Text | None = None
    checked: Checked = "unverified"

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A rule says of later words only what is another than before there were any: digests of cards rest on it."""
        plainly = {"average": "vectors", "lower_names": False, "by_class": False, "limits": None, "top": None}
        return {name: one for name, one in plain(self).items() if name not in plainly or one != plainly[name]}

    @model_validator(mode="after")
    def _sentences_fit_the_rule(self) -> ZeroShot:
        if (self.rule == "pair") != bool(self.absent):
            raise ValueError(
                "absent holds the sentences that the rule pair sets against templates, and no other rule's"
            )
        lost = next((one for one in self.templates if one.count("{}") != 1), None)
        if lost := lost or next((one for one in self.absent if one.count("{}") > 1), None):
            raise ValueError(f"'{lost}' has no place, or several, for a class's name: {{}} stands once")
        return self


class Part(Facts):
    """One of the networks that a model is made of, in the words of ``Runner``: its ``family`` builds it as if it were a model alone.

    ``state`` and ``strip`` that it leaves out are the whole's. ``transform`` or ``tokenizer``: how what it takes goes in, where that is
    pictures or text. ``pooling``: how one vector comes out of it, ``projection``: what is made of that vector.
    """

    family: Family
    architecture: Text
    dialect: Text | None = None
    state: Text | None = None
    strip: tuple[Text, ...] = ()
    config: Mapping[str, Any] = Field(default_factory=dict)
    transform: Transform | None = None
    tokenizer: Tokenizer | None = None
    pooling: Text | None = None
    projection: Projection | None = None

    @model_validator(mode="after")
    def _takes_one_thing(self) -> Part:
        if self.transform is not None and self.tokenizer is not None:
            raise ValueError("a part has a transform (pictures) or a tokenizer (text), not both")
        return self


class Runner(Facts):
    """How a model runs: ``family`` names the module in ``healthfm.models``, ``config`` holds its architecture numbers.

    ``native``: the network is transformers' own class and the published key names are its own, in a family that builds such and reads
    them as they are (``NATIVE_FAMILIES``). ``dialect``: whose key names the checkpoint has. ``state``: the key under which its tensors stand; ``strip``: what comes off the front of key names, in
    this order. ``transform`` and ``pooling``: how pictures go in, and how one vector comes out. ``parts``: the networks that a model of
    several is made of, by the names that its family knows. ``zero_shot``: how classes are told by their names.
    """

    family: Family
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
    parts: Mapping[str, Part] = Field(default_factory=dict)
    zero_shot: ZeroShot | None = None

    @model_serializer(mode="wrap")
    def _without_no_parts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A model of one network says what it said before there were parts: digests of cards rest on it."""
        return {name: value for name, value in handler(self).items() if name not in ("parts", "zero_shot") or value}

    @model_validator(mode="after")
    def _native_is_plain(self) -> Runner:
        if self.native and (
            self.family not in NATIVE_FAMILIES or self.dialect or self.state or self.strip or self.parts
        ):
            raise ValueError(
                f"native is for transformers' own classes under their own key names: families {', '.join(NATIVE_FAMILIES)}, without "
                "dialect, state, strip or parts"
            )
        return self

    @model_validator(mode="after")
    def _parts_are_no_numbers(self) -> Runner:
        for name in self.parts:
            if name in self.config or name in Runner.model_fields:
                raise ValueError(f"parts.{name}: a part needs another name than a number of config or a word of [run]")
        return self

    def part(self, name: str) -> Runner:
        """Return one part as the [run] of a model alone, which is what its family reads."""
        own = self.parts[name]
        facts = own.model_dump(exclude={"tokenizer", "projection"})
        files = {"state": own.state or self.state, "strip": own.strip or self.strip, "ignore_keys": self.ignore_keys}
        return Runner.model_validate({**facts, **files, "dtype": self.dtype})

    def under(self, layer: Mapping[str, Any]) -> Runner:
        """Return this [run] with another of the same shape over it: the one merge, of variants and of all that a caller or a file states.

        Fields take the place of fields; of ``config`` single numbers do, of ``parts`` single fields. Where the layer names another
        family or architecture, its numbers stand alone; another family has its own parts too. Raises ``ValueError``, one line that
        names the field.
        """
        try:
            return Runner.model_validate(_over(self.model_dump(), layer))
        except ValidationError as error:
            raise ValueError(in_a_line(error)) from None


def _over(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    other = layer.get("family", base["family"]) != base["family"]
    alone = other or layer.get("architecture", base["architecture"]) != base["architecture"]
    found = {**base, **layer, "config": {} if alone else dict(base["config"])}
    found["config"] |= _table(layer, "config")
    if "parts" in found:
        known = {} if other else dict(base.get("parts", {}))
        found["parts"] = known | {name: _part(known, name, one) for name, one in _table(layer, "parts").items()}
    return found


def _part(known: Mapping[str, Any], name: str, layer: Any) -> Any:
    if not isinstance(layer, Mapping):
        return layer
    if name in known:
        return _over(known[name], layer)
    if known and "family" not in layer:
        raise ValueError(
            f"parts.{name}: [run] has no such part (its parts: {', '.join(known)}); a new one states its family"
        )
    return layer


def _table(layer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = layer.get(name, {})
    if not isinstance(found, Mapping):
        raise ValueError(f"{name}: a table was expected")
    return found

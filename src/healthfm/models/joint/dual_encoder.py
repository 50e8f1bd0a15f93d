"""Pairs of towers, one for pictures and one for texts, into one space: CLIP's own architecture, by transformers' network classes.

The towers' sizes are those that the published tensors show; what they cannot show (heads, activation, pooling, transform) the card says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

from healthfm.cards.schema import ModelCard, Projection, Runner, Transform, ZeroShot
from healthfm.errors import CapabilityError, CheckpointError
from healthfm.models.files import checkpoint, recognise
from healthfm.models.files.checkpoint import Checkpoint
from healthfm.models.files.opening import open_weights, place, provenance
from healthfm.models.files.recognise import Match
from healthfm.models.files.weights import locate
from healthfm.models.joint import clip_bpe, clip_keys, zero_shot
from healthfm.models.language.text_model import build_network
from healthfm.models.merge import merged
from healthfm.models.model import Float32, Model
from healthfm.models.prepared import Prepared
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision.native import DualModel
from healthfm.models.vision.vision_model import Tower, VisionModel, Weights

READS = ("state", "strip", "zero_shot")
PARTS = {"image": ("transform", "projection"), "text": ("tokenizer", "projection")}
ARCHITECTURE = "clip"
ACTIVATIONS = {"quick-gelu": "quick_gelu", "gelu": "gelu"}
EPS = 1e-5
OPEN_CLIP = "open_clip_config.json"
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True, kw_only=True)
class PairNumbers:
    """``activation``: between the layers of both towers' blocks. A card that leaves it out leaves it to the files."""

    activation: str = "gelu"


@dataclass(frozen=True, kw_only=True)
class ImageNumbers:
    """CLIP's Vision Transformer; ``mlp_dim``: four times the width where it is not said."""

    img_size: int = 224
    patch_size: int = 32
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_dim: int | None = None


@dataclass(frozen=True, kw_only=True)
class TextNumbers:
    """CLIP's causal text tower; a text's vector is the state at its last token, the one of the highest number."""

    vocab_size: int = 49408
    context_length: int = 77
    embed_dim: int = 512
    depth: int = 12
    num_heads: int = 8
    mlp_dim: int | None = None


class Side(nn.Module):
    """A tower of transformers' and the projection of its one vector."""

    def __init__(self, tower: transformers.PreTrainedModel, width: int, projection: Projection) -> None:
        super().__init__()
        self.tower = tower
        self.normalise = projection.normalise
        self.projection = nn.Sequential(nn.Linear(width, projection.widths[0], bias=projection.bias))

    def joint(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return vectors [n, d] in the space that both sides share, as the paper compares them."""
        made: torch.Tensor = self.projection(pooled)
        return made / made.norm(dim=-1, keepdim=True) if self.normalise else made


class DualEncoder(Tower):
    """Both sides and the scale of their similarities. As a tower: pictures to tokens (before the last norm) and the class token's vector."""

    prefix = 1
    pooling = "cls"
    poolings = ("cls",)

    def __init__(self, image: Side, text: Side) -> None:
        super().__init__()
        self.image = image
        self.text = text
        self.logit_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = self.image.tower(pixel_values=pixels)
        return out.last_hidden_state, out.pooler_output

    def of_texts(self, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return the vectors [n, d] of token ids [n, length]; what stands behind a text's last token changes nothing."""
        joint: torch.Tensor = self.text.joint(self.text.tower(input_ids=ids, attention_mask=mask).pooler_output)
        return joint


class DualEncoderModel(DualModel):
    """Pictures and texts in one space, by a card (see ``DualModel``). ``embed`` gives what the paper compares.

    ``rule``: how classes are told by their names. ``provenance["texts_cut"]`` counts the texts that were longer than the context.
    """

    capabilities = VisionModel.capabilities | {"embed_tokens", "classify"}
    network: DualEncoder
    vector = "image_embedding"

    def __init__(
        self, card: ModelCard, variant: str | None, network: DualEncoder, rule: Transform | None,
        tokenizer: transformers.PreTrainedTokenizerBase | None, told: ZeroShot, longest: int,
    ) -> None:  # fmt: skip
        super().__init__(card, network, rule, tokenizer, variant)
        self.rule = told
        self.longest = longest

    @torch.inference_mode()
    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Float32]:
        """Return, of ``pixels``, ``tokens``, ``pooled`` (before the projection) and ``image_embedding`` [n, d]; of ``token_ids`` (and
        ``attention_mask``) ``text_embedding`` [n, d].
        """
        first = next(self.network.parameters())
        found = {}
        if "token_ids" in batch:
            mask = batch.get("attention_mask")
            ids = torch.as_tensor(batch["token_ids"]).to(first.device)
            found["text_embedding"] = self.network.of_texts(
                ids, None if mask is None else torch.as_tensor(mask).to(first.device)
            )
        if "pixels" in batch:
            tokens, pooled = self.network(batch["pixels"].to(first.device, first.dtype))
            found |= {"tokens": tokens, "pooled": pooled, "image_embedding": self.network.image.joint(pooled)}
        if not found:
            raise CapabilityError(
                f"{self.name}: forward takes pixels or token_ids, not {', '.join(batch) or 'nothing'}"
            )
        return {name: value.float().cpu().numpy() for name, value in found.items()}

    def embed_tokens(self, token_ids: Any, attention_mask: Any = None) -> Float32:
        """Return the vectors, float32 [n, d], of token ids: an array [n, length], or lists of several lengths."""
        mask = None if attention_mask is None else torch.as_tensor(np.asarray(attention_mask))
        rows = [torch.as_tensor(np.asarray(one, np.int64)) for one in token_ids]
        beyond = max((len(one) for one in rows), default=0) - self.longest
        if beyond > 0:
            raise CapabilityError(
                f"{self.name} reads {self.longest} tokens a text, special ones too: {beyond} too many were given"
            )
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return self.forward({"token_ids": ids} | ({} if mask is None else {"attention_mask": mask}))["text_embedding"]

    def classify(
        self, items: Sequence[Any], classes: Sequence[str], templates: Any = None, logits: bool = False
    ) -> Float32:
        """Return each class's probability (or logit) for each item, float32 [n, classes], by the paper's own rule (see ``ZeroShot``).

        An item that stands for several pictures has the mean of their similarities. Raises ``RunError``: see ``zero_shot``.
        """
        names, kinds = zero_shot.checked(classes), zero_shot.sentences(self.rule, templates)
        unit = self.network.text.normalise
        vectors = zero_shot.class_vectors(lambda texts: np.asarray(self.embed(texts)), names, kinds, unit)
        groups = self.each(items, self.vector)
        likeness = [
            np.array([np.mean(group, 0) @ one.T for group in groups]).reshape(-1, len(names)) for one in vectors
        ]
        return zero_shot.scores(self.rule.rule, likeness, float(self.network.logit_scale.detach().exp()), logits)

    _fills = False  # padding changes nothing here

    @property
    def _longest(self) -> int:
        return self.longest

    def prepare(self, content: Any) -> Prepared:
        """Return an item's pictures, or a text's token ids (see ``DualModel.prepare``)."""
        if isinstance(content, str) and self.tokenizer is None:
            self._encoded([content])  # says that there is none
        return super().prepare(content)

    def _encoded(self, texts: Sequence[str]) -> Any:
        made = super()._encoded(texts)
        full = [
            text for text, mask in zip(texts, made["attention_mask"], strict=True) if int(mask.sum()) >= self.longest
        ]
        if full:  # most likely cut; those that just fit are told apart
            cut = sum(len(ids) > self.longest for ids in self.tokenizer(full)["input_ids"])  # type: ignore[misc]
            self.provenance["texts_cut"] = self.provenance.get("texts_cut", 0) + cut
        return made

    def _of_ids(self, ids: torch.Tensor, mask: torch.Tensor) -> Float32:
        return self.forward({"token_ids": ids, "attention_mask": mask})["text_embedding"]


class Ensemble(Model):
    """Several checkpoints of one network: the mean of their probabilities. A vector is one member's alone, so none is given."""

    capabilities = frozenset({"preprocess", "classify"})
    takes = VisionModel.takes

    def __init__(self, members: Sequence[DualEncoderModel]) -> None:
        super().__init__(members[0].card, members[0].variant)
        self.members = tuple(members)
        self.transform = members[0].transform
        self.network = nn.ModuleList([one.network for one in members])

    def settings(self) -> dict[str, Any]:
        """Return what every member's numbers rest on."""
        return {"model": self.name, "members": [one.settings() for one in self.members]}

    def preprocess(self, items: Sequence[Any]) -> dict[str, torch.Tensor]:
        """Return ``pixels`` (see ``VisionModel.preprocess``)."""
        return self.members[0].preprocess(items)

    def classify(
        self, items: Sequence[Any], classes: Sequence[str], templates: Any = None, logits: bool = False
    ) -> Float32:
        """Return the mean of the members' probabilities (``logits``: its log, by the rule "pair" its log odds), float32 [n, classes]."""
        mean = np.mean([one.classify(items, classes, templates) for one in self.members], 0, dtype=np.float64)
        if logits:
            mean = np.log(mean) - (np.log1p(-mean) if self.members[0].rule.rule == "pair" else 0)
        return np.asarray(mean, np.float32)


# Loading ----------------------------------------------------------------------------------------------------------------


def settings(card: ModelCard, variant: str | None, stated: Mapping[str, Any], overrides: Mapping[str, Any]) -> Runner:
    """Return [run] (see ``merge.merged``)."""
    return merged(card, variant, stated, overrides, READS, PARTS)


def build(run: Runner, initial: bool = False) -> DualEncoder:
    """Build the network; ``initial``: with transformers' own first weights. Raises ``CheckpointError``: another architecture."""
    for where, one, word in (
        ("", run, "clip"),
        ("parts.image: ", run.part("image"), "clip-vit"),
        ("parts.text: ", run.part("text"), "clip-text"),
    ):
        if one.architecture != word:
            raise CheckpointError(f"{where}the architecture '{one.architecture}' is not read yet ({word} is)")
    activation = vision.numbers(PairNumbers, run.config).activation
    if activation not in ACTIVATIONS:
        raise CheckpointError(f"activation is '{activation}'; use {', '.join(ACTIVATIONS)}")
    image, text = (
        vision.numbers(ImageNumbers, run.parts["image"].config),
        vision.numbers(TextNumbers, run.parts["text"].config),
    )
    shared = {"hidden_act": ACTIVATIONS[activation], "layer_norm_eps": EPS}
    towers = {
        "Vision": {**shared, **_sizes(image), "image_size": image.img_size, "patch_size": image.patch_size},
        "Text": {
            **shared, **_sizes(text), "vocab_size": text.vocab_size, "max_position_embeddings": text.context_length,
            "eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 1,  # 2: transformers' sign for "the highest number"
        },
    }  # fmt: skip
    made = {}
    for kind, numbers in towers.items():
        network = build_network(f"CLIP{kind}Config", f"CLIP{kind}Model", numbers)
        if initial:
            network = getattr(transformers, f"CLIP{kind}Model")(network.config)
        made[kind] = network
    sides = []
    for name, kind, width in (("image", "Vision", image.embed_dim), ("text", "Text", text.embed_dim)):
        projection = run.parts[name].projection
        if projection is None or len(projection.widths) != 1 or projection.norm:
            raise CheckpointError(f"parts.{name}: CLIP's towers have one linear projection")
        sides.append(Side(made[kind], width, projection))
    return DualEncoder(*sides)


def _sizes(n: ImageNumbers | TextNumbers) -> dict[str, int]:
    return {
        "hidden_size": n.embed_dim, "num_hidden_layers": n.depth, "num_attention_heads": n.num_heads,
        "intermediate_size": n.mlp_dim or 4 * n.embed_dim,
    }  # fmt: skip


def match(card: ModelCard, variant: str | None, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> Match:
    """Return how far published tensors go with a variant (see ``recognise``): the sizes of both towers and of their space."""
    run = settings(card, variant, {}, config)
    if run.architecture != ARCHITECTURE:
        return Match.OTHER
    seen = clip_keys.shown(clip_keys.own_names(vision.state(tensors, run)))
    shown = {f"{part}.{name}": value for part, sizes in seen.items() for name, value in sizes.items()}
    own: dict[str, Any] = {}
    for part, kind in (("image", ImageNumbers), ("text", TextNumbers)):
        n, projection = vision.numbers(kind, run.parts[part].config), run.parts[part].projection
        own |= {f"{part}.{name}": getattr(n, name, None) for name in seen[part]}
        own |= {
            f"{part}.mlp_dim": n.mlp_dim or 4 * n.embed_dim,
            f"{part}.joint": projection.widths[0] if projection else None,
        }
    return recognise.compared(shown, own, (), ("text.vocab_size",))


def load(
    card: ModelCard, variant: str | None, weights: Weights, config: Mapping[str, Any], device: str, dtype: str
) -> Model:  # fmt: skip
    """Load a pair of towers; see ``healthfm.load_model``. ``config``: numbers, {"image": {...}, "text": {...}}, ``zero_shot``.

    A folder of several checkpoints is an ``Ensemble``, where the card says that there is one.
    """
    several = _members(card, variant, weights)
    if not several:
        return _load(card, variant, weights, config, device, dtype)
    model = Ensemble([_load(card, variant, one, config, device, dtype) for one in several])
    digests = [one.provenance["digest"] for one in model.members]
    said = list(dict.fromkeys(note for one in model.members for note in one.provenance["notices"]))
    model.provenance = {
        **model.members[0].provenance, "weights": ", ".join(one.name for one in several), "files": [one.name for one in several],
        "digest": checkpoint.fingerprint(several), "digests": digests, "notices": said,
    }  # fmt: skip
    return model


def _members(card: ModelCard, variant: str | None, weights: Weights) -> list[Path]:
    """Return the checkpoints of an ensemble's folder; none where there is one file, or the card knows no ensemble."""
    told = card.runner(variant).zero_shot
    if told is None or not told.ensemble or isinstance(weights, Mapping) or weights == "random":
        return []
    folder = Path(weights).expanduser() if weights is not None else locate(card, variant)
    if not folder.is_dir():
        return []
    found = sorted(one for one in folder.iterdir() if one.suffix in (*checkpoint.TORCH_SUFFIXES, ".safetensors"))
    return found if len(found) > 1 else []


def _load(
    card: ModelCard, variant: str | None, weights: Weights, config: Mapping[str, Any], device: str, dtype: str
) -> DualEncoderModel:  # fmt: skip
    plain = card.runner(variant)
    if plain.architecture != ARCHITECTURE:
        raise CapabilityError(
            f"{recognise.named(card, variant)} is a {plain.architecture}, which healthfm does not read yet"
        )
    found = _opened(card, variant, weights)
    words = _stated(found)
    if weights == "random":
        run, said = settings(card, variant, words, config), []
        network = vision.seeded(lambda: build(run, initial=True))
    else:
        tensors = clip_keys.own_names(vision.state(found.tensors, settings(card, variant, words, config)))
        said = recognise.check(card, variant, found.tensors, config)
        seen = clip_keys.shown(tensors)
        run = _shared(settings(card, variant, _sized(plain, seen, words), config), plain, seen, config)
        network = build(run)
        checkpoint.load_strict(network, tensors, run.ignore_keys)
    if plain.config.get("activation") is None and not {"activation"} & {*words, *config}:
        said.append(
            f"nothing beside the weights says whether they want GELU or quick-GELU ({OPEN_CLIP} does): GELU, open_clip's default, was taken; "
            "config={'activation': 'quick-gelu'} takes the other"
        )
    place(network, run, device, dtype)
    tokenizer = clip_bpe.read(found.folder)
    context, limit = network.text.tower.config.max_position_embeddings, run.parts["text"].tokenizer
    longest = min(context, (limit.length if limit is not None else None) or context)
    told = run.zero_shot or ZeroShot()
    model = DualEncoderModel(card, variant, network, run.parts["image"].transform, tokenizer, told, longest)  # type: ignore[arg-type]
    model.provenance = {**provenance(found, network), "notices": said}
    return model


def _opened(card: ModelCard, variant: str | None, weights: Weights) -> Checkpoint:
    """Return the checkpoint; of a folder that open_clip wrote its own file, whatever else lies there."""
    if weights is None or (isinstance(weights, str | Path) and weights != "random"):
        path = Path(weights).expanduser() if weights is not None else locate(card, variant)
        named = [path / name for name in OPEN_CLIP_FILES] if path.is_dir() else []
        weights = next((one for one in named if one.is_file()), path)
    return open_weights(card, variant, weights)


def _stated(found: Checkpoint) -> dict[str, Any]:
    """Return what files beside the weights say that tensors cannot show: the activation, the heads. Raises ``CheckpointError``."""
    beside = found.folder / OPEN_CLIP if found.folder is not None else None
    if beside is not None and beside.is_file():
        try:
            told = json.loads(beside.read_text(encoding="utf-8"))["model_cfg"]
            quick, sides = bool(told.get("quick_gelu")), (told["vision_cfg"], told["text_cfg"])
            heads = (sides[0]["width"] // sides[0].get("head_width", clip_keys.HEAD), sides[1]["heads"])
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise CheckpointError(
                f"{beside}: not the configuration of a CLIP of open_clip ({type(error).__name__})"
            ) from None
        return {"activation": "quick-gelu" if quick else "gelu"} | _heads(*heads)
    if found.config.get("model_type") != "clip":
        return {}
    sides = tuple(found.config.get(f"{kind}_config") or {} for kind in ("vision", "text"))
    if any(float(one.get("layer_norm_eps", EPS)) != EPS for one in sides):
        raise CheckpointError(f"config.json: layer_norm_eps is not {EPS}, which CLIP has")
    acts = {one.get("hidden_act", "quick_gelu") for one in sides}  # transformers' own default
    words = {name: ours for ours, name in ACTIVATIONS.items()}
    if len(acts) != 1 or not acts <= set(words):
        raise CheckpointError(
            f"config.json: hidden_act is {', '.join(sorted(acts))}; one of {', '.join(words)} was expected"
        )
    return {"activation": words[acts.pop()]} | _heads(*(one.get("num_attention_heads") for one in sides))


def _heads(image: int | None, text: int | None) -> dict[str, Any]:
    return {part: {"num_heads": heads} for part, heads in (("image", image), ("text", text)) if heads}


def _sized(plain: Runner, seen: Mapping[str, Mapping[str, int]], words: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the tensors and the files beside them state of both towers; heads that nobody states are of ``clip_keys.HEAD``."""
    found = dict(words)
    for part, sizes in seen.items():
        own = {name: value for name, value in sizes.items() if name != "joint"}
        if own["embed_dim"] != plain.parts[part].config.get("embed_dim"):
            own["num_heads"] = max(own["embed_dim"] // clip_keys.HEAD, 1)
        found[part] = {**own, **words.get(part, {})}
    return found


def _shared(run: Runner, plain: Runner, seen: Mapping[str, Mapping[str, int]], config: Mapping[str, Any]) -> Runner:
    """Return [run] with the width of the space and the side of pictures that the tensors show, where the caller gave none."""
    parts = dict(run.parts)
    for name, part in run.parts.items():
        given = config.get(name) or {}
        changes: dict[str, Any] = {}
        if part.projection is not None and "projection" not in given:
            changes["projection"] = part.projection.model_copy(update={"widths": (seen[name]["joint"],)})
        old, new = plain.parts[name].config.get("img_size"), seen[name].get("img_size")
        if part.transform is not None and "transform" not in given and old != new:
            sides = {old: new, (old, old): (new, new)}
            resized = {
                word: sides.get(value, value) for word in ("resize", "crop") if (value := getattr(part.transform, word))
            }
            changes["transform"] = part.transform.model_copy(update=resized)
        parts[name] = part.model_copy(update=changes)
    return run.model_copy(update={"parts": parts})

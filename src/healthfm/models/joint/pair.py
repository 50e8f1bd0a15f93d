"""Pairs of towers from a card and published files. What [run] calls the pair's ``architecture``: "clip", CLIP's own two towers and file
formats; or "towers", any two of ``towers``, whose key names the card's ``dialect`` tells.

The towers' sizes are those that the published tensors show; what they cannot show (heads, activation, pooling, transform) the card says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from healthfm.cards.schema import ModelCard, Runner, Tokenizer, ZeroShot
from healthfm.errors import CapabilityError, CheckpointError
from healthfm.models.files import checkpoint, recognise
from healthfm.models.files.checkpoint import Checkpoint, Tensors
from healthfm.models.files.opening import open_weights, place, provenance
from healthfm.models.files.recognise import Match
from healthfm.models.files.weights import locate
from healthfm.models.joint import clip_keys, pair_keys, towers
from healthfm.models.joint.dual_encoder import DualEncoder, DualEncoderModel, Ensemble, Side
from healthfm.models.joint.towers import siglip
from healthfm.models.joint.towers.kind import Kind
from healthfm.models.merge import merged
from healthfm.models.model import Model
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision.vision_model import Weights

READS = ("dialect", "state", "strip", "zero_shot")
PARTS = {"image": ("transform", "projection", "pooling", "dialect"), "text": ("tokenizer", "projection", "pooling")}
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
Seen = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class NoNumbers:
    """A pair of any two towers has no numbers of its own."""


PAIRS: Mapping[str, type[Any]] = {"clip": clip_keys.PairNumbers, "towers": NoNumbers}


def settings(card: ModelCard, variant: str | None, stated: Mapping[str, Any], overrides: Mapping[str, Any]) -> Runner:
    """Return [run] (see ``merge.merged``)."""
    return merged(card, variant, stated, overrides, READS, PARTS)


def build(run: Runner, initial: bool = False) -> DualEncoder:
    """Build the network; ``initial``: with its libraries' own first weights. Raises ``CheckpointError``: another architecture."""
    if run.architecture not in PAIRS:
        raise CheckpointError(f"the architecture '{run.architecture}' is not read yet ({', '.join(PAIRS)} are)")
    whole = vision.numbers(PAIRS[run.architecture], run.config)
    made = {side: towers.build(run, side, whole, initial) for side in PARTS}
    sides = []
    for side, one in made.items():
        projection = run.parts[side].projection
        layers = 0 if projection is None else len(projection.widths)
        if (projection is not None and projection.norm) or (run.architecture == "clip" and layers != 1):
            raise CheckpointError(f"parts.{side}: a pair's projections have no norm, CLIP's have one layer")
        sides.append(Side(one, projection))
    biased = run.architecture != "clip" and pair_keys.table(run.dialect).biased
    return DualEncoder(*sides, prefix=made["image"].prefix, biased=biased)


def own_names(tensors: Tensors, run: Runner) -> dict[str, torch.Tensor]:
    """Return published tensors under our names, ``image.tower.*``, ``image.projection.*`` and the text side's. Raises ``CheckpointError``."""
    if run.architecture == "clip":
        return clip_keys.own_names(tensors)
    found = pair_keys.own_names(tensors, run.dialect)
    for side in PARTS:
        front, part = f"{side}.tower.", run.part(side)
        tower = {key.removeprefix(front): found.pop(key) for key in list(found) if key.startswith(front)}
        named = _kind(run, side).names(tower, part)
        found |= {front + key: value for key, value in named.items()}
    return found


def _kind(run: Runner, side: str) -> Kind:
    return towers.kind_of(side, run.parts[side].architecture)


def shown(tensors: Mapping[str, Any], run: Runner) -> dict[str, dict[str, Any]]:
    """Return the sizes of both towers that tensors under our names show, and the widths (``joint``) of their projections' layers."""
    found = {}
    for side in PARTS:
        front, last = f"{side}.tower.", f"{side}.projection."
        tower = {key.removeprefix(front): value for key, value in tensors.items() if key.startswith(front)}
        layers = {key: value for key, value in tensors.items() if key.startswith(last) and key.endswith("weight")}
        sizes: dict[str, Any] = {}
        try:
            sizes = _kind(run, side).shown(tower)
            joint = tuple(len(layers[key]) for key in sorted(layers, key=lambda key: int(key.split(".")[2])))
        except (IndexError, TypeError, ValueError, KeyError):
            joint = ()
        projection = run.parts[side].projection
        if not sizes or (not joint and projection is not None and projection.widths):
            raise CheckpointError(f"tensors of the {side} side are missing: its sizes cannot be told") from None
        found[side] = {**sizes, "joint": joint}
    return found


def match(card: ModelCard, variant: str | None, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> Match:
    """Return how far published tensors go with a variant (see ``recognise``): the sizes of both towers and of their space."""
    run = settings(card, variant, {}, config)
    if run.architecture not in PAIRS:
        return Match.OTHER
    seen = shown(own_names(vision.state(tensors, run), run), run)
    flat = {f"{side}.{name}": value for side, sizes in seen.items() for name, value in sizes.items()}
    own: dict[str, Any] = {}
    for side, sizes in seen.items():
        part, kind = run.parts[side], _kind(run, side)
        stated = kind.sizes(vision.numbers(kind.numbers, part.config), sizes)
        own |= {f"{side}.{name}": stated.get(name) for name in sizes}
        own[f"{side}.joint"] = part.projection.widths if part.projection else None
    return recognise.compared(flat, own, (), ("text.vocab_size",))


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
    if plain.architecture not in PAIRS:
        raise CapabilityError(
            f"{recognise.named(card, variant)} is a {plain.architecture}, which healthfm does not read yet"
        )
    found = _opened(card, variant, weights)
    words = clip_keys.stated(found) if plain.architecture == "clip" else siglip.stated(found.config)
    if weights == "random":
        run, said = settings(card, variant, words, config), []
        network = vision.seeded(lambda: build(run, initial=True))
    else:
        run = settings(card, variant, words, config)
        try:
            tensors = own_names(vision.state(found.tensors, run), run)
        except CheckpointError:
            recognise.check(card, variant, found.tensors, config)  # names the row whose they are, if any
            raise
        said = recognise.check(card, variant, found.tensors, config)
        seen = shown(tensors, run)
        run = _shared(settings(card, variant, _sized(plain, seen, words), config), plain, seen, config)
        network = build(run)
        checkpoint.load_strict(network, tensors, run.ignore_keys)
    place(network, run, device, dtype)
    model = _model(card, variant, run, network, found)
    model.provenance = {**provenance(found, network), "notices": said}
    return model


def _model(
    card: ModelCard, variant: str | None, run: Runner, network: DualEncoder, found: Checkpoint
) -> DualEncoderModel:
    kind, part = _kind(run, "text"), run.parts["text"]
    facts, n = part.tokenizer or Tokenizer(), vision.numbers(kind.numbers, part.config)
    context = int(getattr(n, kind.context))
    longest = min(context - kind.own, facts.length or context)
    rows = int(getattr(n, kind.rows))
    tokenizer = None if kind.tokenizer is None else kind.tokenizer(found.folder, facts)
    if tokenizer is not None and len(tokenizer) > rows:
        raise CheckpointError(
            f"{found.folder}: the vocabulary beside the weights has {len(tokenizer)} pieces, the network {rows}: it is another model's"
        )
    return DualEncoderModel(
        card, variant, network, run.parts["image"].transform, tokenizer, run.zero_shot or ZeroShot(), longest,
        context, facts,
    )  # fmt: skip


def _opened(card: ModelCard, variant: str | None, weights: Weights) -> Checkpoint:
    """Return the checkpoint; of a folder that open_clip wrote its own file, whatever else lies there."""
    if weights is None or (isinstance(weights, str | Path) and weights != "random"):
        path = Path(weights).expanduser() if weights is not None else locate(card, variant)
        named = [path / name for name in OPEN_CLIP_FILES] if path.is_dir() else []
        weights = next((one for one in named if one.is_file()), path)
    return open_weights(card, variant, weights)


def _sized(plain: Runner, seen: Seen, words: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the tensors and the files beside them state of both towers; heads that nobody states are of ``clip_keys.HEAD``."""
    found = dict(words)
    for side, sizes in seen.items():
        kind = _kind(plain, side)
        own = {name: value for name, value in sizes.items() if name != "joint"}
        if kind.heads is not None and own[kind.width] != plain.parts[side].config.get(kind.width):
            own[kind.heads] = max(own[kind.width] // clip_keys.HEAD, 1)
        found[side] = {**own, **words.get(side, {})}
    return found


def _shared(run: Runner, plain: Runner, seen: Seen, config: Mapping[str, Any]) -> Runner:
    """Return [run] with the width of the space and the side of pictures that the tensors show, where the caller gave none."""
    parts = dict(run.parts)
    for name, part in run.parts.items():
        given = config.get(name) or {}
        changes: dict[str, Any] = {}
        if (
            part.projection is not None
            and "projection" not in given
            and len(part.projection.widths) == len(seen[name]["joint"])
        ):
            changes["projection"] = part.projection.model_copy(update={"widths": seen[name]["joint"]})
        kind, own = _kind(plain, name), plain.parts[name].config
        old, new = own.get("img_size"), seen[name].get("img_size")
        stated = kind.sizes(vision.numbers(kind.numbers, own), seen[name]).get("img_size")
        if part.transform is not None and "transform" not in given and stated != new:
            sides = {old: new, (old, old): (new, new)}
            resized = {
                word: sides.get(value, value) for word in ("resize", "crop") if (value := getattr(part.transform, word))
            }
            changes["transform"] = part.transform.model_copy(update=resized)
        parts[name] = part.model_copy(update=changes)
    return run.model_copy(update={"parts": parts})

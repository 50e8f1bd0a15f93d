"""KAD's and MedKLIP's published key names, and the sizes that their tensors show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from healthfm.errors import CheckpointError
from healthfm.models.files import recognise
from healthfm.models.files.checkpoint import Tensors
from healthfm.models.joint import bert_tower

KAD = ("image_encoder", "text_encoder", "model")  # the three states of a checkpoint of KAD
TRUNK = re.compile(r"res_features\.(\d+)\.")  # a ResNet's children by their numbers
CHILDREN = {"0": "conv1", "1": "bn1", **{str(4 + i): f"layer{i + 1}" for i in range(4)}}
FRONTS = {  # the owners' names, and ours; MedKLIP's and KAD's
    "res_l1.": "image.projection.0.", "res_l2.": "image.projection.2.", "disease_embedding_layer.": "ask.", "classifier.": "head.",
    "mlp_head.0.": "head.", "mlp_embed.": "text.projection.", "bert_model.": "text.tower.",
}  # fmt: skip
SPARE = re.compile(
    r"resnet\.|cl_fc\.|logit_scale$|decoder_norm\.|.*\.position_ids$|.*num_batches_tracked$"
)  # the trunk once more, what only training uses, counters; decoder_norm is decoder.norm


def states(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return KAD's three states, also of one mapping whose names begin with theirs; {} where these are no tensors of KAD's."""
    if any(isinstance(tensors.get(name), Mapping) for name in KAD[:2]):
        return {name: tensors[name] for name in KAD if isinstance(tensors.get(name), Mapping)}
    found: dict[str, Any] = {}
    for key, value in tensors.items():
        front, _, rest = key.partition(".")
        if front in KAD:
            found.setdefault(front, {})[rest] = value
    return found if set(found) & set(KAD[:2]) else {}


def own_names(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return published tensors under our names, without what is held twice or used in training alone.

    Raises ``CheckpointError``: a trunk that is no ResNet.
    """
    if any(key.startswith(("dense_", "densenet.", "vit_")) for key in tensors):
        raise CheckpointError("the image encoder of these weights is no ResNet, which alone is read here")
    found = {}
    for key, value in tensors.items():
        key = key.removeprefix("module.")
        if SPARE.match(key):
            continue
        trunk = TRUNK.match(key)
        front = next((one for one in FRONTS if key.startswith(one)), "")
        if trunk is not None and trunk[1] in CHILDREN:
            key = f"image.tower.{CHILDREN[trunk[1]]}.{key[trunk.end() :]}"
        else:
            key = FRONTS.get(front, "") + key.removeprefix(front)
        found[key] = value
    return found


def shown(tensors: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the sizes that tensors under our names show: of the decoder ("decoder"), the trunk ("image") and, where it is there, BERT ("text").

    Raises ``CheckpointError``: tensors of the decoder or the trunk are missing.
    """
    head, inner, asks, first, tokens, inside = (
        recognise.shape(tensors, end)
        for end in (
            "head.weight", "decoder.layers.0.linear1.weight", "ask.weight", "image.tower.conv1.weight", "image.projection.2.weight",
            "image.projection.0.weight",
        )
    )  # fmt: skip
    if not (head and inner and first and tokens and inside):
        raise CheckpointError("no tensors of a query decoder over a ResNet (KAD's or MedKLIP's)")
    depths = [recognise.numbered(tensors, rf"^image\.tower\.layer{stage}\.(\d+)\.") for stage in range(1, 5)]
    found: dict[str, dict[str, Any]] = {
        "decoder": {
            "embed_dim": head[1], "depth": recognise.numbered(tensors, r"^decoder\.layers\.(\d+)\."), "mlp_dim": inner[0],
            "asks": asks[1] if asks else None,
        },
        "image": {"base": first[0], "stages": sum(map(bool, depths)), "depths": tuple(one for one in depths if one), "widths": (inside[0], tokens[0])},
    }  # fmt: skip
    text = {key.removeprefix("text.tower."): value for key, value in tensors.items() if key.startswith("text.tower.")}
    if text:
        last = [value.shape[0] for key, value in tensors.items() if re.fullmatch(r"text\.projection\.\d\.weight", key)]
        found["text"] = {**bert_tower.shown(text), "widths": tuple(last)}
    return found

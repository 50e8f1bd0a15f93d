"""The vision towers that stand (``vit``, ``swin``, ``resnet``) as towers of pictures: each is built by its own family, as if it were alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from healthfm.cards.schema import Runner
from healthfm.errors import CheckpointError
from healthfm.models.files import recognise
from healthfm.models.files.checkpoint import Tensors
from healthfm.models.joint.towers.kind import Kind, Made, Sizes
from healthfm.models.vision import heads, resnet, swin, vit, vit_keys
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision.vision_model import Tower

FRONT = "network."


class Pictures(nn.Module):
    """A vision tower, called as ``Made`` says."""

    def __init__(self, network: Tower) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: torch.Tensor) -> BaseModelOutputWithPooling:
        tokens, pooled = self.network(pixel_values)
        return BaseModelOutputWithPooling(last_hidden_state=tokens, pooler_output=pooled)


@dataclass(frozen=True)
class Told:
    """What a dialect of key names asks of the tower that is to be filled."""

    n: Any
    num_classes: int = 0


def of(family: Any, numbers: type[Any], shown: Callable[[Mapping[str, Any]], Sizes], **words: Any) -> Kind:
    """Return the kind of tower that a vision family's networks are."""

    def build(part: Runner, whole: Any, initial: bool) -> Made:
        tower: Tower = family.build(part)
        vision.set_pooling(tower, part, "parts.image")
        if tower.num_classes:
            raise CheckpointError("parts.image: a tower of a pair has no head of classes")
        return Made(Pictures(tower), tower.head_width, tower.prefix)

    def names(tensors: Tensors, part: Runner) -> Tensors:
        bare = heads.without(tensors)
        if part.dialect is not None:
            if part.dialect not in family.DIALECTS:
                raise CheckpointError(f"parts.image: key dialect is '{part.dialect}'; use {', '.join(family.DIALECTS)}")
            bare = family.DIALECTS[part.dialect](bare, Told(vision.numbers(numbers, part.config)))
        return {FRONT + key: value for key, value in bare.items()}

    return Kind(numbers, build, lambda tensors: shown(_bare(tensors)), names=names, **words)


def _bare(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(FRONT): value for key, value in tensors.items()}


def vit_sizes(tensors: Mapping[str, Any]) -> Sizes:
    """Return what tensors show of ``ViTNumbers``. The side of pictures: what the table of positions has beside the class token."""
    seen = vit_keys.sizes(tensors)
    side = math.isqrt(seen["positions"] - ("cls_token" in tensors) - seen["registers"])
    return {
        "embed_dim": seen["embed_dim"], "depth": seen["depth"], "patch_size": seen["patch_size"],
        "img_size": side * seen["patch_size"], "mlp_ratio": seen["hidden"] / seen["embed_dim"],
    }  # fmt: skip


def swin_sizes(tensors: Mapping[str, Any]) -> Sizes:
    """Return what tensors show of ``SwinNumbers``; here the heads too, a column each of the tables of offsets."""
    found = {
        (int(one[1]), int(one[2])): recognise.shape(tensors, key) for key in tensors
        if (one := re.match(r"layers\.(\d+)\.blocks\.(\d+)\.attn\.relative_position_bias_table$", key))
    }  # fmt: skip
    stages = sorted({stage for stage, _ in found})
    return {
        "embed_dim": recognise.shape(tensors, "patch_embed.norm.weight")[0],
        "depths": tuple(sum(stage == one for stage, _ in found) for one in stages),
        "num_heads": tuple(found[stage, 0][1] for stage in stages),
        "window_size": math.isqrt(next(iter(found.values()), (0, 0))[0]) // 2 + 1,
        "stem": "conv" if "patch_embed.proj.0.weight" in tensors else "patch",
    }  # fmt: skip


def resnet_sizes(tensors: Mapping[str, Any]) -> Sizes:
    """Return what tensors show of ``ResNetNumbers``, of the plain kind."""
    units = {(one[1], one[2]) for key in tensors if (one := re.match(r"layer(\d+)\.(\d+)\.", key))}
    return {
        "depths": tuple(sum(stage == one for stage, _ in units) for one in sorted({stage for stage, _ in units})),
        "base": recognise.shape(tensors, "conv1.weight")[0],
    }  # fmt: skip


VIT = of(vit, vit.ViTNumbers, vit_sizes, heads="num_heads")
SWIN = of(swin, swin.SwinNumbers, swin_sizes)
RESNET = of(resnet, resnet.ResNetNumbers, resnet_sizes)

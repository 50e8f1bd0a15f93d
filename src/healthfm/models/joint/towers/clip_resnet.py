"""CLIP's ResNet: three convolutions first, means instead of strides, and the last map's mean reads the map by attention.

Key names are OpenAI's; attention's last matrix is the pair's projection. Source: openai/CLIP ``clip/model.py`` (ModifiedResNet).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutputWithPooling

from healthfm.cards.schema import Runner
from healthfm.models.files import recognise
from healthfm.models.joint.towers.kind import Kind, Made, Sizes
from healthfm.models.vision import resnet
from healthfm.models.vision import vision_model as vision

SHRINKS = 32  # pixels a place of the last map
HEAD = 64  # numbers a head of attention has in every CLIP


@dataclass(frozen=True, kw_only=True)
class ImageNumbers:
    """``depths``: blocks a stage; ``width``: channels behind the first convolutions; ``num_heads``: of the attention over the last map."""

    img_size: int = 224
    depths: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    num_heads: int = 32


class Bottleneck(resnet.Bottleneck):
    """The plain block, whose convolutions have no stride: means of ``stride`` x ``stride`` places make the map smaller."""

    def __init__(self, given: int, inner: int, stride: int) -> None:
        super().__init__(given, inner, 1)
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self._smaller(functional.relu(self.bn2(self.conv2(y))))
        x = self.downsample(self._smaller(x)) if hasattr(self, "downsample") else x
        return functional.relu(self.bn3(self.conv3(y)) + x)

    def _smaller(self, x: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(x, self.stride) if self.stride > 1 else x


class Attention(nn.Module):
    """The mean of a map [n, d, rows, columns] reads it: one vector each [n, d], before the last matrix."""

    def __init__(self, places: int, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.randn(places + 1, dim) / dim**0.5)
        self.q_proj, self.k_proj, self.v_proj = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat((x.mean(1, keepdim=True), x), 1) + self.positional_embedding
        q, k, v = (
            project(part).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project, part in ((self.q_proj, x[:, :1]), (self.k_proj, x), (self.v_proj, x))
        )
        return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1)


class Pictures(nn.Module):
    """The network, called as ``Made`` says; tokens are the last map, row by row."""

    def __init__(self, n: ImageNumbers) -> None:
        super().__init__()
        for i, (given, made) in enumerate(
            ((3, n.width // 2), (n.width // 2, n.width // 2), (n.width // 2, n.width)), 1
        ):
            self.add_module(f"conv{i}", nn.Conv2d(given, made, 3, 2 if i == 1 else 1, 1, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(made))
        given = n.width
        for stage, depth in enumerate(n.depths):
            inner, units = n.width * 2**stage, []
            for unit in range(depth):
                units.append(Bottleneck(given, inner, 2 if stage and not unit else 1))
                given = 4 * inner
            self.add_module(f"layer{stage + 1}", nn.Sequential(*units))
        self.stages = len(n.depths)
        self.attnpool = Attention((n.img_size // SHRINKS) ** 2, given, n.num_heads)

    def forward(self, pixel_values: torch.Tensor) -> BaseModelOutputWithPooling:
        x = pixel_values
        for i in (1, 2, 3):
            x = functional.relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)))
        x = functional.avg_pool2d(x, 2)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return BaseModelOutputWithPooling(
            last_hidden_state=x.flatten(2).transpose(1, 2), pooler_output=self.attnpool(x)
        )


def build(part: Runner, whole: Any, initial: bool) -> Made:
    """Build the network."""
    n = vision.numbers(ImageNumbers, part.config)
    return Made(Pictures(n), n.width * SHRINKS)


def shown(tensors: Mapping[str, Any]) -> Sizes:
    """Return the sizes that tensors show; heads of attention have 64 numbers each in every CLIP."""
    units = {(one[1], one[2]) for key in tensors if (one := re.match(r"layer(\d+)\.(\d+)\.", key))}
    places = recognise.shape(tensors, "attnpool.positional_embedding")[0] - 1
    dim = recognise.shape(tensors, "attnpool.q_proj.weight")[0]
    return {
        "num_heads": max(dim // HEAD, 1), "img_size": math.isqrt(places) * SHRINKS, "width": recognise.shape(tensors, "conv3.weight")[0],
        "depths": tuple(sum(stage == one for stage, _ in units) for one in sorted({stage for stage, _ in units})),
    }  # fmt: skip


def _stated(n: ImageNumbers) -> Sizes:
    return dict(vars(n))


IMAGE = Kind(ImageNumbers, build, shown, _stated)

"""ResNets: Big Transfer's (version 2: pre-activation, group norm, standardised kernels) and the plain bottleneck one.

Key names: google-research/big_transfer ``bit_pytorch/models.py``, and torchvision ``resnet.py``. Dialects read BiT's npz files and the
variables of TensorFlow SavedModels, whose names end as the npz's do.
"""

from __future__ import annotations

import functools
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from healthfm.cards.schema import ModelCard, Runner
from healthfm.errors import CheckpointError
from healthfm.models.files import recognise
from healthfm.models.files.checkpoint import Tensors
from healthfm.models.vision import heads
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision.vision_model import Tower

GROUPS = 32


@dataclass(frozen=True, kw_only=True)
class ResNetNumbers:
    """A ResNet's numbers: blocks a stage, and the ``width`` by which every layer is wider than the plain one.

    ``version``: 2 is Big Transfer's, 1 the plain ResNet with batch norms. ``stages``: how many of the stages are run. ``eps``: what
    is added to a kernel's variance (version 2). ``minus_one_to_one``: pixels of 0 to 1 are mapped to -1 to 1 first.
    """

    depths: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 1
    version: Literal[1, 2] = 2
    stages: int = 4
    base: int = 64
    eps: float = 1e-10
    minus_one_to_one: bool = False
    num_classes: int = 0


class StdConv2d(nn.Conv2d):
    """A convolution whose kernels are shifted and scaled to mean 0 and variance 1."""

    eps = 1e-10

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        kernel = (self.weight - mean) / torch.sqrt(variance + self.eps)
        return functional.conv2d(x, kernel, self.bias, self.stride, self.padding)


class PreActivation(nn.Module):
    """Version 2: norm and ReLU before each of three convolutions; the shortcut starts after the first of them."""

    def __init__(self, given: int, inner: int, made: int, stride: int) -> None:
        super().__init__()
        self.gn1 = nn.GroupNorm(GROUPS, given)
        self.conv1 = StdConv2d(given, inner, 1, bias=False)
        self.gn2 = nn.GroupNorm(GROUPS, inner)
        self.conv2 = StdConv2d(inner, inner, 3, stride, 1, bias=False)
        self.gn3 = nn.GroupNorm(GROUPS, inner)
        self.conv3 = StdConv2d(inner, made, 1, bias=False)
        if stride != 1 or given != made:
            self.downsample = StdConv2d(given, made, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.gn1(x))
        shortcut = self.downsample(y) if hasattr(self, "downsample") else x
        y = self.conv1(y)
        y = self.conv2(functional.relu(self.gn2(y)))
        return self.conv3(functional.relu(self.gn3(y))) + shortcut


class BiT(Tower):
    """Big Transfer's ResNet; tokens are the last map after its norm and ReLU, row by row."""

    head_name = "head.conv"

    def __init__(self, n: ResNetNumbers) -> None:
        super().__init__()
        self.n = n
        width = n.base * n.width
        self.root = nn.Sequential(OrderedDict(conv=StdConv2d(3, width, 7, 2, 3, bias=False)))
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        given = width
        for stage, depth in enumerate(n.depths[: n.stages]):
            made, units = width * 4 * 2**stage, OrderedDict[str, nn.Module]()
            for unit in range(depth):
                units[f"unit{unit + 1:02d}"] = PreActivation(given, made // 4, made, 2 if stage and not unit else 1)
                given = made
            blocks[f"block{stage + 1}"] = nn.Sequential(units)
        self.body = nn.Sequential(blocks)
        self.num_classes, self.head_width = n.num_classes, given
        self.head = nn.Sequential(OrderedDict(gn=nn.GroupNorm(GROUPS, given)))
        if n.num_classes:
            self.head.add_module("conv", nn.Conv2d(given, n.num_classes, 1))
        for module in self.modules():
            if isinstance(module, StdConv2d):
                module.eps = n.eps

    def tokens(self, pixels: torch.Tensor, layer: int | None = None) -> torch.Tensor:
        """Return the last map's places; or those that leave stage ``layer``, before the last norm."""
        x = self.root(pixels * 2 - 1 if self.n.minus_one_to_one else pixels)
        x = functional.max_pool2d(functional.pad(x, (1, 1, 1, 1)), 3, 2)  # zeros, not minus infinity, around the map
        for block in self.body[: None if layer is None else layer % len(self.body) + 1]:
            x = block(x)
        x = x if layer is not None else functional.relu(self.head.gn(x))
        return x.flatten(2).transpose(1, 2)

    def logits(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.head.conv(pooled[..., None, None]).flatten(1)


class Bottleneck(nn.Module):
    """Version 1: three convolutions, each with a batch norm; ReLU after the shortcut is added."""

    def __init__(self, given: int, inner: int, stride: int) -> None:
        super().__init__()
        made = 4 * inner
        self.conv1, self.bn1 = nn.Conv2d(given, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, made, 1, bias=False), nn.BatchNorm2d(made)
        if stride != 1 or given != made:
            self.downsample = nn.Sequential(nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet(Tower):
    """The plain ResNet with bottlenecks under torchvision's names; tokens are the last map, row by row."""

    head_name = "fc"

    def __init__(self, n: ResNetNumbers) -> None:
        super().__init__()
        self.n = n
        given = n.base * n.width
        self.conv1, self.bn1 = nn.Conv2d(3, given, 7, 2, 3, bias=False), nn.BatchNorm2d(given)
        for stage, depth in enumerate(n.depths[: n.stages]):
            inner, units = n.base * n.width * 2**stage, []
            for unit in range(depth):
                units.append(Bottleneck(given, inner, 2 if stage and not unit else 1))
                given = 4 * inner
            self.add_module(f"layer{stage + 1}", nn.Sequential(*units))
        self.num_classes, self.head_width = n.num_classes, given
        if n.num_classes:
            self.fc = nn.Linear(given, n.num_classes)

    def tokens(self, pixels: torch.Tensor, layer: int | None = None) -> torch.Tensor:
        """Return the last map's places; or those that leave stage ``layer``."""
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(pixels))), 3, 2, 1)
        for stage in range(self.n.stages if layer is None else layer % self.n.stages + 1):
            x = getattr(self, f"layer{stage + 1}")(x)
        return x.flatten(2).transpose(1, 2)

    def logits(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.fc(pooled)


# Published keys ---------------------------------------------------------------------------------------------------------


NPZ = re.compile(
    r"(?:.*/)?(?:(root_block)|(block\d+)/(unit\d+)/([abc])(/proj)?)/(?:standardized_conv2d/(kernel)|group_norm/(gamma|beta))(?::0)?$"
)
LAST = re.compile(r"(?:.*/)?group_norm/(gamma|beta)(?::0)?$")
WORDS = {"gamma": "weight", "beta": "bias"}


def tensorflow(tensors: Tensors, network: Tower) -> Tensors:
    """BiT's npz and TensorFlow variables: kernels are [height, width, in, out].

    Raises ``CheckpointError``: names that do not end as BiT's do.
    """
    found: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        if re.search(r"global_step|[Mm]omentum|save_counter", name):
            continue
        if part := heads.NAME.fullmatch(name):
            kernel = part[4] == "kernel"
            found["head.conv.weight" if kernel else "head.conv.bias"] = (
                value.reshape(value.shape[-2:]).T[..., None, None].contiguous() if kernel else value
            )
            continue
        key = _tensorflow_key(name)
        if key is None:
            raise CheckpointError(f"the variable {name} is none of Big Transfer's")
        found[key] = value.permute(3, 2, 0, 1).contiguous() if value.ndim == 4 else value
    return found


def _tensorflow_key(name: str) -> str | None:
    if part := NPZ.fullmatch(name):
        root, block, unit, letter, projection, kernel, norm = part.groups()
        if root:
            return "root.conv.weight" if kernel else None
        number = "abc".index(letter) + 1
        if kernel:
            return f"body.{block}.{unit}." + ("downsample.weight" if projection else f"conv{number}.weight")
        return f"body.{block}.{unit}.gn{number}.{WORDS[norm]}"
    last = LAST.fullmatch(name)
    return f"head.gn.{WORDS[last[1]]}" if last else None


def torchvision(tensors: Tensors, network: Tower) -> Tensors:
    """torchvision's and timm's names: this module's, beside a classifier that the network has not."""
    return tensors if network.num_classes else heads.without(tensors)


DIALECTS: vision.Dialects = {"tensorflow": tensorflow, "torchvision": torchvision}


UNITS = re.compile(r"(?:^|[./])(?:block(\d+)[./]unit|layer(\d+)\.)(\d+)[./]")
ROOTS = (
    "root_block/standardized_conv2d/kernel",
    "root_block/standardized_conv2d/kernel:0",
    "root.conv.weight",
    "conv1.weight",
)


def match(
    card: ModelCard, variant: str | None, tensors: Mapping[str, Any], config: Mapping[str, Any]
) -> recognise.Match:
    """Return how far published tensors go with a variant (see ``recognise``)."""
    return fits(vision.settings(card, variant, {}, config), tensors)


def fits(run: Runner, tensors: Mapping[str, Any]) -> recognise.Match:
    """Return how far published tensors go with a network's numbers."""
    n, bare = vision.numbers(ResNetNumbers, run.config), vision.state(tensors, run)
    found = {(one[1] or one[2], one[3]) for key in bare if (one := UNITS.search(key))}
    roots = [tuple(value.shape) for key, value in bare.items() if key.endswith(ROOTS) and 7 in value.shape]
    shown = {
        "depths": tuple(sum(stage == one for stage, _ in found) for one in sorted({stage for stage, _ in found})),
        "width": (roots[0][3] if roots[0][0] == 7 else roots[0][0]) if roots else None,  # TensorFlow: [7, 7, 3, width]
        "version": 1 if any("bn1." in key for key in bare) else 2,
    }  # fmt: skip
    own = {"depths": n.depths[: n.stages], "width": n.base * n.width, "version": n.version}
    return recognise.compared(shown, own, ("depths", "version"))


def build(run: Runner) -> Tower:
    """Build the network. ``with torch.device("meta")`` around it costs no memory."""
    n = vision.numbers(ResNetNumbers, run.config)
    return BiT(n) if n.version == 2 else ResNet(n)


load = functools.partial(
    vision.load_tower, build=build, dialects=DIALECTS, stated=functools.partial(vision.model_args, ResNetNumbers),
)  # fmt: skip
"""Load a ResNet row; see ``healthfm.load_model``. BiT's npz files and SavedModel folders are read too."""

"""Swin Transformers under timm's old key names (downsampling at a stage's end), with a patch convolution or CTransPath's stem.

Sources: microsoft/Swin-Transformer ``models/swin_transformer.py``; timm ``swin_transformer.py``; Xiyue-Wang/TransPath ``ctran.py``;
lzl199704/VIS-MAE ``swin_class.py``.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from healthfm.cards.schema import ModelCard, Runner
from healthfm.errors import CheckpointError
from healthfm.models.files import recognise
from healthfm.models.files.checkpoint import Tensors
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision.vision_model import Tower
from healthfm.models.vision.vit import Mlp

APART = -100.0  # what the attention between two regions of a shifted window is lowered by


@dataclass(frozen=True, kw_only=True)
class SwinNumbers:
    """A Swin Transformer's numbers. ``depths`` and ``num_heads``: one a stage.

    ``stem``: "patch" (one convolution of 4 x 4) or "conv" (CTransPath's three). ``shift_last``: windows are shifted even where one
    covers the whole map, as VIS-MAE does.
    """

    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window_size: int = 7
    mlp_ratio: float = 4
    norm_eps: float = 1e-5
    stem: Literal["patch", "conv"] = "patch"
    shift_last: bool = False
    num_classes: int = 0


class Stem(nn.Module):
    """Pixels to a map [n, rows, columns, d], a quarter of their size, and a norm."""

    def __init__(self, n: SwinNumbers) -> None:
        super().__init__()
        dim = n.embed_dim
        if n.stem == "patch":
            self.proj: nn.Module = nn.Conv2d(3, dim, 4, 4)
        else:
            layers: list[nn.Module] = []
            for given, made in ((3, dim // 8), (dim // 8, dim // 4)):
                layers += [nn.Conv2d(given, made, 3, 2, 1, bias=False), nn.BatchNorm2d(made), nn.ReLU()]
            self.proj = nn.Sequential(*layers, nn.Conv2d(dim // 4, dim, 1))
        self.norm = nn.LayerNorm(dim, n.norm_eps)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.norm(self.proj(pixels).permute(0, 2, 3, 1))


class WindowAttention(nn.Module):
    """Self-attention within windows of ``side`` x ``side``, with a learned bias for each offset between two places."""

    def __init__(self, dim: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * side - 1) ** 2, heads))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor, shift: int) -> torch.Tensor:
        """Map [n, rows, columns, d] to the same; ``shift``: how far the windows' grid is moved. Zeros make the windows whole."""
        height, width = x.shape[1:3]
        side = self.side
        x = functional.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        n, rows, columns, d = x.shape
        if shift:
            x = torch.roll(x, (-shift, -shift), (1, 2))
        down, across = rows // side, columns // side
        windows = x.reshape(n, down, side, across, side, d).transpose(2, 3).reshape(-1, side * side, d)
        q, k, v = self.qkv(windows).reshape(-1, side * side, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.bias(n, rows, columns, shift))
        windows = self.proj(mixed.transpose(1, 2).reshape(-1, side * side, d))
        x = windows.reshape(n, down, across, side, side, d).transpose(2, 3).reshape(n, rows, columns, d)
        return (torch.roll(x, (shift, shift), (1, 2)) if shift else x)[:, :height, :width]

    def bias(self, n: int, rows: int, columns: int, shift: int) -> torch.Tensor:
        """Return what is added to the attention: [heads, side^2, side^2], or for each window where they are shifted."""
        places = self.side**2
        table = self.relative_position_bias_table[offsets(self.side).to(self.qkv.weight.device).flatten()]
        bias = table.reshape(places, places, -1).permute(2, 0, 1)
        if not shift:
            return bias
        regions = borders(rows, columns, self.side, shift).to(bias)
        return (bias + regions[:, None]).repeat(n, 1, 1, 1)


def constant(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Keep a function's tensors, made where training can use them too."""

    @functools.lru_cache(maxsize=64)
    def made(*sizes: int) -> torch.Tensor:
        with torch.inference_mode(False), torch.device("cpu"):
            return make(*sizes)

    return made


@constant
def offsets(side: int) -> torch.Tensor:
    """Return, for two places in a window, the row of the bias table: int64 [side^2, side^2]."""
    place = torch.arange(side * side)
    down = place[:, None] // side - place // side + side - 1
    across = place[:, None] % side - place % side + side - 1
    return down * (2 * side - 1) + across


@constant
def borders(rows: int, columns: int, side: int, shift: int) -> torch.Tensor:
    """Return 0, or ``APART`` between places that were not neighbours before the shift: float32 [windows, side^2, side^2]."""
    down, across = (
        torch.bucketize(torch.arange(size), torch.tensor([size - side, size - shift]), right=True)
        for size in (rows, columns)
    )
    region = down[:, None] * 3 + across
    windows = region.reshape(rows // side, side, columns // side, side).transpose(1, 2).reshape(-1, side * side)
    return torch.where(windows[:, None] == windows[:, :, None], 0.0, APART)


class Block(nn.Module):
    """Attention in windows and feed-forward, each on a normed input and added to it. Odd blocks shift the windows."""

    def __init__(self, dim: int, heads: int, n: SwinNumbers, odd: bool) -> None:
        super().__init__()
        self.odd, self.side, self.shift_last = odd, n.window_size, n.shift_last
        self.norm1 = nn.LayerNorm(dim, n.norm_eps)
        self.attn = WindowAttention(dim, heads, n.window_size)
        self.norm2 = nn.LayerNorm(dim, n.norm_eps)
        self.mlp = Mlp(dim, int(dim * n.mlp_ratio), "gelu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = min(x.shape[1:3]) <= self.side and not self.shift_last
        x = x + self.attn(self.norm1(x), self.side // 2 if self.odd and not whole else 0)
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    """Join each four neighbours: half the size, twice the width."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim, eps)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [x[:, down::2, across::2] for across in (0, 1) for down in (0, 1)]
        return self.reduction(self.norm(torch.cat(parts, -1)))


class Stage(nn.Module):
    """Blocks of one size and, but for the last stage, the joining after them."""

    def __init__(self, index: int, n: SwinNumbers, merge: bool) -> None:
        super().__init__()
        dim = n.embed_dim * 2**index
        self.blocks = nn.ModuleList(Block(dim, n.num_heads[index], n, i % 2 == 1) for i in range(n.depths[index]))
        self.downsample = PatchMerging(dim, n.norm_eps) if merge else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.downsample(x)


class Swin(Tower):
    """A Swin Transformer; tokens are the last map, row by row. Pooling "first": the token of the map's upper left corner."""

    poolings = ("mean", "first")

    def __init__(self, n: SwinNumbers) -> None:
        super().__init__()
        self.n = n
        self.num_classes = n.num_classes
        self.patch_embed = Stem(n)
        last = len(n.depths) - 1
        self.layers = nn.ModuleList(Stage(i, n, i < last) for i in range(last + 1))
        width = n.embed_dim * 2**last
        self.norm = nn.LayerNorm(width, n.norm_eps)
        self.head_width = width
        self.head = nn.Linear(width, n.num_classes) if n.num_classes else nn.Identity()

    def maps(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the map that enters each stage, and the one that leaves the last: [n, rows, columns, d]."""
        found = [self.patch_embed(pixels)]
        for stage in self.layers:
            found.append(stage(found[-1]))
        return found

    def tokens(self, pixels: torch.Tensor, layer: int | None = None) -> torch.Tensor:
        """Return the last map's tokens after the last norm; or those that leave stage ``layer``, before that norm."""
        maps = self.maps(pixels)
        x = maps[-1] if layer is None else maps[1:][layer]
        x = x.flatten(1, 2)
        return x if layer is not None else self.norm(x)

    def logits(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.head(pooled)


# Published keys ---------------------------------------------------------------------------------------------------------


BUFFERS = re.compile(r"(relative_position_index|attn_mask)$")  # follow from the numbers


def timm_old(tensors: Tensors, network: Tower) -> Tensors:
    """timm before 0.8 and Microsoft's own: this module's names, beside buffers that follow from the numbers."""
    return {key: value for key, value in tensors.items() if not BUFFERS.search(key)}


def timm_new(tensors: Tensors, network: Tower) -> Tensors:
    """timm since 0.8: a stage begins with the joining."""
    renamed = {}
    for key, value in timm_old(tensors, network).items():
        stage = re.match(r"layers\.(\d+)\.downsample\.", key)
        key = f"layers.{int(stage[1]) - 1}{key[stage.end() - len('.downsample.') :]}" if stage else key
        renamed[key] = value
    return renamed


HUGGING_FACE = (
    ("embeddings.patch_embeddings.projection.", "patch_embed.proj."), ("embeddings.norm.", "patch_embed.norm."), ("layernorm_before.", "norm1."),
    ("layernorm_after.", "norm2."), ("intermediate.dense.", "mlp.fc1."), ("attention.output.dense.", "attn.proj."), ("output.dense.", "mlp.fc2."),
    ("attention.self.", "attn."), ("encoder.layers.", "layers."),
)  # fmt: skip


def transformers(tensors: Tensors, network: Tower) -> Tensors:
    """SwinModel of transformers 4: queries, keys and values stand apart."""
    found: dict[str, torch.Tensor] = {}
    for key, value in timm_old(tensors, network).items():
        apart = re.fullmatch(r"(.*\.)attention\.self\.(query|key|value)\.(weight|bias)", key)
        if apart is not None and apart[2] != "query":
            continue
        if apart is not None:
            three = [tensors.get(f"{apart[1]}attention.self.{one}.{apart[3]}") for one in ("query", "key", "value")]
            if any(one is None for one in three):
                raise CheckpointError(f"{key} stands without its key or value")
            key, value = f"{apart[1]}attn.qkv.{apart[3]}", torch.cat([one for one in three if one is not None])
        for theirs, ours in HUGGING_FACE:
            key = key.replace(theirs, ours)
        found["norm." + key.removeprefix("layernorm.") if key.startswith("layernorm.") else key] = value
    return found


DIALECTS: vision.Dialects = {"timm-old": timm_old, "timm-new": timm_new, "transformers": transformers}


def match(
    card: ModelCard, variant: str | None, tensors: Mapping[str, Any], config: Mapping[str, Any]
) -> recognise.Match:
    """Return how far published tensors go with a variant (see ``recognise``)."""
    return fits(vision.settings(card, variant, {}, config), tensors)


def fits(run: Runner, tensors: Mapping[str, Any]) -> recognise.Match:
    """Return how far published tensors go with a network's numbers."""
    n, bare = vision.numbers(SwinNumbers, run.config), vision.state(tensors, run)
    stages = [re.match(r"layers\.(\d+)\.blocks\.(\d+)\.", key) for key in bare]
    found = {(int(one[1]), int(one[2])) for one in stages if one}
    width, table = (
        recognise.shape(bare, "patch_embed.norm.weight"),
        recognise.shape(bare, "relative_position_bias_table"),
    )
    shown = {
        "embed_dim": width[0] if width else None, "depths": tuple(sum(s == i for s, _ in found) for i in sorted({s for s, _ in found})),
        "stem": "conv" if "patch_embed.proj.0.weight" in bare else "patch", "window": math.isqrt(table[0]) // 2 + 1 if table else None,
    }  # fmt: skip
    own = {"embed_dim": n.embed_dim, "depths": n.depths, "stem": n.stem, "window": n.window_size}
    return recognise.compared(shown, own, ("depths", "stem"))


def build(run: Runner) -> Tower:
    """Build the network. ``with torch.device("meta")`` around it costs no memory."""
    return Swin(vision.numbers(SwinNumbers, run.config))


load = functools.partial(
    vision.load_tower, build=build, dialects=DIALECTS, stated=functools.partial(vision.model_args, SwinNumbers),
)  # fmt: skip
"""Load a Swin Transformer row; see ``healthfm.load_model``."""

"""Vision Transformers under timm's key names. This module knows the architecture, ``vit_keys`` other key names; no model.

Attention is torch's own kernel. Sources: timm ``vision_transformer.py``; facebookresearch/dinov2 and dino ``vision_transformer.py``;
transformers ``modeling_dinov3_vit.py``; mahmoodlab/TRIDENT ``conchv1_5.py``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from healthfm.cards.schema import ModelCard, Runner
from healthfm.errors import CheckpointError
from healthfm.models.files.recognise import Match
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision import vit_keys
from healthfm.models.vision.query import Query
from healthfm.models.vision.vision_model import Tower, learned

Turn = tuple[torch.Tensor, torch.Tensor] | None


@dataclass(frozen=True, kw_only=True)
class ViTNumbers:
    """A Vision Transformer's numbers, under timm's names.

    ``mlp``: "gelu" (fc1, fc2) or "swiglu" (fc1 holds the gate, then the values: fc2 takes half its width). ``layer_scale``: a
    learned factor a channel after each half of a block. ``no_embed_class``: class token and registers have no position.
    ``positions``: how the table is stretched to another grid: "fixed" (not at all), "timm" (bicubic with antialias),
    "transformers" (bicubic), "dino" (bicubic by a scale factor with its 0.1); or "rotary": no table, DINOv3's turned queries and keys. ``features``: the input is a grid of so many
    numbers, not pixels. ``fc_norm``: a norm after pooling in place of the last one; ``twice``: it acts twice before the head. ``query_dim`` and ``query_heads``: of
    the one query that reads all tokens where the pooling is "query".
    """

    embed_dim: int
    depth: int
    num_heads: int
    img_size: int = 224
    patch_size: int = 16
    mlp_ratio: float = 4
    mlp: Literal["gelu", "swiglu"] = "gelu"
    layer_scale: bool = False
    class_token: bool = True
    reg_tokens: int = 0
    no_embed_class: bool = False
    positions: Literal["fixed", "timm", "transformers", "dino", "rotary"] = "timm"
    norm_eps: float = 1e-6
    features: int | None = None
    fc_norm: bool = False
    num_classes: int = 0
    twice: bool = False
    query_dim: int | None = None
    query_heads: int | None = None


class LayerScale(nn.Module):
    """A learned factor a channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gamma


class Attention(nn.Module):
    """Self-attention, queries, keys and values from one product."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor, turn: Turn = None) -> torch.Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        if turn is not None:
            q, k = turned(q, *turn), turned(k, *turn)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(n, t, d))


def turned(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Turn the last tokens of [n, heads, t, d], one a row of the angles [patches, d]; those before them stay."""
    first, patches = x[..., : -len(cosine), :], x[..., -len(cosine) :, :]
    one, other = patches.chunk(2, -1)
    return torch.cat((first, patches * cosine + torch.cat((-other, one), -1) * sine), -2)


class Mlp(nn.Module):
    """Two layers with GELU, or gated by SiLU: [gate; values] = fc1(x), fc2(silu(gate) * values)."""

    def __init__(self, dim: int, hidden: int, kind: str) -> None:
        super().__init__()
        self.gated = kind == "swiglu"
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden // 2 if self.gated else hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc1(x)
        if self.gated:
            gate, values = x.chunk(2, -1)
            return self.fc2(functional.silu(gate) * values)
        return self.fc2(functional.gelu(x))


class Block(nn.Module):
    """Attention and feed-forward, each on a normed input and added to it."""

    def __init__(
        self, dim: int, heads: int, hidden: int, *, mlp: str = "gelu", layer_scale: bool = False, eps: float = 1e-6
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps)
        self.attn = Attention(dim, heads)
        self.ls1 = LayerScale(dim) if layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps)
        self.mlp = Mlp(dim, hidden, mlp)
        self.ls2 = LayerScale(dim) if layer_scale else nn.Identity()

    def forward(self, x: torch.Tensor, turn: Turn = None) -> torch.Tensor:
        x = x + self.ls1(self.attn(self.norm1(x), turn))
        return x + self.ls2(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    """One vector a patch, by a convolution; [n, d, rows, columns]."""

    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.proj(pixels)


class ViT(Tower):
    """A Vision Transformer; tokens are the class token, the registers, then the patches row by row."""

    poolings = ("cls", "mean", "cls+mean", "fc_norm", "query")
    pooling = "cls"

    def __init__(self, n: ViTNumbers, pooling: str | None = None) -> None:
        super().__init__()
        self.n = n
        self.num_classes = n.num_classes
        self.head_width = n.query_dim or n.embed_dim * (2 if pooling == "cls+mean" else 1)
        dim, grid = n.embed_dim, n.img_size // n.patch_size
        self.prefix = n.class_token + n.reg_tokens
        if n.features is None:
            self.patch_embed = PatchEmbed(n.patch_size, dim)
        else:
            self.phi = nn.Sequential(nn.Linear(n.features, dim), nn.GELU())
        if n.class_token:
            self.cls_token = learned(1, 1, dim)
        if n.reg_tokens:
            self.reg_token = learned(1, n.reg_tokens, dim)
        if n.positions != "rotary":
            self.pos_embed = learned(1, grid * grid + (0 if n.no_embed_class else self.prefix), dim)
        hidden = int(dim * n.mlp_ratio + 1e-6)  # some published ratios are short of a whole number by rounding
        self.blocks = nn.ModuleList(
            Block(dim, n.num_heads, hidden, mlp=n.mlp, layer_scale=n.layer_scale, eps=n.norm_eps)
            for _ in range(n.depth)
        )
        self.norm = nn.Identity() if n.fc_norm else nn.LayerNorm(dim, n.norm_eps)
        self.fc_norm = nn.LayerNorm(dim, n.norm_eps) if n.fc_norm else nn.Identity()
        if n.query_dim:
            self.pooler = Query(n.query_dim, n.query_heads or 1, dim, bias=False)
        self.head = nn.Linear(self.head_width, n.num_classes) if n.num_classes else nn.Identity()

    def tokens(self, pixels: torch.Tensor, layer: int | None = None) -> torch.Tensor:
        grid = pixels if self.n.features is not None else self.patch_embed(pixels)
        x, turn = self.embedded(grid), self.angles(*grid.shape[-2:])
        for block in self.blocks[: None if layer is None else layer % len(self.blocks) + 1]:
            x = block(x, turn)
        return x if layer is not None else self.norm(x)

    def embedded(self, grid: torch.Tensor) -> torch.Tensor:
        """Return the tokens that enter the first block, from the patches' vectors (or features) [n, d, rows, columns]."""
        patches = grid.flatten(2).transpose(1, 2)
        if self.n.features is not None:
            patches = self.phi(patches)
        names = [name for name in ("cls_token", "reg_token") if hasattr(self, name)]
        own = [getattr(self, name).expand(len(patches), -1, -1) for name in names]
        if self.n.positions == "rotary":
            return torch.cat((*own, patches), 1)
        table = self.positions(grid.shape[-2], grid.shape[-1])
        if self.n.no_embed_class:
            return torch.cat((*own, patches + table), 1)
        return torch.cat((*own, patches), 1) + table

    def angles(self, rows: int, columns: int) -> Turn:
        """Return DINOv3's cosines and sines [patches, width of a head]: of the row and the column, -1 to 1, at falling rates."""
        if self.n.positions != "rotary":
            return None
        weight = next(self.parameters())
        width = self.n.embed_dim // self.n.num_heads
        rates = 100.0 ** -torch.arange(0, 1, 4 / width, device=weight.device)
        places = [(torch.arange(size, device=weight.device) + 0.5) / size * 2 - 1 for size in (rows, columns)]
        both = torch.cartesian_prod(*places)[:, :, None] * rates * (2 * math.pi)
        angle = both.flatten(1).repeat(1, 2)
        return angle.cos().to(weight.dtype), angle.sin().to(weight.dtype)

    def positions(self, rows: int, columns: int) -> torch.Tensor:
        """Return the position table for a grid, stretched by the checkpoint's own rule where the grid is another."""
        table, first = self.pos_embed, 0 if self.n.no_embed_class else self.prefix
        side = math.isqrt(table.shape[1] - first)
        if (rows, columns) == (side, side) or self.n.positions == "fixed":
            return table
        square = table[:, first:].reshape(1, side, side, -1).permute(0, 3, 1, 2).float()
        if self.n.positions == "dino":  # its checkpoints were trained with this rounding guard
            factor = ((rows + 0.1) / side, (columns + 0.1) / side)
            square = functional.interpolate(square, scale_factor=factor, mode="bicubic")
        else:
            antialias = self.n.positions == "timm"
            square = functional.interpolate(square, size=(rows, columns), mode="bicubic", antialias=antialias)
        return torch.cat((table[:, :first], square.flatten(2).transpose(1, 2).to(table.dtype)), 1)

    def pool(self, tokens: torch.Tensor) -> torch.Tensor:
        """As every tower; "fc_norm" is the norm of the patches' mean, "query" what the learned query reads."""
        if self.pooling == "query":
            return self.pooler(tokens)
        if self.pooling != "fc_norm":
            return super().pool(tokens)
        return self.fc_norm(tokens[:, self.prefix :].mean(1))

    def logits(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return the head's class scores [n, classes] from pooled vectors."""
        return self.head(self.fc_norm(pooled) if self.n.twice else pooled)


DIALECTS: vision.Dialects = vit_keys.DIALECTS


def match(card: ModelCard, variant: str | None, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> Match:
    """Return how far published tensors go with a variant (see ``recognise``)."""
    return fits(vision.settings(card, variant, {}, config), tensors)


def fits(run: Runner, tensors: Mapping[str, Any]) -> Match:
    """Return how far published tensors go with a network's numbers."""
    return vit_keys.match(vision.state(tensors, run), vision.numbers(ViTNumbers, run.config), run.dialect)


def build(run: Runner) -> ViT:
    """Build the network. ``with torch.device("meta")`` around it costs no memory."""
    n = vision.numbers(ViTNumbers, run.config)
    if (
        run.pooling is not None and (run.pooling == "fc_norm") != n.fc_norm
    ):  # else tokens would lack their norm, or have two
        raise CheckpointError(
            f"pooling '{run.pooling}' does not go with fc_norm = {str(n.fc_norm).lower()}; set both in config"
        )
    if bool(n.query_dim) != (run.pooling == "query"):
        raise CheckpointError("pooling 'query' goes with query_dim and query_heads; set all in config")
    return ViT(n, run.pooling)


load = functools.partial(
    vision.load_tower, build=build, dialects=DIALECTS, stated=functools.partial(vit_keys.stated, ViTNumbers), headed=vit_keys.headed,
)  # fmt: skip
"""Load a Vision Transformer row; see ``healthfm.load_model``."""

"""Hierarchies of Vision Transformers: tiles to regions, regions to a slide (HIPT).

Source: mahmoodlab/HIPT ``HIPT_4K/hipt_4k.py``, ``vision_transformer4k.py``, ``2-Weakly-Supervised-Subtyping/models/model_hierarchical_mil.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from healthfm.cards.schema import ModelCard, Runner
from healthfm.errors import CheckpointError, RunError
from healthfm.models.families import module_of
from healthfm.models.files import checkpoint, recognise
from healthfm.models.files.checkpoint import Checkpoint, Tensors
from healthfm.models.files.opening import open_weights
from healthfm.models.files.recognise import Match
from healthfm.models.files.weights import locate
from healthfm.models.merge import FILES, merged
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision import vit
from healthfm.models.vision.vision_model import Tower, VisionModel, Weights

TILES_PER_BATCH = 32
READS = ("transform", "pooling", "state", "strip")  # of [run]; the last two for parts that say nothing of them
PARTS = {"tiles": ("pooling", *FILES), "region": FILES}  # and what is read of each; the region is pooled as [run] says


@dataclass(frozen=True, kw_only=True)
class RegionNumbers:
    """``tile``: the side of a tile in pixels. All other numbers are the two parts'."""

    tile: int = 256


class Regions(Tower):
    """A region's tiles through one transformer, the grid of their class tokens through another.

    Pooling "cls": the region's class token; "mean+cls": the mean of the tiles' vectors joined to it.
    """

    poolings = ("cls", "mean", "mean+cls")
    pooling = "cls"
    prefix = 1

    def __init__(self, n: RegionNumbers, tiles: Tower, region: vit.ViT) -> None:
        super().__init__()
        self.n = n
        self.tiles = tiles
        self.region = region

    def grid(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the tiles' class tokens [n, d, rows, columns]; the region is cut to whole tiles around its middle."""
        side = self.n.tile
        rows, columns = pixels.shape[2] // side, pixels.shape[3] // side
        if not rows or not columns:
            raise RunError(f"a region of {pixels.shape[2]} x {pixels.shape[3]} pixels holds no tile of {side}")
        top, left = round((pixels.shape[2] - rows * side) / 2), round((pixels.shape[3] - columns * side) / 2)
        pixels = pixels[:, :, top : top + rows * side, left : left + columns * side]
        tiles = pixels.unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        vectors = torch.cat([self.tiles(part)[1] for part in tiles.split(TILES_PER_BATCH)])
        return vectors.reshape(len(pixels), rows, columns, -1).permute(0, 3, 1, 2)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        grid = self.grid(pixels)
        tokens = self.region.tokens(grid)
        if self.pooling == "mean+cls":
            return tokens, torch.cat((grid.mean((2, 3)), tokens[:, 0]), -1)
        return tokens, self.pool(tokens)

    def tokens(self, pixels: torch.Tensor, layer: int | None = None) -> torch.Tensor:
        """Return the region's tokens: its class token, then one a tile, row by row."""
        return self.region.tokens(self.grid(pixels), layer)


class GatedAttention(nn.Module):
    """Weights over a bag: softmax of a linear map of tanh(a x) * sigmoid(b x)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention_a = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Dropout(0.25))
        self.attention_b = nn.Sequential(nn.Linear(dim, dim), nn.Sigmoid(), nn.Dropout(0.25))
        self.attention_c = nn.Linear(dim, 1)

    def forward(self, bag: torch.Tensor) -> torch.Tensor:
        """Bag [m, d] to weights [m]."""
        return self.attention_c(self.attention_a(bag) * self.attention_b(bag))[:, 0].softmax(0)


class SlideHead(nn.Module):
    """A slide's regions to class scores: stage 3, which the owners train anew for each task. Keys are their own."""

    def __init__(self, region: Mapping[str, Any], num_classes: int, dim: int = 192, heads: int = 3) -> None:
        super().__init__()
        self.local_vit = vit.ViT(vision.numbers(vit.ViTNumbers, region))
        self.global_phi = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(0.25))
        layer = nn.TransformerEncoderLayer(dim, heads, dim, 0.25, "relu")
        self.global_transformer = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.global_attn_pool = GatedAttention(dim)
        self.global_rho = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(0.25))
        self.classifier = nn.Linear(dim, num_classes)

    def forward(self, tiles: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take tile vectors [regions, tiles, d], row by row of a square grid; return ``pooled``, ``attention``, ``logits``."""
        side = round(tiles.shape[1] ** 0.5)
        grid = tiles.unflatten(1, (side, side)).permute(0, 3, 1, 2)
        regions = self.global_phi(self.local_vit(grid)[1])
        regions = self.global_transformer(regions[:, None])[:, 0]
        attention = self.global_attn_pool(regions)
        pooled = self.global_rho(attention @ regions)
        return {"pooled": pooled, "attention": attention, "logits": self.classifier(pooled)}


# Loading ----------------------------------------------------------------------------------------------------------------


def joined(stages: Mapping[str, Any], run: Runner, network: Regions) -> Tensors:
    """Return one state of the two parts: ``stages`` holds, by their names, what each one's published file holds."""
    found: dict[str, torch.Tensor] = {}
    for name in PARTS:
        if not isinstance(stages.get(name), Mapping):
            raise CheckpointError(
                f"two stages' weights are expected, a mapping of {' and '.join(map(repr, PARTS))}; '{name}' is missing"
            )
        part = run.part(name)
        own = vision.published(stages[name], getattr(network, name), part, _family(part).DIALECTS)
        found |= {f"{name}.{key}": value for key, value in own.items()}
    return found


def open_stages(card: ModelCard, variant: str | None, weights: Weights) -> Checkpoint:
    """Return both stages' checkpoints: from a folder with the published file of each part, or the caller's mapping."""
    if (
        isinstance(weights, Mapping)
        or weights == "random"
        or (isinstance(weights, Path) and weights.expanduser().is_file())
    ):
        return open_weights(card, variant, weights)
    folder = Path(weights).expanduser() if weights is not None else locate(card, variant)
    parts = {}
    for part in PARTS:
        names = {Path(file).name for one in card.weights if one.part == part for file in one.files}
        files = [file for name in sorted(names) for place in ("", "*/", "*/*/") for file in folder.glob(place + name)]
        if len(files) != 1:
            wanted = " or ".join(sorted(names)) or f"file of the part {part}"
            raise CheckpointError(f"{folder}: one {wanted} was expected there, {len(files)} were found")
        parts[part] = checkpoint.read(files[0])
    files = [file for part in parts.values() for file in part.files]
    stages = {stage: part.tensors for stage, part in parts.items()}
    return Checkpoint(stages, parts["tiles"].config, folder=folder, files=tuple(files))  # type: ignore[arg-type]


def _family(part: Runner) -> Any:
    """Return the module of a part's family. Raises ``CheckpointError``: its networks are no towers."""
    module = module_of(part.family)
    if not hasattr(module, "fits"):
        raise CheckpointError(f"a part is of the family {part.family}, whose networks make no vectors of pictures")
    return module


def match(card: ModelCard, variant: str | None, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> Match:
    """Return how far both stages' published tensors go with a variant (see ``recognise``)."""
    run = settings(card, variant, {}, config)
    found = []
    for name in PARTS:
        if not isinstance(tensors.get(name), Mapping):
            return Match.OTHER
        part = run.part(name)
        found.append(_family(part).fits(part, tensors[name]))
    return Match(min(found))


def build(run: Runner) -> Regions:
    """Build the network, each part by its own family. ``with torch.device("meta")`` around it costs no memory."""
    n = vision.numbers(RegionNumbers, run.config)
    tiles, region = (_built(run, name) for name in PARTS)
    if not isinstance(region, vit.ViT) or region.n.features != tiles.head_width:
        raise CheckpointError(
            f"the part region takes a grid of the tiles' vectors: a vit whose features are {tiles.head_width} was expected"
        )
    return Regions(n, tiles, region)


def _built(run: Runner, name: str) -> Tower:
    part = run.part(name)
    tower: Tower = _family(part).build(part)
    vision.set_pooling(tower, part, name)
    return tower


def load(
    card: ModelCard, variant: str | None, weights: Weights, config: Mapping[str, Any], device: str, dtype: str
) -> VisionModel:  # fmt: skip
    """Load both stages of HIPT; see ``healthfm.load_model``. ``config``: ``{"tiles": {...}, "region": {...}}``, merged with the card's."""
    found = open_stages(card, variant, weights)
    run = settings(card, variant, vision.model_args(RegionNumbers, found.config, PARTS), config)
    said = recognise.check(card, variant, found.tensors, config) if found.tensors else []
    return vision.filled(
        card, variant, run, found, weights == "random", device, dtype, build,
        lambda tensors, network: joined(tensors, run, network), said,
    )  # fmt: skip


def settings(card: ModelCard, variant: str | None, stated: Mapping[str, Any], overrides: Mapping[str, Any]) -> Runner:
    """Return [run] (see ``merge.merged``)."""
    return merged(card, variant, stated, overrides, READS, PARTS)

"""What stands on a Swin Transformer in VIS-MAE: the painter of masked patches, and the U-Net for segmentation.

Key names: lzl199704/VIS-MAE ``swin_mae.py``, ``swin_unet.py``. The encoder's are those of ``swin``.
"""

from __future__ import annotations

import torch
from torch import nn

from healthfm.models.vision.swin import Block, Stage, Stem, SwinNumbers
from healthfm.models.vision.vision_model import learned


class PatchExpanding(nn.Module):
    """A map of ``factor`` times the size, ``made`` numbers a place."""

    def __init__(self, dim: int, made: int, factor: int, eps: float) -> None:
        super().__init__()
        self.factor = factor
        self.expand = nn.Linear(dim, made * factor**2, bias=False)
        self.norm = nn.LayerNorm(made, eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, rows, columns, _ = x.shape
        x = self.expand(x).reshape(n, rows, columns, self.factor, self.factor, -1)
        return self.norm(x.transpose(2, 3).reshape(n, rows * self.factor, columns * self.factor, -1))


class UpStage(nn.Module):
    """Blocks of one size and, but for the last stage, the doubling after them."""

    def __init__(self, index: int, n: SwinNumbers, expand: bool) -> None:
        super().__init__()
        dim = n.embed_dim * 2**index
        self.blocks = nn.ModuleList(Block(dim, n.num_heads[index], n, i % 2 == 1) for i in range(n.depths[index]))
        self.upsample = PatchExpanding(dim, dim // 2, 2, n.norm_eps) if expand else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.upsample(x)


class Decoded(nn.Module):
    """An encoder without its last norm, and stages back up."""

    def __init__(self, n: SwinNumbers) -> None:
        super().__init__()
        last = len(n.depths) - 1
        self.n = n
        self.patch_embed = Stem(n)
        self.layers = nn.ModuleList(Stage(i, n, i < last) for i in range(last + 1))
        self.first_patch_expanding = PatchExpanding(n.embed_dim * 2**last, n.embed_dim * 2 ** (last - 1), 2, n.norm_eps)
        self.layers_up = nn.ModuleList(UpStage(i, n, i > 0) for i in reversed(range(last)))
        self.norm_up = nn.LayerNorm(n.embed_dim, n.norm_eps)


class SwinMAE(Decoded):
    """VIS-MAE's pre-training network. Its table of positions is kept with the weights and, as in the owners' code, not added."""

    def __init__(self, n: SwinNumbers, img_size: int = 224) -> None:
        super().__init__(n)
        self.pos_embed = nn.Parameter(torch.zeros(1, (img_size // 4) ** 2, n.embed_dim), requires_grad=False)
        self.mask_token = learned(1, 1, n.embed_dim)
        self.decoder_pred = nn.Linear(n.embed_dim, 48)

    def forward(self, pixels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the prediction [n, patches, 48]. ``mask``, bool [n, patches]: hidden ones."""
        x = self.patch_embed(pixels)
        x = torch.where(mask.reshape(*x.shape[:3], 1), self.mask_token[:, None], x)
        for layer in self.layers:
            x = layer(x)
        x = self.first_patch_expanding(x)
        for layer in self.layers_up:
            x = layer(x)
        return self.decoder_pred(self.norm_up(x).flatten(1, 2))


class SwinUnet(Decoded):
    """VIS-MAE's segmentation network: class scores [n, classes, height, width]."""

    def __init__(self, n: SwinNumbers, num_classes: int) -> None:
        super().__init__(n)
        widths = [n.embed_dim * 2**i for i in reversed(range(len(n.depths) - 1))]
        self.skip_connection_layers = nn.ModuleList(nn.Conv2d(2 * width, width, 1) for width in widths)
        self.final_patch_expanding = PatchExpanding(n.embed_dim, n.embed_dim, 4, n.norm_eps)
        self.head = nn.Conv2d(n.embed_dim, num_classes, 1, bias=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x, maps = self.patch_embed(pixels), []
        for layer in self.layers:
            maps.append(x)
            x = layer(x)
        x = self.first_patch_expanding(x)
        for layer, join, skipped in zip(self.layers_up, self.skip_connection_layers, reversed(maps[:-1]), strict=True):
            x = layer(join(torch.cat((x, skipped), -1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        x = self.final_patch_expanding(self.norm_up(x))
        return self.head(x.permute(0, 3, 1, 2))

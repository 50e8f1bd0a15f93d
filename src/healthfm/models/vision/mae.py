"""Masked autoencoders: a Vision Transformer that sees some patches, and a small one that paints the others (RETFound's training).

Key names: facebookresearch/mae ``models_mae.py``. The encoder's are those of ``vit``; for embedding the decoder is left out there.
"""

from __future__ import annotations

import torch
from torch import nn

from healthfm.models.vision.vision_model import learned
from healthfm.models.vision.vit import Block, ViT, ViTNumbers


class MaskedAutoencoder(ViT):
    """An encoder of the patches that are not masked, and a decoder of all. ``forward`` gives pixels a patch."""

    def __init__(self, n: ViTNumbers, *, embed_dim: int = 512, depth: int = 8, num_heads: int = 16) -> None:
        super().__init__(n)
        self.decoder_embed = nn.Linear(n.embed_dim, embed_dim)
        self.mask_token = learned(1, 1, embed_dim)
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, self.pos_embed.shape[1], embed_dim), requires_grad=False)
        self.decoder_blocks = nn.ModuleList(
            Block(embed_dim, num_heads, int(embed_dim * n.mlp_ratio), eps=n.norm_eps) for _ in range(depth)
        )
        self.decoder_norm = nn.LayerNorm(embed_dim, n.norm_eps)
        self.decoder_pred = nn.Linear(embed_dim, 3 * n.patch_size**2)
        if not self.pos_embed.is_meta:
            self.reset_positions()

    def reset_positions(self) -> None:
        """Set both position tables to the fixed waves that training starts from."""
        side = self.n.img_size // self.n.patch_size
        for table in (self.pos_embed, self.decoder_pos_embed):
            table.requires_grad_(False)
            table[:, 1:] = waves(table.shape[-1], side)
            table[:, :1] = 0

    def forward(self, pixels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Return the prediction [n, patches, 3 patch^2]. ``mask``, bool [n, patches]: hidden ones, as many in each picture."""
        patches = self.patch_embed(pixels).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        seen = patches[~mask].reshape(len(pixels), -1, patches.shape[-1])
        x = torch.cat(((self.cls_token + self.pos_embed[:, :1]).expand(len(pixels), -1, -1), seen), 1)
        for block in self.blocks:
            x = block(x)
        x = self.decoder_embed(self.norm(x))
        every = self.mask_token.to(x.dtype).repeat(len(pixels), mask.shape[1], 1)
        every[~mask] = x[:, 1:].flatten(0, 1)
        x = torch.cat((x[:, :1], every), 1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))[:, 1:]


def loss(pixels: torch.Tensor, prediction: torch.Tensor, mask: torch.Tensor, patch: int) -> torch.Tensor:
    """Return the mean squared difference over hidden patches. ``mask``: [n, patches]."""
    n, _, height, width = pixels.shape
    target = pixels.reshape(n, 3, height // patch, patch, width // patch, patch).permute(0, 2, 4, 3, 5, 1)
    errors = (prediction - target.reshape(prediction.shape)).square().mean(-1)
    return errors[mask].mean()


def waves(dim: int, side: int) -> torch.Tensor:
    """Return sine and cosine positions of a square grid, float32 [side^2, dim]; the column's come first."""
    rate = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    angle = torch.arange(side, dtype=torch.float64)[:, None] * rate
    one = torch.cat((angle.sin(), angle.cos()), 1)
    across, down = one.repeat(side, 1), one.repeat_interleave(side, 0)
    return torch.cat((across, down), 1).float()

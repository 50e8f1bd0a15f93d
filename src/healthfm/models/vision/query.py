"""One learned query that reads a picture's tokens by attention: what CoCa's picture sides end in."""

from __future__ import annotations

import torch
from torch import nn


class Query(nn.Module):
    """The query, the norms of what is asked and shown, attention (with or without ``bias``), and a norm of the answer."""

    def __init__(self, dim: int, heads: int, given: int, bias: bool = True) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, dim))
        self.attn = nn.MultiheadAttention(dim, heads, bias=bias, kdim=given, vdim=given, batch_first=True)
        self.ln_q, self.ln_k, self.norm = nn.LayerNorm(dim), nn.LayerNorm(given), nn.LayerNorm(dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [n, t, d] to one vector each, [n, ``dim``]."""
        seen, asked = self.ln_k(tokens), self.ln_q(self.query).expand(len(tokens), -1, -1)
        found: torch.Tensor = self.norm(self.attn(asked, seen, seen, need_weights=False)[0][:, 0])
        return found

"""CLIP's two towers, computing only what their vectors hang on, and that once.

Of the last layer a vector needs the one token that it is read from. A text's token hangs on the tokens before it alone: so the beginnings
that texts share (prompts of one template, of all names) are computed once, and nothing behind a text's end, so that no padding is. The
numbers are those of transformers' ``CLIPVisionModel`` and ``CLIPTextModel``, whose layers these are, but for rounding; where the caller's functions (hooks) wait inside, those work whole.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutputWithPooling

from healthfm.models.state import hooked


class Pictures(transformers.CLIPVisionModel):
    """CLIP's picture side."""

    def vectors(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the ``pooler_output`` [n, d] of pictures, no tokens."""
        if hooked(self):
            return self(pixel_values=pixels).pooler_output  # type: ignore[no-any-return]
        x = self.pre_layrnorm(self.embeddings(pixels))
        for layer in self.encoder.layers[:-1]:
            x = layer(x, None)
        layer = self.encoder.layers[-1]
        given = layer.layer_norm1(x)
        q, k, v = _heads(layer, given[:, :1], given)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        found: torch.Tensor = self.post_layernorm(_after(layer, x[:, 0], mixed.flatten(1)))
        return found


class Texts(transformers.CLIPTextModel):
    """CLIP's text side. Without gradients and functions of the caller's inside it gives a text's vector alone, ``pooler_output`` [n, d]; ``packs``: texts of any lengths may be given
    together, filled up with any id at their ends, at no cost. A text ends at its highest id.
    """

    packs = True

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **words: Any
    ) -> BaseModelOutputWithPooling:
        ends = input_ids.argmax(-1)
        inside = torch.arange(input_ids.shape[-1], device=ends.device) <= ends[:, None]
        hides = attention_mask is not None and not bool(attention_mask[inside].all())
        if hides or words or torch.is_grad_enabled() or hooked(self):
            return super().forward(input_ids, attention_mask, **words)
        return BaseModelOutputWithPooling(pooler_output=self.vectors(input_ids.where(inside, -1)))

    def vectors(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the states [n, d] at the ends of texts [n, length], -1 behind them."""
        rows, back = torch.unique(ids, dim=0, return_inverse=True)
        fresh, number = beginnings(rows)
        tables, layers = self.embeddings, self.encoder.layers
        x = tables.token_embedding(rows[fresh]) + tables.position_embedding(fresh.nonzero()[:, 1])
        for layer in layers[:-1]:
            given = layer.layer_norm1(x)
            q, k, v = _heads(layer, given, given, number)
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = _after(layer, x, mixed.transpose(1, 2).flatten(2)[fresh])
        seen = rows >= 0
        last = number.gather(1, seen.sum(1, keepdim=True) - 1)
        given = layers[-1].layer_norm1(x)
        q, k, v = _heads(layers[-1], given[last], given, number)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None])
        found: torch.Tensor = self.final_layer_norm(_after(layers[-1], x[last[:, 0]], mixed.flatten(1)))
        return found[back]


def beginnings(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return, of different sorted texts [n, length], -1 behind their ends, where no text before begins the same, bool [n, length], and
    the number of each beginning, counted in that order, [n, length] (behind an end: any).
    """
    fresh = torch.ones_like(rows, dtype=torch.bool)
    fresh[1:] = (rows[1:] != rows[:-1]).cumsum(1) > 0
    fresh &= rows >= 0
    counted = fresh.flatten().cumsum(0).view_as(rows) - 1
    return fresh, counted.where(fresh, 0).cummax(0).values


def _heads(layer: Any, asking: torch.Tensor, given: torch.Tensor, number: Any = ...) -> list[torch.Tensor]:
    """Return queries, keys and values, each [n, heads, length, d]; ``number``: the rows of both that stand in each text [n, length]."""
    attention = layer.self_attn
    q = attention.q_proj(asking)
    made = (q[number] if asking is given else q, attention.k_proj(given)[number], attention.v_proj(given)[number])
    return [one.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for one in made]


def _after(layer: Any, x: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
    x = x + layer.self_attn.out_proj(mixed)
    return x + layer.mlp(layer.layer_norm2(x))

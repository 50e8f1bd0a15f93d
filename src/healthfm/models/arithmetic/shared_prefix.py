"""Attention of many rows to one prefix, whose keys and values stand in memory once and are never copied.

A softmax over the prefix and a row's own past is two softmaxes joined by their log-sum-exp. Against the prefix the queries
of all rows and heads that share a key head are one long query (Juravsky and others 2024, arXiv 2402.05099).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel

NAME = "healthfm_shared_prefix"
Layers = list[
    tuple[torch.Tensor, torch.Tensor]
]  # keys and values of each layer, [1, key heads, length, head dimension]


def available(network: PreTrainedModel) -> bool:
    """Whether a network can attend so: on the CPU, where torch's kernel gives its log-sum-exp, by exchangeable attention."""
    return (
        network.device.type == "cpu"
        and network.config._attn_implementation == "sdpa"
        and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")
    )


@contextmanager
def attending(network: PreTrainedModel) -> Iterator[None]:
    """Inside the block the network's layers attend to the ``shared_prefix`` (their ``Layers``) that its decoder is called with."""
    before = network.config._attn_implementation
    network.config._attn_implementation = NAME
    try:
        yield
    finally:
        network.config._attn_implementation = before


def attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None,
    scaling: float | None = None, shared_prefix: Layers | None = None, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Attend from ``query`` [rows, heads, length, d] to the prefix and to the rows' own ``key`` and ``value``.

    ``attention_mask`` (0 where a token is seen, else minus infinity) covers the rows' own tokens; None is causal. Returns
    [rows, length, heads, d].
    """
    assert shared_prefix is not None
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    keys, values = shared_prefix[module.layer_idx]  # type: ignore[index]
    rows, heads, length, width = query.shape
    groups = heads // keys.shape[1]
    folded = query.reshape(rows, keys.shape[1], groups * length, width).transpose(0, 1)
    past, past_sum = flash(folded.reshape(1, keys.shape[1], -1, width), keys, values, scale=scaling)
    past = past.view(keys.shape[1], rows, groups, length, width).transpose(0, 1).reshape(rows, heads, length, width)
    past_sum = past_sum.reshape(keys.shape[1], rows, groups, length).transpose(0, 1).reshape(rows, heads, length, 1)
    own, own_sum = flash(
        query, key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1), is_causal=attention_mask is None,
        attn_mask=attention_mask, scale=scaling,
    )  # fmt: skip
    share = torch.sigmoid(past_sum - own_sum.reshape(rows, heads, length, 1))
    return torch.lerp(own, past, share).transpose(1, 2), None


AttentionInterface.register(NAME, attention)

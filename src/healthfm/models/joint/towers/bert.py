"""BERT as a tower of texts (``bert_tower`` knows the network): who is seen, and what one vector is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from healthfm.cards.schema import Runner
from healthfm.cards.schema import Tokenizer as TokenizerFacts
from healthfm.errors import CheckpointError
from healthfm.models.files.checkpoint import Tensors
from healthfm.models.joint import bert_tower
from healthfm.models.joint.bert_tower import POOLINGS, BertNumbers
from healthfm.models.joint.towers.kind import Kind, Made, Sizes
from healthfm.models.vision import vision_model as vision

PAD = 0
FRONT = "network."


class Texts(nn.Module):
    """BERT, called as ``Made`` says. Without a mask, the padding (id 0) is not seen; where the mean goes over it, all is, as in the release."""

    def __init__(self, network: transformers.BertModel, pooling: str) -> None:
        super().__init__()
        self.network = network
        self.pooling = pooling

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> BaseModelOutputWithPooling:
        seen = attention_mask
        if seen is None:
            seen = torch.ones_like(input_ids) if self.pooling == bert_tower.OVER_PADDING else input_ids != PAD
        return BaseModelOutputWithPooling(
            pooler_output=bert_tower.pooled(self.network, input_ids, seen.long(), self.pooling)
        )


def build(part: Runner, whole: Any, initial: bool) -> Made:
    """Build the network. Raises ``CheckpointError``: a pooling that it does not know."""
    n = vision.numbers(BertNumbers, part.config)
    pooling = part.pooling or "cls"
    if pooling not in POOLINGS:
        raise CheckpointError(f"pooling is '{pooling}'; use {', '.join(POOLINGS)}")
    network = bert_tower.build(n, initial)
    if pooling != "pooler":
        network.pooler = None
    return Made(Texts(network, pooling), n.hidden_size)


def names(tensors: Tensors, part: Runner) -> Tensors:
    """Return a published BERT under our names; its pooler layer is left off where no vector is made by it."""
    own = bert_tower.published(tensors)
    return {
        FRONT + key: value for key, value in own.items() if part.pooling == "pooler" or not key.startswith("pooler.")
    }


def shown(tensors: Mapping[str, Any]) -> Sizes:
    """Return the sizes that tensors show."""
    return dict(bert_tower.shown(tensors))


def _stated(n: BertNumbers) -> Sizes:
    return asdict(n)


def _tokenizer(folder: Path | None, facts: TokenizerFacts | None) -> transformers.PreTrainedTokenizerBase | None:
    return bert_tower.read_tokenizer(folder, facts)


TEXT = Kind(
    BertNumbers, build, shown, _stated, names, heads="num_attention_heads", width="hidden_size",
    context="max_position_embeddings", tokenizer=_tokenizer,
)  # fmt: skip

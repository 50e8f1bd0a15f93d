"""Query decoders: the vectors of texts ask the tokens of a picture, and each is answered by two logits, absent and present (KAD, MedKLIP).

Sources: xiaoman-zhang/KAD ``A3_CLIP/models/clip_tqn.py``; MediaBrain-SJTU/MedKLIP ``models/model_MedKLIP.py``. The decoder is torch's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from healthfm.errors import CapabilityError, CheckpointError
from healthfm.models.joint import bert_tower
from healthfm.models.joint.dual_encoder import Side
from healthfm.models.vision.vision_model import Tower

PAD = 0
NO_TEXTS = "these weights have no text encoder: texts cannot be read, and queries must be given"


@dataclass(frozen=True, kw_only=True)
class DecoderNumbers:
    """The decoder's numbers. ``shared_norm``: its last norm acts before the first layer too, on tokens and queries.

    ``asks``: the width of the texts' vectors, where a linear layer makes queries of them. ``entities``: the names of the queries that
    the model always asks with; ``called``: other names of theirs. ``descriptions``: the file of the texts that those queries are made of.
    """

    embed_dim: int = 768
    depth: int = 4
    num_heads: int = 4
    mlp_dim: int = 1024
    shared_norm: bool = False
    asks: int | None = None
    entities: tuple[str, ...] = ()
    called: Mapping[str, str] = field(default_factory=dict)
    descriptions: str | None = None


class QueryDecoder(Tower):
    """A ResNet's map to tokens, and a decoder of texts' queries over them. As a tower: the tokens and their mean."""

    poolings = ("mean",)

    def __init__(self, n: DecoderNumbers, image: Side, text: Side | None, text_pooling: str) -> None:
        super().__init__()
        self.n = n
        self.image, self.text, self.text_pooling = image, text, text_pooling
        layer = nn.TransformerDecoderLayer(n.embed_dim, n.num_heads, n.mlp_dim, norm_first=True, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, n.depth, nn.LayerNorm(n.embed_dim))
        self.ask = nn.Linear(n.asks, n.embed_dim) if n.asks else nn.Identity()
        self.head = nn.Linear(n.embed_dim, 2)

    def tokens(self, pixels: torch.Tensor, layer: int | None = None) -> torch.Tensor:
        if layer is not None:
            raise CapabilityError("tokens of inner layers are not read of a query decoder")
        found: torch.Tensor = self.image.projection(self.image.tower.tokens(pixels))  # type: ignore[operator]
        return found

    def of_texts(self, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return the vectors [n, d] of token ids [n, length], with which ``answers`` asks."""
        if self.text is None:
            raise CheckpointError(NO_TEXTS)
        seen = (ids != PAD).long() if mask is None else mask
        found: torch.Tensor = self.text.projection(bert_tower.pooled(self.text.tower, ids, seen, self.text_pooling))  # type: ignore[arg-type]
        return found

    def answers(self, tokens: torch.Tensor, queries: torch.Tensor, sizes: Sequence[int] = ()) -> torch.Tensor:
        """Return logits [n, q, 2] of tokens [n, t, d] asked with [q, d]: the queries see each other, so all that are asked together count.

        ``sizes``: how many queries stand in each of several sets, which do not see one another.
        """
        asked = queries if queries.shape[-1] == self.n.embed_dim != self.n.asks else self.ask(queries)
        if self.n.shared_norm:
            tokens, asked = self.decoder.norm(tokens), self.decoder.norm(asked)  # type: ignore[misc]
        apart = None
        if len(sizes) > 1:
            apart = ~torch.block_diag(*(asked.new_ones(size, size) for size in sizes)).bool()
        made = self.decoder(asked.expand(len(tokens), *asked.shape), tokens, tgt_mask=apart)
        return self.head(made)  # type: ignore[no-any-return]

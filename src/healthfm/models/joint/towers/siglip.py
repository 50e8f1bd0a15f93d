"""SigLIP's two towers, by transformers' network classes: a Vision Transformer that one learned query reads, and a text transformer whose
tokens all see each other, the padding too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from healthfm.cards.schema import Runner
from healthfm.cards.schema import Tokenizer as TokenizerFacts
from healthfm.errors import CheckpointError
from healthfm.models.files import recognise
from healthfm.models.joint import siglip_words
from healthfm.models.joint.towers.clip import LAYERS, text_sizes
from healthfm.models.joint.towers.kind import Kind, Made, Sizes
from healthfm.models.language.text_model import build_network
from healthfm.models.vision import vision_model as vision

MOST = 100_000  # words: SigLIP has 32,000, its multilingual kin 250,000 and SigLIP 2 256,000
PAD = 1  # the token that ends a text fills it up, too
ACTIVATIONS = {"gelu-tanh": "gelu_pytorch_tanh", "gelu": "gelu"}
STATED = {"num_attention_heads": "num_heads", "layer_norm_eps": "norm_eps"}  # transformers' words, and ours


@dataclass(frozen=True, kw_only=True)
class ImageNumbers:
    """The Vision Transformer's numbers; what is left of ``img_size`` beyond whole patches is not looked at. ``mlp_dim``: four times the
    width where it is not said. ``activation``: "gelu-tanh", GELU by its approximation, or "gelu".
    """

    img_size: int = 224
    patch_size: int = 16
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_dim: int | None = None
    activation: str = "gelu-tanh"
    norm_eps: float = 1e-6


@dataclass(frozen=True, kw_only=True)
class TextNumbers:
    """The text transformer's numbers (see ``ImageNumbers``). A text's vector is the state at the last place, which is padding of most."""

    vocab_size: int = 32000
    context_length: int = 64
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_dim: int | None = None
    activation: str = "gelu-tanh"
    norm_eps: float = 1e-6


class Texts(nn.Module):
    """The text side, called as ``Made`` says: texts of any length are filled up to the last place, as those that it was trained with."""

    def __init__(self, network: transformers.SiglipTextModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> BaseModelOutputWithPooling:
        ids = input_ids if attention_mask is None else input_ids.where(attention_mask.bool(), PAD)
        beyond = self.network.config.max_position_embeddings - ids.shape[1]
        found: BaseModelOutputWithPooling = self.network(nn.functional.pad(ids, (0, beyond), value=PAD))
        return found


def image(part: Runner, whole: Any, initial: bool) -> Made:
    """Build the picture side."""
    n = vision.numbers(ImageNumbers, part.config)
    sizes = {"image_size": n.img_size, "patch_size": n.patch_size}
    return Made(_network("SiglipVision", {**_shared(n), **sizes}, initial), n.embed_dim)


def text(part: Runner, whole: Any, initial: bool) -> Made:
    """Build the text side."""
    n = vision.numbers(TextNumbers, part.config)
    sizes = {
        "vocab_size": n.vocab_size, "max_position_embeddings": n.context_length,
        "eos_token_id": PAD, "bos_token_id": PAD, "pad_token_id": PAD,  # no vector hangs on them
    }  # fmt: skip
    return Made(Texts(_network("SiglipText", {**_shared(n), **sizes}, initial)), n.embed_dim)


def _shared(n: ImageNumbers | TextNumbers) -> dict[str, Any]:
    if n.activation not in ACTIVATIONS:
        raise CheckpointError(f"activation is '{n.activation}'; use {', '.join(ACTIVATIONS)}")
    return {
        "hidden_act": ACTIVATIONS[n.activation], "layer_norm_eps": n.norm_eps, "hidden_size": n.embed_dim,
        "num_hidden_layers": n.depth, "num_attention_heads": n.num_heads, "intermediate_size": n.mlp_dim or 4 * n.embed_dim,
    }  # fmt: skip


def _network(kind: str, numbers: Mapping[str, Any], initial: bool) -> Any:
    network = build_network(f"{kind}Config", f"{kind}Model", numbers)
    return type(network)(network.config) if initial else network


def image_sizes(tensors: Mapping[str, Any]) -> Sizes:
    """Return the sizes that the picture side's tensors show."""
    patch, places, inner = (
        recognise.shape(tensors, end)
        for end in ("patch_embedding.weight", "position_embedding.weight", "layers.0.mlp.fc1.weight")
    )
    return {
        "img_size": math.isqrt(places[0]) * patch[2], "patch_size": patch[2], "embed_dim": patch[0],
        "depth": recognise.numbered(tensors, LAYERS), "mlp_dim": inner[0],
    }  # fmt: skip


def _text_sizes(tensors: Mapping[str, Any]) -> Sizes:
    found = text_sizes({key.removeprefix(FRONT): value for key, value in tensors.items()})
    if found["vocab_size"] > MOST:
        raise CheckpointError(
            f"a text side of {found['vocab_size']:,} words is SigLIP 2's or the multilingual one, whose words and pixels are made otherwise"
        )
    return found


def _stated(n: ImageNumbers | TextNumbers) -> Sizes:
    found = {**vars(n), "mlp_dim": n.mlp_dim or 4 * n.embed_dim}
    if isinstance(n, ImageNumbers):
        found["img_size"] = n.img_size // n.patch_size * n.patch_size
    return found


def stated(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a ``config.json`` beside the weights says of both towers that tensors cannot show. Raises ``CheckpointError``."""
    if config.get("model_type") != "siglip":
        return {}
    words, found = {name: ours for ours, name in ACTIVATIONS.items()}, {}
    for side, theirs in (("image", "vision_config"), ("text", "text_config")):
        told = config.get(theirs) or {}
        own = {ours: told[name] for name, ours in STATED.items() if name in told}
        act = told.get("hidden_act")
        if act is not None and act not in words:
            raise CheckpointError(f"config.json: hidden_act is {act}; one of {', '.join(words)} was expected")
        found[side] = own | ({"activation": words[act]} if act is not None else {})
    return found


def _tokenizer(folder: Path | None, facts: TokenizerFacts | None) -> transformers.PreTrainedTokenizerBase | None:
    return siglip_words.read(folder, facts.lower_case if facts is not None else None)


FRONT = "network."
IMAGE = Kind(ImageNumbers, image, image_sizes, _stated, heads="num_heads")
TEXT = Kind(
    TextNumbers, text, _text_sizes, _stated, heads="num_heads", tokenizer=_tokenizer,
    names=lambda tensors, part: {FRONT + key: value for key, value in tensors.items()},
)  # fmt: skip

"""CLIP's own two towers, by transformers' network classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from transformers.initialization import no_init_weights

from healthfm.cards.schema import Runner
from healthfm.cards.schema import Tokenizer as TokenizerFacts
from healthfm.errors import CheckpointError
from healthfm.models.files import recognise
from healthfm.models.joint import clip_bpe
from healthfm.models.joint.clip_layers import Pictures, Texts
from healthfm.models.joint.towers.kind import Kind, Made, Sizes
from healthfm.models.language.text_model import build_network
from healthfm.models.vision import vision_model as vision

ACTIVATIONS = {"quick-gelu": "quick_gelu", "gelu": "gelu"}
EPS = 1e-5
LAYERS = r"^encoder\.layers\.(\d+)\."


@dataclass(frozen=True, kw_only=True)
class ImageNumbers:
    """CLIP's Vision Transformer; ``mlp_dim``: four times the width where it is not said."""

    img_size: int = 224
    patch_size: int = 32
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_dim: int | None = None


@dataclass(frozen=True, kw_only=True)
class TextNumbers:
    """CLIP's causal text tower; a text's vector is the state at its last token, the one of the highest number."""

    vocab_size: int = 49408
    context_length: int = 77
    embed_dim: int = 512
    depth: int = 12
    num_heads: int = 8
    mlp_dim: int | None = None


def image(part: Runner, whole: Any, initial: bool) -> Made:
    """Build the picture side; the class token stands first."""
    n = vision.numbers(ImageNumbers, part.config)
    sizes = {"image_size": n.img_size, "patch_size": n.patch_size}
    return Made(
        _network(Pictures, "CLIPVisionConfig", {**_shared(n, whole), **sizes}, initial),
        n.embed_dim,
        prefix=1,
    )


def text(part: Runner, whole: Any, initial: bool) -> Made:
    """Build the text side; what stands behind a text's last token changes nothing."""
    n = vision.numbers(TextNumbers, part.config)
    sizes = {
        "vocab_size": n.vocab_size, "max_position_embeddings": n.context_length,
        "eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 1,  # 2: transformers' sign for "the highest number"
    }  # fmt: skip
    return Made(_network(Texts, "CLIPTextConfig", {**_shared(n, whole), **sizes}, initial), n.embed_dim)


def _shared(n: ImageNumbers | TextNumbers, whole: Any) -> dict[str, Any]:
    if whole.activation not in ACTIVATIONS:
        raise CheckpointError(f"activation is '{whole.activation}'; use {', '.join(ACTIVATIONS)}")
    return {
        "hidden_act": ACTIVATIONS[whole.activation], "layer_norm_eps": EPS, "hidden_size": n.embed_dim,
        "num_hidden_layers": n.depth, "num_attention_heads": n.num_heads, "intermediate_size": n.mlp_dim or 4 * n.embed_dim,
    }  # fmt: skip


def _network(
    kind: type[transformers.PreTrainedModel], config: str, numbers: Mapping[str, Any], initial: bool
) -> transformers.PreTrainedModel:
    checked = build_network(config, config.replace("Config", "Model"), numbers).config
    with nullcontext() if initial else no_init_weights():
        return kind(checked)


def image_sizes(tensors: Mapping[str, Any]) -> Sizes:
    """Return the sizes that the picture side's tensors show."""
    patch, places, inner = (
        recognise.shape(tensors, end)
        for end in ("patch_embedding.weight", "position_embedding.weight", "layers.0.mlp.fc1.weight")
    )
    return {
        "img_size": math.isqrt(places[0] - 1) * patch[2], "patch_size": patch[2], "embed_dim": patch[0],
        "depth": recognise.numbered(tensors, LAYERS), "mlp_dim": inner[0],
    }  # fmt: skip


def text_sizes(tensors: Mapping[str, Any]) -> Sizes:
    """Return the sizes that the text side's tensors show."""
    tokens, positions, inner = (
        recognise.shape(tensors, end)
        for end in ("token_embedding.weight", "position_embedding.weight", "layers.0.mlp.fc1.weight")
    )
    return {
        "vocab_size": tokens[0], "context_length": positions[0], "embed_dim": tokens[1],
        "depth": recognise.numbered(tensors, LAYERS), "mlp_dim": inner[0],
    }  # fmt: skip


def _stated(n: ImageNumbers | TextNumbers) -> Sizes:
    return {**vars(n), "mlp_dim": n.mlp_dim or 4 * n.embed_dim}


def _tokenizer(folder: Path | None, facts: TokenizerFacts | None) -> transformers.PreTrainedTokenizerBase | None:
    return clip_bpe.read(folder)


IMAGE = Kind(ImageNumbers, image, image_sizes, _stated, heads="num_heads")
TEXT = Kind(TextNumbers, text, text_sizes, _stated, heads="num_heads", tokenizer=_tokenizer)

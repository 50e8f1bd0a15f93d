"""CoCa's two towers, as CONCH has them: a Vision Transformer that one query reads, and CLIP's text layers read by a token at their end.

Source: mahmoodlab/CONCH ``conch/open_clip_custom/`` (``vision_tower.py``, ``transformer.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from healthfm.cards.schema import Runner
from healthfm.cards.schema import Tokenizer as TokenizerFacts
from healthfm.errors import CheckpointError, RunError
from healthfm.models.files import recognise
from healthfm.models.files.checkpoint import Tensors
from healthfm.models.joint import clip_keys
from healthfm.models.joint.towers import pictures
from healthfm.models.joint.towers.clip import EPS
from healthfm.models.joint.towers.clip import TextNumbers as ClipNumbers
from healthfm.models.joint.towers.clip import text_sizes as clip_sizes
from healthfm.models.joint.towers.kind import Kind, Made, Sizes
from healthfm.models.language.text_model import build_network, read_tokenizer
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision import vit
from healthfm.models.vision.query import Query

PAD = 0
SPECIAL = {"bos_token": "<start_of_text>", "eos_token": "<end_of_text>", "pad_token": "<pad>"}


@dataclass(frozen=True, kw_only=True)
class ImageNumbers:
    """The transformer's numbers (``vit.ViTNumbers``); ``query_dim`` and ``query_heads``: of the attention by which one query reads it."""

    img_size: int = 448
    patch_size: int = 16
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4
    norm_eps: float = 1e-6
    query_dim: int = 512
    query_heads: int = 8


@dataclass(frozen=True, kw_only=True)
class TextNumbers(ClipNumbers):
    """CLIP's text numbers; ``context_length``: places, the last of them the token's that reads the others."""

    vocab_size: int = 32007
    context_length: int = 128
    embed_dim: int = 768
    num_heads: int = 12


class Pictures(nn.Module):
    """A Vision Transformer and the query that reads all its tokens, called as ``Made`` says."""

    def __init__(self, network: vit.ViT, pooler: Query) -> None:
        super().__init__()
        self.network = network
        self.pooler = pooler

    def forward(self, pixel_values: torch.Tensor) -> BaseModelOutputWithPooling:
        tokens = self.network.tokens(pixel_values)
        return BaseModelOutputWithPooling(last_hidden_state=tokens, pooler_output=self.pooler(tokens))


class Texts(nn.Module):
    """CLIP's text layers with a token of the model's own at the end, whose state is the text's vector; called as ``Made`` says.

    Each token sees those before it. What the last token sees is the release's: the text's padding is told one place too late, so the first
    place of the padding is seen, and the last token itself only where the text leaves no padding. Its own place is the last, so texts of any
    length are filled up as the release's tokenizer does: a shorter array would give vectors that hang on what stands beside a text.
    """

    def __init__(self, network: transformers.CLIPTextModel) -> None:
        super().__init__()
        self.network = network
        self.cls_emb = nn.Parameter(torch.randn(network.config.hidden_size) * 0.01)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> BaseModelOutputWithPooling:
        network, places = self.network, self.network.embeddings.position_embedding.weight
        if input_ids.shape[1] == len(places):  # as the release's tokenizer makes them: the last is kept free
            if bool((input_ids[:, -1] != PAD).any()):
                raise RunError(
                    f"a text has {len(places)} tokens, and the last place is the network's own: {len(places) - 1} are read"
                )
            input_ids = input_ids[:, :-1]
        input_ids = nn.functional.pad(input_ids, (0, len(places) - 1 - input_ids.shape[1]), value=PAD)
        words = network.embeddings.token_embedding(input_ids)
        x = torch.cat((words, self.cls_emb.expand(len(words), 1, -1)), 1)
        length = x.shape[1]
        seen = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()[None].repeat(len(x), 1, 1)
        seen[:, -1, 1:] = input_ids != PAD
        out = network.encoder(x + places[:length], attention_mask=seen[:, None], is_causal=False).last_hidden_state
        return BaseModelOutputWithPooling(
            last_hidden_state=out[:, :-1], pooler_output=network.final_layer_norm(out[:, -1])
        )


def image(part: Runner, whole: Any, initial: bool) -> Made:
    """Build the picture side; the class token stands first."""
    own = asdict(vision.numbers(ImageNumbers, part.config))
    dim, heads = own.pop("query_dim"), own.pop("query_heads")
    return Made(Pictures(vit.ViT(vit.ViTNumbers(**own)), Query(dim, heads, own["embed_dim"])), dim, prefix=1)


def text(part: Runner, whole: Any, initial: bool) -> Made:
    """Build the text side."""
    n = vision.numbers(TextNumbers, part.config)
    network = build_network("CLIPTextConfig", "CLIPTextModel", {
        "hidden_act": "gelu", "layer_norm_eps": EPS, "hidden_size": n.embed_dim, "num_hidden_layers": n.depth,
        "num_attention_heads": n.num_heads, "intermediate_size": n.mlp_dim or 4 * n.embed_dim, "vocab_size": n.vocab_size,
        "max_position_embeddings": n.context_length, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": PAD,
    })  # fmt: skip
    if initial:
        network = transformers.CLIPTextModel(network.config)
    return Made(Texts(network), n.embed_dim)


def image_names(tensors: Tensors, part: Runner) -> Tensors:
    """Return ``trunk.*``, ``attn_pool_contrast.*`` and ``ln_contrast.*`` under our names."""
    fronts = {"trunk.": "network.", "attn_pool_contrast.": "pooler.", "ln_contrast.": "pooler.norm."}
    found = {}
    for key, value in tensors.items():
        front = next((one for one in fronts if key.startswith(one)), "")
        found[fronts.get(front, "") + key.removeprefix(front)] = value
    return found


def text_names(tensors: Tensors, part: Runner) -> Tensors:
    """Return CLIP's names of a text side alone (OpenAI's) under our names."""
    front = "text.tower."
    own = {key: value for key, value in tensors.items() if key != "cls_emb"}
    found = {f"network.{key.removeprefix(front)}": value for key, value in clip_keys.openai(own).items()}
    return found | ({"cls_emb": tensors["cls_emb"]} if "cls_emb" in tensors else {})


def image_sizes(tensors: Mapping[str, Any]) -> Sizes:
    """Return the sizes that the picture side's tensors show."""
    trunk = {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
    return {**pictures.vit_sizes(trunk), "query_dim": recognise.shape(tensors, "pooler.query")[1]}


def text_sizes(tensors: Mapping[str, Any]) -> Sizes:
    """Return the sizes that the text side's tensors show."""
    return clip_sizes({key.removeprefix("network."): value for key, value in tensors.items()})


def _stated(n: TextNumbers) -> Sizes:
    return {**asdict(n), "mlp_dim": n.mlp_dim or 4 * n.embed_dim}


def _tokenizer(folder: Path | None, facts: TokenizerFacts | None) -> transformers.PreTrainedTokenizerBase | None:
    """Return CONCH's tokenizer: the owners' one file (``*bpe*.json``) with the special tokens that their code names; else transformers'."""
    files = sorted(folder.glob("*bpe*.json")) if folder is not None else []
    if len(files) != 1:
        return read_tokenizer(folder)
    try:
        return transformers.PreTrainedTokenizerFast(tokenizer_file=str(files[0]), **SPECIAL)
    except Exception as error:  # the Rust library's own kinds
        raise CheckpointError(f"{files[0]}: not readable as a tokenizer ({type(error).__name__})") from None


IMAGE = Kind(ImageNumbers, image, image_sizes, names=image_names, heads="num_heads")
TEXT = Kind(TextNumbers, text, text_sizes, _stated, text_names, heads="num_heads", own=1, tokenizer=_tokenizer)

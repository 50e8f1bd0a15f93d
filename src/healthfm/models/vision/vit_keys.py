"""Published key names of Vision Transformers to those of ``vit`` (timm's): pure functions from a mapping of tensors to another one.

The card says which dialect its files have. ``network`` is the tower that is to be filled; its numbers are ``network.n``.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional

from healthfm.cards.schema import Runner
from healthfm.errors import CheckpointError
from healthfm.models.files import recognise
from healthfm.models.files.checkpoint import Tensors
from healthfm.models.vision import config_keys as vision_keys
from healthfm.models.vision import heads
from healthfm.models.vision import vision_model as vision


def dinov2(tensors: Tensors, network: Any) -> Tensors:
    """facebookresearch/dinov2: gated layers are w12 and w3; with registers, the class token's position is added to it."""
    renamed = {
        re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", key).replace(".w12.", ".fc1.").replace(".w3.", ".fc2."): value
        for key, value in tensors.items() if key != "mask_token"
    }  # fmt: skip
    if "register_tokens" in renamed:
        renamed["reg_token"] = renamed.pop("register_tokens")
    return _class_position_added(renamed, network)


HUGGING_FACE = (
    ("embeddings.cls_token", "cls_token"), ("embeddings.register_tokens", "reg_token"), ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection.", "patch_embed.proj."), ("encoder.layer.", "blocks."), ("attention.output.dense.", "attn.proj."),
    ("layer_scale1.lambda1", "ls1.gamma"), ("layer_scale2.lambda1", "ls2.gamma"), ("mlp.weights_in.", "mlp.fc1."),
    ("mlp.weights_out.", "mlp.fc2."), ("layernorm.", "norm."),
)  # fmt: skip


def transformers(tensors: Tensors, network: Any) -> Tensors:
    """Dinov2Model of transformers (with registers or without), or Dinov2ForImageClassification: queries, keys and values stand apart."""
    tensors = {key.removeprefix("dinov2."): value for key, value in tensors.items()}
    renamed: dict[str, torch.Tensor] = {}
    for key, value in tensors.items():
        if key == "embeddings.mask_token" or ".attention.attention." in key:
            continue
        for old, new in HUGGING_FACE:
            key = key.replace(old, new)
        renamed[key] = value
    for key in tensors:
        if found := re.fullmatch(r"encoder\.layer\.(\d+)\.attention\.attention\.query\.(weight|bias)", key):
            parts = [
                tensors[key.replace("query", word)]
                for word in ("query", "key", "value")
                if key.replace("query", word) in tensors
            ]
            renamed[f"blocks.{found[1]}.attn.qkv.{found[2]}"] = torch.cat(parts)
    return _class_position_added(renamed, network)


def _class_position_added(tensors: dict[str, torch.Tensor], network: Any) -> dict[str, torch.Tensor]:
    """Where the network gives its class token no position, add that of the checkpoint to the token itself."""
    table, token = tensors.get("pos_embed"), tensors.get("cls_token")
    if network.n.no_embed_class and table is not None and token is not None:
        tensors["cls_token"], tensors["pos_embed"] = token + table[:, :1], table[:, 1:]
    return tensors


DINOV3 = (
    ("embeddings.cls_token", "cls_token"), ("embeddings.register_tokens", "reg_token"), ("embeddings.patch_embeddings.", "patch_embed.proj."),
    ("layer.", "blocks."), ("attention.o_proj.", "attn.proj."), ("layer_scale1.lambda1", "ls1.gamma"), ("layer_scale2.lambda1", "ls2.gamma"),
    ("mlp.up_proj.", "mlp.fc1."), ("mlp.down_proj.", "mlp.fc2."),
)  # fmt: skip


def dinov3(tensors: Tensors, network: Any) -> Tensors:
    """DINOv3ViTModel of transformers: queries, keys (without a bias) and values stand apart; so do gate and values."""
    renamed: dict[str, torch.Tensor] = {}
    for key, value in tensors.items():
        part = re.fullmatch(r"layer\.(\d+)\.(attention\.([qkv])|mlp\.(gate))_proj\.(weight|bias)", key)
        if part is None and key != "embeddings.mask_token":
            for old, new in DINOV3:
                key = key.replace(old, new)
            renamed[key] = value
    for i, word in itertools.product(range(network.n.depth), ("weight", "bias")):
        head = f"layer.{i}.attention."
        found = [tensors.get(f"{head}{letter}_proj.{word}") for letter in "qkv"]
        known = next((value for value in found if value is not None), None)
        if known is not None:
            renamed[f"blocks.{i}.attn.qkv.{word}"] = torch.cat(
                [torch.zeros_like(known) if v is None else v for v in found]
            )
        if (gate := tensors.get(f"layer.{i}.mlp.gate_proj.{word}")) is not None:
            renamed[f"blocks.{i}.mlp.fc1.{word}"] = torch.cat((gate, tensors[f"layer.{i}.mlp.up_proj.{word}"]))
    return renamed


def mae(tensors: Tensors, network: Any) -> Tensors:
    """facebookresearch/mae: the decoder is left out; where the network pools by ``fc_norm``, its norm is too.

    ``fc_norm`` starts as it is in the owners' code, which trains it: weight 1, bias 0.
    """
    kept = {k: v for k, v in tensors.items() if not k.startswith(("decoder_", "mask_token"))}
    if network.n.fc_norm and "fc_norm.weight" not in kept:  # a head that was trained without is told by ``headed``
        scale = kept.pop("norm.weight", torch.ones(network.n.embed_dim))
        kept.pop("norm.bias", None)
        kept |= {"fc_norm.weight": torch.ones_like(scale), "fc_norm.bias": torch.zeros_like(scale)}
    return kept


CONCH = (
    ("trunk.", ""), ("attn_pool_contrast.to_q.weight", "pooler.attn.q_proj_weight"), ("attn_pool_contrast.to_out.", "pooler.attn.out_proj."),
    ("attn_pool_contrast.", "pooler."), ("ln_contrast.", "pooler.norm."),
)  # fmt: skip


def conch(tensors: Tensors, network: Any) -> Tensors:
    """CONCH v1.5's: keys and values in one matrix; a table of positions of another grid is made the network's first, as its loader does it."""
    renamed: dict[str, torch.Tensor] = {}
    for key, value in tensors.items():
        if key == "attn_pool_contrast.to_kv.weight":
            renamed["pooler.attn.k_proj_weight"], renamed["pooler.attn.v_proj_weight"] = value.chunk(2)
            continue
        old, new = next((one for one in CONCH if key.startswith(one[0])), ("", ""))
        renamed[new + key.removeprefix(old)] = value
    table, side = renamed.get("pos_embed"), network.n.img_size // network.n.patch_size
    if table is not None and table.shape[1] != side * side + 1:
        given = math.isqrt(table.shape[1] - 1)
        square = table[:, 1:].float().reshape(1, given, given, -1).permute(0, 3, 1, 2)
        square = functional.interpolate(square, size=(side, side), mode="bilinear")
        renamed["pos_embed"] = torch.cat((table[:, :1], square.flatten(2).transpose(1, 2).to(table.dtype)), 1)
    return renamed


POOLS = {"token": "cls", "avg": "mean"}  # timm's words


def headed(tensors: Tensors, run: Runner, config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what a head's checkpoint shows of the pooling before it, in words of ``config``, and what to say where it is not the card's.

    ``fc_norm``: the norm of the patches' mean; else the last norm, and what the ``config.json`` calls ``global_pool``; else the class
    token where the card has an ``fc_norm``, and where the head has twice the width the class token and the patches' mean.
    Raises ``CheckpointError``: a ``global_pool`` that is not known.
    """
    own, head = bool(run.config.get("fc_norm")), heads.find(tensors)
    stated = config.get("global_pool") or config.get("model_args", {}).get("global_pool")
    if stated not in (None, *POOLS):
        raise CheckpointError(f"config.json: its global_pool is '{stated}'; with a head, {', '.join(POOLS)} are read")
    words: dict[str, Any] = {}
    if "fc_norm.weight" in tensors:
        words = {} if own else {"fc_norm": True, "twice": False, "pooling": "fc_norm"}
    elif own:
        words = {"fc_norm": False, "twice": False, "pooling": POOLS.get(stated or "", "cls")}
    elif stated is not None:
        words = {} if POOLS[stated] == run.pooling else {"pooling": POOLS[stated]}
    elif head is not None and head.width == 2 * run.config["embed_dim"] and run.pooling != "cls+mean":
        words = {"pooling": "cls+mean"}
    return words, [f"vectors are pooled as the head takes them: {words['pooling']}, not {run.pooling}"] if words else []


# Sizes ------------------------------------------------------------------------------------------------------------------

NAMES = {"transformers": "transformers", "dinov3": "dinov3"}  # dialects whose names of layers are not timm's
LAYERS = r"(?:^|\.)(?:blocks\.(?:\d+\.)?|layer\.)(\d+)\."
QUERY = "attn_pool_contrast.query"
HIDDEN = ("mlp.fc1.weight", "mlp.w12.weight", "mlp.weights_in.weight", "mlp.up_proj.weight")
LAYOUT = ("names", "features", "registers", "layer_scale", "query")


def sizes(tensors: Tensors) -> dict[str, Any]:
    """Return the numbers that published tensors show, whichever dialect their names are of."""
    token, registers = recognise.shape(tensors, "cls_token"), recognise.shape(tensors, "reg_token", "register_tokens")
    patch = recognise.shape(
        tensors, "patch_embed.proj.weight", "patch_embeddings.projection.weight", "patch_embeddings.weight"
    )
    features, hidden = recognise.shape(tensors, "phi.0.weight"), recognise.shape(tensors, *HIDDEN)
    table, query = recognise.shape(tensors, "pos_embed", "position_embeddings"), recognise.shape(tensors, QUERY)
    halves = 2 if any(".gate_proj." in key for key in tensors) else 1  # DINOv3's gate stands apart
    return {
        "names": "dinov3" if any(".o_proj." in k for k in tensors) else "transformers" if any("encoder.layer." in k for k in tensors) else "timm",
        "embed_dim": token[-1] if token else None, "depth": recognise.numbered(tensors, LAYERS),
        "patch_size": patch[-1] if patch else None, "features": features[1] if features else 0,
        "registers": registers[1] if registers else 0, "hidden": hidden[0] * halves if hidden else None,
        "layer_scale": any(".ls1." in key or "layer_scale1" in key for key in tensors),
        "positions": table[1] if table else 0, "query": query[1] if query else 0,
    }  # fmt: skip


def match(tensors: Tensors, n: Any, dialect: str | None) -> recognise.Match:
    """Return how far the sizes of published tensors go with a transformer's numbers (``vit.ViTNumbers``)."""
    grid, kept = (
        (n.img_size // n.patch_size) ** 2,
        dialect in ("dinov2", "transformers"),
    )  # keep the class token's position
    own = {
        "names": NAMES.get(dialect or "", "timm"), "embed_dim": n.embed_dim, "depth": n.depth, "registers": n.reg_tokens,
        "patch_size": n.patch_size if n.features is None else None, "features": n.features or 0, "layer_scale": n.layer_scale,
        "hidden": int(n.embed_dim * n.mlp_ratio + 1e-6), "query": n.query_dim or 0,
        "positions": 0 if n.positions == "rotary" else grid + (kept if n.no_embed_class else n.class_token + (0 if kept else n.reg_tokens)),
    }  # fmt: skip
    return recognise.compared(sizes(tensors), own, LAYOUT, ("positions", "names"))


DIALECTS: dict[str, Callable[[Tensors, Any], Tensors]] = {
    "dinov2": dinov2,
    "transformers": transformers,
    "dinov3": dinov3,
    "mae": mae,
    "conch": conch,
}
CONFIG = {
    "hidden_size": "embed_dim", "num_hidden_layers": "depth", "num_attention_heads": "num_heads", "image_size": "img_size",
    "num_register_tokens": "reg_tokens", "layer_norm_eps": "norm_eps", "patch_size": "patch_size", "mlp_ratio": "mlp_ratio",
}  # fmt: skip


def stated(kind: type[Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of a ``config.json``: timm's ``model_args``, or transformers' names."""
    if "hidden_size" not in config:
        return vision.model_args(kind, config)
    vision_keys.check_transformers(config, CONFIG)
    found = {CONFIG[key]: value for key, value in config.items() if key in CONFIG}
    if config.get("model_type") == "dinov2_with_registers":  # gives them no position, and stretches with antialias
        found |= {"no_embed_class": True, "positions": "timm"}
    if config.get("use_swiglu_ffn"):  # the ratio is a plain layer's; a gated one is cut to multiples of 8
        hidden = (int(int(found["embed_dim"] * found.get("mlp_ratio", 4)) * 2 / 3) + 7) // 8 * 8
        found |= {"mlp": "swiglu", "mlp_ratio": 2 * hidden / found["embed_dim"]}
    if "use_gated_mlp" in config:  # DINOv3
        gated = bool(config["use_gated_mlp"])
        ratio = (1 + gated) * config["intermediate_size"] / found["embed_dim"]
        found |= {"mlp": "swiglu" if gated else "gelu", "mlp_ratio": ratio}
    return found

"""CLIP's published key names, OpenAI's (which open_clip's ViT files share) and transformers', and the sizes that the tensors show."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch

from healthfm.errors import CheckpointError
from healthfm.models.files import recognise
from healthfm.models.files.checkpoint import Tensors

HEAD = 64  # numbers a head of attention has in every CLIP, where the card does not say otherwise
SPARE = ("input_resolution", "context_length", "vocab_size")  # what OpenAI's files hold beside the tensors
PLAIN = {  # OpenAI's names, and ours
    "visual.class_embedding": "image.tower.embeddings.class_embedding",
    "visual.conv1.weight": "image.tower.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "image.tower.embeddings.position_embedding.weight",
    "visual.proj": "image.projection.0.weight",
    "token_embedding.weight": "text.tower.embeddings.token_embedding.weight",
    "positional_embedding": "text.tower.embeddings.position_embedding.weight",
    "text_projection": "text.projection.0.weight",
}
TURNED = ("visual.proj", "text_projection")  # matrices that stand before the product there, behind it in a linear layer
NORMS = {"visual.ln_pre": "image.tower.pre_layrnorm", "visual.ln_post": "image.tower.post_layernorm", "ln_final": "text.tower.final_layer_norm"}  # fmt: skip
BLOCK = re.compile(
    r"(visual\.)?transformer\.resblocks\.(\d+)\.(ln_1|ln_2|attn\.out_proj|mlp\.c_fc|mlp\.c_proj|attn\.in_proj)([._])(weight|bias)"
)
LAYERS = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
}  # fmt: skip
FRONTS = {"vision_model.": "image.tower.", "text_model.": "text.tower.", "visual_projection.": "image.projection.0.", "text_projection.": "text.projection.0."}  # fmt: skip


def openai(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return OpenAI's tensors under our names; attention's one matrix becomes queries, keys and values."""
    found: dict[str, torch.Tensor] = {}
    for key, value in tensors.items():
        front, _, last = key.rpartition(".")
        block = BLOCK.fullmatch(key)
        if key in SPARE:
            continue
        if key in PLAIN:
            found[PLAIN[key]] = value.T if key in TURNED else value
        elif front in NORMS:
            found[f"{NORMS[front]}.{last}"] = value
        elif block is not None:
            layer = f"{'image' if block[1] else 'text'}.tower.encoder.layers.{block[2]}."
            if block[3] in LAYERS:
                found[f"{layer}{LAYERS[block[3]]}.{block[5]}"] = value
            else:
                for name, part in zip("qkv", value.chunk(3), strict=True):
                    found[f"{layer}self_attn.{name}_proj.{block[5]}"] = part
        else:
            found[key] = value
    return found


def huggingface(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return transformers' tensors under our names; its tables of 0, 1, 2 ... are no weights."""
    found = {}
    for key, value in tensors.items():
        if not key.endswith("embeddings.position_ids"):
            front = next((one for one in FRONTS if key.startswith(one)), "")
            found[FRONTS.get(front, "") + key.removeprefix(front)] = value
    return found


def dialect(tensors: Mapping[str, Any]) -> str | None:
    """Return whose key names these are: "openai", "huggingface", or None."""
    if "token_embedding.weight" in tensors and "visual.conv1.weight" in tensors and "visual.proj" in tensors:
        return "openai"
    return "huggingface" if "text_model.embeddings.token_embedding.weight" in tensors else None


def own_names(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return published tensors under our names. Raises ``CheckpointError``: other key names, or CLIP's ResNet, which is not read."""
    kind = dialect(tensors)
    if kind is not None:
        return openai(tensors) if kind == "openai" else huggingface(tensors)
    if "visual.attnpool.c_proj.weight" in tensors:
        raise CheckpointError(
            "this is a CLIP whose image tower is OpenAI's ResNet, which is not read yet (ViT towers are)"
        )
    raise CheckpointError(
        f"no key names of CLIP (OpenAI's, open_clip's or transformers'); found {', '.join(list(tensors)[:3]) or 'none'}"
    )


def shown(tensors: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return the sizes of both towers that tensors under our names show, and the width of the space that they share."""
    patch, places, tokens, positions, first, text_first, joint, text_joint = (
        recognise.shape(tensors, f"{side}.{end}")
        for side, end in (
            ("image.tower.embeddings", "patch_embedding.weight"), ("image.tower.embeddings", "position_embedding.weight"),
            ("text.tower.embeddings", "token_embedding.weight"), ("text.tower.embeddings", "position_embedding.weight"),
            ("image.tower.encoder.layers.0", "mlp.fc1.weight"), ("text.tower.encoder.layers.0", "mlp.fc1.weight"),
            ("image", "projection.0.weight"), ("text", "projection.0.weight"),
        )
    )  # fmt: skip
    try:
        return {
            "image": {
                "img_size": math.isqrt(places[0] - 1) * patch[2], "patch_size": patch[2], "embed_dim": patch[0],
                "depth": recognise.numbered(tensors, r"^image\.tower\.encoder\.layers\.(\d+)\."), "mlp_dim": first[0], "joint": joint[0],
            },
            "text": {
                "vocab_size": tokens[0], "context_length": positions[0], "embed_dim": tokens[1],
                "depth": recognise.numbered(tensors, r"^text\.tower\.encoder\.layers\.(\d+)\."), "mlp_dim": text_first[0], "joint": text_joint[0],
            },
        }  # fmt: skip
    except IndexError:
        raise CheckpointError("tensors of CLIP's towers are missing: neither's sizes can be told") from None

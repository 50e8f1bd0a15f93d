"""CLIP's published key names, OpenAI's (which open_clip's ViT files share) and transformers', and what the files beside them state."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from healthfm.errors import CheckpointError
from healthfm.models.files.checkpoint import Checkpoint, Tensors
from healthfm.models.joint.towers.clip import ACTIVATIONS, EPS

HEAD = 64  # numbers a head of attention has in every CLIP, where the card does not say otherwise
OPEN_CLIP = "open_clip_config.json"
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
RESNET = "visual.attnpool."  # what only the files of a CLIP with a ResNet have
TURNED = ("visual.proj", "text_projection")  # matrices that stand before the product there, behind it in a linear layer
NORMS = {"visual.ln_pre": "image.tower.pre_layrnorm", "visual.ln_post": "image.tower.post_layernorm", "ln_final": "text.tower.final_layer_norm"}  # fmt: skip
BLOCK = re.compile(
    r"(visual\.)?transformer\.resblocks\.(\d+)\.(ln_1|ln_2|attn\.out_proj|mlp\.c_fc|mlp\.c_proj|attn\.in_proj)([._])(weight|bias)"
)
LAYERS = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
}  # fmt: skip
FRONTS = {"vision_model.": "image.tower.", "text_model.": "text.tower.", "visual_projection.": "image.projection.0.", "text_projection.": "text.projection.0."}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PairNumbers:
    """``activation``: between the layers of both towers' blocks. A file beside the weights that states one wins."""

    activation: str = "gelu"


def openai(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return OpenAI's tensors under our names; attention's one matrix becomes queries, keys and values."""
    found: dict[str, torch.Tensor] = {}
    plain = RESNET + "c_proj.weight" in tensors
    for key, value in tensors.items():
        if plain and key.startswith("visual."):  # a ResNet's names are its own
            own = "image.projection.0." if key.startswith(RESNET + "c_proj.") else "image.tower."
            found[own + key.removeprefix(RESNET + "c_proj.").removeprefix("visual.")] = value
            continue
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
    if (
        "token_embedding.weight" in tensors
        and "visual.conv1.weight" in tensors
        and {"visual.proj", RESNET + "c_proj.weight"} & set(tensors)
    ):
        return "openai"
    return "huggingface" if "text_model.embeddings.token_embedding.weight" in tensors else None


def own_names(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return published tensors under our names. Raises ``CheckpointError``: other key names."""
    kind = dialect(tensors)
    if kind is not None:
        return openai(tensors) if kind == "openai" else huggingface(tensors)
    raise CheckpointError(
        f"no key names of CLIP (OpenAI's, open_clip's or transformers'); found {', '.join(list(tensors)[:3]) or 'none'}"
    )


def stated(found: Checkpoint) -> dict[str, Any]:
    """Return what files beside the weights say that tensors cannot show: the activation, the heads. Raises ``CheckpointError``."""
    beside = found.folder / OPEN_CLIP if found.folder is not None else None
    if beside is not None and beside.is_file():
        try:
            told = json.loads(beside.read_text(encoding="utf-8"))["model_cfg"]
            quick, sides = bool(told.get("quick_gelu")), (told["vision_cfg"], told["text_cfg"])
            wide = sides[0]["width"] * (32 if isinstance(sides[0].get("layers"), list) else 1)  # a ResNet's last map
            heads = (wide // sides[0].get("head_width", HEAD), sides[1]["heads"])
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise CheckpointError(
                f"{beside}: not the configuration of a CLIP of open_clip ({type(error).__name__})"
            ) from None
        return {"activation": "quick-gelu" if quick else "gelu"} | _heads(*heads)
    if found.config.get("model_type") != "clip":
        return {}
    sides = tuple(found.config.get(f"{kind}_config") or {} for kind in ("vision", "text"))
    if any(float(one.get("layer_norm_eps", EPS)) != EPS for one in sides):
        raise CheckpointError(f"config.json: layer_norm_eps is not {EPS}, which CLIP has")
    acts = {one.get("hidden_act", "quick_gelu") for one in sides}  # transformers' own default
    words = {name: ours for ours, name in ACTIVATIONS.items()}
    if len(acts) != 1 or not acts <= set(words):
        raise CheckpointError(
            f"config.json: hidden_act is {', '.join(sorted(acts))}; one of {', '.join(words)} was expected"
        )
    return {"activation": words[acts.pop()]} | _heads(*(one.get("num_attention_heads") for one in sides))


def _heads(image: int | None, text: int | None) -> dict[str, Any]:
    return {part: {"num_heads": heads} for part, heads in (("image", image), ("text", text)) if heads}

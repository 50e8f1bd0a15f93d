"""Published key names of pairs of towers to ours, a table a paper: where each side's tower and projection stand in its checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from healthfm.errors import CheckpointError
from healthfm.models.files.checkpoint import Tensors


@dataclass(frozen=True)
class Names:
    """A paper's key names. ``fronts``: their beginnings (or whole names), the most exact one counts, and ours. ``turned``: matrices of ours
    that stand before the product there, behind it in a linear layer. ``spare``: patterns of what is no weight of either side. ``biased``:
    a number was learned that is added to every similarity, beside the scale. ``inner``: patterns of what stands further in, and ours.
    """

    fronts: Mapping[str, str]
    turned: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()
    biased: bool = False
    inner: Mapping[str, str] = field(default_factory=dict)


LEARNED = ("logit_scale", "logit_bias")  # numbers, some published as rows of one


TABLES: Mapping[str, Names] = {
    "open-clip": Names(  # open_clip's CustomTextCLIP: a tower of timm's and one of transformers'
        {
            "visual.trunk.": "image.tower.", "visual.head.proj.": "image.projection.0.",
            "text.transformer.": "text.tower.", "text.proj.": "text.projection.",
        },
    ),
    "coca": Names(  # CONCH's; what reads pictures for captions takes no part in vectors
        {
            "visual.": "image.tower.", "visual.proj_contrast": "image.projection.0.weight",
            "text.": "text.tower.", "text.text_projection": "text.projection.0.weight",
        },
        turned=("image.projection.0.weight", "text.projection.0.weight"),
        spare=(r"text_decoder\..*", r"visual\.(attn_pool|ln)_caption\..*"),
    ),
    "mi-zero": Names(
        {
            "visual.trunk.": "image.tower.", "visual.head.proj.": "image.projection.0.",
            "transformer.": "text.tower.", "text_projection": "text.projection.0.weight",
        },
        turned=("text.projection.0.weight",),
    ),
    "pmc-clip": Names(  # what joins both sides to fill masked words takes no part in vectors
        {
            "visual.": "image.tower.", "visual.attnpool.c_proj.": "image.projection.0.",
            "text_encoder.": "text.tower.", "text_projection": "text.projection.0.weight",
        },
        turned=("text.projection.0.weight",),
        spare=(r"fusion_module\..*", "img_special_token", "mlm_projection", "positional_embedding", r"ln_final\..*"),
    ),
    "keep": Names(  # transformers makes a weight of what is called gamma
        {"visual.": "image.tower.", "visual_head.": "image.projection.", "text.": "text.tower."},
        inner={r"\.(ls[12])\.weight$": r".\1.gamma"},
    ),
    "siglip": Names(  # transformers' SiglipModel; older files hold its tables of 0, 1, 2 ...
        {"vision_model.": "image.tower.", "text_model.": "text.tower."},
        spare=(r".*\.embeddings\.position_ids",), biased=True,
    ),
    "medclip": Names(
        {
            "vision_model.model.": "image.tower.", "vision_model.model.fc.": "image.projection.0.", "vision_model.projection_head.": "image.projection.0.",
            "text_model.model.": "text.tower.", "text_model.projection_head.": "text.projection.0.",
        },
    ),
    "cxr-clip": Names(
        {
            "image_encoder.image_encoder.": "image.tower.", "image_encoder.resnet.": "image.tower.", "image_projection.projection.": "image.projection.0.",
            "text_encoder.text_encoder.": "text.tower.", "text_projection.projection.": "text.projection.0.",
        },
    ),
    "maco": Names(  # what paints masked patches and fills masked words takes no part in vectors, nor do the heads that its zero-shot code fills
        {
            "patch_embed.": "image.tower.patch_embed.", "cls_token": "image.tower.cls_token", "pos_embed": "image.tower.pos_embed",
            "blocks.": "image.tower.blocks.", "norm.": "image.tower.norm.", "img_mlp.": "image.projection.0.", "bert_encoder.model.": "text.tower.",
        },
        spare=(r"decoder_.*", "mask_token", r"cls_head\..*"),
    ),
}  # fmt: skip


def table(dialect: str | None) -> Names:
    """Return the key names of a dialect. Raises ``CheckpointError``: there is none."""
    if dialect not in TABLES:
        raise CheckpointError(f"key dialect is '{dialect}'; pairs of towers have {', '.join(TABLES) or 'none'}")
    return TABLES[dialect]


def own_names(tensors: Tensors, dialect: str | None) -> dict[str, torch.Tensor]:
    """Return published tensors under our names. Raises ``CheckpointError``: no such dialect, or no name of it."""
    names = table(dialect)
    fronts = sorted(names.fronts, key=len, reverse=True)
    found: dict[str, torch.Tensor] = {}
    known = 0
    for key, value in tensors.items():
        if any(re.fullmatch(one, key) for one in names.spare):
            continue
        front = next((one for one in fronts if key.startswith(one)), None)
        known += front is not None
        name = key if front is None else names.fronts[front] + key.removeprefix(front)
        for theirs, ours in names.inner.items():
            name = re.sub(theirs, ours, name)
        found[name] = value.T if name in names.turned else value.reshape(()) if name in LEARNED else value
    if not known:
        raise CheckpointError(
            f"no key names of such a pair ({', '.join(names.fronts)}); found {', '.join(list(tensors)[:3]) or 'none'}"
        )
    return found

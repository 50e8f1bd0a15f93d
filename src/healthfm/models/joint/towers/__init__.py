"""Towers by the word of a part's ``architecture``: the one list. A new tower is a module here with its ``Kind``, and a line below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from healthfm.cards.schema import Runner
from healthfm.errors import CheckpointError
from healthfm.models.joint.towers import bert, clip, clip_resnet, coca, pictures, siglip
from healthfm.models.joint.towers.kind import Kind, Made

__all__ = ["IMAGE", "TEXT", "Kind", "Made", "build", "kind_of"]

IMAGE: Mapping[str, Kind] = {
    "clip-vit": clip.IMAGE, "clip-resnet": clip_resnet.IMAGE, "coca-vit": coca.IMAGE, "siglip-vit": siglip.IMAGE,
    "vit": pictures.VIT, "swin": pictures.SWIN, "resnet": pictures.RESNET,
}  # fmt: skip
TEXT: Mapping[str, Kind] = {
    "clip-text": clip.TEXT,
    "coca-text": coca.TEXT,
    "siglip-text": siglip.TEXT,
    "bert": bert.TEXT,
}
SIDES = {"image": IMAGE, "text": TEXT}


def kind_of(side: str, architecture: str) -> Kind:
    """Return the kind of a tower of one side ("image", "text"). Raises ``CheckpointError``: none is called so there."""
    known = SIDES[side]
    if architecture not in known:
        raise CheckpointError(
            f"parts.{side}: the architecture '{architecture}' is not read yet ({', '.join(known)} {'are' if len(known) > 1 else 'is'})"
        )
    return known[architecture]


def build(run: Runner, side: str, whole: Any, initial: bool) -> Made:
    """Build one side's tower as its part of [run] says; ``whole``: the pair's own numbers, ``initial``: see ``Kind``."""
    part = run.part(side)
    return kind_of(side, part.architecture).build(part, whole, initial)

"""Weights published as a difference to a base that their owners may not pass on (the card's format is ``delta``).

The base lies in the folder ``base`` beside the difference's files, as an adapter's does: its weights in their published layout.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from healthfm.cards.schema import ModelCard
from healthfm.errors import CheckpointError
from healthfm.models.files import checkpoint
from healthfm.models.files.checkpoint import Checkpoint, Tensors

GROWN = ("embed_tokens", "lm_head")  # may have gained rows: tokens that the base has not


def is_delta(card: ModelCard, variant: str | None) -> bool:
    """Whether a card's weights are published as a difference."""
    return any(one.format == "delta" and one.variant in (None, variant) for one in card.weights)


def read(path: Path) -> Checkpoint:
    """Return the difference with its base added; configuration and tokenizer are the difference's.

    Raises ``CheckpointError``: no base, or another one.
    """
    found = checkpoint.read(path)
    folder = path if path.is_dir() else path.parent
    inner = folder / "base"
    if not inner.is_dir():
        raise CheckpointError(
            f"{folder}: these weights are a difference to a base: put the base's files (or a link to them) in {inner}"
        )
    base = checkpoint.read(inner)
    if found.gguf is not None or base.gguf is not None:
        raise CheckpointError(f"{folder}: a difference and its base are not read from GGUF")
    return replace(found, tensors=add(base.tensors, found.tensors), files=found.files + base.files)


def add(base: Tensors, difference: Tensors) -> Tensors:
    """Return base + difference, tensor by tensor, in the difference's precision.

    Embeddings may have gained rows: those are the difference's own. Tensors the base lacks are new ones.
    Raises ``CheckpointError``: another base.
    """
    lost = [key for key in base if key not in difference and not key.endswith("inv_freq")]
    if lost:
        raise CheckpointError(
            f"the delta lacks {len(lost)} tensors of the base, e.g. {lost[0]}: it belongs to another base"
        )
    found: dict[str, torch.Tensor] = {}
    for key, change in difference.items():
        if key not in base:
            found[key] = change
            continue
        old = base[key]
        grown = any(word in key for word in GROWN)
        if old.shape != change.shape and not (grown and old.shape[1:] == change.shape[1:] and len(old) < len(change)):
            raise CheckpointError(
                f"the delta's {key} is {tuple(change.shape)}, the base's {tuple(old.shape)}: it belongs to another base"
            )
        found[key] = change.clone()
        found[key][: len(old)] += old.to(change.dtype)
    return found

"""The families of architectures: the word that a card says (``[run] family``), and the module that knows it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from healthfm.cards.schema import ModelCard
from healthfm.errors import CardError

# Each module has ``load(card, variant, weights, config, device, dtype) -> Model`` and ``match`` (see ``files.recognise``).
FAMILIES = {
    "causal_lm": "language.causal_lm",
    "hierarchical": "vision.hierarchical",
    "masked_lm": "language.masked_lm",
    "resnet": "vision.resnet",
    "seq2seq": "language.seq2seq",
    "swin": "vision.swin",
    "transformers": "native",
    "vit": "vision.vit",
}


def family_of(card: ModelCard, variant: str | None) -> Any:
    """Return the module of a card's family. Raises ``CardError`` where there is none of that name."""
    name = card.runner(variant).family
    if name not in FAMILIES:
        raise CardError(f"{card.slug}: no family '{name}' (families: {', '.join(FAMILIES)})")
    return import_module(f"healthfm.models.{FAMILIES[name]}")

"""The families of architectures: the word that a card says (``family`` of [run] or of a part), and the module that knows it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from healthfm.cards.schema import FAMILIES, ModelCard

__all__ = ["FAMILIES", "family_of", "module_of"]

# Each module has ``load(card, variant, weights, config, device, dtype) -> Model`` and ``match`` (see ``files.recognise``); one whose
# networks can be parts has also ``build(run)``, ``DIALECTS`` and ``fits(run, tensors)``.


def module_of(family: str) -> Any:
    """Return the module of a family."""
    return import_module(f"healthfm.models.{FAMILIES[family]}")


def family_of(card: ModelCard, variant: str | None) -> Any:
    """Return the module of a card's family."""
    return module_of(card.runner(variant).family)

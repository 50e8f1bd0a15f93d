"""The family of networks that transformers has itself, whatever their class: which of ours reads or sees with which of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers.models.auto import modeling_auto as auto

from healthfm.cards.schema import ModelCard
from healthfm.errors import CapabilityError
from healthfm.models.files import recognise
from healthfm.models.files.folder import open_folder
from healthfm.models.files.weights import locate
from healthfm.models.language import native as reading
from healthfm.models.language.token_classifier import tagger
from healthfm.models.model import Model
from healthfm.models.vision import native as seeing


def _names(*tables: str) -> frozenset[str]:
    """Return the classes of some of transformers' tables of architectures."""
    values = [value for table in tables for value in getattr(auto, f"MODEL_{table}MAPPING_NAMES").values()]
    return frozenset(name for value in values for name in ((value,) if isinstance(value, str) else value))


CAUSAL, MASKED = _names("FOR_CAUSAL_LM_"), _names("FOR_MASKED_LM_")
TAGGERS = _names("FOR_TOKEN_CLASSIFICATION_")
SEQ2SEQ, CLASSIFIERS = _names("FOR_SEQ_TO_SEQ_CAUSAL_LM_"), _names("FOR_SEQUENCE_CLASSIFICATION_")
ENCODERS = _names("", "FOR_TEXT_ENCODING_", "FOR_PRETRAINING_")
DUAL = frozenset({"CLIPModel", "SiglipModel"})


def load(
    card: ModelCard, variant: str | None, weights: Path | str | Mapping[str, torch.Tensor] | None,
    config: dict[str, Any], device: str, dtype: str,
) -> Model:  # fmt: skip
    """Load a folder by the class that its ``config.json`` names (see ``healthfm.load_model``). ``config``: {"pooling": ...} alone."""
    weights = locate(card, variant) if weights is None else weights
    if not isinstance(weights, Path):
        raise CapabilityError(f"{card.slug}: a network of transformers' is loaded from its folder (weights=PATH)")
    if strange := sorted(set(config) - {"pooling"}):
        raise CapabilityError(
            f"{card.slug}: config= takes pooling only, not {', '.join(strange)}: the numbers of a folder are those of its config.json"
        )
    pooling = config.get("pooling") or (card.run.pooling if card.run is not None else None)
    opened = open_folder(weights.expanduser())
    name, kind = opened.architecture, type(opened.network)
    sees = kind.main_input_name == "pixel_values"
    if name in DUAL or sees:
        return seeing.load(card, opened, name in DUAL, pooling, device, dtype)
    if name in CAUSAL:
        return reading.causal(card, opened, device, dtype)
    if name in SEQ2SEQ:
        return reading.seq2seq(card, opened, device, dtype)
    if name in CLASSIFIERS:
        return reading.classifier(card, opened, device, dtype)
    if name in TAGGERS:
        return tagger(card, opened, device, dtype)
    if kind.main_input_name == "input_ids" and (name in MASKED or name in ENCODERS):
        return reading.encoder(card, opened, name in MASKED, pooling, device, dtype)
    raise CapabilityError(
        f"{opened.path}: {name} is of transformers', but of a kind that healthfm does not run from a folder (causal, masked and "
        f"encoder-decoder language models, text and token classifiers, vision towers, {' and '.join(sorted(DUAL))})"
    )


def match(
    card: ModelCard, variant: str | None, tensors: Mapping[str, Any], config: Mapping[str, Any]
) -> recognise.Match:
    """Return that nothing is known of whose tensors these are (see ``recognise``): a folder's sizes are its own."""
    return recognise.Match.OTHER

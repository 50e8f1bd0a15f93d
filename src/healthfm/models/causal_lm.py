"""Decoder-only language models. The networks are transformers' own classes; this module knows keys and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.initialization import no_init_weights

from healthfm.cards.schema import ModelCard
from healthfm.errors import CheckpointError
from healthfm.models import checkpoint, gguf_llama, likelihood
from healthfm.models.model import Float32, Float64
from healthfm.models.text import TextModel, open_weights, place, provenance, published_config, read_tokenizer

ARCHITECTURES = {"llama": ("LlamaConfig", "LlamaForCausalLM")}


class CausalLM(TextModel):
    """A causal language model with its tokenizer. ``forward`` takes ``input_ids`` and returns ``logits``."""

    capabilities = frozenset({"preprocess", "forward", "logits", "score"})

    @torch.inference_mode()
    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Float32]:
        """Return ``logits``, float32 [n, length, vocabulary]."""
        out = self.network(**{k: v.to(self.network.device) for k, v in batch.items()}, use_cache=False)
        return {"logits": out.logits.float().cpu().numpy()}

    def logits(self, token_ids: Sequence[Sequence[int]]) -> list[Float32]:
        """Return next-token logits, float32 [length, vocabulary] for each list of token ids."""
        return [self.forward(self.pad([ids]))["logits"][0] for ids in token_ids]

    def score(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[Float64]:
        """Return the summed log-likelihood of each prompt's options (see ``likelihood.score``)."""
        return likelihood.score(self, prompts, options)


def load(
    card: ModelCard, variant: str | None, weights: Path | str | Mapping[str, torch.Tensor] | None,
    config: dict[str, Any], device: str, dtype: str,
) -> CausalLM:  # fmt: skip
    """Load a causal language model from its card (see ``healthfm.load_model``)."""
    found = open_weights(card, variant, weights)
    stated = gguf_llama.config(found.gguf) if found.gguf is not None else published_config(found.config)
    network = build(card, variant, {**stated, **config})
    if weights == "random":
        torch.manual_seed(0)
        network.init_weights()
    else:
        tensors = gguf_llama.to_published(found.gguf) if found.gguf is not None else found.tensors
        assert card.run is not None
        checkpoint.load_strict(network, tensors, card.run.ignore_keys)
    network.tie_weights()
    place(network, card, device, dtype)
    tokenizer = gguf_llama.tokenizer(found.gguf) if found.gguf is not None else read_tokenizer(found.folder)
    model = CausalLM(card, variant, network, tokenizer)
    model.provenance = provenance(found, network)
    return model


def build(card: ModelCard, variant: str | None, overrides: Mapping[str, Any]) -> transformers.PreTrainedModel:
    """Build the network of a card, uninitialised. ``with torch.device("meta")`` around it costs no memory."""
    assert card.run is not None
    if card.run.architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"{card.slug}: architecture '{card.run.architecture}' is not one of {', '.join(ARCHITECTURES)}"
        )
    config_name, class_name = ARCHITECTURES[card.run.architecture]
    special = card.variants[variant].config if variant in card.variants else {}
    config = getattr(transformers, config_name)(**{**card.run.config, **special, **overrides})
    with no_init_weights():
        return getattr(transformers, class_name)(config)

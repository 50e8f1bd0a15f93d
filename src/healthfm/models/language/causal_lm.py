"""Decoder-only language models. The networks are transformers' own classes; this module knows keys and files."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers

from healthfm.cards.schema import ModelCard
from healthfm.errors import CapabilityError, CheckpointError
from healthfm.models.files import checkpoint, gguf_llama, recognise, stated
from healthfm.models.files.checkpoint import Checkpoint, Tensors
from healthfm.models.files.opening import open_weights, place, provenance
from healthfm.models.files.weights import locate
from healthfm.models.language import framing, generation, likelihood, lora
from healthfm.models.language import published_keys as remap
from healthfm.models.language.rendered import Asked, Rendered
from healthfm.models.language.sequence_classifier import SequenceClassifier
from healthfm.models.language.text_model import TextModel, build_network, published_config, read_tokenizer
from healthfm.models.merge import merged
from healthfm.models.model import Float32, Float64
from healthfm.models.vision import heads

ARCHITECTURES = {
    "llama": ("LlamaConfig", "LlamaForCausalLM"), "mistral": ("MistralConfig", "MistralForCausalLM"),
    "bloom": ("BloomConfig", "BloomForCausalLM"), "biogpt": ("BioGptConfig", "BioGptForCausalLM"),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM"), "glm": ("GlmConfig", "GlmForCausalLM"),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel"), "phi": ("PhiConfig", "PhiForCausalLM"),
}  # fmt: skip
HEADS = ("lm_head.weight", "score.weight")  # a classifier's base has the first, its adapter the second


class CausalLM(TextModel):
    """A causal language model with its tokenizer. ``forward`` takes ``input_ids`` and returns ``logits``.

    Its texts are there to be continued: ``encode`` leaves off the end tokens that the tokenizer adds (see ``framing``).
    """

    capabilities = frozenset({"preprocess", "forward", "logits", "score", "generate"})

    @functools.cached_property
    def frame(self) -> framing.Frame:
        """The special tokens that the tokenizer itself puts around a text."""
        return framing.of(self._ids)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, with the start tokens that the tokenizer adds, never its end tokens."""
        return framing.left_open(self._ids, self.frame, text)

    @torch.inference_mode()
    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Float32]:
        """Return ``logits``, float32 [n, length, vocabulary]."""
        out = self.network(**{k: v.to(self.network.device) for k, v in batch.items()}, use_cache=False)
        return {"logits": out.logits.float().cpu().numpy()}

    def logits(self, token_ids: Sequence[Sequence[int]]) -> list[Float32]:
        """Return next-token logits, float32 [length, vocabulary] for each list of token ids."""
        return [self.forward(self.pad([ids]))["logits"][0] for ids in token_ids]

    def score(self, prompts: Sequence[str | Rendered], options: Sequence[Sequence[str]]) -> list[Float64]:
        """Return the summed log-likelihood of each prompt's options (see ``likelihood.score``)."""
        return likelihood.score(self, prompts, options)

    def generate(
        self, prompts: Sequence[Asked], max_new_tokens: int | None = 256, temperature: float | None = 0,
        stop: Sequence[str] | None = None, seed: int = 0, stream: bool = False,
    ) -> Any:  # fmt: skip
        """Return the text generated for each prompt (see ``generation.generate``)."""
        return generation.generate(
            self, generation.begin_causal, prompts, max_new_tokens, temperature, stop, seed, stream
        )


def load(
    card: ModelCard, variant: str | None, weights: Path | str | Mapping[str, torch.Tensor] | None,
    config: dict[str, Any], device: str, dtype: str,
) -> CausalLM | SequenceClassifier:  # fmt: skip
    """Load a causal language model from its card (see ``healthfm.load_model``); a classifier where
    the checkpoint or an adapter brings its head."""
    merge = bool(config.pop("merge_adapter", True))
    found, adapters = _open(card, variant, weights)
    tensors = gguf_llama.to_published(found.gguf) if found.gguf is not None else found.tensors
    said = recognise.check(card, variant, tensors, config) if tensors else []
    architecture = architecture_of(card, variant)
    shown = remap.sizes(tensors)
    vocabulary = {"vocab_size": shown["vocab_size"]} if "vocab_size" in shown else {}
    run = merged(card, variant, {**vocabulary, **_stated(found, architecture)}, config)
    numbers = {**shown, **run.config}
    own = recognise.shape(tensors, "score.weight") if not adapters else ()
    classes = own[0] if own else lora.classes(adapters)
    network = built(architecture, numbers, classes)
    if weights == "random":
        torch.manual_seed(0)
        network.init_weights()
    else:
        ignored = run.ignore_keys + ((HEADS[0],) if own else HEADS if classes else ())
        checkpoint.load_strict(network, remap.to_transformers(tensors, numbers), ignored)
    network.tie_weights()
    if found.gguf is not None:
        gguf_llama.turn(network, found.gguf)
    for adapter in adapters:
        network = lora.apply(network, adapter, merge or adapter is not adapters[-1])
    place(network, run, device, dtype)
    tokenizer = _tokenizer(found, adapters)
    check_vocabulary(network, tokenizer)
    kind = SequenceClassifier if classes else CausalLM
    model = kind(card, variant, network, tokenizer)
    files = tuple(adapter.path for adapter in adapters)
    model.provenance = {**provenance(replace(found, files=found.files + files), network), "notices": said}
    if tokenizer is not None and isinstance(model, CausalLM):
        said[:0] = framing.notices(tokenizer.convert_ids_to_tokens(list(model.frame.end)))
    if isinstance(model, SequenceClassifier) and own:
        model.classes, model.several = heads.names(found.config, own[0]), heads.several(found.config)
    model.take_generation(_generation(found, adapters))
    return model


def match(card: ModelCard, variant: str | None, tensors: Tensors, config: Mapping[str, Any]) -> recognise.Match:
    """Return how far published tensors go with a variant (see ``recognise``)."""
    try:
        architecture = architecture_of(card, variant)
    except CapabilityError:
        return recognise.Match.OTHER
    return remap.match(tensors, numbers_of(card, variant, config), architecture)


def _open(
    card: ModelCard, variant: str | None, weights: Path | str | Mapping[str, torch.Tensor] | None
) -> tuple[Checkpoint, list[lora.Adapter]]:
    """Return the checkpoint, and the adapters where the folder holds one."""
    folder = locate(card, variant) if weights is None else weights
    if isinstance(folder, Path) and lora.is_adapter(folder.expanduser()):
        return lora.read(folder.expanduser())
    return open_weights(card, variant, folder), []


def _stated(found: Checkpoint, architecture: str) -> dict[str, Any]:
    """Return the architecture numbers that the checkpoint itself states, under transformers' names."""
    if found.gguf is not None:
        return gguf_llama.config(found.gguf)
    params = found.folder / "params.json" if found.folder is not None else None
    if params is not None and params.is_file() and remap.layout(found.tensors) == "meta":
        return remap.meta_config(json.loads(params.read_text(encoding="utf-8")), found.tensors)
    return remap.config(published_config(found.config, architecture), found.tensors)


def _generation(found: Checkpoint, adapters: Sequence[lora.Adapter]) -> dict[str, Any]:
    """Return what the files state about generating: the base's, then those of the adapters on it."""
    if found.gguf is not None:
        return gguf_llama.generation(found.gguf)
    folders = [found.folder, *(adapter.path.parent for adapter in adapters)]
    return stated.generation(found.config, *map(stated.generation_file, folders))


def _tokenizer(found: Checkpoint, adapters: Sequence[lora.Adapter]) -> transformers.PreTrainedTokenizerBase | None:
    """Return the outermost tokenizer: an adapter's own, else the base's."""
    if found.gguf is not None:
        return gguf_llama.tokenizer(found.gguf)
    folders = [*(adapter.path.parent for adapter in reversed(adapters)), found.folder]
    return next((t for t in map(read_tokenizer, folders) if t is not None), None)


def check_vocabulary(
    network: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerBase | None
) -> None:
    """Raise ``CheckpointError`` where the tokenizer's own vocabulary, added tokens aside, is larger than the network's."""
    rows = int(network.config.vocab_size)
    if tokenizer is not None and tokenizer.vocab_size > rows:
        raise CheckpointError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, the network {rows}: they belong to different models"
        )


def architecture_of(card: ModelCard, variant: str | None) -> str:
    """Return the architecture of a variant. Raises ``CapabilityError``: not one of ``ARCHITECTURES``."""
    name = card.runner(variant).architecture
    if name not in ARCHITECTURES:
        raise CapabilityError(
            f"healthfm cannot run {card.slug}:{variant}: architecture '{name}' is not one of {', '.join(ARCHITECTURES)}"
        )
    return name


def numbers_of(card: ModelCard, variant: str | None, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the architecture numbers of a card's variant, with ``overrides``."""
    return dict(merged(card, variant, {}, overrides or {}).config)


def build(
    card: ModelCard, variant: str | None, overrides: Mapping[str, Any], classes: int | None = None
) -> transformers.PreTrainedModel:
    """Build the network of a card (see ``built``)."""
    return built(architecture_of(card, variant), numbers_of(card, variant, overrides), classes)


def built(architecture: str, numbers: Mapping[str, Any], classes: int | None = None) -> transformers.PreTrainedModel:
    """Build a network, uninitialised, with a classification head if it has ``classes``.

    ``with torch.device("meta")`` around it costs no memory.
    """
    config_name, class_name = ARCHITECTURES[architecture]
    if classes:
        class_name = re.sub("ForCausalLM|LMHeadModel", "ForSequenceClassification", class_name)
        numbers = {**numbers, "num_labels": classes}
    return build_network(config_name, class_name, numbers)

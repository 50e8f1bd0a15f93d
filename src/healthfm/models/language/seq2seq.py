"""Encoder-decoder language models (T5). The network is transformers' own class; keys are the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers.modeling_outputs import BaseModelOutput

from healthfm.cards.schema import ModelCard
from healthfm.errors import CheckpointError, RunError
from healthfm.models.files import checkpoint, recognise, stated
from healthfm.models.files.opening import open_weights, place, provenance
from healthfm.models.language import generation
from healthfm.models.language.rendered import Asked, Rendered, text_given
from healthfm.models.language.text_model import TextModel, build_network, published_config, read_tokenizer
from healthfm.models.merge import merged
from healthfm.models.model import Float32, Float64

ARCHITECTURES = {"t5": ("T5Config", "T5ForConditionalGeneration")}


class Seq2SeqLM(TextModel):
    """An encoder-decoder model with its tokenizer. ``max_length`` is the encoder's longest input in tokens."""

    capabilities = frozenset({"preprocess", "forward", "score", "generate"})

    @torch.inference_mode()
    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Float32]:
        """Return ``logits``, float32 [n, target length, vocabulary]; the batch adds ``decoder_input_ids`` to the inputs."""
        out = self.network(**{k: v.to(self.network.device) for k, v in batch.items()}, use_cache=False)
        return {"logits": out.logits.float().cpu().numpy()}

    def score(self, prompts: Sequence[str | Rendered], options: Sequence[Sequence[str]]) -> list[Float64]:
        """Return the summed log-likelihood of each option's tokens as the decoder's target.

        The boundary rule is lm-evaluation-harness's for this kind: the prompt goes to the encoder with the special tokens
        its tokenizer adds, the option (with the prompt's trailing white space before it) to the decoder without any.
        """
        if len(prompts) != len(options):
            raise RunError(f"{len(prompts)} prompts but {len(options)} lists of options")
        return [self._score_one(text_given(prompt), choices) for prompt, choices in zip(prompts, options, strict=True)]

    @torch.inference_mode()
    def _score_one(self, prompt: str, options: Sequence[str]) -> Float64:
        context = prompt.rstrip()
        if not context:
            raise RunError("an empty prompt cannot be scored")
        encoded = encode_input(self, self.encode(context))
        scores = []
        for option in options:
            assert self.tokenizer is not None
            target = self.tokenizer.encode(prompt[len(context) :] + option, add_special_tokens=False, verbose=False)
            if not target:
                raise RunError("an option has no tokens")
            fed = torch.tensor([[start_id(self), *target[:-1]]], device=self.network.device)
            logits = self.network(encoder_outputs=encoded, decoder_input_ids=fed, use_cache=False).logits[0].float()
            chosen = torch.log_softmax(logits, dim=-1)[torch.arange(len(target)), torch.tensor(target)]
            scores.append(float(chosen.double().sum()))
        return np.array(scores)

    def generate(
        self, prompts: Sequence[Asked], max_new_tokens: int | None = 256, temperature: float | None = 0,
        stop: Sequence[str] | None = None, seed: int = 0, stream: bool = False,
    ) -> Any:  # fmt: skip
        """Return the decoder's text for each prompt (see ``generation.generate``)."""
        return generation.generate(self, begin, prompts, max_new_tokens, temperature, stop, seed, stream)


def start_id(model: TextModel) -> int:
    """Return the id that opens the decoder's text: T5's is its padding token."""
    own = model.stated_generation.get("decoder_start_token_id", model.network.config.decoder_start_token_id)
    return int(own if own is not None else model.network.config.pad_token_id)


@torch.inference_mode()
def encode_input(model: TextModel, ids: Sequence[int]) -> BaseModelOutput:
    """Run the encoder on one input. Raises ``RunError`` when it is too long."""
    if len(ids) > model.max_length:
        raise RunError(f"a prompt has {len(ids)} tokens; {model.name} takes {model.max_length}: shorten it")
    hidden = model.network.get_encoder()(input_ids=torch.tensor([list(ids)], device=model.network.device))
    return BaseModelOutput(last_hidden_state=hidden.last_hidden_state)


def begin(model: TextModel, ids: Sequence[int]) -> tuple[generation.Step, list[int], int]:
    """``begin`` of an encoder-decoder network: the encoder runs once; the decoder has room for as much as the encoder."""
    encoded = encode_input(model, ids)
    config = model.network.config
    cache = transformers.EncoderDecoderCache(
        transformers.DynamicCache(config=config), transformers.DynamicCache(config=config)
    )

    def step(newest: Sequence[int]) -> torch.Tensor:
        fed = torch.tensor([list(newest)], device=model.network.device)
        out = model.network(encoder_outputs=encoded, decoder_input_ids=fed, past_key_values=cache, use_cache=True)
        return out.logits[0, -1]  # type: ignore[no-any-return]

    return step, [start_id(model)], model.max_length


def load(
    card: ModelCard, variant: str | None, weights: Path | str | Mapping[str, torch.Tensor] | None,
    config: dict[str, Any], device: str, dtype: str,
) -> Seq2SeqLM:  # fmt: skip
    """Load an encoder-decoder model from its card (see ``healthfm.load_model``)."""
    found = open_weights(card, variant, weights)
    if found.gguf is not None:
        raise CheckpointError(f"{card.slug}: an encoder-decoder model is not read from GGUF")
    if head := next((key for key in found.tensors if "classification_head." in key), None):
        raise CheckpointError(f"{card.slug}: {head} is a classifier's head on T5, which healthfm does not run")
    said = recognise.check(card, variant, found.tensors, config) if found.tensors else []
    run = merged(card, variant, published_config(found.config, "t5"), config)
    network = build(card, variant, run.config)
    if weights == "random":
        torch.manual_seed(0)
        network.init_weights()
    else:
        checkpoint.load_strict(network, found.tensors, run.ignore_keys)
    network.tie_weights()
    place(network, run, device, dtype)
    model = Seq2SeqLM(card, variant, network, read_tokenizer(found.folder))
    model.provenance = {**provenance(found, network), "notices": said}
    model.take_generation(stated.generation(found.config, stated.generation_file(found.folder)))
    return model


def match(
    card: ModelCard, variant: str | None, tensors: Mapping[str, Any], config: Mapping[str, Any]
) -> recognise.Match:
    """Return how far published tensors go with a variant (see ``recognise``)."""
    numbers = numbers_of(card, variant, config)
    words, inner = recognise.shape(tensors, "shared.weight"), recognise.shape(tensors, "wi.weight", "wi_0.weight")
    if not words or not inner:
        return recognise.Match.OTHER
    shown = {
        "d_model": words[1], "vocab_size": words[0], "d_ff": inner[0],
        "num_layers": recognise.numbered(tensors, r"(?:^|\.)encoder\.block\.(\d+)\."),
    }  # fmt: skip
    return recognise.compared(shown, {name: numbers.get(name) for name in shown}, (), ("vocab_size",))


def numbers_of(card: ModelCard, variant: str | None, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the architecture numbers: the card's, its variant's, ``overrides``."""
    return dict(merged(card, variant, {}, overrides).config)


def build(card: ModelCard, variant: str | None, overrides: Mapping[str, Any]) -> transformers.PreTrainedModel:
    """Build the network of a card, uninitialised."""
    architecture = card.runner(variant).architecture
    if architecture not in ARCHITECTURES:
        raise CheckpointError(f"{card.slug}: architecture '{architecture}' is not one of {', '.join(ARCHITECTURES)}")
    config_name, class_name = ARCHITECTURES[architecture]
    numbers = numbers_of(card, variant, overrides)
    numbers["max_position_embeddings"] = numbers.pop("n_positions", numbers.get("max_position_embeddings"))
    return build_network(config_name, class_name, numbers)

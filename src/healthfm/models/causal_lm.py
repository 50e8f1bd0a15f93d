"""Decoder-only language models. The networks are transformers' own classes; this module knows keys, files and scoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers.initialization import no_init_weights

from healthfm.cards.schema import ModelCard
from healthfm.errors import CapabilityError, CheckpointError, RunError
from healthfm.models import checkpoint, gguf_llama
from healthfm.models.checkpoint import Checkpoint
from healthfm.models.model import Float32, Float64, Model
from healthfm.models.weights import locate

ARCHITECTURES = {"llama": ("LlamaConfig", "LlamaForCausalLM")}
TOKENS_PER_BATCH = 4096
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class CausalLM(Model):
    """A causal language model with its tokenizer. ``forward`` takes ``input_ids`` and returns ``logits``."""

    capabilities = frozenset({"preprocess", "forward", "logits", "score"})

    def __init__(
        self, card: ModelCard, variant: str | None, network: transformers.PreTrainedModel,
        tokenizer: transformers.PreTrainedTokenizerBase | None,
    ) -> None:  # fmt: skip
        super().__init__(card, variant)
        self.network: transformers.PreTrainedModel = network
        self.tokenizer = tokenizer
        self.max_length = int(network.config.max_position_embeddings)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, with the special tokens the tokenizer itself adds."""
        if self.tokenizer is None:
            raise CheckpointError(
                f"{self.name}: no tokenizer beside the weights; text cannot be read (logits takes token ids)"
            )
        ids: list[int] = self.tokenizer.encode(text, verbose=False)
        return ids

    def preprocess(self, items: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return ``input_ids`` and ``attention_mask``, int64 [n, longest], padded on the right."""
        return self._pad([self.encode(item) for item in items])

    def _pad(self, sequences: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        longest = max(map(len, sequences))
        ids = torch.zeros(len(sequences), longest, dtype=torch.long)
        mask = torch.zeros(len(sequences), longest, dtype=torch.long)
        for i, sequence in enumerate(sequences):
            ids[i, : len(sequence)] = torch.tensor(sequence)
            mask[i, : len(sequence)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    @torch.inference_mode()
    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Float32]:
        """Return ``logits``, float32 [n, length, vocabulary]."""
        device = self.network.device
        out = self.network(**{k: v.to(device) for k, v in batch.items()}, use_cache=False)
        return {"logits": out.logits.float().cpu().numpy()}

    def logits(self, token_ids: Sequence[Sequence[int]]) -> list[Float32]:
        """Return next-token logits, float32 [length, vocabulary] for each list of token ids."""
        return [self.forward(self._pad([ids]))["logits"][0] for ids in token_ids]

    def score(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[Float64]:
        """Return the summed log-likelihood of each prompt's options.

        Equal rows are computed once (the single-token options of a question share one row), rows are sorted by length,
        and the vocabulary projection is applied only where a log-probability is needed.
        """
        if len(prompts) != len(options):
            raise RunError(f"{len(prompts)} prompts but {len(options)} lists of options")
        rows: dict[tuple[int, ...], list[tuple[int, int, tuple[int, ...]]]] = {}
        for p, (prompt, choices) in enumerate(zip(prompts, options, strict=True)):
            for o, (context, continuation) in enumerate(self._pairs(prompt, choices)):
                rows.setdefault(context + continuation[:-1], []).append((p, o, continuation))
        scores = [np.zeros(len(choices)) for choices in options]
        for batch in _batches(sorted(rows, key=lambda row: (len(row), row))):
            for row, hidden in zip(
                batch, self._hidden(batch, [max(len(c) for _, _, c in rows[r]) for r in batch]), strict=True
            ):
                for p, o, continuation in rows[row]:
                    scores[p][o] = self._log_likelihood(hidden[-len(continuation) :], continuation)
        return scores

    def _pairs(self, prompt: str, options: Sequence[str]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        context = prompt.rstrip()
        if not context:
            raise RunError("an empty prompt cannot be scored")
        tail = prompt[len(context) :]
        start = self.encode(context)
        pairs = []
        for option in options:
            whole = self.encode(context + tail + option)
            continuation = whole[len(start) :]
            if not continuation:
                raise RunError("an option adds no token to its prompt")
            if len(whole) > self.max_length + 1:
                raise RunError(
                    f"a prompt with its option has {len(whole)} tokens; {self.name} takes {self.max_length}: use fewer shots or a shorter context"
                )
            pairs.append((tuple(whole[: len(start)]), tuple(continuation)))
        return pairs

    @torch.inference_mode()
    def _hidden(self, rows: Sequence[tuple[int, ...]], needed: Sequence[int]) -> list[torch.Tensor]:
        batch = self._pad(rows)
        decoder = self.network.get_decoder()
        ids, mask = batch["input_ids"].to(self.network.device), batch["attention_mask"].to(self.network.device)
        hidden = decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        return [hidden[i, len(row) - n : len(row)] for i, (row, n) in enumerate(zip(rows, needed, strict=True))]

    @torch.inference_mode()
    def _log_likelihood(self, hidden: torch.Tensor, continuation: tuple[int, ...]) -> float:
        logits = self.network.get_output_embeddings()(hidden).float()
        chosen = torch.log_softmax(logits, dim=-1)[torch.arange(len(continuation)), torch.tensor(continuation)]
        return float(chosen.double().sum())


def _batches(rows: Sequence[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Cut rows, sorted by length, into batches of at most ``TOKENS_PER_BATCH`` padded tokens."""
    batches: list[list[tuple[int, ...]]] = []
    for row in rows:
        if batches and (len(batches[-1]) + 1) * len(row) <= TOKENS_PER_BATCH:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def load(
    card: ModelCard, variant: str | None, weights: Path | str | Mapping[str, torch.Tensor] | None,
    config: dict[str, Any], device: str, dtype: str,
) -> CausalLM:  # fmt: skip
    """Load a causal language model from its card (see ``healthfm.load_model``)."""
    if isinstance(weights, Mapping):
        found = Checkpoint(weights, note="in-memory weights of the caller's")
    elif weights == "random":
        found = Checkpoint({}, note="random weights, seed 0")
    else:
        found = checkpoint.read(Path(weights).expanduser() if weights is not None else locate(card, variant))
    network = build(card, variant, {**_stated(found), **config})
    if weights == "random":
        torch.manual_seed(0)
        network.init_weights()
    else:
        tensors = gguf_llama.to_published(found.gguf) if found.gguf is not None else found.tensors
        assert card.run is not None
        checkpoint.load_strict(network, tensors, card.run.ignore_keys)
    network.tie_weights()
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if place.startswith("cuda") and not torch.cuda.is_available():
        raise CapabilityError("device is 'cuda', but torch sees no CUDA device here (healthfm doctor)")
    precision = dtype if dtype != "auto" else "float32" if place == "cpu" or card.run is None else card.run.dtype
    network.to(device=place, dtype=DTYPES[precision]).eval()
    model = CausalLM(card, variant, network, _tokenizer(found))
    model.provenance = {
        "weights": found.note or ", ".join(path.name for path in found.files), "files": [path.name for path in found.files],
        "digest": found.digest, "device": str(network.device), "dtype": precision,
    }  # fmt: skip
    return model


def _stated(found: Checkpoint) -> dict[str, Any]:
    if found.gguf is not None:
        return gguf_llama.config(found.gguf)
    return {
        k: v
        for k, v in found.config.items()
        if k not in ("architectures", "model_type", "torch_dtype", "dtype", "auto_map")
    }


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


def _tokenizer(found: Checkpoint) -> transformers.PreTrainedTokenizerBase | None:
    if found.gguf is not None:
        return gguf_llama.tokenizer(found.gguf)
    names = ("tokenizer.json", "tokenizer.model", "vocab.json")
    if found.folder is None or not any((found.folder / name).is_file() for name in names):
        return None
    try:
        return transformers.AutoTokenizer.from_pretrained(found.folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{found.folder}: the tokenizer cannot be read ({type(error).__name__})") from None

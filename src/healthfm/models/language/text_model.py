"""What every family of text models shares: a tokenizer beside a network."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers.initialization import no_init_weights

from healthfm.cards.schema import ModelCard
from healthfm.errors import CheckpointError, MissingExtra
from healthfm.models import state
from healthfm.models.files import sentencepiece_bpe, stated, tiktoken_bpe
from healthfm.models.language import framing
from healthfm.models.model import Float32, Model
from healthfm.models.prepared import Prepared
from healthfm.records import QA, Conversation, Document, MultipleChoice

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "qwen.tiktoken", "vocab.json", "vocab.txt", "spiece.model")
TURN = (
    threading.RLock()
)  # a tokenizer is not safe to ask from several threads: how it cuts and fills is a state of its own

LENGTHS = ("max_position_embeddings", "seq_length", "max_seq_len", "n_positions")  # BLOOM, MPT, T5
BOUNDLESS = 1 << 30


class TextModel(Model):
    """A network with its tokenizer. ``max_length`` is the longest input in tokens, special tokens included.

    ``fast_linear``: on the CPU in float32, multiply through oneDNN (see ``onednn``). ``kept_prefix``: the tokens that the last
    scored prompts began with, and their keys and values. ``stated_generation``: what the files state about generating.
    """

    takes = (Document, QA, MultipleChoice, Conversation)
    network: transformers.PreTrainedModel
    packs = True  # a row may hold several branches, and logits are the output embedding of the decoder's last states

    def __init__(
        self,
        card: ModelCard,
        variant: str | None,
        network: transformers.PreTrainedModel,
        tokenizer: transformers.PreTrainedTokenizerBase | None,
    ) -> None:
        super().__init__(card, variant)
        self.network = network
        self.tokenizer = tokenizer
        self.max_length = longest_input(network)
        self.fast_linear = True
        self.kept_prefix: tuple[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] | None = None
        self.stated_generation: dict[str, Any] = {}

    def take_generation(self, settings: Mapping[str, Any]) -> None:
        """Take what the files state about generating: its end tokens end texts, the rest is named where it is not followed."""
        self.stated_generation = dict(settings)
        how = getattr(self.network, "generation_config", None)  # a classifier has none
        if how is not None and "eos_token_id" in settings:
            how.eos_token_id = settings["eos_token_id"]
        if aside := stated.laid_aside(settings):
            self.provenance["generation_notices"] = [
                f"the files' wishes about generating are not followed, the call and the card decide: {', '.join(aside)}"
            ]

    def settings(self) -> dict[str, Any]:
        """Return everything but the inputs that changes this model's numbers (see ``Model.settings``), its tokenizer with them."""
        return {**super().settings(), "tokenizer": state.tokenizer(self.tokenizer)}

    def whole(self, text: str) -> tuple[list[int], bool]:
        """Return the token ids of a text as the network is given them, and whether the text was cut for that."""
        return self.encode(text), False

    def prepare(self, content: str) -> Prepared:
        """Return the token ids of a text, int64 [length], and whether it was cut (see ``Model.prepare``)."""
        with TURN:
            ids, cut = self.whole(content)
        return Prepared([np.array(ids, np.int64)], cut=cut)

    def embed_prepared(self, inputs: Sequence[Any]) -> Float32:
        """Return the vectors of token ids, float32 [n, d]."""
        return self.embed_tokens([one.tolist() for one in inputs])

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, with the special tokens the tokenizer itself adds."""
        return self._ids(text, True)

    def _ids(self, text: str, special: bool) -> list[int]:
        if self.tokenizer is None:
            raise CheckpointError(
                f"{self.name}: no tokenizer beside the weights; text cannot be read (logits takes token ids)"
            )
        return framing.encoder(self.tokenizer)(text, special)

    def preprocess(self, items: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return ``input_ids`` and ``attention_mask``, int64 [n, longest], padded on the right."""
        return self.pad([self.encode(item) for item in items])

    def pad(self, sequences: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """Return token ids as ``input_ids`` and ``attention_mask``, int64 [n, longest], padded on the right."""
        longest = max(map(len, sequences))
        ids = torch.full((len(sequences), longest), int(self.network.config.pad_token_id or 0), dtype=torch.long)
        mask = torch.zeros(len(sequences), longest, dtype=torch.long)
        for i, sequence in enumerate(sequences):
            ids[i, : len(sequence)] = torch.tensor(sequence)
            mask[i, : len(sequence)] = 1
        return {"input_ids": ids, "attention_mask": mask}


def longest_input(network: transformers.PreTrainedModel) -> int:
    """Return the longest input in tokens that a network has positions for; ``BOUNDLESS`` where nothing bounds it."""
    config = network.config
    stated = next((int(value) for name in LENGTHS if (value := getattr(config, name, None))), BOUNDLESS)
    tables = [
        one for name, one in network.named_modules()
        if name.endswith("position_embeddings") and isinstance(one, torch.nn.Embedding) and one.padding_idx is not None
    ]  # fmt: skip
    return min(
        [stated, *(one.num_embeddings - one.padding_idx - 1 for one in tables)]
    )  # RoBERTa's begin behind the padding


def published_config(config: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """Return the architecture numbers of a ``config.json`` (not its class names, precision or code, nor a padding id of -1).

    Raises ``CheckpointError``: it says that it is of another network than ``architecture``.
    """
    stated.check_model_type(config, architecture)
    left_out = ("architectures", "model_type", "torch_dtype", "dtype", "auto_map")
    found = {k: v for k, v in config.items() if k not in left_out}
    if found.get("pad_token_id") == -1:  # LLaMA's first conversions to transformers say so; no embedding has that row
        del found["pad_token_id"]
    return found


def build_network(config_name: str, class_name: str, numbers: Mapping[str, Any]) -> transformers.PreTrainedModel:
    """Build a network of transformers' classes, uninitialised. Raises ``CheckpointError``: numbers it cannot have or does not know."""
    used = stated.numbers(config_name, numbers)
    try:
        with no_init_weights():
            return getattr(transformers, class_name)(getattr(transformers, config_name)(**used))  # type: ignore[no-any-return]
    except (ValueError, TypeError, ArithmeticError, KeyError, AssertionError, StrictDataclassError) as error:
        why = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise CheckpointError(
            f"{class_name} cannot have the architecture numbers of card and config.json: {why[0].strip()}"
        ) from None


def read_tokenizer(folder: Path | None) -> transformers.PreTrainedTokenizerBase | None:
    """Return the tokenizer whose files lie in a folder, or None. No code is ever loaded with it.

    Ranks files of tiktoken's (Qwen, GLM-4) and sentencepiece's BPE models are built here; all else is transformers' own.
    """
    if folder is None or not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return None
    ranks = tiktoken_bpe.find(folder)
    if ranks is not None:
        return tiktoken_bpe.load(ranks)
    if (folder / "tokenizer.model").is_file() and not (folder / "tokenizer.json").is_file():
        return sentencepiece_bpe.load(folder / "tokenizer.model")
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except ImportError as error:  # BioGPT's needs sacremoses
        wanted = next(
            (name for name in ("sacremoses", "sentencepiece") if name in str(error)), "its tokenizer's package"
        )
        raise MissingExtra("models", wanted) from None
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{folder}: the tokenizer cannot be read: a file of it is damaged or missing ({type(error).__name__})"
        ) from None

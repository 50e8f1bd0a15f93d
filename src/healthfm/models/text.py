"""What every family of text models shares: a tokenizer beside a network, weights opened, a device and a precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from healthfm.cards.schema import ModelCard
from healthfm.errors import CapabilityError, CheckpointError, MissingExtra
from healthfm.models import checkpoint, qwen_tokenizer, sentencepiece_bpe
from healthfm.models.checkpoint import Checkpoint, Tensors
from healthfm.models.model import Model
from healthfm.models.weights import locate

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "qwen.tiktoken", "vocab.json", "vocab.txt", "spiece.model")


class TextModel(Model):
    """A network with its tokenizer. ``max_length`` is the longest input in tokens, special tokens included.

    ``fast_linear``: on the CPU in float32, multiply through oneDNN (see ``onednn``). ``kept_prefix``: the tokens that the last
    scored prompts began with, and their keys and values.
    """

    network: transformers.PreTrainedModel

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
        longest = (
            getattr(network.config, "max_position_embeddings", None) or network.config.seq_length
        )  # the latter: BLOOM
        self.max_length = int(longest)
        self.fast_linear = True
        self.kept_prefix: tuple[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] | None = None

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


def open_weights(card: ModelCard, variant: str | None, weights: Path | str | Tensors | None) -> Checkpoint:
    """Return the checkpoint that ``load_model``'s ``weights`` means; "random" holds no tensors."""
    if isinstance(weights, Mapping):
        return Checkpoint(weights, note="in-memory weights of the caller's")
    if weights == "random":
        return Checkpoint({}, note="random weights, seed 0")
    return checkpoint.read(Path(weights).expanduser() if weights is not None else locate(card, variant))


def place(network: transformers.PreTrainedModel, card: ModelCard, device: str, dtype: str) -> None:
    """Move a network to its device and precision, ready to run. Raises ``CapabilityError`` where there is no CUDA."""
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if where.startswith("cuda") and not torch.cuda.is_available():
        raise CapabilityError("device is 'cuda', but torch sees no CUDA device here (healthfm doctor)")
    stated = card.run.dtype if card.run is not None else "float32"
    precision = dtype if dtype != "auto" else "float32" if where == "cpu" else stated
    network.to(device=where, dtype=DTYPES[precision]).eval()


def provenance(found: Checkpoint, network: transformers.PreTrainedModel) -> dict[str, Any]:
    """Return which weights run, in which precision, on which device."""
    return {
        "weights": found.note or ", ".join(path.name for path in found.files), "files": [path.name for path in found.files],
        "digest": found.digest, "device": str(network.device), "dtype": str(network.dtype).removeprefix("torch."),
    }  # fmt: skip


def published_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the architecture numbers of a ``config.json`` (not its class names, precision or code)."""
    return {
        k: v for k, v in config.items() if k not in ("architectures", "model_type", "torch_dtype", "dtype", "auto_map")
    }


def read_tokenizer(folder: Path | None) -> transformers.PreTrainedTokenizerBase | None:
    """Return the tokenizer whose files lie in a folder, or None. No code is ever loaded with it.

    Qwen's ranks and sentencepiece's BPE models are built here; all else is transformers' own.
    """
    if folder is None or not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return None
    if (folder / "qwen.tiktoken").is_file():
        return qwen_tokenizer.load(folder / "qwen.tiktoken")
    if (folder / "tokenizer.model").is_file() and not (folder / "tokenizer.json").is_file():
        return sentencepiece_bpe.load(folder / "tokenizer.model")
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except ImportError as error:  # BioGPT's needs sacremoses
        wanted = next(
            (name for name in ("sacremoses", "sentencepiece") if name in str(error)), "its tokenizer's package"
        )
        raise MissingExtra("models", wanted) from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{folder}: the tokenizer cannot be read ({type(error).__name__})") from None

"""BERT as the text side of a model of pictures and texts: transformers' own network; its key names, sizes, poolings and tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from healthfm.cards.schema import Tokenizer
from healthfm.errors import CheckpointError
from healthfm.models.files import bert_files, recognise
from healthfm.models.files.checkpoint import Tensors
from healthfm.models.language.text_model import build_network

HEAD = 64  # numbers a head of attention has in every published BERT, where nothing else is said
OVER_PADDING = "mean-1-2-last"  # a vector depends on how far its text is filled up
POOLINGS = ("cls", "pooler", "last", OVER_PADDING)
PAD = 0
HEADS = ("cls.", "lm_head.")  # of words, which no vector needs


@dataclass(frozen=True, kw_only=True)
class BertNumbers:
    """BERT's numbers, under transformers' names."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12


def build(numbers: BertNumbers, initial: bool = False) -> transformers.BertModel:
    """Build the network; ``initial``: with transformers' own first weights. Raises ``CheckpointError``: numbers it cannot have."""
    network = build_network("BertConfig", "BertModel", asdict(numbers))
    assert isinstance(network, transformers.BertModel)
    return transformers.BertModel(network.config) if initial else network


def published(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return a published BERT's tensors under BertModel's names, without a head of words."""
    modern = bert_files.modern_names(tensors)
    return {key.removeprefix("bert."): value for key, value in modern.items() if not key.startswith(HEADS)}


def shown(tensors: Mapping[str, Any]) -> dict[str, int]:
    """Return the sizes that tensors under BertModel's names show. Raises ``CheckpointError``: some that tell them are missing."""
    words, places, kinds, inner = (
        recognise.shape(tensors, end)
        for end in (
            "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight",
            "embeddings.token_type_embeddings.weight", "intermediate.dense.weight",
        )
    )  # fmt: skip
    try:
        return {
            "vocab_size": words[0], "hidden_size": words[1], "max_position_embeddings": places[0], "type_vocab_size": kinds[0],
            "intermediate_size": inner[0], "num_hidden_layers": recognise.numbered(tensors, r"encoder\.layer\.(\d+)\."),
        }  # fmt: skip
    except IndexError:
        raise CheckpointError("tensors of a BERT are missing: its sizes cannot be told") from None


def heads(sizes: Mapping[str, int], card: Mapping[str, Any]) -> dict[str, int]:
    """Return the sizes with their number of heads: the card's where the width is the card's, else of ``HEAD`` numbers each."""
    if sizes["hidden_size"] == card.get("hidden_size"):
        return dict(sizes)
    return {**sizes, "num_attention_heads": max(sizes["hidden_size"] // HEAD, 1)}


def pooled(
    network: transformers.BertModel, ids: torch.Tensor, mask: torch.Tensor | None, pooling: str
) -> torch.Tensor:  # fmt: skip
    """Return one vector a text, [n, d]. ``mask`` [n, length]: the tokens that are seen (None: all).

    "cls": the last state of the first token; "pooler": the trained layer over it; "last": the last state of the last token that is
    seen; "mean-1-2-last": the mean of all tokens, those that are not seen too, in the states behind the first, second and last layer.
    """
    out = network(input_ids=ids, attention_mask=mask, output_hidden_states=pooling == OVER_PADDING)
    if pooling == "pooler":
        if out.pooler_output is None:
            raise CheckpointError("these weights have no pooler layer, which this model's texts are read by")
        return out.pooler_output  # type: ignore[no-any-return]
    states: torch.Tensor = out.last_hidden_state
    if pooling == OVER_PADDING:
        return torch.stack([out.hidden_states[1], out.hidden_states[2], states]).mean((0, 2))
    if pooling == "last":
        last = (torch.full((len(ids),), ids.shape[1]) if mask is None else mask.sum(1)) - 1
        return states[torch.arange(len(ids), device=ids.device), last.to(ids.device)]
    return states[:, 0]


class Fronted(transformers.PreTrainedTokenizerFast):
    """A tokenizer of the package tokenizers, every text with the same words in ``front`` of it."""

    front = ""

    @classmethod
    def read(cls, path: Path, front: str) -> Fronted:
        """Return the tokenizer of a file. Raises ``CheckpointError``: it is damaged, or none of BERT's."""
        try:
            found = cls(tokenizer_file=str(path), pad_token="[PAD]")
        except Exception as error:  # the package raises plain ones
            raise CheckpointError(
                f"{path}: not a tokenizer of the package tokenizers ({type(error).__name__})"
            ) from None
        if found.pad_token_id != PAD:
            raise CheckpointError(f"{path}: [PAD] has the number {found.pad_token_id}, not {PAD}")
        found.front = front
        return found

    def __call__(self, text: Any, *rest: Any, **words: Any) -> Any:
        whole = self.front + text if isinstance(text, str) else [self.front + one for one in text]
        return super().__call__(whole, *rest, **words)


def read_tokenizer(folder: Path | None, rule: Tokenizer | None) -> transformers.PreTrainedTokenizerBase | None:
    """Return BERT's tokenizer over the vocabulary in a folder; None without one.

    Texts are lowered as the card says, else as the files say, else lowered: what transformers does where no file says it.
    """
    if folder is not None and rule is not None and rule.file is not None:
        path = folder / rule.file
        return Fronted.read(path, rule.before or "") if path.is_file() else None
    if folder is None or (vocabulary := bert_files.vocabulary(folder)) is None:
        return None
    absent = [piece for piece in bert_files.SPECIAL if piece not in vocabulary]
    if absent:
        raise CheckpointError(f"{folder}: the vocabulary lacks '{absent[0]}'")
    told = bert_files.lowers(folder)
    lower = rule.lower_case if rule is not None and rule.lower_case is not None else told
    return transformers.BertTokenizer(
        vocab=dict(vocabulary), do_lower_case=True if lower is None else lower, **bert_files.flags(folder)
    )

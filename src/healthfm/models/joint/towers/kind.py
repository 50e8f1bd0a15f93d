"""What a kind of tower knows: its numbers, its network, the sizes that its tensors show, its tokenizer. No pair, no published file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from torch import nn

from healthfm.cards.schema import Runner
from healthfm.cards.schema import Tokenizer as TokenizerFacts
from healthfm.models.files.checkpoint import Tensors

Sizes = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """A tower. It is called as transformers' are (``pixel_values``; ``input_ids`` and ``attention_mask``) and gives ``last_hidden_state``
    [n, t, d] and ``pooler_output`` [n, ``width``]. ``prefix``: how many of a picture's tokens stand before its patches.
    """

    network: nn.Module
    width: int
    prefix: int = 0


def as_they_are(tensors: Tensors, part: Runner) -> Tensors:
    """Return published tensors whose names are the network's own."""
    return tensors


@dataclass(frozen=True)
class Kind:
    """A kind of tower.

    ``numbers``: the dataclass of its ``config``. ``build(part, whole, initial)``: the network of a part of [run], uninitialised or with
    its library's first weights; ``whole``: the pair's own numbers. ``shown(tensors)``: the sizes that tensors under its names show, in
    the words of ``numbers``; what they lack may raise ``IndexError``. ``stated(numbers)``: the same sizes of ``numbers``, where the words
    are not those of its fields. ``names(tensors, part)``: published names of the tower alone, the pair's prefix taken off, to its own.
    ``heads`` and ``width``: the words of the number of heads, which no tensor shows, and of the width that they share; ``context`` and
    ``rows``: those of the longest text and of the vocabulary; ``own``: places that tokens
    of the tower's own take. ``tokenizer(folder, facts)``: that of a folder's files, None without any.
    """

    numbers: type[Any]
    build: Callable[[Runner, Any, bool], Made]
    shown: Callable[[Mapping[str, Any]], Sizes]
    stated: Callable[[Any], Sizes] | None = None
    names: Callable[[Tensors, Runner], Tensors] = as_they_are
    heads: str | None = None
    width: str = "embed_dim"
    context: str = "context_length"
    rows: str = "vocab_size"
    own: int = 0
    tokenizer: Callable[[Path | None, TokenizerFacts | None], transformers.PreTrainedTokenizerBase | None] | None = None

    def sizes(self, numbers: Any, names: Mapping[str, Any]) -> Sizes:
        """Return the sizes of ``numbers`` under the ``names`` that tensors show; None for one that numbers do not state."""
        return (
            self.stated(numbers) if self.stated is not None else {name: getattr(numbers, name, None) for name in names}
        )

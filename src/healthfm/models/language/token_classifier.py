"""A text encoder of transformers' with a head that classifies tokens: named entity recognition by tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from healthfm.cards.schema import ModelCard
from healthfm.errors import CheckpointError
from healthfm.models.files.folder import Opened
from healthfm.models.files.opening import place
from healthfm.models.language import framing
from healthfm.models.language.causal_lm import check_vocabulary
from healthfm.models.language.masked_lm import batches
from healthfm.models.language.text_model import TextModel, read_tokenizer
from healthfm.models.model import Float32
from healthfm.models.vision import heads

OUTSIDE = "O"


class TokenClassifier(TextModel):
    """Tags words: each has the class of its first piece, as transformers' token-classification example reads it.

    ``classes``: the head's, in its order. A text that is longer than the network reads is read in windows of whole words, none of them twice;
    ``provenance["windows"]`` counts the texts that were.
    """

    capabilities = frozenset({"preprocess", "forward", "tag"})
    classes: tuple[str, ...] = ()

    @torch.inference_mode()
    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Float32]:
        """Return ``logits``, float32 [n, length, classes]."""
        given = {name: value.to(self.network.device) for name, value in batch.items()}
        return {"logits": self.network(**given).logits.float().cpu().numpy()}

    def tag(self, texts: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the tag of each word of texts given as their words; a word without a piece of its own is outside."""
        found = [[OUTSIDE] * len(words) for words in texts]
        rows = [(i, *window) for i, words in enumerate(texts) for window in self._windows(words)]
        for batch in batches([len(ids) for _, ids, _ in rows], "auto"):
            logits = self.forward(self.pad([rows[i][1] for i in batch]))["logits"]
            for values, at in zip(logits, batch, strict=True):
                text, _, firsts = rows[at]
                for word, piece in firsts:
                    found[text][word] = self.classes[int(values[piece].argmax())]
        return found

    def _windows(self, words: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Return token ids of at most ``max_length``, and where the first piece of each word stands in them, for each window of a text."""
        frame = framing.of(self._ids)
        room = self.max_length - len(frame.start) - len(frame.end)
        windows: list[tuple[list[int], list[tuple[int, int]]]] = [([], [])]
        for number, word in enumerate(words):
            pieces = self._ids(f" {word}" if number else word, False)[:room]
            if len(windows[-1][0]) + len(pieces) > room:
                windows.append(([], []))
            ids, firsts = windows[-1]
            if pieces:
                firsts.append((number, len(frame.start) + len(ids)))
            ids += pieces
        if len(windows) > 1:
            self.provenance["windows"] = self.provenance.get("windows", 0) + 1
        return [([*frame.start, *ids, *frame.end], firsts) for ids, firsts in windows]


def tagger(card: ModelCard, opened: Opened, device: str, dtype: str) -> TokenClassifier:
    """Return a token classifier with its head's own tags. Raises ``CheckpointError``: the folder does not name them, or has no tokenizer."""
    place(opened.network, card.runner(None), device, dtype)
    tokenizer = read_tokenizer(opened.path)
    if tokenizer is None:
        raise CheckpointError(f"{opened.path}: no tokenizer beside the weights; words cannot be read")
    check_vocabulary(opened.network, tokenizer)
    model = TokenClassifier(card, None, opened.network, tokenizer)
    model.classes = heads.names(opened.stated, int(opened.network.config.num_labels))
    if not model.classes:
        raise CheckpointError(
            f'{opened.path}: config.json does not say which tags its head\'s classes are ("id2label")'
        )
    model.provenance = opened.provenance()
    return model

"""Sentences of classes whose words before the name can be moved: for tuning prompts of a model of pictures and texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from healthfm.errors import CapabilityError
from healthfm.models.joint.zero_shot import SLOT
from healthfm.models.model import Model

PLAIN = "an image of {}"  # where no sentence of the model's own begins with words


class Contexts:
    """Called with what is added to the vectors of the words before the names, float32 ``shape`` [words, width], it returns the classes'
    vectors [classes, d]. Its network's weights are not trained.

    ``template``: the sentence that was taken, the first that begins with words. Raises ``CapabilityError``: the text side has no table of
    words, or its tokenizer joins those words to the name.
    """

    def __init__(self, model: Model, names: Sequence[str], templates: Sequence[str]) -> None:
        whole: Any = getattr(model.network, "network", model.network)
        self.template = next((one for one in templates if one.partition(SLOT)[0].strip()), PLAIN)
        self._of_texts = getattr(whole, "of_texts", None) or _features(whole)
        side = whole.text if hasattr(whole, "of_texts") else whole.text_model
        tables = [one for one in side.modules() if isinstance(one, nn.Embedding)]
        if not tables:
            raise CapabilityError(f"{model.name}: its text side has no table of words, so no prompt of it can be tuned")
        self._table = max(tables, key=lambda one: one.num_embeddings)
        tokenizer: Any = model.tokenizer  # type: ignore[attr-defined]
        made = model._encoded([self.template.replace(SLOT, name) for name in names])  # type: ignore[attr-defined]
        self.ids = made["input_ids"]
        self.mask = made["attention_mask"] if "attention_mask" in made else torch.ones_like(self.ids)
        before = tokenizer(self.template.partition(SLOT)[0].strip(), add_special_tokens=False)["input_ids"]
        self.start = _where(self.ids, before)
        if self.start is None:
            raise CapabilityError(f"{model.name}: its tokenizer joins the words of '{self.template}' to the names, so they cannot be tuned")  # fmt: skip
        self.shape = (len(before), self._table.embedding_dim)
        whole.requires_grad_(False)

    def __call__(self, moved: torch.Tensor) -> torch.Tensor:
        start, words = self.start or 0, self.shape[0]

        def move(module: nn.Module, given: Any, out: torch.Tensor) -> torch.Tensor:
            added = nn.functional.pad(moved.to(out), (0, 0, start, out.shape[1] - start - words))
            return out + added

        weight = self._table.weight
        hook = self._table.register_forward_hook(move)
        try:
            found: torch.Tensor = self._of_texts(self.ids.to(weight.device), self.mask.to(weight.device))
        finally:
            hook.remove()
        return found.float().cpu()


def _features(network: Any) -> Any:
    """Return how transformers' own pairs give texts' vectors."""

    def of_texts(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        shown = {} if network.config.model_type == "siglip" else {"attention_mask": mask}
        out = network.get_text_features(input_ids=ids, **shown)
        return out if isinstance(out, torch.Tensor) else out.pooler_output

    return of_texts


def _where(ids: torch.Tensor, before: Sequence[int]) -> int | None:
    """Return where words stand in all rows: at their beginning, or behind one special token."""
    words = torch.as_tensor(before)
    return next((at for at in (0, 1) if len(words) and bool((ids[:, at : at + len(words)] == words).all())), None)

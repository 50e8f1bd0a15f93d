"""A causal network with a classification head on its last token, its own or that of a LoRA adapter of peft's task SEQ_CLS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from healthfm.models.language.text_model import TextModel
from healthfm.models.model import Float32
from healthfm.models.vision import heads


class SequenceClassifier(TextModel):
    """Classifies texts. The classes are the head's rows, in its order; ``classes``: their names, where the files give them."""

    capabilities = frozenset({"preprocess", "forward", "classify"})
    classes: tuple[str, ...] = ()
    several = False

    @torch.inference_mode()
    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Float32]:
        """Return ``logits``, float32 [n, classes], read at each text's last token."""
        rows = zip(batch["input_ids"], batch["attention_mask"], strict=True)
        texts = [ids[mask.bool()][None].to(self.network.device) for ids, mask in rows]
        found = [self.network(input_ids=ids, use_cache=False).logits[0] for ids in texts]
        return {"logits": torch.stack(found).float().cpu().numpy()}

    def classify(
        self, items: Sequence[Any], classes: Sequence[str], templates: Any = None, logits: bool = False
    ) -> Float32:
        """Return a probability or logit of each class for each text, float32 [n, classes] (see ``heads.answers``)."""
        values = np.zeros((0, self.network.config.num_labels), np.float32)
        if items:
            values = np.concatenate([self.forward(self.preprocess([item]))["logits"] for item in items])
        return heads.answers(self.name, values, classes, self.classes, self.several, templates, logits)

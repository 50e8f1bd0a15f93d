"""A causal network with a classification head on its last token, as LoRA adapters of peft's task SEQ_CLS bring one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from healthfm.errors import RunError
from healthfm.models.model import Float32
from healthfm.models.text import TextModel


class SequenceClassifier(TextModel):
    """Classifies texts. The classes are the head's rows, in its order."""

    capabilities = frozenset({"preprocess", "forward", "classify"})

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
        """Return a probability (softmax) or logit of each class for each text, float32 [n, classes]."""
        if templates is not None:
            raise RunError(f"{self.name} has a trained head: it takes no templates")
        if len(classes) != self.network.config.num_labels:
            raise RunError(
                f"{self.name} has a head of {self.network.config.num_labels} classes; {len(classes)} were named"
            )
        values = np.concatenate([self.forward(self.preprocess([item]))["logits"] for item in items])
        return values if logits else np.asarray(torch.from_numpy(values).softmax(-1).numpy(), np.float32)

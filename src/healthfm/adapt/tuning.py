"""Prompt tuning: the words before the classes' names are learned as vectors, from few examples, while both networks stand still.

After Zhou et al., "Learning to Prompt for Vision-Language Models" (CoOp, IJCV 2022): one context that all classes share, begun at the words
of a sentence. Pictures are embedded once; each step encodes the classes' sentences anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from healthfm.adapt.adapter import unit
from healthfm.adapt.probe import Array

STEPS, RATE = 50, 1e-3  # ours: Adam on all examples at once


def tuned(
    texts: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, int], train: Array, y: Sequence[int], test: Array, scale: float, steps: int = STEPS
) -> Array:  # fmt: skip
    """Return class probabilities of ``test``, float64 [n, classes], by a context learned on ``train`` [m, d] with its classes ``y``.

    ``texts``: what is added to the words' vectors, ``shape`` [words, width], to the classes' vectors [classes, d]; ``scale``: what
    similarities are multiplied by. Without a ``steps`` it is what the sentence itself gives.
    """
    x, z = (unit(torch.as_tensor(np.array(one, np.float32))) for one in (train, test))
    target = torch.as_tensor(np.asarray(y, np.int64))
    with torch.enable_grad():
        moved = torch.zeros(shape, requires_grad=True)
        optimiser = torch.optim.Adam([moved], RATE)
        for _ in range(steps):
            optimiser.zero_grad()
            logits = scale * x @ unit(texts(moved)).T
            nn.functional.cross_entropy(logits, target).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    with torch.inference_mode():
        found: Array = (scale * z @ unit(texts(moved)).T).double().softmax(1).numpy()
    return found

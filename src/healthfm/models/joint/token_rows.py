"""Token ids that a caller gives, checked before a network meets them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from healthfm.errors import CapabilityError


def checked(name: str, token_ids: Any, places: int, known: int | None) -> list[torch.Tensor]:
    """Return each text's ids. Raises ``CapabilityError``: no lists of whole numbers, an empty one, one longer than ``places``, or an id that is
    none of the ``known`` ones (None: not told).
    """
    rows = _numbers(token_ids)
    if rows is None or any(one.ndim != 1 or (len(one) and one.dtype.kind not in "iu") for one in rows):
        raise CapabilityError(
            f"{name}: embed_tokens takes token ids; texts go to embed; a list of whole numbers was expected for each text"
        )
    if not all(map(len, rows)):
        raise CapabilityError(f"{name}: a text has no token ids: one at least is needed")
    beyond = max(map(len, rows), default=0) - places
    if beyond > 0:
        raise CapabilityError(f"{name} reads {places} tokens a text, special ones too: {beyond} too many were given")
    if any(one.min() < 0 or (known is not None and one.max() >= known) for one in rows):
        raise CapabilityError(f"{name}: a token id is none of its vocabulary's{'' if known is None else f' {known}'}")
    return [torch.as_tensor(one.astype(np.int64)) for one in rows]


def seen(name: str, attention_mask: Any, rows: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return each text's mask. Raises ``CapabilityError``: another shape than that of the ids, other values than 0 and 1, or a text of which nothing is seen."""
    found = _numbers(attention_mask)
    if found is None or [one.shape for one in found] != [tuple(one.shape) for one in rows]:
        raise CapabilityError(f"{name}: attention_mask has not the shape of token_ids")
    if any(one.dtype.kind not in "biuf" or not np.isin(one, (0, 1)).all() or not one.any() for one in found):
        raise CapabilityError(f"{name}: attention_mask holds 1 where a token is seen and 0 elsewhere, and one 1 a text")
    return [torch.as_tensor(one.astype(np.int64)) for one in found]


def _numbers(given: Any) -> list[np.ndarray[Any, Any]] | None:
    try:
        return [np.asarray(one.cpu() if isinstance(one, torch.Tensor) else one) for one in given]
    except (TypeError, ValueError):
        return None

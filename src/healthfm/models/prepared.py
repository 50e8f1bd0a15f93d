"""``Prepared``: what a network is given for one item, and what a report must say of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Prepared:
    """``inputs``: one array for each time the network is run (token ids, pixels, samples); their vectors' mean is the item's.

    ``digest`` (that of the inputs, unless given) is what vectors are found by: a model of several towers must give them inputs that
    differ in type or number of axes. ``blank``: all of it is black or white; ``cut``: it is longer than the network takes;
    ``ratio``: a pixel's height over its width, before its pictures were made square; ``notices``: what was said on the way
    (``formats.notices``). ``lone``: nothing is known of the model, and the vector is kept for nobody else.
    """

    inputs: Sequence[Any]
    digest: str = ""
    blank: bool = False
    cut: bool = False
    ratio: float = 1.0
    notices: tuple[str, ...] = ()
    lone: bool = False

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", digest_of(self.inputs)[1])


def digest_of(arrays: Iterable[Any]) -> tuple[int, str]:
    """Return how many arrays these are and the digest of them all, going through them one at a time."""
    count, seen = 0, hashlib.sha256()
    for one in arrays:
        seen.update(f"{one.dtype} {one.shape} ".encode())
        seen.update(np.ascontiguousarray(one).data)
        count += 1
    return count, seen.hexdigest()

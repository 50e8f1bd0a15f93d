"""A language model of bytes from counts: what a byte costs given the few before it, by a training split alone.

Orders are interpolated by Witten and Bell's rule (Witten and Bell 1991, method C): of a context seen n times with t different bytes behind it,
p(b) = (count of b + t p'(b)) / (n + t), p' being that of the context one byte shorter; below the shortest all 256 are equally likely. So every
text has a finite cost, and it compares with that of any tokenizer's model in bits per byte.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ORDER = 5  # bytes before the one that is predicted; with it they must fit into 64 bits
Keys = npt.NDArray[np.uint64]


class ByteModel:
    """Counts of the bytes of texts after each context of up to ``ORDER`` bytes; a text begins behind zeros."""

    def __init__(self, texts: Sequence[str]) -> None:
        line, places, _ = _laid_out(texts)
        self._orders = []
        for order in range(ORDER + 1):
            grams, counts = np.unique(_grams(line, places, order), return_counts=True)
            contexts, first = np.unique(grams >> np.uint64(8), return_index=True)
            seen = np.add.reduceat(counts, first) if len(first) else counts
            self._orders.append((grams, counts, contexts, seen, np.diff(first, append=len(grams))))

    def log_likelihoods(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return the summed natural log-likelihood of each text's bytes."""
        line, places, of = _laid_out(texts)
        chance = np.full(len(places), 1 / 256)
        for order, (grams, counts, contexts, seen, different) in enumerate(self._orders):
            asked = _grams(line, places, order)
            n, t = (_found(contexts, one, asked >> np.uint64(8)) for one in (seen, different))
            known = n > 0
            mixed = _found(grams, counts, asked) + t * chance
            chance[known] = mixed[known] / (n + t)[known]
        return np.bincount(of, np.log(chance), minlength=len(texts))


def _laid_out(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the bytes of all texts, each behind ``ORDER`` zeros; the places of their own bytes; and to which text each place belongs."""
    parts = [np.frombuffer(bytes(ORDER) + one.encode(), np.uint8) for one in texts]
    line = np.concatenate([np.zeros(0, np.uint8), *parts])
    of = np.repeat(np.arange(len(parts)), [len(one) for one in parts])
    starts = np.cumsum([0, *(len(one) for one in parts)])[:-1]
    own = np.arange(len(line)) - starts[of] >= ORDER if len(parts) else np.zeros(0, bool)
    return line, np.flatnonzero(own), of[own]


def _grams(line: npt.NDArray[np.uint8], places: npt.NDArray[np.int64], order: int) -> Keys:
    """Return at each place the ``order`` bytes before it and its own, as one number."""
    found = np.zeros(len(places), np.uint64)
    for back in range(order, -1, -1):
        found = (found << np.uint64(8)) | line[places - back]
    return found


def _found(keys: Keys, values: npt.NDArray[np.int64], asked: Keys) -> npt.NDArray[np.int64]:
    """Return the value of each key that is asked for, 0 where there is none."""
    if not len(keys):
        return np.zeros(len(asked), np.int64)
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[at] == asked, values[at], 0)

"""Exact ranks of what belongs together, both ways, in bounded memory: pictures among captions and captions among pictures.

Vectors are of length 1 and written in fixed point, so that every product and every partial sum is a whole number that float64 holds: the
similarities, and with them ranks and ties, are the same whatever the order of additions, the chunk or the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ONE = 2.0**26  # what length 1 is: a partial sum of products is at most ONE squared, 2 to the power of 52
CHUNK = 2_048  # vectors of each side that are compared at once: 2,048 x 2,048 similarities are 34 MB
Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
TIES = "of equal similarities those of what does not belong count first: a tie counts against the model"


@dataclass(frozen=True)
class Ranks:
    """Of each query: ``found``, the ranks (from 1) of all that belongs to it, in rising order; ``first``, the number of what stands first."""

    found: list[Ints]
    first: Ints


def ranks(
    queries: Floats, gallery: Floats, pairs: Sequence[tuple[int, int]], chunk: int = CHUNK
) -> tuple[Ranks, Ranks]:  # fmt: skip
    """Return the ranks of what belongs together, of each query in the gallery and of each one of the gallery among the queries.

    ``queries``, ``gallery``: vectors [n, d] and [m, d], none of them zero. ``pairs``: (query, of the gallery) that belong together; every one
    has one at least. Both ways are of the same products. ``TIES`` is the rule of ties. Beside the vectors it holds ``chunk`` squared
    similarities, and a number a pair. Raises ``ValueError``: a vector is zero or not finite, or one has no pair.
    """
    joined = np.asarray(pairs, np.int64).reshape(-1, 2)
    both = [_Side(side, joined[:, column]) for column, side in enumerate((queries, gallery))]
    likeness = np.concatenate([
        np.einsum("ij,ij->i", both[0].whole(some[:, 0]), both[1].whole(some[:, 1]))
        for some in (joined[i : i + chunk] for i in range(0, len(joined), chunk))
    ])  # fmt: skip
    for side in both:
        side.expect(likeness)
    for start in range(0, len(queries), chunk):
        rows = both[0].whole(np.arange(start, min(start + chunk, len(queries))))
        for begin in range(0, len(gallery), chunk):
            columns = both[1].whole(np.arange(begin, min(begin + chunk, len(gallery))))
            block = rows @ columns.T
            both[0].count(block, start, begin)
            both[1].count(block.T, begin, start)
    return both[0].ranks(), both[1].ranks()


class _Side:
    """One side's vectors, what belongs to each of them (pairs, the most alike first), and how many are at least as like as each."""

    def __init__(self, vectors: Floats, members: Ints) -> None:
        self.vectors = np.asarray(vectors, np.float32)
        self.members = members
        self.sizes = np.bincount(self.members, minlength=len(vectors))
        if not self.sizes.all():
            raise ValueError(f"number {int(np.flatnonzero(self.sizes == 0)[0])} has nothing that belongs to it")
        lengths = np.sqrt(np.einsum("ij,ij->i", self.vectors, self.vectors, dtype=np.float64))
        if not (np.isfinite(lengths).all() and lengths.all()):
            raise ValueError("a vector is zero or not finite")
        self.scales = (1 - 2.0**-40) * ONE / lengths  # a little less than 1, so that rounding makes none longer
        self.best = np.full(len(vectors), -np.inf)
        self.first = np.zeros(len(vectors), np.int64)

    def whole(self, rows: Ints) -> npt.NDArray[np.float64]:
        """Return vectors of length 1 in fixed point: whole numbers as float64."""
        found: npt.NDArray[np.float64] = np.trunc(self.vectors[rows] * self.scales[rows, None])
        return found

    def expect(self, likeness: npt.NDArray[np.float64]) -> None:
        """Take in the similarities of all pairs."""
        order = np.lexsort((-likeness, self.members))
        self.order = order
        ends = np.cumsum(self.sizes)
        self.starts = ends - self.sizes
        self.wanted = likeness[order]
        self.above = np.zeros(len(order), np.int64)

    def count(self, block: npt.NDArray[np.float64], start: int, begin: int) -> None:
        """Count, of similarities [rows, columns] from (``start``, ``begin``) on, those that are at least as great as each one that belongs."""
        rows = np.arange(start, start + len(block))
        for place in range(int(self.sizes[rows].max())):
            has = np.flatnonzero(self.sizes[rows] > place)
            at = self.starts[rows[has]] + place
            part = block if len(has) == len(rows) else block[has]
            self.above[at] += (part >= self.wanted[at, None]).sum(1)
        highest = block.max(1)
        better = np.flatnonzero(highest > self.best[rows])
        if len(better):
            self.best[rows[better]] = highest[better]
            self.first[rows[better]] = begin + block[better].argmax(1)

    def ranks(self) -> Ranks:
        """Return the rank of each one that belongs: behind all others that are at least as like, and behind those of its own that are more so."""
        groups = self.members[self.order]
        upto = np.arange(len(groups)) - self.starts[groups]  # those of one's own that come before
        alike = upto + 1
        last = np.r_[
            np.flatnonzero((groups[1:] != groups[:-1]) | (self.wanted[1:] != self.wanted[:-1])), len(groups) - 1
        ]
        alike = (
            upto[last[np.searchsorted(last, np.arange(len(groups)))]] + 1
        )  # those of one's own that are at least as like
        found = self.above - alike + upto + 1
        return Ranks(np.split(found, self.starts[1:]), self.first)

"""Exact ranks of what belongs together, both ways, in bounded memory: pictures among captions and captions among pictures.

Vectors are of length 1 and written in fixed point, so that every product and every partial sum is a whole number that float64 holds: the
similarities, and with them ranks and ties, are the same whatever the order of additions, the chunk or the machine. All are computed in
float32 first, and so those alone whose rounding could change an answer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

ONE = 2.0**26  # what length 1 is: a partial sum of products is at most ONE squared, 2 to the power of 52
CHUNK = 512  # vectors of each side that are compared at once: their similarities stay in the processor's cache
DENSE = 64  # where more than one in so many similarities is in doubt, all of a block are computed in whole numbers
PAIRS = 4_096  # that are computed in whole numbers at once, where few are in doubt
WORKERS = 16  # threads at most: each holds a block
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
    both = [_Side(side, joined[:, column], joined[:, 1 - column]) for column, side in enumerate((queries, gallery))]
    likeness = np.concatenate([
        np.einsum("ij,ij->i", both[0].whole(some[:, 0]), both[1].whole(some[:, 1]))
        for some in (joined[i : i + chunk] for i in range(0, len(joined), chunk))
    ])  # fmt: skip
    for side in both:
        side.expect(likeness)

    def stripe(start: int) -> None:
        rows = both[0].short(np.arange(start, min(start + chunk, len(queries))))
        for begin in range(0, len(gallery), chunk):
            block = rows @ both[1].short(np.arange(begin, min(begin + chunk, len(gallery)))).T
            both[0].count(both[1], block, start, begin)
            both[1].count(both[0], block.T, begin, start)

    with _workers() as pool:
        for _ in pool.map(stripe, range(0, len(queries), chunk)):
            pass
    return both[0].ranks(), both[1].ranks()


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    """Give as many threads as products of matrices have; inside, each product has one: two that share a product wait for each other."""
    libraries = ThreadpoolController()
    count = max((one["num_threads"] for one in libraries.info() if one["user_api"] == "blas"), default=1)
    with libraries.limit(limits=1, user_api="blas"), ThreadPoolExecutor(min(count, WORKERS)) as pool:
        yield pool


def _some(block: Any, rows: Ints) -> Any:
    """Return rows of a block, laid out as it is."""
    if len(rows) == len(block):
        return block
    return block[rows] if block.flags.c_contiguous else block.T.take(rows, 1).T


def _true(flags: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Return the rows and columns of what is true, row by row."""
    if flags.flags.c_contiguous:
        return np.divmod(np.flatnonzero(flags), flags.shape[1])
    j, i = np.divmod(np.flatnonzero(flags.T), len(flags))
    order = np.argsort(i, kind="stable")
    return i[order], j[order]


def _counts(flags: npt.NDArray[np.bool_]) -> Ints:
    """Return how many of each row are true, by bytes: ten times as quick as ``count_nonzero`` along an axis."""
    if flags.flags.c_contiguous:
        return np.bitwise_count(np.packbits(flags, 1)).sum(1, dtype=np.int64)  # type: ignore[no-any-return]
    found, most = np.zeros(len(flags), np.int64), np.iinfo(np.uint8).max  # what a byte can count to
    for start in range(0, flags.shape[1], most):
        found += np.add.reduce(flags.T[start : start + most].view(np.uint8), 0, dtype=np.uint8)
    return found


class _Side:
    """One side's vectors, what belongs to each of them (pairs, the most alike first), and how many are at least as like as each."""

    def __init__(self, vectors: Floats, members: Ints, partners: Ints) -> None:
        self.vectors = np.asarray(vectors, np.float32)
        self.members, self.partners = members, partners
        self.sizes = np.bincount(self.members, minlength=len(vectors))
        if not self.sizes.all():
            raise ValueError(f"number {int(np.flatnonzero(self.sizes == 0)[0])} has nothing that belongs to it")
        lengths = np.sqrt(np.einsum("ij,ij->i", self.vectors, self.vectors, dtype=np.float64))
        if not (np.isfinite(lengths).all() and lengths.all()):
            raise ValueError("a vector is zero or not finite")
        self.scales = (1 - 2.0**-40) * ONE / lengths  # a little less than 1, so that rounding makes none longer
        self.lock = threading.Lock()  # around what is counted
        self.high = np.full(len(vectors), -np.inf)  # the similarity of ``first``, in float32
        self.first = np.zeros(len(vectors), np.int64)
        width = self.vectors.shape[1]
        # float32's similarities are no further off: Higham 2002, 3.1; what is cut to whole numbers; the rest rounded
        self.doubt = (width + width**0.5 + 8) * 2.0**-24

    def whole(self, rows: Ints) -> npt.NDArray[np.float64]:
        """Return vectors of length 1 in fixed point: whole numbers as float64."""
        found: npt.NDArray[np.float64] = self.vectors[rows] * self.scales[rows, None]
        return np.trunc(found, out=found)

    def short(self, rows: Ints) -> npt.NDArray[np.float32]:
        """Return vectors of length 1 as float32."""
        found: npt.NDArray[np.float32] = self.vectors[rows] * (self.scales[rows, None] / ONE).astype(np.float32)
        return found

    def exact(self, other: _Side, mine: Ints, theirs: Ints) -> npt.NDArray[np.float64]:
        """Return the similarities of pairs in whole numbers."""
        starts = range(0, max(len(mine), 1), PAIRS)
        both = ((self.whole(mine[k : k + PAIRS]), other.whole(theirs[k : k + PAIRS])) for k in starts)
        return np.concatenate([np.einsum("ij,ij->i", *some) for some in both])

    def expect(self, likeness: npt.NDArray[np.float64]) -> None:
        """Take in the similarities of all pairs."""
        order = np.lexsort((-likeness, self.members))
        self.order = order
        ends = np.cumsum(self.sizes)
        self.starts = ends - self.sizes
        self.wanted, self.partners = likeness[order], self.partners[order]
        self.above = np.zeros(len(order), np.int64)

    def count(self, other: _Side, block: npt.NDArray[np.float32], start: int, begin: int) -> None:
        """Count, of similarities [rows, columns] from (``start``, ``begin``) on, those that are at least as great as each one that belongs."""
        rows = np.arange(start, start + len(block))
        whole: Any = None  # the block in whole numbers, where much is in doubt
        for place in range(int(self.sizes[rows].max())):
            has = np.flatnonzero(self.sizes[rows] > place)
            at = self.starts[rows[has]] + place
            part = _some(block, has)
            wanted = self.wanted[at] / ONE**2
            surely = part >= (wanted + self.doubt).astype(np.float32)[:, None]
            i, j = _true(surely ^ (part >= (wanted - self.doubt).astype(np.float32)[:, None]))
            if len(i) * DENSE > block.size:
                whole = self._block(other, start, begin, block) if whole is None else whole
                counted = (whole[has] >= self.wanted[at, None]).sum(1)
            else:
                near = begin + j == self.partners[at[i]]  # itself, as like as it is
                k = np.flatnonzero(~near)
                near[k] = self.exact(other, rows[has[i[k]]], begin + j[k]) >= self.wanted[at[i[k]]]
                counted = _counts(surely) + np.bincount(i[near], minlength=len(at))
            with self.lock:
                self.above[at] += counted
        self._best(other, block, start, begin, whole)

    def _best(self, other: _Side, block: npt.NDArray[np.float32], start: int, begin: int, whole: Any) -> None:
        """Take in what stands first in a block, of equals the earlier; in whole numbers where float32 does not tell."""
        highest = block.max(1)
        could = np.flatnonzero(highest >= self.high[start : start + len(block)] - 2 * self.doubt)
        least = highest[could] - np.float32(2 * self.doubt)
        i, j = _true(_some(block, could) >= least[:, None])
        if len(i) * DENSE > block.size:
            whole = self._block(other, start, begin, block) if whole is None else whole
            i, j = np.arange(len(could)), whole[could].argmax(1)
        at, alone = start + could, np.bincount(i, minlength=len(could)) == 1
        likeness = np.full(len(i), -np.inf)
        several = ~alone[i]
        likeness[several] = self.exact(other, at[i[several]], begin + j[several])
        j = j[np.lexsort((-j, likeness, i))[np.append(np.diff(i) > 0, True)[: len(i)]]]  # of each row the most alike
        with self.lock:
            close = np.flatnonzero((least <= self.high[at]) & np.isfinite(self.high[at]))
            new, old = begin + j[close], self.first[at[close]]
            ahead = self.exact(other, at[close], new) - self.exact(other, at[close], old)
            better = np.ones(len(at), bool)
            better[close] = (ahead > 0) | ((ahead == 0) & (new < old))
            self.first[at[better]] = begin + j[better]
            self.high[at[better]] = block[could[better], j[better]]

    def _block(self, other: _Side, start: int, begin: int, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        rows, columns = (begins + np.arange(size) for begins, size in zip((start, begin), block.shape, strict=True))
        return self.whole(rows) @ other.whole(columns).T

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
        ends = self.starts + self.sizes
        return Ranks([found[a:b] for a, b in zip(self.starts, ends, strict=True)], self.first)

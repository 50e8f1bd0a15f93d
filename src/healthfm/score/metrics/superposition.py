"""Two structures of one chain laid over each other: TM-score and GDT, residue by residue (Zhang and Skolnick 2004, Zemla 2003).

Both are a maximum over superpositions. It is looked for as the published programs do: from every fragment of a length, then of half that length,
each laid over its partner and refined on the residues that came near. A maximum that is searched for is a lower bound of the true one.
"""

from __future__ import annotations

import numpy as np

from healthfm.score.metrics.arrays import Bools, Floats

CUTS = (1.0, 2.0, 4.0, 8.0)  # ångström, of GDT-TS
HIGH = (0.5, 1.0, 2.0, 4.0)  # of GDT-HA
SHORTEST, ROUNDS = 4, 20


def superpose(moving: Floats, fixed: Floats) -> tuple[Floats, Floats]:
    """Return the rotation [3, 3] and shift [3] that lay ``moving`` [n, 3] over ``fixed`` with the least squared distance (Kabsch)."""
    a, b = moving.mean(axis=0), fixed.mean(axis=0)
    u, _, v = np.linalg.svd((moving - a).T @ (fixed - b))
    turn = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ v)) or 1.0])
    rotation = u @ turn @ v
    return rotation, b - a @ rotation


def tm_score(predicted: Floats, true: Floats, known: Bools | None = None, length: int | None = None) -> float:
    """Return the TM-score, 0 to 1, of positions [n, 3] of CA, residue by residue; ``length``: of the whole true chain (None: the residues ``known``)."""
    here = np.ones(len(true), bool) if known is None else known
    x, y, n = predicted[here].astype(float), true[here].astype(float), length or int(here.sum())
    scale = max(1.24 * np.cbrt(n - 15) - 1.8, 0.5) if n > 15 else 0.5
    near = min(max(scale, 4.5), 8.0)
    return max((float((1 / (1 + (off / scale) ** 2)).sum() / n) for off in _tries(x, y, near)), default=float("nan"))


def gdt(
    predicted: Floats,
    true: Floats,
    known: Bools | None = None,
    cuts: tuple[float, ...] = CUTS,
    length: int | None = None,
) -> float:
    """Return the mean over ``cuts`` of the largest share of residues within that distance, each by a superposition of its own: GDT-TS, or GDT-HA by ``HIGH``."""
    here = np.ones(len(true), bool) if known is None else known
    x, y, n = predicted[here].astype(float), true[here].astype(float), length or int(here.sum())
    most = np.zeros(len(cuts))
    for near in dict.fromkeys((*(max(cut, 1.0) for cut in cuts), 4.5)):
        for off in _tries(x, y, near):
            most = np.maximum(most, [(off <= cut).sum() / n for cut in cuts])
    return float(most.mean()) if len(x) else float("nan")


def _tries(x: Floats, y: Floats, near: float) -> list[Floats]:
    """Return the distances of all residues [n] under many superpositions."""
    n, found = len(x), []
    sizes = [max(n // 2**i, min(SHORTEST, n)) for i in range(6) if n // 2**i >= SHORTEST or i == 0]
    for size in dict.fromkeys(sizes):
        for start in range(0, n - size + 1, max(1, size // 8) if size > 16 else 1):
            rows = np.arange(start, start + size)
            before: tuple[int, ...] = ()
            for _ in range(ROUNDS):
                rotation, shift = superpose(x[rows], y[rows])
                off = np.linalg.norm(x @ rotation + shift - y, axis=1)
                found.append(off)
                reach = near
                rows = np.flatnonzero(off < reach)
                while len(rows) < min(3, n):
                    reach += 0.5
                    rows = np.flatnonzero(off < reach)
                if tuple(rows) == before:
                    break
                before = tuple(rows)
    return found

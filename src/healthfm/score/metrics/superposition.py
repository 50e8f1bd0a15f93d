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
    scale = _scale(n)
    off = _tries(x, y, _near(scale))
    return float((1 / (1 + (off / scale) ** 2)).sum(axis=1).max() / n) if n else float("nan")


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
        off = _tries(x, y, near)
        most = np.maximum(most, [(off <= cut).sum(axis=1).max() / n for cut in cuts])
    return float(most.mean()) if len(x) else float("nan")


def scores(predicted: Floats, true: Floats, known: Bools, length: int) -> tuple[float, float, float]:
    """Return TM-score, GDT-TS and GDT-HA by one search, so that each is at least what it is by its own."""
    x, y = predicted[known].astype(float), true[known].astype(float)
    scale = _scale(length)
    best, cuts = 0.0, np.array(sorted({*CUTS, *HIGH}))
    most = np.zeros(len(cuts))
    for near in dict.fromkeys((_near(scale), *(max(one, 1.0) for one in cuts.tolist()), 4.5)):
        off = _tries(x, y, near)
        best = max(best, float((1 / (1 + (off / scale) ** 2)).sum(axis=1).max() / length))
        most = np.maximum(most, [(off <= cut).sum(axis=1).max() / length for cut in cuts])
    total, high = (float(most[np.isin(cuts, some)].mean()) for some in (CUTS, HIGH))
    return best, total, high


def _scale(length: int) -> float:
    """Return the distance, in ångström, at which a residue counts half in a TM-score."""
    return max(1.24 * float(np.cbrt(length - 15)) - 1.8, 0.5) if length > 15 else 0.5


def _near(scale: float) -> float:
    return min(max(scale, 4.5), 8.0)


def _tries(x: Floats, y: Floats, near: float) -> Floats:
    """Return the distances of all residues under many superpositions [superpositions, n], all that start together laid over at once."""
    n, found = len(x), []
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)  # small numbers lose nothing in a sum of products
    rows, least = _fragments(n), min(3, n)
    for _ in range(ROUNDS):
        rotation, shift = _superposed(x, y, rows)
        off = np.linalg.norm(x @ rotation + shift[:, None] - y, axis=2)
        found.append(off)
        reach = np.full(len(rows), near)
        while (few := (off < reach[:, None]).sum(axis=1) < least).any():
            reach[few] += 0.5
        here = off < reach[:, None]
        moved = (here != rows).any(axis=1)
        if not moved.any():
            break
        rows = here[moved]
    return np.concatenate(found)


def _fragments(n: int) -> Bools:
    """Return the fragments that a search starts from [fragments, n]: every one of a length, then of half that length."""
    sizes = [max(n // 2**i, min(SHORTEST, n)) for i in range(6) if n // 2**i >= SHORTEST or i == 0]
    parts = [
        (start, start + size)
        for size in dict.fromkeys(sizes)
        for start in range(0, n - size + 1, max(1, size // 8) if size > 16 else 1)
    ]
    first, last = np.array(parts).T[..., None]
    place = np.arange(n)
    return np.asarray((first <= place) & (place < last))


def _superposed(x: Floats, y: Floats, rows: Bools) -> tuple[Floats, Floats]:
    """Return what ``superpose`` does of each selection of residues [many, n]: rotations [many, 3, 3] and shifts [many, 3]."""
    some = rows.astype(float)
    count = np.maximum(some.sum(axis=1), 1)[:, None]
    a, b = some @ x / count, some @ y / count
    products = (x[:, :, None] * y[:, None, :]).reshape(len(x), 9)
    u, _, v = np.linalg.svd((some @ products).reshape(-1, 3, 3) - count[..., None] * a[:, :, None] * b[:, None, :])
    mirror = np.sign(np.linalg.det(u @ v))
    u[:, :, 2] *= np.where(mirror == 0, 1.0, mirror)[:, None]
    rotation = u @ v
    return rotation, b - (a[:, None] @ rotation)[:, 0]

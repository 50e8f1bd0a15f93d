"""Predicted protein structure against the true one: contacts and local distances."""

from __future__ import annotations

import numpy as np

from healthfm.score.metrics.arrays import Bools, Floats, ratio

THRESHOLDS = (0.5, 1.0, 2.0, 4.0)  # ångström


def precision_at_length(
    scores: Floats, contacts: Bools, known: Bools | None = None, *, separation: int = 6, share: float = 1.0
) -> float:  # fmt: skip
    """Return the share of true contacts among the ``share`` x L highest scores of a chain of L residues (P@L).

    ``scores`` and ``contacts`` are [L, L] and read above the diagonal, for residues at least ``separation`` apart (6 all,
    12 medium, 24 long range). ``known`` [L] leaves out residues without coordinates; L stays the chain's. Equal scores are
    taken in order of position. NaN where no pair is left.
    """
    length = len(scores)
    first, second = np.triu_indices(length, separation)
    if known is not None:
        kept = known[first] & known[second]
        first, second = first[kept], second[kept]
    if len(first) == 0:
        return np.nan
    best = np.argsort(-scores[first, second], kind="stable")[: max(1, int(length * share))]
    return float(contacts[first[best], second[best]].mean())


def lddt(predicted: Floats, true: Floats, known: Bools | None = None, cutoff: float = 15.0) -> tuple[float, Floats]:
    """Return the local distance difference test of a chain and of each residue [L], 0 to 1 (Mariani et al. 2013).

    ``predicted`` and ``true`` are positions [L, 3] of one atom a residue, such as CA; residues outside ``known`` are left
    out. Of the true distances under ``cutoff``, the share kept within 0.5, 1, 2 and 4 ångström, averaged. The chain's value
    is over all distances, a residue's over its own; NaN where there are none.
    """
    present = np.ones(len(true), bool) if known is None else known
    real = _distances(true)
    pairs = (real < cutoff) & present[:, None] & present[None, :] & ~np.eye(len(true), dtype=bool)
    off = np.abs(_distances(predicted) - real)
    kept = np.mean([off < limit for limit in THRESHOLDS], axis=0) * pairs
    n = pairs.sum(axis=1)
    residues = ratio(kept.sum(axis=1), n)
    return float(kept.sum() / n.sum()) if n.sum() else np.nan, residues


def _distances(positions: Floats) -> Floats:
    apart: Floats = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return apart

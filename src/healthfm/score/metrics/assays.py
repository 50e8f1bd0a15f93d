"""How well scores order the variants of one assay, as ProteinGym measures it.

Source: github.com/OATML-Markslab/ProteinGym@bb685245 proteingym/performance_DMS_benchmarks.py. Of equal scores the first in the table ranks first.
"""

from __future__ import annotations

import numpy as np

from healthfm.score.metrics.arrays import Bools, Floats, midranks

TOP = 10  # per cent of an assay's variants that count as its best


def spearman(target: Floats, guess: Floats) -> float:
    """Return the correlation of ranks; NaN where a side does not vary."""
    x, y = midranks(target), midranks(guess)
    x, y = x - x.mean(), y - y.mean()
    size = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / size) if size else np.nan


def ndcg(target: Floats, guess: Floats) -> float:
    """Return the discounted gain of the best tenth by score over that of the best tenth by target; gains are targets between their ends."""
    spread = target.max() - target.min()
    k = int(len(target) * TOP / 100)
    if not spread or not k:
        return np.nan
    gains, discount = (target - target.min()) / spread, np.log2(np.arange(2, k + 2))
    ideal = (np.sort(gains)[::-1][:k] / discount).sum()
    return float((gains[np.argsort(-guess, kind="stable")[:k]] / discount).sum() / ideal)


def top_recall(target: Floats, guess: Floats) -> float:
    """Return how many of the best tenth by target are in the best tenth by score; ends by percentile, equal values included."""
    best, called = (side >= np.percentile(side, 100 - TOP) for side in (target, guess))
    return float((best & called).sum() / best.sum())


def auroc(hit: Bools, guess: Floats) -> float:
    """Return the area under the ROC curve; NaN where all variants are on one side."""
    n = int(hit.sum())
    if n in (0, len(hit)):
        return np.nan
    return float((midranks(guess)[hit].sum() - n * (n + 1) / 2) / (n * (len(hit) - n)))


def mcc(hit: Bools, guess: Floats) -> float:
    """Return Matthews' correlation of being a hit and of a score at or above the assay's median; 0 where a side does not vary."""
    called = guess >= np.median(guess)
    tp, tn, fp, fn = (int(one.sum()) for one in (hit & called, ~hit & ~called, ~hit & called, hit & ~called))
    size = np.sqrt(float(tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return float((tp * tn - fp * fn) / size) if size else 0.0

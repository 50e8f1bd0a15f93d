"""How well ranked lists put what is relevant first. Relevance is yes or no; what a list leaves out is never found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def recall_at(k: int, ranking: Sequence[str], relevant: Sequence[str]) -> float:
    """Return the share of what is relevant that stands among the first ``k``."""
    return len(set(ranking[:k]) & set(relevant)) / len(relevant)


def reciprocal_rank(ranking: Sequence[str], relevant: Sequence[str]) -> float:
    """Return 1 over the rank of the first relevant one, 0 where none is found."""
    wanted = set(relevant)
    return next((1 / rank for rank, one in enumerate(ranking, 1) if one in wanted), 0.0)


def average_precision(ranking: Sequence[str], relevant: Sequence[str]) -> float:
    """Return the mean, over what is relevant, of the precision at its rank (trec_eval's map); 0 for one that is not found."""
    wanted, hits, total = set(relevant), 0, 0.0
    for rank, one in enumerate(ranking, 1):
        if one in wanted:
            hits += 1
            total += hits / rank
    return total / len(wanted)


def ndcg_at(k: int, ranking: Sequence[str], relevant: Sequence[str]) -> float:
    """Return the discounted cumulative gain of the first ``k`` over the best possible one (Järvelin and Kekäläinen 2002)."""
    wanted = set(relevant)
    gain = sum(1 / np.log2(rank + 1) for rank, one in enumerate(ranking[:k], 1) if one in wanted)
    return float(gain / sum(1 / np.log2(rank + 1) for rank in range(1, min(k, len(wanted)) + 1)))

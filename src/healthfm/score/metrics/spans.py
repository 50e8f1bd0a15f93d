"""Spans found in texts (named entities): a span counts when start, end and type are all right."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import numpy as np

from healthfm.score.metrics.arrays import Array
from healthfm.score.metrics.multilabel import f1

Span = tuple[int, int, str]
Places = tuple[tuple[int, int], ...]  # the (start, end) of a mention's pieces


def span_counts(true: Sequence[Set[Span]], found: Sequence[Set[Span]]) -> Array:
    """Return by text the spans [n, 3] that are hit, missed and invented; sums of rows give ``span_f1`` of any resample."""
    return np.array([[len(t & f), len(t - f), len(f - t)] for t, f in zip(true, found, strict=True)])


def span_f1(true: Sequence[Set[Span]], found: Sequence[Set[Span]]) -> float:
    """Return the F1 of all texts' spans together (CoNLL, seqeval's micro average); NaN where there are no spans at all."""
    return float(f1(span_counts(true, found).sum(axis=0)))


def overlaps(one: tuple[str, Any], other: tuple[str, Any]) -> bool:
    """Say whether two mentions (type, ``Places``) are of one type and share a character."""
    return one[0] == other[0] and any(a < d and c < b for a, b in one[1] for c, d in other[1])

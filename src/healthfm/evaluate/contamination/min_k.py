"""Min-K%++ (Zhang et al. 2024, arXiv 2404.02936; github.com/zjysteven/mink-plus-plus@5596c65d run.py): how each token's
log-probability stands among all that could have come there, in standard deviations; a text's score is the mean of its lowest
fifth. Higher is more familiar. The number means nothing alone: it is held against texts of the same kind that the model cannot
have read, as the AUROC of telling the two apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from healthfm.models.model import Float32, Model
from healthfm.score.statistics import delong, estimate, in_words, of_mean, placements

LOWEST = 0.2  # of a text's tokens: the share whose mean is its score
ROWS = 64  # of logits worked on at a time
CAUTION = (
    "A likelihood is no memory: texts that are common, old, formulaic or near to what the model read score high unread, and a model can "
    "have read a text once and show nothing. Without reference texts of the same kind, date and length the score says nothing at all."
)


def min_k_plus_plus(logits: Float32, token_ids: Sequence[int]) -> float:
    """Return the score of one text from its next-token logits [length, vocabulary]; NaN for one of too few tokens."""
    targets = np.asarray(token_ids[1:])
    scores = np.empty(len(targets))
    for start in range(0, len(targets), ROWS):
        rows = logits[start : start + ROWS].astype(np.float64)[: len(targets) - start]
        logs = rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)
        chances = np.exp(logs)
        mean = (chances * logs).sum(axis=1)
        deviation = np.sqrt((chances * (logs - mean[:, None]) ** 2).sum(axis=1))
        own = logs[np.arange(len(rows)), targets[start : start + ROWS]]
        scores[start : start + ROWS] = (own - mean) / deviation
    lowest = int(len(scores) * LOWEST)
    return float(np.sort(scores)[:lowest].mean()) if lowest else math.nan


def probe(
    model: Model, texts: Sequence[str], others: Sequence[str], seed: int, step: Callable[[], None]
) -> dict[str, Any]:
    """Return the mean score of texts with its interval, and how well they are told from ``others``."""
    scores, lengths = _scores(model, texts, step)
    found: dict[str, Any] = {
        "share_of_tokens": LOWEST, "n": len(scores), "too_short": len(texts) - len(scores),
        "mean": estimate({"mean": of_mean("mean", scores)}, [None] * len(scores), seed)["mean"] if len(scores) > 1 else None, "reference": None,
    }  # fmt: skip
    if not others or len(scores) < 2:
        return found
    theirs, their_lengths = _scores(model, others, step)
    truth = np.arange(len(scores) + len(theirs)) < len(scores)
    both, sizes = np.concatenate([scores, theirs]), np.concatenate([lengths, their_lengths])
    interval = delong(truth, both)
    found["reference"] = {
        "n": len(theirs), "mean": float(theirs.mean()), "auroc": placements(truth, both)[0], **interval.asdict(),
        "auroc_of_length": placements(truth, sizes.astype(np.float64))[0],
    }  # fmt: skip
    return found


def _scores(model: Model, texts: Sequence[str], step: Callable[[], None]) -> tuple[Any, Any]:
    """Return the scores of the texts that are long enough, and how many tokens each has; long ones are cut to what fits."""
    scores, lengths = [], []
    for text in texts:
        ids = model.encode(text)[: model.max_length]  # type: ignore[attr-defined]
        score = min_k_plus_plus(model.logits([ids])[0], ids) if len(ids) > 1 else math.nan
        step()
        if math.isfinite(score):
            scores.append(score)
            lengths.append(len(ids))
    return np.array(scores), np.array(lengths)


def says(found: dict[str, Any] | None) -> list[str]:
    """Return the finding in sentences, with its caution."""
    if found is None:
        return ["Min-K%++ was not computed: the model gives no logits."]
    if found["mean"] is None:
        return ["Min-K%++ was not computed: fewer than two texts are long enough."]
    mean, reference = found["mean"], found["reference"]
    told = f"Min-K%++ of {found['n']} texts: {mean['value']:.3f} ({in_words(mean, '.3f')})"
    if reference is None:
        return [f"{told}; no reference texts were named, so it cannot be judged.", CAUTION]
    shows = (
        "not told apart from the reference" if reference["low"] is None else
        "more familiar than the reference" if reference["low"] > 0.5 else
        "less familiar than the reference" if reference["high"] < 0.5 else "not told apart from the reference"
    )  # fmt: skip
    return [
        f"{told}, of {reference['n']} reference texts {reference['mean']:.3f}: {shows} (AUROC {reference['auroc']:.3f}, "
        f"{in_words(reference, '.3f')}; the length alone tells them apart with AUROC {reference['auroc_of_length']:.3f}).",
        CAUTION,
    ]

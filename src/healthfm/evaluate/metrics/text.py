"""Overlap of a written answer with the accepted ones. None of these measures clinical correctness."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from healthfm.evaluate.metrics.arrays import Array, Floats

ROUGE = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}
ORDER = 4  # BLEU's longest n-gram
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Return lower-case text without punctuation, English articles and double spaces (SQuAD's evaluation script)."""
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(text: str, accepted: Sequence[str]) -> float:
    """Return 1 where the text is one of the accepted ones once both are normalised, else 0."""
    return float(normalise(text) in {normalise(one) for one in accepted})


def token_f1(text: str, accepted: Sequence[str]) -> float:
    """Return the best F1 of shared normalised words over the accepted texts (SQuAD); two empty texts agree."""
    return max(_f1(normalise(text).split(), normalise(one).split()) for one in accepted)


def _f1(guess: list[str], answer: list[str]) -> float:
    if not guess or not answer:
        return float(guess == answer)
    shared = sum((Counter(guess) & Counter(answer)).values())
    return 2 * shared / (len(guess) + len(answer))


def rouge(texts: Sequence[str], accepted: Sequence[Sequence[str]]) -> dict[str, Floats]:
    """Return the ROUGE F-measures of each text [n], the best of its accepted ones (Google's rouge-score, no stemming)."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE))
    found = [scorer.score_multi(list(answers), text) for text, answers in zip(texts, accepted, strict=True)]
    return {ours: np.array([one[name].fmeasure for one in found]) for name, ours in ROUGE.items()}


def bleu_counts(texts: Sequence[str], accepted: Sequence[Sequence[str]]) -> Array:
    """Return what BLEU sums over a corpus, by text [n, 10]: matches and totals of 1- to 4-grams, lengths of text and reference."""
    from sacrebleu.metrics.bleu import BLEU

    scorer = BLEU(effective_order=True)
    rows = []
    for text, answers in zip(texts, accepted, strict=True):
        one = scorer.sentence_score(text, list(answers))
        rows.append([*one.counts, *one.totals, one.sys_len, one.ref_len])
    return np.array(rows, np.int64)


def bleu(sums: Array) -> Floats:
    """Return BLEU, 0 to 1, from sums [..., 10] of ``bleu_counts``, smoothed as sacrebleu's corpus score (``exp``)."""
    matches, totals = sums[..., :ORDER].astype(np.float64), sums[..., ORDER : 2 * ORDER].astype(np.float64)
    length, reference = sums[..., -2].astype(np.float64), sums[..., -1].astype(np.float64)
    halved = 2.0 ** np.cumsum((matches == 0) & (totals > 0), axis=-1)
    precision = np.where(matches > 0, matches, 1 / halved) / np.maximum(totals, 1)
    short = np.where(length < reference, np.exp(1 - reference / np.maximum(length, 1)), 1.0)
    whole = (totals > 0).all(axis=-1) & (matches > 0).any(axis=-1)
    return np.asarray(np.where(whole, short * np.exp(np.log(precision).mean(axis=-1)), 0.0))

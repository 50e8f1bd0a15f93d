"""Overlap of a written answer with the accepted ones. None of these measures clinical correctness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from healthfm.score.metrics import wording
from healthfm.score.metrics.arrays import Array, Floats
from healthfm.score.scripts import spaced, spaceless

ROUGE = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}
ORDER = 4  # BLEU's longest n-gram
Tokens = Callable[[str], Sequence[str]]


def exact_match(text: str, accepted: Sequence[str], tokens: Tokens = wording.clinical) -> float:
    """Return 1 where the text has the tokens of an accepted one in their order, else 0; a text without any matches none."""
    written = list(tokens(text))
    return float(bool(written) and any(written == list(tokens(one)) for one in accepted))


def token_f1(text: str, accepted: Sequence[str], tokens: Tokens = wording.clinical) -> float:
    """Return the best F1 of shared tokens over the accepted texts; 0 where either has none."""
    return max(_f1(tokens(text), tokens(one)) for one in accepted)


def token_recall(text: str, accepted: Sequence[str], tokens: Tokens = wording.clinical) -> float:
    """Return the best share of an accepted text's tokens that the text has; 0 of one without any."""
    written = Counter(tokens(text))
    wanted = [Counter(tokens(one)) for one in accepted]
    return max(((written & one).total() / one.total() if one else 0.0) for one in wanted)


def _f1(guess: Sequence[str], answer: Sequence[str]) -> float:
    shared = sum((Counter(guess) & Counter(answer)).values())
    return 2 * shared / (len(guess) + len(answer)) if shared else 0.0


def exact_match_squad(text: str, accepted: Sequence[str]) -> float:
    """Return SQuAD's exact match, for comparison with published numbers: 1.5 and 15 are equal to it, and so are "+" and "-"."""
    return float(any(wording.squad(text) == wording.squad(one) for one in accepted))


def token_f1_squad(text: str, accepted: Sequence[str]) -> float:
    """Return SQuAD's F1, for comparison with published numbers; two texts of which nothing is left agree."""
    pairs = [(wording.squad(text), wording.squad(one)) for one in accepted]
    return max(_f1(*pair) if all(pair) else float(pair[0] == pair[1]) for pair in pairs)


class _Plain:
    """What rouge-score calls a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        return wording.plain(text)


def rouge(texts: Sequence[str], accepted: Sequence[Sequence[str]]) -> dict[str, Floats]:
    """Return the ROUGE F-measures of each text [n], the best of its accepted ones (Google's rouge-score, no stemming).

    Words are ``wording.plain``'s: those of rouge-score where the text is ASCII.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE), tokenizer=_Plain())
    found = [scorer.score_multi(list(answers), text) for text, answers in zip(texts, accepted, strict=True)]
    return {ours: np.array([one[name].fmeasure for one in found]) for name, ours in ROUGE.items()}


def bleu_words(texts: Sequence[str]) -> list[str]:
    """Return a row's texts as BLEU's tokens, with blanks between: sacrebleu's ``13a``; with its ``zh``, and a blank around each
    letter of a script without blanks, where one of them has such letters.
    """
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
    from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

    letters = any(map(spaceless, texts))
    cut = TokenizerZh() if letters else Tokenizer13a()  # type: ignore[no-untyped-call]
    return [cut(spaced(one) if letters else one.rstrip()) for one in texts]


def bleu_counts(texts: Sequence[str], accepted: Sequence[Sequence[str]]) -> Array:
    """Return what BLEU sums over a corpus, by text [n, 10]: matches and totals of 1- to 4-grams, lengths of text and reference."""
    from sacrebleu.metrics.bleu import BLEU

    scorer = BLEU(effective_order=True, tokenize="none", force=True)
    rows = []
    for text, answers in zip(texts, accepted, strict=True):
        written, *known = bleu_words((text, *answers))
        one = scorer.sentence_score(written, known)
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

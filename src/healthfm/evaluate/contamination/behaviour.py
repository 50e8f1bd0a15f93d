"""``behaviour``: does a language model act as if it had read the data? Two probes of its likelihoods, each with its doubt.

**Min-K%++** (Zhang et al. 2024, arXiv 2404.02936; github.com/zjysteven/mink-plus-plus@5596c65d run.py): how each token's
log-probability stands among all that could have come there, in standard deviations; a text's score is the mean of its lowest
fifth. Higher is more familiar. The number means nothing alone: it is held against texts of the same kind that the model cannot
have read, as the AUROC of telling the two apart.

**Option order** (Ni et al. 2024, arXiv 2409.01790; github.com/nishiwen1214/Benchmark-leakage-detection@116a04aa): a model that
has not read a question has no reason to find its options likelier in the printed order than in any other. Over many questions
that is a binomial test, and exact.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from healthfm.curate.corpus import open_corpus, text_of
from healthfm.datasets.dataset import Dataset
from healthfm.datasets.open import open_dataset
from healthfm.errors import CapabilityError, RunError
from healthfm.evaluate import protocols
from healthfm.models.model import Float32, Model
from healthfm.records import MultipleChoice
from healthfm.score.statistics import clopper_pearson, delong, estimate, in_words, of_mean, placements

LOWEST = 0.2  # of a text's tokens: the share whose mean is its score
ORDERS = 24  # of a question's options, at most: all of four
ROWS = 64  # of logits worked on at a time
LAST = re.compile(
    r"\b(all|none|both|neither|any) of (the|these)\b|^(all|none|both|neither)\b|以上(?=[都皆均全选各所の])|上述|上記",
    re.IGNORECASE,
)
MIN_K_CAUTION = (
    "A likelihood is no memory: texts that are common, old, formulaic or near to what the model read score high unread, and a model can "
    "have read a text once and show nothing. Without reference texts of the same kind, date and length the score says nothing at all."
)
ORDER_CAUTION = (
    "Orders that exam writers keep to (by size, by logic, the longest last) are likelier to any model, so a preference is a reason to look, not proof; "
    "and a model that read the questions in another layout, or once among much else, can show none."
)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Behaviour:
    """What two probes of a model's likelihoods say. Plain data.

    ``min_k``: the mean score with interval, and, where there are reference texts, theirs and the ``auroc`` between. ``order``: how
    often the printed order of options was the likeliest, with interval, what chance gives and ``p``; None for other records.
    ``says``: both in sentences, each with its caution.
    """

    model: str
    dataset: str
    split: str | None
    n: int
    seed: int
    min_k: dict[str, Any] | None
    order: dict[str, Any] | None
    says: tuple[str, ...]

    def asdict(self) -> dict[str, Any]:
        """Return everything as a plain dictionary."""
        return asdict(self)


def behaviour(
    model: Model, dataset: str | Path | Dataset, *, root: Path | str | None = None, split: str | None = None, limit: int | None = None,
    reference: str | Path | Dataset | None = None, reference_root: Path | str | None = None, seed: int = 0, progress: Progress | None = None,
) -> Behaviour:  # fmt: skip
    """Probe a loaded language model with a dataset's texts.

    ``limit`` draws a seeded sample of records, and as many reference texts. ``reference``: texts of the same kind that the model
    cannot have read (a dataset, or a file or folder as ``contamination`` searches). Min-K%++ needs the verb ``logits``, the order of
    options ``score``; what a model cannot do is left out, and said. Raises ``CapabilityError`` where it can do neither.
    """
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset, root)
    opened = opened if split is None else opened[split]
    every = list(opened)
    records = [every[i] for i in protocols.sample(len(every), limit, seed)]
    readable = "logits" in model.capabilities and hasattr(model, "encode")
    choices = (
        [record for record in records if isinstance(record, MultipleChoice)] if "score" in model.capabilities else []
    )
    if not readable and not choices:
        raise CapabilityError(
            f"{model.name} gives no likelihoods to probe {opened.name} by; it can {', '.join(sorted(model.capabilities))}"
        )
    others = (
        _reference_texts(reference, reference_root, limit or len(records), seed)
        if reference is not None and readable
        else []
    )
    total = (len(records) + len(others) if readable else 0) + len(choices)
    step = _Step(progress, total)
    min_k = _min_k(model, [text_of(r) for r in records], others, seed, step) if readable else None
    order = option_order(model, choices, seed, step) if choices else None
    return Behaviour(
        model=model.name, dataset=opened.name, split=opened.split, n=len(records), seed=seed, min_k=min_k, order=order,
        says=(*_says_min_k(min_k), *_says_order(order)),
    )  # fmt: skip


class _Step:
    """Counts work done, for a progress bar."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def _reference_texts(place: str | Path | Dataset, root: Path | str | None, count: int, seed: int) -> list[str]:
    if isinstance(place, Path) and not (place / "dataset.toml").is_file():
        texts = [text for _, start, text in open_corpus(place) if start == 0 and text.strip()]
    else:
        texts = [text_of(r) for r in (place if isinstance(place, Dataset) else open_dataset(place, root))]
    if len(texts) < 2:
        raise RunError("the reference holds fewer than two texts")
    return [texts[i] for i in protocols.sample(len(texts), count, seed)]


# Min-K%++ -------------------------------------------------------------------------------------------------------------


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


def _min_k(
    model: Model, texts: Sequence[str], others: Sequence[str], seed: int, step: Callable[[], None]
) -> dict[str, Any]:
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


# The order of options -------------------------------------------------------------------------------------------------


def option_order(
    model: Model, questions: Sequence[MultipleChoice], seed: int = 0, step: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Return how often the printed order of the options is the likeliest of all orders, or of ``ORDERS`` seeded ones.

    Questions whose options stand in alphabetical or numerical order, or refer to each other ("none of the above"), are left
    out: their order has a reason. A tie counts against the printed order.
    """
    usable = [q for q in questions if len(q.options) > 2 and not _has_a_reason(list(q.options.values()))]
    ranks: list[float] = []
    chances: list[float] = []
    for _ in range(len(questions) - len(usable)):
        step()
    for question in usable:
        orders = _orders(list(question.options.values()), np.random.default_rng([seed, len(ranks)]))
        blocks = [
            "".join(f"{key}:{text}\n" for key, text in zip(question.options, order, strict=True)) for order in orders
        ]
        likelihoods = np.asarray(model.score([f"\n{question.question}:\n"], [blocks])[0])
        ranks.append(float((likelihoods[1:] >= likelihoods[0]).mean()))
        chances.append(1 / len(orders))
        step()
    first, n = sum(rank == 0 for rank in ranks), len(ranks)
    if n == 0:
        return {
            "n": 0,
            "left_out": len(questions),
            "likeliest": 0,
            "share": None,
            "chance": None,
            "p": None,
            "mean_rank": None,
        }
    chance = float(np.mean(chances))
    return {
        "n": n, "left_out": len(questions) - n, "likeliest": first, "share": first / n, **_bounds(first, n), "chance": chance,
        "p": _p_at_least(first, chances), "mean_rank": estimate({"rank": of_mean("rank", ranks)}, [None] * n, seed)["rank"],
        "orders": round(1 / min(chances)),
    }  # fmt: skip


def _bounds(hits: int, n: int) -> dict[str, Any]:
    interval = clopper_pearson(hits, n)
    return {"low": interval.low, "high": interval.high, "method": interval.method}


def _p_at_least(hits: int, chances: Sequence[float]) -> float:
    """Return the chance of so many hits or more: binomial, or Poisson-binomial where questions differ in their orders."""
    if len(set(chances)) == 1:
        return float(stats.binomtest(hits, len(chances), chances[0], alternative="greater").pvalue)
    spread = np.ones(1)
    for chance in chances:
        spread = np.convolve(spread, [1 - chance, chance])
    return float(min(1.0, spread[hits:].sum()))


def _orders(options: list[str], rng: np.random.Generator) -> list[tuple[str, ...]]:
    """Return the printed order first, then all others, or a seeded draw of them."""
    if math.factorial(len(options)) <= ORDERS:
        return list(itertools.permutations(options))
    drawn: dict[tuple[str, ...], None] = {tuple(options): None}
    while len(drawn) < ORDERS:
        drawn[tuple(options[i] for i in rng.permutation(len(options)))] = None
    return list(drawn)


def _has_a_reason(options: list[str]) -> bool:
    if len(set(options)) < len(options) or any(LAST.search(text) for text in options):
        return True
    numbers = [_number(text) for text in options]
    keys: list[Any] = (
        numbers if all(number is not None for number in numbers) else [text.casefold() for text in options]
    )
    return keys in (sorted(keys), sorted(keys, reverse=True))


def _number(text: str) -> float | None:
    found = re.search(r"[-−]?(?:([1-9]\d{0,2}(?:,\d{3})+)(?![\d,])|\d+(?:[.,]\d+)?)", text)
    if found is None:
        return None
    plain = found[0].replace("−", "-")
    return float(plain.replace(",", "") if found[1] else plain.replace(",", "."))


# In words -------------------------------------------------------------------------------------------------------------


def _says_min_k(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["Min-K%++ was not computed: the model gives no logits."]
    if found["mean"] is None:
        return ["Min-K%++ was not computed: fewer than two texts are long enough."]
    mean, reference = found["mean"], found["reference"]
    told = f"Min-K%++ of {found['n']} texts: {mean['value']:.3f} ({in_words(mean, '.3f')})"
    if reference is None:
        return [f"{told}; no reference texts were named, so it cannot be judged.", MIN_K_CAUTION]
    shows = (
        "not told apart from the reference" if reference["low"] is None else
        "more familiar than the reference" if reference["low"] > 0.5 else
        "less familiar than the reference" if reference["high"] < 0.5 else "not told apart from the reference"
    )  # fmt: skip
    return [
        f"{told}, of {reference['n']} reference texts {reference['mean']:.3f}: {shows} (AUROC {reference['auroc']:.3f}, "
        f"{in_words(reference, '.3f')}; the length alone tells them apart with AUROC {reference['auroc_of_length']:.3f}).",
        MIN_K_CAUTION,
    ]


def _says_order(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["The order of options was not probed: there are none, or the model gives no likelihoods of them."]
    if not found["n"]:
        return [
            f"The order of options was not probed: in all {found['left_out']} questions it has a reason of its own."
        ]
    shows = "more often than chance" if found["p"] < 0.05 else "no more often than chance can"
    p = "p < 0.001" if found["p"] < 0.001 else f"p = {found['p']:.3f}"
    return [
        f"The printed order of options was the likeliest in {found['likeliest']} of {found['n']} questions, {shows} ({found['share']:.1%}, 95 % interval "
        f"{found['low']:.1%} to {found['high']:.1%}; chance {found['chance']:.1%}; exact {p}); {found['left_out']} questions were left out, "
        "their order having a reason.",
        ORDER_CAUTION,
    ]

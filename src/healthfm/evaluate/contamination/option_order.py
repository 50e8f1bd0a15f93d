"""Option order (Ni et al. 2024, arXiv 2409.01790; github.com/nishiwen1214/Benchmark-leakage-detection@116a04aa): a model that
has not read a question has no reason to find its options likelier in the printed order than in any other. Over many questions
that is a binomial test, and exact.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import special

from healthfm.models.model import Model
from healthfm.records import MultipleChoice
from healthfm.score.statistics import clopper_pearson, estimate, of_mean

ORDERS = 24  # of a question's options, at most: all of four
LAST = re.compile(
    r"\b(all|none|both|neither|any) of (the|these)\b|^(all|none|both|neither)\b|以上(?=[都皆均全选各所の])|上述|上記",
    re.IGNORECASE,
)
CAUTION = (
    "Orders that exam writers keep to (by size, by logic, the longest last) are likelier to any model, so a preference is a reason to look, not proof; "
    "and a model that read the questions in another layout, or once among much else, can show none."
)


def probe(
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
        return float(special.bdtrc(hits - 1, len(chances), chances[0]))
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


def says(found: dict[str, Any] | None) -> list[str]:
    """Return the finding in sentences, with its caution."""
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
        CAUTION,
    ]

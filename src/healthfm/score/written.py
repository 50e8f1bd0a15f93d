"""What a table says of written answers: why each ended, and what a judge made of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from healthfm.score import statistics

RIGHT = 0.5  # a score from here on counts as correct, of a judge and of a person


def finishes(table: pa.Table, column: str = "finish_reason") -> dict[str, int]:
    """Return how often each reason ended an answer, the commonest first; {} where nobody said."""
    if column not in table.column_names:
        return {}
    return dict(Counter(one for one in table[column].to_pylist() if one is not None).most_common())


def judged(table: pa.Table) -> dict[str, Any] | None:
    """Return what a judged table says of its judge: verdicts given and missing, and the agreement with people, if any scored.

    None where no judge looked, or one whose own words the table does not hold.

    Agreement is between verdicts and human scores cut at one half: raw with a Wilson interval, and Cohen's kappa (None where
    both say one thing only).
    """
    if "judge" not in table.column_names or "judge_raw" not in table.column_names:
        return None
    scores, raw = table["judge"].to_pylist(), table["judge_raw"].to_pylist()
    asked = sum(text is not None for text in raw)
    found: dict[str, Any] = {
        "asked": asked,
        "missing_verdicts": sum(one is None for one in scores),
        "unanswered": len(raw) - asked,
    }
    if "human" in table.column_names:
        people = table["human"].to_pylist()
        pairs = [
            (j >= RIGHT, h >= RIGHT) for j, h in zip(scores, people, strict=True) if j is not None and h is not None
        ]
        found["agreement"] = agreement(pairs) | {"scored_by_people": sum(h is not None for h in people)}
    return found


def agreement(pairs: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    """Return how often a judge and people agree, of pairs (judge says correct, people say correct)."""
    if not pairs:
        return {"n": 0, "raw": None, "kappa": None}
    from sklearn.metrics import cohen_kappa_score  # seconds to import

    same = sum(a == b for a, b in pairs)
    kappa = (
        float(cohen_kappa_score([a for a, _ in pairs], [b for _, b in pairs]))
        if len({*sum(pairs, ())}) > 1
        else math.nan
    )
    interval = statistics.wilson(same, len(pairs))
    return {
        "n": len(pairs), "raw": same / len(pairs), "low": interval.low, "high": interval.high, "method": interval.method,
        "level": interval.level, "kappa": None if math.isnan(kappa) else kappa,
    }  # fmt: skip

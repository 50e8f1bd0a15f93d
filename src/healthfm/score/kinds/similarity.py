"""How like two texts are a row: ``target`` as people said, ``prediction`` as the model does, on whatever scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score.kinds import numbers
from healthfm.score.kinds.kind import Read

KEPT = ("pearson", "spearman")
SCALE = "the scale of the predictions does not count: how linear their relation to the targets is, and how well they keep the order"
check = numbers.check


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return Pearson's and Spearman's correlation. Raises ``RunError``: neither is defined."""
    whole = numbers.read(table, task, classes, uncertain)
    kept = {name: one for name, one in whole.statistics.items() if name in KEPT}
    if not kept:
        raise RunError("no correlation is defined: fewer than two rows, or values that are all equal")
    rules = [SCALE, *(rule for rule in whole.rules if "concordance" not in rule and "not defined" not in rule)]
    return replace(whole, statistics=kept, headline="pearson" if "pearson" in kept else "spearman", rules=rules)

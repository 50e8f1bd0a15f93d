"""Options scored by likelihood, and the answer when an option's length no longer counts against it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

LIKELIHOODS, LENGTHS = "log_likelihoods", "option_lengths"


def by_length(table: pa.Table) -> list[str] | None:
    """Return each row's answer by log-likelihood divided by its option's characters, the first of equal ones; None where not every row has both.

    lm-evaluation-harness's rule (``acc_norm``; api/task.py of 0.4.13): characters of the option's text, without the delimiter.
    """
    if not {LIKELIHOODS, LENGTHS, "options"} <= set(table.column_names):
        return None
    rows = list(zip(*(table[name].to_pylist() for name in ("options", LIKELIHOODS, LENGTHS)), strict=True))
    if not rows or not all(_complete(*row) for row in rows):
        return None
    return [options[int(np.argmax(np.array(likely, np.float64) / lengths))] for options, likely, lengths in rows]


def _complete(
    options: Sequence[str] | None, likely: Sequence[float | None] | None, lengths: Sequence[int] | None
) -> bool:
    if not options or not likely or not lengths:
        return False
    return len(options) == len(likely) == len(lengths) and None not in likely and all(lengths)

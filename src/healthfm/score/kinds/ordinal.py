"""One class of a scale a row: as ``classes``, whose given order is the scale."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from healthfm.errors import RunError
from healthfm.score.kinds import classes as unordered
from healthfm.score.kinds.kind import Read

check = unordered.check


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return the metrics of ordered classes. Raises ``RunError`` where their order is neither given nor numeric."""
    if classes is None:
        seen = {one for name in ("target", "prediction") for one in table[name].to_pylist() if one is not None}
        try:
            classes = sorted(seen, key=float)
        except ValueError:
            raise RunError(f"the task {task} needs the classes in their order (classes=[...], lowest first)") from None
    return unordered.read(table, task, classes, uncertain, ordered=True)

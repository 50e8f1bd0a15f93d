"""How far our numbers are from a reference's."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.models import road

LIMIT = 1e-4
PROBE = ("--task", "linear-probe", "--no-baseline")  # its rivals are the matter of tests/models/vision


def distance(ours: Any, theirs: Any) -> float:
    """Relative L2; infinity where one number is off by 1e-3 of the root mean square."""
    theirs = np.asarray(theirs, np.float64).ravel()
    error, size = np.asarray(ours, np.float64).ravel() - theirs, np.linalg.norm(theirs)
    near = np.abs(error).max() <= 1e-3 * size / np.sqrt(theirs.size)
    return float(np.linalg.norm(error) / size) if near else float("inf")


def disturbed(content: Any) -> Any:
    """Tensors (in mappings, however deep) with noise on them (see ``road.other``), but for variances, which stay above zero."""
    if not isinstance(content, dict):
        return content
    return {
        key: disturbed(one)
        if isinstance(one, dict)
        else one
        if key.endswith("running_var")
        else road.other({key: one})[key]
        for key, one in content.items()
    }

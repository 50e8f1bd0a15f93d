"""How far our numbers are from a reference's."""

from __future__ import annotations

from typing import Any

import numpy as np

LIMIT = 1e-4


def distance(ours: Any, theirs: Any) -> float:
    """Relative L2; infinity where one number is off by 1e-3 of the root mean square."""
    theirs = np.asarray(theirs, np.float64).ravel()
    error, size = np.asarray(ours, np.float64).ravel() - theirs, np.linalg.norm(theirs)
    near = np.abs(error).max() <= 1e-3 * size / np.sqrt(theirs.size)
    return float(np.linalg.norm(error) / size) if near else float("inf")

"""Overlap and surface distance of two masks (bool, any number of axes), with voxel ``spacing`` in one unit, such as mm.

Empty masks follow *Metrics Reloaded* (Maier-Hein et al. 2024): with both empty there is nothing to measure and the value is
NaN, to be left out of means and counted; with one empty it is the worst there is: 0, or the diagonal of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from healthfm.score.metrics.arrays import Bools, Floats
from healthfm.score.metrics.surfaces import Convention, surfaces

EMPTY = {
    (True, True): "both masks are empty: nothing to measure, left out of means",
    (True, False): "the reference is empty and the prediction is not: the worst value",
    (False, True): "the prediction is empty and the reference is not: the worst value",
}


def empty_rule(reference: Bools, prediction: Bools) -> str | None:
    """Return the rule for empty masks that applies to a pair, None where neither is empty."""
    return EMPTY.get((not reference.any(), not prediction.any()))


def dice(reference: Bools, prediction: Bools) -> float:
    """Return twice the shared voxels over the voxels of both (Dice 1945)."""
    size = np.count_nonzero(reference) + np.count_nonzero(prediction)
    return 2 * np.count_nonzero(reference & prediction) / size if size else np.nan


def iou(reference: Bools, prediction: Bools) -> float:
    """Return the shared voxels over those of either (Jaccard 1912)."""
    either = np.count_nonzero(reference | prediction)
    return np.count_nonzero(reference & prediction) / either if either else np.nan


def surface_dice(
    reference: Bools, prediction: Bools, tolerance: float, spacing: Sequence[float] | None = None, convention: Convention = "voxels"
) -> float:  # fmt: skip
    """Return the normalised surface distance: the share of both surfaces within ``tolerance`` of the other one (Nikolov et al. 2018)."""
    if empty_rule(reference, prediction):
        return np.nan if not (reference.any() or prediction.any()) else 0.0
    return surfaces(reference, prediction, spacing, convention).within(tolerance)


def hd95(
    reference: Bools, prediction: Bools, spacing: Sequence[float] | None = None, convention: Convention = "voxels"
) -> float:
    """Return the 95th percentile of the distances from one surface to the other, the larger of both directions."""
    if empty_rule(reference, prediction):
        return np.nan if not (reference.any() or prediction.any()) else diagonal(reference.shape, spacing)
    return surfaces(reference, prediction, spacing, convention).percentile(95)


def diagonal(shape: Sequence[int], spacing: Sequence[float] | None = None) -> float:
    """Return how far apart two voxels of a grid can be."""
    steps = np.ones(len(shape)) if spacing is None else np.asarray(spacing, float)
    return float(np.linalg.norm(steps * (np.array(shape) - 1)))


def surface_distances(
    reference: Bools, prediction: Bools, spacing: Sequence[float] | None = None
) -> tuple[Floats, Floats]:
    """Return the distance of each of the reference's border voxels to the prediction's border, and the reverse."""
    found = surfaces(reference, prediction, spacing)
    return found.to_prediction, found.to_reference

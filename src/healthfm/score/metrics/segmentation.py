"""Overlap and surface distance of two masks (bool, any number of axes), with voxel ``spacing`` in one unit, such as mm.

Empty masks follow *Metrics Reloaded* (Maier-Hein et al. 2024): with both empty there is nothing to measure and the value is
NaN, to be left out of means and counted; with one empty it is the worst there is: 0, or the diagonal of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from healthfm.score.metrics.arrays import Bools, Floats

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
    size = int(reference.sum()) + int(prediction.sum())
    return 2 * int((reference & prediction).sum()) / size if size else np.nan


def surface_dice(
    reference: Bools, prediction: Bools, tolerance: float, spacing: Sequence[float] | None = None
) -> float:
    """Return the normalised surface distance: the share of both surfaces' voxels within ``tolerance`` of the other one
    (Nikolov et al. 2018, counting border voxels).
    """
    if empty_rule(reference, prediction):
        return np.nan if not (reference.any() or prediction.any()) else 0.0
    near = np.concatenate(surface_distances(reference, prediction, spacing)) <= tolerance
    return float(near.mean())


def hd95(reference: Bools, prediction: Bools, spacing: Sequence[float] | None = None) -> float:
    """Return the 95th percentile of the distances from one surface to the other, the larger of both directions."""
    if empty_rule(reference, prediction):
        steps = np.ones(reference.ndim) if spacing is None else np.asarray(spacing, float)
        return (
            np.nan
            if not (reference.any() or prediction.any())
            else float(np.linalg.norm(steps * (np.array(reference.shape) - 1)))
        )
    return max(float(np.percentile(one, 95)) for one in surface_distances(reference, prediction, spacing))


def surface_distances(
    reference: Bools, prediction: Bools, spacing: Sequence[float] | None = None
) -> tuple[Floats, Floats]:
    """Return the distance of each of the reference's border voxels to the prediction's border, and the reverse.

    A border voxel has a face neighbour outside the mask; the grid's edge counts as outside.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"the masks differ in shape: {reference.shape} and {prediction.shape}")
    both = np.nonzero(reference | prediction)
    box = tuple(
        slice(int(axis.min()), int(axis.max()) + 1) for axis in both
    )  # distances do not depend on what lies outside
    one, other = (mask[box] & ~ndimage.binary_erosion(mask[box]) for mask in (reference, prediction))
    to_other, to_one = (ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in (other, one))
    return to_other[one], to_one[other]

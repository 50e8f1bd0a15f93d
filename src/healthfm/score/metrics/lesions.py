"""Lesions of two masks, counted: parts of a mask that hang together, and which of them the other mask found.

``overlap``: a lesion is found where one voxel of the prediction lies in it, and a part of the prediction without a voxel of the reference is a
false one (ATLAS v2.0's script; autoPET's, by volume). ``dilated``: BraTS 2023's: lesions whose dilated outlines meet are one; found is one whose
dilated outline a part of the prediction meets, and all such parts together are its answer; lesions of ``smallest`` mm3 or less are not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from healthfm.score.metrics.arrays import Bools
from healthfm.score.metrics.surfaces import Box, around, surfaces

Rule = Literal["overlap", "dilated"]
NEIGHBOURS = {4: 1, 6: 1, 8: 2, 18: 2, 26: 3}  # how many axes two voxels may differ along and still be neighbours


@dataclass(frozen=True)
class Lesions:
    """The lesions of one case: how many ``there`` are, how many were ``found``, how many parts of the prediction are ``false``, and by the
    rule ``dilated`` the mean Dice and HD95 of lesions, a false part counting as one of 0 and of the farthest distance.

    ``missed_volume`` and ``false_volume``: of lesions not found and of false parts, in mm3.
    """

    there: int
    found: int
    false: int
    missed_volume: float
    false_volume: float
    dice: float | None = None
    hd95: float | None = None

    @property
    def f1(self) -> float:
        """The F1 of lesions; NaN where there are none on either side."""
        size = 2 * self.found + self.false + (self.there - self.found)
        return 2 * self.found / size if size else np.nan


def overlap(reference: Bools, prediction: Bools, spacing: Sequence[float], connectivity: int = 26) -> Lesions:
    """Return the lesions by the rule ``overlap``."""
    voxel = float(np.prod(spacing))
    box = around(reference, prediction)
    true, said = reference[box], prediction[box]
    sizes, found = _met(true, said, connectivity)
    parts, right = _met(said, true, connectivity)
    return Lesions(
        len(sizes), int(found.sum()), int((~right).sum()), float(sizes[~found].sum() * voxel), float(parts[~right].sum() * voxel)
    )  # fmt: skip


def _met(mask: Bools, other: Bools, connectivity: int) -> tuple[Any, Bools]:
    """Return the size of each part of a mask, and whether the other mask has a voxel in it."""
    parts, n = ndimage.label(mask, _structure(mask.ndim, connectivity))
    sizes = np.bincount(parts.ravel(), minlength=n + 1)[1:]
    met = np.zeros(n + 1, bool)
    met[parts[other]] = True
    return sizes, met[1:]


def dilated(
    reference: Bools, prediction: Bools, spacing: Sequence[float], steps: int, smallest: float, farthest: float, connectivity: int = 26
) -> Lesions:  # fmt: skip
    """Return the lesions by the rule ``dilated``: ``steps`` of dilation by voxels that share a face or an edge; ``farthest``: the HD95, in mm,
    of a lesion without an answer and of a false part.
    """
    voxel = float(np.prod(spacing))
    box = tuple(
        slice(max(0, part.start - steps - 1), part.stop + steps + 1) for part in around(reference, prediction)
    )  # the dilation of a lesion alone stays within
    true, said = reference[box], prediction[box]
    near = _structure(true.ndim, 18)
    grown, _ = ndimage.label(ndimage.binary_dilation(true, near, steps), _structure(true.ndim, connectivity))
    parts, m = ndimage.label(said, _structure(true.ndim, connectivity))
    met = np.zeros(m + 1, bool)
    scores: list[tuple[bool, float, float, float]] = []
    places = ndimage.find_objects(parts)
    for number, place in enumerate(ndimage.find_objects(grown), 1):
        answers = np.setdiff1d(parts[place][grown[place] == number], [0])
        met[answers] = True
        held = _around(place, *(places[one - 1] for one in answers))
        lesion = true[held] & (grown[held] == number)
        scores.append(_of_lesion(lesion, np.isin(parts[held], answers), spacing, farthest))
    looked = [one for one in scores if one[1] * voxel > smallest]
    false = int(m - met[1:].sum())
    sizes = np.bincount(parts.ravel(), minlength=m + 1)[1:]
    every = len(looked) + false
    return Lesions(
        len(looked), sum(one[0] for one in looked), false,
        sum(one[1] for one in looked if not one[0]) * voxel, float(sizes[~met[1:]].sum() * voxel),
        sum(one[2] for one in looked) / every if every else 1.0,
        (sum(one[3] for one in looked) + false * farthest) / every if every else 0.0,
    )  # fmt: skip


def _of_lesion(
    lesion: Bools, answer: Bools, spacing: Sequence[float], farthest: float
) -> tuple[bool, float, float, float]:
    """Return of one lesion whether it was found, its voxels, and Dice and HD95 of its answer."""
    size = float(lesion.sum())
    if not answer.any():
        return False, size, 0.0, farthest
    shared = 2 * float((lesion & answer).sum()) / (size + float(answer.sum()))
    return True, size, shared, surfaces(lesion, answer, spacing, "areas").percentile(95)


def _around(*boxes: Box) -> Box:
    return tuple(
        slice(min(one.start for one in axis), max(one.stop for one in axis)) for axis in zip(*boxes, strict=True)
    )


def _structure(axes: int, connectivity: int) -> Any:
    return ndimage.generate_binary_structure(axes, min(axes, NEIGHBOURS[connectivity]))

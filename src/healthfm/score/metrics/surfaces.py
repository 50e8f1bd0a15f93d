"""The surfaces of two masks, element by element: how far each lies from the other surface, and how much of the surface it is.

Two conventions are in use, and they give different numbers. ``voxels``: an element is a border voxel, one with a face neighbour outside (the
grid's edge is outside), and each weighs the same: MONAI's and MedPy's. ``areas``: an element lies between 2 x 2 x 2 voxels that are not
all alike, and weighs the area of the marching cubes' surface there (in the plane: 2 x 2 pixels and a length): google-deepmind's surface-distance
(Nikolov et al. 2018), which the scripts of FLARE, KiTS, BraTS and TotalSegmentator call.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from healthfm.score.metrics.arrays import Bools, Floats

Convention = Literal["voxels", "areas"]
Box = tuple[slice, ...]
# Marching cubes of cells of two along each axis, one of each kind that turning, mirroring and swapping inside and outside lead to: the corner
# with index i, j, k along the axes has the bit 4 i + 2 j + k, and what is listed are its pieces' normals, as long as their areas, in eighths.
CELLS: dict[int, dict[int, list[tuple[int, ...]]]] = {
    2: {1: [(4, 4)], 3: [(8, 0)], 6: [(8, 8)]},
    3: {
        1: [(1, 1, 1)], 3: [(4, 4, 0)], 6: [(2, 2, 2)], 7: [(4, 0, 0), (3, 3, 3)], 15: [(8, 0, 0)], 22: [(3, 3, 3)], 23: [(6, 6, 6)], 24: [(2, 2, 2)],
        25: [(0, 4, 4), (1, 1, 1)], 27: [(4, 4, 4), (0, 2, 2), (2, 0, 2)], 30: [(4, 0, 0), (4, 4, 4)], 60: [(8, 8, 0)], 105: [(4, 4, 4)],
    },
}  # fmt: skip


@dataclass(frozen=True)
class Surfaces:
    """How far each element of the reference's surface lies from the prediction's, the reverse, and the ``weights`` of both; unit: the spacing's."""

    to_prediction: Floats
    to_reference: Floats
    weights: tuple[Floats, Floats] | None = None

    def within(self, tolerance: float) -> float:
        """Return the share of both surfaces that lies within ``tolerance`` of the other one: the normalised surface distance."""
        every = np.concatenate([self.to_prediction, self.to_reference])
        weights = None if self.weights is None else np.concatenate(self.weights)
        return float(np.average(every <= tolerance, weights=weights))

    def percentile(self, percent: float = 95) -> float:
        """Return the percentile of the distances, the larger of both directions.

        Of voxels numpy's, which lies between two of them (MONAI); of areas the distance within which that share of the surface lies (deepmind).
        """
        if self.weights is None:
            return max(float(np.percentile(one, percent)) for one in (self.to_prediction, self.to_reference))
        sides = zip((self.to_prediction, self.to_reference), self.weights, strict=True)
        return max(_weighted(distances, weights, percent / 100) for distances, weights in sides)


def _weighted(distances: Floats, weights: Floats, share: float) -> float:
    order = np.lexsort((weights, distances))
    reached = np.cumsum(weights[order]) / np.sum(weights)
    return float(distances[order[min(int(np.searchsorted(reached, share)), len(order) - 1)]])


def surfaces(
    reference: Bools, prediction: Bools, spacing: Sequence[float] | None = None, convention: Convention = "voxels"
) -> Surfaces:
    """Return the surfaces of two masks of one grid, neither of them empty. Raises ``ValueError``: other shapes, other than two or three axes for ``areas``."""
    if reference.shape != prediction.shape:
        raise ValueError(f"the masks differ in shape: {reference.shape} and {prediction.shape}")
    steps = np.ones(reference.ndim) if spacing is None else np.asarray(spacing, np.float64)
    box = around(reference, prediction)
    pair = reference[box], prediction[box]
    if convention == "voxels":
        one, other = (_border(mask) for mask in pair)
        return Surfaces(_distances(one, other, steps), _distances(other, one, steps))
    if reference.ndim not in CELLS:
        raise ValueError(f"surfaces of masks of {reference.ndim} axes have no areas here")
    codes = [_codes(mask) for mask in pair]
    whole = (1 << (1 << reference.ndim)) - 1
    one, other = ((code != 0) & (code != whole) for code in codes)
    area = areas(tuple(steps.tolist()))
    weights = (area[codes[0][one]], area[codes[1][other]])
    return Surfaces(_distances(one, other, steps), _distances(other, one, steps), weights)


def around(*masks: Bools) -> Box:
    """Return the smallest box that holds all that is in these masks of one grid: distances do not depend on what lies outside."""
    found: list[slice] = []
    held = masks
    for axis in range(masks[0].ndim):
        rest = tuple(one for one in range(masks[0].ndim) if one != axis)
        filled = np.flatnonzero(functools.reduce(np.logical_or, [mask.any(axis=rest) for mask in held]))
        part = slice(int(filled[0]), int(filled[-1]) + 1) if len(filled) else slice(0, 0)
        found.append(part)
        held = tuple(mask[(slice(None),) * axis + (part,)] for mask in held)
    return tuple(found)


def _border(mask: Bools) -> Bools:
    """Return where a mask has a face neighbour outside of it."""
    inside = mask.copy()
    for axis in range(mask.ndim):
        inner, whole = np.moveaxis(inside, axis, 0), np.moveaxis(mask, axis, 0)
        inner[1:] &= whole[:-1]
        inner[:-1] &= whole[1:]
        inner[0] = inner[-1] = False
    return np.asarray(mask & ~inside)


def _codes(mask: Bools) -> npt.NDArray[np.uint8]:
    """Return of each cell of two voxels along each axis, those over the edge too, which of its corners are in the mask."""
    held = np.pad(mask, 1).view(np.uint8)
    code = np.zeros(tuple(n + 1 for n in mask.shape), np.uint8)
    for bit, corner in enumerate(itertools.product((0, 1), repeat=mask.ndim)):
        code |= held[tuple(slice(at, at + n) for at, n in zip(corner, code.shape, strict=True))] << bit
    return code


def _distances(ours: Bools, theirs: Bools, steps: Floats) -> Floats:
    """Return how far each of our elements lies from the nearest of theirs, in the order of the grid; exact, and 0 where both have one."""
    points, others = np.argwhere(ours), np.argwhere(theirs)
    found = np.zeros(len(points))
    apart = ~theirs[ours]
    if apart.any():
        tree = cKDTree(others * steps, balanced_tree=False, compact_nodes=False)
        _, nearest = tree.query(points[apart] * steps)
        found[apart] = np.sqrt((((points[apart] - others[nearest]) * steps) ** 2).sum(axis=1))
    return found


@functools.lru_cache(maxsize=64)
def areas(spacing: tuple[float, ...]) -> Floats:
    """Return the area (in the plane: length) of the surface in each kind of cell, by which of its corners are inside."""
    steps = np.array(spacing)
    across = np.prod(steps) / steps
    found = np.zeros(1 << (1 << len(spacing)))
    for code, normals in _cells(len(spacing)).items():
        found[code] = np.linalg.norm(normals * across, axis=1).sum()
    return found


@functools.cache
def _cells(axes: int) -> dict[int, Floats]:
    """Return the normals of every kind of cell that has a surface, by turning, mirroring and swapping those of ``CELLS``."""
    corners = list(itertools.product((0, 1), repeat=axes))
    turns = itertools.product(itertools.permutations(range(axes)), corners)
    found: dict[int, Floats] = {}
    for (order, mirrored), (code, normals) in itertools.product(turns, CELLS[axes].items()):
        moved = 0
        for bit, corner in enumerate(corners):
            if code >> bit & 1:
                at = tuple(corner[order[axis]] ^ mirrored[axis] for axis in range(axes))
                moved |= 1 << corners.index(at)
        turned = np.array(normals, np.float64)[:, list(order)] / 8
        found[moved] = found[(1 << len(corners)) - 1 - moved] = turned
    return found

"""What several readers of one scan have in common: their outlines of one thing joined, and the voxels that enough of them marked.

By pylidc's rules (github.com/notmatthancock/pylidc, ``Scan.cluster_annotations`` and ``utils.consensus``): outlines that come as close as one slice is thick
are of one thing, closer where more would join than there are readers; a voxel is of it where half of those who marked the thing marked the voxel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from healthfm.records import Polygon

HALF = 0.5  # of those who marked a thing
CLOSER, LEAST = (
    0.9,
    0.1,
)  # by how much nearer outlines must lie where too many join, and how near at last, in millimetres
HOLE = " hole"  # what the name of an outline ends in that is cut out


def groups(marked: Mapping[str, Sequence[Polygon]], spacing: Sequence[float], readers: int) -> list[list[str]]:
    """Return the names whose outlines are of one thing, in the order of the first; ``marked``: outlines by name, ``spacing`` of a voxel in millimetres."""
    names = list(marked)
    clouds = [KDTree(np.concatenate([_points(one, spacing) for one in marked[name]])) for name in names]
    apart = np.array([[float(one.query(other.data)[0].min()) for one in clouds] for other in clouds])
    near = float(spacing[2])
    while True:
        _, labels = connected_components(csr_array(apart <= near), directed=False)
        if not len(labels) or np.bincount(labels).max() <= readers or near < LEAST:
            return [
                [name for name, label in zip(names, labels, strict=True) if label == one]
                for one in dict.fromkeys(labels.tolist())
            ]
        near *= CLOSER


def _points(outline: Polygon, spacing: Sequence[float]) -> npt.NDArray[np.float64]:
    flat = np.array(outline.points, float).reshape(-1, 2)
    return np.column_stack([flat, np.full(len(flat), float(outline.plane or 0))]) * np.asarray(spacing)


def filled(outlines: Sequence[Polygon], shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return the voxels [x, y, plane] within outlines, which themselves lie outside; what a hole's outline encloses is cut out."""
    found = np.zeros(tuple(shape), bool)
    for cut in (False, True):
        for one in outlines:
            if one.label.endswith(HOLE) == cut:
                plane = found[:, :, int(one.plane or 0)]
                plane[_inside(one.points, (int(shape[0]), int(shape[1])))] = not cut
    return found


def _inside(points: Sequence[tuple[float, float]], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    picture = Image.new("1", size)
    draw = ImageDraw.Draw(picture)
    whole = [(round(x), round(y)) for x, y in points]
    if len(whole) > 1:
        draw.polygon(whole, fill=1, outline=1)
    draw.line([*whole, whole[0]], fill=0)
    return np.asarray(picture).T.astype(bool)


def agreed(marked: Sequence[Sequence[Polygon]], shape: Sequence[int], share: float = HALF) -> npt.NDArray[np.bool_]:
    """Return the voxels that at least a share of those who marked a thing marked. ``marked``: the outlines of each."""
    votes = np.zeros(tuple(shape), np.uint8)
    for outlines in marked:
        votes += filled(outlines, shape)
    return votes >= share * len(marked)

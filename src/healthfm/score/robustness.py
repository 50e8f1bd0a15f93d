"""Do embeddings follow the biology or the hospital? The robustness index (Kömen et al. 2025, arXiv 2507.17845; github.com/bifold-pathomics/PathoROB).

Among the nearest neighbours of every sample, those of its class from another site speak for the biology (SO), those of another class from its
own site for the site (OS). The index is SO / (SO + OS): 1 where neighbours follow the class, 0 where they follow the site.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import RunError
from healthfm.score.statistics import estimate, in_words, of_counts

MOST_NEIGHBOURS = 600  # as the owners look at, at most
MOST_SAMPLES = 10_000  # of which it is computed unasked
UNEVEN = 2.0  # times as many samples in one cell of class and site as in another, from which that is said

Array = npt.NDArray[Any]


def neighbours(vectors: Array, groups: Sequence[str], most: int = MOST_NEIGHBOURS) -> Array:
    """Return the nearest samples of each by cosine, int [n, k], nearest first, without those of its own group (patient, slide).

    Every row has as many as the one that has fewest. Raises ``RunError``: one has none.
    """
    from sklearn.neighbors import NearestNeighbors  # seconds to import

    wide = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if not np.isfinite(wide).all() or not lengths.all():
        raise RunError("embeddings that are zero or not finite have no neighbours")
    own = np.unique(np.asarray(groups), return_inverse=True)[1]
    count = min(most + int(np.bincount(own).max()), len(wide))
    near = NearestNeighbors(n_neighbors=count).fit(wide / lengths).kneighbors(wide / lengths, return_distance=False)
    kept = [row[own[row] != own[i]] for i, row in enumerate(near)]
    size = min(len(row) for row in kept)
    if not size:
        raise RunError("all neighbours of a sample are of its own patient; there is nothing to compare it with")
    return np.stack([row[:size] for row in kept])


def robustness_index(
    vectors: Any, classes: Sequence[str], sites: Sequence[str], groups: Sequence[str] | None = None, k: int | None = None, seed: int = 0
) -> dict[str, Any]:  # fmt: skip
    """Return the index (``value`` with ``low``, ``high``), the number of neighbours ``k`` it is of, and how well they predict the class.

    ``vectors`` [n, d], ``groups`` (patients, slides; None: every sample is its own) are never their own neighbours, and resampled whole. ``k``: None
    takes the one whose majority of neighbours predicts the class best (balanced accuracy), among 1, 3, ... 9, 11, 21, ... as the owners do.
    Raises ``RunError``: fewer than two classes or sites, or no neighbour of the two kinds.
    """
    from sklearn.metrics import balanced_accuracy_score

    who = [str(i) for i in range(len(classes))] if groups is None else list(groups)
    for what, names in (("class", classes), ("site", sites)):
        if len(set(names)) < 2:
            raise RunError(f"the robustness index needs two sites and two classes; these are of one {what}")
    near = neighbours(np.asarray(vectors), who)
    y, place = (np.unique(np.asarray(one), return_inverse=True)[1] for one in (classes, sites))
    tried = (
        [one for one in (1, 3, 5, 7, 9, *range(11, MOST_NEIGHBOURS, 10)) if one <= near.shape[1]]
        if k is None
        else [min(k, near.shape[1])]
    )
    accuracies = [balanced_accuracy_score(y, _majority(y[near[:, :one]])) for one in tried]
    best = tried[int(np.argmax(accuracies))]
    same, here = y[near[:, :best]] == y[:, None], place[near[:, :best]] == place[:, None]
    biology, hospital = (same & ~here).sum(axis=1), (~same & here).sum(axis=1)
    if not biology.sum() + hospital.sum():
        raise RunError(
            f"no sample has a neighbour of its class from elsewhere, or of another class from its site, among {best}"
        )

    def at(counts: Array) -> Array:
        so, os = counts @ biology, counts @ hospital
        with np.errstate(invalid="ignore"):
            return np.asarray(so / (so + os))

    statistic = of_counts("robustness_index", len(y), at)
    repeated: list[str | None] = [one if groups is not None else None for one in who]
    found = estimate({"robustness_index": statistic}, repeated, seed)["robustness_index"]
    cells = Counter(zip(classes, sites, strict=True))
    even = len(cells) == len(set(classes)) * len(set(sites)) and max(cells.values()) < UNEVEN * min(cells.values())
    return {
        **found,
        "k": best,
        "balanced_accuracy": float(max(accuracies)),
        "even": even,
        "sites": len(set(sites)),
        "classes": len(set(classes)),
    }


def _majority(labels: Array) -> Array:
    """Return the commonest label of each row, the first in order of several, int [n]."""
    counts = np.stack([(labels == one).sum(axis=1) for one in range(int(labels.max()) + 1)], axis=1)
    return np.asarray(counts.argmax(axis=1))


def says(found: Mapping[str, Any]) -> str:
    """Say what the index is, and when it says less than it seems."""
    uneven = (
        "" if found["even"] else "; classes and sites do not stand together evenly here, and the index mixes that in"
    )
    return (
        f"robustness index: {found['value']:.3f} ({in_words(found)}) among {found['k']} neighbours of {found['sites']} sites: 1 where embeddings follow the "
        f"class, 0 where they follow the site{uneven}"
    )

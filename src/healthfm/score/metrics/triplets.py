"""Average precision of surgical action triplets and of their parts, video by video, as the owners of CholecT45 score them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from healthfm.score.metrics.arrays import Bools, Floats

PARTS: Mapping[str, tuple[int, ...]] = {  # which words of "instrument,verb,target" a part is made of
    "ivt": (0, 1, 2), "i": (0,), "v": (1,), "t": (2,), "iv": (0, 1), "it": (0, 2),
}  # fmt: skip


def parts(names: Sequence[str], which: Sequence[int]) -> list[list[int]]:
    """Return, for each part that the triplets have, the places of the triplets that have it."""
    found: dict[tuple[str, ...], list[int]] = {}
    for place, name in enumerate(names):
        words = name.split(",")
        found.setdefault(tuple(words[one] for one in which), []).append(place)
    return list(found.values())


def by_video(
    truth: Bools, score: Floats, videos: Sequence[npt.NDArray[np.intp]], groups: Sequence[Sequence[int]]
) -> Floats:
    """Return average precision [videos, parts] of truth and scores [frames, triplets]: a part's are the highest of its triplets'.

    NaN where a video has no frame with the part.
    """
    from sklearn.metrics import average_precision_score  # a second to import

    found = np.full((len(videos), len(groups)), np.nan)
    for row, frames in enumerate(videos):
        for column, group in enumerate(groups):
            there = truth[frames][:, list(group)].any(axis=1)
            if there.any():
                found[row, column] = average_precision_score(there, score[frames][:, list(group)].max(axis=1))
    return found

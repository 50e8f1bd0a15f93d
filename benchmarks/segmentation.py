"""Dice, surface Dice and HD95 of masks of 512 x 512 x 200 voxels, against MONAI's functions for the same numbers.

Both are run in one process, alternating, on the same pairs of masks (organs of several sizes, the prediction shifted and dented, and one pair far
apart), with surfaces by border voxels, which is MONAI's convention; numbers must be equal to 1e-6. Time is CPU time of the process, so that a
machine with other work does not decide. The other convention (areas) is held against google-deepmind's surface-distance where that is installed.

    python benchmarks/segmentation.py [--shape 512 512 200] [--rounds 3] [--reference VENV/lib/python3.11/site-packages]

``--reference``: where MONAI (and surface-distance) are installed, if not here; its path is put behind this environment's.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from healthfm.score.metrics.segmentation import dice
from healthfm.score.metrics.surfaces import surfaces

RESULT = Path(__file__).parent / "results" / "segmentation.json"
SPACING = (0.8, 0.8, 2.5)
TOLERANCE = 2.0
Pair = tuple[str, np.ndarray, np.ndarray]


def pairs(shape: tuple[int, ...]) -> Iterator[Pair]:
    """Yield name, reference and prediction: ellipsoids of a tenth to a half of the grid's sides with an uneven surface."""
    grid = [axis.astype(np.float32) for axis in np.ogrid[tuple(slice(n) for n in shape)]]
    coarse = np.random.default_rng(0).standard_normal(tuple(max(4, n // 16) for n in shape)).astype(np.float32)
    wave = ndimage.zoom(coarse, [n / m for n, m in zip(shape, coarse.shape, strict=True)], order=1)
    for name, share, shift in (
        ("small organ", 0.1, 2),
        ("kidney", 0.2, 3),
        ("liver", 0.45, 4),
        ("far apart", 0.1, shape[0] // 3),
    ):
        radius = sum(((axis - n / 2) / (share * n / 2)) ** 2 for axis, n in zip(grid, shape, strict=True))
        reference = radius + 0.15 * wave < 1
        prediction = np.roll(radius + 0.15 * np.roll(wave, 5, axis=1) < 1, shift, axis=0)
        yield name, reference, prediction


def ours(reference: np.ndarray, prediction: np.ndarray) -> list[float]:
    """Dice, surface Dice and HD95 from one measurement of both surfaces."""
    both = surfaces(reference, prediction, SPACING)
    return [dice(reference, prediction), both.within(TOLERANCE), both.percentile(95)]


def monai_(reference: np.ndarray, prediction: np.ndarray) -> list[float]:
    """The same by MONAI's three functions."""
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

    one, other = (torch.from_numpy(mask[None, None]) for mask in (prediction, reference))
    settings: dict[str, Any] = {"include_background": True, "spacing": list(SPACING)}
    return [
        float(compute_dice(one, other, include_background=True)),
        float(compute_surface_dice(one, other, [TOLERANCE], **settings)),
        float(compute_hausdorff_distance(one, other, percentile=95, **settings)),
    ]


def deepmind(reference: np.ndarray, prediction: np.ndarray) -> list[float]:
    """Surface Dice and HD95 by area, and Dice."""
    import surface_distance

    found = surface_distance.compute_surface_distances(reference, prediction, SPACING)
    return [
        float(surface_distance.compute_dice_coefficient(reference, prediction)),
        float(surface_distance.compute_surface_dice_at_tolerance(found, TOLERANCE)), float(surface_distance.compute_robust_hausdorff(found, 95)),
    ]  # fmt: skip


def by_area(reference: np.ndarray, prediction: np.ndarray) -> list[float]:
    """The same here."""
    both = surfaces(reference, prediction, SPACING, "areas")
    return [dice(reference, prediction), both.within(TOLERANCE), both.percentile(95)]


def raced(
    one: Callable[..., list[float]], other: Callable[..., list[float]], given: list[Pair], rounds: int
) -> dict[str, Any]:
    """Run both on each pair, alternating, and return CPU seconds (medians), their ratio and the largest difference of numbers."""
    found: dict[str, Any] = {}
    for name, reference, prediction in given:
        seconds: tuple[list[float], list[float]] = ([], [])
        values: list[list[float]] = [[], []]
        for turn in range(rounds):
            for place, run in ((0, one), (1, other)) if turn % 2 == 0 else ((1, other), (0, one)):
                begun = time.process_time()
                values[place] = run(reference, prediction)
                seconds[place].append(time.process_time() - begun)
        apart = max(
            abs(a - b) / max(1, abs(b)) for a, b in zip(*values, strict=True)
        )  # of distances relative: MONAI's are float32
        mine, theirs = (statistics.median(one) for one in seconds)
        found[name] = {"ours": mine, "theirs": theirs, "ratio": theirs / mine, "difference": apart, "values": values[0]}
        print(
            f"{name:12} ours {mine:7.3f} s  theirs {theirs:7.3f} s  {theirs / mine:5.1f} x  largest difference {apart:.1e}",
            flush=True,
        )
        if apart > 1e-6:
            raise SystemExit(f"{name}: the numbers differ: {values}")
    whole = sum(one["theirs"] for one in found.values()) / sum(one["ours"] for one in found.values())
    print(f"{'all':12} {whole:5.1f} x")
    return {"pairs": found, "ratio": whole}


def main() -> None:
    """Race both conventions and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 200))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reference", type=Path)
    arguments = parser.parse_args()
    if arguments.reference:
        sys.path.append(str(arguments.reference))
    given = list(pairs(tuple(arguments.shape)))
    monai_(given[0][1][:8, :8, :8] | True, given[0][2][:8, :8, :8] | True)  # imports are not measured
    result: dict[str, Any] = {
        "shape": list(arguments.shape),
        "rounds": arguments.rounds,
        "target": "5 x MONAI, equal to 1e-6",
    }
    print("border voxels, against MONAI")
    result["monai"] = raced(ours, monai_, given, arguments.rounds)
    try:
        import surface_distance  # noqa: F401

        np.Inf = np.inf  # type: ignore[attr-defined]  # the name that it uses and numpy 2 has not
        print("areas, against surface-distance")
        result["surface-distance"] = raced(by_area, deepmind, given, arguments.rounds)
    except ImportError:
        print("surface-distance is not installed: areas are not raced")
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process {result['peak_mb']:,.0f} MB")
    if tuple(arguments.shape) == (512, 512, 200):
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

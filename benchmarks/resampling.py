"""Bootstrap of macro-AUROC against a scikit-learn loop, in one alternating run.

10,000 resamples of 10,000 rows with 14 labels. The loop draws rows and calls ``roc_auc_score``; it runs a few resamples a
round and is scaled up. Ours runs all of them each round, once on one thread and once on all cores. Printed for scores with
and without ties: the ratios (wall clock and CPU time), the largest difference on the same resamples, our share of the limit
(one int16 addition for each row, label and resample at the rate numpy adds arrays that fit the cache), and peak memory.

    python benchmarks/resampling.py
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from memory import peak_mib
from sklearn.metrics import roc_auc_score

from healthfm.score.metrics.arrays import lanes
from healthfm.score.metrics.discrimination import Auroc, macro
from healthfm.score.statistics import over_draws
from healthfm.score.statistics.bootstrap import draws

LABELS = 14
TARGET = 300
AGREED = 1e-10


def cohort(rows: int, digits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and scores [rows, labels] of a chest X-ray's prevalences, rounded to so many digits."""
    rng = np.random.default_rng(0)
    truth = rng.random((rows, LABELS)) < rng.uniform(0.02, 0.3, LABELS)
    return truth, np.round(rng.standard_normal((rows, LABELS)) + truth, digits)


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return wall seconds, CPU seconds and what came out."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - wall, time.process_time() - cpu, found


def loop(truth: np.ndarray, score: np.ndarray, chosen: list[np.ndarray]) -> np.ndarray:
    """Return scikit-learn's macro-AUROC of each resample, given as row numbers."""
    return np.array([roc_auc_score(truth[rows], score[rows], average="macro") for rows in chosen])


def same_draws(rows: int, count: int) -> list[np.ndarray]:
    """Return the rows of our first resamples."""
    counts = next(iter(draws(rows, 0)))()[:count]
    return [np.repeat(np.arange(rows), one) for one in counts]


def one_thread(work: Callable[[], Any]) -> Callable[[], Any]:
    """Return the work as a process with one core would do it."""

    def limited() -> Any:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        try:
            return work()
        finally:
            os.sched_setaffinity(0, before)

    return limited


def addition_rate() -> float:
    """Return int16 additions a second, of arrays that fit a core's first cache."""
    one, other = np.ones((2, 8_000), np.int16)
    best = min(timed(lambda: [np.add(one, other, out=other) for _ in range(2_000)])[0] for _ in range(5))
    return 2_000 * one.size / best


def main() -> None:
    """Run both and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--loop", type=int, default=10, help="resamples of scikit-learn's loop in a round")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows, cores = arguments.rows, len(os.sched_getaffinity(0))
    result: dict[str, Any] = {
        "rows": rows,
        "labels": LABELS,
        "resamples": arguments.resamples,
        "cores": cores,
        "cases": {},
    }
    limit = rows * LABELS * arguments.resamples / addition_rate()
    for name, digits in (("no ties", 15), ("ties, two digits", 2)):
        truth, score = cohort(rows, digits)
        chosen = same_draws(rows, arguments.loop)

        def ours(truth: np.ndarray = truth, score: np.ndarray = score) -> np.ndarray:
            kernels = [Auroc(truth[:, i], score[:, i]) for i in range(LABELS)]
            return over_draws(lambda counts: macro(kernels, lanes(counts)), rows, 0, arguments.resamples)

        seconds: dict[str, list[tuple[float, float]]] = {"scikit-learn": [], "one thread": [], "all cores": []}
        apart = 0.0
        for _ in range(arguments.rounds):
            wall, cpu, theirs = timed(lambda: loop(truth, score, chosen))  # noqa: B023
            scale = arguments.resamples / arguments.loop
            seconds["scikit-learn"].append((wall * scale, cpu * scale))
            for key, work in (("one thread", one_thread(ours)), ("all cores", ours)):
                wall, cpu, found = timed(work)
                seconds[key].append((wall, cpu))
                apart = max(apart, float(np.abs(found[: arguments.loop] - theirs).max()))
        wall = {key: statistics.median(one for one, _ in pairs) for key, pairs in seconds.items()}
        cpu = {key: statistics.median(one for _, one in pairs) for key, pairs in seconds.items()}
        case = {
            "wall_s": {key: round(one, 3) for key, one in wall.items()}, "cpu_s": {key: round(one, 3) for key, one in cpu.items()},
            "ratio_one_thread": round(cpu["scikit-learn"] / cpu["one thread"]),
            "ratio_all_cores": round(wall["scikit-learn"] / wall["all cores"]), "target": TARGET,
            "largest_difference": apart, "equal": apart <= AGREED, "share_of_limit_one_thread": round(limit / cpu["one thread"], 3),
        }  # fmt: skip
        result["cases"][name] = case
        print(name, json.dumps(case, indent=1), flush=True)
    result["peak_memory_mib"] = peak_mib()
    target = Path(__file__).parent / "results" / "resampling.json"
    target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

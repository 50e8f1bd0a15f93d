"""How often 95 % intervals hold the true value: thousands of simulated sets with a known one.

For each interval and case: the share of sets whose interval holds the truth, its Monte-Carlo standard error, the share of
misses on either side, and whether the coverage lies in the band that is asked of it. For proportions the coverage is
also summed exactly, and judged by that. Rows outside are reported.

    python benchmarks/coverage_simulation.py
    python benchmarks/coverage_simulation.py --only distance --sets 1000 --resamples 1000
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from scipy import stats

from healthfm.score.metrics import single_label
from healthfm.score.metrics.arrays import lanes
from healthfm.score.metrics.discrimination import Auroc, macro
from healthfm.score.statistics import (
    Cells,
    Interval,
    bootstrap,
    clopper_pearson,
    delong,
    of_cells,
    of_counts,
    of_mean,
    wilson,
)
from healthfm.score.statistics.calibration import ece
from healthfm.score.statistics.subgroups import fairness

CHUNK = 250
# Joint probabilities of target and prediction, three classes of which one is rare, and no answer in the last column.
TABLE = np.array([[0.40, 0.12, 0.03, 0], [0.10, 0.20, 0.02, 0], [0.03, 0.04, 0.06, 0]])
Simulated = tuple[float, float, float]  # low, high, truth
Draw = Callable[[np.random.Generator, int], Simulated]


@dataclass(frozen=True)
class Case:
    """An interval under known truth. ``band``: where its coverage should lie."""

    interval: str
    what: str
    n: int
    band: tuple[float, float]
    draw: Draw
    exact: float | None = None


@cache
def proportion_interval(kind: str, hits: int, n: int) -> Interval:
    """Return an interval of a proportion; there are only n + 1 of them."""
    return (wilson if kind == "Wilson" else clopper_pearson)(hits, n)


def proportion(kind: str, n: int, p: float, rng: np.random.Generator, seed: int) -> Simulated:
    """Hits of n independent rows."""
    found = proportion_interval(kind, int(rng.binomial(n, p)), n)
    return found.low, found.high, p


def exact_coverage(kind: str, n: int, p: float) -> float:
    """Return the true coverage of a proportion's interval, summed over all outcomes."""
    ends = [proportion_interval(kind, hits, n) for hits in range(n + 1)]
    return float(sum(stats.binom.pmf(hits, n, p) for hits, one in enumerate(ends) if one.low <= p <= one.high))


def auroc(positives: int, negatives: int, area: float, step: float, rng: np.random.Generator, seed: int) -> Simulated:
    """Two normal scores, rounded to multiples of ``step`` where that is not 0; DeLong's interval."""
    shift = np.sqrt(2) * stats.norm.ppf(area)
    truth = np.repeat([True, False], [positives, negatives])
    score = rng.standard_normal(len(truth)) + shift * truth
    found = delong(truth, np.round(score / step) if step else score)
    return found.low, found.high, rounded_area(shift, step) if step else area


@cache
def rounded_area(shift: float, step: float) -> float:
    """Return the true AUROC of rounded normal scores: the share of pairs in order, ties counting half."""
    edges = (np.arange(-60, 61) + 0.5) * step
    positive, negative = (np.diff(stats.norm.cdf(edges - by)) for by in (shift, 0))
    return float(positive @ (np.cumsum(negative) - negative / 2))


def f1_of_cells(counts: np.ndarray) -> np.ndarray:
    """Macro-F1 of counts of cells."""
    return single_label.macro_f1(counts.reshape(*counts.shape[:-1], *TABLE.shape))


def macro_f1(n: int, rng: np.random.Generator, seed: int) -> Simulated:
    """Macro-F1 of n rows, BCa."""
    table = rng.multinomial(n, TABLE.ravel())
    [found] = bootstrap.bootstrap_cells(table, [f1_of_cells], seed)
    return found.low, found.high, float(f1_of_cells(TABLE.ravel()))


def absolute_error(n: int, rng: np.random.Generator, seed: int) -> Simulated:
    """The mean absolute error of exponential errors, skewed; BCa."""
    found = bootstrap.intervals([of_mean("mae", rng.exponential(size=n))], n, seed)["mae"]
    return found.low, found.high, 1.0


def macro_auroc(n: int, rng: np.random.Generator, seed: int) -> Simulated:
    """The mean AUROC of three labels with 30 % positives, BCa."""
    areas = (0.7, 0.8, 0.9)
    truth = rng.random((n, 3)) < 0.3
    score = rng.standard_normal((n, 3)) + truth * np.sqrt(2) * stats.norm.ppf(areas)
    kernels = [Auroc(truth[:, i], score[:, i]) for i in range(3)]
    statistic = of_counts("macro_auroc", n, lambda counts: macro(kernels, lanes(counts)))
    found = bootstrap.intervals([statistic], n, seed)["macro_auroc"]
    return found.low, found.high, float(np.mean(areas))


def patients_accuracy(patients: int, most: int, rng: np.random.Generator, seed: int) -> Simulated:
    """Accuracy where each patient has a chance of its own (Beta(3.5, 1.5)) and one to ``most`` rows."""
    rows = rng.integers(1, most + 1, patients)
    which = np.repeat(np.arange(patients), rows)
    hits = rng.random(len(which)) < rng.beta(3.5, 1.5, patients)[which]
    found = bootstrap.intervals([of_mean("accuracy", hits)], len(which), seed, which)["accuracy"]
    return found.low, found.high, 0.7


def patients_macro_f1(patients: int, rows: int, rng: np.random.Generator, seed: int) -> Simulated:
    """Macro-F1 where all rows of a patient have the same target, and two of three times the same answer."""
    cell = rng.choice(TABLE.size, patients, p=TABLE.ravel())
    target, guess = np.divmod(np.repeat(cell, rows), TABLE.shape[1])
    given = TABLE / TABLE.sum(axis=1, keepdims=True)
    fresh = (rng.random((len(target), 1)) > given.cumsum(axis=1)[target]).sum(axis=1)
    guess = np.where(rng.random(len(target)) < 1 / 3, fresh, guess)
    which = np.repeat(np.arange(patients), rows)
    cells = Cells(target * TABLE.shape[1] + guess, TABLE.size, f1_of_cells)
    found = bootstrap.intervals([of_cells("macro_f1", cells)], len(which), seed, which)["macro_f1"]
    return found.low, found.high, float(f1_of_cells(TABLE.ravel()))


def widest_gap(groups: int, patients: int, rows: int, effect: float, rng: np.random.Generator, seed: int) -> Simulated:
    """Equalised odds of groups of so many patients each; the first one's sensitivity is lower by ``effect``, all else is equal.

    Rows of a patient have the same truth, and three of five share a draw.
    """
    group, which = np.repeat(np.arange(groups), patients), np.repeat(np.arange(groups * patients), rows)
    sick = rng.random(len(group)) < 0.4
    chance = np.where(sick, 0.8 - effect * (group == 0), 0.2)
    once, each = rng.random(len(group))[which], rng.random(len(which))
    chosen = np.where(rng.random(len(which)) < 0.6, once, each) < chance[which]
    who = [None] * len(which) if rows == 1 else which.tolist()
    found = fairness(sick[which], chosen, [str(one) for one in group[which]], who)["equalised_odds"]
    return found["low"], found["high"], effect


def calibration_error(n: int, off: float, rng: np.random.Generator, seed: int) -> Simulated:
    """The expected calibration error of n rows whose confidence is too high by ``off`` everywhere."""
    confidence = rng.uniform(0.5, 0.95, n)
    correct = rng.random(n) < confidence - off
    found = bootstrap.intervals([ece(confidence, correct)], n, seed)["ece"]
    return found.low, found.high, off


@cache
def cases() -> list[Case]:
    """Return every interval with the cases the promise speaks of."""
    near, clustered = (0.94, 0.96), (0.93, 0.97)
    found = [
        Case(kind, f"proportion {p}", n, (0.95, 1.0) if kind == "Clopper-Pearson" else near, partial(proportion, kind, n, p), exact_coverage(kind, n, p))
        for kind in ("Clopper-Pearson", "Wilson") for n in (50, 100, 500) for p in (0.5, 0.8, 0.95)
    ]  # fmt: skip
    found += [
        Case("DeLong", f"AUROC {area}, {m} of {n} positive{', ties' if step else ''}", n, near, partial(auroc, m, n - m, area, step))
        for n, m in ((100, 20), (100, 50), (500, 50)) for area in (0.7, 0.85, 0.95) for step in (0.0, 0.5)
    ]  # fmt: skip
    for n in (100, 300):
        found += [
            Case("BCa", "macro-F1, a rare class", n, near, partial(macro_f1, n)),
            Case("BCa", "mean absolute error, exponential", n, near, partial(absolute_error, n)),
            Case("BCa", "macro-AUROC, three labels", n, near, partial(macro_auroc, n)),
        ]
    for patients in (50, 150):
        found += [
            Case("patients", "accuracy, 5 rows at most", patients, clustered, partial(patients_accuracy, patients, 5)),
            Case("patients", "macro-F1, 3 rows each", patients, clustered, partial(patients_macro_f1, patients, 3)),
        ]
    least = (
        0.94,
        1.0,
    )  # bounds of a largest or summed absolute difference: never too narrow, wide where several compete
    found += [
        Case("Newcombe of pairs", f"equalised odds, {groups} groups of {n // rows} patients, effect {effect}", groups * n, least,
             partial(widest_gap, groups, n // rows, rows, effect))
        for groups, n, rows in ((2, 40, 1), (5, 40, 1), (2, 150, 1), (2, 100, 4), (2, 400, 4)) for effect in (0.0, 0.1, 0.3)
    ]  # fmt: skip
    found += [
        Case("distance", f"calibration error {off}", n, least, partial(calibration_error, n, off)) for n in (100, 300) for off in (0.0, 0.05, 0.2)
    ]  # fmt: skip
    return found


def simulate(case: int, start: int, sets: int, resamples: int) -> np.ndarray:
    """Return, for some sets of a case, how many intervals lie above the truth, below it, and the sum of their widths."""
    bootstrap.RESAMPLES = resamples
    one = cases()[case]
    ends = np.array([one.draw(np.random.default_rng([case, seed]), seed) for seed in range(start, start + sets)])
    low, high, truth = ends.T
    return np.array([(low > truth).sum(), (high < truth).sum(), (high - low).sum()])


def main() -> None:
    """Simulate every case and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=5_000)
    parser.add_argument("--resamples", type=int, default=bootstrap.RESAMPLES, help="of each bootstrap")
    parser.add_argument("--only", nargs="*", help="intervals to simulate; the stored rows of all others stay")
    arguments = parser.parse_args()
    start = time.perf_counter()
    starts = range(0, arguments.sets, CHUNK)
    target = Path(__file__).parent / "results" / "coverage.json"
    stored = json.loads(target.read_text()) if arguments.only else {"seconds": 0, "rows": []}
    rows = [row for row in stored["rows"] if row["interval"] not in arguments.only] if arguments.only else []
    with ProcessPoolExecutor(int(os.environ.get("WORKERS", 0)) or len(os.sched_getaffinity(0))) as pool:
        every = {i: one for i, one in enumerate(cases()) if not arguments.only or one.interval in arguments.only}
        jobs = [
            [pool.submit(simulate, i, s, min(CHUNK, arguments.sets - s), arguments.resamples) for s in starts]
            for i in every
        ]
        for one, parts in zip(every.values(), jobs, strict=True):
            above, below, width = np.sum([part.result() for part in parts], axis=0) / arguments.sets
            coverage = 1 - above - below
            error = float(np.sqrt(coverage * (1 - coverage) / arguments.sets))
            row = {
                "interval": one.interval, "case": one.what, "n": one.n, "sets": arguments.sets, "coverage": round(coverage, 4), "error": round(error, 4),
                "truth_below": round(float(above), 4), "truth_above": round(float(below), 4), "width": round(float(width), 4),
                "band": one.band, "exact": one.exact and round(one.exact, 4),
                "inside": bool(one.band[0] <= (coverage if one.exact is None else one.exact) <= one.band[1]),
            }  # fmt: skip
            rows.append(row)
            print(json.dumps(row), flush=True)
    outside = [f"{row['interval']}: {row['case']}, n = {row['n']}" for row in rows if not row["inside"]]
    seconds = stored["seconds"] + round(time.perf_counter() - start)
    asked = {"sets": arguments.sets, "resamples": arguments.resamples} | (
        {k: stored[k] for k in ("sets", "resamples")} if arguments.only else {}
    )
    result = {**asked, "seconds": seconds, "outside": outside, "rows": rows}
    target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

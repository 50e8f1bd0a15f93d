"""The coverage simulation in small: intervals hold the truth about as often as they say. ``benchmarks/`` has the large one.

A band is 95 % with four Monte-Carlo standard errors, and two points more for small samples.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "coverage_simulation.py"


@pytest.fixture(scope="module")
def simulation() -> object:
    spec = importlib.util.spec_from_file_location("coverage_simulation", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["coverage_simulation"] = module  # a dataclass looks its module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("interval", "what", "n", "sets"),
    [
        ("DeLong", "AUROC 0.85, 20 of 100 positive", 100, 1_500),
        ("DeLong", "AUROC 0.7, 50 of 100 positive, ties", 100, 1_500),
        ("BCa", "macro-F1, a rare class", 100, 400),
        ("BCa", "mean absolute error, exponential", 100, 400),
        ("BCa", "macro-AUROC, three labels", 100, 300),
        ("patients", "accuracy, 5 rows at most", 50, 400),
        ("patients", "macro-F1, 3 rows each", 150, 300),
    ],
)
def test_an_interval_holds_the_truth_as_often_as_it_says(
    simulation: object, monkeypatch: pytest.MonkeyPatch, interval: str, what: str, n: int, sets: int
) -> None:
    monkeypatch.setattr(simulation.bootstrap, "RESAMPLES", 1_000)  # type: ignore[attr-defined]
    every = simulation.cases()  # type: ignore[attr-defined]
    [place] = [i for i, one in enumerate(every) if (one.interval, one.what, one.n) == (interval, what, n)]
    above, below, _ = simulation.simulate(place, 0, sets, 1_000)  # type: ignore[attr-defined]
    error = (0.95 * 0.05 / sets) ** 0.5
    assert 0.93 - 4 * error <= 1 - (above + below) / sets <= min(0.97 + 4 * error, 0.999)


@pytest.mark.parametrize(("kind", "least", "most"), [("Clopper-Pearson", 0.95, 1), ("Wilson", 0.93, 0.97)])
def test_the_exact_coverage_of_a_proportion_is_in_its_band(
    simulation: object, kind: str, least: float, most: float
) -> None:
    found = [one.exact for one in simulation.cases() if one.interval == kind]  # type: ignore[attr-defined]
    assert len(found) == 9 and least <= min(found) and max(found) <= most

"""The robustness index, beside what the owners' code found (tests/references/make_pathorob.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from healthfm.errors import RunError
from healthfm.score.robustness import neighbours, robustness_index, says
from tests.references.make_pathorob import CASES, made

EXPECTED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data/expected/pathorob.json").read_text())


@pytest.mark.parametrize("name", list(CASES))
def test_the_index_is_the_owners_at_their_k_and_at_others(name: str) -> None:
    vectors, classes, sites, groups = made(name)
    expected = EXPECTED[name]
    found = robustness_index(vectors, classes, sites, groups)
    assert (found["k"], found["even"]) == (expected["k"], True)
    assert found["value"] == pytest.approx(expected["index"], abs=1e-3)
    assert found["balanced_accuracy"] == pytest.approx(expected["balanced_accuracy"], abs=1e-3)
    for k in (3, 21, 51):
        assert robustness_index(vectors, classes, sites, groups, k=k)["value"] == pytest.approx(
            expected["index_at"][str(k)], abs=1e-3
        )


def test_no_sample_is_the_neighbour_of_its_own_patient() -> None:
    vectors = np.array([[1, 0], [1, 0.01], [0, 1], [0.1, 1]])
    assert neighbours(vectors, ["a", "a", "b", "c"]).tolist() == [[3, 2], [3, 2], [3, 1], [2, 1]]
    with pytest.raises(RunError, match="all neighbours of a sample are of its own patient"):
        neighbours(vectors, ["a"] * 4)
    with pytest.raises(RunError, match="zero or not finite"):
        neighbours(np.zeros((3, 2)), ["a", "b", "c"])


def test_what_cannot_be_said_is_refused_and_what_is_uneven_is_said() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 3))
    classes, sites = ["ab"[i % 2] for i in range(40)], ["xy"[i % 2] if i < 30 else "x" for i in range(40)]
    assert "do not stand together evenly" in says(robustness_index(vectors, classes, sites))
    with pytest.raises(RunError, match="these are of one site"):
        robustness_index(vectors, classes, ["x"] * 40)
    with pytest.raises(RunError, match="no sample has a neighbour"):
        robustness_index([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], ["a", "a", "b", "b"], ["x", "x", "y", "y"], k=1)


def test_the_interval_is_of_whole_patients() -> None:
    vectors, classes, sites, groups = made("both")
    by_patient, alone = (
        robustness_index(vectors, classes, sites, groups, k=5),
        robustness_index(vectors, classes, sites, k=5),
    )
    assert by_patient["method"].startswith("patient-clustered") and "patient" not in alone["method"]
    assert by_patient["low"] < by_patient["value"] < by_patient["high"]

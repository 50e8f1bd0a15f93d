"""Every interval of every metric of every kind holds its own value and keeps to the metric's range, on small tables of any make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from healthfm import RunError, compare, evaluate_predictions
from healthfm.report.words import word
from healthfm.score.statistics import bootstrap, paired

KINDS = (
    "binary",
    "multi-class",
    "multiple-choice",
    "ordinal",
    "multi-label",
    "regression",
    "free-text",
    "retrieval",
    "perplexity",
)
HOW = ("random", "all right", "all wrong", "one class", "ties")
SLACK = 1e-12


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bootstrap, paired):
        monkeypatch.setattr(module, "RESAMPLES", 60)


def classes(rng: np.random.Generator, n: int, how: str, size: int, likely: bool) -> dict[str, Any]:
    names = [str(i) for i in range(size)]
    target = rng.integers(0, size, n) if how != "one class" else np.zeros(n, int)
    guess = {"all right": target, "all wrong": (target + 1) % size}.get(how, rng.integers(0, size, n))
    if not likely:
        missing = rng.random(n) < (0.2 if how == "random" else 0)
        said = [None if gone else names[i] for i, gone in zip(guess, missing, strict=True)]
        return {"target": [names[i] for i in target], "prediction": said}
    chances = np.full((n, size), 1.0)
    chances[np.arange(n), guess] += {"ties": 0, "random": rng.random(n)}.get(how, 5)
    chances /= chances.sum(axis=1, keepdims=True)
    return {"target": [names[i] for i in target], "options": [names] * n, "probabilities": chances.tolist()}


def table(task: str, n: int, how: str, seed: int, patients: bool, likely: bool) -> dict[str, Any]:
    """A table of a kind, made at random."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {"id": [f"r{i}" for i in range(n)]}
    if task in ("binary", "multi-class", "multiple-choice", "ordinal"):
        found |= classes(rng, n, how, 2 if task == "binary" else 3, likely)
    elif task == "multi-label":
        truth = rng.random((n, 3)) < (0.0 if how == "one class" else 0.4)
        guess = {"all right": truth, "all wrong": ~truth}.get(how, rng.random((n, 3)) < 0.4)
        found["target"] = [[str(i) for i in np.flatnonzero(row)] for row in truth]
        if likely:
            score = np.where(guess, 0.8, 0.2) + (0 if how == "ties" else 0.1 * rng.random((n, 3)))
            found |= {"options": [["0", "1", "2"]] * n, "probabilities": score.tolist()}
        else:
            found["prediction"] = [[str(i) for i in np.flatnonzero(row)] for row in guess]
    elif task == "regression":
        x = np.ones(n) if how == "one class" else rng.normal(size=n)
        y = {"all right": x, "all wrong": x + 1, "ties": np.round(x)}.get(how, rng.normal(size=n))
        found |= {"target": x.tolist(), "prediction": y.tolist()}
    elif task == "free-text":
        words = np.array(["the", "left", "lung", "is", "clear", "1.5", "mg", "-2", "发热", "боль"])
        texts = [" ".join(rng.choice(words, rng.integers(1, 7))) for _ in range(n)]
        other = [" ".join(rng.choice(words, rng.integers(0, 7))) for _ in range(n)]
        same = {"all right": texts, "all wrong": ["kidney"] * n}.get(how, other)
        found |= {"target": [[one] for one in texts], "output": same}
    elif task == "retrieval":
        lists = [[f"d{i}" for i in rng.permutation(12)] for _ in range(n)]
        wanted = {"all right": lambda row: row[:1], "all wrong": lambda row: ["none"]}.get(
            how, lambda row: [f"d{rng.integers(14)}"]
        )
        found |= {"target": [wanted(row) for row in lists], "ranking": lists}
    else:
        words_ = rng.integers(1, 50, n)
        found |= {
            "log_likelihood": (np.zeros(n) if how == "all right" else -words_ * rng.uniform(0.1, 4, n)).tolist(),
            "tokens": (words_ * 2).tolist(), "words": words_.tolist(), "bytes": (words_ * 5).tolist(),
        }  # fmt: skip
    if patients:
        found["patient"] = [f"p{i}" for i in rng.integers(0, max(1, n // 2), n)]
    found["subgroup.site"] = [str(i) for i in rng.integers(0, 3, n)]
    return found


def estimates(scores: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any, Any]]:
    """Every value of a result with its interval, by name."""
    for name, one in scores["metrics"].items():
        yield name, one["low"], one["value"], one["high"]
    for of, metrics in scores["per_class"].items():
        for name, one in metrics.items():
            yield f"{name}/{of}", one["low"], one["value"], one["high"]
    if scores["calibration"]:
        one = scores["calibration"]
        yield "ece", one["ece_low"], one["ece"], one["ece_high"]
        for part in one["bins"]:
            yield "bin", part["low"], part["accuracy"], part["high"]
    if scores["selective"]:
        one = scores["selective"]
        yield "aurc", one["aurc_low"], one["aurc"], one["aurc_high"]
    for groups in scores["subgroups"].values():
        for one in groups:
            yield f"group {one['metric']}", one["low"], one["value"], one["high"]
            yield "gap", one["gap_low"], one["gap"], one["gap_high"]
    for found in scores["fairness"].values():
        for name in ("demographic_parity", "equalised_odds"):
            if found[name]:
                yield name, found[name]["low"], found[name]["value"], found[name]["high"]


def ends(name: str) -> tuple[float, float]:
    """The range of a metric, as the words for it say; a gap's is open."""
    plain = name.removeprefix("group ").partition("/")[0]
    if plain in ("ece", "aurc", "bin", "demographic_parity", "equalised_odds"):
        return 0, 1
    known = [one for one in (word(plain).worst, word(plain).best) if one is not None] if plain != "gap" else []
    return (min(known), max(known)) if len(known) == 2 else (-np.inf, np.inf)


def hold(name: str, low: float | None, value: float | None, high: float | None) -> None:
    if low is None or high is None or value is None:
        assert low is None and high is None, name
        return
    least, most = ends(name)
    assert least - SLACK <= low <= value <= high <= most + SLACK, (name, low, value, high)


MADE = given(
    st.sampled_from(KINDS),
    st.integers(1, 70),
    st.sampled_from(HOW),
    st.integers(0, 10_000),
    st.booleans(),
    st.booleans(),
)
OFTEN = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def classes_of(task: str) -> list[str] | None:
    return {
        "binary": ["0", "1"],
        "multi-class": ["0", "1", "2"],
        "ordinal": ["0", "1", "2"],
        "multi-label": ["0", "1", "2"],
    }.get(task)


@MADE
@OFTEN
def test_no_interval_excludes_its_own_value_or_leaves_its_range_nor_does_that_of_a_paired_difference(
    task: str, n: int, how: str, seed: int, patients: bool, likely: bool
) -> None:
    one, other = table(task, n, how, seed, patients, likely), table(task, n, "random", seed + 1, patients, likely)
    for name in ("target", "patient", "words", "bytes", "subgroup.site"):
        if name in one:
            other[name] = one[name]
    runs = [evaluate_predictions(each, task, classes=classes_of(task)) for each in (one, other)]
    for run in runs:
        for found in estimates(run.scores):
            hold(*found)
    try:
        compared = compare(runs, metrics=sorted(set(runs[0].metrics) & set(runs[1].metrics)))
    except RunError:
        return  # nothing that both have
    for metric, result in compared.metrics.items():
        for pair in result["pairs"]:
            if pair["low"] is not None:
                assert pair["low"] - SLACK <= pair["value"] <= pair["high"] + SLACK, (metric, pair)

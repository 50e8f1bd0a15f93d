"""Gaps between groups: Newcombe's published example, bootstraps, and the fairness gaps as Fairlearn counts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from healthfm import evaluate_predictions
from healthfm.score.statistics import of_counts, of_mean
from healthfm.score.statistics.subgroups import fairness, gap
from healthfm.score.statistics.widest import rate

PARITY, ODDS = 0.3, 0.35  # fairlearn 0.15, for the rows of its test


def test_the_gap_of_two_proportions_is_newcombes_published_one() -> None:
    """56/70 against 48/80, method 10: 0.0524 to 0.3339 (Newcombe 1998, table II, example a)."""
    hits = np.repeat([1, 0, 1, 0], [56, 14, 48, 32])
    found = gap(of_mean("accuracy", hits), np.arange(150) < 70, [None] * 150, 0)
    assert found is not None
    value, interval = found
    assert value == pytest.approx(0.2)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.0524, 0.3339)
    assert "Newcombe" in interval.method


def test_the_gap_of_other_metrics_is_bootstrapped_as_the_t_interval_would_have_it() -> None:
    """Means of 400 and 600 normal values: the standard error of their difference is known."""
    rng = np.random.default_rng(0)
    values, group = rng.standard_normal(1_000), np.arange(1_000) < 400
    mean = of_counts("mean", 1_000, lambda c: (c @ values) / c.sum(axis=1))
    found = gap(mean, group, [None] * 1_000, 0)
    assert found is not None
    value, interval = found
    assert value == pytest.approx(values[group].mean() - values[~group].mean())
    error = np.sqrt(values[group].var() / 400 + values[~group].var() / 600)
    assert (interval.low, interval.high) == pytest.approx((value - 1.96 * error, value + 1.96 * error), abs=0.012)


def test_the_gap_follows_patients_that_repeat() -> None:
    hits = np.repeat(np.random.default_rng(0).random(100) < 0.6, 4)
    group = np.arange(400) < 200
    alone, together = (
        gap(of_mean("accuracy", hits), group, patients, 0) for patients in ([None] * 400, [i // 4 for i in range(400)])
    )
    assert alone is not None and together is not None and "patient-clustered" in together[1].method
    assert (together[1].high - together[1].low) / (alone[1].high - alone[1].low) == pytest.approx(2, rel=0.1)  # sqrt(4)


def test_the_table_gives_value_interval_gap_and_a_mark_for_small_groups() -> None:
    table: dict[str, Any] = {
        "id": range(100), "target": ["a", "b"] * 50, "prediction": ["a"] * 60 + ["a", "b"] * 20,
        "subgroup.site": ["x"] * 60 + ["y"] * 30 + ["z"] * 10,
    }  # fmt: skip
    x, y, z = evaluate_predictions(table, "binary").scores["subgroups"]["site"]
    assert [(one["group"], one["n"], one["metric"], one["too_few"]) for one in (x, y, z)] == [
        ("x", 60, "accuracy", False), ("y", 30, "accuracy", False), ("z", 10, "accuracy", True),
    ]  # fmt: skip
    assert (x["value"], y["value"], z["value"]) == (0.5, 1, 1)
    assert (x["gap"], y["gap"]) == pytest.approx((0.5 - 1, 1 - 40 / 70))
    assert x["gap_low"] < x["gap"] < x["gap_high"] < 0 < y["gap_low"]


def test_a_single_group_has_no_gap() -> None:
    table = {"id": range(30), "target": ["a", "b"] * 15, "prediction": ["a"] * 30, "subgroup.site": ["x"] * 30}
    [only] = evaluate_predictions(table, "binary").scores["subgroups"]["site"]
    assert (only["gap"], only["gap_low"], only["gap_high"]) == (None, None, None)


def test_a_group_without_positives_has_no_auroc() -> None:
    rng = np.random.default_rng(0)
    labels = [["c"] if i % 3 == 0 and i < 60 else [] for i in range(90)]
    scores = rng.random((90, 1))
    table = {
        "id": range(90), "target": labels, "options": [["c"]] * 90, "probabilities": scores,
        "subgroup.site": ["x"] * 60 + ["y"] * 30,
    }  # fmt: skip
    x, y = evaluate_predictions(table, "multi-label").scores["subgroups"]["site"]
    assert x["metric"] == "macro_auroc" and 0 < x["low"] < x["value"] < x["high"] < 1 and x["gap"] is None
    assert (y["value"], y["low"], y["high"], y["gap"]) == (None, None, None, None)


def test_fairness_gaps_equal_fairlearns() -> None:
    """``demographic_parity_difference`` and ``equalized_odds_difference`` of these 90 rows."""
    rng = np.random.default_rng(4)
    groups = ["a"] * 30 + ["b"] * 40 + ["c"] * 20
    truth = rng.random(90) < 0.5
    chosen = rng.random(90) < np.where(truth, 0.7, 0.3) + np.repeat([0, 0.1, -0.1], [30, 40, 20])
    found = fairness(truth, chosen, [*groups], [None] * 90)
    assert found["demographic_parity"]["value"] == pytest.approx(PARITY)
    assert found["equalised_odds"]["value"] == pytest.approx(ODDS)
    assert found["demographic_parity"]["low"] < PARITY < found["demographic_parity"]["high"]
    small = fairness(truth[:80], chosen[:80], groups[:80], [None] * 80)
    assert small["groups"] == ["a", "b"]
    assert fairness(truth[:30], chosen[:30], groups[:30], [None] * 30)["demographic_parity"] is None


def made(seed: int, effect: float, rows: int = 4) -> dict[str, Any]:
    """Fairness of two groups of 30 patients, whose sensitivity differs by ``effect`` and nothing else does."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(60), rows)
    truth = (rng.random(60) < 0.5)[who]
    first = who < 30
    chosen = rng.random(len(who)) < np.where(truth, 0.9 - effect * first, 0.1)
    return fairness(
        truth, chosen, ["a" if one else "b" for one in first], [None] * len(who) if rows == 1 else who.tolist()
    )


@pytest.mark.parametrize("rows", [1, 4])
def test_where_groups_do_not_differ_the_gap_is_not_said_to_be_above_0(rows: int) -> None:
    """A bootstrap's intervals left 0 out of most such sets, and of two in thirty even their own estimate."""
    above = 0
    for seed in range(60):
        for name in ("equalised_odds", "demographic_parity"):
            one = made(seed, 0.0, rows)[name]
            assert 0 <= one["low"] <= one["value"] <= one["high"] <= 1
            above += one["low"] > 0
    assert above <= 12  # 5 % of 120 are 6


def test_a_large_gap_between_groups_is_found_and_its_size_is_in_the_interval() -> None:
    found = [made(seed, 0.5)["equalised_odds"] for seed in range(20)]
    assert all(0.05 < one["low"] < one["high"] < 0.95 for one in found)
    assert sum(one["low"] < 0.5 < one["high"] for one in found) >= 18
    assert all("whole patients (60) bear out" in one["method"] for one in found)


def test_two_groups_without_patients_have_newcombes_interval_of_their_difference() -> None:
    """56/70 against 48/80 again, as the share chosen of two groups."""
    chosen = np.repeat([True, False, True, False], [56, 14, 48, 32])
    found = fairness(np.arange(150) % 2 == 0, chosen, ["a"] * 70 + ["b"] * 80, [None] * 150)["demographic_parity"]
    assert (round(found["low"], 4), found["value"], round(found["high"], 4)) == (0.0524, pytest.approx(0.2), 0.3339)


def test_rows_of_a_patient_that_are_all_alike_count_once() -> None:
    hits = np.repeat(np.random.default_rng(0).random(80) < 0.6, 5)
    repeated, alone = rate(hits, np.arange(400) // 5), rate(hits[::5])
    assert repeated is not None and alone is not None
    assert repeated.size == pytest.approx(alone.size, rel=0.03) and repeated.value == alone.value

"""Metrics in plain words, and the scales that plots are drawn on."""

from __future__ import annotations

import pytest

from healthfm.report.svg import Axis, bar, covering
from healthfm.report.words import WORDS, big_span, chance, interval, number, sentence, span, word
from tests.report.made import KINDS, of_kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_metric_has_words(kind: str) -> None:
    scores = of_kind(kind, 40).scores
    names = {*scores["metrics"], *(name for one in scores["per_class"].values() for name in one)}
    assert names <= set(WORDS)


@pytest.mark.parametrize("kind", KINDS)
def test_words_and_statistics_agree_on_what_is_better(kind: str) -> None:
    from healthfm.score.scoring import statistics_of

    run = of_kind(kind, 40)
    for name, one in statistics_of(run.predictions, kind, run.facts["classes"]).items():
        best, worst = word(name.partition("/")[0]).best, word(name.partition("/")[0]).worst
        upside_down = best is not None and best < (best + 1 if worst is None and name != "r2" else worst or 0)
        assert upside_down == one.lower_is_better, name


def test_numbers_are_short_and_a_missing_one_is_a_dash() -> None:
    assert [number(one) for one in (0.12345, 12.3, 1234.5, None, float("nan"))] == [
        "0.123",
        "12.300",
        "1,234",
        "-",
        "-",
    ]
    assert number(0.5, signed=True) == "+0.500"
    assert span({"value": None, "low": None, "high": None}) == span({"gap": None}, "gap") == "-"
    bare = {"value": 1.0, "low": None, "high": None}
    assert span(bare) == interval(bare) == big_span("accuracy", bare) == "no interval"
    assert "there is no interval" in sentence("accuracy", bare | {"n": 8}, "row")
    assert interval({"low": -0.1, "high": 1234.5}, signed=True) == "[-0.100, +1,234]"
    assert [chance(one) for one in (0.0004, 0.0312, None)] == ["< 0.001", "0.031", "-"]


def test_a_share_is_said_in_people_and_another_metric_in_its_values() -> None:
    one = {"value": 0.614, "low": 0.55, "high": 0.68, "level": 0.95, "n": 200}
    said = sentence("accuracy", one, "question")
    assert (
        "Of 100 questions like these, about 61" in said
        and "With 200 questions looked at, anything from 55 to 68" in said
    )
    assert "anything from 0.550 to 0.680" in sentence("auroc", one, "row")
    assert word("a_metric_of_tomorrow").label == "a-metric-of-tomorrow"


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-3, 120, [0, 50, 100]), (0.71, 0.79, [0.72, 0.74, 0.76, 0.78])],
)
def test_ticks_are_round_numbers_within_the_axis(low: float, high: float, ticks: list[float]) -> None:
    assert Axis("", low, high).ticks() == pytest.approx(ticks)


def test_an_axis_covers_its_values_and_equal_ones_too() -> None:
    axis = covering([0.2, 0.4], around=0)
    assert axis.low < 0 and axis.high > 0.4
    flat = covering([3.0, 3.0])
    assert flat.low < 3 < flat.high
    assert covering([]).low < covering([]).high


def test_a_bar_stands_where_its_numbers_say() -> None:
    drawn = bar(Axis(""), 0.5, 0.25, 0.75, 1.0)
    assert 'd="M53 9H147"' in drawn and 'cx="100"' in drawn and 'd="M194 0V18"' in drawn
    assert "circle" not in bar(Axis(""), None, None, None)

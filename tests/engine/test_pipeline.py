"""Stages that overlap: results in order, a bounded number in flight, errors where their result would have been."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from healthfm.engine.pipeline import Clock, ordered, stage


def test_results_come_in_the_order_of_the_items_however_long_each_takes() -> None:
    waits = [0.02, 0.0, 0.01, 0.0, 0.015, 0.0]

    def work(i: int) -> int:
        time.sleep(waits[i])
        return i * i

    assert list(ordered(work, range(6), threads=3, ahead=6)) == [0, 1, 4, 9, 16, 25]


def test_no_more_items_are_taken_than_the_window_holds_while_the_sink_is_slow() -> None:
    taken = []

    def items() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    for number, _ in enumerate(ordered(lambda i: i, items(), threads=2, ahead=5)):
        assert len(taken) <= number + 5
    assert len(taken) == 100


def test_two_stages_work_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=5)

    def read(i: int) -> int:
        if i == 1:
            both.wait()  # passes only while the other stage has item 0
        return i

    def compute(i: int) -> int:
        if i == 0:
            both.wait()
        return i

    assert list(ordered(compute, ordered(read, range(4), threads=1, ahead=2), threads=1, ahead=1)) == [0, 1, 2, 3]


def test_an_error_is_raised_in_its_place_and_what_has_not_begun_is_dropped() -> None:
    begun = []

    def work(i: int) -> int:
        begun.append(i)
        if i == 2:
            raise ValueError("two")
        return i

    found = []
    with pytest.raises(ValueError, match="two"):
        for value in ordered(work, range(1000), threads=1, ahead=4):
            found.append(value)
    assert found == [0, 1]
    assert len(begun) < 10


def test_a_report_has_each_stages_time_share_and_rate_by_itself() -> None:
    clock = Clock()
    with clock.stage("read", units=10):
        time.sleep(0.02)
    with clock.stage("model", units=10):
        time.sleep(0.06)
    report = clock.report({"read": 2})
    read, model = report["stages"]["read"], report["stages"]["model"]
    assert read["units"] == model["units"] == 10
    assert read["share"] + model["share"] == pytest.approx(1)
    assert model["seconds"] > read["seconds"] >= 0.02
    assert read["alone_per_second"] == pytest.approx(2 * 10 / read["seconds"])
    assert report["wall_seconds"] >= 0.08


def test_what_fails_costs_a_stage_its_time_and_counts_as_nothing_and_the_work_may_say_how_much_it_was() -> None:
    clock = Clock()
    with pytest.raises(ValueError), clock.stage("decode", units=3):
        time.sleep(0.01)
        raise ValueError
    assert clock.report({})["stages"]["decode"]["units"] == 0
    with clock.stage("decode") as done:
        done.units = 91
    decode = clock.report({})["stages"]["decode"]
    assert decode["units"] == 91 and decode["seconds"] >= 0.01


@pytest.mark.parametrize("how", ["an error", "the sink stops"])
def test_what_was_handed_in_and_not_begun_is_never_begun(how: str) -> None:
    """One thread, held at its second item while the window fills: what waits behind it is cancelled, not worked off at the end."""
    begun, full = [], threading.Event()

    def items() -> Iterator[int]:
        for i in range(10):
            if i == 7:
                full.set()
            yield i

    def work(i: int) -> int:
        begun.append(i)
        if i == 1:
            assert full.wait(5)
            time.sleep(0.02)
            if how == "an error":
                raise ValueError("one")
        if i > 1:
            time.sleep(0.02)
        return i

    found = ordered(work, items(), threads=1, ahead=8)
    if how == "an error":
        with pytest.raises(ValueError, match="one"):
            list(found)
    else:
        assert next(found) == 0
        found.close()  # type: ignore[attr-defined]
    assert set(begun) <= {0, 1, 2, 3}


def test_what_a_stage_inside_another_takes_counts_as_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, now = Clock(), [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def work(seconds: float) -> None:
        now[0] += seconds

    with clock.stage("preprocess") as outer:
        work(1)
        with stage("decode", 0) as inner:
            work(5)
            inner.units = 3
        work(2)
        outer.units = 2
    with stage("decode"):  # nobody times this
        work(100)
    stages = clock.report({})["stages"]
    assert {name: (one["units"], one["seconds"]) for name, one in stages.items()} == {
        "preprocess": (2, 3.0), "decode": (3, 5.0),
    }  # fmt: skip

"""Cohorts: who is a sample, what is shown of them, what came of them; nothing after the moment of foretelling enters."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from healthfm.datasets import cohorts
from healthfm.datasets.open import open_dataset
from healthfm.records import Stay, Timeline
from healthfm.records.timeline import COLUMNS
from healthfm.score.tasks import TASKS
from tests.datasets import hospital
from tests.real_files import elsewhere

START = datetime(2150, 1, 1, 8)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DATASETS = ("eicu-crdv2-0", "mimic-iii", "mimic-iv")


def timeline(*events: tuple[datetime | None, str], stays: tuple[Stay, ...] = (), **facts: str) -> Timeline:
    rows = [
        {**dict.fromkeys(COLUMNS), "time": when, "code": code, "table": "t", "day": False, "static": when is None, "visit": "h1"}
        for when, code in events
    ]  # fmt: skip
    kinds = {
        "time": pa.timestamp("us"),
        "end": pa.timestamp("us"),
        "value": pa.float64(),
        "day": pa.bool_(),
        "static": pa.bool_(),
    }
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    table = pa.Table.from_pylist(rows, schema)
    return Timeline(
        id="1",
        patient="p1",
        clock="shifted",
        load=lambda: table,
        stays=stays,
        facts={"anchor_age": "60", "anchor_year": "2150", **facts},
    )


def stays(hours: float = 60, died: bool = False, **unit: Any) -> tuple[Stay, ...]:
    end = START + hours * HOUR
    return (
        Stay(id="h1", kind="hospital", start=START - DAY, end=end + DAY, died=died),
        Stay(**{"id": "u1", "kind": "unit", "start": START, "end": end, "within": "h1", **unit}),
    )


def drawn(one: Timeline, dataset: str, task: str) -> tuple[list[tuple[Timeline, Any]], Counter[str]]:
    tally = cohorts.Drawn()
    cohort = cohorts.cohorts_of(dataset)[task]
    return list(cohorts.samples(one, cohort, task, tally)), tally.left


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_declared_cohort_is_a_task_that_is_asked_so(dataset: str) -> None:
    for task, cohort in cohorts.cohorts_of(dataset).items():
        assert TASKS[task].way == "cohort" and "test" in cohort.splits
        assert (TASKS[task].kind == "labels") == (cohort.label.of == "codes")


def test_what_happens_after_the_moment_does_not_enter() -> None:
    """The planted code stands one minute too late; the same code one minute earlier is counted, so it could have been."""
    cohort = cohorts.cohorts_of("mimic-iv")["in-hospital-mortality"]
    late, early = START + 48 * HOUR + timedelta(minutes=1), START + 48 * HOUR - timedelta(minutes=1)
    for when, counted in ((late, False), (early, True)):
        one = timeline(
            (None, "GENDER//F"),
            (START - HOUR, "LAB//1"),
            (START + HOUR, "LAB//1"),
            (when, "LEAK"),
            stays=stays(died=True),
        )
        [(sample, start)], _ = drawn(one, "mimic-iv", "in-hospital-mortality")
        counts = cohorts.counts_of(sample, start, cohort)
        assert ("first 48 h LEAK" in counts) == counted and ("LEAK" in sample.events["code"].to_pylist()) == counted
        assert counts["static GENDER//F"] == counts["before LAB//1"] == counts["first 48 h LAB//1"] == 1
        assert sample.labels == {"in-hospital-mortality": "died"}
        assert all(
            (stay.end, stay.died) == (None, None) for stay in sample.stays
        )  # nothing in the sample says how it ended


def test_who_is_no_sample_and_why() -> None:
    task = "in-hospital-mortality"
    assert drawn(timeline(stays=stays(hours=47.9)), "mimic-iv", task) == ([], Counter({"shorter than 48h": 1}))
    assert drawn(timeline(stays=stays(), anchor_age="17"), "mimic-iv", task)[1] == {"under 18 years": 1}
    assert drawn(timeline(stays=stays(), anchor_age="?"), "mimic-iv", task)[1] == {"of unknown age": 1}
    assert drawn(timeline(stays=stays(end=None)), "mimic-iv", task)[1] == {"without a start and an end in order": 1}
    two = (*stays(), Stay(id="u2", kind="unit", start=START + 5 * DAY, end=START + 8 * DAY, within="h1"))
    assert drawn(timeline(stays=two), "mimic-iv", task)[1] == {"of a hospital stay with several unit stays": 2}
    moved = stays(facts={"first_careunit": "MICU", "last_careunit": "SICU"})
    assert drawn(timeline(stays=moved), "mimic-iii", task)[1] == {"with a transfer between units": 1}
    unsaid = (Stay(id="h1", kind="hospital", start=START, end=START + 9 * DAY), *stays()[1:])
    assert drawn(timeline(stays=unsaid), "mimic-iv", task)[1] == {"nobody says how it ended": 1}
    assert len(drawn(timeline(stays=stays(hours=48)), "mimic-iv", task)[0]) == 1


@pytest.mark.parametrize(("hours", "label"), [(72, "3 days or less"), (72.1, "more than 3 days")])
def test_a_long_stay(hours: float, label: str) -> None:
    [(sample, _)], _ = drawn(timeline(stays=stays(hours=hours)), "mimic-iv", "length-of-stay")
    assert sample.labels == {"length-of-stay": label}


def test_a_return_within_thirty_days_of_the_discharge() -> None:
    def labels(days: float, died: bool = False) -> list[str]:
        first = Stay(id="h1", kind="hospital", start=START, end=START + DAY, died=died)
        again = Stay(id="h2", kind="hospital", start=first.end + days * DAY, end=START + 90 * DAY, died=False)  # type: ignore[operator]
        one = timeline((START + HOUR, "LAB//1"), (START + DAY, "DIAGNOSIS//ICD9CM//1"), stays=(first, again))
        found, left = drawn(one, "mimic-iv", "readmission")
        assert all(
            "DIAGNOSIS//ICD9CM//1" not in sample.events["code"].to_pylist() for sample, _ in found
        )  # coded for billing
        assert "LAB//1" in found[0][0].events["code"].to_pylist()
        return [*(str(sample.labels["readmission"]) for sample, _ in found), *left]

    assert labels(30) == ["returned", "no return"]
    assert labels(30.01) == ["no return", "no return"]
    assert labels(5, died=True) == ["no return", "ended in death"]


def test_ages_as_owners_say_them() -> None:
    assert cohorts.age_at({"age": "> 89"}, timedelta(0)) == 90 and cohorts.age_at({"age": "45"}, timedelta(0)) == 45
    assert cohorts.age_at({"anchor_age": "52", "anchor_year": "2180"}, datetime(2183, 1, 1)) == 55
    assert (
        cohorts.age_at({"dob": "1801-04-11 00:00:00"}, datetime(2101, 10, 20)) == 90
    )  # older than 89, shifted by 300 years
    assert cohorts.age_at({"dob": "2051-10-20 00:00:00"}, datetime(2101, 10, 20)) == pytest.approx(50, abs=0.1)
    assert cohorts.age_at({}, datetime(2101, 1, 1)) is None


def test_sides_by_patient_and_by_year() -> None:
    splits = cohorts.cohorts_of("mimic-iv")["in-hospital-mortality"].splits
    [(sample, _)], _ = drawn(
        timeline(stays=stays(), anchor_year_group="2014 - 2016"), "mimic-iv", "in-hospital-mortality"
    )
    assert cohorts.side_of(sample, splits["later"], 0) == "on"
    sides = Counter()
    for number in range(2000):
        one = Timeline(id=str(number), patient=f"p{number // 2}", clock="shifted", load=sample.load)
        sides[cohorts.side_of(one, splits["test"], 0)] += 1
        assert cohorts.side_of(one, splits["test"], 0) == cohorts.side_of(
            Timeline(id="x", patient=one.patient, clock="shifted", load=one.load), splits["test"], 0
        )
    assert 300 < sides["on"] < 500
    assert "later" not in cohorts.cohorts_of("mimic-iii")["in-hospital-mortality"].splits


def test_the_cohort_of_the_real_sample(proves_with: Any) -> None:
    folder = elsewhere("eicu_demo")
    cohort, tally = cohorts.cohorts_of("eicu-crdv2-0")["in-hospital-mortality"], cohorts.Drawn()
    found = [
        s
        for one in open_dataset("eicu-crdv2-0:demo-sample", folder)
        for s, _ in cohorts.samples(one, cohort, "in-hospital-mortality", tally)
    ]  # type: ignore[arg-type]
    assert (len(found), tally.stays) == (94, 174)
    assert Counter(str(one.labels["in-hospital-mortality"]) for one in found) == {"survived": 90, "died": 4}
    assert tally.left == {
        "shorter than 24h": 62, "not the first of the hospital stay": 15, "under 18 years": 2, "nobody says how it ended": 1,
    }  # fmt: skip


def test_phenotypes_are_sets_of_billing_codes_that_the_sample_does_not_show() -> None:
    codes = ("DIAGNOSIS//ICD9CM//4280", "DIAGNOSIS//ICD9CM//4140", "DIAGNOSIS//ICD9CM//25000", "ITEM//4280")
    end = START + 60 * HOUR
    one = timeline((START + HOUR, "LAB//1"), *((end, code) for code in codes), stays=stays(end=end))
    [(sample, _)], _ = drawn(one, "mimic-iii", "phenotyping")
    assert sample.labels["phenotyping"] == {
        "Congestive heart failure; nonhypertensive", "Coronary atherosclerosis and other heart disease", "Diabetes mellitus without complication",
    }  # fmt: skip
    assert set(sample.events["code"].to_pylist()) == {
        "LAB//1",
        "ITEM//4280",
    }  # whoever dies in the unit is coded in its last minute
    # 41402 is a complication of a graft, no heart disease: only 4140 as a whole code is
    other = timeline((end, "DIAGNOSIS//ICD9CM//41402"), stays=stays(end=end))
    [(sample, _)], _ = drawn(other, "mimic-iii", "phenotyping")
    assert "Coronary atherosclerosis and other heart disease" not in sample.labels["phenotyping"]  # type: ignore[operator]
    assert len(cohorts.cohorts_of("mimic-iii")["phenotyping"].label.names) == 25


def test_mimic_iii_cohort_takes_the_old(tmp_path: Path) -> None:
    [one] = open_dataset("mimic-iii", hospital.mimic_iii(tmp_path, upper=True))
    assert isinstance(one, Timeline)
    [(sample, start)], left = drawn(one, "mimic-iii", "in-hospital-mortality")
    assert (sample.id, sample.labels, start) == (
        "211552",
        {"in-hospital-mortality": "survived"},
        datetime(2101, 10, 20, 19, 10),
    )
    assert not any(code.startswith("DIAGNOSIS//") for code in sample.events["code"].to_pylist()) and not left

"""A declared cohort, a baseline on counts, a report; another model's vectors on the same stays."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from healthfm.evaluate.runner import evaluate
from healthfm.report.run import Run
from tests.cli.command import run
from tests.datasets import hospital
from tests.real_files import elsewhere

TASK = "in-hospital-mortality"
MODULE = """
import numpy as np
class Count:
    def embed(self, items, output="pooled", batch_size="auto"):
        return np.array([[one.events.num_rows, one.as_text.count("LAB//lactate")] for one in items], dtype=np.float32)
"""


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred stays in eICU's layout: who dies has had lactate measured early, and a code of their own after the first day."""
    root = tmp_path_factory.mktemp("ward")
    draw = random.Random(3)
    patients, labs = [], []
    for number in range(200):
        dies, key = number % 3 == 0, str(100000 + number)
        patients.append({
            "patientunitstayid": key, "patienthealthsystemstayid": key, "uniquepid": f"p{number // 2}", "hospitalid": str(number % 4), "gender": "Male",
            "ethnicity": "Hispanic" if number % 2 else "Asian", "age": "60", "unitvisitnumber": "1", "unitdischargeoffset": "5000", "hospitaladmitoffset": "-60",
            "hospitaldischargeoffset": "6000", "hospitaldischargestatus": "Expired" if dies else "Alive", "unitdischargestatus": "Alive",
            "hospitaldischargeyear": "2014" if number < 100 else "2015",
        })  # fmt: skip
        for minute, name in [(draw.randrange(1440), draw.choice("abcde")) for _ in range(5)]:
            labs.append(
                {
                    "labid": "1",
                    "patientunitstayid": key,
                    "labresultoffset": str(minute),
                    "labname": name,
                    "labresult": "1",
                    "labresulttext": "1",
                }
            )
        if dies and number % 10:
            labs.append(
                {
                    "labid": "2",
                    "patientunitstayid": key,
                    "labresultoffset": "30",
                    "labname": "lactate",
                    "labresult": "4",
                    "labresulttext": "4",
                }
            )
        if dies:
            labs.append(
                {
                    "labid": "3",
                    "patientunitstayid": key,
                    "labresultoffset": "1441",
                    "labname": "leak",
                    "labresult": "1",
                    "labresulttext": "1",
                }
            )
    hospital.table(root, "eicu", "patient", patients)
    hospital.table(root, "eicu", "lab", labs)
    return root


@pytest.fixture(scope="module")
def counted(ward: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return evaluate(
        "baseline:counts", "eicu-crdv2-0", root=ward, task=TASK, output=tmp_path_factory.mktemp("counted") / "run"
    )


def test_the_baseline_learns_from_early_codes_and_never_sees_later_ones(counted: Run) -> None:
    made, table = counted, counted.predictions
    assert table.num_rows == 70 and set(table["target"].to_pylist()) == {"survived", "died"}
    assert (
        0.85 < made.metrics["auroc"]["value"] < 1
    )  # one in ten of those who die had no lactate: with the planted code it would be 1
    fitted = json.loads((made.path / "run.json").read_text())["fitted"]
    names = [name for name, _ in fitted["heaviest"]["died"]]
    assert names[0] == "first 24 h LAB//lactate" and not any("leak" in name or "DISCHARGE" in name for name in names)
    held, fit = set(table["patient"].to_pylist()), made.facts["request"]["fitted_on"]
    assert fit == 200 - 70 and len(held) == 35
    said = " ".join(made.facts["notices"])
    assert "cohort: 200 of 200 stays; 33.5% 'died'; no count was published for it" in said
    page = made.report().read_text(encoding="utf-8")
    assert "in-hospital-mortality" in page and "no count was published for it" in page


def test_a_run_repeats_itself_and_goes_on_where_it_stopped(ward: Path, counted: Run) -> None:
    whole = (counted.path / "predictions" / "part-00000.parquet").read_bytes()
    (counted.path / "predictions" / "part-00000.parquet").unlink()
    again = evaluate("baseline:counts", "eicu-crdv2-0", root=ward, task=TASK, output=counted.path)
    assert again.predictions.equals(counted.predictions)
    assert (counted.path / "predictions" / "part-00000.parquet").read_bytes() == whole


def test_a_split_in_time_where_years_are_true(ward: Path, tmp_path: Path) -> None:
    made = evaluate("baseline:counts", "eicu-crdv2-0", root=ward, task=TASK, split="later", output=tmp_path / "run")
    assert (made.predictions.num_rows, made.facts["request"]["fitted_on"]) == (100, 100)
    assert "fitted on hospitaldischargeyear 2014, held out 2015" in made.facts["notices"]


def test_a_patient_on_both_sides_is_only_evaluated(ward: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    both = {"uniquepid": "p", "hospitalid": "1", "gender": "Male", "age": "60", "unitvisitnumber": "1", "unitdischargeoffset": "5000",
            "hospitaladmitoffset": "0", "hospitaldischargeoffset": "6000"}  # fmt: skip
    rows = [
        {**both, "patientunitstayid": str(n), "patienthealthsystemstayid": str(n), "uniquepid": "p" if n in (1, 9) else f"q{n}",
         "hospitaldischargeyear": "2014" if n < 6 else "2015", "hospitaldischargestatus": "Expired" if n % 2 else "Alive"}
        for n in range(1, 11)
    ]  # fmt: skip
    hospital.table(root, "eicu", "patient", rows)
    made = evaluate("baseline:counts", "eicu-crdv2-0", root=root, task=TASK, split="later", output=tmp_path / "run")
    assert (made.predictions.num_rows, made.facts["request"]["fitted_on"]) == (5, 4)
    assert "1 patients stand on both sides and are only evaluated" in made.facts["notices"]


def test_a_model_of_ones_own_is_asked_on_the_same_stays(
    ward: Path, counted: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_of_timelines.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    made = evaluate("python:mine_of_timelines:Count", "eicu-crdv2-0", root=ward, task=TASK, output=tmp_path / "run")
    assert made.predictions["id"].equals(counted.predictions["id"]) and made.predictions["target"].equals(
        counted.predictions["target"]
    )
    assert made.metrics["auroc"]["value"] > 0.85


def test_the_real_sample_ends_in_a_report(tmp_path: Path) -> None:
    root = elsewhere("eicu_demo")
    done = run(
        "evaluate",
        "baseline:counts",
        "eicu-crdv2-0:demo-sample",
        "--root",
        root,
        "--task",
        "length-of-stay",
        "--output",
        tmp_path / "run",
    )
    assert done.returncode == 0, done.stderr
    assert "cohort: 95 of 174 stays" in done.stdout and (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    ("model", "dataset", "more", "said"),
    [
        ("baseline:counts", "eicu-crdv2-0", ("--task", "readmission"), "no cohort is declared for readmission (it has: in-hospital-mortality, length-of-stay)"),
        ("baseline:counts", "eicu-crdv2-0", ("--task", TASK, "--split", "tomorrow"), "has no split 'tomorrow' (it has: test, later)"),
        ("baseline:guess", "eicu-crdv2-0", ("--task", TASK), "no baseline is called so (baselines: counts, "),
        ("baseline:counts", "eicu-crdv2-0", ("--task", TASK, "--weights", "x"), "weights is for rows of the catalogue"),
        ("baseline:counts", "eicu-crdv2-0", ("--task", TASK, "--shots", "2"), "takes no number of examples"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_in_a_line(
    ward: Path, tmp_path: Path, model: str, dataset: str, more: tuple[str, ...], said: str
) -> None:
    done = run("evaluate", model, dataset, "--root", ward, *more, "--output", tmp_path / "run")
    assert done.returncode != 0 and said in done.stderr.replace("\n", " ") and "Traceback" not in done.stderr


def test_phenotypes_of_mimic_iii_are_several_at_once(tmp_path: Path) -> None:
    root = tmp_path / "mimic"
    patients, admissions, icustays, diagnoses, labs = [], [], [], [], []
    for number in range(60):
        key, who = {"subject_id": str(number), "hadm_id": str(1000 + number)}, {"row_id": str(number)}
        patients.append({"subject_id": str(number), "gender": "F", "dob": "2050-01-01 00:00:00", "expire_flag": "0"})
        admissions.append(
            {
                **who,
                **key,
                "admittime": "2100-01-01 00:00:00",
                "dischtime": "2100-01-09 00:00:00",
                "admission_type": "URGENT",
                "hospital_expire_flag": "0",
            }
        )
        icustays.append({**who, **key, "icustay_id": str(9000 + number), "first_careunit": "MICU", "last_careunit": "MICU", "first_wardid": "1", "last_wardid": "1",
                         "intime": "2100-01-02 00:00:00", "outtime": "2100-01-05 00:00:00"})  # fmt: skip
        heart, sugar = number % 2 == 0, number % 3 == 0
        diagnoses += [
            {**key, "seq_num": "1", "icd9_code": code}
            for code, held in (("4280", heart), ("25000", sugar), ("4019", True))
            if held
        ]
        labs += [
            {**key, "itemid": item, "charttime": "2100-01-02 05:00:00", "value": "1", "valuenum": "1"}
            for item, held in (("1", heart), ("2", sugar), ("3", True))
            if held
        ]
    for name, rows in (
        ("patients", patients),
        ("admissions", admissions),
        ("icustays", icustays),
        ("diagnoses_icd", diagnoses),
        ("labevents", labs),
    ):
        hospital.table(root, "mimic-iii", name, rows, upper=True)
    made = evaluate("baseline:counts", "mimic-iii", root=root, task="phenotyping", output=tmp_path / "run")
    table = made.predictions.to_pylist()
    assert 0 < len(table) < 30 and all(len(row["probabilities"]) == 25 for row in table)
    assert all(
        row["prediction"] == row["target"] for row in table
    )  # each group has a test of its own, and essential hypertension is everyone's
    said = " ".join(made.facts["notices"])
    assert "published: 41,902 samples" in said and "every patient's dates are shifted by their own amount" in said

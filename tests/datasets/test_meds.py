"""Timelines out as MEDS, by the schema of the meds package; OMOP tables in."""

from __future__ import annotations

import itertools
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import meds as standard
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from healthfm.datasets import meds
from healthfm.datasets.open import open_dataset
from healthfm.errors import DatasetError
from healthfm.records import Timeline
from healthfm.records.timeline import COLUMNS
from tests.cli.command import run
from tests.datasets import hospital


def held(folder: Path) -> list[dict[str, Any]]:
    """Return all events, after holding every file against the standard's schema, and the order and place of every subject."""
    found: list[dict[str, Any]] = []
    places: dict[int, Path] = {}
    splits = pq.read_table(folder / standard.subject_splits_filepath)
    standard.SubjectSplitSchema.validate(splits)
    side = dict(zip(splits["subject_id"].to_pylist(), splits["split"].to_pylist(), strict=True))
    for file in sorted((folder / standard.data_subdirectory).rglob("*.parquet")):
        table = pq.read_table(file)
        standard.DataSchema.validate(table)
        rows = table.to_pylist()
        for subject in dict.fromkeys(row["subject_id"] for row in rows):
            assert places.setdefault(subject, file) == file and file.parent.name == side[subject]
            times = [row["time"] for row in rows if row["subject_id"] == subject]
            dated = [one for one in times if one is not None]
            assert dated == sorted(dated) and times[: len(times) - len(dated)] == [None] * (len(times) - len(dated))
        subjects = [row["subject_id"] for row in rows]
        assert len(set(subjects)) == 1 + sum(a != b for a, b in itertools.pairwise(subjects))
        found += rows
    codes = pq.read_table(folder / standard.code_metadata_filepath)
    standard.CodeMetadataSchema.validate(codes)
    assert set(codes["code"].to_pylist()) == {row["code"] for row in found}
    standard.DatasetMetadataSchema.validate(json.loads((folder / standard.dataset_metadata_filepath).read_text()))
    return found


def test_mimic_iv_as_meds(tmp_path: Path) -> None:
    said = meds.write(open_dataset("mimic-iv", hospital.mimic_iv(tmp_path / "in")), tmp_path / "out")
    rows = held(tmp_path / "out")
    one = next(row for row in rows if row["code"] == "LAB//50931")
    assert (one["subject_id"], one["time"], one["numeric_value"], one["unit"]) == (
        10000032,
        datetime(2180, 5, 6, 23),
        115.0,
        "mg/dL",
    )
    assert next(row for row in rows if row["code"] == "LAB//51237")["text_value"] == ">19.2"
    names = pq.read_table(tmp_path / "out" / "metadata" / "codes.parquet").to_pylist()
    assert next(one for one in names if one["code"] == "LAB//50931")["description"] == "Glucose, Blood, Chemistry"
    assert all(row["time"] is not None for row in rows if not row["code"].startswith("GENDER//"))
    assert (
        "1 events without a time are left out" in said
    )  # MEDS would take a lab without a time for a fact that was always known
    assert len([row for row in rows if row["code"].startswith("LAB//")]) == 2


def test_subjects_fill_several_files_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meds, "SHARD", 3)
    meds.write(open_dataset("eicu-crdv2-0", hospital.eicu(tmp_path / "in")), tmp_path / "out")
    rows = held(tmp_path / "out")
    assert {row["subject_id"] for row in rows} == {141764, 141765, 200000}
    assert next(row for row in rows if row["code"] == "LAB//PTT")["time"] == datetime(
        1970, 1, 1, 1
    )  # an hour after the timeline's zero
    splits = pq.read_table(tmp_path / "out" / "metadata" / "subject_splits.parquet").to_pylist()
    assert (
        len({one["split"] for one in splits if one["subject_id"] in (141764, 141765)}) == 1
    )  # two stays of one person


def test_read_to_meds_by_the_command_line(tmp_path: Path) -> None:
    root = hospital.eicu(tmp_path / "in")
    done = run("read", "eicu-crdv2-0", "--root", root, "--to", "meds", "--output", tmp_path / "out")
    assert done.returncode == 0 and "events of 3 subjects" in done.stderr and held(tmp_path / "out")
    again = run("read", "eicu-crdv2-0", "--root", root, "--to", "meds", "--output", tmp_path / "out")
    assert again.returncode != 0 and "not empty" in again.stderr
    assert run("read", "eicu-crdv2-0", "--root", root, "--to", "meds").returncode != 0


def test_other_records_are_no_subjects(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("id,text\n1,hello\n")
    with pytest.raises(DatasetError, match="MEDS holds timelines, and its records are Documents"):
        meds.write(open_dataset(tmp_path / "q.csv"), tmp_path / "out")


def omop(folder: Path) -> Path:
    """A person with two measurements, one of which has only a day; the vocabulary is separated by tabs, as it comes."""
    person = {
        "person_id": "7",
        "gender_concept_id": "8532",
        "year_of_birth": "1950",
        "birth_datetime": "1950-03-01 00:00:00",
        "race_concept_id": "8527",
        "care_site_id": "3",
    }
    hospital.table(folder, "omop", "person", [person], packed=False, upper=True)
    visit = {
        "visit_occurrence_id": "1",
        "person_id": "7",
        "visit_concept_id": "9201",
        "visit_start_date": "2020-01-01",
        "visit_end_date": "2020-01-05",
    }
    hospital.table(folder, "omop", "visit_occurrence", [visit], packed=False)
    taken = {
        "person_id": "7",
        "measurement_concept_id": "3004249",
        "unit_source_value": "mmHg",
        "visit_occurrence_id": "1",
    }
    hospital.table(folder, "omop", "measurement", [
        {**taken, "measurement_id": "1", "measurement_date": "2020-01-02", "measurement_datetime": "2020-01-02T08:30:00.000", "value_as_number": "120.5", "value_source_value": "120.5"},
        {**taken, "measurement_id": "2", "measurement_date": "2020-01-03", "value_source_value": "high"},
    ], packed=False)  # fmt: skip
    (folder / "CONCEPT.csv").write_text(
        "concept_id\tconcept_name\tvocabulary_id\tconcept_code\n3004249\tSystolic blood pressure\tLOINC\t8480-6\n"
    )
    return folder


def test_omop_tables_of_ones_own_are_timelines(tmp_path: Path) -> None:
    opened = open_dataset(omop(tmp_path / "cdm"))
    [one] = opened
    assert isinstance(one, Timeline) and opened.card.access == "own" and opened.errors == []
    assert (one.id, one.site, one.clock, one.facts["year_of_birth"]) == ("7", "3", "dates", "1950")
    first, second = [row for row in one.events.to_pylist() if row["table"] == "measurement"]
    assert (first["time"], first["value"], first["unit"], first["visit"], first["day"]) == (
        datetime(2020, 1, 2, 8, 30),
        120.5,
        "mmHg",
        "1",
        False,
    )
    assert (second["time"], second["value"], second["text"], second["day"]) == (
        datetime(2020, 1, 3),
        None,
        "high",
        True,
    )
    assert one.name_of("CONCEPT//3004249") == "Systolic blood pressure (LOINC 8480-6)"
    [stay] = one.stays
    assert (stay.start, stay.end) == (datetime(2020, 1, 1), datetime(2020, 1, 5, 23, 59, 59))
    meds.write(opened, tmp_path / "out")
    assert len(held(tmp_path / "out")) == 6


def test_what_waits_for_its_file_keeps_nothing_else_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One patient of a bucket of a thousand may wait long: the thousand must not wait with them."""
    monkeypatch.setattr(meds, "LOOSE", 100)
    shards, before = meds._Shards(tmp_path), pa.total_allocated_bytes()
    for number in range(20):
        kinds = {"time": pa.timestamp("us"), "static": pa.bool_()}
        bucket = pa.table(
            {
                name: pa.array([None if name != "static" else False] * 20_000, kinds.get(name, pa.string()))
                for name in COLUMNS
            }
        )
        part = bucket.slice(100, 50)
        shards.add(
            Timeline(id=str(number), split="train", patient=str(number), clock="dates", load=lambda part=part: part),
            "held_out",
        )  # fmt: skip
        del bucket, part
    assert len(shards.subjects) == 20 and pa.total_allocated_bytes() - before < 3 << 20

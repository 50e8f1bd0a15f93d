"""Hospital databases as timelines: nothing dropped in silence, codes and units as written, times as given, the future kept out."""

from __future__ import annotations

import csv
import gzip
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from healthfm.datasets.ehr import database, spill
from healthfm.datasets.ehr.layout import layout
from healthfm.datasets.open import open_dataset
from healthfm.errors import DatasetError
from healthfm.records import Timeline
from tests.datasets import hospital
from tests.real_files import elsewhere

SAMPLE = "eicu_demo/test-resources/core/eicudemo"
MINUTE = timedelta(minutes=1)


def timelines(name: str, root: Path, **more: Any) -> dict[str, Timeline]:
    found = {}
    for record in open_dataset(name, root, **more):
        assert isinstance(record, Timeline)
        found[record.id] = record
    return found


def events(timeline: Timeline, code: str = "") -> list[dict[str, Any]]:
    return [row for row in timeline.events.to_pylist() if row["code"].startswith(code)]


@pytest.mark.parametrize("database", sorted(hospital.COLUMNS))
def test_every_column_of_the_owners_tables_is_read_or_named_as_left_out(database: str) -> None:
    declared = layout(database)
    for table, columns in hospital.COLUMNS[database].items():
        if table in declared.tables():
            assert declared.known(table) == set(columns.split()), table
        else:
            assert table in {
                *declared.unread,
                *(one.table for one in declared.names),
                *(one.table for one in declared.stays),
            }, table


# eICU -----------------------------------------------------------------------------------------------------------------


@pytest.mark.evidence("eicu-crdv2-0", "sample", where="reference")
def test_the_demo_of_eicu_is_read_whole(proves_with: Any) -> None:
    folder = elsewhere(SAMPLE)
    proves_with(folder)
    opened = open_dataset("eicu-crdv2-0:demo-sample", folder.parents[2])
    found = {one.id: one for one in opened if isinstance(one, Timeline)}
    assert (len(found), len({one.patient for one in found.values()})) == (174, 100) and opened.errors == []
    seen: dict[str, int] = {}
    for one in found.values():
        for table in one.events["table"].to_pylist():
            seen[table] = seen.get(table, 0) + 1
    for table in ("admissionDx", "diagnosis", "lab", "medication", "physicalExam", "treatment"):
        with (folder / f"{table}.csv").open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        assert seen[table.lower()] == len(rows) == sum(one["patientunitstayid"] in found for one in rows)
    assert seen["lab"] == 29961
    with (folder / "lab.csv").open(newline="") as handle:
        row = next(one for one in csv.DictReader(handle) if one["labresulttext"] == ">200")
    [event] = [
        one for one in events(found[row["patientunitstayid"]], f"LAB//{row['labname']}") if one["text"] == ">200"
    ]
    assert (event["value"], event["unit"], event["time"]) == (
        None,
        row["labmeasurenamesystem"],
        int(row["labresultoffset"]) * MINUTE,
    )


@pytest.mark.evidence("eicu-crdv2-0", "layout")
def test_eicu_times_are_minutes_from_the_unit_admission(tmp_path: Path) -> None:
    found = timelines("eicu-crdv2-0", hospital.eicu(tmp_path))
    assert list(found) == ["141764", "141765", "200000"]
    first = found["141764"]
    assert (first.clock, first.patient, first.site, first.facts["age"]) == ("relative", "002-1039", "59", "> 89")
    labs = events(first, "LAB//")
    assert [(one["code"], one["time"] / MINUTE, one["value"], one["text"], one["unit"]) for one in labs] == [
        ("LAB//BUN", -120, 31.0, None, "mg/dL"), ("LAB//PTT", 60, None, ">200", "sec"), ("LAB//BUN", 1500, 40.0, None, None),
    ]  # fmt: skip
    assert '"labmeasurenameinterface":"MG/DL"' in labs[0]["more"]
    assert {(one["code"], one["value"]) for one in events(first, "VITAL//")} == {
        ("VITAL//heartrate", 88.0),
        ("VITAL//sao2", 97.0),
    }
    assert events(first, "DIAGNOSIS//")[0]["text"] == "995.91, A41.9"
    hospital_stay, unit = first.stays
    assert (hospital_stay.kind, hospital_stay.start, hospital_stay.died) == ("hospital", -8 * MINUTE, True)
    assert (unit.kind, unit.start, unit.end, unit.within, unit.died) == (
        "unit",
        timedelta(0),
        3000 * MINUTE,
        "129391",
        False,
    )


def test_what_eicu_writes_down_later_is_not_known_before(tmp_path: Path) -> None:
    """APACHE's result table holds the outcome and has no time of its own; "active upon discharge" stands beside an early time."""
    first = timelines("eicu-crdv2-0", hospital.eicu(tmp_path))["141764"]
    assert {one["time"] for one in events(first, "APACHE_RESULT//")} == {3000 * MINUTE}
    assert "activeupondischarge" not in events(first, "DIAGNOSIS//")[0]["more"]
    known = first.until(1440 * MINUTE)
    codes = set(known.events["code"].to_pylist())
    assert not any(one.startswith(("APACHE_RESULT//", "UNIT_DISCHARGE", "HOSPITAL_DISCHARGE")) for one in codes)
    assert max(one["time"] for one in known.events.to_pylist() if one["time"] is not None) <= 1440 * MINUTE
    assert all((one.end, one.died, one.facts) == (None, None, {}) for one in known.stays)
    assert "GENDER//Female" in codes and len(first.until(-200 * MINUTE).stays) == 0


# MIMIC-IV ---------------------------------------------------------------------------------------------------------------


@pytest.mark.evidence("mimic-iv", "layout")
@pytest.mark.parametrize("packed", [True, False])
def test_mimic_iv_keeps_codes_versions_and_units(tmp_path: Path, packed: bool) -> None:
    opened = open_dataset("mimic-iv", hospital.mimic_iv(tmp_path, packed))
    one, other = opened
    assert isinstance(one, Timeline) and isinstance(other, Timeline)
    assert (one.id, one.clock, one.facts["anchor_year_group"], other.id) == (
        "10000032",
        "shifted",
        "2014 - 2016",
        "10000048",
    )
    assert [(s.kind, s.id, s.within, s.died) for s in one.stays] == [
        ("hospital", "22595853", None, False), ("unit", "39553978", "22595853", None), ("hospital", "22841357", None, True),
    ]  # fmt: skip
    glucose, strange, undated = sorted(events(one, "LAB//"), key=lambda row: (row["time"] is None, row["time"]))
    assert (glucose["code"], glucose["value"], glucose["unit"], glucose["time"]) == (
        "LAB//50931",
        115.0,
        "mg/dL",
        datetime(2180, 5, 6, 23),
    )
    assert one.name_of("LAB//50931") == "Glucose, Blood, Chemistry" and one.name_of("ITEM//220045") == "Heart Rate"
    assert (strange["value"], strange["text"]) == (None, ">19.2")
    assert (undated["time"], undated["static"]) == (None, False)
    assert "labevents.csv: 1 events without a time" in opened.notices
    assert [row["code"] for row in events(one, "DIAGNOSIS//")] == [
        "DIAGNOSIS//ICD9CM//5723",
        "DIAGNOSIS//ICD10CM//K7290",
    ]
    assert one.name_of("DIAGNOSIS//ICD9CM//5723") == "Portal hypertension"
    [dose] = events(one, "PRESCRIPTION//")
    assert (dose["value"], dose["text"], dose["unit"], dose["end"]) == (None, "40-60", "mg", datetime(2180, 5, 11, 22))
    assert [row["code"] for row in events(other)] == ["GENDER//M"]


def test_billing_codes_of_mimic_stand_where_the_stay_ended(tmp_path: Path) -> None:
    one = timelines("mimic-iv", hospital.mimic_iv(tmp_path))["10000032"]
    ended = datetime(2180, 5, 10, 17, 15)
    assert (
        {row["time"] for row in events(one, "DIAGNOSIS//")}
        == {row["time"] for row in events(one, "PROCEDURE//")}
        == {ended}
    )
    codes = one.until(ended - MINUTE).events["code"].to_pylist()
    assert not any(code.startswith(("DIAGNOSIS//", "PROCEDURE//")) for code in codes)


def test_what_has_only_a_day_counts_once_the_day_is_over(tmp_path: Path) -> None:
    one = timelines("mimic-iv", hospital.mimic_iv(tmp_path))["10000032"]
    for code in ("OMR//", "MICROBIOLOGY//"):
        [row] = events(one, code)
        assert (row["time"], row["day"]) == (datetime(2180, 5, 8), True)
        assert events(one.until(datetime(2180, 5, 8, 23, 59)), code) == []
        assert len(events(one.until(datetime(2180, 5, 9)), code)) == 1


def test_of_what_lasts_the_end_is_not_known_before_it(tmp_path: Path) -> None:
    one = timelines("mimic-iv", hospital.mimic_iv(tmp_path))["10000032"].until(datetime(2180, 5, 9))
    assert events(one, "PRESCRIPTION//")[0]["end"] is None
    assert (
        events(one, "LAB//50931")[0]["time"] is not None and len(events(one, "LAB//")) == 2
    )  # the undated one is not known


def test_buckets_on_disk_give_the_same_timelines_as_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = hospital.mimic_iv(tmp_path)
    whole = {name: (one.digest(), one.stays) for name, one in timelines("mimic-iv", root).items()}
    monkeypatch.setattr(spill, "BUCKET", 1)
    made = spill.Spill(2, 2)
    with made:
        folder = Path(made._folder.name)
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    assert {name: (one.digest(), one.stays) for name, one in timelines("mimic-iv", root).items()} == whole


def test_notes_of_mimic_iv_come_from_a_project_of_their_own(tmp_path: Path) -> None:
    hospital.mimic_iv(tmp_path)
    note = {
        "note_id": "10000032-DS-21",
        "subject_id": "10000032",
        "hadm_id": "22595853",
        "note_type": "DS",
        "note_seq": "21",
    }
    text = 'Name: ___\n\nChief Complaint:\n"Worsening ABD distension"\n'
    hospital.table(
        tmp_path / "note", "mimic-iv", "discharge", [{**note, "charttime": "2180-05-07 00:00:00", "text": text}]
    )
    [row] = events(timelines("mimic-iv:note", tmp_path)["10000032"], "NOTE//")
    assert (row["text"], row["time"]) == (
        text,
        datetime(2180, 5, 10, 17, 15),
    )  # charted at midnight days before, known at discharge


# MIMIC-III --------------------------------------------------------------------------------------------------------------


@pytest.mark.evidence("mimic-iii", "layout")
@pytest.mark.parametrize("upper", [True, False])
def test_mimic_iii_reads_both_spellings_of_its_columns(tmp_path: Path, upper: bool) -> None:
    root = hospital.mimic_iii(tmp_path, upper)
    [one] = timelines("mimic-iii" if upper else "mimic-iii:demo", root).values()
    assert (one.id, one.patient, one.clock) == ("3", "3", "shifted")
    [lab] = events(one, "LAB//")
    assert (lab["code"], lab["value"], lab["unit"], one.name_of(lab["code"])) == (
        "LAB//50820",
        7.39,
        "units",
        "pH, Blood, Blood Gas",
    )
    assert [row["code"] for row in events(one, "DIAGNOSIS//")] == ["DIAGNOSIS//ICD9CM//0389", "DIAGNOSIS//ICD9CM//UNK"]
    notes = events(one, "NOTE//")
    if upper:
        assert (
            notes[0]["text"] == 'Pt is "stable",\n\nno pain.\n'
            and '"iserror":"1"' in notes[0]["more"]
            and notes[0]["day"]
        )
    assert bool(notes) == upper


# Damage -----------------------------------------------------------------------------------------------------------------


def test_an_event_of_nobody_is_an_error_that_says_how_many(tmp_path: Path) -> None:
    hospital.eicu(tmp_path)
    hospital.table(
        tmp_path,
        "eicu",
        "treatment",
        [{"patientunitstayid": "5", "treatmentoffset": "1", "treatmentstring": "secret"}] * 2,
    )
    with pytest.raises(
        DatasetError, match=r"treatment\.csv\.gz: 2 rows whose 'patientunitstayid' is not in patient\.csv"
    ) as caught:
        list(open_dataset("eicu-crdv2-0", tmp_path))
    assert "secret" not in str(caught.value)
    opened = open_dataset("eicu-crdv2-0", tmp_path, on_error="collect")
    assert len(list(opened)) == 3 and len(opened.errors) == 1


def test_a_time_that_cannot_be_read_is_an_error_and_the_event_stays(tmp_path: Path) -> None:
    hospital.eicu(tmp_path)
    hospital.table(
        tmp_path,
        "eicu",
        "treatment",
        [{"patientunitstayid": "141764", "treatmentoffset": "soon", "treatmentstring": "x"}],
    )
    opened = open_dataset("eicu-crdv2-0", tmp_path, on_error="collect")
    first = next(one for one in opened if isinstance(one, Timeline))
    list(opened)
    [event] = events(first, "TREATMENT//")
    assert event["time"] is None and event["code"] not in first.until(9000 * MINUTE).events["code"].to_pylist()
    assert "1 times in 'treatmentoffset' that cannot be read" in str(opened.errors[0]) and "soon" not in str(
        opened.errors[0]
    )


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    root = hospital.eicu(tmp_path)
    lab = root / "lab.csv.gz"
    whole = lab.read_bytes()

    def refused(reason: str) -> None:
        with pytest.raises(DatasetError, match=rf"lab\.csv\.gz: .*{reason}"):
            list(open_dataset("eicu-crdv2-0", root))

    lab.write_bytes(whole[: len(whole) // 2])
    refused("cut short")
    plain = gzip.decompress(whole)
    lab.write_bytes(gzip.compress(plain.replace(b"labname", b"name")))
    refused("needs the column 'labname'")
    lab.write_bytes(gzip.compress(plain + b"1,2,3\n"))
    refused("1 rows have not the header's 10 cells")
    lab.write_bytes(gzip.compress(plain + b'4,141764,1,1,"BUN,1,1,,,\n'))
    refused("never closed|cells")
    lab.write_bytes(gzip.compress(plain.replace(b"mg/dL", b"mg/\xffL")))
    refused("UTF-8")


def test_without_the_patients_nobody_can_be_told_apart(tmp_path: Path) -> None:
    (hospital.eicu(tmp_path) / "patient.csv.gz").unlink()
    with pytest.raises(DatasetError, match="no table patient"):
        list(open_dataset("eicu-crdv2-0", tmp_path))


def test_unknown_columns_and_tables_are_named(tmp_path: Path) -> None:
    root = hospital.eicu(tmp_path)
    lab = root / "lab.csv.gz"
    lab.write_bytes(gzip.compress(gzip.decompress(lab.read_bytes()).replace(b"labtypeid", b"labkind")))
    (root / "mine.csv").write_text("a,b\n1,2\n")
    opened = open_dataset("eicu-crdv2-0", root)
    list(opened)
    assert "lab.csv: columns that are not known and become nothing: labkind" in opened.notices
    assert ("mine.csv", "no table of this database") in opened.passed_over
    assert any("tables that are not here" in one and "vitalaperiodic" in one for one in opened.notices)
    assert any("lab.csv: 3 rows, the owner's has 39,132,531" in one for one in opened.notices)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_was_done_to_a_file_only_a_dataset_error_comes(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    roots = {"eicu-crdv2-0": hospital.eicu(tmp_path / "e"), "mimic-iv": hospital.mimic_iv(tmp_path / "m")}
    strange = (
        b"1e400",
        b"9" * 25,
        b"-",
        b"nan",
        b"inf",
        b'"',
        b",",
        b"\n",
        b"0000-00-00",
        b"99999-01-01 00:00:00",
        b"\xff",
        b"\0",
    )
    for number in range(12):
        name = list(roots)[number % 2]
        file = draw.choice(sorted(roots[name].rglob("*.csv.gz")))
        whole = file.read_bytes()
        raw = bytearray(gzip.decompress(whole))
        place = draw.randrange(len(raw))
        raw[place : place + draw.randrange(12)] = draw.choice(strange)
        file.write_bytes(gzip.compress(bytes(raw)))
        try:
            for one in open_dataset(name, roots[name], on_error="collect" if number % 4 < 2 else "raise"):
                assert one.digest() and one.as_text
        except DatasetError:
            pass
        file.write_bytes(whole)


def test_a_dictionary_without_its_columns_is_refused_by_name(tmp_path: Path) -> None:
    root = hospital.mimic_iv(tmp_path)
    names = root / "hosp" / "d_labitems.csv.gz"
    names.write_bytes(gzip.compress(gzip.decompress(names.read_bytes()).replace(b"fluid", b"flood")))
    with pytest.raises(DatasetError, match=r"d_labitems\.csv\.gz: it needs the column 'fluid'"):
        list(open_dataset("mimic-iv", root))


@pytest.mark.parametrize("far", [1, 1 << 40])  # the second is too far apart to be sorted by one number
def test_events_come_by_patient_those_without_a_time_first_and_equal_ones_as_they_stood(far: int) -> None:
    one, two = datetime(2100, 1, 1), datetime(2150, 1, 2)
    events = pl.DataFrame(
        {"_rank": [far, 0, far, 0, far], "time": [two, None, None, one, two], "n": [0, 1, 2, 3, 4]}
    ).with_columns(pl.col("time").cast(pl.Datetime("us")))
    assert database._in_order(events)["n"].to_list() == [1, 3, 2, 0, 4]
    assert database._in_order(events.filter(pl.col("time").is_null()))["n"].to_list() == [1, 2]

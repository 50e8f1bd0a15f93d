"""Miniatures of hospital databases in their official layouts: every column of ``tests/data/ehr/columns.toml``, which cites the owners."""

from __future__ import annotations

import csv
import gzip
import io
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.real_files import DATA

COLUMNS: dict[str, dict[str, str]] = tomllib.loads((DATA / "ehr" / "columns.toml").read_text(encoding="utf-8"))


def table(
    folder: Path, database: str, name: str, rows: Sequence[Mapping[str, object]], *, upper: bool = False, packed: bool = True, file: str = ""
) -> Path:  # fmt: skip
    """Write a table with all of its columns; what a row does not say is empty. ``file``: its name where the owner spells it otherwise."""
    columns = COLUMNS[database][name].split()
    assert not (strange := {key for row in rows for key in row} - set(columns)), strange
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([one.upper() if upper else one for one in columns])
    writer.writerows([row.get(one, "") for one in columns] for row in rows)
    path = folder / f"{file or (name.upper() if upper else name)}.csv{'.gz' if packed else ''}"
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = out.getvalue().encode()
    path.write_bytes(gzip.compress(raw) if packed else raw)
    return path


def eicu(root: Path) -> Path:
    """Two persons: one with two unit stays of one hospital stay, the second of which ends in death; one child."""
    common = {"hospitalid": "59", "hospitaldischargeyear": "2014", "gender": "Female", "ethnicity": "Caucasian"}
    table(root, "eicu", "patient", [
        {**common, "patientunitstayid": "141764", "patienthealthsystemstayid": "129391", "age": "> 89", "unitvisitnumber": "1", "unitdischargeoffset": "3000",
         "hospitaladmitoffset": "-8", "hospitaldischargeoffset": "9000", "hospitaldischargestatus": "Expired", "unitdischargestatus": "Alive", "uniquepid": "002-1039",
         "unittype": "Med-Surg ICU", "apacheadmissiondx": "Sepsis, pulmonary", "unitdischargelocation": "Floor", "hospitaldischargelocation": "Death"},
        {**common, "patientunitstayid": "141765", "patienthealthsystemstayid": "129391", "age": "> 89", "unitvisitnumber": "2", "unitdischargeoffset": "6000",
         "hospitaladmitoffset": "-3008", "hospitaldischargeoffset": "6000", "hospitaldischargestatus": "Expired", "unitdischargestatus": "Expired", "uniquepid": "002-1039"},
        {**common, "patientunitstayid": "200000", "patienthealthsystemstayid": "150000", "age": "17", "unitvisitnumber": "1", "unitdischargeoffset": "100",
         "hospitaladmitoffset": "0", "hospitaldischargeoffset": "200", "hospitaldischargestatus": "Alive", "unitdischargestatus": "Alive", "uniquepid": "002-2"},
    ])  # fmt: skip
    table(root, "eicu", "lab", [
        {"labid": "1", "patientunitstayid": "141764", "labresultoffset": "-120", "labtypeid": "1", "labname": "BUN", "labresult": "31.0", "labresulttext": "31",
         "labmeasurenamesystem": "mg/dL", "labmeasurenameinterface": "MG/DL", "labresultrevisedoffset": "-100"},
        {"labid": "2", "patientunitstayid": "141764", "labresultoffset": "60", "labname": "PTT", "labresulttext": ">200", "labmeasurenamesystem": "sec"},
        {"labid": "3", "patientunitstayid": "141764", "labresultoffset": "1500", "labname": "BUN", "labresult": "40", "labresulttext": "40"},
    ])  # fmt: skip
    table(root, "eicu", "vitalperiodic", [
        {"vitalperiodicid": "1", "patientunitstayid": "141764", "observationoffset": "5", "heartrate": "88", "sao2": "97"},
    ], file="vitalPeriodic")  # fmt: skip
    table(root, "eicu", "apachepatientresult", [
        {"apachepatientresultsid": "1", "patientunitstayid": "141764", "apacheversion": "IVa", "actualhospitalmortality": "EXPIRED", "apachescore": "90"},
    ], file="apachePatientResult")  # fmt: skip
    table(root, "eicu", "diagnosis", [
        {"diagnosisid": "1", "patientunitstayid": "141764", "activeupondischarge": "True", "diagnosisoffset": "30", "diagnosisstring": "infectious diseases|sepsis",
         "icd9code": "995.91, A41.9", "diagnosispriority": "Primary"},
    ])  # fmt: skip
    return root


def mimic_iv(root: Path, packed: bool = True) -> Path:
    """Two patients of version 3.1: one with two hospital stays, the first with intensive care; one without any."""

    def hosp(name: str, rows: Sequence[Mapping[str, object]]) -> Path:
        return table(root / "hosp", "mimic-iv", name, rows, packed=packed)

    def icu(name: str, rows: Sequence[Mapping[str, object]]) -> Path:
        return table(root / "icu", "mimic-iv", name, rows, packed=packed)

    hosp("patients", [
        {"subject_id": "10000032", "gender": "F", "anchor_age": "52", "anchor_year": "2180", "anchor_year_group": "2014 - 2016", "dod": "2180-09-09"},
        {"subject_id": "10000048", "gender": "M", "anchor_age": "23", "anchor_year": "2126", "anchor_year_group": "2008 - 2010"},
    ])  # fmt: skip
    stay = {
        "subject_id": "10000032",
        "admission_type": "URGENT",
        "admission_location": "TRANSFER FROM HOSPITAL",
        "race": "WHITE",
    }
    hosp("admissions", [
        {**stay, "hadm_id": "22595853", "admittime": "2180-05-06 22:23:00", "dischtime": "2180-05-10 17:15:00", "hospital_expire_flag": "0", "discharge_location": "HOME"},
        {**stay, "hadm_id": "22841357", "admittime": "2180-06-06 08:00:00", "dischtime": "2180-06-08 12:00:00", "hospital_expire_flag": "1",
         "deathtime": "2180-06-08 12:00:00", "discharge_location": "DIED"},
    ])  # fmt: skip
    icu("icustays", [
        {"subject_id": "10000032", "hadm_id": "22595853", "stay_id": "39553978", "first_careunit": "MICU", "last_careunit": "MICU",
         "intime": "2180-05-07 00:00:00", "outtime": "2180-05-09 12:00:00", "los": "2.5"},
    ])  # fmt: skip
    both = {"subject_id": "10000032", "hadm_id": "22595853"}
    hosp("diagnoses_icd", [
        {**both, "seq_num": "1", "icd_code": "5723", "icd_version": "9"}, {**both, "seq_num": "2", "icd_code": "K7290", "icd_version": "10"},
    ])  # fmt: skip
    hosp(
        "procedures_icd", [{**both, "seq_num": "1", "chartdate": "2180-05-07", "icd_code": "5491", "icd_version": "9"}]
    )
    hosp("d_icd_diagnoses", [{"icd_code": "5723", "icd_version": "9", "long_title": "Portal hypertension"}])
    hosp("d_labitems", [{"itemid": "50931", "label": "Glucose", "fluid": "Blood", "category": "Chemistry"}])
    hosp("labevents", [
        {**both, "labevent_id": "1", "specimen_id": "7", "itemid": "50931", "charttime": "2180-05-06 23:00:00", "storetime": "2180-05-07 01:00:00", "value": "115",
         "valuenum": "115", "valueuom": "mg/dL", "ref_range_lower": "70", "ref_range_upper": "105", "flag": "abnormal", "priority": "STAT"},
        {**both, "labevent_id": "2", "specimen_id": "8", "itemid": "51237", "charttime": "2180-05-07 10:00:00", "value": ">19.2", "valueuom": ""},
        {"subject_id": "10000032", "labevent_id": "3", "specimen_id": "9", "itemid": "50931", "value": "3", "valuenum": "3"},
    ])  # fmt: skip
    hosp(
        "omr",
        [
            {
                "subject_id": "10000032",
                "chartdate": "2180-05-08",
                "seq_num": "1",
                "result_name": "Blood Pressure",
                "result_value": "110/65",
            }
        ],
    )
    hosp("microbiologyevents", [
        {**both, "microevent_id": "1", "micro_specimen_id": "3", "chartdate": "2180-05-08 00:00:00", "spec_itemid": "1", "spec_type_desc": "URINE", "test_seq": "1",
         "test_name": "URINE CULTURE", "org_name": "ESCHERICHIA COLI", "ab_name": "AMPICILLIN", "interpretation": "R"},
    ])  # fmt: skip
    hosp("prescriptions", [
        {**both, "pharmacy_id": "1", "starttime": "2180-05-08 08:00:00", "stoptime": "2180-05-11 22:00:00", "drug_type": "MAIN", "drug": "Furosemide",
         "dose_val_rx": "40-60", "dose_unit_rx": "mg", "route": "PO"},
    ])  # fmt: skip
    icu(
        "d_items",
        [
            {
                "itemid": "220045",
                "label": "Heart Rate",
                "abbreviation": "HR",
                "linksto": "chartevents",
                "category": "Vital",
                "param_type": "Numeric",
            }
        ],
    )
    icu("chartevents", [
        {**both, "stay_id": "39553978", "charttime": f"2180-05-0{day} 01:00:00", "storetime": "", "itemid": "220045", "value": str(90 + day),
         "valuenum": str(90 + day), "valueuom": "bpm", "warning": "0"} for day in (7, 8, 9)
    ])  # fmt: skip
    return root


def mimic_iii(root: Path, upper: bool) -> Path:
    """One patient older than 89, with a note; ``upper``: as the full release spells columns and files, else as the demo does, unpacked."""

    def made(name: str, rows: Sequence[Mapping[str, object]]) -> Path:
        return table(root, "mimic-iii", name, rows, upper=upper, packed=upper, file=name.upper())

    made(
        "patients",
        [
            {
                "row_id": "1",
                "subject_id": "3",
                "gender": "M",
                "dob": "1801-04-11 00:00:00",
                "dod": "2102-06-14 00:00:00",
                "expire_flag": "1",
            }
        ],
    )
    both = {"row_id": "1", "subject_id": "3", "hadm_id": "145834"}
    made("admissions", [
        {**both, "admittime": "2101-10-20 19:08:00", "dischtime": "2101-10-31 13:58:00", "admission_type": "EMERGENCY", "hospital_expire_flag": "0",
         "diagnosis": "HYPOTENSION", "discharge_location": "SNF"},
    ])  # fmt: skip
    made("icustays", [
        {**both, "icustay_id": "211552", "dbsource": "carevue", "first_careunit": "MICU", "last_careunit": "MICU", "first_wardid": "12", "last_wardid": "12",
         "intime": "2101-10-20 19:10:00", "outtime": "2101-10-26 20:43:00", "los": "6.0646"},
    ])  # fmt: skip
    made("diagnoses_icd", [{**both, "seq_num": "1", "icd9_code": "0389"}, {**both, "seq_num": "2", "icd9_code": ""}])
    made(
        "labevents",
        [
            {
                **both,
                "itemid": "50820",
                "charttime": "2101-10-20 16:40:00",
                "value": "7.39",
                "valuenum": "7.39",
                "valueuom": "units",
            }
        ],
    )
    made(
        "d_labitems",
        [
            {
                "row_id": "1",
                "itemid": "50820",
                "label": "pH",
                "fluid": "Blood",
                "category": "Blood Gas",
                "loinc_code": "11558-4",
            }
        ],
    )
    if upper:
        made("noteevents", [
            {**both, "chartdate": "2101-10-21 00:00:00", "category": "Nursing", "description": "Report", "iserror": "1", "text": 'Pt is "stable",\n\nno pain.\n'},
        ])  # fmt: skip
    return root

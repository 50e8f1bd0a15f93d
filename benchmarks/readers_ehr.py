"""A hospital database to MEDS against pandas, in one alternating run, each pass in a process of its own (so that its peak memory is its own).

The set is made up in MIMIC-IV's layout (patients, admissions, icustays, laboratory and chart events, packed by gzip), to size. The peer reads the
same files with pandas' C parser, keeps text as text, parses times with the format given, joins, sorts and writes Parquet: all in memory, which
is how it is fastest. Both must give the same events with the same columns: subject, time, code, number, text, unit, stay, visit, table, and what
else the row says (``more``, as JSON). ``--seven``: the peer writes the first seven alone, which is less work than ours does.

Ten million events take some four minutes with ``--rounds 1``, 2 GB of disk and 11 GB of memory, which the peer needs.

    python benchmarks/readers_ehr.py --events 100000 1000000
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from memory import peak_mib

TARGET = {"ratio to pandas": 2.5, "peak MiB at 1e8 events": 1024}
KEYS = ["subject_id", "time", "code", "numeric_value", "text_value", "unit", "stay", "table", "visit", "more"]
LAB = "labevent_id,subject_id,hadm_id,specimen_id,itemid,order_provider_id,charttime,storetime,value,valuenum,valueuom,ref_range_lower,ref_range_upper,flag,priority,comments"
CHART = "subject_id,hadm_id,stay_id,caregiver_id,charttime,storetime,itemid,value,valuenum,valueuom,warning"
LAB_MORE = ["specimen_id", "storetime", "ref_range_lower", "ref_range_upper", "flag", "priority", "comments"]
CHART_MORE = ["storetime", "warning"]
EVENTS_A_STAY = 1000
AT_ONCE = 1 << 20  # events made at once


def make(root: Path, events: int) -> None:
    """Write a set with about so many events, a fifth of them of the laboratory; stays in an order that is not the patients'."""
    draw = np.random.default_rng(0)
    patients = max(2, events // EVENTS_A_STAY)
    ids = 10_000_000 + np.sort(draw.choice(patients * 20, patients, replace=False))
    start = np.datetime64("2150-01-01T00:00:00") + draw.integers(0, 30_000_000, patients).astype("timedelta64[m]")

    def said(when: np.ndarray) -> list[str]:
        return [one.replace("T", " ") for one in np.datetime_as_string(when, "s")]

    def write(name: str, header: str, lines: list[str]) -> None:
        path = root / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wb", compresslevel=5) as out:
            out.write((header + "\n" + "\n".join(lines) + "\n").encode())

    write(
        "hosp/patients",
        "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
        [f"{one},F,60,2150,2014 - 2016," for one in ids],
    )
    begin, end = said(start), said(start + np.timedelta64(5, "D"))
    write("hosp/admissions", "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admission_location,discharge_location,hospital_expire_flag",
          [f"{one},{20_000_000 + i},{begin[i]},{end[i]},,URGENT,ER,HOME,0" for i, one in enumerate(ids)])  # fmt: skip
    write("icu/icustays", "subject_id,hadm_id,stay_id,first_careunit,last_careunit,intime,outtime,los",
          [f"{one},{20_000_000 + i},{30_000_000 + i},MICU,MICU,{begin[i]},{end[i]},5.0" for i, one in enumerate(ids)])  # fmt: skip
    for name, header, count, items in (
        ("hosp/labevents", LAB, events // 5, 300),
        ("icu/chartevents", CHART, events - events // 5, 1500),
    ):
        with gzip.open(root / f"{name}.csv.gz", "wb", compresslevel=1) as out:
            out.write(f"{header}\n".encode())
            for first in range(0, count, AT_ONCE):
                rows = min(AT_ONCE, count - first)
                whose, wait = draw.integers(0, patients, rows), draw.integers(0, 7200, rows).astype("timedelta64[m]")
                value, strange = np.round(draw.normal(100, 30, rows), 1), pl.Series(draw.random(rows) < 0.02)
                number = pl.Series(value).cast(pl.String)
                when = pl.Series((start[whose] + wait).astype("datetime64[us]")).dt.to_string("%Y-%m-%d %H:%M:%S")
                known = {
                    "labevent_id": np.arange(first, first + rows), "specimen_id": np.arange(first, first + rows), "subject_id": ids[whose],
                    "hadm_id": 20_000_000 + whose, "stay_id": 30_000_000 + whose, "itemid": draw.integers(50_800, 50_800 + items, rows),
                    "charttime": when, "storetime": when, "value": pl.select(pl.when(strange).then(">" + number).otherwise(number)).to_series(),
                    "valuenum": pl.select(pl.when(~strange).then(number)).to_series(), "valueuom": "mg/dL" if name == "hosp/labevents" else "bpm",
                    "ref_range_lower": "70", "ref_range_upper": "105", "priority": "STAT", "caregiver_id": "7", "warning": "0",
                }  # fmt: skip
                columns = [pl.lit(known.get(one)).alias(one) for one in header.split(",")]
                out.write(pl.select(columns).write_csv(include_header=False).encode())


def by_healthfm(root: Path, out: Path) -> None:
    """Write MEDS with healthfm."""
    from healthfm.datasets import meds
    from healthfm.datasets.open import open_dataset

    meds.write(open_dataset("mimic-iv", root), out)


def by_pandas(root: Path, out: Path, all_columns: bool = True) -> None:
    """Write the events of the two large tables, in order of subject and time, with pandas; with all the columns that ours have, or the first seven of ``KEYS``."""
    import pandas as pd

    frames = []
    for name, code, stay, more in (
        ("hosp/labevents", "LAB//", None, LAB_MORE),
        ("icu/chartevents", "ITEM//", "stay_id", CHART_MORE),
    ):
        columns = ["subject_id", "itemid", "charttime", "value", "valuenum", "valueuom", *([stay] if stay else [])]
        columns += ["hadm_id", *more] if all_columns else []
        text = {one: str for one in columns if one not in ("subject_id", "valuenum")}
        frame = pd.read_csv(
            root / f"{name}.csv.gz",
            usecols=columns,
            dtype={**text, "subject_id": "int64", "valuenum": "float64"},
            engine="c",
        )
        number = pd.to_numeric(frame["value"], errors="coerce")
        made = {
            "subject_id": frame["subject_id"], "time": pd.to_datetime(frame["charttime"], format="%Y-%m-%d %H:%M:%S").astype("datetime64[us]"),
            "code": code + frame["itemid"], "numeric_value": frame["valuenum"].astype("float32"),
            "text_value": frame["value"].where(number != frame["valuenum"]), "unit": frame["valueuom"],
            "stay": frame[stay] if stay else pd.Series([None] * len(frame), dtype=object),
        }  # fmt: skip
        if all_columns:
            said = frame[more].to_json(orient="records", lines=True).splitlines()
            made |= {
                "end": pd.NaT, "table": name.partition("/")[2], "visit": frame["hadm_id"], "day": False,
                "more": pd.Series(said, dtype=str).where(frame[more].notna().any(axis=1)),
            }  # fmt: skip
        frames.append(pd.DataFrame(made))
    whole = pd.concat(frames, ignore_index=True).sort_values(["subject_id", "time"], kind="stable")
    out.mkdir()
    whole.to_parquet(out / "0.parquet", compression="zstd", index=False)


def events(folder: Path, keys: list[str]) -> tuple[int, int, int]:
    """Return how many events of the laboratory and charts a pass wrote, and two sums of their rows' hashes, which no order changes."""
    count, sums = 0, [0, 0]
    kinds = {"subject_id": pl.Int64, "time": pl.Datetime("us"), "numeric_value": pl.Float32}
    for file in folder.rglob("*.parquet"):
        if file.parent.name == "metadata":
            continue
        frame = pl.read_parquet(file, columns=keys).select(pl.col(one).cast(kinds.get(one, pl.String)) for one in keys)
        frame = frame.filter(pl.col("code").str.starts_with("LAB//") | pl.col("code").str.starts_with("ITEM//"))
        count += frame.height
        for seed in (0, 1):
            sums[seed] += int(frame.hash_rows(seed).to_numpy().sum(dtype=np.uint64))
    return count, sums[0] % 2**64, sums[1] % 2**64


def timed(way: str, root: Path, out: Path, seven: bool) -> dict[str, float]:
    """Run one pass in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", way, str(root), str(out), *(["--seven"] if seven else [])],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def case(count: int, rounds: int, seven: bool) -> dict[str, object]:
    """Make a set, let the two take turns, hold their events against each other."""
    with tempfile.TemporaryDirectory() as place:
        root, best = Path(place) / "set", {}
        make(root, count)
        for turn in range(rounds):
            for way in ("healthfm", "pandas"):
                found = timed(way, root, Path(place) / f"{way}{turn}", seven)
                if way not in best or found["seconds"] < best[way]["seconds"]:
                    best[way] = found
        ours, theirs = (events(Path(place) / f"{way}0", KEYS[:7] if seven else KEYS) for way in ("healthfm", "pandas"))
        assert ours == theirs and ours[0] == count, f"the events differ: {ours}, {theirs}"
    return {
        "events": count, **{f"{way} {what}": round(value, 3) for way, found in best.items() for what, value in found.items()},
        "ratio": round(best["pandas"]["seconds"] / best["healthfm"]["seconds"], 2), "events a second": round(count / best["healthfm"]["seconds"]),
    }  # fmt: skip


def main() -> None:
    """Run the cases and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seven", action="store_true", help="the peer writes seven columns alone")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "readers_ehr.json")
    arguments = parser.parse_args()
    if arguments.one:
        way, root, out = arguments.one
        start, used = time.perf_counter(), time.process_time()
        by_healthfm(Path(root), Path(out)) if way == "healthfm" else by_pandas(
            Path(root), Path(out), not arguments.seven
        )
        print(
            json.dumps(
                {
                    "seconds": time.perf_counter() - start,
                    "processor seconds": time.process_time() - used,
                    "peak_mib": peak_mib(),
                }
            )
        )
        return
    result = {"target": TARGET, "cases": [case(count, arguments.rounds, arguments.seven) for count in arguments.events]}
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

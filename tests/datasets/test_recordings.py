"""PTB-XL, and PhysioNet's own WFDB records beside the wfdb package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.formats import wfdb_record
from healthfm.formats.source import Source
from healthfm.records import MISSING
from tests.datasets.laid import lay

LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
COLUMNS = "ecg_id,patient_id,age,sex,height,weight,nurse,site,device,recording_date,report,scp_codes,strat_fold,filename_lr,filename_hr"
STATEMENTS = ",description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass\nNORM,normal ECG,1.0,,,NORM,NORM\nIMI,inferior MI,1.0,,,MI,IMI\nSR,sinus rhythm,,,1.0,,\nNDT,non-diagnostic T,1.0,1.0,,STTC,STTC\n"


def record(folder: Path, name: str, samples: np.ndarray, gain: float = 1000) -> None:
    """A record as the owners' are: 12 leads in format 16, 1000 units a millivolt."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    samples.astype("<i2").tofile(folder / f"{name}.dat")
    stem = Path(name).name
    lines = [
        f"{stem} 12 100 {len(samples)}",
        *(f"{stem}.dat 16 {gain:g}(0)/mV 16 0 {int(samples[0, n])} 0 0 {lead}" for n, lead in enumerate(LEADS)),
    ]
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")


def ptb(tmp_path: Path, rows: list[str]) -> Path:
    return lay(tmp_path, {"ptbxl_database.csv": "\n".join([COLUMNS, *rows]) + "\n", "scp_statements.csv": STATEMENTS})


def row(number: int, fold: int, codes: str = "{'NORM': 100.0, 'SR': 0.0}", age: str = "56.0") -> str:
    name = f"00000/{number:05d}"
    return f'{number},15709.0,{age},1,,,2.0,0.0,CS-12,1984-11-09 09:17:34,sinusrhythmus,"{codes}",{fold},records100/{name}_lr,records500/{name}_hr'


@pytest.mark.evidence("ptb-xl", "layout")
def test_folds_labels_ages_and_samples_as_the_owners_example_reads_them(tmp_path: Path) -> None:
    """Names as in ptbxl_database.csv, scp_statements.csv and example_physionet.py of ptb-xl 1.0.3."""
    samples = np.arange(120).reshape(10, 12)
    for number in (1, 2, 3):
        record(tmp_path, f"records100/00000/{number:05d}_lr", samples + number)
    ptb(tmp_path, [row(1, 3), row(2, 9, "{'IMI': 35.0, 'NDT': 0.0, 'SR': 0.0}"), row(3, 10, "{'SR': 0.0}", "300.0")])
    (one,), (two,), (three,) = (
        list(open_dataset("ptb-xl:records100", tmp_path, split)) for split in ("train", "validation", "test")
    )
    assert (one.id, one.patient, one.rate, one.channels) == ("1", "15709", 100.0, LEADS)
    assert np.allclose(one.samples, (samples + 1).T / 1000) and one.samples.dtype == np.float32  # millivolts
    assert one.labels["diagnostic_superclass"] == {"NORM"} and one.labels["scp_codes"] == {"NORM", "SR"}
    assert two.labels["diagnostic_superclass"] == {"MI", "STTC"}  # whatever the likelihood: NDT's is 0
    assert (
        three.labels["diagnostic_superclass"] is MISSING
        and three.labels["rhythm"] == {"SR"}
        and two.labels["form"] == {"NDT"}
        and three.meta["age"] is None
        and three.meta["age_above_89"]
    )


@pytest.mark.parametrize(
    ("codes", "reason"),
    [("__import__('os').getcwd()", "no dictionary"), ("[1]", "no dictionary"), ("{'NORM': 'x'}", "no dictionary")],
)
def test_statements_are_read_and_never_run(tmp_path: Path, codes: str, reason: str) -> None:
    record(tmp_path, "records100/00000/00001_lr", np.zeros((4, 12), int))
    ptb(tmp_path, [row(1, 3, codes)])
    with pytest.raises(DatasetError, match=reason):
        list(open_dataset("ptb-xl:records100", tmp_path, "train"))


def test_a_listed_record_that_is_not_here_is_named_and_a_short_file_is_said_when_it_is_read(tmp_path: Path) -> None:
    record(tmp_path, "records100/00000/00001_lr", np.zeros((10, 12), int))
    path = tmp_path / "records100/00000/00001_lr.dat"
    path.write_bytes(path.read_bytes()[:100])
    ptb(tmp_path, [row(1, 3), row(2, 3)])
    dataset = open_dataset("ptb-xl:records100", tmp_path, "train", on_error="collect")
    (one,) = dataset
    assert "records100/00000/00002_lr.hea is not here" in str(dataset.errors[0])
    with pytest.raises(DatasetError, match="shorter than the header says"):
        _ = one.samples  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "shape"),
    [("s0010_re", (15, 38400)), ("100", (2, 650000)), ("03700181", (3, 75000)), ("a103l", (3, 82500))],
)
def test_physionets_own_records_in_several_formats(reference_data: Path, name: str, shape: tuple[int, int]) -> None:
    source = Source(reference_data / f"wfdb_samples/sample-data/{name}.hea")
    found = wfdb_record.samples(source)
    assert found.shape == shape and wfdb_record.header(source).length == shape[1]
    if name == "s0010_re":  # its first line: 15 leads, format 16, 2000 units a millivolt; initial value -489 of lead i
        assert found[0, 0] == pytest.approx(-489 / 2000)


def test_the_plain_kind_is_read_as_the_wfdb_package_reads_it(tmp_path: Path) -> None:
    """Gain 0 means 200, a baseline left out is the converter's zero, -32768 is no sample, and bytes may stand before the samples."""
    import wfdb

    samples = np.array([[5, -32768], [7, 40], [-3, 41]], "<i2")
    (tmp_path / "a.dat").write_bytes(b"12345678" + samples.tobytes())
    lines = [
        "# made up",
        "a 2 360.5 3 10:00:00 01/02/1990",
        "a.dat 16+8 0/uV 16 4 5 0 0 lead one",
        "a.dat 16+8 1.5e2(-7) 12 3 0 0 0 two",
    ]
    (tmp_path / "a.hea").write_text("\n".join(lines) + "\n")
    source = Source(tmp_path / "a.hea")
    assert wfdb_record._plain(source) is not None
    theirs = wfdb.rdrecord(str(tmp_path / "a"), return_res=32)
    assert np.array_equal(wfdb_record.samples(source), theirs.p_signal.T, equal_nan=True)
    said = wfdb_record.header(source)
    assert (said.rate, said.length, said.channels, said.units) == (360.5, 3, ("lead one", "two"), ("uV", "mV"))
    assert said == wfdb_record.Header(theirs.fs, theirs.sig_len, tuple(theirs.sig_name), tuple(theirs.units))

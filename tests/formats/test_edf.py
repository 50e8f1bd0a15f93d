"""EDF: channels in their units, annotations left out, and what does not hold together refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from healthfm.errors import DatasetError
from healthfm.formats import edf
from healthfm.formats.source import Source

NAMES, UNITS = ("EEG Fp1", "EDF Annotations", "Temp", "EEG Fp2"), ("uV", "", "degC", "uV")
RANGES = ((-187.5, 187.5, -32768, 32767), (-1, 1, -32768, 32767), (34.4, 40.2, -2048, 2047), (-100, 100, -2000, 2000))
COUNTS = (4, 3, 1, 4)


def written(path: Path, records: int = 2, kind: str = "EDF+C", said: int | None = None) -> np.ndarray:
    """Write a file of fields by the specification and return its numbers, [records, numbers]."""

    def cell(value: object, width: int) -> bytes:
        return f"{value:<{width}}".encode()[:width]

    head = (
        cell(0, 8) + cell("X", 80) * 2 + cell("01.01.20", 8) + cell("10.00.00", 8) + cell(256 * 5, 8) + cell(kind, 44)
    )
    head += cell(records if said is None else said, 8) + cell(0.5, 8) + cell(4, 4)
    columns = [
        (NAMES, 16),
        (("",) * 4, 80),
        (UNITS, 8),
        *((tuple(one[n] for one in RANGES), 8) for n in range(4)),
        (("",) * 4, 80),
        (COUNTS, 8),
        (("",) * 4, 32),
    ]
    numbers = np.random.default_rng(0).integers(-2000, 2000, (records, sum(COUNTS))).astype("<i2")
    path.write_bytes(
        head + b"".join(cell(one, width) for values, width in columns for one in values) + numbers.tobytes()
    )
    return numbers


def test_channels_come_in_their_units_and_several_rates_are_never_mixed(tmp_path: Path) -> None:
    numbers = written(tmp_path / "a.edf", 3)
    source = Source(tmp_path / "a.edf")
    said = edf.header(source)
    assert [(one.name, one.unit, one.rate) for one in said.channels] == [
        ("EEG Fp1", "uV", 8),
        ("Temp", "degC", 2),
        ("EEG Fp2", "uV", 8),
    ]
    found = edf.samples(source, ("EEG Fp2", "EEG Fp1"))
    assert np.allclose(found[0], numbers[:, 8:12].ravel() / 20)  # 100 uV are 2000
    assert np.allclose(found[1], (numbers[:, :4].ravel() + 32768.0) * 375 / 65535 - 187.5, atol=1e-4)
    assert np.allclose(edf.samples(source, ("Temp",))[0], (numbers[:, 7] + 2048.0) * 5.8 / 4095 + 34.4, atol=1e-5)
    with pytest.raises(DatasetError, match=r"several rates; name those of one \(EEG Fp1 8 Hz, Temp 2 Hz"):
        edf.samples(source)
    with pytest.raises(DatasetError, match="no channel Pz"):
        edf.samples(source, ("Pz",))
    packed = tmp_path / "a.edf.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.edf").read_bytes()))
    assert np.array_equal(edf.samples(Source(packed), ("Temp",)), edf.samples(source, ("Temp",)))


def test_files_that_do_not_hold_together_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.edf"
    written(path, 2, said=3)
    with pytest.raises(DatasetError, match="2 whole records of samples are in it, its header says 3"):
        edf.header(Source(path))
    written(path, 2, said=-1)
    assert edf.header(Source(path)).records == 2  # not known while it was written
    written(path, kind="EDF+D")
    with pytest.raises(DatasetError, match="with gaps"):
        edf.header(Source(path))
    written(path)
    for raw in (b"", b"0" * 300, path.read_bytes()[:700], path.read_bytes().replace(b"0.5     ", b"half    ", 1)):
        path.write_bytes(raw)
        with pytest.raises(DatasetError, match="not EDF"):
            edf.header(Source(path))

"""UK Biobank's two ways to name a column; made-up participants only."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from tests.datasets.laid import lay

DICTIONARY = "Path\tCategory\tFieldID\tField\tParticipants\tItems\tStability\tValueType\tUnits\n\t\t21001\tBody mass index (BMI)\t\t\t\t\tKg/m2\n"


@pytest.mark.evidence("uk-biobank", "layout")
@pytest.mark.parametrize(("variant", "file", "head"), [
    ("rap", "data_participant.csv", "participant.eid,participant.p31,participant.p53_i0,participant.p53_i2,participant.p21001_i0,participant.p21001_i2,participant.p41270_i0_a1"),
    ("legacy", "ukb12345.csv", "eid,31-0.0,53-0.0,53-2.0,21001-0.0,21001-2.0,41270-0.1"),
])  # fmt: skip
def test_a_value_has_the_date_of_its_visit_and_a_field_its_name(
    tmp_path: Path, variant: str, file: str, head: str
) -> None:
    """Column names as dx extract_dataset and ukbconv write them; field names as in Data_Dictionary_Showcase.tsv."""
    lay(
        tmp_path,
        {
            file: f"{head}\n1000001,1,2008-05-06,2015-03-04,27.1,28.5,E119\n1000002,0,2009-01-01,,,,\n",
            "Data_Dictionary_Showcase.tsv": DICTIONARY,
        },
    )
    one, two = open_dataset(f"uk-biobank:{variant}", tmp_path)
    events = one.events.to_pylist()  # type: ignore[attr-defined]
    weights = [(row["time"], row["value"]) for row in events if row["code"] == "21001"]
    assert weights == [(datetime(2008, 5, 6), 27.1), (datetime(2015, 3, 4), 28.5)]
    assert one.name_of("21001") == "Body mass index (BMI)"  # type: ignore[attr-defined]
    (code,) = [row for row in events if row["code"] == "41270"]
    assert code["text"] == "E119" and code["more"] == '{"instance": 0, "array": 1}'
    assert len(two.events) == 2 and one.patient == "1000001"  # type: ignore[attr-defined]


def test_a_column_that_is_no_field_is_named(tmp_path: Path) -> None:
    lay(tmp_path, {"data_participant.csv": "participant.eid,participant.note\n1,x\n"})
    with pytest.raises(DatasetError, match=r"participant\.note is no field"):
        list(open_dataset("uk-biobank", tmp_path))

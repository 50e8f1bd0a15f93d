"""The shape of a DICOM picture's pixels: which attribute says it, and what says nothing sensible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from healthfm.errors import DatasetError
from healthfm.formats.dicom import pixel_shape
from healthfm.formats.source import Source
from tests.formats.test_dicom import written

ARRAY = np.zeros((4, 6), np.uint8)


def item(**tags: object) -> Dataset:
    data = Dataset()
    for name, value in tags.items():
        setattr(data, name, value)
    return data


def region(x: float, y: float, kind: int = 1, units: int = 3) -> Dataset:
    return item(
        RegionSpatialFormat=kind, PhysicalUnitsXDirection=units, PhysicalUnitsYDirection=units, PhysicalDeltaX=x, PhysicalDeltaY=y
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tags", "ratio"),
    [
        ({}, 1),
        ({"PixelSpacing": [0.6, 0.3]}, 2),
        ({"ImagerPixelSpacing": [0.1, 0.2]}, 0.5),
        ({"NominalScannedPixelSpacing": [0.3, 0.1]}, 3),
        ({"PixelAspectRatio": [3, 4]}, 0.75),
        ({"PixelSpacing": [0.2, 0.2], "PixelAspectRatio": [2, 1]}, 1),  # the spacing counts: the other is for files without
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.1]}, 2),  # an empty one says nothing
        ({"SequenceOfUltrasoundRegions": Sequence([region(0.01, 0.02)])}, 2),
        ({"SequenceOfUltrasoundRegions": Sequence([region(0.01, -0.02), region(0.1, 0.3, kind=2)])}, 2),
        ({"SequenceOfUltrasoundRegions": Sequence([region(0.01, 0.02, units=4)])}, 1),
        ({"SequenceOfUltrasoundRegions": Sequence([region(0.01, 0.02), region(0.01, 0.03)])}, 1),
        ({"SharedFunctionalGroupsSequence": Sequence([item(PixelMeasuresSequence=Sequence([item(PixelSpacing=[1, 4])]))])}, 0.25),
    ],
)  # fmt: skip
def test_a_pixels_height_over_its_width_is_what_the_header_says(
    tmp_path: Path, tags: dict[str, object], ratio: float
) -> None:
    assert pixel_shape.aspect(Source(written(tmp_path / "a.dcm", ARRAY, **tags))) == pytest.approx(ratio)


@pytest.mark.parametrize("value", [[0, 0], [1, 0], [-1, 1], [0.5]])
@pytest.mark.parametrize("name", ["PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"])
def test_what_is_no_shape_is_refused_by_name_without_its_value(tmp_path: Path, name: str, value: list[float]) -> None:
    tags = {name: [int(one * 2) for one in value] if name == "PixelAspectRatio" else value}
    with pytest.raises(DatasetError, match=rf"a\.dcm: its {name} is not two numbers above 0"):
        pixel_shape.aspect(Source(written(tmp_path / "a.dcm", ARRAY, **tags)))


def test_the_notice_counts_the_items_and_says_how_far_from_square_they_were() -> None:
    assert "1 item, height over width 2 (a.dcm)" in pixel_shape.told({"a.dcm": 2.0})
    assert "4 items, height over width 0.5 to 2 (a, b, c, ...)" in pixel_shape.told(
        {"a": 2, "b": 1.5, "c": 0.5, "d": 2}
    )

"""How tall a pixel of a DICOM picture is beside its width: what a network must not see is a patient who is drawn out.

Rules: DICOM PS3.3 C.7.6.3.1.7 (pixel aspect ratio: vertical, then horizontal) and 10.7 (spacings: of rows, then of columns).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from healthfm.errors import BadValue
from healthfm.formats.dicom import file as dicom
from healthfm.formats.dicom import picture as dicom_picture
from healthfm.formats.source import Source

if TYPE_CHECKING:
    from pydicom import Dataset as Header

SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")  # the first counts
FLAT_IMAGE, CENTIMETRES = 1, 3  # of an ultrasound region: its format and the units of its axes (PS3.3 C.8.5.5)


def aspect(source: Source, frame: int = 0) -> float:
    """Return a pixel's height over its width, from the header alone; 1 where it names none.

    Raises ``DatasetError`` where what it names is not two numbers above 0.
    """
    return of_header(source, dicom.header(source), frame)


def of_header(source: Source, data: Header, frame: int = 0) -> float:
    """Return the same of a data set that was read from ``source``."""
    with dicom.reading(source):
        measures = dicom_picture.functional_group(data, "PixelMeasuresSequence", frame)
        for name in SPACINGS:
            value = (measures if name == "PixelSpacing" else data).get(name)
            if value not in (None, ""):
                return _ratio(value, name)
        return _of_regions(data)
    raise AssertionError


def told(ratios: Mapping[str, float]) -> str:
    """Say of which items, by id, pixels were made square, and how far from square they were."""
    low, high = min(ratios.values()), max(ratios.values())
    how = f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
    some = ", ".join(sorted(ratios)[:3]) + (", ..." if len(ratios) > 3 else "")
    return (
        f"pixels that are not square were made square before the network saw them: {len(ratios)} "
        f"item{'s' if len(ratios) > 1 else ''}, height over width {how} ({some})"
    )


def _ratio(value: Any, name: str) -> float:
    pair = [float(one) for one in value] if not isinstance(value, str | float | int) else []
    if len(pair) != 2 or not all(math.isfinite(one) and one > 0 for one in pair):
        raise BadValue(f"its {name} is not two numbers above 0: the shape of its pixels is not known")
    return pair[0] / pair[1]


def _of_regions(data: Header) -> float:
    """Return the ratio of an ultrasound picture whose 2D regions agree on one; 1 for any other."""
    found = {
        abs(float(region.PhysicalDeltaY) / float(region.PhysicalDeltaX))
        for region in data.get("SequenceOfUltrasoundRegions") or ()
        if region.get("RegionSpatialFormat") == FLAT_IMAGE
        and region.get("PhysicalUnitsXDirection") == region.get("PhysicalUnitsYDirection") == CENTIMETRES
        and region.get("PhysicalDeltaX") and region.get("PhysicalDeltaY")
    }  # fmt: skip
    return found.pop() if len(found) == 1 else 1.0

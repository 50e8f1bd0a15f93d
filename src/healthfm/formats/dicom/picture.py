"""DICOM images as modality values (Hounsfield units in CT) and as the picture a viewer shows.

Rules: DICOM PS3.3 sections C.7.6.3 (palettes), C.11.1 (modality LUT), C.11.2 (window and VOI LUT).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue
from healthfm.formats import notices
from healthfm.formats.dicom import file as dicom
from healthfm.formats.dicom import lut as dicom_lut
from healthfm.formats.source import Source

if TYPE_CHECKING:
    from pydicom import Dataset as Header

Values = npt.NDArray[Any]


def values(source: Source) -> Values:
    """Return modality values: stored values through the modality LUT or rescale slope and intercept, as the file has them.

    Integer where nothing is to be done or where slope and intercept are whole numbers, else float32.
    """
    data = dicom.with_pixels(source)
    with dicom.reading(source):
        return modality(data, dicom.stored(source, data))
    raise AssertionError


def modality(data: Header, array: Values) -> Values:
    """Apply a data set's modality LUT or rescale to its stored values, frame by frame where they differ (PS3.3 C.11.1)."""
    if data.get("ModalityLUTSequence"):
        return dicom_lut.modality(data, array)
    steps = [rescale(data, frame) for frame in range(dicom.frames(data))]
    if len(set(steps)) > 1:
        return np.stack([_rescaled(one, *step).astype(np.float32) for one, step in zip(array, steps, strict=True)])
    return _rescaled(array, *steps[0])


def _rescaled(array: Values, slope: float, intercept: float) -> Values:
    if (slope, intercept) == (1, 0):
        return array
    if array.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        wide = array.astype(np.int64) * int(slope) + int(intercept)
        low, high = int(wide.min(initial=0)), int(wide.max(initial=0))
        return wide.astype(np.int16 if low >= -(2**15) and high < 2**15 else np.int32)
    return (array.astype(np.float64) * slope + intercept).astype(np.float32)


def rescale(data: Header, frame: int = 0) -> tuple[float, float]:
    """Return slope and intercept of a frame: 1 and 0 where the file names none."""
    group = functional_group(data, "PixelValueTransformationSequence", frame)
    slope, intercept = group.get("RescaleSlope"), group.get("RescaleIntercept")
    if slope not in (None, "") and float(slope) == 0:
        raise BadValue("its RescaleSlope is 0, which makes all values one")
    return float(1 if slope in (None, "") else slope), float(0 if intercept in (None, "") else intercept)


def functional_group(data: Header, name: str, frame: int) -> Header:
    """Return the item that holds a macro's attributes: the frame's, else the one all frames share, else the data set."""
    per_frame = data.get("PerFrameFunctionalGroupsSequence") or ()
    shared = data.get("SharedFunctionalGroupsSequence") or ()
    for group in (*per_frame[frame : frame + 1], *shared[:1]):
        if group.get(name):
            found: Header = group[name].value[0]
            return found
    return data


# The picture ------------------------------------------------------------------------------------------------------------


def picture(source: Source, window: tuple[float, float] | None = None, frame: int | None = None) -> Values:
    """Return what a viewer shows: uint8 where up to 8 bits are stored, else uint16 over its full range.

    Colour comes as RGB [height, width, 3]; palettes (by their upper 8 bits) and YBR are resolved. Grey [height, width] goes
    through the modality LUT, then ``window`` (centre, width) if given, else the file's VOI LUT or first window by the function
    it names, else the range of the file's own values; MONOCHROME1 is inverted, so that more is brighter; padding is black. Several
    frames come as a first axis; ``frame`` picks one. Choices among what a file offers are said (``notices``).
    """
    data = dicom.with_pixels(source)
    array = dicom.stored(source, data)
    with dicom.reading(source):
        if dicom.frames(data) == 1:
            return np.asarray(_shown(data, array[None], window, [0])[0])
        if frame is not None and not 0 <= frame < dicom.frames(data):
            raise BadValue(f"no frame {frame}: it has {dicom.frames(data)}")
        shown = _shown(data, array, window, list(range(dicom.frames(data))) if frame is None else [frame])
        return shown if frame is None else np.asarray(shown[0])
    raise AssertionError


def _shown(data: Header, array: Values, window: tuple[float, float] | None, asked: list[int]) -> Values:
    """Return the frames asked for as pictures."""
    kind, bits = str(data.PhotometricInterpretation), int(data.get("BitsStored", 16))
    if kind == "PALETTE COLOR":
        return _coloured(*dicom_lut.palette(data), array[asked])
    if array.ndim == 4:
        return array[asked] if bits == 8 else _full_range(array[asked], 0, 2**bits - 1, bits > 8)
    if bits == 1:
        grey = array[asked].astype(np.uint8) * np.uint8(255)
        return np.invert(grey) if kind == "MONOCHROME1" else grey
    first, colours = dicom_lut.palette(data) if _is_supplemented(data) else (None, None)
    levels = modality(data, array if dicom.frames(data) > 1 else array[0]).reshape(array.shape)
    none = padding(data, array) if first is None else padding(data, array) | (array >= first)
    own = _own_range(levels, none)
    grey = np.stack([_windowed(data, levels[frame], window, frame, own, bits > 8) for frame in asked])
    grey = np.invert(grey) if kind == "MONOCHROME1" else grey
    grey[none[asked]] = 0
    if first is None or colours is None:
        return grey
    mixed = np.repeat(grey[..., None], 3, axis=-1)
    of_palette = array[asked] >= first
    mixed[of_palette] = _coloured(first, colours, array[asked][of_palette]).astype(grey.dtype) * (
        257 if bits > 8 else 1
    )
    return mixed


def _coloured(first: int, colours: npt.NDArray[np.uint8], indices: Values) -> Values:
    found: Values = colours[np.clip(indices.astype(np.int64) - first, 0, len(colours) - 1)]
    return found


def _is_supplemented(data: Header) -> bool:
    """Whether values from the palette's first on are colours, the others grey (PS3.3 C.8.16.2.1.1.1)."""
    return data.get("PixelPresentation") in ("COLOR", "MIXED") and dicom_lut.has_palette(data)


def padding(data: Header, array: Values) -> npt.NDArray[np.bool_]:
    """Return where stored values are padding: its value, or from it to its limit, the order as it may be (PS3.3 C.7.5.1.1.2)."""
    kind = "Float" if array.dtype.itemsize == 4 else "DoubleFloat"
    before = kind if array.dtype.kind == "f" else ""
    names = (f"{before}PixelPaddingValue", f"{before}PixelPaddingRangeLimit")
    value, limit = (_in_kind(data.get(name), array.dtype) for name in names)
    if value is None:
        return np.zeros(array.shape, np.bool_)
    low, high = (value, value) if limit is None else (min(value, limit), max(value, limit))
    return (array >= low) & (array <= high)


def _in_kind(value: Any, kind: np.dtype[Any]) -> float | None:
    """Return a padding value as the pixels are signed: headers write it as the other kind at times."""
    if value in (None, "") or not isinstance(value, int | float):
        return None
    if kind.kind == "u" and value < 0:
        return value + 65536
    return value - 65536 if kind.kind == "i" and value > 0x7FFF and kind.itemsize <= 2 else value


def _own_range(levels: Values, none: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return the least and greatest value of all frames, padding and what is not finite left out."""
    known = levels[~none & np.isfinite(levels)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)


def _windowed(
    data: Header, levels: Values, window: tuple[float, float] | None, frame: int, own: tuple[float, float], deep: bool
) -> Values:
    group = functional_group(data, "FrameVOILUTSequence", frame)
    first, several = _first_window(group)
    if window is None and group.get("VOILUTSequence"):
        if several or len(group.VOILUTSequence) > 1 or first is not None:
            notices.say("the file offers several VOI LUTs or windows: its first is used, a LUT before a window")
        mapped, white = dicom_lut.voi(group, data, levels, _may_be_negative(data, levels, frame))
        return _full_range(mapped, 0, white, deep)
    function = "LINEAR"
    if window is None and first is not None:
        if several:
            notices.say("the file offers several VOI LUTs or windows: its first is used, a LUT before a window")
        window, function = first, str(group.get("VOILUTFunction") or "LINEAR")
    if window is None:
        return _full_range(levels, *own, deep)
    return _full_range(windowed(levels, *window, function), 0.0, 1.0, deep)


def _may_be_negative(data: Header, levels: Values, frame: int) -> bool:
    """Whether values that a VOI LUT is for may lie below zero, so that the first of its descriptor is signed."""
    if data.get("ModalityLUTSequence") or levels.dtype.kind == "u":
        return bool(levels.dtype.kind == "i" and levels.min() < 0)
    slope, intercept = rescale(data, frame)
    bits = int(data.get("BitsStored", 16))
    lowest = -(1 << (bits - 1)) if data.get("PixelRepresentation") else 0
    highest = lowest + (1 << bits) - 1
    return min(slope * lowest, slope * highest) + intercept < 0


def _first_window(group: Header) -> tuple[tuple[float, float] | None, bool]:
    """Return centre and width of the first window, and whether there are others."""
    found = [group.get(name) for name in ("WindowCenter", "WindowWidth")]
    lists = [list(v) if isinstance(v, Sequence) and not isinstance(v, str) else [v] for v in found]
    if any(not v or v[0] in (None, "") for v in lists):
        return None, False
    pairs = {(str(centre), str(width)) for centre, width in zip(*lists, strict=False) if centre not in (None, "")}
    return (float(lists[0][0]), float(lists[1][0])), len(pairs) > 1


def windowed(array: Values, centre: float, width: float, function: str = "LINEAR") -> npt.NDArray[np.float32]:
    """Return values through a window, 0 to 1 (PS3.3 C.11.2.1.2, C.11.2.1.3): LINEAR, LINEAR_EXACT or SIGMOID."""
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise BadValue("its VOILUTFunction is none of LINEAR, LINEAR_EXACT and SIGMOID")
    x = array.astype(np.float64)
    if function == "SIGMOID":
        if width <= 0:
            raise BadValue("a window's width must be above 0")
        with np.errstate(over="ignore"):  # far below the window is 0
            return (1 / (1 + np.exp(-4 * (x - centre) / width))).astype(np.float32)
    if function == "LINEAR_EXACT":
        if width <= 0:
            raise BadValue("a window's width must be above 0")
        return np.clip((x - centre) / width + 0.5, 0, 1).astype(np.float32)
    if width < 1:
        raise BadValue("a window's width must be at least 1")
    if width == 1:
        return (x > centre - 0.5).astype(np.float32)
    return np.clip((x - (centre - 0.5)) / (width - 1) + 0.5, 0, 1).astype(np.float32)


def _full_range(array: Values, low: float, high: float, deep: bool) -> Values:
    """Scale ``low`` to 0 and ``high`` to the top of uint8 or uint16."""
    top, kind = (65535, np.uint16) if deep else (255, np.uint8)
    if high <= low:
        return np.zeros(array.shape, kind)
    scaled = (np.nan_to_num(array.astype(np.float64), nan=low) - low) * (top / (high - low))
    return np.rint(np.clip(scaled, 0, top)).astype(kind)

"""DICOM files: the header, and the stored values of the pixels.

Decoding is pydicom's own and, of streams of the JPEG kinds, imagecodecs' (``dicom_pixels``). An error never carries a value of the header.
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError, MissingExtra
from healthfm.formats.dicom import pixels as dicom_pixels
from healthfm.formats.source import DAMAGE, Source, plain_name, reason_of

if TYPE_CHECKING:
    from pydicom import Dataset as Header

Values = npt.NDArray[Any]
SUFFIXES = (".dcm", ".dicom", ".ima")
BARE = (b"\x02\x00", b"\x08\x00")  # the group that a file without a preamble begins with
LONGEST_FIRST = 1 << 12  # bytes of the first value of such a file
MAX_SAMPLES = 2**32  # of one decoded file; a few bytes of RLE may claim more
MAX_FRAMES = 100_000


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content, whatever it is called; or by its name, so that a damaged one is not passed over."""
    return plain_name(path.name).lower().endswith(SUFFIXES) or holds_dicom(path)


def holds_dicom(path: Path) -> bool:
    """Whether a file, packed by gzip or not, begins as DICOM does: with its preamble, or with a data set that can be read."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with Source(path).open() as handle:
            start = handle.read(132)
    except (DatasetError, *DAMAGE):
        return False
    if start[128:] == b"DICM":
        return True
    if start[:2] not in BARE or not (start[4:6].isalpha() or int.from_bytes(start[4:8], "little") < LONGEST_FIRST):
        return False
    try:
        return any(name in header(Source(path)) for name in ("SOPClassUID", "Modality", "Rows"))
    except DatasetError:
        return False


@functools.cache
def library() -> Any:
    """Import pydicom once, and silence what would repeat values of a header in logs and warnings."""
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        raise MissingExtra("imaging", "pydicom") from None
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"pydicom|healthfm\.formats\.dicom")
    return pydicom


@contextmanager
def reading(source: Source) -> Iterator[None]:
    """Turn whatever pydicom or a decoder raises into one line without a value."""
    try:
        yield
    except (DatasetError, MissingExtra):
        raise
    except BadValue as error:
        raise DatasetError(f"{source}: {error}") from None
    except Exception as error:  # with values of the header in its message
        raise DatasetError(f"{source}: the DICOM cannot be read ({reason_of(error)})") from None


def header(source: Source, stop_before_pixels: bool = True) -> Header:
    """Read a file's data set; with the pixels only when asked. Raises ``DatasetError``: not DICOM, or cut short.

    A file without the preamble is read where it begins with an element of group 2 or 8, as old archives write them.
    """
    pydicom = library()
    with reading(source), source.open() as handle:
        start = handle.read(132)
        bare = start[128:] != b"DICM"
        if bare and start[:2] not in BARE:
            raise BadValue("not a DICOM file, or its first bytes are damaged")
        handle.seek(0)
        data: Header = pydicom.dcmread(handle, stop_before_pixels=stop_before_pixels, force=bare)
        if bare and "TransferSyntaxUID" not in data.file_meta:
            data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        return data
    raise AssertionError  # ``reading`` swallows nothing


def with_pixels(source: Source) -> Header:
    """Read a whole file. Raises ``DatasetError``: no pixels, pixels cut short, a header that lacks or claims too much."""
    data = header(source, stop_before_pixels=False)
    with reading(source):
        kinds = [str(one) for one in data.get("ImageType") or ()]
        if "LABEL" in kinds or ("OVERVIEW" in kinds and data.get("Modality") == "SM"):
            raise BadValue("the label or overview image of a slide; it can hold a name and is never read")
        if not any(name in data for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
            raise BadValue(f"a DICOM without pixels ({_kind(data)}); only images can be decoded")
        needed = ["Rows", "Columns", "PhotometricInterpretation"]
        if "PixelData" in data and str(data.file_meta.TransferSyntaxUID) not in dicom_pixels.JPEG:
            needed += ["BitsAllocated", "PixelRepresentation"]
        missing = [name for name in needed if data.get(name) in (None, "")]
        if missing:
            raise BadValue(f"its header lacks {', '.join(missing)}; the pixels cannot be decoded")
        samples = frames(data) * int(data.Rows) * int(data.Columns)
        if samples * int(data.get("SamplesPerPixel", 1)) > MAX_SAMPLES:
            raise BadValue("its header claims more than 4 billion samples; refused")
        if "PixelData" in data and str(data.file_meta.TransferSyntaxUID) in dicom_pixels.NATIVE:
            halved = data.PhotometricInterpretation in ("YBR_FULL_422", "YBR_PARTIAL_422")
            bits = samples * int(data.BitsAllocated) * (2 if halved else int(data.get("SamplesPerPixel", 1)))
            if len(data.PixelData) * 8 < bits:
                raise BadValue("its pixels are cut short")
            beyond = len(data.PixelData) - -(-bits // 8)
            if beyond > 1 and beyond * 8 * frames(data) >= bits and not halved:
                raise BadValue("it holds more frames than its header says")
    return data


def _kind(data: Header) -> str:
    """Name the class of object from the standard's own table: never the header's text."""
    from pydicom.uid import UID, UID_dictionary

    uid = str(data.get("SOPClassUID", ""))
    return UID(uid).name if uid in UID_dictionary else "of an unknown class"


def frames(data: Header) -> int:
    """Return the number of frames. Raises ``BadValue`` for more than ``MAX_FRAMES``."""
    count = int(data.get("NumberOfFrames") or 1)
    if not 1 <= count <= MAX_FRAMES:
        raise BadValue(f"its header claims no frames, or more than {MAX_FRAMES}; a slide is opened as a slide")
    return count


# Stored values ------------------------------------------------------------------------------------------------------------


def stored_values(source: Source) -> Values:
    """Return the stored values [frames, height, width(, 3)] (frames only where there are several); YBR is made RGB."""
    return stored(source, with_pixels(source))


def stored(source: Source, data: Header) -> Values:
    """Decode the pixels of a data set that was read from ``source`` (``dicom_pixels``)."""
    with reading(source):
        array = dicom_pixels.values(data, frames(data))
        return array if len(array) > 1 else array[0]
    raise AssertionError

"""DICOM files: the header, and the stored values of the pixels.

Decoding is pydicom's own, pyjpegls' and Pillow's through pydicom, and imagecodecs' for lossless, 12-bit and 2000 JPEG. An error never carries a value of the header.
"""

from __future__ import annotations

import functools
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError, MissingExtra
from healthfm.formats.source import DAMAGE, Source, plain_name, reason_of

if TYPE_CHECKING:
    from pydicom import Dataset as Header

Values = npt.NDArray[Any]
SUFFIXES = (".dcm", ".dicom", ".ima")
BARE = (b"\x02\x00", b"\x08\x00")  # the group that a file without a preamble begins with
LONGEST_FIRST = 1 << 12  # bytes of the first value of such a file
MAX_SAMPLES = 2**32  # of one decoded file; a few bytes of RLE may claim more
MAX_FRAMES = 100_000
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
JPEG2000 = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))  # with its high-throughput kin
DEFLATED_FRAMES, RLE = "1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.5"
PLUGINS = {  # named, because GDCM, which pydicom would take first, ends the process on some damaged files
    "1.2.840.10008.1.2.4.50": "pillow", JPEG_EXTENDED: "pillow",
    "1.2.840.10008.1.2.4.80": "pyjpegls", "1.2.840.10008.1.2.4.81": "pyjpegls", RLE: "pydicom",
}  # fmt: skip
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")


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
        missing = [name for name in ("Rows", "Columns", "PhotometricInterpretation") if data.get(name) in (None, "")]
        if missing:
            raise BadValue(f"its header lacks {', '.join(missing)}; the pixels cannot be decoded")
        samples = frames(data) * int(data.Rows) * int(data.Columns)
        if samples * int(data.get("SamplesPerPixel", 1)) > MAX_SAMPLES:
            raise BadValue("its header claims more than 4 billion samples; refused")
        if "PixelData" in data and str(data.file_meta.TransferSyntaxUID) in NATIVE:
            halved = data.PhotometricInterpretation in ("YBR_FULL_422", "YBR_PARTIAL_422")
            bits = samples * int(data.BitsAllocated) * (2 if halved else int(data.get("SamplesPerPixel", 1)))
            if len(data.PixelData) * 8 < bits:
                raise BadValue("its pixels are cut short")
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
    """Decode the pixels of a data set that was read from ``source``."""
    with reading(source):
        array = _special(data)
        if array is None:
            array = _by_imagecodecs(data)
        if array is None:
            plugin = PLUGINS.get(str(data.file_meta.TransferSyntaxUID))
            data.pixel_array_options(**({"decoding_plugin": plugin} if plugin else {}))
            array = data.pixel_array
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    raise AssertionError


def _special(data: Header) -> Values | None:
    """Decode what pydicom knows no decoder for: packed bits in RLE or deflated frames."""
    syntax = str(data.file_meta.TransferSyntaxUID)
    if int(data.get("BitsAllocated", 0)) == 1 and syntax in (DEFLATED_FRAMES, RLE):
        count = int(data.Rows) * int(data.Columns)
        packed = [
            zlib.decompressobj(-15).decompress(f, count // 8 + 8) if syntax == DEFLATED_FRAMES else _rle_segment(f)
            for f in _frames(data)
        ]
        bits = [np.unpackbits(np.frombuffer(f, np.uint8), count=count, bitorder="little") for f in packed]
        return np.stack(bits).reshape(-1, int(data.Rows), int(data.Columns)).squeeze(0 if len(bits) == 1 else ())
    return None


def _frames(data: Header) -> list[bytes]:
    from pydicom.encaps import generate_frames

    return list(generate_frames(data.PixelData, number_of_frames=frames(data)))


def _rle_segment(frame: bytes) -> bytes:
    """Unpack the one segment of a frame of bits (PS3.5 annex G: a header of 64 bytes, then PackBits)."""
    packed, out, at = frame[int.from_bytes(frame[4:8], "little") :], bytearray(), 0
    while at < len(packed) - 1:
        head = packed[at]
        if head < 128:
            out += packed[at + 1 : at + 2 + head]
            at += 2 + head
        else:
            if head > 128:
                out += packed[at + 1 : at + 2] * (257 - head)
            at += 2 if head > 128 else 1
    return bytes(out)


def _by_imagecodecs(data: Header) -> Values | None:
    """Decode lossless, 12-bit and 2000 JPEG; None for any other syntax."""
    syntax, deep = str(data.file_meta.TransferSyntaxUID), int(data.get("BitsStored", 8)) > 8
    if syntax not in (*JPEG_LOSSLESS, *JPEG2000) and not (syntax == JPEG_EXTENDED and deep):
        return None
    import imagecodecs

    decode = imagecodecs.jpeg2k_decode if syntax in JPEG2000 else imagecodecs.jpeg_decode
    decoded = [np.asarray(decode(frame)) for frame in _frames(data)]
    shape = (int(data.Rows), int(data.Columns))
    if len(decoded) != frames(data) or any(one.shape[:2] != shape for one in decoded):
        raise BadValue("the compressed pixels do not have the size that the header says")
    array = np.stack(decoded) if len(decoded) > 1 else decoded[0]
    signed = bool(data.get("PixelRepresentation", 0))
    if signed and array.dtype.kind == "u":  # the stream says unsigned, the header signed: the header's bits count
        unused = array.dtype.itemsize * 8 - int(data.BitsStored)
        array = (array << unused).view(f"i{array.dtype.itemsize}") >> unused
    return array

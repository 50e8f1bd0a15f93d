"""The pixels of a DICOM data set: whatever decoder ran, then one step that does what the header asks.

That step: the bits of the value are taken out of the cell (BitsStored, HighBit) and signed (PixelRepresentation), PS3.5 section 8.1.1,
and the colours become RGB (PhotometricInterpretation, PS3.3 C.7.6.3.1.2), unless the stream says that they are it (PS3.5 section 8.2.1:
what the stream says goes before what the header says). The rules, with the files they were held against: ``docs/dicom.md``.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue
from healthfm.formats import notices
from healthfm.formats.dicom import stream as dicom_stream

if TYPE_CHECKING:
    from pydicom import Dataset as Header

Values = npt.NDArray[Any]
DEFLATED_FRAMES, RLE = "1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.5"
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
JPEG = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203))
FILMS = "1.2.840.10008.1.2.4.10"  # what the identifiers of MPEG begin with
GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
UNDONE = ("YBR_ICT", "YBR_RCT")  # what JPEG 2000 decoders undo themselves
FULL, PARTIAL = ("YBR_FULL", "YBR_FULL_422"), ("YBR_PARTIAL_422", "YBR_PARTIAL_420")
FROM_FULL = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])  # PS3.3 C.7.6.3.1.2, inverted
FROM_PARTIAL = np.linalg.inv([[0.2568, 0.5041, 0.0979], [-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]])
AT_ONCE = 1 << 20  # pixels that are converted at a time


class Cells(NamedTuple):
    """What a decoder gave: [frames, rows, columns(, 3)], how many bits it fills, whether bits above the value may be its own error."""

    array: Values
    precision: int
    lossy: bool
    colours: str


def values(data: Header, frames: int) -> Values:
    """Return the stored values [frames, rows, columns(, 3)], colours as RGB (palettes as their indices).

    Raises ``BadValue``, and whatever a decoder raises at damage.
    """
    samples = int(data.get("SamplesPerPixel", 1))
    colours = str(data.PhotometricInterpretation)
    if samples not in (1, 3) or (samples == 3) == (colours in GREY):
        raise BadValue(f"{samples} samples a pixel do not go with its PhotometricInterpretation")
    if colours not in (*GREY, "RGB", *FULL, *PARTIAL, *UNDONE):
        raise BadValue("its PhotometricInterpretation is none that healthfm reads")
    syntax = str(data.file_meta.TransferSyntaxUID)
    if colours in UNDONE and (syntax not in JPEG or JPEG.index(syntax) < JPEG.index("1.2.840.10008.1.2.4.90")):
        raise BadValue("its PhotometricInterpretation is for JPEG 2000 alone")
    cells = _encapsulated(data, frames, colours) if syntax in JPEG else _by_pydicom(data, frames, syntax, colours)
    shape = (frames, int(data.Rows), int(data.Columns), *((3,) if samples == 3 else ()))
    if cells.array.shape != shape:
        raise BadValue("the compressed pixels do not have the size that the header says")
    array = cells.array if cells.array.dtype.kind == "f" else _own_bits(cells, data)
    return _rgb(array, cells.colours, _bits(data)[0]) if samples == 3 else array


# Decoders ---------------------------------------------------------------------------------------------------------------


def _by_pydicom(data: Header, frames: int, syntax: str, colours: str) -> Cells:
    """Decode what is not compressed, RLE and deflated frames."""
    allocated = int(data.get("BitsAllocated", 0))
    if allocated == 1 and syntax in (DEFLATED_FRAMES, RLE):
        return Cells(_packed_bits(data, frames, syntax), 1, False, colours)
    if syntax == DEFLATED_FRAMES:
        return Cells(_inflated(data, frames, allocated), allocated, False, colours)
    if syntax not in (*NATIVE, RLE):
        if syntax.startswith(FILMS):
            raise BadValue("a film (MPEG) in a DICOM; only its export to a film's own format can be read")
        raise BadValue("its transfer syntax is none that healthfm decodes")
    from pydicom.pixels import get_decoder

    options: dict[str, Any] = {"decoding_plugin": "pydicom"} if syntax == RLE else {}
    if syntax in NATIVE and colours in ("YBR_FULL_422", "YBR_PARTIAL_422") and "PixelData" in data:
        whole = frames * int(data.Rows) * int(data.Columns) * 3 * allocated // 8
        if len(data.PixelData) >= whole:
            notices.say("the header says that colours are subsampled, the pixels are not: read as they are")
            colours = colours.removesuffix("_422")
            options["photometric_interpretation"] = "YBR_FULL"
        elif colours == "YBR_PARTIAL_422":
            options["photometric_interpretation"] = "YBR_FULL_422"  # the same layout
    if "PixelData" in data:
        options["bits_stored"] = _bits(data)[0]
    decoder = get_decoder(data.file_meta.TransferSyntaxUID)
    array, _ = decoder.as_array(data, raw=True, correct_unused_bits=False, **options)
    return Cells(array if frames > 1 else array[None], allocated, False, colours)


def _packed_bits(data: Header, frames: int, syntax: str) -> Values:
    """Decode what pydicom knows no decoder for: packed bits in RLE or deflated frames."""
    count = int(data.Rows) * int(data.Columns)
    packed = [
        zlib.decompressobj(-15).decompress(f, count // 8 + 8) if syntax == DEFLATED_FRAMES else _rle_segment(f)
        for f in _frames(data, frames)
    ]
    if any(len(f) * 8 < count for f in packed):
        raise BadValue("its compressed pixels are cut short")
    bits = [np.unpackbits(np.frombuffer(f, np.uint8), count=count, bitorder="little") for f in packed]
    return np.stack(bits).reshape(-1, int(data.Rows), int(data.Columns))


def _inflated(data: Header, frames: int, allocated: int) -> Values:
    """Decode deflated frames of whole bytes (PS3.5 section 8.2.16), of one sample a pixel or three side by side."""
    samples = int(data.get("SamplesPerPixel", 1))
    if allocated not in (8, 16, 32) or (samples == 3 and data.get("PlanarConfiguration", 0) != 0):
        raise BadValue("deflated frames of a layout that healthfm does not decode")
    shape = (int(data.Rows), int(data.Columns), *((3,) if samples == 3 else ()))
    size = int(np.prod(shape)) * allocated // 8
    plain = [zlib.decompressobj(-15).decompress(frame, size) for frame in _frames(data, frames)]
    if any(len(one) < size for one in plain):
        raise BadValue("its compressed pixels are cut short")
    return np.stack([np.frombuffer(one, f"<u{allocated // 8}").reshape(shape) for one in plain])


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


def _frames(data: Header, frames: int) -> list[bytes]:
    """Return the compressed frames. Raises ``BadValue``: more or fewer than the header says."""
    from pydicom.encaps import generate_fragments, generate_frames

    table, lengths = data.get("ExtendedOffsetTable"), data.get("ExtendedOffsetTableLengths")
    offsets = (table, lengths) if table and lengths else None
    found = list(generate_frames(data.PixelData, number_of_frames=frames, extended_offsets=offsets))
    begun = sum(map(dicom_stream.begins, generate_fragments(data.PixelData)))
    if max(len(found), begun) > frames:
        raise BadValue(f"it holds {max(len(found), begun)} frames, its header says {frames}")
    if len(found) < frames:
        raise BadValue(f"its header says {frames} frames, it holds {len(found)}")
    return found


def _encapsulated(data: Header, frames: int, colours: str) -> Cells:
    """Decode streams of the JPEG kinds; frames of one file agree in what they say of themselves."""
    compressed = _frames(data, frames)
    streams = {dicom_stream.told(frame) for frame in compressed}
    if len({(one.signed, one.lossy, one.colours) for one in streams}) > 1:
        raise BadValue("its frames are compressed in different ways")
    stream = max(streams, key=lambda one: one.precision)
    arrays = [dicom_stream.decoded(frame, dicom_stream.told(frame)) for frame in compressed]
    if len({array.shape for array in arrays}) > 1:
        raise BadValue("the compressed pixels do not have the size that the header says")
    return Cells(np.stack(arrays), stream.precision, stream.lossy, _by_stream(colours, stream))


def _by_stream(header: str, stream: dicom_stream.Stream) -> str:
    """Return what decoded components are: as the stream says, if it does, else as the header says."""
    is_2000 = stream.kind == dicom_stream.SOC[1]
    if header in GREY:
        return header
    if is_2000 and header in UNDONE:
        return "RGB"
    if is_2000 and header in (*FULL, *PARTIAL):
        if stream.colours == "RGB":
            notices.say("JPEG 2000 with a transform of its own, of what the header calls YBR: both are undone")
        return header
    if stream.colours is None or (stream.colours == "RGB") == (header == "RGB"):
        return header
    notices.say(
        f"the JPEG stream says that its colours are {stream.colours}, the header {header}: the stream is followed"
    )
    return stream.colours


# The one step after every decoder ---------------------------------------------------------------------------------------


def _bits(data: Header) -> tuple[int, int]:
    """Return BitsStored and HighBit. Raises ``BadValue``: they do not fit the cell."""
    allocated = int(data.get("BitsAllocated") or 16)
    stored = int(data.get("BitsStored") or allocated)
    high = stored - 1 if data.get("HighBit") is None else int(data.HighBit)
    if not 1 <= stored <= high + 1 <= allocated:
        raise BadValue("its BitsAllocated, BitsStored and HighBit contradict each other")
    return stored, high


def _own_bits(cells: Cells, data: Header) -> Values:
    """Return the values of cells: bits of overlays and of nothing taken off, the sign bit carried up.

    A lossy stream of more bits than are stored runs over by its own error; such values are cut to the range.
    """
    array = cells.array.astype(cells.array.dtype.newbyteorder("="), copy=False)
    (stored, high), signed = _bits(data), bool(data.get("PixelRepresentation", 0))
    size = array.dtype.itemsize
    unused = 8 * size - stored
    if cells.lossy and cells.precision > stored and (array.dtype.kind == "i") == signed:
        low = -(1 << (stored - 1)) if signed else 0
        return array.clip(low, low + (1 << stored) - 1)
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    array = array.view(f"u{size}")
    if cells.precision > high and high + 1 > stored:
        notices.say("HighBit puts the value above the lowest bits of its cell: it is shifted down, as the header says")
        array = array >> (high + 1 - stored)
    if unused <= 0:
        return array.view(f"i{size}") if signed else array
    if signed:
        return (array << unused).view(f"i{size}") >> unused
    return array & ((1 << stored) - 1) if cells.precision > stored or cells.array.dtype.kind == "i" else array


def _rgb(array: Values, colours: str, bits: int) -> Values:
    """Return YBR of any depth as RGB, rounded as pydicom rounds; RGB as it is."""
    if colours == "RGB":
        return array
    if array.dtype.kind != "u":
        raise BadValue("signed colours")
    matrix = FROM_FULL if colours in FULL else FROM_PARTIAL
    zero = np.array([0 if colours in FULL else 16, 128, 128]) * 2.0 ** (bits - 8)
    flat, out = array.reshape(-1, 3), np.empty((array.size // 3, 3), array.dtype)
    for start in range(0, len(flat), AT_ONCE):
        some = (flat[start : start + AT_ONCE] - zero) @ matrix.T
        out[start : start + AT_ONCE] = np.floor(some + 0.5).clip(0, 2**bits - 1)
    return out.reshape(array.shape)

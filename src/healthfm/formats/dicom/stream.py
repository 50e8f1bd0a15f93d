"""Compressed frames of DICOM: what a stream says of itself, and its components as they were encoded, whatever it is.

One decoder for each kind, chosen by the stream's own first bytes, and none that converts colours: that is the business of the one
step after every decoder (``dicom_pixels``). Markers: ISO/IEC 10918-1 annex B (JPEG), 14495-1 (JPEG-LS), 15444-1 annex A (2000).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue

Values = npt.NDArray[Any]
SOI, EOI, SOC, JP2 = b"\xff\xd8", b"\xff\xd9", b"\xff\x4f", b"\0\0\0\x0cjP  "
DCT, LOSSLESS, LS = (0xC0, 0xC1, 0xC2), 0xC3, 0xF7  # frame headers of JPEG: lossy, lossless, JPEG-LS
OTHER_FRAMES = (0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)  # hierarchical or arithmetic coding
ADOBE = {0: "RGB", 1: "YBR_FULL"}  # the byte ``transform`` of the APP14 marker, of three components
RGB_NAMES = (b"RGB", b"rgb")


class Stream(NamedTuple):
    """What a stream says: its components, bits a sample, whether they are signed, whether it lost anything, and its colours, where it tells them."""

    kind: int
    components: int
    precision: int
    signed: bool
    lossy: bool
    colours: str | None = None


def begins(fragment: bytes) -> bool:
    """Whether a fragment begins a stream."""
    return fragment.startswith((SOI, SOC, JP2))


def told(frame: bytes) -> Stream:
    """Read the headers of a stream. Raises ``BadValue``: none that is known, or one that was cut short."""
    if frame.startswith((SOC, JP2)):
        return _told_2000(frame)
    if not frame.startswith(SOI):
        raise BadValue("the compressed pixels are no JPEG, JPEG-LS or JPEG 2000")
    return _told_jpeg(frame)


def decoded(frame: bytes, stream: Stream) -> Values:
    """Return the components [height, width(, components)], not converted."""
    import imagecodecs

    if stream.kind == SOC[1]:
        return np.asarray(imagecodecs.jpeg2k_decode(frame))
    if stream.kind == LS:
        return np.asarray(imagecodecs.jpegls_decode(frame))
    as_it_is = "ycbcr" if stream.components == 3 else None  # the same in and out: no conversion
    return np.asarray(imagecodecs.jpeg8_decode(frame, colorspace=as_it_is, outcolorspace=as_it_is))


def _told_jpeg(frame: bytes) -> Stream:
    adobe: str | None = None
    jfif, kind, precision, names, lossy = False, 0, 0, b"", True
    for marker, body in _segments(frame):
        if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = ADOBE.get(body[11])
        elif marker == 0xE0 and body.startswith(b"JFIF"):
            jfif = True
        elif marker in (*DCT, LOSSLESS, LS):
            kind, precision, names = marker, body[0], body[6 : 6 + 3 * body[5] : 3]
            lossy = marker in DCT
        elif marker in OTHER_FRAMES:
            raise BadValue("a JPEG that is hierarchical or arithmetically coded, which no decoder here reads")
        elif marker == 0xDA and kind == LS:
            lossy = body[1 + 2 * body[0]] > 0
    if not kind:
        raise BadValue("a JPEG without a frame header")
    if frame.rfind(EOI) < 0:  # the decoder of JPEG-LS would look for it for seconds
        raise BadValue("its compressed pixels are cut short")
    if kind == LS:
        return Stream(kind, len(names), precision, False, lossy)
    colours = adobe or ("RGB" if names in RGB_NAMES else None) or ("YBR_FULL" if jfif and kind != LOSSLESS else None)
    return Stream(kind, len(names), precision, False, lossy, colours if len(names) == 3 else None)


def _segments(frame: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, body) up to the first scan."""
    at = 2
    while at + 4 <= len(frame):
        if frame[at] != 0xFF:
            raise BadValue("a JPEG whose markers are damaged")
        marker = frame[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        length = int.from_bytes(frame[at + 2 : at + 4], "big")
        yield marker, frame[at + 4 : at + 2 + length]
        if marker == 0xDA:
            return
        at += 2 + length
    raise BadValue("its compressed pixels are cut short")


def _told_2000(frame: bytes) -> Stream:
    """Read SIZ and COD; the multiple component transform (of colours) is undone by the decoder."""
    at = frame.find(SOC + b"\xff\x51")
    if at < 0:
        raise BadValue("a JPEG 2000 without its image size")
    at += 2
    components, precision, signed, undone, lossy = 0, 0, False, False, False
    while at + 4 <= len(frame) and frame[at] == 0xFF and frame[at + 1] not in (0x90, 0x93, 0xD9):
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        body = frame[at + 4 : at + 2 + length]
        if marker == 0x51:
            sizes = body[36::3]
            components = len(sizes)
            precision, signed = max((one & 0x7F) + 1 for one in sizes), bool(sizes[0] & 0x80)
        elif marker == 0x52:
            undone, lossy = body[4] == 1, body[9] == 0
        at += 2 + length
    return Stream(SOC[1], components, precision, signed, lossy, "RGB" if undone else None)

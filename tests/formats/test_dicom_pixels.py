"""The one step after every decoder: the same values and colours whatever compressed them, as the standard's formulas say."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    HTJ2K,
    MPEG2MPML,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from healthfm.errors import DatasetError
from healthfm.formats import notices
from tests.formats.test_dicom import shown, stored, written

YBR = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)


def rgb(ybr: np.ndarray, bits: int = 8) -> np.ndarray:
    """Return full-range YBR as RGB (PS3.3 C.7.6.3.1.2)."""
    y, cb, cr = np.moveaxis(ybr.astype(float), -1, 0) - [[[0]], [[2 ** (bits - 1)]], [[2 ** (bits - 1)]]]
    return np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1).clip(0, 2**bits - 1)


def compressed(path: Path, array: np.ndarray, frames: list[bytes], syntax: UID, **tags: object) -> Path:
    """Write frames that were compressed from an array whose header this is."""
    colour = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "Rows": array.shape[0], "Columns": array.shape[1]}
    written(path, array, **(colour if array.ndim == 3 else {}), **tags)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = encapsulate(frames)
    data["PixelData"].VR = "OB"
    pydicom.dcmwrite(path, data)
    return path


def rle(array: np.ndarray) -> bytes:
    """Return planes of bytes, high before low, as PackBits would (here through pydicom's encoder)."""
    from pydicom.pixels.encoders.native import _encode_frame

    class Runner:
        bits_allocated, samples_per_pixel = array.dtype.itemsize * 8, array.shape[2] if array.ndim == 3 else 1
        rows, columns, byteorder = *array.shape[:2], "<"

        def get_option(self, name: str, default: object = None) -> object:
            return "<" if name == "byteorder" else default

    return bytes(_encode_frame(array.tobytes(), Runner()))  # type: ignore[arg-type]


LOSSLESS: dict[str, tuple[UID, Callable[[np.ndarray], bytes]]] = {
    "jpeg 2000": (JPEG2000Lossless, lambda a: imagecodecs.jpeg2k_encode(a, level=0, reversible=True, codecformat="j2k", mct=False)),
    "htj2k": (HTJ2K, lambda a: imagecodecs.htj2k_encode(a, reversible=True, rgb=False)),
    "jpeg-ls": (JPEGLSLossless, imagecodecs.jpegls_encode),
    "rle": (RLELossless, rle),
    "jpeg lossless": (
        JPEGLosslessSV1, lambda a: imagecodecs.jpeg8_encode(a, lossless=True, predictor=1, bitspersample=8 * a.itemsize, **(
            {"colorspace": "rgb", "outcolorspace": "rgb"} if a.ndim == 3 else {})),
    ),
}  # fmt: skip


# Colours --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*LOSSLESS, "native"])
def test_full_range_ybr_becomes_rgb_whatever_compressed_it(tmp_path: Path, kind: str) -> None:
    tags = {"PhotometricInterpretation": "YBR_FULL"}
    if kind == "native":
        path = written(tmp_path / "a.dcm", YBR, SamplesPerPixel=3, PlanarConfiguration=0, Rows=16, Columns=20, **tags)
    else:
        syntax, encode = LOSSLESS[kind]
        frame = encode(YBR)
        if kind == "jpeg lossless":  # the encoder's own marker says RGB; a plain stream has none
            frame = without_markers(frame)
        path = compressed(tmp_path / "a.dcm", YBR, [frame], syntax, **tags)
    assert np.abs(shown(path).astype(float) - rgb(YBR)).max() <= 0.5 + 1e-9


def without_markers(frame: bytes) -> bytes:
    """Take APP segments out of a JPEG, and name its components 1, 2, 3."""
    out, at = bytearray(frame[:2]), 2
    while frame[at + 1] != 0xDA:
        size = 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
        if not 0xE0 <= frame[at + 1] <= 0xEF:
            out += frame[at : at + size]
        at += size
    out += frame[at:]
    return (
        bytes(out).replace(b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0").replace(b"R\0G\0B\0", b"\1\0\2\0\3\0")
    )


@pytest.mark.parametrize("kind", LOSSLESS)
def test_rgb_stays_rgb_whatever_compressed_it(tmp_path: Path, kind: str) -> None:
    syntax, encode = LOSSLESS[kind]
    path = compressed(tmp_path / "a.dcm", YBR, [encode(YBR)], syntax, PhotometricInterpretation="RGB")
    np.testing.assert_array_equal(shown(path), YBR)


@pytest.mark.parametrize("header", ["RGB", "YBR_RCT", "YBR_ICT"])
def test_the_transform_of_jpeg_2000_is_undone_once(tmp_path: Path, header: str) -> None:
    frame = imagecodecs.jpeg2k_encode(YBR, level=0, reversible=True, codecformat="j2k", mct=True)
    path = compressed(tmp_path / "a.dcm", YBR, [frame], JPEG2000Lossless, PhotometricInterpretation=header)
    np.testing.assert_array_equal(shown(path), YBR)


def smooth() -> np.ndarray:
    x, y = np.meshgrid(np.linspace(40, 200, 32), np.linspace(60, 220, 24))
    return np.stack([x, y, 255 - x], -1).astype(np.uint8)


def baseline(marker: bytes, colorspace: str) -> bytes:
    """Return a JPEG of ``smooth`` whose components are RGB or YCbCr as they are, with one marker segment and no other."""
    frame = imagecodecs.jpeg8_encode(smooth(), 98, colorspace="rgb", outcolorspace=colorspace, subsampling="444")
    bare = without_markers(frame)
    return bare[:2] + marker + bare[2:]


def adobe(transform: int) -> bytes:
    return b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])


JFIF = b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"


@pytest.mark.parametrize(
    ("marker", "components", "header", "said"),
    [
        (b"", "ycbcr", "YBR_FULL_422", 0), (b"", "rgb", "RGB", 0), (JFIF, "ycbcr", "YBR_FULL", 0), (JFIF, "ycbcr", "RGB", 1),
        (adobe(1), "ycbcr", "YBR_FULL", 0), (adobe(1), "ycbcr", "RGB", 1), (adobe(0), "rgb", "RGB", 0), (adobe(0), "rgb", "YBR_FULL", 1),
    ],
)  # fmt: skip
def test_a_jpeg_that_says_its_colours_is_followed_else_the_header(
    tmp_path: Path, marker: bytes, components: str, header: str, said: int
) -> None:
    frame = baseline(marker, components)
    path = compressed(tmp_path / "a.dcm", smooth(), [frame], JPEGBaseline8Bit, PhotometricInterpretation=header)
    with notices.listening() as heard:
        found = shown(path)
    assert np.abs(found.astype(int) - smooth()).max() <= 4
    assert len(heard) == said and all("the stream is followed" in one for one in heard)


def test_partial_range_and_subsampled_ybr_is_expanded(tmp_path: Path) -> None:
    pairs = np.array([[16, 235, 128, 128, 81, 81, 90, 240]], np.uint8)  # black, white; red twice
    tags = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "Rows": 1, "Columns": 4}
    partial = shown(written(tmp_path / "a.dcm", pairs, **tags, PhotometricInterpretation="YBR_PARTIAL_422"))
    assert np.abs(partial[0].astype(int) - [[0, 0, 0], [255, 255, 255], [254, 0, 0], [254, 0, 0]]).max() <= 2
    full = shown(written(tmp_path / "b.dcm", pairs, **tags, PhotometricInterpretation="YBR_FULL_422"))
    assert full[0, 0].tolist() == [16, 16, 16]


def test_colours_that_the_header_wrongly_calls_subsampled_are_read_as_they_lie(tmp_path: Path) -> None:
    tags = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "Rows": 16, "Columns": 20}
    with notices.listening() as heard:
        found = shown(written(tmp_path / "a.dcm", YBR, **tags, PhotometricInterpretation="YBR_FULL_422"))
    assert np.abs(found.astype(float) - rgb(YBR)).max() <= 0.5 + 1e-9
    assert len(heard) == 1 and "subsampled" in heard[0]


def test_ybr_of_sixteen_bits_has_its_own_middle(tmp_path: Path) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (8, 9, 3), dtype=np.uint16)
    tags = {
        "SamplesPerPixel": 3,
        "PlanarConfiguration": 0,
        "Rows": 8,
        "Columns": 9,
        "PhotometricInterpretation": "YBR_FULL",
    }
    assert np.abs(stored(written(tmp_path / "a.dcm", deep, **tags)) - rgb(deep, 16)).max() <= 0.5 + 1e-6


def test_planes_of_colour_are_put_together_in_either_byte_order(tmp_path: Path) -> None:
    planes = np.ascontiguousarray(np.moveaxis(YBR, -1, 0))
    tags = {
        "SamplesPerPixel": 3,
        "PlanarConfiguration": 1,
        "Rows": 16,
        "Columns": 20,
        "PhotometricInterpretation": "RGB",
    }
    np.testing.assert_array_equal(stored(written(tmp_path / "a.dcm", planes, **tags)), YBR)
    data = pydicom.dcmread(tmp_path / "a.dcm")
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    data["PixelData"].VR = "OB"
    pydicom.dcmwrite(tmp_path / "b.dcm", data, little_endian=False, implicit_vr=False)
    np.testing.assert_array_equal(stored(tmp_path / "b.dcm"), YBR)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"PhotometricInterpretation": "HSV"}, "samples a pixel do not go with|is none that healthfm reads"),
        ({"PhotometricInterpretation": "RGB"}, "1 samples a pixel do not go with"),
        ({"BitsStored": 17}, "contradict each other"), ({"HighBit": 3}, "contradict each other"), ({"HighBit": 40}, "contradict each other"),
    ],
)  # fmt: skip
def test_headers_that_contradict_themselves_are_refused(tmp_path: Path, tags: dict[str, object], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        shown(written(tmp_path / "a.dcm", np.zeros((4, 4), np.uint16), **tags))


@pytest.mark.parametrize("name", ["BitsAllocated", "PixelRepresentation", "Rows"])
def test_what_a_header_lacks_is_named(tmp_path: Path, name: str) -> None:
    data = pydicom.dcmread(written(tmp_path / "a.dcm", np.zeros((4, 4), np.uint16)))
    delattr(data, name)
    pydicom.dcmwrite(tmp_path / "b.dcm", data)
    with pytest.raises(DatasetError, match=f"its header lacks {name}"):
        shown(tmp_path / "b.dcm")


def test_a_film_in_a_dicom_is_named(tmp_path: Path) -> None:
    path = compressed(
        tmp_path / "a.dcm", YBR, [b"\0\0\1\xb3" * 8], MPEG2MPML, PhotometricInterpretation="YBR_PARTIAL_420"
    )
    with pytest.raises(DatasetError, match="a film"):
        shown(path)


# Bits -----------------------------------------------------------------------------------------------------------------------

RAMP = (np.arange(320) * 12 % 4096).astype(np.uint16).reshape(16, 20)
OVERLAY = (np.arange(320) % 3 == 0).reshape(16, 20).astype(np.uint16)


@pytest.mark.parametrize("kind", [*LOSSLESS, "native"])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_the_stored_ones_are_no_part_of_the_value(tmp_path: Path, kind: str, signed: bool) -> None:
    cells = RAMP | OVERLAY << 12 | OVERLAY << 15
    right = RAMP.astype(np.int16) if not signed else np.where(RAMP > 2047, RAMP.astype(int) - 4096, RAMP)
    tags = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": int(signed)}
    if kind == "native":
        path = written(tmp_path / "a.dcm", cells, **tags)
    else:
        path = compressed(tmp_path / "a.dcm", cells, [LOSSLESS[kind][1](cells)], LOSSLESS[kind][0], **tags)
    np.testing.assert_array_equal(stored(path), right)


@pytest.mark.parametrize("kind", ["native", "rle", "jpeg-ls"])
def test_a_value_in_the_upper_bits_of_its_cell_is_shifted_down(tmp_path: Path, kind: str) -> None:
    cells = RAMP << 4 | OVERLAY
    tags = {"BitsStored": 12, "HighBit": 15}
    if kind == "native":
        path = written(tmp_path / "a.dcm", cells, **tags)
    else:
        path = compressed(tmp_path / "a.dcm", cells, [LOSSLESS[kind][1](cells)], LOSSLESS[kind][0], **tags)
    np.testing.assert_array_equal(stored(path), RAMP)


def test_a_stream_of_just_the_stored_bits_is_not_shifted(tmp_path: Path) -> None:
    frame = imagecodecs.jpeg2k_encode(RAMP, level=0, reversible=True, codecformat="j2k", bitspersample=12)
    path = compressed(tmp_path / "a.dcm", RAMP, [frame], JPEG2000Lossless, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(stored(path), RAMP)


def test_a_lossy_stream_that_runs_over_is_cut_to_the_range_and_not_wrapped(tmp_path: Path) -> None:
    edge = np.random.default_rng(2).choice(np.array([0, 1023], np.uint16), (32, 32))
    frame = imagecodecs.jpeg8_encode(edge, 60, bitspersample=12)
    over = np.asarray(imagecodecs.jpeg8_decode(frame))
    assert over.max() > 1023
    path = compressed(tmp_path / "a.dcm", edge, [frame], JPEGExtended12Bit, BitsStored=10, HighBit=9)
    np.testing.assert_array_equal(stored(path), over.clip(0, 1023))


@pytest.mark.parametrize("kind", [np.uint32, np.int32])
def test_words_of_32_bits_keep_their_value(tmp_path: Path, kind: type[np.generic]) -> None:
    array = np.array([[0, 1, 2**31 - 1], [7, 2**20, 5]]).astype(kind)
    np.testing.assert_array_equal(stored(written(tmp_path / "a.dcm", array)), array)
    low = written(
        tmp_path / "b.dcm", array.astype(np.uint32) | 1 << 30, BitsStored=21, HighBit=20, PixelRepresentation=0
    )
    np.testing.assert_array_equal(stored(low), array & (2**21 - 1))


# Frames ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["basic", "none", "extended"])
def test_frames_are_found_with_any_table_of_offsets(tmp_path: Path, table: str) -> None:
    pictures = [RAMP, RAMP + 5, RAMP * 2]
    streams = [LOSSLESS["jpeg-ls"][1](one) for one in pictures]
    path = compressed(tmp_path / "a.dcm", RAMP, streams, JPEGLSLossless, NumberOfFrames=3)
    data = pydicom.dcmread(path)
    if table == "extended":
        data.PixelData, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = encapsulate_extended(streams)
    else:
        data.PixelData = encapsulate(streams, has_bot=table == "basic")
    pydicom.dcmwrite(path, data)
    np.testing.assert_array_equal(stored(path), np.stack(pictures))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_deflated_frames_of_whole_bytes_are_inflated(tmp_path: Path, kind: type[np.generic]) -> None:
    pictures = np.stack([RAMP, RAMP // 2]).astype(kind)
    packed = [zlib.compressobj(wbits=-15) for _ in pictures]
    frames = [one.compress(array.tobytes()) + one.flush() for one, array in zip(packed, pictures, strict=True)]
    frames = [one + b"\0" * (len(one) % 2) for one in frames]
    path = compressed(tmp_path / "a.dcm", pictures[0], frames, JPEGBaseline8Bit, NumberOfFrames=2)
    path.write_bytes(
        path.read_bytes().replace(JPEGBaseline8Bit.encode(), b"1.2.840.10008.1.2.8.1\0")
    )  # pydicom cannot write it
    np.testing.assert_array_equal(stored(path), pictures)


@pytest.mark.parametrize("said", [1, 2, 4])
@pytest.mark.parametrize("has_table", [True, False])
def test_more_or_fewer_frames_than_the_header_says_are_refused(tmp_path: Path, said: int, has_table: bool) -> None:
    streams = [LOSSLESS["jpeg-ls"][1](RAMP)] * 3
    path = compressed(tmp_path / "a.dcm", RAMP, streams, JPEGLSLossless, NumberOfFrames=said)
    data = pydicom.dcmread(path)
    data.PixelData = encapsulate(streams, has_bot=has_table)
    pydicom.dcmwrite(path, data)
    with pytest.raises(DatasetError, match=r"frames|cannot be read"):
        stored(path)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_more_frames_in_a_native_file_are_refused_and_padding_is_not(tmp_path: Path, syntax: UID) -> None:
    with pytest.raises(DatasetError, match="more frames than its header says"):
        stored(written(tmp_path / "a.dcm", np.stack([RAMP, RAMP])))
    odd = np.arange(15, dtype=np.uint8).reshape(3, 5)
    path = written(tmp_path / "b.dcm", odd, PixelData=odd.tobytes() + b"\0")
    np.testing.assert_array_equal(stored(path), odd)


@pytest.mark.parametrize("kind", ["baseline", "extended", "jpeg lossless", "jpeg-ls", "jpeg 2000"])
def test_a_stream_that_was_cut_short_is_refused(tmp_path: Path, kind: str) -> None:
    if kind == "baseline":
        syntax, frame, array = JPEGBaseline8Bit, baseline(JFIF, "ycbcr"), smooth()
    elif kind == "extended":
        syntax, frame, array = JPEGExtended12Bit, imagecodecs.jpeg8_encode(RAMP, 90, bitspersample=12), RAMP
    else:
        (syntax, encode), array = LOSSLESS[kind], RAMP
        frame = encode(RAMP)
    tags = {"PhotometricInterpretation": "YBR_FULL"} if array.ndim == 3 else {"BitsStored": 12, "HighBit": 11}
    assert stored(compressed(tmp_path / "a.dcm", array, [frame], syntax, **tags)).shape == array.shape
    half = frame[: len(frame) // 2 // 2 * 2]
    with pytest.raises(DatasetError, match=r"cut short|cannot be read"):
        stored(compressed(tmp_path / "a.dcm", array, [half], syntax, **tags))

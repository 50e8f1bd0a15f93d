"""TIFF pictures by their own tags: how many pages, and samples that Pillow does not keep as they are (more than 8 bits, floats).

Rules: TIFF 6.0, BitsPerSample, PhotometricInterpretation (0: zero is white), PlanarConfiguration, NewSubfileType, SampleFormat.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, MissingExtra

Pixels = npt.NDArray[Any]
Tags = Mapping[int, Any]
SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLES, PLANAR, FORMAT = (
    254,
    255,
    256,
    257,
    258,
    262,
    277,
    284,
    339,
)
REDUCED_OR_MASK = 0b101  # bits of NewSubfileType: a smaller copy, a mask of another page
MAX_PAGES = 10_000
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
UNSIGNED = 1  # of SampleFormat


def page(handle: IO[bytes]) -> tuple[int, Tags]:
    """Return the number (from 0) and the tags of the one page that a file holds, smaller copies and masks left aside.

    Raises ``BadValue``: it holds several, or none.
    """
    found = [(number, tags) for number, tags in enumerate(_directories(handle)) if not _is_copy(tags)]
    if len(found) != 1:
        raise BadValue(f"{len(found)} pages, not one picture; save each page as a file of its own")
    return found[0]


def _directories(handle: IO[bytes]) -> list[Tags]:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    head = handle.read(8)
    if 43 in head[2:4]:  # BigTIFF
        head += handle.read(8)
    found: list[Tags] = []
    reader = ImageFileDirectory_v2(head)
    seen: set[int] = set()
    while reader.next and reader.next not in seen:
        if len(found) == MAX_PAGES:
            raise BadValue(f"more than {MAX_PAGES} pages, not one picture")
        seen.add(reader.next)
        handle.seek(reader.next)
        reader.load(handle)
        found.append({tag: reader.get(tag) for tag in reader})
    return found


def _is_copy(tags: Tags) -> bool:
    return bool(int(tags.get(SUBFILE) or 0) & REDUCED_OR_MASK) or tags.get(OLD_SUBFILE) == 2


def is_plain(tags: Tags) -> bool:
    """Whether Pillow keeps every bit of a page: whole numbers of up to 8 bits."""
    return max(_bits(tags)) <= 8 and set(_several(tags.get(FORMAT, UNSIGNED))) == {UNSIGNED}


def decode(data: bytes, number: int, tags: Tags) -> Pixels:
    """Return a page of any other samples, [height, width(, channels)]: 9 to 16 bits as uint16 over its full range, zero is black.

    Others keep their type. Raises ``BadValue`` for colours that no rule here makes a picture.
    """
    try:
        import imagecodecs
    except ImportError:
        raise MissingExtra("imaging", "imagecodecs") from None
    samples, photometric = int(tags.get(SAMPLES, 1)), tags.get(PHOTOMETRIC)
    bits = set(_bits(tags))
    colours = {1: (WHITE_IS_ZERO, BLACK_IS_ZERO), 2: (WHITE_IS_ZERO, BLACK_IS_ZERO), 3: (RGB,), 4: (RGB,)}
    if len(bits) > 1 or photometric not in colours.get(samples, ()):
        raise BadValue(
            f"a TIFF of {samples} samples a pixel of {', '.join(map(str, sorted(bits)))} bits whose "
            f"PhotometricInterpretation is {photometric}: no rule makes that a picture"
        )
    array = np.asarray(imagecodecs.tiff_decode(data, index=number))
    if samples > 1 and tags.get(PLANAR) == 2:
        array = np.moveaxis(array, 0, -1)
    return _full(array, bits.pop(), photometric == WHITE_IS_ZERO)


def _full(array: Pixels, bits: int, white_is_zero: bool) -> Pixels:
    if array.dtype.kind != "u" or bits > 16:
        if white_is_zero:
            raise BadValue("a TIFF of signed, 32 bit or floating samples whose zero is white: its black is not known")
        if array.dtype.kind == "f":
            return array.astype(np.float32)
        fits = array.dtype.itemsize > 1 and array.size and array.min() >= 0 and array.max() < 2**16
        return array.astype(np.uint16) if fits else array
    top = (1 << bits) - 1
    if white_is_zero:
        array = array.copy()
        grey = array if array.ndim == 2 else array[..., 0]
        np.subtract(top, grey, out=grey)
    if bits in (8, 16):
        return array
    return ((array.astype(np.uint32) * 65535 + top // 2) // top).astype(np.uint16)


def _bits(tags: Tags) -> tuple[int, ...]:
    return tuple(int(one) for one in _several(tags.get(BITS, 1)))


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)

"""Still images to arrays: PNG, JPEG, JPEG 2000, WebP, TIFF, BMP; 8 or 16 bits, grey, palette, CMYK, with or without alpha.

``pixels`` keeps what the file holds; ``rgb8`` is the one rule by which any picture becomes what a network for RGB sees.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError, MissingExtra
from healthfm.formats import notices, tiff_picture
from healthfm.formats.source import Source

if TYPE_CHECKING:
    from PIL import Image as Pillow

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # lengths of the second header of a BMP
MAX_PIXELS = 178_956_970  # Pillow's own limit: beyond it, a small file may be made to fill the memory
ORIENTATION = 274  # the EXIF and TIFF tag
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
Pixels = npt.NDArray[Any]


def pixels(source: Source) -> Pixels:
    """Decode to an array [height, width] or [height, width, channels] in the file's own depth (uint8, uint16, float32).

    Palettes, CMYK, YCbCr and LAB become RGB, bits become grey 0 and 255, 9 to 15 bits the full range of 16; zero is black, whatever a
    TIFF says of its own; alpha stays as the last channel. The EXIF orientation is applied: the picture is as its camera meant it.
    Raises ``DatasetError``: not an image, cut short, more than ``MAX_PIXELS``, or several pages or pictures in one file.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingExtra("imaging", "Pillow") from None
    try:
        with source.open() as handle:
            if handle.read(4) in TIFF:
                return _of_tiff(source)
        with source.open() as handle, Image.open(handle) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(source)
            _refuse_several(image)
            deep = _deep_colour(source, image)
            return _turned(_own_depth(image) if deep is None else deep, image.getexif().get(ORIENTATION, 1))
    except (DatasetError, MissingExtra):
        raise
    except BadValue as error:
        raise DatasetError(f"{source}: {error}") from None
    except Image.DecompressionBombError:
        raise _too_large(source) from None
    except UnidentifiedImageError:
        raise DatasetError(f"{source}: not a readable image (empty, or what it holds is no picture)") from None
    except Exception:  # what a decoder throws at damage is not foreseeable
        raise DatasetError(f"{source}: not a readable image (damaged, or cut short)") from None


def size(source: Source) -> tuple[int, int]:
    """Return height and width of a picture as ``pixels`` gives it, from its header. Raises ``DatasetError``: not an image."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("imaging", "Pillow") from None
    try:
        with source.open() as handle, Image.open(handle) as image:
            turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
            return (image.width, image.height) if turned else (image.height, image.width)
    except DatasetError:
        raise
    except Exception:  # what a decoder throws at damage is not foreseeable
        raise DatasetError(f"{source}: not a readable image (damaged, or what it holds is no picture)") from None


def holds_picture(path: Path) -> bool:
    """Whether a file begins as a PNG, JPEG, JPEG 2000, WebP or BMP does, whatever it is called.

    TIFF is not asked for: cameras' raw files and slides begin like it.
    """
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as handle:
            start = handle.read(18)
    except OSError:
        return False
    bitmap = start[:2] == b"BM" and start[6:10] == bytes(4) and int.from_bytes(start[14:18], "little") in BMP_HEADERS
    return start.startswith(STARTS) or bitmap or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def _of_tiff(source: Source) -> Pixels:
    """Decode the one page of a TIFF: by Pillow where that keeps every bit."""
    from PIL import Image

    with source.open() as handle:
        number, tags = tiff_picture.page(handle)
    if tags.get(tiff_picture.WIDTH, 0) * tags.get(tiff_picture.HEIGHT, 0) > MAX_PIXELS:
        raise _too_large(source)
    if tiff_picture.is_plain(tags):
        with source.open() as handle, Image.open(handle) as image:
            image.seek(number)
            return _own_depth(image)  # which Pillow has turned
    with source.open() as handle:
        array = tiff_picture.decode(handle.read(), number, tags)
    return _turned(array, tags.get(ORIENTATION, 1))


def _refuse_several(image: Pillow.Image) -> None:
    """Refuse an animation; of a camera's several pictures (MPO) the first is what any viewer shows, and that is said."""
    count = getattr(image, "n_frames", 1)
    if count > 1 and image.format == "MPO":
        notices.say("the file holds several pictures (MPO): its first is used, as viewers show it")
    elif count > 1:
        raise BadValue(f"{count} pictures in one file (an animation), not one picture; save each as a file of its own")


def _too_large(source: Source) -> DatasetError:
    return DatasetError(
        f"{source}: more than {MAX_PIXELS // 10**6} million pixels, refused as a possible decompression bomb; "
        "a scan of that size is opened as a slide"
    )


def _own_depth(image: Pillow.Image) -> Pixels:
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        return np.asarray(image.convert("RGB"))  # indices and inks are not the picture's values
    array = np.asarray(image)
    if array.dtype.kind == "i" and array.min(initial=0) >= 0 and array.max(initial=0) < 2**16:
        return array.astype(np.uint16)  # Pillow holds some 16-bit files in 32 bits
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _deep_colour(source: Source, image: Pillow.Image) -> Pixels | None:
    """Decode 16-bit colour, of which Pillow would drop the lower byte; None where that is not what the file holds."""
    if image.mode not in ("RGB", "RGBA", "LA"):
        return None
    if image.format != "PNG":
        return None
    with source.open() as handle:
        if handle.read(25)[24:] != b"\x10":
            return None
    try:
        import imagecodecs
    except ImportError:
        raise MissingExtra("imaging", "imagecodecs") from None
    with source.open() as handle:
        return np.asarray(imagecodecs.png_decode(handle.read()))


def _turned(array: Pixels, orientation: int) -> Pixels:
    """Return the picture upright, given its EXIF orientation (1 to 8; anything else is taken as 1)."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def rgb8(array: Pixels) -> npt.NDArray[np.uint8]:
    """Return any picture as uint8 RGB [height, width, 3], by one rule.

    Grey is repeated; alpha is dropped, as Pillow's ``convert("RGB")`` does; 16 bits are scaled by their full range (65535
    becomes 255; Pillow gives such files as int32 at times), bits and booleans too; floats are taken to lie in 0 to 1. Values are never stretched to a picture's own
    minimum and maximum: that is the window's business, not the format's. Raises ``BadValue`` for any other array.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)) or not array.size:
        shape = list(array.shape)
        raise BadValue(f"a picture has the shape [height, width] or [height, width, 1 to 4 channels], not {shape}")
    if array.dtype == np.uint8:
        eight = array
    elif array.dtype in (np.uint16, np.int32):
        if array.min() < 0 or array.max() > 65535:
            raise BadValue("a picture of whole numbers holds 0 to 65535; window or rescale it first")
        eight = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif array.dtype == np.bool_:
        eight = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min(initial=0) >= 0 and array.max(initial=0) <= 1):
            raise BadValue("a picture in floats must lie between 0 and 1")
        eight = np.rint(array * 255).astype(np.uint8)
    else:
        raise BadValue(f"no rule makes a picture of {array.dtype}; use uint8, uint16, or floats from 0 to 1")
    colour = eight[..., None] if eight.ndim == 2 else eight[..., : 1 if eight.shape[2] < 3 else 3]
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))

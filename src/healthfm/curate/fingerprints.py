"""Which picture is it? Hashes of what a picture shows, the same after resizing, JPEG, another depth, and a border cut off or put around it.

A hash says of each of a picture's lowest waves (the discrete cosine transform of a small grey copy) whether it is above the median of them:
of 8 x 8 waves (64 bits, as ``imagehash.phash``) and of 16 x 16 (256 bits). Cutting a border moves all waves, so each picture is hashed with
0 to 10 % of each side cut off in steps of 1 %, and two pictures are compared whole against cut, both ways.

Medical pictures look alike: radiographs of two patients often agree in all but 6 of 64 bits, where a copy with 2 % of its border cut off
differs in 8. So the 64 bits only choose what is compared (``HINT``), and the 256 bits decide (``SAME``). Both numbers were chosen on
1,233 chest radiographs, most of ChestX-ray14, and 190 patches of histology: of 1,021,058 pairs of two patients none but true copies differs in
44 bits or fewer, one in 48; of 677 pairs of one patient two other exposures do. ``benchmarks/picture_contamination.py`` prints what is
found after each change, and what is mistaken.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, MissingExtra

CUTS = tuple(step / 100 for step in range(11))  # share of each side that is cut off
HINT = 10  # of 64 bits: pairs that differ in more are not compared further
SAME = 44  # of 256 bits: pairs that differ in no more are one picture
COPY = 256  # pixels of each side of the copy that all hashes are made from
BORDER = 8  # of 255: lines that vary by no more at the edge of a picture are a border, and no part of what it shows
LEAST = 16  # pixels of a side, without its border, below which a picture shows too little to be told from others
PLAIN = 4.0  # of 255: the standard deviation below which it does
Grey = npt.NDArray[np.uint8]
Bits = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Print:
    """A picture's hashes by cut: ``coarse`` [11], ``fine`` [11, 4], and a digest of its very pixels."""

    coarse: Bits
    fine: Bits
    pixels: str


def fingerprint(pixels: npt.NDArray[Any]) -> Print | None:
    """Return a picture's hashes, [height, width] or [height, width, channels] of any depth; None where it shows too little.

    Raises ``BadValue``: an array that is no picture, or numbers that are not finite.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("imaging", "Pillow") from None
    inside = without_border(grey(pixels))
    if inside.std() < PLAIN or min(inside.shape) < LEAST:
        return None
    copy = Image.fromarray(inside).resize((COPY, COPY), Image.Resampling.LANCZOS, reducing_gap=3.0)
    turned = _waves()
    lowest = turned @ np.asarray(copy, np.float32) @ turned.transpose(0, 2, 1)
    digest = hashlib.sha256(f"{pixels.dtype} {pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes())
    return Print(_above(lowest[:, :8, :8])[:, 0], _above(lowest), digest.hexdigest()[:16])


@functools.cache
def _waves() -> npt.NDArray[np.float32]:
    """Return the 16 lowest cosines [cut, wave, pixel] over what a cut leaves of a side; pixels cut through count by their share."""
    found = []
    for cut in CUTS:
        first, last = COPY * cut, COPY * (1 - cut)
        pixel = np.arange(COPY)
        share = np.clip(np.minimum(pixel + 1, last) - np.maximum(pixel, first), 0, 1)
        middle = (pixel + 0.5 - first) / (last - first)
        found.append(share * np.cos(np.pi * np.arange(16)[:, None] * middle))
    return np.stack(found).astype(np.float32)


def _above(lowest: npt.NDArray[np.float32]) -> Bits:
    """Return which waves [cut, down, across] are above their median, as words of 64 bits."""
    flat = lowest.reshape(len(lowest), -1)
    return np.packbits(flat > np.median(flat, axis=1, keepdims=True), axis=1).view(np.uint64)


def grey(pixels: npt.NDArray[Any]) -> Grey:
    """Return a picture of any depth as grey of 8 bits: deeper ones are stretched over the range that they fill, for a hash asks no level.

    Raises ``BadValue``: no picture.
    """
    from PIL import Image

    if pixels.ndim not in (2, 3) or not pixels.size or (pixels.ndim == 3 and pixels.shape[2] not in (1, 2, 3, 4)):
        raise BadValue(
            f"a picture has the shape [height, width] or [height, width, 1 to 4 channels], not {list(pixels.shape)}"
        )
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise BadValue("a picture's numbers must be finite")
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = np.rint((pixels.astype(np.float32) - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        return np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[..., 0])
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels[..., :3])).convert("L"))


def without_border(picture: Grey) -> Grey:
    """Return a picture without the lines at its edges that hold one value; whole where nothing would be left of it."""
    span = [picture.max(axis).astype(np.int16) - picture.min(axis) > BORDER for axis in (1, 0)]
    rows, columns = (np.flatnonzero(one) for one in span)
    if len(rows) < LEAST or len(columns) < LEAST:
        return picture
    return np.ascontiguousarray(picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


class Index:
    """The fingerprints of a benchmark's pictures, made ready to be looked for."""

    def __init__(self, prints: list[Print]) -> None:
        self.coarse = np.stack([one.coarse for one in prints])
        self.fine = np.stack([one.fine for one in prints])
        self.pixels = [one.pixels for one in prints]

    def search(self, other: Print) -> Iterator[tuple[int, int, float]]:
        """Yield (which picture, bits of 256 in which it differs at best, the share of each side cut off there) for every one that is ``other``."""
        whole = np.bitwise_count(self.coarse ^ other.coarse[0]) <= HINT  # cut here against whole there
        cut = np.bitwise_count(self.coarse[:, :1] ^ other.coarse) <= HINT  # the reverse
        for number in np.flatnonzero(whole.any(axis=1) | cut.any(axis=1)).tolist():
            fine = self.fine[number]
            bits = np.concatenate([
                np.where(whole[number], np.bitwise_count(fine ^ other.fine[0]).sum(axis=1, dtype=np.int64), 256),
                np.where(cut[number], np.bitwise_count(fine[0] ^ other.fine).sum(axis=1, dtype=np.int64), 256),
            ])  # fmt: skip
            best = int(bits.argmin())
            if bits[best] <= SAME:
                yield number, int(bits[best]), CUTS[best % len(CUTS)]

"""Records of pixels. They are lazy: reading records never decodes an image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from healthfm.records.record import Record


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, the corner nearest the origin and the one opposite; of a volume, six numbers in voxels."""

    label: str
    corners: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Polygon:
    """An outline in pixels (x, y); ``plane`` is the slice or frame it lies in, if there are several."""

    label: str
    points: tuple[tuple[float, float], ...]
    plane: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Visual(Record):
    """What every record of pixels carries: ``masks`` by name (decoded on demand, on the pixels' grid), boxes, polygons.

    ``codes``: by which value each mask is told in a label map, where the files say it and not the card.
    ``ratio`` reads, of an image or film, a pixel's height over its width where a header may know it; None: square. The pixels
    that a record gives are the file's own all the same.
    """

    masks: Mapping[str, Callable[[], npt.NDArray[Any]]] = field(default_factory=dict)
    boxes: tuple[Box, ...] = ()
    polygons: tuple[Polygon, ...] = ()
    codes: Mapping[str, str] = field(default_factory=dict)
    ratio: Callable[[], float] | None = None

    @property
    def aspect(self) -> float:
        """Read and return the height of a pixel over its width: 1 is square."""
        return 1.0 if self.ratio is None else self.ratio()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Visual):
    """A still image. ``pixels`` decodes on demand: uint8 or uint16 array [height, width] or [height, width, channels]."""

    noun: ClassVar[str] = "image"

    load: Callable[[], npt.NDArray[Any]]

    @property
    def pixels(self) -> npt.NDArray[Any]:
        """Decode and return the pixels."""
        return self.load()

    def decoded(self) -> Self:
        """Return the record with its pixels in memory."""
        pixels = self.pixels
        return replace(self, load=lambda: pixels)

    def digest(self) -> str:
        """Return a short, stable fingerprint of the pixels, which are decoded for it, and of their shape."""
        pixels, tall = self.pixels, self.aspect
        shape = f"{pixels.dtype} {pixels.shape} {'' if tall == 1 else f'{tall} '}"
        return hashlib.sha256(shape.encode() + pixels.tobytes()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Visual):
    """A 3D image. ``voxels`` decodes on demand: [i, j, k], with named ``channels`` as last axis where there are several.

    ``affine`` [4, 4] leads from indices to millimetres (right, anterior, superior); reading it decodes no voxel.
    ``modality`` is DICOM's word (CT, MR, PT), if known.
    """

    noun: ClassVar[str] = "volume"
    stacked: ClassVar[bool] = True

    load: Callable[[], npt.NDArray[Any]]
    place: Callable[[], npt.NDArray[np.float64]]
    channels: tuple[str, ...] = ()
    modality: str | None = None

    @property
    def voxels(self) -> npt.NDArray[Any]:
        """Decode and return the voxels, in the file's own grid."""
        return self.load()

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Read and return the affine."""
        return self.place()

    @property
    def spacing(self) -> tuple[float, float, float]:
        """The distance of neighbours along each axis, in millimetres."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)


class Pyramid(Protocol):
    """An open slide: what its levels are and the pixels of any rectangle."""

    mpp: float
    levels: tuple[Any, ...]

    def read(self, level: int, x: int, y: int, width: int, height: int) -> npt.NDArray[np.uint8]:
        """Return RGB [height, width, 3] of a level; x and y in that level's pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slide(Visual):
    """A whole-slide image. ``open()`` gives its levels, micrometres per pixel and pixels; nothing is read before."""

    noun: ClassVar[str] = "slide"
    stacked: ClassVar[bool] = True

    open: Callable[[], Pyramid]


@dataclass(frozen=True, slots=True, kw_only=True)
class Video(Visual):
    """A film. ``frames()`` decodes one RGB frame after another; ``track()`` gives rate, length and size without decoding."""

    noun: ClassVar[str] = "film"
    stacked: ClassVar[bool] = True

    frames: Callable[[], Iterator[npt.NDArray[np.uint8]]]
    track: Callable[[], Any]

"""The nouns of data: frozen records that flow from readers to models and metrics.

Every record has an ``id`` that is unique in its dataset and the ``patient`` that must never straddle a split.
A label is a class name, a number, a set of names, ``MISSING`` or ``UNCERTAIN``; the owner's raw value stays in ``meta``.
Pixels are lazy: reading records never decodes an image.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue


class Mark(enum.Enum):
    """A label that is not there, or that its reader left open."""

    MISSING = "missing"
    UNCERTAIN = "uncertain"


MISSING = Mark.MISSING
UNCERTAIN = Mark.UNCERTAIN
Label = str | float | frozenset[str] | Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What every record carries."""

    id: str
    split: str | None = None
    patient: str | None = None
    site: str | None = None
    labels: Mapping[str, Label] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)


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

    ``ratio`` reads, of an image or film, a pixel's height over its width where a header may know it; None: square. The pixels
    that a record gives are the file's own all the same.
    """

    masks: Mapping[str, Callable[[], npt.NDArray[Any]]] = field(default_factory=dict)
    boxes: tuple[Box, ...] = ()
    polygons: tuple[Polygon, ...] = ()
    ratio: Callable[[], float] | None = None

    @property
    def aspect(self) -> float:
        """Read and return the height of a pixel over its width: 1 is square."""
        return 1.0 if self.ratio is None else self.ratio()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Visual):
    """A still image. ``pixels`` decodes on demand: uint8 or uint16 array [height, width] or [height, width, channels]."""

    load: Callable[[], npt.NDArray[Any]]

    @property
    def pixels(self) -> npt.NDArray[Any]:
        """Decode and return the pixels."""
        return self.load()


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Visual):
    """A 3D image. ``voxels`` decodes on demand: [i, j, k], with named ``channels`` as last axis where there are several.

    ``affine`` [4, 4] leads from indices to millimetres (right, anterior, superior); reading it decodes no voxel.
    ``modality`` is DICOM's word (CT, MR, PT), if known.
    """

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

    open: Callable[[], Pyramid]


@dataclass(frozen=True, slots=True, kw_only=True)
class Video(Visual):
    """A film. ``frames()`` decodes one RGB frame after another; ``track()`` gives rate, length and size without decoding."""

    frames: Callable[[], Iterator[npt.NDArray[np.uint8]]]
    track: Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRecord(Record):
    """What every text record carries: ``media`` it refers to, in order."""

    media: tuple[Visual, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(TextRecord):
    """A text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QA(TextRecord):
    """A question with its accepted answers (none where they are withheld)."""

    question: str
    context: str = ""
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipleChoice(TextRecord):
    """A question with options by key; ``answer`` is a key, several keys, or None where it is withheld."""

    question: str
    options: Mapping[str, str]
    context: str = ""
    answer: str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.question, str):
            raise BadValue("the question is not text")
        if not all(isinstance(one, str) for one in self.options.values()):
            raise BadValue("an option is not text")
        if len(self.options) < 2:
            raise BadValue(f"{len(self.options)} option(s), at least two are needed")
        keys = () if self.answer is None else (self.answer,) if isinstance(self.answer, str) else self.answer
        if any(key not in self.options for key in keys):
            raise BadValue(f"the answer is not among the options ({', '.join(self.options)})")


@dataclass(frozen=True, slots=True)
class Message:
    """A turn of a conversation: ``content`` holds text and media; their order is their placement."""

    role: str
    content: str | tuple[str | Visual, ...]


def unit_of(record: Record) -> str:
    """Return what must never straddle a split: the patient, or the record itself where none is named."""
    return record.id if record.patient is None else record.patient


KINDS: Mapping[str, type[Record]] = {
    kind.__name__: kind for kind in (Document, QA, MultipleChoice, Image, Volume, Slide, Video)
}


def digest(record: Record) -> str:
    """Return a short, stable fingerprint of a record's content (not of its labels or meta); an image is decoded for it."""
    if isinstance(record, Image):
        pixels, tall = record.pixels, record.aspect
        shape = f"{pixels.dtype} {pixels.shape} {'' if tall == 1 else f'{tall} '}"
        return hashlib.sha256(shape.encode() + pixels.tobytes()).hexdigest()[:16]
    content = {
        name: getattr(record, name) for name in ("text", "question", "context", "options") if hasattr(record, name)
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=dict).encode()).hexdigest()[:16]

"""Which record a file of pixels becomes, and how its pixels are decoded when they are asked for."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from healthfm.datasets.dataset import Dataset
from healthfm.errors import DatasetError
from healthfm.formats import image, nifti, video, volume
from healthfm.formats.dicom import file as dicom
from healthfm.formats.dicom import index as dicom_index
from healthfm.formats.dicom import picture as dicom_picture
from healthfm.formats.dicom import pixel_shape
from healthfm.formats.slide import files as slide_files
from healthfm.formats.slide import pyramid as slide
from healthfm.formats.source import Source
from healthfm.formats.walk import by_name
from healthfm.records import Image, Record, Slide, Video, Visual, Volume

VISUAL: Mapping[str, type[Visual]] = {"Image": Image, "Volume": Volume, "Slide": Slide, "Video": Video}
MODALITIES = {"Image": "image", "Volume": "volume", "Slide": "slide", "Video": "video", "Timeline": "timeline"}
BESIDE = (".raw", ".zraw", ".img")  # the voxels of a header beside them, packed by gzip or not


def kind_of(path: Path) -> str | None:
    """Return the record a file becomes (a folder: of DICOM slices, or of one DICOM-WSI), or None for neither.

    Volumes, slides and films go by their names, in any case; DICOM and pictures by their content, whatever they are called, and by
    their names, so that a damaged one fails instead of being passed over. A DICOM file is an Image, one of a whole-slide image a
    Slide, a folder of them a Volume; ``.tif`` is an Image unless it is tiles of a pyramid or at a microscope's resolution
    (``slide_files.is_slide_tiff``).
    """
    if path.is_dir():
        return _kind_of_folder(path)
    name = path.name.lower()
    for kind, suffixes in (("Volume", volume.SUFFIXES), ("Slide", slide.SLIDE_ONLY), ("Video", video.SUFFIXES)):
        if name.endswith(suffixes):
            return kind
    if name.endswith(nifti.PAIRED):
        return "Volume" if nifti.is_header(path) else None
    if name.endswith(slide_files.TIFF) and slide_files.is_slide_tiff(path):
        return "Slide"
    if slide_files.instance(path) is not None:
        return "Slide"
    return "Image" if name.endswith(image.SUFFIXES) or dicom.is_dicom(path) or image.holds_picture(path) else None


def _kind_of_folder(path: Path) -> str | None:
    """Tell by the first DICOM file that holds a picture: others (reports, annotations) may lie beside it."""
    kind = None
    for file in sorted(path.iterdir()):
        if file.is_file() and by_name(file.name) is None and dicom.is_dicom(file):
            kind = "Volume"
            try:
                row = dicom_index.read(file)
            except DatasetError:
                break
            if row.get("SOPClassUID") == dicom_index.WHOLE_SLIDE:
                return "Slide"
            if row.get("Rows"):
                break
    return kind


def fields_of(kind: str, source: Source, mpp: float | None = None) -> dict[str, Any]:
    """Return the fields of a record that decode a file on demand; ``mpp`` overrides a slide's own resolution."""
    if kind == "Image":
        return {"load": functools.partial(picture, source), "ratio": functools.partial(pixel_ratio, source)}
    if kind == "Volume":
        return {"load": functools.partial(volume.voxels, source), "place": functools.partial(volume.affine, source)}
    if kind == "Slide":
        return {"open": functools.partial(slide.SlideFile, source.path, mpp)}
    return {
        "frames": functools.partial(video.frames, source), "track": functools.partial(video.track, source),
        "ratio": functools.partial(video.aspect, source),
    }  # fmt: skip


def picture(source: Source) -> npt.NDArray[Any]:
    """Decode a still image of any format; a DICOM as a viewer shows it (``formats.dicom_picture``)."""
    if _is_dicom(source):
        if slide_files.instance(source.path) is not None:
            slide_files.entry(source.path)
            raise DatasetError(
                f"{source}: a slide (a DICOM whole-slide image), not one picture; name it as a slide in a manifest"
            )
        shown = dicom_picture.picture(source)
        if shown.ndim > (3 if shown.shape[-1] == 3 else 2):
            raise DatasetError(f"{source}: {len(shown)} frames, not one picture; name it as a volume in a manifest")
        return shown
    return image.pixels(source)


def pixel_ratio(source: Source) -> float:
    """Return the height of a pixel over its width: a DICOM's header may say so (``formats.pixel_shape``); of others it is 1."""
    return pixel_shape.aspect(source) if _is_dicom(source) else 1.0


def _is_dicom(source: Source) -> bool:
    """Whether a source holds DICOM; a damaged file goes by its name, where that is no picture's."""
    if source.member is not None:
        return False
    return (
        dicom.holds_dicom(source.path) if source.name.lower().endswith(image.SUFFIXES) else dicom.is_dicom(source.path)
    )


def decoded(opened: Dataset) -> Iterator[tuple[Record, Any]]:
    """Yield every record with its pixels, voxels, open slide or first frame; what cannot be decoded is raised, or listed.

    A dataset opened with ``on_error="collect"`` lists it in ``errors``, one line a record, and goes on.
    """
    failures: list[DatasetError] = []
    for record in opened:
        try:
            pair = record, _content(record)
        except DatasetError as error:
            if opened.on_error == "raise":
                raise
            failures.append(error)
            continue
        yield pair
    opened.errors += failures


def _content(record: Record) -> Any:
    if isinstance(record, Image | Volume):
        return record.load()
    if isinstance(record, Slide):
        return record.open()
    if isinstance(record, Video):
        return next(record.frames())
    raise DatasetError(f"a {type(record).__name__} has no pixels to decode")

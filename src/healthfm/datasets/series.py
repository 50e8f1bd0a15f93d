"""Series of DICOM files: a folder a series, told by the headers and not by the names of folders; a downloader's table held against them.

A series is one record. A segmentation (DICOM SEG) gives the masks of the series that it is of; what else has no pixels of a scan (reports,
plans) is passed over by name; a picture that is no slice of a volume (a radiograph) is an Image; the phases of a dynamic series are the
channels of one Volume. A file that stands twice, and a series in two folders or among others, is named.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from healthfm.datasets import media
from healthfm.datasets.locate import Files
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, volume
from healthfm.formats.dicom import index, segmentation
from healthfm.formats.dicom import series as dicom_series
from healthfm.formats.dicom.segmentation import Segmentation
from healthfm.formats.source import Row, Source
from healthfm.records import Image, Record, Volume

SEGMENTED = "a segmentation (DICOM SEG)"
PARTS = 4  # of a folder's path: collection, patient, examination, series


class Series(NamedTuple):
    """The files of one series, which fill a folder, with their headers."""

    uid: str
    folder: Path
    files: list[tuple[Path, index.Row]]
    masks: tuple[Segmentation, ...] = ()

    @property
    def head(self) -> index.Row:
        return self.files[0][1]

    @property
    def place(self) -> str:
        return "/".join(self.folder.parts[-PARTS:])


Joined = Callable[
    [Segmentation, str, index.Row], bool
]  # is a segmentation of the series of this UID, whose first header this is?


def named_by_uid(found: Segmentation, uid: str, head: index.Row) -> bool:
    """Whether a segmentation names a series as the one that it is of."""
    return found.series == uid


def each_series(
    files: Files, role: str, passed: set[str] | None = None, joined: Joined = named_by_uid
) -> Iterator[Series]:
    """Yield the series of a role's files, folder by folder, in order; only headers are read. ``passed`` gets the UIDs of what is no scan."""
    folders = dict[Path, dict[Path, None]]()
    for source in files.all(role):
        if source.member is not None:
            files.problems.add(DatasetError(f"{source}: DICOM inside an archive; unpack it"))
        else:
            folders.setdefault(source.path.parent, {})[source.path] = None
    first, masks, used = dict[str, Path](), _segmentations(files, folders), set[Path]()
    for folder, paths in folders.items():
        held = dict[str, list[tuple[Path, index.Row]]]()
        for path in paths:
            try:
                row = index.read(path)
            except DatasetError as error:
                files.problems.add(error)
                continue
            held.setdefault(row.get("SeriesInstanceUID") or "", []).append((path, row))
        for uid, found in held.items():
            reason = _wrong(uid, folder, found, len(held), first)
            none = _no_scan(found[0][1])
            if reason:
                files.problems.add(DatasetError(f"{folder}: {reason}"))
            elif none:
                if none != SEGMENTED:
                    files.problems.passed.append((str(folder), none))
                if passed is not None:
                    passed.add(uid)
            else:
                mine = tuple(one for one in masks if joined(one, uid, found[0][1]))
                used.update(one.path for one in mine)
                yield Series(uid, folder, found, mine)
    for left in masks:
        if left.path not in used:
            files.problems.passed.append((str(left.path), "a segmentation (DICOM SEG) of no series that is here"))


def _segmentations(files: Files, folders: Mapping[Path, Iterable[Path]]) -> list[Segmentation]:
    """Return the segmentations among the files, which fill folders of their own: the first file of each folder tells."""
    found = list[Segmentation]()
    for paths in folders.values():
        for path in paths:
            try:
                if index.read(path).get("SOPClassUID") not in segmentation.STORAGE:
                    break
                found.append(segmentation.describe(path))
            except DatasetError as error:
                files.problems.add(error)
    return found


def _no_scan(row: index.Row) -> str:
    """Say what a series is whose files hold no pixels of a scan; "" for a scan."""
    if row.get("SOPClassUID") in segmentation.STORAGE:
        return SEGMENTED
    if row.get("SOPClassUID") == index.WHOLE_SLIDE:
        return "a slide: open it as data of your own"
    return "a DICOM series without pixels (a report, a plan)" if index.without_pixels(row) else ""


def _wrong(uid: str, folder: Path, found: list[tuple[Path, index.Row]], series: int, first: dict[str, Path]) -> str:
    """Say what keeps the files of a series from being one record; "" where nothing does."""
    if not uid:
        return f"{len(found)} files without a SeriesInstanceUID"
    if series > 1:
        return f"{series} series in one folder; put each in a folder of its own ({uid})"
    if first.setdefault(uid, folder) != folder:
        return f"series {uid} stands in {first[uid]} too"
    seen = dict[str, Path]()
    for path, row in found:
        twin = seen.setdefault(row.get("SOPInstanceUID") or str(path), path)
        if twin != path:
            return f"{path.name} and {twin.name} are one slice, which stands twice"
    return ""


def records(series: Series, split: str, **more: Any) -> Iterator[Record]:
    """Yield the record of a series: a Volume, or an Image a file where its files lie nowhere in space."""
    head = series.head
    about = {
        "split": split, "patient": head.get("PatientID") or None,
        **more, "meta": {"study": head.get("StudyInstanceUID"), "series": series.uid, "folder": series.place, **more.get("meta", {})},
    }  # fmt: skip
    many = (head.get("NumberOfFrames") or 1) > 1
    if not many and not head.get("ImagePositionPatient"):
        for path, row in series.files:
            yield Image(
                id=str(row.get("SOPInstanceUID") or path.name), **media.fields_of("Image", Source(path)), **about
            )
    elif many:
        for path, row in series.files:
            yield Volume(
                id=str(row.get("SOPInstanceUID") or path.name), modality=head.get("Modality"), **media.fields_of("Volume", Source(path)), **about
            )  # fmt: skip
    else:
        yield Volume(
            id=series.uid, modality=head.get("Modality"), **_stack(series), **({"masks": masks(series)} | about)
        )


def _stack(series: Series) -> dict[str, Any]:
    """Return the fields of a volume that decode a series of slices; the phases of a dynamic one are channels."""
    phases = sorted({row.get(dicom_series.PHASE) or 0 for _, row in series.files})
    if len(phases) == 1:
        source = Source(series.folder)
        return {"load": functools.partial(volume.voxels, source), "place": functools.partial(volume.affine, source)}
    return {
        "load": functools.partial(dicom_series.phase_voxels, series.folder), "place": functools.partial(dicom_series.phase_affine, series.folder),
        "channels": tuple(f"phase {number}" for number in phases),
    }  # fmt: skip


def masks(series: Series, zeros: bool = False) -> dict[str, Callable[[], npt.NDArray[np.bool_]]]:
    """Return the masks of a series' segmentations by their owner's labels; ``zeros``: where values are 0, of masks that mark what was left out."""
    found = dict[str, Callable[[], npt.NDArray[np.bool_]]]()
    for one in series.masks:
        for segment in one.segments:
            name, number = segment.label, 2
            while name in found:
                name, number = f"{segment.label} ({number})", number + 1
            found[name] = functools.partial(_mask, one.path, None if zeros else segment.number, series)
    return found


def _mask(path: Path, segment: int | None, series: Series) -> npt.NDArray[np.bool_]:
    """Decode a segment's mask on the grid of a series; no segment: where values are 0."""
    phases, affine = dicom_series.phases(series.folder)
    uids = {file: str(row.get("SOPInstanceUID")) for file, row in series.files}
    slices = [frozenset(uids[phase[number]] for phase in phases) for number in range(len(phases[0]))]
    shape = (int(series.head["Columns"]), int(series.head["Rows"]), len(slices))
    if segment is None:
        return segmentation.zeros(path, shape, affine)
    return segmentation.mask(path, segment, shape, affine, slices)


def listed(
    files: Files, role: str = "images", table: str = "series table", joined: Joined = named_by_uid
) -> Iterator[tuple[Series, Row | None]]:
    """Yield every series with its row of the downloader's table, joined by UID; None where no table is here.

    A series that the table lacks, one that it lists and that is not here, and a number of files that is not the table's are problems.
    """
    rows = dict[str, Row]()
    for source in files.all(table):
        for row in delimited.rows(source, ","):
            with row:
                if row["Series UID"] in rows:
                    raise BadValue("the series is listed twice")
                rows[row["Series UID"]] = row
    left, passed = dict(rows), set[str]()
    for series in each_series(files, role, passed, joined):
        found = left.pop(series.uid, None)
        if found is None:
            if rows:
                files.problems.add(
                    DatasetError(f"{series.folder}: series {series.uid} is not listed in {files.all(table)[0].name}")
                )
            else:
                yield series, None
            continue
        with found as row:
            if int(row["Number of Images"]) != len(series.files):
                raise BadValue(
                    f"{len(series.files)} files of the series are here, {row['Number of Images']} are listed; slices are missing or doubled"
                )
            told = row["File Location"].replace("\\", "/").rstrip("/").split("/")[-PARTS:]
            if "/".join(told) != series.place:
                files.problems.notices.append(
                    f"{series.folder}: not the folder that {row.source.name} names for its series; the headers are followed"
                )
            yield series, row
    for uid, row in left.items():
        if uid not in passed:
            files.problems.add(row.error("its series is not here, or could not be read"))

"""Series of DICOM files: a folder a series, told by the headers and not by the names of folders; a downloader's table held against them.

A series is one record. What has no pixels of a scan (reports, plans, segmentations) is passed over by name; a picture that is no slice
of a volume (a radiograph) is an Image. A file that stands twice, and a series in two folders or among others, is named.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from healthfm.datasets import media
from healthfm.datasets.locate import Files
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, volume
from healthfm.formats.dicom import index
from healthfm.formats.source import Row, Source
from healthfm.records import Image, Record, Volume

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
PARTS = 4  # of a folder's path: collection, patient, examination, series


class Series(NamedTuple):
    """The files of one series, which fill a folder, with their headers."""

    uid: str
    folder: Path
    files: list[tuple[Path, index.Row]]

    @property
    def head(self) -> index.Row:
        return self.files[0][1]

    @property
    def place(self) -> str:
        return "/".join(self.folder.parts[-PARTS:])


def each_series(files: Files, role: str, passed: set[str] | None = None) -> Iterator[Series]:
    """Yield the series of a role's files, folder by folder, in order; only headers are read. ``passed`` gets the UIDs of what is no scan."""
    folders = dict[Path, dict[Path, None]]()
    for source in files.all(role):
        if source.member is not None:
            files.problems.add(DatasetError(f"{source}: DICOM inside an archive; unpack it"))
        else:
            folders.setdefault(source.path.parent, {})[source.path] = None
    first = dict[str, Path]()
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
                files.problems.passed.append((str(folder), none))
                if passed is not None:
                    passed.add(uid)
            else:
                yield Series(uid, folder, found)


def _no_scan(row: index.Row) -> str:
    """Say what a series is whose files hold no pixels of a scan; "" for a scan."""
    if row.get("SOPClassUID") == SEGMENTATION:
        return "a segmentation (DICOM SEG), which is not read"
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
        source = Source(series.folder)
        yield Volume(
            id=series.uid, modality=head.get("Modality"), load=functools.partial(volume.voxels, source), place=functools.partial(volume.affine, source), **about
        )  # fmt: skip


def listed(files: Files, role: str = "images", table: str = "series table") -> Iterator[tuple[Series, Row | None]]:
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
    for series in each_series(files, role, passed):
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

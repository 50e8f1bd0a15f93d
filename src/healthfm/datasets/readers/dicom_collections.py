"""Collections of DICOM series, as TCIA and its tools lay them out."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from lxml import etree

from healthfm.datasets import consensus
from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.datasets.readers.slides_and_tiles import slide_of
from healthfm.datasets.series import Series, each_series, listed, masks, named_by_uid, records
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, spreadsheet, xml
from healthfm.formats.dicom import index
from healthfm.formats.dicom import series as dicom_series
from healthfm.formats.dicom.segmentation import Segmentation
from healthfm.formats.source import Row, Source
from healthfm.records import Label, Polygon, Record, Slide, Volume


@dataset("tcia", record=Volume)
def tcia(files: Files, split: str) -> Iterator[Record]:
    """A folder of the archive's own downloader, of any collection: metadata.csv lists the series."""
    for series, row in listed(files, "series"):
        said = {} if row is None else dict(row)
        yield from records(series, split, site=said.get("Collection") or None, meta=said)


# LIDC-IDRI --------------------------------------------------------------------------------------------------------------------

READERS = 4  # of a scan
LIDC = "{http://www.nih.gov}"
Nodule = dict[str, Any]


@dataset("lidc-idri", record=Volume)
def lidc_idri(files: Files, split: str) -> Iterator[Record]:
    """A CT scan with the outlines of up to four readers, who are not named; radiographs and their annotations are passed over.

    ``consensus``: also a mask of what they agree on, a nodule each (``healthfm.datasets.consensus``).
    """
    annotations = _annotations(files)
    for series in each_series(files, "images"):
        if series.head.get("Modality") != "CT":
            files.problems.passed.append((str(series.folder), "a radiograph of the collection, no CT scan"))
            continue
        with Row({}, Source(series.folder, problems=files.problems), series.uid):
            if series.uid not in annotations:
                raise BadValue("no annotation of this series is here")
            polygons, nodules = _readings(xml.root(annotations[series.uid]), _planes(series))
            for made in records(series, split, polygons=tuple(polygons), meta={"nodules": nodules}):
                yield _agreed(made) if files.variant == "consensus" and isinstance(made, Volume) else made


def _agreed(scan: Volume) -> Volume:
    """Return a scan with a mask of each nodule of 3 mm or more that half of those who marked it agree on, and who they are in ``meta["consensus"]``."""
    marked: dict[str, list[Polygon]] = {one["name"]: [] for one in scan.meta["nodules"] if not one["under 3 mm"]}
    for outline in scan.polygons:
        name = outline.label.removesuffix(consensus.HOLE)
        if name in marked:
            marked[name].append(outline)
    joined = consensus.groups({name: those for name, those in marked.items() if those}, scan.spacing, READERS)
    masks = {
        f"nodule {number}": functools.partial(_common, scan, [marked[name] for name in names])
        for number, names in enumerate(joined, 1)
    }
    return replace(
        scan,
        masks=masks,
        meta={**scan.meta, "consensus": {f"nodule {number}": names for number, names in enumerate(joined, 1)}},
    )


def _common(scan: Volume, marked: list[list[Polygon]]) -> npt.NDArray[np.bool_]:
    return consensus.agreed(marked, scan.voxels.shape)


def _annotations(files: Files) -> dict[str, Source]:
    """Return the annotations of CT scans by the series that they are of."""
    found = dict[str, Source]()
    for source in dict.fromkeys(files.all("annotations")):
        root = xml.root(source)
        if root.tag != f"{LIDC}LidcReadMessage":
            files.problems.passed.append((str(source), "no annotation of a CT scan (of a radiograph)"))
            continue
        with Row({}, source, 1):
            found.setdefault(xml.text(root, f"{LIDC}ResponseHeader/{LIDC}SeriesInstanceUid"), source)
    return found


def _planes(series: Series) -> dict[str, int]:
    """Return the number of each slice in the order of positions, as the voxels have it, by its SOPInstanceUID."""
    uids = {path: str(row.get("SOPInstanceUID")) for path, row in series.files}
    return {uids[path]: number for number, path in enumerate(dicom_series.files(series.folder))}


def _readings(root: etree._Element, planes: Mapping[str, int]) -> tuple[list[Polygon], list[Nodule]]:
    """Return outlines and nodules of all readers. An outline is the first ring of pixels outside a nodule, or (hole) what is cut from it."""
    polygons, nodules = list[Polygon](), list[Nodule]()
    for reader, session in enumerate(root.iterfind(f"{LIDC}readingSession"), 1):
        for nodule in session.iterfind(f"{LIDC}unblindedReadNodule"):
            name = f"reader {reader} nodule {xml.text(nodule, f'{LIDC}noduleID')}"
            rated = nodule.find(f"{LIDC}characteristics")
            given = (
                [] if rated is None else [(str(one.tag).removeprefix(LIDC), (one.text or "").strip()) for one in rated]
            )
            ratings = {kind: int(text) for kind, text in given if text}
            nodules.append({"name": name, "reader": reader, "characteristics": ratings, "under 3 mm": not ratings})
            for roi in nodule.iterfind(f"{LIDC}roi"):
                inside = {"TRUE": "", "FALSE": " hole"}[xml.text(roi, f"{LIDC}inclusion").upper()]
                polygons.append(_outline(roi, "edgeMap", name + (inside if ratings else " point"), planes))
        for other in session.iterfind(f"{LIDC}nonNodule"):
            name = f"reader {reader} non-nodule {xml.text(other, f'{LIDC}nonNoduleID')} point"
            polygons.append(_outline(other, "locus", name, planes))
    return polygons, nodules


def _outline(element: etree._Element, tag: str, name: str, planes: Mapping[str, int]) -> Polygon:
    uid = xml.text(element, f"{LIDC}imageSOP_UID")
    if uid not in planes:
        raise BadValue("an outline is on a slice that is not here")
    points = tuple(
        (float(xml.text(one, f"{LIDC}xCoord")), float(xml.text(one, f"{LIDC}yCoord"))) for one in element.iterfind(f"{LIDC}{tag}")
    )  # fmt: skip
    if not points:
        raise BadValue("an outline without a point")
    return Polygon(name, points, planes[uid])


# Trials -----------------------------------------------------------------------------------------------------------------------


@dataset("nlst", record=Volume)
def nlst(files: Files, split: str) -> Iterator[Record]:
    """Series of the CT arm with what the tables say of their participant; slides are named after theirs."""
    people, more = dict[str, Row](), dict[str, dict[str, list[Row]]]()
    for source in files.all("tables"):
        name = source.name.split("_")[2]
        for row in delimited.rows(source, ","):
            with row:
                if name != "prsn":
                    more.setdefault(row["pid"], {}).setdefault(name, []).append(row)
                elif people.setdefault(row["pid"], row) is not row:
                    raise BadValue("a participant stands twice")

    def about(pid: str) -> dict[str, Any]:
        if pid not in people:
            raise BadValue("its participant is not in the table of participants")
        return {
            "participant": dict(people[pid]),
            **{name: [dict(one) for one in rows] for name, rows in more.get(pid, {}).items()},
        }

    for series, _ in listed(files):
        with Row({}, Source(series.folder, problems=files.problems), series.uid):
            yield from records(series, split, meta=about(str(series.head.get("PatientID"))))
    for slide in files.all("slides"):
        with Row({}, slide, slide.name):
            pid = slide.name.split("_")[0]
            yield Slide(id=slide.name, split=split, patient=pid, meta=about(pid), **slide_of(slide))


TUMOUR = "functional tumour volume"


@dataset("i-spy2", record=Volume)
def i_spy2(files: Files, split: str) -> Iterator[Record]:
    """Series with the clinical row of their patient, whose number in the sheet lacks the ISPY2- before it.

    Analysis masks name no series: each is of the map of signal enhancement ratios (SER) of its study that is called as it is, and its
    functional tumour volume is where its values are 0 (their bits say by which step a voxel was left out).
    """
    people = {f"ISPY2-{row['Patient_ID']}": row for row in spreadsheet.rows(files["clinical data"])}
    for series, said in listed(files, "images and masks", joined=_analysis):
        with Row({}, Source(series.folder, problems=files.problems), series.uid):
            row = people.get(str(series.head.get("PatientID")))
            if row is None:
                raise BadValue("its patient is not in the clinical data")
            labels: dict[str, Label] = {"pCR": files.label("pCR", row["pCR"])}
            parts = masks(series._replace(masks=tuple(one for one in series.masks if one.series is not None)))
            for number, one in enumerate(one for one in series.masks if one.series is None):
                name = f"{TUMOUR} ({number + 1})" if number else TUMOUR
                parts[name] = next(iter(masks(series._replace(masks=(one,)), zeros=True).values()))
            yield from records(series, split, labels=labels, masks=parts, meta={"clinical": dict(row), **(said or {})})


def _analysis(found: Segmentation, uid: str, head: index.Row) -> bool:
    """Whether an analysis mask is of a series: of its study, called the same but for the kind of map."""
    if found.series is not None or "Analysis Mask" not in found.description:
        return named_by_uid(found, uid, head)
    told = str(head.get("SeriesDescription") or "").strip()
    return (
        found.study == head.get("StudyInstanceUID")
        and told == found.description.replace("Analysis Mask", "SER").strip()
    )


@dataset("duke-breast-cancer-mri", record=Volume)
def duke_breast_cancer_mri(files: Files, split: str) -> Iterator[Record]:
    """Series with their patient's rows of the spreadsheets; boxes are given as the sheet has them, in the owners' order of slices."""
    people, boxes = (
        _duke_people(files["clinical data"]),
        {row["Patient ID"]: row for row in spreadsheet.rows(files["boxes"])},
    )
    for series, said in listed(files):
        with Row({}, Source(series.folder, problems=files.problems), series.uid):
            patient = str(series.head.get("PatientID"))
            if patient not in people:
                raise BadValue("its patient is not in the clinical data")
            yield from records(
                series,
                split,
                meta={"clinical": people[patient], "box as in the sheet": dict(boxes.get(patient, {})), **(said or {})},
            )


def _duke_people(source: Source) -> dict[str, dict[str, Any]]:
    """Return the clinical rows by patient. Groups of columns stand above their names, what the codes mean below them."""
    lines = spreadsheet.cells(source)
    top = next((number for number, line in enumerate(lines) if "Patient ID" in line), None)
    if top is None:
        raise DatasetError(f"{source}: no column 'Patient ID' in any line")
    names = [str(one).strip() for one in lines[top]]
    groups, group = list[str](), ""
    for above in lines[top - 1] if top else [""] * len(names):
        group = str(above).strip() or group
        groups.append(group)
    named = [f"{above}: {name}" if names.count(name) > 1 else name for above, name in zip(groups, names, strict=True)]
    found = dict[str, dict[str, Any]]()
    for line in lines[top + 1 :]:
        row = {name: cell for name, cell in zip(named, line, strict=True) if name}
        if str(row["Patient ID"]).startswith("Breast_MRI_"):
            found[str(row["Patient ID"])] = row
    return found

"""Radiographs with the owners' tables of findings, boxes and split lists."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from typing import Any

from healthfm.datasets.locate import Files
from healthfm.datasets.pictures import Pictures, on_size
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, table
from healthfm.formats.source import Source, lines
from healthfm.records import MISSING, UNCERTAIN, Box, Image, Label

AGE = re.compile(r"(\d+)([YMD]?)")  # of 2017 with a unit, of 2020 years
PARTS = {"Y": 1.0, "": 1.0, "M": 12.0, "D": 365.25}
OLDEST = 120  # the table of 2017 has people of several hundred years
NIH_SIDE = 1024  # pixels of a side of the owners' pictures, which their boxes are for
CHEXPERT = re.compile(r"(patient\d+)/study\d+/view\d+_(frontal|lateral)\.jpg")
MURA = re.compile(r"(XR_[A-Z]+)/(patient\d+)/(study\d+)_(positive|negative)/image\d+\.png")


@dataset("chestx-ray14", record=Image)
def chestx_ray14(files: Files, split: str) -> Iterator[Image]:
    """Findings joined by bars in a table of 2017 or 2020, two lists of names that divide the patients, and a list of boxes."""
    pictures, boxes = Pictures(files), _nih_boxes(files)
    listed = {role: {name.strip() for _, name in lines(files[role])} - {""} for role in ("train list", "test list")}
    ours = listed[f"{split} list"]
    met = set[str]()
    for row in pictures.named_by(table.rows(files.all("labels")[-1])):
        with row:
            name = row["Image Index"]
            pictures.know(name)
            met.add(name)
            if sum(name in one for one in listed.values()) != 1:
                raise BadValue("the picture stands in both of the lists of splits, or in none")
            if name not in ours:
                continue
            found = row["Finding Labels"].split("|")
            if "No Finding" in found and len(found) > 1:
                raise BadValue("'No Finding' beside a finding")
            fields = pictures.fields(name)
            if name in boxes:
                on_size(pictures.source(name), NIH_SIDE, NIH_SIDE, "the boxes of BBox_List_2017.csv")
            yield Image(
                id=name, split=split, patient=row["Patient ID"], boxes=tuple(boxes.get(name, ())), **fields,
                labels={"Finding Labels": files.label("Finding Labels", [] if found == ["No Finding"] else found)},
                meta={"age": _age(row["Patient Age"]), "sex": row["Patient Gender"], "view": row["View Position"], "follow-up": row["Follow-up #"]},
            )  # fmt: skip
    _absent(files, f"{split} list", ours - met, "that the labels do not name")


def _nih_boxes(files: Files) -> dict[str, list[Box]]:
    """Return the boxes of each picture: left, top, width and height stand in columns that the header's own commas break."""
    boxes = dict[str, list[Box]]()
    for source in files.all("boxes"):
        for row in table.rows(source):
            with row:
                x, y, width, height = (float(row[name]) for name in ("Bbox [x", "y", "w", "h]"))
                finding = files.answer("boxes", row["Finding Label"])
                if finding is None or min(width, height) <= 0:
                    raise BadValue("a box without a finding, or without an inside")
                boxes.setdefault(row["Image Index"], []).append(Box(finding, (x, y, x + width, y + height)))
    return boxes


def _age(raw: str) -> float | None:
    """Return years, of what may be years, months or days; None for an age that nobody reaches."""
    found = AGE.fullmatch(raw.strip())
    if found is None:
        raise BadValue("'Patient Age' is no number, nor one with Y, M or D")
    years = int(found[1]) / PARTS[found[2]]
    return years if years <= OLDEST else None


def _absent(files: Files, role: str, names: set[str], what: str) -> None:
    if names:
        some = ", ".join(sorted(names)[:3])
        files.problems.add(DatasetError(f"{files[role]}: {len(names)} pictures {what}: {some}"))


@dataset("chexpert", record=Image)
def chexpert(files: Files, split: str) -> Iterator[Image]:
    """A column an observation: 1, 0, -1 where the report leaves it open, nothing where it does not mention it.

    ``observations`` is the set of those present, not mentioned counting as absent; it is uncertain as a whole where one of them is.
    """
    pictures = Pictures(files, parts=3)
    each = files.space("observations").classes
    meant = functools.cache(lambda one, raw: files.label(one, raw and float(raw)))
    for row in pictures.named_by(table.rows(files["labels"])):
        with row:
            name = "/".join(row["Path"].split("/")[-3:])
            pictures.know(name)
            found = CHEXPERT.fullmatch(name)
            if found is None or found[2] != row["Frontal/Lateral"].lower():
                raise BadValue(
                    "'Path' does not end in patient, study and view, or its view is not that of 'Frontal/Lateral'"
                )
            labels: dict[str, Label] = {one: meant(one, row[one]) for one in each}
            present = frozenset(one for one in each if labels[one] == "present")
            yield Image(
                id=name.removesuffix(".jpg"), split=split, patient=found[1],
                labels={"observations": UNCERTAIN if UNCERTAIN in labels.values() else present, **labels},
                meta={key: row[key] for key in ("Sex", "Age", "Frontal/Lateral", "AP/PA")}, **pictures.fields(name),
            )  # fmt: skip


@dataset("padchest", record=Image)
def padchest(files: Files, split: str) -> Iterator[Image]:
    """A table whose lists are Python's, written as text; pictures of 16 bits in folders 0 to 54; the report is Spanish."""
    pictures = Pictures(files)
    for row in pictures.named_by(table.rows(files["labels and reports"])):
        with row:
            name = row["ImageID"]
            pictures.know(name)
            found = _names(row["Labels"], "Labels")
            open_ = set(found) & set(files.space("Labels").uncertain)
            places = _names(row["Localizations"], "Localizations")
            yield Image(
                id=name, split=split, patient=row["PatientID"], **pictures.fields(name),
                labels={"Labels": MISSING if not found else UNCERTAIN if open_ else files.label("Labels", found)},
                meta={
                    "study": row["StudyID"], "localizations": places, "raw": row["Labels"],
                    **{key: row[key] for key in ("Projection", "MethodLabel", "Pediatric", "PatientBirth", "PatientSex_DICOM", "StudyDate_DICOM", "Report")},
                },
            )  # fmt: skip


def _names(cell: str, column: str) -> list[str]:
    """Return the names in a list that Python wrote as text, bare of blanks and each once; nothing for an empty cell."""
    try:
        found: Any = ast.literal_eval(cell.strip() or "[]")
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise BadValue(f"'{column}' is no list as Python writes it") from None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise BadValue(f"'{column}' is no list of names")
    return list(dict.fromkeys(one.strip() for one in found if one.strip()))


@dataset("mura", record=Image)
def mura(files: Files, split: str) -> Iterator[Image]:
    """A list of pictures and one of examinations, which alone are labelled; the folder of an examination says it too."""
    pictures, labels = Pictures(files, parts=4), _examinations(files)
    for row in pictures.named_by(delimited.rows(files["image list"], ",", names=("path",))):
        with row:
            parts = row["path"].split("/")
            name, study = "/".join(parts[-4:]), "/".join(parts[-4:-1])
            pictures.know(name)
            found = MURA.fullmatch(name)
            if found is None:
                raise BadValue("its path is not XR_PART/patient/study_label/image.png")
            if study not in labels:
                raise BadValue("the examination has no label")
            if labels[study] != found[4]:
                raise BadValue("the examination's label is not that of its folder")
            yield Image(
                id=name.removesuffix(".png"), split=split, patient=found[2], labels={"abnormality": labels[study]},
                meta={"study": "/".join(found.group(1, 2, 3)), "part": found[1]}, **pictures.fields(name),
            )  # fmt: skip


def _examinations(files: Files) -> dict[str, str]:
    labels = dict[str, str]()
    source: Source = files["labels"]
    for row in delimited.rows(source, ",", names=("path", "label")):
        with row:
            labels["/".join(row["path"].rstrip("/").split("/")[-3:])] = str(files.label("abnormality", row["label"]))
    return labels

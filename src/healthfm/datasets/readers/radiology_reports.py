"""Radiographs with the reports that were written on them: an examination is one record, whose text is the report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from healthfm.datasets.locate import Files
from healthfm.datasets.pictures import Pictures, tail
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue
from healthfm.formats import table
from healthfm.formats.source import Row, Source, whole
from healthfm.records import MISSING, UNCERTAIN, Document, Image, Label, Mark, Span

HEADING = re.compile(r"\n ([A-Z ()/,-]+):\s")
PARAGRAPH = "\n \n"
KEPT = ("impression", "findings", "last_paragraph", "comparison")  # the columns of the owners' own table of sections
MAIN = ("impression", "findings", "history", "comparison", "addendum")  # a heading that holds one of them is it
ALIASES: Mapping[str, Sequence[str]] = {  # headings as the reports have them, misspelt ones too
    "impression": (
        "conclusion", "ndication", "impresson", "imprression", "imoression", "impressoin", "imprssion", "impresion", "imperssion", "mpression", "impession",
    ),
    "findings": ("finding", "findins", "findindgs", "findgings", "findngs", "findnings", "finidngs"),
    "indication": ("reason for examination", "reason for exam", "clinical indication", "idication"),
    "history": ("clinical information", "pfi"),
    "examination": ("exam", "type of examination"),
    "comparison": ("reference exam", "comparision", "comparsion", "comparrison", "comparisions"),
    "recommendations": ("recommendation(s)", "recommendation"),
    "wet read": ("wetread",),
}  # fmt: skip
MEANT = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
VIEWS = (
    "chest", "portable", "pa and lateral", "lateral and pa", "ap and lateral", "lateral and ap", "frontal and", "two views", "frontal view", "pa view", "ap view",
    "one view", "lateral view", "bone window", "frontal upright", "frontal semi-upright", "ribs", "pa and lat",
)  # fmt: skip  # a heading that names the picture stands above its findings


def _name(heading: str) -> str:
    plain = heading.lower().strip()
    if plain in MEANT:
        return MEANT[plain]
    main = next((one for one in MAIN if one in plain), None)
    return main or ("findings" if any(view in plain for view in VIEWS) else plain)


def sections(text: str) -> tuple[Span, ...]:
    """Return a report's sections by the owners' rules: a heading is capitals and a colon behind a line's one leading blank.

    Empty findings and impressions are none. Where there is neither, what follows the first empty line of the last section is its
    "last_paragraph".
    """
    found = HEADING.search(text)
    held = [Span(0, len(text), "full report") if found is None else Span(0, found.start(1), "preamble")]
    while found is not None:
        start, name = found.end(), _name(found[1])
        found = HEADING.search(text, max(start, text.find("\n", start)))
        held.append(Span(start, len(text) if found is None else found.start(), name))
    held = [one for one in held if one.type not in ("impression", "findings") or text[one.start : one.end].strip()]
    if not {"impression", "findings"} & {one.type for one in held}:
        last = held[-1]
        cut = text.find(PARAGRAPH, last.start, last.end)
        if cut >= 0:
            held[-1:] = [Span(last.start, cut, last.type), Span(cut + len(PARAGRAPH), last.end, "last_paragraph")]
    return tuple(held)


def by_section(text: str, held: Sequence[Span]) -> dict[str, str | None]:
    """Return the last section of each kind that the owners keep, without blanks around it; None where a report has none."""
    last = {one.type: text[one.start : one.end].strip() for one in held}
    return {name: last.get(name) for name in KEPT}


@dataset("mimic-cxr", record=Document)
def mimic_cxr(files: Files, split: str) -> Iterator[Document]:
    """An examination with all of its pictures; its report lies beside their folder. Labels are mined from the reports."""
    jpg = files.variant == "jpg"
    studies = dict[str, list[Row]]()
    for row in table.rows(files["split" if jpg else "record list"]):
        with row:
            studies.setdefault(row["study_id"], []).append(row)
    pictures, reports = Pictures(files, parts=4), {tail(one, 3): one for one in files.all("reports")}
    views = {row["dicom_id"]: row["ViewPosition"] for one in files.all("metadata") for row in table.rows(one)}
    mined = {role: _by_study(files, role) for role in ("labels", "negbio", "test labels")}
    official = {row["study_id"]: row["split"] for one in files.all("official split") for row in table.rows(one)}
    if not reports:
        files.problems.notices.append(
            "no reports are here, so the texts are empty: they are those of the DICOM edition (mimic-cxr-reports.zip)"
        )
    for study, rows in studies.items():
        with rows[0] as row:
            place = f"p{row['subject_id'][:2]}/p{row['subject_id']}/s{study}"
            names = {one["dicom_id"]: f"{place}/{one['dicom_id']}.{'jpg' if jpg else 'dcm'}" for one in rows}
            for name in names.values():
                pictures.know(name)
            if len({(one["subject_id"], one["split"] if jpg else "") for one in rows}) > 1:
                raise BadValue("the pictures of one examination are of several patients or splits")
            if jpg and row["split"] != files.card.splits[split]:
                continue
            text = _report(reports, f"{place}.txt")
            held = sections(text) if text else ()
            yield Document(
                id=f"s{study}", split=split, patient=row["subject_id"], text=text, sections=held, labels=_labels(files, mined["labels"], study),
                media=tuple(Image(id=id, split=split, patient=row["subject_id"], **pictures.fields(name)) for id, name in names.items()),
                meta={
                    "sections": by_section(text, held) if text else {}, "views": [views.get(id) for id in names],
                    "negbio": {name: _plain(one) for name, one in _labels(files, mined["negbio"], study).items()},
                    "radiologist": dict(mined["test labels"].get(study, {})), "official split": official.get(study),
                },
            )  # fmt: skip
    pictures.told("a picture that no row of the owners' list names")


def _report(reports: Mapping[str, Source], name: str) -> str:
    if not reports:
        return ""
    if name not in reports:
        raise BadValue("its report is not beside the folder of its pictures")
    return whole(reports[name])


def _by_study(files: Files, role: str) -> dict[str, Row]:
    return {row["study_id"]: row for one in files.all(role) for row in table.rows(one)}


def _labels(files: Files, table: Mapping[str, Row], study: str) -> dict[str, Label]:
    """Return what a table says of an examination: 1, 0, -1 where the report leaves it open, nothing where it does not mention it.

    ``observations`` is the set of those present, not mentioned counting as absent; it is uncertain as a whole where one of them is.
    """
    if not table:
        return {}
    each, row = files.space("observations").classes, table.get(study)
    if row is None:
        return dict.fromkeys(("observations", *each), MISSING)
    labels: dict[str, Label] = {one: files.label(one, row[one] and float(row[one])) for one in each}
    present = frozenset(one for one in each if labels[one] == "present")
    return {"observations": UNCERTAIN if UNCERTAIN in labels.values() else present, **labels}


def _plain(label: Label) -> Any:
    return label.value if isinstance(label, Mark) else sorted(label) if isinstance(label, frozenset) else label

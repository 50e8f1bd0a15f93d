"""Registers of clinical studies: ClinicalTrials.gov's JSON of API v2, and its XML from before June 2024."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lxml import etree

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import archive, jsonl, xml
from healthfm.formats.source import Row, Source
from healthfm.records import Trial

DATES = (
    "startDateStruct",
    "primaryCompletionDateStruct",
    "completionDateStruct",
    "studyFirstPostDateStruct",
    "resultsFirstPostDateStruct",
    "lastUpdatePostDateStruct",
)
XML_DATES = (
    "start_date",
    "primary_completion_date",
    "completion_date",
    "study_first_posted",
    "results_first_posted",
    "last_update_posted",
)
OUTCOMES = ("primary", "secondary", "other")


@dataset("clinicaltrials-gov", record=Trial)
def clinicaltrials(files: Files, split: str) -> Iterator[Trial]:
    """A study a file, packed or not; or answers of the API, each with a list of studies."""
    for row, content in _contents(files):
        with row:
            if isinstance(content, etree._Element):
                yield _of_xml(content, files, split)
                continue
            if "FullStudiesResponse" in content:
                raise BadValue("an answer of the older API, whose layout is another; ask API v2")
            for study in content.get("studies", [content]):
                yield _of_json(study, files, split)


def _contents(files: Files) -> Iterator[tuple[Row, Any]]:
    """Yield every file's JSON value or XML root, with an empty row that names it."""
    older = (files.variant or "").startswith("legacy")
    for role in files.found:
        for source in files.all(role):
            for part, handle in _opened(source):
                try:
                    content = xml.root(part, handle) if older else jsonl.load(part, handle)
                except DatasetError as error:
                    source.problems.add(error)
                    continue
                yield Row({}, part, part.name), content


def _opened(source: Source) -> Iterator[tuple[Source, Any]]:
    if source.member is not None or not archive.is_archive(source.path.name):
        yield source, None
        return
    for name, handle in archive.each(source.path, ""):
        if name.endswith((".json", ".xml")):
            yield Source(source.path, name, source.problems), handle


# API v2 -----------------------------------------------------------------------------------------------------------------


def _of_json(study: Mapping[str, Any], files: Files, split: str) -> Trial:
    protocol: Mapping[str, Any] = study["protocolSection"]
    named, about, design = (protocol.get(f"{one}Module", {}) for one in ("identification", "description", "design"))
    asked, arms, outcomes = (
        protocol.get(f"{one}Module", {}) for one in ("eligibility", "armsInterventions", "outcomes")
    )
    status = protocol.get("statusModule", {})
    enrolled = design.get("enrollmentInfo", {}).get("count")
    return Trial(
        id=named["nctId"], split=split, title=named.get("briefTitle", ""), summary=about.get("briefSummary", ""),
        description=about.get("detailedDescription", ""), conditions=tuple(protocol.get("conditionsModule", {}).get("conditions", ())),
        interventions=tuple((one.get("type", ""), one["name"]) for one in arms.get("interventions", ())),
        arms=tuple((one.get("type", ""), one.get("label", ""), one.get("description", "")) for one in arms.get("armGroups", ())),
        outcomes=tuple(
            (kind, one["measure"], one.get("description", "")) for kind in OUTCOMES for one in outcomes.get(f"{kind}Outcomes", ())
        ),
        eligibility=asked.get("eligibilityCriteria", ""), sex=asked.get("sex", ""), minimum_age=asked.get("minimumAge", ""),
        maximum_age=asked.get("maximumAge", ""), sponsor=protocol.get("sponsorCollaboratorsModule", {}).get("leadSponsor", {}).get("name", ""),
        enrolment=enrolled, dates={one.removesuffix("Struct"): status[one]["date"] for one in DATES if "date" in status.get(one, {})},
        has_results=study.get("hasResults"), raw=study,
        labels={
            "overall_status": files.label("overall_status", status.get("overallStatus")),
            "phase": files.label("phase", design.get("phases", [])),
            "study_type": files.label("study_type", design.get("studyType")),
        },
    )  # fmt: skip


# The older XML ----------------------------------------------------------------------------------------------------------


def _of_xml(study: etree._Element, files: Files, split: str) -> Trial:
    if study.tag != "clinical_study":
        raise BadValue("its root is no clinical_study")

    def said(path: str, of: etree._Element = study) -> str:
        found = of.find(path)
        return "" if found is None else "".join(found.itertext()).strip()

    status, count = said("overall_status"), said("enrollment")
    return Trial(
        id=xml.text(study, "id_info/nct_id"), split=split, title=said("brief_title"), summary=_block(said("brief_summary/textblock")),
        description=_block(said("detailed_description/textblock")), conditions=tuple(one.text or "" for one in study.findall("condition")),
        interventions=tuple((_word(said("intervention_type", one)), said("intervention_name", one)) for one in study.findall("intervention")),
        arms=tuple((_word(said("arm_group_type", one)), said("arm_group_label", one), said("description", one)) for one in study.findall("arm_group")),
        outcomes=tuple(
            (kind, said("measure", one), said("description", one)) for kind in OUTCOMES for one in study.findall(f"{kind}_outcome")
        ),
        eligibility=_block(said("eligibility/criteria/textblock")), sex=said("eligibility/gender").upper(),
        minimum_age=said("eligibility/minimum_age"), maximum_age=said("eligibility/maximum_age"), sponsor=said("sponsors/lead_sponsor/agency"),
        enrolment=int(count) if count else None, dates={one: said(one) for one in XML_DATES if said(one)},
        has_results=study.find("clinical_results") is not None, raw={"xml": etree.tostring(study, encoding="unicode")},
        labels={
            "overall_status": files.label("overall_status", "UNKNOWN" if status == "Unknown status" else _word(status)),
            "phase": files.label("phase", [_phase(one) for one in said("phase").split("/")] if said("phase") not in ("", "N/A") else ["NA"] if said("phase") else []),
            "study_type": files.label("study_type", _study_type(said("study_type"))),
        },
    )  # fmt: skip


def _word(text: str) -> str:
    """Return a word of the older files as API v2 writes it: "Active, not recruiting" is ACTIVE_NOT_RECRUITING."""
    return text.replace(",", "").replace(":", "").replace(" ", "_").replace("-", "_").upper()


def _phase(text: str) -> str:
    return text.strip().upper().replace("EARLY PHASE ", "EARLY_PHASE").replace("PHASE ", "PHASE")


def _study_type(text: str) -> str:
    return "OBSERVATIONAL" if text.startswith("Observational") else _word(text).replace("N/A", "")


def _block(text: str) -> str:
    """Return a text block without the indent that the XML gives its lines."""
    return "\n".join(line.strip() for line in text.splitlines())

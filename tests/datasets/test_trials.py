"""ClinicalTrials.gov: the same study in both of its layouts, and what is neither."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.records import MISSING, Trial

# Names and nesting: github.com/ctti-clinicaltrials/aact@5a060286 spec/support/json_data/NCT00763412.json and xml_data/NCT02591810.xml
STUDY: dict[str, Any] = {
    "protocolSection": {
        "identificationModule": {"nctId": "NCT90000001", "briefTitle": "A pill before meals", "organization": {"fullName": "A clinic", "class": "OTHER"}},
        "statusModule": {"overallStatus": "ACTIVE_NOT_RECRUITING", "startDateStruct": {"date": "2006-11"}, "completionDateStruct": {"date": "2013-01", "type": "ACTUAL"}},
        "sponsorCollaboratorsModule": {"leadSponsor": {"name": "A clinic", "class": "OTHER"}},
        "descriptionModule": {"briefSummary": "Whether a pill helps.", "detailedDescription": "In detail."},
        "conditionsModule": {"conditions": ["Diabetes", "Cystic Fibrosis"], "keywords": ["pill"]},
        "designModule": {"studyType": "INTERVENTIONAL", "phases": ["PHASE1", "PHASE2"], "enrollmentInfo": {"count": 31, "type": "ACTUAL"}},
        "armsInterventionsModule": {
            "armGroups": [{"label": "1 Placebo", "type": "PLACEBO_COMPARATOR", "description": "1 pill", "interventionNames": ["Drug: placebo"]}],
            "interventions": [{"type": "DRUG", "name": "placebo"}],
        },
        "outcomesModule": {"primaryOutcomes": [{"measure": "BMI", "timeFrame": "2 years"}], "secondaryOutcomes": [{"measure": "OGTT", "description": "fasting"}]},
        "eligibilityModule": {"eligibilityCriteria": "Inclusion Criteria:\n\n* 12 to 24 years", "sex": "ALL", "minimumAge": "12 Years", "maximumAge": "24 Years"},
    },
    "derivedSection": {"miscInfoModule": {"versionHolder": "2025-01-01"}}, "hasResults": False,
}  # fmt: skip
XML = """<?xml version="1.0" encoding="UTF-8"?>
<clinical_study>
  <id_info><org_study_id>15</org_study_id><nct_id>NCT90000001</nct_id></id_info>
  <brief_title>A pill before meals</brief_title>
  <sponsors><lead_sponsor><agency>A clinic</agency><agency_class>Other</agency_class></lead_sponsor></sponsors>
  <brief_summary>
    <textblock>
      Whether a pill helps.
    </textblock>
  </brief_summary>
  <detailed_description><textblock>In detail.</textblock></detailed_description>
  <overall_status>Active, not recruiting</overall_status>
  <start_date>November 2006</start_date>
  <phase>Phase 1/Phase 2</phase>
  <study_type>Interventional</study_type>
  <primary_outcome><measure>BMI</measure><time_frame>2 years</time_frame></primary_outcome>
  <secondary_outcome><measure>OGTT</measure><description>fasting</description></secondary_outcome>
  <enrollment type="Actual">31</enrollment>
  <condition>Diabetes</condition>
  <condition>Cystic Fibrosis</condition>
  <arm_group><arm_group_label>1 Placebo</arm_group_label><arm_group_type>Placebo Comparator</arm_group_type><description>1 pill</description></arm_group>
  <intervention><intervention_type>Drug</intervention_type><intervention_name>placebo</intervention_name></intervention>
  <eligibility>
    <criteria><textblock>
        Inclusion Criteria:

        * 12 to 24 years
    </textblock></criteria>
    <gender>All</gender><minimum_age>12 Years</minimum_age><maximum_age>24 Years</maximum_age>
  </eligibility>
</clinical_study>
"""


def packed(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/") + (".xml" if text.lstrip().startswith("<") else ".json"), text)
    return path.parent


def only(name: str, root: Path) -> Trial:
    [one] = open_dataset(name, root)
    assert isinstance(one, Trial)
    return one


@pytest.mark.evidence("clinicaltrials-gov", "layout")
def test_a_study_is_the_same_in_both_layouts(tmp_path: Path) -> None:
    packed(tmp_path / "ctg-studies.json.zip", NCT90000001=json.dumps(STUDY))
    packed(tmp_path / "AllPublicXML.zip", NCT9000xxxx__NCT90000001=XML)
    new, old = only("clinicaltrials-gov", tmp_path), only("clinicaltrials-gov:legacy-xml", tmp_path)
    for one in (new, old):
        assert (one.id, one.title, one.summary, one.description, one.sponsor, one.enrolment) == (
            "NCT90000001", "A pill before meals", "Whether a pill helps.", "In detail.", "A clinic", 31,
        )  # fmt: skip
        assert (one.conditions, one.interventions) == (("Diabetes", "Cystic Fibrosis"), (("DRUG", "placebo"),))
        assert one.arms == (("PLACEBO_COMPARATOR", "1 Placebo", "1 pill"),)
        assert one.outcomes == (("primary", "BMI", ""), ("secondary", "OGTT", "fasting"))
        assert (one.eligibility, one.sex, one.minimum_age, one.maximum_age) == (
            "Inclusion Criteria:\n\n* 12 to 24 years",
            "ALL",
            "12 Years",
            "24 Years",
        )
        assert one.labels == {
            "overall_status": "ACTIVE_NOT_RECRUITING",
            "phase": frozenset({"PHASE1", "PHASE2"}),
            "study_type": "INTERVENTIONAL",
        }
        assert one.has_results is False and "A pill before meals\n\nWhether a pill helps." in one.as_text
    assert (new.dates, old.dates) == (
        {"startDate": "2006-11", "completionDate": "2013-01"},
        {"start_date": "November 2006"},
    )
    assert new.raw["derivedSection"] == STUDY["derivedSection"] and "org_study_id" in old.raw["xml"]
    assert new.digest() != old.digest()


def test_answers_of_the_api_hold_several_studies(tmp_path: Path) -> None:
    bare = {
        "protocolSection": {"identificationModule": {"nctId": "NCT90000002"}},
        "hasResults": True,
    }  # a withheld study says no more
    (tmp_path / "page1.json").write_text(json.dumps({"studies": [STUDY, bare], "nextPageToken": "x"}))
    first, second = open_dataset("clinicaltrials-gov:api-v2-files", tmp_path)
    assert isinstance(second, Trial) and (first.id, second.id, second.title, second.has_results) == (
        "NCT90000001",
        "NCT90000002",
        "",
        True,
    )
    assert second.labels == {"overall_status": MISSING, "phase": frozenset(), "study_type": MISSING}


@pytest.mark.parametrize(
    ("said", "phase"), [("N/A", {"NA"}), ("Early Phase 1", {"EARLY_PHASE1"}), ("Phase 4", {"PHASE4"}), ("", set())]
)
def test_phases_of_the_older_files(tmp_path: Path, said: str, phase: set[str]) -> None:
    (tmp_path / "NCT9000xxxx").mkdir()
    (tmp_path / "NCT9000xxxx/NCT90000001.xml").write_text(XML.replace("Phase 1/Phase 2", said))
    assert only("clinicaltrials-gov:legacy-xml-files", tmp_path).labels["phase"] == phase


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps({"FullStudiesResponse": {"FullStudies": []}}), "an answer of the older API"), (json.dumps(STUDY)[:-20], "not valid JSON"),
        (json.dumps({"hasResults": True}), "KeyError"), (json.dumps(STUDY).replace("PHASE1", "PHASE9"), "'phase' has a value that the card does not know"),
    ],
)  # fmt: skip
def test_what_is_no_study_is_named_and_the_others_are_read(tmp_path: Path, text: str, said: str) -> None:
    packed(tmp_path / "ctg-studies.json.zip", NCT1=text, NCT90000001=json.dumps(STUDY))
    opened = open_dataset("clinicaltrials-gov", tmp_path, on_error="collect")
    assert [one.id for one in opened] == ["NCT90000001"]
    assert (
        len(opened.errors) == 1
        and "ctg-studies.json.zip!NCT1.json" in str(opened.errors[0])
        and said in str(opened.errors[0])
    )
    with pytest.raises(DatasetError, match="NCT1"):
        list(open_dataset("clinicaltrials-gov", tmp_path))


def test_xml_with_entities_and_archives_that_leave_are_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "b">]>' + XML.split("\n", 1)[1].replace("A pill", "&a; pill", 1)
    packed(tmp_path / "AllPublicXML.zip", NCT9000xxxx__NCT1=bomb)
    with pytest.raises(DatasetError, match="entities"):
        list(open_dataset("clinicaltrials-gov:legacy-xml", tmp_path))
    with zipfile.ZipFile(tmp_path / "ctg-studies.json.zip", "w") as archive:
        archive.writestr("../NCT1.json", json.dumps(STUDY))
    with pytest.raises(DatasetError, match="leaves the archive"):
        list(open_dataset("clinicaltrials-gov", tmp_path))

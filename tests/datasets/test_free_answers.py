"""MedQuAD, LiveQA and MedInstruct: the owners' layouts as questions with free answers."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from healthfm import open_dataset
from healthfm.datasets.check import check_dataset
from healthfm.errors import DatasetError
from healthfm.records import QA, Pair
from tests.formats.test_spreadsheet import book

ProvesWith = Callable[..., None]
PAIR = '<QAPair pid="{pid}"><Question qid="{qid}" qtype="information">What is {what}?</Question><Answer>{answer}</Answer></QAPair>'


def write_medquad(root: Path, place: str, pairs: list[tuple[str, str, str]]) -> None:
    """Write a document as the owners do (readme.txt; folders and tags of 4_MPlus_Health_Topics_QA)."""
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    inside = "".join(PAIR.format(pid=i, qid=qid, what=what, answer=a) for i, (qid, what, a) in enumerate(pairs, 1))
    path.write_text(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Document id="0000013_2" source="X" url="https://x.gov/1">'
        f"<Focus>A1C</Focus><QAPairs>{inside}</QAPairs></Document>",
        encoding="utf-8",
    )


@pytest.mark.evidence("medquad", "layout")
def test_medquad_is_read_whatever_its_ids_repeat(tmp_path: Path) -> None:
    write_medquad(tmp_path, "1_CancerGov_QA/0000013_2.xml", [("0000013_2-1", "it", "This &amp; that")])
    write_medquad(
        tmp_path, "1_CancerGov_QA/0000013_3.xml", [("0000013_2-1", "it", "Other"), ("0000013_2-2", "more", "")]
    )
    write_medquad(tmp_path, "8_NHLBI_QA_XML/0000013_2.xml", [("0000013_2-1", "it", "Third")])
    records = list(open_dataset("medquad", tmp_path, "train"))
    assert [r.id for r in records] == [
        "1_CancerGov_QA/0000013_2/1", "1_CancerGov_QA/0000013_3/1", "1_CancerGov_QA/0000013_3/2", "8_NHLBI_QA_XML/0000013_2/1",
    ]  # fmt: skip
    first = records[0]
    assert isinstance(first, QA)
    assert (first.question, first.answers, first.site) == ("What is it?", ("This & that",), "1_CancerGov_QA")
    assert first.labels == {"qtype": "information"}
    assert first.meta == {"focus": "A1C", "url": "https://x.gov/1", "qid": "0000013_2-1"}
    assert records[2].answers == ()  # type: ignore[attr-defined]


def test_a_pair_without_its_answer_element_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    write_medquad(tmp_path, "9_CDC_QA/0000001.xml", [("1-1", "it", "a")])
    path = tmp_path / "9_CDC_QA/0000001.xml"
    path.write_text(path.read_text().replace("<Answer>a</Answer>", ""))
    with pytest.raises(DatasetError, match=r"9_CDC_QA/0000001.xml, row 1: cannot be read: no Answer element"):
        list(open_dataset("medquad", tmp_path, "train"))


@pytest.mark.evidence("medquad", "sample", where="reference")
def test_three_collections_of_the_owners_medquad(reference_data: Path, proves_with: ProvesWith) -> None:
    root = reference_data / "medquad"
    proves_with(root)
    records = list(open_dataset("medquad", root, "train"))
    assert Counter(r.site for r in records) == {"4_MPlus_Health_Topics_QA": 981, "6_NINDS_QA": 1088, "9_CDC_QA": 270}
    assert all(r.question and len(r.answers) == 1 for r in records)  # type: ignore[attr-defined]
    assert len({r.labels["qtype"] for r in records}) > 5


def test_a_copy_of_some_whole_collections_is_said_to_be_that_and_a_collection_that_lacks_a_document_is_at_fault(
    reference_data: Path, tmp_path: Path
) -> None:
    for name in ("6_NINDS_QA", "9_CDC_QA"):
        shutil.copytree(reference_data / "medquad" / name, tmp_path / name)
    found = check_dataset("medquad", tmp_path)
    assert not found["faults"]
    assert any("1358 records" in said and "ninds, cdc are here, each whole" in said for said in found["notices"])
    next((tmp_path / "9_CDC_QA").glob("*.xml")).unlink()
    [fault] = check_dataset("medquad", tmp_path)["faults"]
    assert fault.startswith("split train: ") and "the card says 47441" in fault


LIVEQA = """<?xml version="1.0" encoding="UTF-8"?>
<LiveQA2017-Medical-Test-Set-Full>
  <NLM-QUESTION qid="TQ1">
    <Original-Question qfile="1.txt"><SUBJECT></SUBJECT><MESSAGE>Does it hurt?</MESSAGE></Original-Question>
    <NIST-PARAPHRASE>Does it hurt?</NIST-PARAPHRASE>
    <ANNOTATIONS><FOCUS fid="F1" fcategory="Problem">it</FOCUS><TYPE tid="T1" hasFocus="F1">EFFECT</TYPE></ANNOTATIONS>
    <ReferenceAnswers>
      <RefAnswer aid="TQ1A1"><ANSWER>No.
\t\t\tNot at all.</ANSWER><AnswerURL>u</AnswerURL><COMMENT>c</COMMENT></RefAnswer>
      <ReferenceAnswer aid="TQ1A2"><ANSWER> Hardly. </ANSWER><AnswerURL>u</AnswerURL><COMMENT>c</COMMENT></ReferenceAnswer>
    </ReferenceAnswers>
  </NLM-QUESTION>
</LiveQA2017-Medical-Test-Set-Full>
"""


@pytest.mark.evidence("liveqa", "layout")
def test_liveqa_reads_both_names_of_a_reference_answer(tmp_path: Path) -> None:
    (tmp_path / "TestDataset").mkdir()
    (tmp_path / "TestDataset/TREC-2017-LiveQA-Medical-Test.xml").write_text(LIVEQA, encoding="utf-8")
    [record] = open_dataset("liveqa", tmp_path, "test")
    assert isinstance(record, QA)
    assert (record.id, record.question, record.answers) == ("TQ1", "Does it hurt?", ("No.\nNot at all.", "Hardly."))
    assert record.meta["types"] == ["EFFECT"]


@pytest.mark.evidence("liveqa", "files", where="reference")
def test_the_whole_liveqa_test_set(reference_data: Path, proves_with: ProvesWith) -> None:
    root = reference_data / "liveqa_trec2017"
    proves_with(root / "TestDataset/TREC-2017-LiveQA-Medical-Test.xml")
    dataset = open_dataset("liveqa", root, "test")
    records = list(dataset)
    assert len(records) == 104 and dataset.notices == dataset.errors == []
    assert sum(len(r.answers) for r in records) == 167  # type: ignore[attr-defined]
    assert records[0].question.startswith("Noonan syndrome\nWhat are the references")  # type: ignore[attr-defined]


TRAIN = """<?xml version="1.0" encoding="UTF-8"?>
<NLM-QUESTIONS><NLM-QUESTION {number}><SUBJECT>cramp</SUBJECT><MESSAGE>what is it</MESSAGE><SUB-QUESTIONS>{parts}</SUB-QUESTIONS></NLM-QUESTION></NLM-QUESTIONS>
"""
PART = "<SUB-QUESTION><ANNOTATIONS><FOCUS>cramp</FOCUS><TYPE>{kind}</TYPE></ANNOTATIONS><ANSWERS>{answers}</ANSWERS></SUB-QUESTION>"


def write_training(root: Path, first: str, second: str) -> None:
    folder = root / "TrainingDatasets"
    folder.mkdir(exist_ok=True)
    for n, number, parts in ((1, 'questionid="Q1" fRef="7"', first), (2, 'qid="1.0"', second)):
        text = TRAIN.format(number=number, parts=parts)
        (folder / f"TREC-2017-LiveQA-Medical-Train-{n}.xml").write_text(text, encoding="utf-8")


@pytest.mark.evidence("liveqa", "layout")
def test_a_liveqa_training_record_is_one_answer_to_a_part_of_a_question_whether_its_pair_is_numbered_or_not(
    tmp_path: Path,
) -> None:
    numbered = (
        '<ANSWER answerid="Q1-S1-A1" pairid="1">One.</ANSWER><ANSWER answerid="Q1-S1-A2" pairid="2">Two.</ANSWER>'
    )
    later = PART.format(kind="cause", answers='<ANSWER answerid="Q1-S2-A1" pairid="3">Three.\n\t\tFour.</ANSWER>')
    plain = PART.format(kind="Information", answers="<ANSWER>Five.</ANSWER>")
    write_training(tmp_path, PART.format(kind="treatment", answers=numbered) + later, plain)
    records = list(open_dataset("liveqa", tmp_path, "train"))
    assert [(r.id, r.answers, r.meta["types"]) for r in records] == [  # type: ignore[attr-defined]
        ("Q1-S1-A1", ("One.",), ["treatment"]), ("Q1-S1-A2", ("Two.",), ["treatment"]),
        ("Q1-S2-A1", ("Three.\nFour.",), ["cause"]), ("1.0", ("Five.",), ["Information"]),
    ]  # fmt: skip
    assert {(r.question, r.meta["question"]) for r in records} == {
        ("cramp\nwhat is it", "Q1"),
        ("cramp\nwhat is it", "1.0"),
    }  # type: ignore[attr-defined]
    write_training(tmp_path, "", plain)
    with pytest.raises(DatasetError, match=r"Train-1.xml, row 1: cannot be read: no answer"):
        list(open_dataset("liveqa", tmp_path, "train"))


def write_qrels(root: Path, judged: str) -> Path:
    """Write MedQuAD's judgements as their zip has them, and LiveQA's questions beside."""
    told = 'Question: What is (are) it ?\nURL: https://x.gov/1\nAnswer: Rest,\n\n"sleep" and time.\n'
    folder = "QA-TestSet-LiveQA-Med-Qrels-2479-Answers"
    with zipfile.ZipFile(root / f"{folder}.zip", "w") as packed:
        packed.writestr(f"{folder}/All-qrels_LiveQAMed2017-TestQuestions_2479_Judged-Answers.txt", judged)
        cell = told.replace('"', '""')
        packed.writestr(f"{folder}/All-2479-Answers-retrieved-from-MedQuAD.csv", f'AnswerID,Answer\nA_1.txt,"{cell}"\n')
        packed.writestr(f"__MACOSX/{folder}/._All-2479-Answers-retrieved-from-MedQuAD.csv", b"\0")
    (root / "TREC-2017-LiveQA-Medical-Test.xml").write_text(LIVEQA, encoding="utf-8")
    return root


@pytest.mark.evidence("medquad", "layout")
def test_judged_answers_stand_beside_the_question_of_liveqa_that_they_were_judged_for(tmp_path: Path) -> None:
    dataset = open_dataset("medquad:qrels", write_qrels(tmp_path, "1 1-Incorrect A_1.txt\n1 4-Excellent A_1.txt\n"))
    assert dataset.summary()["record"] == "Pair"
    twice = list(dataset)
    assert [(r.id, r.a, r.b, r.labels) for r in twice if isinstance(r, Pair)] == [
        ("test-1", "Does it hurt?", 'Rest,\n\n"sleep" and time.', {"judgement": "incorrect"}),
        ("test-2", "Does it hurt?", 'Rest,\n\n"sleep" and time.', {"judgement": "excellent"}),
    ]  # fmt: skip
    assert twice[0].meta == {
        "question": "TQ1",
        "answer": "A_1.txt",
        "answers to": "What is (are) it ?",
        "url": "https://x.gov/1",
    }
    write_qrels(tmp_path, "2 1-Incorrect A_1.txt\n")
    with pytest.raises(DatasetError, match="row 1: cannot be read: its question or its answer is not in the files"):
        list(open_dataset("medquad:qrels", tmp_path))


@pytest.mark.evidence("medquad", "sample", where="reference")
def test_all_judged_answers_of_medquad(reference_data: Path, proves_with: ProvesWith, tmp_path: Path) -> None:
    packed = reference_data / "medquad/QA-TestSet-LiveQA-Med-Qrels-2479-Answers.zip"
    asked = reference_data / "liveqa_trec2017/TestDataset/TREC-2017-LiveQA-Medical-Test.xml"
    proves_with(packed, asked)
    for path in (packed, asked):
        (tmp_path / path.name).symlink_to(path)
    dataset = open_dataset("medquad:qrels", tmp_path)
    records = list(dataset)
    assert dataset.notices == dataset.errors == []
    assert Counter(r.labels["judgement"] for r in records) == {
        "incorrect": 1436,
        "related": 678,
        "incomplete": 223,
        "excellent": 142,
    }
    assert len({r.meta["question"] for r in records}) == 103 and len({r.meta["answer"] for r in records}) == 1935
    first = records[0]
    assert (
        isinstance(first, Pair) and first.a.startswith("Noonan syndrome\n") and first.b.startswith("Polycystic ovary")
    )


@pytest.mark.evidence("medinstruct-52k", "layout")
def test_medinstruct_reads_both_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    asked = {"id": 3, "instruction": "Why?", "difficulty": "2", "gpt-4-answer": "a", "claude-2": "b",
             "gpt-3.5-turbo-answer": "c", "text-davinci-003-answer": "d"}  # fmt: skip
    (tmp_path / "data/MedInstruct-test.jsonl").write_text(json.dumps(asked) + "\n")
    rows = [
        {"instruction": "Say", "input": "<noinput>", "output": "x"},
        {"instruction": "Say", "input": "this", "output": "y"},
    ]
    (tmp_path / "data/MedInstruct-52k.json").write_text(json.dumps(rows))
    [test] = open_dataset("medinstruct-52k", tmp_path, "test")
    assert (test.id, test.question, test.answers) == ("3", "Why?", ("a", "b", "c", "d"))  # type: ignore[attr-defined]
    train = list(open_dataset("medinstruct-52k", tmp_path, "train"))
    assert [(r.context, r.answers) for r in train] == [("", ("x",)), ("this", ("y",))]  # type: ignore[attr-defined]


@pytest.mark.evidence("medinstruct-52k", "files", where="reference")
def test_the_whole_medinstruct_test_set(reference_data: Path, proves_with: ProvesWith) -> None:
    root = reference_data / "medinstruct_test"
    proves_with(root / "data/MedInstruct-test.jsonl")
    dataset = open_dataset("medinstruct-52k", root, "test")
    records = list(dataset)
    assert len(records) == 216 and dataset.notices == dataset.errors == []
    assert all(len(r.answers) == 4 for r in records)  # type: ignore[attr-defined]


@pytest.mark.evidence("medicationqa", "layout")
def test_medicationqa_is_a_row_of_its_sheet(tmp_path: Path) -> None:
    names = ["Question", "Focus (Drug)", "Question Type", "Answer", "Section Title", "URL"]
    row = ["what is morphine", "morphine", "Information", "A medicine.", "NA", "https://example.org"]
    book(
        tmp_path / "MedInfo2019-QA-Medications.xlsx",
        DrugQA=[names, row, [row[0], *row[1:3], "Another answer.", None, None]],
    )
    first, second = open_dataset("medicationqa", tmp_path, "test")
    assert isinstance(first, QA) and (first.id, first.question, first.answers) == (
        "test-2",
        "what is morphine",
        ("A medicine.",),
    )
    assert first.labels == {"question type": "Information"}
    assert first.meta == {"focus": "morphine", "section": "NA", "url": "https://example.org"}
    assert isinstance(second, QA) and second.answers == ("Another answer.",)  # the same question, another record
    book(tmp_path / "MedInfo2019-QA-Medications.xlsx", DrugQA=[["Question", "Answer"], ["q", "a"]])
    with pytest.raises(DatasetError, match=r"row 2: no 'Question Type' \(it has: Question, Answer\)"):
        list(open_dataset("medicationqa", tmp_path, "test"))


def test_healthsearchqas_first_line_is_a_question(tmp_path: Path) -> None:
    sheet = {
        "All HealthSearchQA Questions": [["Are benign tumors dangerous?"], [None], ["Can cough kill?"]],
        "Other": [["x"]],
    }
    book(tmp_path / "41586_2023_6291_MOESM6_ESM.xlsx", **sheet)
    dataset = open_dataset("healthsearchqa", tmp_path, "test")
    assert [(r.id, r.question, r.answers) for r in dataset if isinstance(r, QA)] == [
        ("test-1", "Are benign tumors dangerous?", ()), ("test-3", "Can cough kill?", ()),
    ]  # fmt: skip

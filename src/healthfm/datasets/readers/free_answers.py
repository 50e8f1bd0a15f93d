"""Questions with answers in free text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from lxml import etree

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue
from healthfm.formats import delimited, jsonl, spreadsheet, xml
from healthfm.formats.source import Row, Source, lines
from healthfm.records import QA, Pair, Record

ABOUT = {"types": "TYPE", "focus": "FOCUS"}
RETRIEVED = re.compile(
    r"Question: (.*)\nURL: (.*)\nAnswer: (.*)", re.DOTALL
)  # how MedQuAD's judged answers are written
INDENT = re.compile(r"\s*\n\s*")  # LiveQA's answers are indented as its XML is
MEDINSTRUCT_WRITERS = ("gpt-4-answer", "claude-2", "gpt-3.5-turbo-answer", "text-davinci-003-answer")


@dataset("medquad", record=QA)
def medquad(files: Files, split: str) -> Iterator[Record]:
    """One XML a document; ids of pairs repeat between collections, and in 1_CancerGov_QA between files, so the id names both."""
    if files.variant == "qrels":
        yield from _judged(files, split)
        return
    for source in files.all("documents"):
        file = PurePosixPath((source.member or str(source.path)).replace("\\", "/"))
        for row, pair in xml.elements(source, "QAPair"):
            with row:
                document = pair.getroottree().getroot()
                answer = xml.text(pair, "Answer")  # empty in folders 10 to 12: taken out for copyright
                yield QA(
                    id=f"{file.parent.name}/{file.stem}/{pair.attrib['pid']}", split=split, site=file.parent.name,
                    question=xml.text(pair, "Question"), answers=(answer,) if answer else (),
                    labels={"qtype": files.label("qtype", xml.attribute(pair, "Question", "qtype"))},
                    meta={"focus": xml.text(document, "Focus"), "url": document.get("url"), "qid": xml.attribute(pair, "Question", "qid")},
                )  # fmt: skip


def _judged(files: Files, split: str) -> Iterator[Pair]:
    """Yield LiveQA's question with an answer of MedQuAD's and the judgement on it, one a line; what two assessors judged apart is two lines."""
    asked = {
        one.attrib["qid"]: _asked(one, "Original-Question/")
        for _, one in xml.elements(files["questions"], "NLM-QUESTION")
    }
    answers = {row["AnswerID"]: row["Answer"] for row in delimited.rows(files["answers"], ",")}
    for number, line in lines(files["judgements"]):
        with Row({}, files["judgements"], number):
            question, judgement, answer = line.split()
            if f"TQ{question}" not in asked or answer not in answers:
                raise BadValue("its question or its answer is not in the files of questions and answers")
            parts = RETRIEVED.fullmatch(answers[answer])
            if parts is None:
                raise BadValue("the answer does not stand behind its own question and address")
            yield Pair(
                id=f"{split}-{number}", split=split, a=asked[f"TQ{question}"], b=parts[3].strip(),
                labels={"judgement": files.label("judgement", judgement.partition("-")[0])},
                meta={"question": f"TQ{question}", "answer": answer, "answers to": parts[1].strip(), "url": parts[2]},
            )  # fmt: skip


def _asked(element: etree._Element, within: str) -> str:
    """Return subject and message of a question as one text."""
    parts = (xml.text(element, within + part) for part in ("SUBJECT", "MESSAGE"))
    return "\n".join(part for part in parts if part)


@dataset("liveqa", record=QA)
def liveqa(files: Files, split: str) -> Iterator[QA]:
    """Subject and message are the question; reference answers are ReferenceAnswer elements, three of them RefAnswer.

    In training a record is a pair of a question and one answer to a part of it; only the first of the two files numbers its pairs.
    """
    if split == "train":
        for source in files.all("questions"):
            yield from _pairs(source, split)
        return
    for row, asked in xml.elements(files["questions"], "NLM-QUESTION"):
        with row:
            answers = (INDENT.sub("\n", xml.text(one, ".")) for one in asked.iterfind("ReferenceAnswers/*/ANSWER"))
            yield QA(
                id=asked.attrib["qid"], split=split, question=_asked(asked, "Original-Question/"),
                answers=tuple(one for one in answers if one),
                meta={"paraphrase": xml.text(asked, "NIST-PARAPHRASE"), "types": [one.text for one in asked.iterfind("ANNOTATIONS/TYPE")]},
            )  # fmt: skip


def _pairs(source: Source, split: str) -> Iterator[QA]:
    for row, asked in xml.elements(source, "NLM-QUESTION"):
        with row:
            number = asked.get("questionid") or asked.attrib["qid"]
            if asked.find("SUB-QUESTIONS/SUB-QUESTION/ANSWERS/ANSWER") is None:
                raise BadValue("no answer")
            for part in asked.iterfind("SUB-QUESTIONS/SUB-QUESTION"):
                about = {
                    key: [xml.text(one, ".") for one in part.iterfind(f"ANNOTATIONS/{tag}")]
                    for key, tag in ABOUT.items()
                }
                for answer in part.iterfind("ANSWERS/ANSWER"):
                    yield QA(
                        id=answer.get("answerid") or number, split=split, question=_asked(asked, ""),
                        answers=(INDENT.sub("\n", xml.text(answer, ".")),), meta={"question": number, **about},
                    )  # fmt: skip


@dataset("medinstruct-52k", record=QA)
def medinstruct(files: Files, split: str) -> Iterator[QA]:
    """The test file has answers of four models, gpt-4's first; the training file one answer, and "<noinput>" for no input."""
    if split == "test":
        for row in jsonl.rows(files["test instructions"]):
            with row:
                yield QA(
                    id=str(row["id"]), split=split, question=row["instruction"], labels={"difficulty": files.label("difficulty", row["difficulty"])},
                    answers=tuple(row[writer] for writer in MEDINSTRUCT_WRITERS),
                )  # fmt: skip
        return
    for row in jsonl.items(files["instructions"]):
        with row:
            context = "" if row["input"] == "<noinput>" else row["input"]
            yield QA(
                id=str(row.number), split=split, question=row["instruction"], context=context, answers=(row["output"],)
            )


@dataset("medicationqa", record=QA)
def medicationqa(files: Files, split: str) -> Iterator[QA]:
    """A row of the sheet DrugQA is a question with one answer; a question may recur with another."""
    for row in spreadsheet.rows(files["questions"], "DrugQA"):
        with row:
            yield QA(
                id=f"{split}-{row.number}", split=split, question=row["Question"], answers=(row["Answer"],),
                labels={"question type": files.label("question type", row["Question Type"])},
                meta={"focus": row["Focus (Drug)"], "section": row["Section Title"], "url": row["URL"]},
            )  # fmt: skip


@dataset("healthsearchqa", record=QA)
def healthsearchqa(files: Files, split: str) -> Iterator[QA]:
    """A question a line in the first column of one sheet, which has no names of columns; nobody answers them."""
    source = files["questions"]
    for number, cells in enumerate(spreadsheet.cells(source, "All HealthSearchQA Questions"), 1):
        if cells[0] != "":
            with Row({}, source, number):
                yield QA(id=f"{split}-{number}", split=split, question=cells[0])

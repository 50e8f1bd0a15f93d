"""Questions about a passage: the answer stands in it, in one place or several, or fills a gap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import jsonl
from healthfm.formats.source import Row, Source
from healthfm.records import QA

MARKS = ("BEG__", "__END")  # around CliCR's entities


def _data(source: Source) -> Iterator[Row]:
    """Yield the objects of the list "data" that a SQuAD-like file holds, numbered from 1."""
    value = jsonl.load(source)
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise DatasetError(f"{source}: no list 'data'")
    for number, one in enumerate(value["data"], 1):
        row = Row(one if isinstance(one, dict) else {}, source, number)
        if isinstance(one, dict):
            yield row
        else:
            source.problems.add(row.error(f"a JSON object was expected, not a {type(one).__name__}"))


def _part(value: Any, place: Row, where: str) -> Row:
    """Return an object inside a row, whose missing keys are named with the place of both."""
    if not isinstance(value, dict):
        raise place.error(f"{where}: a JSON object was expected, not a {type(value).__name__}")
    return Row(value, place.source, f"{place.number}, {where}")


def _questions(passage: Row) -> Iterator[Row]:
    """Yield the questions of a passage; one that is no object is a problem of its own."""
    for number, one in enumerate(passage["qas"], 1):
        with passage:
            yield _part(one, passage, f"question {number}")


@dataset("mash-qa", record=QA)
def mash_qa(files: Files, split: str) -> Iterator[QA]:
    """An answer is the sentences that ``answer_span`` numbers (from 0), often far apart: ``answer_start`` is only where the first is."""
    for article in _data(files["articles"]):
        with article:
            for number, one in enumerate(article["paragraphs"], 1):
                passage = _part(one, article, f"paragraph {number}")
                for asked in _questions(passage):
                    with asked:
                        yield _spans(asked, passage, article["title"], split)


def _spans(asked: Row, passage: Row, address: str, split: str) -> QA:
    if len(asked["answers"]) != (0 if asked["is_impossible"] else 1):
        raise BadValue(f"{len(asked['answers'])} answers, which goes ill with its 'is_impossible'")
    answers = [_part(one, asked, "answer") for one in asked["answers"]]
    for answer in answers:
        if not answer["answer_span"] or not all(
            0 <= place < len(passage["sent_list"]) for place in answer["answer_span"]
        ):
            raise BadValue("its answer names sentences that the passage does not have")
    return QA(
        id=str(asked["id"]), split=split, question=asked["question"], context=passage["context"],
        answers=tuple(answer["text"] for answer in answers),
        meta={"url": address, "sentences": passage["sent_list"], "answer_sentences": [one for answer in answers for one in answer["answer_span"]],
              "impossible": not answers},
    )  # fmt: skip


@dataset("clicr", record=QA)
def clicr(files: Files, split: str) -> Iterator[QA]:
    """``@placeholder`` stands for the answer; the entities' marks are taken out, as in the owners' plain text. UMLS synonyms come last."""
    for report in _data(files["reports"]):
        with report:
            passage = _part(report["document"], report, "document")
            context = _plain(f"{passage['title']}\n{passage['context']}")
            for asked in _questions(passage):
                with asked:
                    answers = [_part(one, asked, "answer") for one in asked["answers"]]
                    if not answers or "@placeholder" not in asked["query"]:
                        raise BadValue("no answer, or no @placeholder where it would stand")
                    answers.sort(key=lambda one: files.answer("origin", one["origin"]) != "dataset")
                    yield QA(
                        id=asked["id"], split=split, question=_plain(asked["query"]), context=context,
                        answers=tuple(answer["text"] for answer in answers),
                        meta={"source": report["source"], "answers": [dict(answer) for answer in answers]},
                    )  # fmt: skip


def _plain(text: str) -> str:
    for mark in MARKS:
        text = text.replace(mark, "")
    return text

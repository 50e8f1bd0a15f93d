"""Single-turn instructions and answers: JSON lists or JSON lines of instruction, input and output, and their kin.

Two readings of the same keys: where the instruction is the question, ``input`` is its context (``_told``); where it is the same
request for every row, ``input`` is the question (``_asked``) and the request stays in ``meta``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import jsonl, table
from healthfm.formats.source import Row
from healthfm.records import QA, Document, Label, Record

WEB = ("http://", "https://")


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise BadValue(f"'{what}' is not text")
    return value


def _texts(value: Any, what: str) -> list[str]:
    """Return the texts of a text, a list of texts or a list of such lists, in order."""
    if not isinstance(value, list):
        return [_text(value, what)]
    return [text for one in value for text in _texts(one, what)]


def _answers(*found: str) -> tuple[str, ...]:
    return tuple(one for one in found if one.strip())


def _told(row: Row, split: str) -> QA:
    return QA(
        id=f"{split}-{row.number}", split=split, question=_text(row["instruction"], "instruction"),
        context=_text(row["input"], "input"), answers=_answers(_text(row["output"], "output")),
    )  # fmt: skip


def _asked(row: Row, split: str, key: str = "input", labels: dict[str, Label] | None = None, **meta: Any) -> QA:
    request, asked = _text(row["instruction"], "instruction"), _text(row[key], key)
    return QA(
        id=f"{split}-{row.number}", split=split, question=asked if asked.strip() else request,
        answers=_answers(_text(row["output"], "output")), labels=labels or {}, meta={"instruction": request, **meta},
    )  # fmt: skip


@dataset("cmekg-8k", record=QA)
def cmekg(files: Files, split: str) -> Iterator[QA]:
    """JSON lines in a file called .json; the question stands in instruction, input is empty."""
    for row in jsonl.rows(files["instructions"]):
        with row:
            yield _told(row, split)


@dataset("variousmedqa", record=QA)
def variousmedqa(files: Files, split: str) -> Iterator[Record]:
    """The question in instruction, its options or material in input; or ROCO's radiology captions, which name their images."""
    if files.variant == "radiology":
        for row in table.rows(files["captions"]):
            with row:
                yield Document(id=row["id"], split=split, text=row["caption"].strip(), meta={"image": row["name"]})
        return
    for row in jsonl.items(files["instructions"]):
        with row:
            yield _told(row, split)


@dataset("medical-meadow", record=QA)
def medical_meadow(files: Files, split: str) -> Iterator[QA]:
    """The instruction is the part's one request ("Answer this question truthfully"), the question its input."""
    for row in jsonl.items(files["instructions"]):
        with row:
            yield _asked(row, split)


@dataset("medc-i", record=QA)
def medc_i(files: Files, split: str) -> Iterator[QA]:
    """The instruction is a reworded request; question and options are one text, as the answer's words and letter are."""
    for row in jsonl.objects(files["instructions"]):
        with row:
            yield _asked(
                row, split, labels={"source": files.label("source", row["source"])}, sample_id=row["sample_id"]
            )


@dataset("healthcaremagic", record=QA)
def healthcaremagic(files: Files, split: str) -> Iterator[QA]:
    """ChatDoctor's instruction, input and output; or one text a row, "<human>:" before the question and "<bot>:" before the answer."""
    if files.variant != "chat-format":
        for row in jsonl.items(files["questions"]):
            with row:
                yield _asked(row, split)
        return
    for row in jsonl.rows(files["dialogues"]):
        with row:
            before, _, said = _text(row["text"], "text").partition("<human>:")
            question, mark, answer = said.partition("<bot>:")
            if before.strip() or not mark or "<human>:" in answer or "<bot>:" in answer:
                raise BadValue("'text' is not one <human>: followed by one <bot>:")
            yield QA(
                id=f"{split}-{row.number}", split=split, question=question.strip(), answers=_answers(answer.strip())
            )


@dataset("icliniq", record=QA)
def icliniq(files: Files, split: str) -> Iterator[QA]:
    """Only answer_icliniq is a doctor's: the models' stay in meta, and nothing is scored against them."""
    source = files["questions"]
    if files.variant == "alpacare":
        for row in jsonl.rows(source):
            with row:
                yield QA(
                    id=f"{split}-{row.number}", split=split, question=_text(row["input"], "input"),
                    meta={"written_by_models": {"gpt-4": _text(row["output"], "output")}},
                )  # fmt: skip
        return
    for row in table.rows(source) if source.name.endswith(".parquet") else jsonl.items(source):
        with row:
            models = {one: _text(row[f"answer_{one}"], f"answer_{one}") for one in ("chatgpt", "chatdoctor")}
            yield QA(
                id=f"{split}-{row.number}", split=split, question=_text(row["input"], "input"),
                answers=_answers(_text(row["answer_icliniq"], "answer_icliniq")), meta={"written_by_models": models},
            )  # fmt: skip


@dataset("oncogpt", record=QA)
def oncogpt(files: Files, split: str) -> Iterator[QA]:
    """The test file says question where the others of its kind say input."""
    if split != "test":
        raise DatasetError("oncogpt: its training part is a RAR archive, which is not read; use split test")
    for row in jsonl.items(files["test questions"]):
        with row:
            yield _asked(row, split, key="question")


@dataset("huatuo-26m", record=QA)
def huatuo(files: Files, split: str) -> Iterator[QA]:
    """Several wordings of one question, nested in the encyclopedia part; web addresses for answers are kept apart from answers."""
    asked, said = ("instruction", "output") if files.variant == "zhongjing-test" else ("questions", "answers")
    for row in jsonl.objects(files["questions"]):
        with row:
            if files.variant == "lite":
                yield QA(
                    id=str(row["id"]), split=split, question=_text(row["question"], "question"), answers=_answers(_text(row["answer"], "answer")),
                    labels={"department": files.label("department", row["label"])},
                    meta={"related_diseases": row["related_diseases"], "score": row["score"]},
                )  # fmt: skip
                continue
            yield _worded(row, split, _texts(row[asked], asked), _texts(row[said], said))


def _worded(row: Row, split: str, wordings: Sequence[str], answers: Sequence[str]) -> QA:
    if not wordings:
        raise BadValue("'questions' is empty")
    places = [one for one in answers if one.strip().startswith(WEB)]
    return QA(
        id=f"{split}-{row.number}", split=split, question=wordings[0], answers=_answers(*(one for one in answers if one not in places)),
        meta={"other_wordings": list(wordings[1:]), "answer_is_url": bool(places), "urls": places},
    )  # fmt: skip

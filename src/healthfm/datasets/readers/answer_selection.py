"""Questions of patients with the answers to choose from, and tables of questions and answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import PurePosixPath

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue
from healthfm.formats import delimited, xml
from healthfm.formats.source import Row, Source, lines
from healthfm.records import QA, Pair, Ranking, Record

RELEVANCE = {"wrong": 0, "right": 1, "incorrect": 0, "related": 0, "correct but incomplete": 1, "excellent": 2}
WEBMEDQA = (
    "first",
    "label",
    "third",
    "question",
    "answer",
)  # the id is the first or the third, the department the other


@dataset("cmedqa2", record=Ranking)
def cmedqa2(files: Files, split: str) -> Iterator[Ranking]:
    """Candidates of a question stand together: one a row in dev and test, pairs of a right and a wrong one in train."""
    questions = _texts(files["questions"], "question_id")
    answers = _texts(files["answers"], "ans_id")
    met: set[str] = set()
    for number, rows in groupby(delimited.rows(files["candidates"], ","), lambda row: row["question_id"]):
        first, *others = rows
        with first:
            if number in met:
                raise BadValue("its question has been read before: the rows of a question do not stand together")
            met.add(number)
            named = _named(files, split, [first, *others])
            yield Ranking(
                id=number, split=split, query=_text(questions, number, "question"),
                candidates=tuple(_text(answers, one, "answer") for one, _ in named), relevance=tuple(one for _, one in named),
                meta={"candidates": tuple(one for one, _ in named)},
            )  # fmt: skip


def _texts(source: Source, key: str) -> dict[str, str]:
    """Return the texts of a table by their id."""
    found: dict[str, str] = {}
    for row in delimited.rows(source, ","):
        with row:
            if row[key] in found:
                raise BadValue(f"its '{key}' has been read before")
            found[row[key]] = row["content"]
    return found


def _text(texts: Mapping[str, str], number: str, what: str) -> str:
    if number not in texts:
        raise BadValue(f"the {what} that it names is in no row of the {what}s' file")
    return texts[number]


def _named(files: Files, split: str, rows: list[Row]) -> list[tuple[str, int]]:
    """Return the candidates of a question, their id and relevance, in the order of the file."""
    if split != "train":
        return [(row["ans_id"], _relevance(files, row["label"])) for row in rows]
    pairs = [(row["pos_ans_id"], 1) for row in rows] + [(row["neg_ans_id"], 0) for row in rows]
    found = dict(pairs)
    if len(found) < len(set(pairs)):
        raise BadValue("an answer is called right and wrong of one question")
    return list(found.items())


def _relevance(files: Files, raw: str | None, space: str = "label") -> int:
    label = files.answer(space, raw)
    if label is None:
        raise BadValue("no label, which no split withholds")
    return RELEVANCE[label]


@dataset("webmedqa", record=Ranking)
def webmedqa(files: Files, split: str) -> Iterator[Ranking]:
    """Tabs, no header, quotes are text: a candidate a line. The lines of a question share its id, wherever they stand."""
    groups: dict[str, list[Row]] = {}
    for row in _cells(files["question and answer rows"]):
        with row:
            place = "first" if row["first"].isdecimal() else "third"
            if not row[place].isdecimal():
                raise BadValue("no id, which is a number, in its first or third cell")
            _relevance(files, row["label"])
            row["department"] = row["third" if place == "first" else "first"]
            groups.setdefault(row[place], []).append(row)
    for number, rows in groups.items():
        with rows[0]:
            if any(row["question"] != rows[0]["question"] for row in rows):
                raise BadValue("its id is that of another question")
            yield Ranking(
                id=number, split=split, query=rows[0]["question"], candidates=tuple(row["answer"] for row in rows),
                relevance=tuple(_relevance(files, row["label"]) for row in rows),
                labels={"department": files.label("department", rows[0]["department"])},
            )  # fmt: skip


def _cells(source: Source) -> Iterator[Row]:
    """Yield the cells of each line by our names for them."""
    for number, line in lines(source):
        if not line.strip():
            continue
        cells = line.rstrip("\r\n").split("\t")
        row = Row(dict(zip(WEBMEDQA, cells, strict=False)), source, number)
        if len(cells) != len(WEBMEDQA):
            source.problems.add(row.error(f"{len(cells)} cells, {len(WEBMEDQA)} were expected"))
            continue
        yield row


@dataset("cmd", record=QA)
def cmd(files: Files, split: str) -> Iterator[QA]:
    """GB18030, a folder a department; a byte that is none of it stands as U+FFFD, and ``bad_bytes`` counts them."""
    for source in files.all("questions"):
        file = PurePosixPath((source.member or str(source.path)).replace("\\", "/"))
        for row in delimited.rows(source, ",", encoding="gb18030"):
            with row:
                asked = [
                    one for one in (row["title"].strip(), row["ask"].strip()) if one and one != "无"
                ]  # 无: nothing
                if not asked:
                    raise BadValue("neither a title nor a question")
                answer = row["answer"].strip()
                yield QA(
                    id=f"{file.parent.name}/{file.stem}/{row.number}", split=split, question="\n".join(asked),
                    answers=(answer,) if answer else (), labels={"department": files.label("department", row["department"])},
                    meta={"title": row["title"], "bad_bytes": sum(str(one).count("\ufffd") for one in row.values())},
                )  # fmt: skip


@dataset("mediqa", record=Ranking)
def mediqa(files: Files, split: str) -> Iterator[Record]:
    """Answers that a system found, judged from 1 to 4, of which 3 and 4 are right; or pairs of questions, of which one may entail the other."""
    if files.variant == "rqe":
        for row, pair in xml.elements(files["pairs"], "pair"):
            with row:
                yield Pair(
                    id=f"{split}-{pair.attrib['pid']}", split=split, a=xml.text(pair, "chq"), b=xml.text(pair, "faq"),
                    labels={"entailment": files.label("entailment", pair.attrib["value"])}, meta={"type": pair.get("type")},
                )  # fmt: skip
        return
    for source in files.all("questions"):
        part = source.name.removeprefix("MEDIQA2019-Task3-QA-").removesuffix(".xml")
        for row, asked in xml.elements(source, "Question"):
            with row:
                found = list(asked.iterfind("AnswerList/Answer"))
                yield Ranking(
                    id=f"{part}/{asked.attrib['QID']}", split=split, query=xml.text(asked, "QuestionText"),
                    candidates=tuple(xml.text(one, "AnswerText") for one in found),
                    relevance=tuple(_relevance(files, one.get("ReferenceScore"), "ReferenceScore") for one in found),
                    meta={"answers": [dict(one.attrib) | {"url": one.findtext("AnswerURL")} for one in found]},
                )  # fmt: skip

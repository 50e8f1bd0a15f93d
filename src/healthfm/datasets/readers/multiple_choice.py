"""Examination and research questions with a fixed choice of answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, jsonl, table
from healthfm.records import MultipleChoice

LETTERED = re.compile(r"([A-Z])\s+(.*)")  # CMExam's "A  first option", a line each
ANNOTATIONS = ("Disease Group", "Clinical Department", "Medical Discipline", "Area of Competency", "Difficulty level")


@dataset("medqa", record=MultipleChoice)
def medqa(files: Files, split: str) -> Iterator[MultipleChoice]:
    """One JSON object a line; the files number no questions, so the line number is the id."""
    for row in jsonl.rows(files["questions"]):
        with row:
            if str(files.variant).endswith("4-options") and len(row["options"]) > 4:
                raise BadValue(f"{len(row['options'])} options: is this the file with five?")
            yield MultipleChoice(
                id=f"{split}-{row.number}", split=split, question=row["question"], options=row["options"],
                answer=row["answer_idx"], meta={"answer": row["answer"], "step": row["meta_info"]},
            )  # fmt: skip


@dataset("medmcqa", record=MultipleChoice)
def medmcqa(files: Files, split: str) -> Iterator[MultipleChoice]:
    """``cop`` counts from 1 in the owners' zip and from 0 in the hub's copy; the test split has none (hub: -1)."""
    letters = files.space("cop").classes
    for source in files.all("questions"):
        for row in table.rows(source) if source.name.endswith(".parquet") else jsonl.rows(source):
            with row:
                every = {letter: row[f"op{letter.lower()}"] for letter in letters}
                answer = files.answer("cop", row.get("cop") if split == "test" else row["cop"])
                if answer is None and split != "test":
                    raise BadValue("no answer, which only the test split withholds")
                yield MultipleChoice(
                    id=row["id"], split=split, question=row["question"], answer=answer,
                    options={letter: one for letter, one in every.items() if one is not None},
                    meta={key: row.get(key) for key in ("subject_name", "topic_name", "choice_type", "exp")},
                )  # fmt: skip


@dataset("pubmedqa", record=MultipleChoice)
def pubmedqa(files: Files, split: str) -> Iterator[MultipleChoice]:
    """A mapping from PMID; in PQA-L the ids of test_ground_truth.json are the test split and the rest is the train pool."""
    truth = jsonl.load(files["test ids"]) if files.variant == "pqa-l" else {}
    decisions = {one: one for one in files.space("final_decision").classes}
    met: set[str] = set()
    for row in jsonl.items(files["questions"]):
        pmid = str(row.number)
        met.add(pmid)
        if files.variant == "pqa-l" and (pmid in truth) != (split == "test"):
            continue
        with row:
            decision = files.answer("final_decision", row["final_decision"] if files.variant != "pqa-u" else None)
            if pmid in truth and truth[pmid] != decision:
                raise BadValue("final_decision differs from test_ground_truth.json")
            yield MultipleChoice(
                id=pmid, split=split, question=row["QUESTION"], context="\n".join(row["CONTEXTS"]),
                options=decisions, answer=decision,
                meta={"long_answer": row["LONG_ANSWER"], "sections": row["LABELS"], "mesh": row["MESHES"], "year": row.get("YEAR")},
            )  # fmt: skip
    if split == "test" and set(truth) - met:
        absent = len(set(truth) - met)
        files.problems.add(
            DatasetError(f"{files['questions']}: {absent} of the {len(truth)} test questions are not in it")
        )


@dataset("cmexam", record=MultipleChoice)
def cmexam(files: Files, split: str) -> Iterator[MultipleChoice]:
    """Options are the lines of one cell, the right letters one word ("ACE"); only the test file has annotations."""
    for row in table.rows(files["questions"]):
        with row:
            letters = row["Answer"].strip()  # one question of the 68,119 has none
            yield MultipleChoice(
                id=f"{split}-{row.number}", split=split, question=row["Question"], options=_lettered(row["Options"]),
                answer=_keys(files, "Answer", letters) if letters else None, meta={"explanation": row["Explanation"]},
                labels={name: files.label(name, row[name]) for name in ANNOTATIONS if split == "test"},
            )  # fmt: skip


def _lettered(cell: str) -> dict[str, str]:
    """Return the options of a cell by letter; a line that opens none belongs to the option before it, and an empty one is no option."""
    found: dict[str, str] = {}
    letter = ""
    for line in filter(None, map(str.strip, cell.split("\n"))):
        opened = LETTERED.match(line + " ")
        if opened is None and not letter:
            raise BadValue("the options do not begin with a letter")
        if opened is None:
            found[letter] += f"\n{line}"
            continue
        letter = opened[1]
        if letter in found:
            raise BadValue(f"two options are called {letter}")
        found[letter] = opened[2].strip()
    return {key: text for key, text in found.items() if text}


def _keys(files: Files, space: str, raw: Sequence[str]) -> str | tuple[str, ...]:
    """Return the key that an answer names, or all of them in the card's order where it names several."""
    named = {files.answer(space, one) for one in raw}
    if None in named or len(named) < len(raw):
        raise BadValue("the answer names no option, or one twice")
    keys = tuple(one for one in files.space(space).classes if one in named)
    return keys[0] if len(keys) == 1 else keys


@dataset("mmedbench", record=MultipleChoice)
def mmedbench(files: Files, split: str) -> Iterator[MultipleChoice]:
    """``answer_idx`` holds the right letters with commas between them, or is a list of them, as the owners' code allows."""
    for row in jsonl.rows(files["questions"]):
        with row:
            raw = row["answer_idx"]
            letters = [one.strip() for one in (raw.split(",") if isinstance(raw, str) else raw)]
            if not letters:
                raise BadValue("no answer, which no split withholds")
            yield MultipleChoice(
                id=f"{split}-{row.number}", split=split, question=row["question"], options=row["options"],
                answer=_keys(files, "answer_idx", letters),
                meta={key: row.get(key) for key in ("rationale", "human_checked", "human_check_passed")},
            )  # fmt: skip


@dataset("mmlu-medical", record=MultipleChoice)
def mmlu_medical(files: Files, split: str) -> Iterator[MultipleChoice]:
    """No header: the question, the options A to D, the right letter; the first line is a question."""
    letters = files.space("answer").classes
    for row in delimited.rows(files["questions"], ",", names=("question", *letters, "answer")):
        with row:
            answer = files.answer("answer", row["answer"])
            if answer is None:
                raise BadValue("no answer, which no split withholds")
            yield MultipleChoice(
                id=f"{split}-{row.number}", split=split, question=row["question"], answer=answer,
                options={letter: row[letter] for letter in letters},
            )  # fmt: skip

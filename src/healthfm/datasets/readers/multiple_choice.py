"""Examination and research questions with a fixed choice of answers."""

from __future__ import annotations

from collections.abc import Iterator

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import jsonl, table
from healthfm.records import MultipleChoice


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

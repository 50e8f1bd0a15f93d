"""Tables of benchmarks: a masked sentence, or a pair of sentences, and its label a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from healthfm.datasets.locate import Files
from healthfm.errors import BadValue
from healthfm.formats import delimited, jsonl
from healthfm.formats.source import Row
from healthfm.records import Document, MultipleChoice, Pair


def _lines(files: Files, *names: str, is_header: Callable[[Row], bool] | None = None) -> Iterator[Row]:
    """Yield the lines of a table by our names for its columns, without the first where it is a header, which it is known by."""
    for row in delimited.rows(files["sentences"], "\t", names=names):
        if not (is_header and row.number == 1 and is_header(row)):
            yield row


def masked_relations(files: Files, split: str) -> Iterator[Document]:
    """A line is an id, a sentence in which two mentions are masked (@GENE$), and what it says of them."""
    headed = files.variant == "gad" or files.card.slug == "blue"
    for row in _lines(files, "id", "sentence", "label", is_header=_is_bare if headed else None):
        with row:
            if "@" not in row["sentence"]:
                raise BadValue("no masked mention in the sentence")
            yield Document(
                id=f"{split}-{row.number}", split=split, text=row["sentence"], labels={"relation": files.label("relation", row["label"])},
                meta={"id": row["id"]},
            )  # fmt: skip


def _is_bare(row: Row) -> bool:
    """Whether a line has no masked mention: it is then the header."""
    return "@" not in row["sentence"]


def scored_pairs(files: Files, split: str) -> Iterator[Pair]:
    """A header, then a line a pair: two sentences and how alike they are in the last three cells, whatever stands before them."""
    for row in delimited.rows(files["sentences"], "\t"):
        with row:
            *before, one, other, score = row.values()
            yield Pair(
                id=f"{split}-{row.number}", split=split, a=one, b=other, labels={"score": files.label("score", score)},
                meta={"id": before[0] if before else None},
            )  # fmt: skip


def inferences(files: Files, split: str) -> Iterator[Pair]:
    """MedNLI as its owners give it: a premise and a hypothesis a line of JSON."""
    for row in jsonl.rows(files["pairs"]):
        with row:
            yield Pair(
                id=row["pairID"], split=split, a=row["sentence1"], b=row["sentence2"], labels={"label": files.label("label", row["gold_label"])},
            )  # fmt: skip


def hallmark_sentences(files: Files, split: str) -> Iterator[Document]:
    """Hallmarks of Cancer: in BLUE an id, a sentence and its hallmarks by name; in BLURB "0_0,1_1,..." first, a number and 0 or 1 each."""
    blue = files.card.slug == "blue"
    columns = ("id", "sentence", "labels") if blue else ("labels", "sentence", "id")
    for row in _lines(files, *columns, is_header=lambda row: "_" not in row["id"]):  # ids are PMID_s0
        with row:
            names = [one for one in row["labels"].split(",") if one] if blue else _marked(files, row["labels"])
            yield Document(
                id=row["id"], split=split, patient=row["id"].partition("_")[0], text=row["sentence"],
                labels={"hallmarks": files.label("hallmarks", names)},
            )  # fmt: skip


def _marked(files: Files, cell: str) -> list[str]:
    marks = [one.split("_") for one in cell.split(",")]
    classes = files.space("hallmarks").classes
    if [number for number, *_ in marks] != [str(n) for n in range(len(classes))] or any(
        mark not in (["0"], ["1"]) for _, *mark in marks
    ):
        raise BadValue(f"the labels are not {len(classes)} marks of 0 or 1 in order")
    return [name for name, (_, mark) in zip(classes, marks, strict=True) if mark == "1"]


def decided(files: Files, split: str) -> Iterator[MultipleChoice]:
    """BioASQ: an id, a question, a text and yes or no a line, without a header."""
    for row in _lines(files, "id", "question", "context", "answer"):
        with row:
            yield _decision(
                files, f"{split}-{row.number}", split, row["question"], row["context"], row["answer"], {"id": row["id"]}
            )


def decided_abstracts(files: Files, split: str) -> Iterator[MultipleChoice]:
    """PubMedQA by BLURB's own division: a mapping from PMID in each of its files."""
    for row in jsonl.items(files["questions"]):
        with row:
            yield _decision(
                files, str(row.number), split, row["QUESTION"], "\n".join(row["CONTEXTS"]), row["final_decision"], {}
            )


def _decision(
    files: Files, id: str, split: str, question: str, context: str, answer: str, meta: Mapping[str, str]
) -> MultipleChoice:
    return MultipleChoice(
        id=id, split=split, question=question, context=context, options={one: one for one in files.space("answer").classes},
        answer=files.one("answer", answer), meta=meta,
    )  # fmt: skip

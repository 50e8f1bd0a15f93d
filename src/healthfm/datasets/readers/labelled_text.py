"""Texts with one class or several."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue
from healthfm.formats.source import Row, Source, lines, whole
from healthfm.records import Document

AND = re.compile(r"\bAND")  # between two labels, the next one often without a blank; within a word it is none


@dataset("hoc", record=Document)
def hoc(files: Files, split: str) -> Iterator[Document]:
    """BioGPT's copy: a sentence, a tab, its hallmarks joined by "|" or "empty"; or the corpus: two files an abstract."""
    if files.variant == "corpus":
        yield from _hoc_corpus(files, split)
        return
    source = files["sentences"]
    for number, line in lines(source):
        if not line.strip():  # every second line of test.tsv
            continue
        row = Row({}, source, number)
        with row:
            text, tab, marks = line.rstrip("\r\n").rpartition("\t")  # quotes are plain text here
            if not tab:
                raise BadValue("no tab between sentence and hallmarks")
            names = [] if marks == "empty" else marks.split("|")
            yield Document(
                id=f"{split}-{number}", split=split, text=text, labels={"hallmarks": files.label("hallmarks", names)}
            )


def _hoc_corpus(files: Files, split: str) -> Iterator[Document]:
    """text/PMID.txt holds a sentence a line; labels/PMID.txt "<" before each, then "A--part AND B", nothing or "NULL"."""
    marks = {_stem(source): source for source in files.all("labels")}
    for source in files.all("texts"):
        pmid = _stem(source)
        row = Row({}, source, 1)
        with row:
            if pmid not in marks:
                raise BadValue("no file of labels for this abstract")
            sentences = whole(source).strip("\n").split("\n")
            found = whole(marks[pmid]).split("<")[1:]
            if len(found) != len(sentences):
                raise BadValue(f"{len(sentences)} sentences, {len(found)} labels")
            for number, (text, marked) in enumerate(zip(sentences, found, strict=True), 1):
                parts = [part.strip() for part in AND.split(marked)]
                names = [part.partition("--")[0].strip().lower() for part in parts if part not in ("", "NULL")]
                yield Document(
                    id=f"{pmid}-{number}", split=split, patient=pmid, text=text, labels={"hallmarks": files.label("hallmarks", names)},
                    meta={"taxonomy": [part for part in parts if part], "document": pmid},
                )  # fmt: skip


def _stem(source: Source) -> str:
    return PurePosixPath((source.member or str(source.path)).replace("\\", "/")).stem

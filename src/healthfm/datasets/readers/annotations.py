"""Texts in which mentions and relations are marked: PubTator, BioC, CoNLL, sentences with marked entities, texts with triples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import bioc, conll, jsonl, pubtator
from healthfm.formats.source import Row, lines
from healthfm.records import Document, Relation, Span

MARKED = re.compile(r".*?<< (.+?) >>.*?\[\[ (.+?) \]\].*", re.DOTALL)  # SciBERT's marks: the first mention, the second
BIOC_SLIPS = {("6415512", 247, 16): 248}  # the owners' development file begins one mention a character early


@dataset("medmentions", record=Document)
def medmentions(files: Files, split: str) -> Iterator[Document]:
    """One file for all splits, whose PMIDs three lists name; concepts are bare CUIs in both variants."""
    wanted = {line.strip() for _, line in lines(files["split ids"]) if line.strip()}
    met: set[str] = set()
    for row in pubtator.documents(files["abstracts"]):
        if row["id"] in wanted:
            met.add(row["id"])
            with row:
                yield from_pubtator(row, split)
    if wanted - met:
        files.problems.add(
            DatasetError(
                f"{files['abstracts']}: {len(wanted - met)} of the {len(wanted)} abstracts of this split are not in it"
            )
        )


def from_pubtator(row: Row, split: str) -> Document:
    """Return a PubTator document; what a composite mention names in full stays in ``meta["names"]`` by the number of its span."""
    mentions, relations = pubtator.marked(row)
    spans = [Span(m.start, m.end, m.type, tuple(one.removeprefix("UMLS:") for one in m.concepts)) for m in mentions]
    return Document(
        id=row["id"], split=split, text=row["text"], spans=tuple(spans), relations=tuple(Relation(*one) for one in relations),
        meta={"title": row["title"], "names": {str(n): list(m.names) for n, m in enumerate(mentions) if m.names}},
    )  # fmt: skip


def bc5cdr_pubtator(files: Files, split: str) -> Iterator[Document]:
    """BC5CDR's PubTator file; a task on one type of mention ("entity" on the card) leaves out those of the other, and the relations."""
    wanted = files.space("entity").classes
    for row in pubtator.documents(files["abstracts"]):
        with row:
            whole = from_pubtator(row, split)
            spans = [replace(span, type=files.one("mention", span.type)) for span in whole.spans]
            kept = [n for n, span in enumerate(spans) if span.type in wanted]
            names = {
                str(new): whole.meta["names"][str(n)] for new, n in enumerate(kept) if str(n) in whole.meta["names"]
            }
            yield replace(whole, spans=tuple(spans[n] for n in kept), relations=(), meta={**whole.meta, "names": names})


def bc5cdr_bioc(files: Files, split: str) -> Iterator[Document]:
    """BC5CDR's BioC file: every annotation, a composite mention and each of its individual ones (which may be in pieces)."""
    for row in bioc.documents(files["abstracts"]):
        with row:
            starts = [start for start, _, _ in row["passages"]]
            if starts != [0, *(end + 1 for _, end, _ in row["passages"][:-1])]:
                raise BadValue("a passage does not begin one character behind the one above it")
            marked = row["annotations"]
            yield Document(
                id=row["id"], split=split, text=row["text"], spans=tuple(_bioc_span(files, row["id"], one, row["text"]) for one in marked),
                relations=tuple(Relation(one.infons["relation"], one.infons["Chemical"], one.infons["Disease"]) for one in row["relations"]),
                meta={"roles": {str(n): one.infons["CompositeRole"] for n, one in enumerate(marked) if "CompositeRole" in one.infons}},
            )  # fmt: skip


def _bioc_span(files: Files, id: str, one: bioc.Annotation, text: str) -> Span:
    """Return a BioC annotation as a span. Raises ``BadValue``: the text at its locations is not what it says."""
    begins = [(BIOC_SLIPS.get((id, start, end - start), start), end - start) for start, end in one.places]
    parts = tuple([(start, start + length) for start, length in begins])
    if not parts or bioc.spoken(text, parts) != one.text:
        raise BadValue("the text at the locations of an annotation is not the one it says")
    concepts = tuple([each for each in one.infons["MESH"].split("|") if each not in pubtator.NOTHING])
    kind = files.one("entity", one.infons["type"])
    return Span(parts[0][0], parts[-1][1], kind, concepts, parts if len(parts) > 1 else ())


def tagged_sentences(files: Files, split: str) -> Iterator[Document]:
    """CoNLL sentences, their tokens joined by blanks; a sentence belongs to its document, where the file marks documents.

    Tags without a type, as BLURB's own files have them, mean the set's only class, or the one that the card calls B.
    """
    classes = files.space("entity").classes
    plain = classes[0] if len(classes) == 1 else "B"
    for row in conll.sentences(files["sentences"]):
        with row:
            text, found = conll.spans(row["tokens"], row["tags"])
            document = f"{split}-document-{row['documents']}" if row["documents"] else None
            yield Document(
                id=f"{split}-{row.number}", split=split, patient=row["document"] or document, text=text, meta={"words": "blanks"},
                spans=tuple(Span(start, end, files.one("entity", kind or plain)) for start, end, kind in found),
            )  # fmt: skip


def marked_relations(files: Files, split: str) -> Iterator[Document]:
    """SciBERT's ChemProt: a sentence for each relation in it, "<< >>" around the first of the two mentions, "[[ ]]" around the second."""
    for row in jsonl.rows(files["sentences"]):
        with row:
            marks = MARKED.fullmatch(row["text"])
            if marks is None:
                raise BadValue("no mention in << >> and another in [[ ]] behind it")
            found = files.one("relation", row["label"])
            spans = tuple(Span(*marks.span(n), "chemical or protein") for n in (1, 2))
            yield Document(
                id=f"{split}-{row.number}", split=split, text=row["text"], spans=spans, relations=(Relation(found, 0, 1),),
                labels={"relation": found},
            )  # fmt: skip


def drug_triples(files: Files, split: str) -> Iterator[Document]:
    """BioGPT's DDI-2013: a text by its document's id, with the interactions in it; they name drugs and do not place them."""
    for row in jsonl.items(files["texts"]):
        with row:
            found = [
                Relation(files.one("interaction", one["interaction"]), one["drug"], one["target"])
                for one in row["triples"]
            ]
            yield Document(
                id=str(row.number), split=split, text=row["abstract"], relations=tuple(found),
                labels={"interaction types": frozenset(one.type for one in found)},
            )  # fmt: skip

"""Benchmark suites: each variant of the card is a part, read by the generator of the part's layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import Reader, dataset
from healthfm.datasets.readers import annotations, benchmark_tables
from healthfm.errors import DatasetError
from healthfm.records import Document, Record

ENTITIES = ("bc5cdr-chem", "bc5cdr-disease", "ncbi-disease", "bc2gm", "jnlpba", "ebm-nlp")
BLURB: Mapping[str, Reader] = {
    **dict.fromkeys(ENTITIES, annotations.tagged_sentences),
    **dict.fromkeys(("scibert-ncbi-disease", "scibert-jnlpba", "scibert-ebm-nlp"), annotations.tagged_sentences),
    "scibert-chemprot": annotations.marked_relations,
    "biogpt-ddi": annotations.drug_triples,
    **dict.fromkeys(("chemprot", "ddi", "gad"), benchmark_tables.masked_relations),
    "biosses": benchmark_tables.scored_pairs,
    "hoc": benchmark_tables.hallmark_sentences,
    "bioasq": benchmark_tables.decided,
    "pubmedqa": benchmark_tables.decided_abstracts,
}
BLUE: Mapping[str, Reader] = {
    **dict.fromkeys(("bc5cdr-disease", "bc5cdr-chemical"), annotations.bc5cdr_pubtator),
    **dict.fromkeys(("chemprot", "ddi", "i2b2-2010"), benchmark_tables.masked_relations),
    **dict.fromkeys(("biosses", "medsts"), benchmark_tables.scored_pairs),
    "hoc": benchmark_tables.hallmark_sentences,
    "mednli": benchmark_tables.inferences,
}
BIGBIO: Mapping[str, Reader] = {
    "bc5cdr": annotations.bc5cdr_bioc,
    "medmentions-full": annotations.medmentions,
    "medmentions-st21pv": annotations.medmentions,
}


@dataset("blurb", record=Document)
def blurb(files: Files, split: str) -> Iterator[Record]:
    """Its sets as its scripts make them, and SciBERT's and BioGPT's copies of five of them."""
    return _part(BLURB, files, split)


@dataset("blue", record=Document)
def blue(files: Files, split: str) -> Iterator[Record]:
    """BC5CDR as its owners publish it, the mentions of one type a task; its other parts as BLUE's own release has them."""
    return _part(BLUE, files, split)


@dataset("bigbio", record=Document)
def bigbio(files: Files, split: str) -> Iterator[Record]:
    """The owners' files that its loaders read, to records with what the loaders keep of them."""
    return _part(BIGBIO, files, split)


def _part(parts: Mapping[str, Reader], files: Files, split: str) -> Iterator[Record]:
    reader = parts.get(files.variant or "")
    if reader is None:
        raise DatasetError(f"{files.card.slug}:{files.variant}: this part is not read yet (read: {', '.join(parts)})")
    return reader(files, split)

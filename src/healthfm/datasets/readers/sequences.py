"""Sequences with what is known of them: FASTA files, and flat files of annotated entries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset, one_by_one
from healthfm.datasets.readers.annotation import regions
from healthfm.datasets.readers.variants import variants
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import fasta, flatfile
from healthfm.formats.source import Row, Source, lines
from healthfm.records import Feature, Pair, Record, Sequence
from healthfm.records.biology import Alphabet

UNIPROT = re.compile(r"(sp|tr)\|([^|]+)\|(\S+) (.*)")
UNIPROT_FIELD = re.compile(r" (OS|OX|GN|PE|SV)=")
UNIREF = re.compile(r"(UniRef\d+_\S+) (.*?)(?: n=(\d+) Tax=(.*?) TaxID=(\S+) RepID=(\S+))?")
ENSEMBL_FIELD = re.compile(
    r" (chromosome|scaffold|supercontig|primary_assembly|gene|transcript|gene_biotype|transcript_biotype|gene_symbol):"
)
RNA_TYPES = re.compile(r"(URS[0-9A-F]{10}(?:_\d+)?) ?(.*)")
ALPHABETS: Mapping[str, Alphabet] = {"DNA": "dna", "RNA": "rna", "protein": "protein"}


def _chain(row: Row, id: str, split: str, alphabet: Alphabet, description: str, **meta: Any) -> Sequence:
    return Sequence(id=id, split=split, chains=(row["letters"],), alphabet=alphabet, description=description, meta=meta)


@dataset("ncbi-genbank", record=Sequence)
def ncbi_genbank(files: Files, split: str) -> Iterator[Sequence]:
    """Accession and version are the id; an entry that names contigs in place of letters (CON division) has no chain of its own."""
    for role in ("records", "updates"):
        for source in files.all(role):
            for row, entry in flatfile.entries(source, "genbank"):
                with row:
                    yield _entry(row, entry, split, "genbank")


def _entry(row: Row, entry: Any, split: str, form: str) -> Sequence:
    """Return an annotated entry as a record: letters, features with their places, organism, taxonomy, cross-references."""
    about = entry.annotations
    alphabet = (
        "protein" if form == "swiss" else ALPHABETS["protein" if about.get("molecule_type") == "protein" else "DNA"]
    )
    placed = [one for one in entry.features if one.location is not None]
    return Sequence(
        id=entry.id, split=split, alphabet=alphabet, description=entry.description,  # type: ignore[arg-type]
        chains=(str(entry.seq),) if entry.seq.defined else (), features=tuple(map(_feature, placed)),
        meta={
            "accessions": about.get("accessions", []), "organism": about.get("organism"), "taxonomy": about.get("taxonomy", []),
            "molecule_type": about.get("molecule_type"), "topology": about.get("topology"), "date": about.get("date") or about.get("date_last_annotation_update"),
            "cross_references": list(entry.dbxrefs), "name": entry.name, "length": len(entry.seq),
            "features_without_place": [one.type for one in entry.features if one.location is None], "warnings": row["warnings"],
        },
    )  # fmt: skip


def _feature(one: Any) -> Feature:
    """Return a feature with its place: of several parts the whole stretch and the parts; an end that is not known at all is None."""
    from Bio.SeqFeature import ExactPosition, UnknownPosition

    parts = one.location.parts
    ends = [end for part in parts for end in (part.start, part.end)]
    known = not any(isinstance(end, UnknownPosition) for end in ends)
    start, end = (min(ends), max(ends)) if known else (parts[0].start, parts[-1].end)
    strands = {part.strand for part in parts}
    return Feature(
        type=one.type, start=_number(start), end=_number(end), strand={1: "+", -1: "-"}.get(strands.pop()) if len(strands) == 1 else None,  # type: ignore[arg-type]
        parts=tuple((int(p.start), int(p.end)) for p in parts) if known and len(parts) > 1 else (),
        exact=all(isinstance(each, ExactPosition) for each in ends),
        notes={key: tuple(map(str, value if isinstance(value, list) else [value])) for key, value in one.qualifiers.items()},
    )  # fmt: skip


def _number(position: Any) -> int | None:
    try:
        return int(position)
    except TypeError:  # an unknown one
        return None


@dataset("uniprot", record=Sequence)
def uniprot(files: Files, split: str) -> Iterator[Sequence]:
    """FASTA gives the name and its fields; where the flat file lies beside it, that is read in its place, features and all."""
    if files.variant == "uniref":
        for row in _fasta(files, "clusters"):
            with row:
                cluster = _found(UNIREF.fullmatch(row["header"]), "a UniRef name")
                yield _chain(
                    row, cluster[1], split, "protein", cluster[2], members=cluster[3], taxon=cluster[4], taxon_id=cluster[5], representative=cluster[6],
                )  # fmt: skip
        return
    flat = [source for source in files.all("entries") if source.name.endswith(".dat")]
    plain = [source for source in files.all("entries") if source.name.endswith(".fasta")]
    if not flat and not plain:
        raise DatasetError(f"{', '.join(map(str, files.all('entries')))}: neither FASTA nor a flat file (.dat)")
    for source in flat:
        for where, entry in flatfile.entries(source, "swiss"):
            with where:
                yield _entry(where, entry, split, "swiss")
    for row in one_by_one(() if flat else plain, fasta.entries):
        with row:
            named = _found(UNIPROT.fullmatch(row["header"]), "sp|ACCESSION|NAME")
            description, *fields = UNIPROT_FIELD.split(f" {named[4]}")
            said = dict(zip(fields[::2], fields[1::2], strict=True))
            yield _chain(
                row, named[2], split, "protein", description.strip(), name=named[3], reviewed=named[1] == "sp", organism=said.get("OS"),
                taxon_id=said.get("OX"), gene=said.get("GN"), existence=said.get("PE"), version=said.get("SV"),
            )  # fmt: skip


@dataset("rnacentral-database", record=Sequence)
def rnacentral(files: Files, split: str) -> Iterator[Sequence]:
    """RNAcentral's names begin with URS and ten hexadecimal digits; Rfam's are accession and place, of one family a file."""
    for row in _fasta(files, "sequences"):
        with row:
            if files.variant == "rnacentral":
                named = _found(RNA_TYPES.fullmatch(row["header"]), "a URS identifier")
                yield _chain(row, named[1], split, "rna", named[2])
                continue
            place, _, description = row["header"].partition(" ")
            family = row.source.name.split(".")[0]
            yield _chain(row, f"{family}:{place}", split, "rna", description.strip(), family=family)


@dataset("ensembl-project", record=Sequence)
def ensembl(files: Files, split: str) -> Iterator[Record]:
    """FASTA headers carry KEY:VALUE fields, the place from 1 with its end; the GTF and VCF variants are places and variants."""
    if files.variant == "gtf":
        yield from regions(files.all("annotation"), split, "GRCh38")
    elif files.variant == "variation":
        yield from variants(files.all("variants"), split, "GRCh38")
    for row in (
        _fasta(files, "genome" if files.variant == "dna" else "sequences")
        if files.variant not in ("gtf", "variation")
        else ()
    ):
        with row:
            name, _, rest = row["header"].partition(" ")
            rest, _, description = f" {rest}".partition(" description:")
            kind, *fields = ENSEMBL_FIELD.split(rest)
            said = dict(zip(fields[::2], (one.strip() for one in fields[1::2]), strict=True))
            yield _chain(
                row, name, split, "protein" if files.variant == "pep" else "dna", description, kind=kind.strip(), **said
            )


def _fasta(files: Files, role: str) -> Iterator[Row]:
    yield from one_by_one(files.all(role), fasta.entries)


def _found(match: re.Match[str] | None, what: str) -> re.Match[str]:
    if match is None:
        raise BadValue(f"its header is not {what} and what follows")
    return match


@dataset("swissprotclap", record=Pair)
def swissprotclap(files: Files, split: str) -> Iterator[Pair]:
    """A protein and what Swiss-Prot says of it, joined by id: in each file a line with the id, then one with the value."""
    texts = {row["id"]: row["value"] for row in _two_lines(files["texts"])}
    for row in _two_lines(files["sequences"]):
        with row:
            if row["id"] not in texts:
                raise BadValue("its id has no text")
            yield Pair(id=row["id"], split=split, a=row["value"], b=texts.pop(row["id"]))
    for left in sorted(texts):
        files.problems.add(DatasetError(f"{files['texts']}: {left} has a text and no sequence"))


def _two_lines(source: Source) -> Iterator[Row]:
    held = [line.rstrip("\r\n") for _, line in lines(source)]
    if len(held) % 2:
        source.problems.add(DatasetError(f"{source}: {len(held)} lines, where ids and values should alternate"))
    for place in range(0, len(held) - 1, 2):
        yield Row({"id": held[place].strip(), "value": held[place + 1].strip()}, source, place + 1)

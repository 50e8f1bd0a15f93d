"""Variants of the human genome from VCF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from healthfm.datasets.contigs import named
from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset, one_by_one
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import fasta, twobit, vcf
from healthfm.formats.source import Source, lines
from healthfm.records import Variant

DBSNP = {"vcf-grch38": "GRCh38", "vcf-grch37": "GRCh37"}
THOUSAND = {"phase3": "GRCh37", "high-coverage": "GRCh38"}


def variants(
    sources: Sequence[Source],
    split: str,
    assembly: str,
    panel: frozenset[str] = frozenset(),
    reference: Sequence[Source] = (),
) -> Iterator[Variant]:
    """Yield the lines of VCF files. ``panel``: the samples that the owners describe; one that is not among them is a problem of its file.

    ``reference``: the sequences of the assembly (FASTA or 2bit); a REF that is not what stands there is a problem of its line.
    """
    sequences = _Sequences(reference, assembly)
    yield from one_by_one(sources, lambda source: _variants(source, split, assembly, panel, sequences))


def _variants(
    source: Source, split: str, assembly: str, panel: frozenset[str], sequences: _Sequences
) -> Iterator[Variant]:
    header = None
    for head, row in vcf.rows(source):
        if header is None and panel and (strange := sorted(set(head.samples) - panel)):
            source.problems.add(
                DatasetError(f"{source}: {len(strange)} samples are not in the panel ({', '.join(strange[:3])})")
            )
        header = head
        with row:
            contig = named(assembly, row["contig"], row["position"] + len(row["ref"]))
            sequences.confirm(contig, row["position"], row["ref"])
            yield Variant(
                id=f"{contig}:{row['position'] + 1}:{row['ref']}>{','.join(row['alts']) or '.'}", split=split, contig=contig,
                position=row["position"], ref=row["ref"], alts=row["alts"], assembly=assembly, samples=head.samples,
                load=partial(vcf.genotypes, row, len(head.samples)) if head.samples else None,
                meta={"contig": row["contig"], "ids": row["ids"], "quality": row["quality"], "filters": row["filters"], "info": row["info"]},
            )  # fmt: skip


class _Sequences:
    """The contigs of an assembly, by their one name, where its sequences are here."""

    def __init__(self, sources: Sequence[Source], assembly: str) -> None:
        self.held: dict[str, tuple[fasta.Indexed | twobit.Indexed, str]] = {}
        for source in sources:
            found = (twobit if source.name.endswith(".2bit") else fasta).Indexed(source)
            self.held |= {named(assembly, name): (found, name) for name in found.lengths}

    def confirm(self, contig: str, position: int, ref: str) -> None:
        """Raise ``BadValue`` where the assembly lacks the contig, or other letters stand at the place; letters for several bases agree with all."""
        if not self.held:
            return
        if contig not in self.held:
            raise BadValue(f"the reference sequence has no contig {contig}")
        source, name = self.held[contig]
        there = source.letters(name, position, position + len(ref)).upper()
        if len(there) != len(ref) or any(
            a != b and a in "ACGT" and b in "ACGT" for a, b in zip(there, ref.upper(), strict=True)
        ):
            raise BadValue("REF is not what the reference sequence has at that place")


@dataset("1000-genomes", record=Variant)
def thousand_genomes(files: Files, split: str) -> Iterator[Variant]:
    """Phase 3 calls chromosomes 1, X (GRCh37), the high-coverage set chr1, chrX (GRCh38): both are chr1, chrX here."""
    told = [line.split("\t")[0].strip() for source in files.all("samples") for _, line in lines(source)]
    panel = frozenset(told) - {"sample", ""}  # lines end in stray tabs, more of them than the header has
    yield from variants(files.all("variants"), split, THOUSAND[str(files.variant)], panel, files.all("reference"))


@dataset("dbsnp", record=Variant)
def dbsnp(files: Files, split: str) -> Iterator[Variant]:
    """Contigs are RefSeq accessions in the file; a variant of the pseudo-autosomal regions stands on X and on Y under one rs number."""
    yield from variants(files.all("variants"), split, DBSNP[str(files.variant)], reference=files.all("reference"))

"""Variants of the human genome from VCF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from healthfm.datasets.contigs import named
from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import DatasetError
from healthfm.formats import vcf
from healthfm.formats.source import Source, lines
from healthfm.records import Variant

DBSNP = {"vcf-grch38": "GRCh38", "vcf-grch37": "GRCh37"}
THOUSAND = {"phase3": "GRCh37", "high-coverage": "GRCh38"}


def variants(
    sources: Sequence[Source], split: str, assembly: str, panel: frozenset[str] = frozenset()
) -> Iterator[Variant]:
    """Yield the lines of VCF files. ``panel``: the samples that the owners describe; one that is not among them is a problem of its file."""
    for source in sources:
        header = None
        for head, row in vcf.rows(source):
            if header is None and panel and (strange := sorted(set(head.samples) - panel)):
                source.problems.add(
                    DatasetError(f"{source}: {len(strange)} samples are not in the panel ({', '.join(strange[:3])})")
                )
            header = head
            with row:
                contig = named(assembly, row["contig"], row["position"] + len(row["ref"]))
                yield Variant(
                    id=f"{contig}:{row['position'] + 1}:{row['ref']}>{','.join(row['alts']) or '.'}", split=split, contig=contig,
                    position=row["position"], ref=row["ref"], alts=row["alts"], assembly=assembly, samples=head.samples,
                    load=partial(vcf.genotypes, row, len(head.samples)) if head.samples else None,
                    meta={"contig": row["contig"], "ids": row["ids"], "quality": row["quality"], "filters": row["filters"], "info": row["info"]},
                )  # fmt: skip


@dataset("1000-genomes", record=Variant)
def thousand_genomes(files: Files, split: str) -> Iterator[Variant]:
    """Phase 3 calls chromosomes 1, X (GRCh37), the high-coverage set chr1, chrX (GRCh38): both are chr1, chrX here."""
    told = [line.split("\t")[0].strip() for source in files.all("samples") for _, line in lines(source)]
    panel = frozenset(told) - {"sample", ""}  # lines end in stray tabs, more of them than the header has
    yield from variants(files.all("variants"), split, THOUSAND[str(files.variant)], panel)


@dataset("dbsnp", record=Variant)
def dbsnp(files: Files, split: str) -> Iterator[Variant]:
    """Contigs are RefSeq accessions in the file; a variant of the pseudo-autosomal regions stands on X and on Y under one rs number."""
    yield from variants(files.all("variants"), split, DBSNP[str(files.variant)])

"""Variants from VCF: 1000 Genomes and dbSNP, beside cyvcf2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.formats import vcf
from healthfm.formats.source import Problems, Source
from tests.datasets.laid import lay

ProvesWith = Callable[..., None]
PHASE3 = "release/20130502/ALL.chr2.phase3_shapeit2_mvncall_integrated_v5b.20130502.genotypes.vcf.gz"
PANEL = "release/20130502/integrated_call_samples_v3.20130502.ALL.panel"
HEAD = '##fileformat=VCFv4.1\n##INFO=<ID=AF,Number=A,Type=Float,Description="x">\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tHG1\tHG2\n'
LINE = "22\t100\trs1;rs2\tA\tC,<CN0>\t50\tPASS\tAF=0.1,0.2;DB\tGT:DP\t0|1:3\t2|.:4\n"


def records(name: str, root: Path, on_error: Any = "raise") -> list[Any]:
    return list(open_dataset(name, root, on_error=on_error))


@pytest.mark.evidence("1000-genomes", "sample", where="reference")
def test_the_owners_lines_and_every_genotype_are_cyvcf2s(
    reference_data: Path, tmp_path: Path, proves_with: ProvesWith
) -> None:
    import cyvcf2

    source = reference_data / "vcf_1000genomes/vcf/test/1kg.vcf.gz"
    proves_with(source)
    ours = records("1000-genomes", lay(tmp_path, {PHASE3: source}))
    theirs = list(cyvcf2.VCF(str(source)))
    assert len(ours) == len(theirs) == 381 and len(ours[0].samples) == 629
    for one, other in zip(ours, theirs, strict=True):
        assert (one.position, one.ref, list(one.alts), one.contig) == (
            other.POS - 1,
            other.REF,
            other.ALT,
            f"chr{other.CHROM}",
        )
        assert np.array_equal(one.genotypes, np.array([call[:2] for call in other.genotypes]))
    assert {one.assembly for one in ours} == {"GRCh37"}


@pytest.mark.parametrize("name", ["1kg.sites.vcf", "freebayes.vcf", "gatk.vcf", "bcftools.vcf"])
def test_other_makers_files_are_read_as_cyvcf2_reads_them(reference_data: Path, name: str) -> None:
    import cyvcf2

    path = reference_data / "vcf_1000genomes/vcf/test" / name
    problems = Problems("collect")
    count = 0
    for (header, row), other in zip(vcf.rows(Source(path, None, problems)), cyvcf2.VCF(str(path)), strict=True):
        assert (row["contig"], row["position"], row["ref"], list(row["alts"])) == (
            other.CHROM,
            other.POS - 1,
            other.REF,
            other.ALT,
        )
        if row["format"].startswith("GT"):
            called = vcf.genotypes(row, len(header.samples)).tolist()
            assert [[a for a in one if a != -2] for one in called] == [one[:-1] for one in other.genotypes]
        count += 1
    assert count > 30 and not problems.found


@pytest.mark.evidence("1000-genomes", "layout")
def test_a_line_with_several_alleles_is_one_record_and_genotypes_wait(tmp_path: Path) -> None:
    """Panel as in the owners' README: sample, pop, super_pop, gender, with stray tabs at the end of lines."""
    lay(tmp_path, {PHASE3: HEAD + LINE, PANEL: "sample\tpop\tsuper_pop\tgender\t\t\nHG1\tGBR\tEUR\tmale\n"})
    dataset = open_dataset("1000-genomes", tmp_path, on_error="collect")
    (one,) = dataset
    assert (one.id, one.position, one.alts, one.contig) == ("chr22:100:A>C,<CN0>", 99, ("C", "<CN0>"), "chr22")  # type: ignore[attr-defined]
    assert one.genotypes.tolist() == [[0, 1], [2, -1]]  # type: ignore[attr-defined]
    assert one.meta["ids"] == ("rs1", "rs2") and one.meta["info"] == {"AF": ("0.1", "0.2"), "DB": True}
    assert "1 samples are not in the panel (HG2)" in str(dataset.errors[0])


@pytest.mark.evidence("dbsnp", "layout")
def test_refseq_contigs_get_their_chromosome_and_one_rs_number_may_stand_on_x_and_on_y(tmp_path: Path) -> None:
    """Contig and INFO names as dbSNP's release notes give them for GCF_000001405.40.gz."""
    head = HEAD.split("\tFORMAT")[0] + "\n"
    text = (
        head
        + "NC_000023.11\t10001\trs9\tT\tC\t.\t.\tRS=9;dbSNPBuildID=155\nNC_000024.10\t10001\trs9\tT\tC\t.\t.\tRS=9\nNT_187633.1\t5\trs7\tG\tA\t.\t.\tRS=7\n"
    )
    x, y, other = records("dbsnp", lay(tmp_path, {"VCF/GCF_000001405.40.gz": text}))
    assert (
        [one.contig for one in (x, y, other)] == ["chrX", "chrY", "NT_187633.1"]
        and x.id != y.id
        and x.meta["ids"] == y.meta["ids"] == ("rs9",)
    )
    with pytest.raises(DatasetError, match="sites alone"):
        _ = x.genotypes
    with pytest.raises(DatasetError, match="one of GRCh38, not of GRCh37"):
        records("dbsnp:vcf-grch37", lay(tmp_path, {"VCF/GCF_000001405.25.gz": text}))


@pytest.mark.parametrize(("change", "reason"), [(("\tA\tC", "\tA1\tC"), "no allele"), (("\t100\t", "\tx\t"), "a number is none"), (("\t2|.:4", ""), "10 columns|samples"),
                                               (("22\t100", "22\t99951304566"), "beyond the end"), (("AF=0.1,0.2;DB", "AF=1;AF=2"), "AF twice")])  # fmt: skip
def test_a_line_that_is_none_is_named_and_the_next_is_read(
    tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    lay(tmp_path, {PHASE3: HEAD + LINE.replace(*change) + LINE.replace("\t100\t", "\t200\t")})
    dataset = open_dataset("1000-genomes", tmp_path, on_error="collect")
    found = list(dataset)
    if not dataset.errors:  # the samples' columns are parsed when they are asked for
        with pytest.raises(DatasetError, match=reason):
            _ = found[0].genotypes  # type: ignore[attr-defined]
        return
    assert [one.position for one in found] == [199]  # type: ignore[attr-defined]
    (error,) = dataset.errors
    assert "row 4" in str(error) and pytest.raises(DatasetError, match=reason)


def test_a_genotype_that_names_no_allele_of_the_line_is_refused(tmp_path: Path) -> None:
    (one,) = records("1000-genomes", lay(tmp_path, {PHASE3: HEAD + LINE.replace("2|.", "3|.")}))
    with pytest.raises(DatasetError, match="names allele 3, the line has 2"):
        _ = one.genotypes


@pytest.mark.parametrize("text", ["22\t1\t.\tA\tC\t.\t.\t.\n", "#CHROM POS ID REF ALT QUAL FILTER INFO\n", ""])
def test_what_is_not_vcf_is_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(DatasetError, match="not VCF"):
        records("1000-genomes", lay(tmp_path, {PHASE3: text}))

"""Places on genomes from GTF, GFF3, BED, a genome browser's tables and ENCODE's peaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from healthfm import open_dataset
from healthfm.datasets.contigs import named
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import intervals
from healthfm.formats.source import Problems, Source
from healthfm.records import Region
from tests.datasets.laid import lay
from tests.formats.genomes import big_wig, two_bit

ProvesWith = Callable[..., None]
HEAD = "##description: evidence-based annotation of the human genome (GRCh38), version 29 (Ensembl 94)\n"
GENE = (
    'chr1\tHAVANA\tgene\t11869\t14409\t.\t+\t.\tgene_id "ENSG1.5"; gene_type "lncRNA"; tag "a"; tag "b;c"; level 2;\n'
)


def records(name: str, root: Path, on_error: Any = "raise") -> list[Any]:
    return list(open_dataset(name, root, on_error=on_error))


@pytest.mark.evidence("gencode", "sample", where="reference")
def test_gencodes_own_lines_are_all_read_each_under_a_name_of_its_own(
    reference_data: Path, tmp_path: Path, proves_with: ProvesWith
) -> None:
    source = reference_data / "pyranges_annotation/pyranges/example_data/gencode_human.gtf.gz"
    proves_with(source)
    found = records("gencode", lay(tmp_path, {"gencode.v29.annotation.gtf.gz": source}))
    assert len({one.id for one in found}) == len(found) == 4995
    assert Counter(one.type for one in found)["gene"] == 119 and {one.assembly for one in found} == {"GRCh38"}
    assert (found[0].contig, found[0].start, found[0].end) == ("chr1", 11868, 14409)


@pytest.mark.evidence("gencode", "layout")
def test_a_line_counts_from_1_with_its_end_and_a_key_may_occur_twice(tmp_path: Path) -> None:
    (one,) = records("gencode", lay(tmp_path, {"gencode.v29.annotation.gtf.gz": HEAD + GENE}))
    assert (one.start, one.end, one.end - one.start) == (11868, 14409, 14409 - 11869 + 1)
    assert one.meta["tag"] == ["a", "b;c"] and one.meta["level"] == "2"
    text = "##gff-version 3\n#description: x (GRCh38)\nchr1\tHAVANA\tgene\t11869\t14409\t.\t-\t.\tID=ENSG1.5;gene_type=lncRNA;note=a%3Bb,c\n##FASTA\n>x\n"
    (two,) = records("gencode:gff3", lay(tmp_path, {"gencode.v29.annotation.gff3.gz": text}))
    assert (two.start, two.strand, two.id, two.meta["note"]) == (11868, "-", "ENSG1.5", ["a;b", "c"])


def test_the_basic_set_is_not_read_as_the_comprehensive_one(tmp_path: Path) -> None:
    lay(tmp_path, {"gencode.v29.basic.annotation.gtf": HEAD + GENE})
    assert len(records("gencode:basic", tmp_path)) == 1
    with pytest.raises(DatasetError, match="no annotation file"):
        records("gencode:comprehensive", tmp_path)
    assert open_dataset("gencode", tmp_path).name == "gencode:basic"  # the one variant that is here, under its own name


@pytest.mark.parametrize(("change", "reason"), [(("\t11869", "\t0"), "before the contig"), (("\t14409", "\t11000"), "end lies before"), (("\t+\t", "\tx\t"), "strand"),
                                               (("\t.\t+", "\t+"), "8 columns"), (("14409", "948956422"), "beyond the end of chr1")])  # fmt: skip
def test_a_line_that_is_none_is_named_and_the_next_is_read(
    tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    lay(tmp_path, {"gencode.v29.annotation.gtf": HEAD + GENE.replace(*change) + GENE.replace("ENSG1.5", "ENSG2.1")})
    dataset = open_dataset("gencode", tmp_path, on_error="collect")
    assert [one.id for one in dataset] == ["ENSG2.1"]
    (error,) = dataset.errors
    assert reason in str(error) and "row 2" in str(error)


def test_one_table_leads_every_name_of_a_chromosome_to_one() -> None:
    assert (
        {named("GRCh38", one) for one in ("1", "chr1", "NC_000001.11")} == {"chr1"} == {named("hg19", "NC_000001.10")}
    )
    assert named("GRCh38", "MT") == named("GRCh38", "NC_012920.1") == "chrM" and named("GRCh37", "chrM") == "chrM"
    assert named("GRCh38", "KI270728.1") == "KI270728.1" and named(None, "1") == "1"
    with pytest.raises(BadValue, match="one of GRCh37"):
        named("GRCh38", "NC_000001.10")
    with pytest.raises(BadValue, match="beyond"):
        named("GRCh37", "22", 51_304_567)
    assert named("GRCh37", "22", 51_304_566) == "chr22"


def test_the_lengths_of_hg19_are_those_that_ucsc_gives(reference_data: Path) -> None:
    source = Source(reference_data / "pyranges_annotation/pyranges/example_data/chromsizes.bed")
    for row in intervals.bed(source):
        if row["contig"] != "chrM":  # another sequence in UCSC's hg19
            assert named("hg19", row["contig"], row["end"]) == row["contig"]
            with pytest.raises(BadValue):
                named("hg19", row["contig"], row["end"] + 1)


@pytest.mark.evidence("ucsc-genome-browser", "layout")
def test_a_table_has_its_columns_in_the_sql_beside_it_and_counts_from_0(tmp_path: Path) -> None:
    """As hgdownload's database/cpgIslandExt.sql and .txt.gz are: bin first, chromStart from 0."""
    sql = (
        "DROP TABLE IF EXISTS `cpgIslandExt`;\nCREATE TABLE `cpgIslandExt` (\n  `bin` smallint(6) NOT NULL DEFAULT 0,\n  `chrom` varchar(255) NOT NULL,\n"
        "  `chromStart` int(10) unsigned NOT NULL,\n  `chromEnd` int(10) unsigned NOT NULL,\n  `name` varchar(255) NOT NULL,\n  KEY `chrom` (`chrom`,`bin`)\n);\n"
    )
    lay(tmp_path, {
        "hg38/database/cpgIslandExt.sql": sql, "hg38/database/cpgIslandExt.txt.gz": "585\tchr1\t28735\t29737\tCpG: 111\n",
        "hg38/database/chromAlias.sql": "CREATE TABLE `chromAlias` (\n  `alias` varchar(255),\n  `chrom` varchar(255)\n);\n", "hg38/database/chromAlias.txt.gz": "1\tchr1\n",
        "hg38/database/orphan.txt.gz": "x\n",
    })  # fmt: skip
    dataset = open_dataset("ucsc-genome-browser", tmp_path, on_error="collect")
    (one,) = dataset
    assert (one.id, one.contig, one.start, one.end, one.meta) == (
        "cpgIslandExt:1",
        "chr1",
        28735,
        29737,
        {"name": "CpG: 111"},
    )  # type: ignore[attr-defined]
    assert (
        "no orphan.sql" in str(dataset.errors[0])
        and dataset.passed_over[0][1] == "its columns name no place on a genome"
    )


META = "File accession\tFile format\tFile type\tOutput type\tFile assembly\tExperiment accession\tAssay\tBiosample term name\tmd5sum\n"


@pytest.mark.evidence("encode", "layout")
def test_peaks_take_their_assembly_from_the_metadata_and_every_file_is_accounted_for(tmp_path: Path) -> None:
    """metadata.tsv as encodeproject.org's batch download writes it; narrowPeak is BED6 + 4."""
    lay(tmp_path, {
        "metadata.tsv": META + "ENCFF001AAA\tbed narrowPeak\tbed\tIDR thresholded peaks\tGRCh38\tENCSR1\tTF ChIP-seq\tK562\tx\n"
        "ENCFF002BBB\tbigWig\tbigWig\tfold change\tGRCh38\tENCSR1\tTF ChIP-seq\tK562\tx\nENCFF003CCC\tbed narrowPeak\tbed\tpeaks\thg19\tENCSR2\tDNase-seq\tHepG2\tx\n",
        "ENCFF001AAA.bed.gz": "chr1\t100\t250\tPeak_1\t1000\t.\t31.5\t-1\t4.2\t75\n", "ENCFF009ZZZ.bed.gz": "chr1\t1\t2\n",
    })  # fmt: skip
    dataset = open_dataset("encode", tmp_path, on_error="collect")
    (peak,) = dataset
    assert (peak.assembly, peak.start, peak.end, peak.strand) == ("GRCh38", 100, 250, None)  # type: ignore[attr-defined]
    assert peak.values == {"score": 1000.0, "signalValue": 31.5, "pValue": -1.0, "qValue": 4.2, "peak": 75.0}  # type: ignore[attr-defined]
    said = " ".join(map(str, dataset.errors))
    assert (
        "ENCFF003CCC is listed, but not here" in said and "ENCFF009ZZZ is not in" in said and len(dataset.errors) == 2
    )
    assert dataset.passed_over == [("ENCFF002BBB", "bigWig: a track that is not here")]


def test_real_bed_files_of_several_makers_are_read_whole(reference_data: Path) -> None:
    folder = reference_data / "pyranges_annotation/pyranges/example_data"
    counts = {"chipseq.bed": 10000, "aorta.bed": 11, "exons.bed": 1000, "cpg.bed": 1077}
    for name, expected in counts.items():
        problems = Problems("collect")
        rows = list(intervals.bed(Source(folder / name, None, problems)))
        assert rows and not problems.found, name
        assert expected is None or len(rows) == expected, name


@pytest.mark.evidence("encode", "layout")
def test_a_track_is_a_record_a_contig_and_gives_the_values_of_a_stretch(tmp_path: Path) -> None:
    listed = "ENCFF002BBB\tbigWig\tbigWig\tfold change\tGRCh38\tENCSR1\tTF ChIP-seq\tK562\tx\n"
    lay(tmp_path, {"metadata.tsv": META + listed + listed.replace("2BBB", "3CCC")})
    (tmp_path / "ENCFF002BBB.bigWig").write_bytes(big_wig())
    (tmp_path / "ENCFF003CCC.bigWig").write_bytes(big_wig()[:200])
    dataset = open_dataset("encode", tmp_path, on_error="collect")
    one, two = dataset
    assert isinstance(one, Region) and isinstance(two, Region) and one.runs is not None
    assert (one.id, two.contig, one.end, one.type, one.assembly) == (
        "ENCFF002BBB:chr1",
        "chr2",
        1000,
        "fold change",
        "GRCh38",
    )
    assert [part.tolist() for part in one.runs(12, 104)] == [[12, 30, 100, 102], [20, 40, 101, 103], [2.5, -1, 7, 8]]
    assert "ENCFF003CCC.bigWig: the file is damaged or cut short" in str(dataset.errors[0])
    assert one.digest() != replace(one, id="ENCFF004DDD:chr1").digest()


@pytest.mark.evidence("ucsc-genome-browser", "layout")
def test_a_place_that_the_genome_beside_it_lacks_is_named(tmp_path: Path) -> None:
    sql = "CREATE TABLE `a` (\n  `chrom` text,\n  `chromStart` int,\n  `chromEnd` int\n);\n"
    lay(tmp_path, {
        "hg38/database/a.sql": sql, "hg38/database/a.txt.gz": "chr1\t0\t23\nchr1\t0\t24\nchrUn_x\t0\t1\n",
        "hg38/bigZips/hg38.2bit": "", "hg38/phyloP100way/hg38.phyloP100way.bw": "",
    })  # fmt: skip
    (tmp_path / "hg38/bigZips/hg38.2bit").write_bytes(two_bit())
    (tmp_path / "hg38/phyloP100way/hg38.phyloP100way.bw").write_bytes(big_wig())
    dataset = open_dataset("ucsc-genome-browser", tmp_path, on_error="collect")
    assert [one.id for one in dataset] == ["a:1", "hg38.phyloP100way:chr1", "hg38.phyloP100way:chr2"]
    assert ["row 2" in str(dataset.errors[0]), "row 3" in str(dataset.errors[1]), len(dataset.errors)] == [
        True,
        True,
        2,
    ]
    assert "the genome beside it has no such place" in str(dataset.errors[0])

"""2bit, bigWig and tabix: letters, values and lines by place."""

from __future__ import annotations

from pathlib import Path

import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.formats import bigwig, twobit, vcf
from healthfm.formats.source import Source
from tests.datasets.laid import lay
from tests.datasets.test_variants import HEAD, PHASE3
from tests.formats.genomes import GENOME, big_wig, indexed_vcf, two_bit


@pytest.mark.parametrize(("order", "version"), [("<", 0), (">", 0), ("<", 1)])
def test_every_stretch_of_a_2bit_has_its_letters_its_unknown_and_its_lower_case(
    tmp_path: Path, order: str, version: int
) -> None:
    (tmp_path / "a.2bit").write_bytes(two_bit(order, version))
    found = twobit.Indexed(Source(tmp_path / "a.2bit"))
    assert found.lengths == {name: len(letters) for name, letters in GENOME.items()}
    for name, letters in GENOME.items():
        for i in range(len(letters) + 1):
            assert all(found.letters(name, i, j) == letters[i:j] for j in range(i, len(letters) + 3))


def test_ref_is_held_against_a_2bit_as_against_fasta(tmp_path: Path) -> None:
    lines = "".join(f"22\t{at}\t.\t{ref}\tGG\t.\t.\t.\tGT\t0\t1\n" for at, ref in [(9, "A"), (10, "A"), (5, "AC")])
    lay(tmp_path, {PHASE3: HEAD + lines})
    (tmp_path / "hg19.2bit").write_bytes(two_bit(genome={"chr22": GENOME["chr1"]}))
    dataset = open_dataset("1000-genomes", tmp_path, on_error="collect")
    assert [one.id for one in dataset] == ["chr22:9:A>GG", "chr22:5:AC>GG"]
    assert "REF is not what the reference sequence has" in str(dataset.errors[0]) and len(dataset.errors) == 1


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("packed", [True, False])
def test_values_of_a_stretch_are_cut_to_it_and_of_its_contig_alone(tmp_path: Path, order: str, packed: bool) -> None:
    (tmp_path / "a.bw").write_bytes(big_wig(order, packed))
    held = bigwig.Track(Source(tmp_path / "a.bw"))
    assert held.lengths == {"chr1": 1000, "chr2": 500}
    whole = [*zip(*(part.tolist() for part in held.runs("chr1", 0, 1000)), strict=True)]
    assert whole == [
        (0, 5, 1.5), (10, 20, 2.5), (30, 40, -1), (100, 101, 7), (102, 103, 8), (104, 105, 9), (200, 204, 3), (210, 214, 4),
    ]  # fmt: skip
    for i, j in [(3, 12), (5, 10), (20, 30), (101, 213), (-5, 1), (213, 9999)]:
        cut = [(max(a, i), min(b, j), value) for a, b, value in whole if a < j and b > i]
        assert [*zip(*(part.tolist() for part in held.runs("chr1", i, j)), strict=True)] == cut
    assert [part.tolist() for part in held.runs("chr2", 499, 600)] == [[499], [500], [6]]
    with pytest.raises(DatasetError, match="the track has no contig chr3"):
        held.runs("chr3", 0, 1)


@pytest.mark.parametrize(("of", "good"), [(twobit.Indexed, two_bit), (bigwig.Track, big_wig)])
def test_a_genome_file_that_is_none_or_packed_is_refused(tmp_path: Path, of: type, good: object) -> None:
    for name, data, reason in [("a", b"no, none", "does not begin"), ("b", b"", "empty"), ("c.gz", b"x", "unpack it")]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DatasetError, match=reason):
            of(Source(tmp_path / name))


def test_variants_of_a_stretch_are_those_that_cyvcf2_finds_and_few_lines_are_read_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cyvcf2

    path = tmp_path / "a.vcf.gz"
    path.write_bytes(indexed_vcf()[0])
    with pytest.raises(DatasetError, match="there is none"):
        list(vcf.region(Source(path), "chr1", 0, 1))
    (tmp_path / "a.vcf.gz.tbi").write_bytes(indexed_vcf()[1])
    theirs, seen = cyvcf2.VCF(str(path)), []
    monkeypatch.setattr(vcf, "fields", lambda line, header, of=vcf.fields: seen.append(line) or of(line, header))
    for contig in ("chr1", "chr2"):
        for i, j in [(0, 1), (0, 10**7), (20, 5000), (5000, 5001), (35_010, 35_020), (35_020, 35_021), (16_384, 32_768), (131_072, 131_073), (899_999, 900_000), (900_001, 905_000)]:  # fmt: skip
            found = [(row["contig"], row["position"]) for _, row in vcf.region(Source(path), contig, i, j)]
            assert found == [(one.CHROM, one.POS - 1) for one in theirs(f"{contig}:{i + 1}-{j}")], (contig, i, j)
    seen.clear()
    assert len(list(vcf.region(Source(path), "chr2", 100_000, 100_001))) == 1 and len(seen) < 10
    assert not list(vcf.region(Source(path), "chr3", 0, 1))

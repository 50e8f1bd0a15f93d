"""Sequences from FASTA and flat files: UniProt, GenBank, RNAcentral and Rfam, Ensembl. Beside Biopython where it reads the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from tests.datasets.laid import lay

ProvesWith = Callable[..., None]
SPROT = "knowledgebase/complete/uniprot_sprot"
PROTEIN = (
    ">sp|P00750|TPA_HUMAN Tissue-type plasminogen activator OS=Homo sapiens OX=9606 GN=PLAT PE=1 SV=1\nMDAMKR\nGLCCVL\n"
)


def records(name: str, root: Path, on_error: Any = "raise") -> list[Any]:
    return list(open_dataset(name, root, on_error=on_error))


@pytest.mark.evidence("uniprot", "layout")
def test_a_uniprot_header_is_name_description_and_fields_of_which_the_gene_may_be_absent(tmp_path: Path) -> None:
    """Header as UniProt's help page "FASTA headers" gives it."""
    lay(
        tmp_path,
        {f"{SPROT}.fasta.gz": PROTEIN + ">sp|Q1|X_Y A protein (Fragment) OS=Bos taurus OX=9913 PE=4 SV=2\nMA*\n"},
    )
    one, two = records("uniprot", tmp_path)
    assert (one.id, one.letters, one.alphabet, one.description) == (
        "P00750",
        "MDAMKRGLCCVL",
        "protein",
        "Tissue-type plasminogen activator",
    )
    assert (one.meta["gene"], one.meta["taxon_id"], one.meta["reviewed"]) == ("PLAT", "9606", True)
    assert two.meta["gene"] is None and two.description == "A protein (Fragment)"


def test_a_header_of_another_kind_is_an_error_and_not_a_name(tmp_path: Path) -> None:
    lay(tmp_path, {f"{SPROT}.fasta": ">UniRef50_P1 thing\nMA\n" + PROTEIN})
    dataset = open_dataset("uniprot", tmp_path, on_error="collect")
    assert [record.id for record in dataset] == ["P00750"]
    assert "row 1" in str(dataset.errors[0]) and "sp|ACCESSION|NAME" in str(dataset.errors[0])


def test_uniref_clusters_are_known_by_their_own_pattern(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "uniref/uniref50/uniref50.fasta": ">UniRef50_P12345 Aminotransferase n=3 Tax=Homo sapiens TaxID=9606 RepID=AATM_RABIT\nMALL\n"
        },
    )
    (one,) = records("uniprot:uniref", tmp_path)
    assert (one.id, one.meta["members"], one.meta["taxon"], one.meta["representative"]) == (
        "UniRef50_P12345",
        "3",
        "Homo sapiens",
        "AATM_RABIT",
    )


@pytest.mark.evidence("uniprot", "sample", where="reference")
def test_swiss_prots_own_entries_have_the_same_letters_and_features_as_in_their_fasta(
    reference_data: Path, tmp_path: Path, proves_with: ProvesWith
) -> None:
    from Bio import SwissProt

    source = reference_data / "biopython_records/Tests/SwissProt"
    proves_with(source / "multi_ex.txt", source / "multi_ex.fasta")
    lay(tmp_path / "a", {f"{SPROT}.fasta": source / "multi_ex.fasta"})
    lay(tmp_path / "b", {f"{SPROT}.fasta": source / "multi_ex.fasta", f"{SPROT}.dat": source / "multi_ex.txt"})
    plain, whole = records("uniprot", tmp_path / "a"), records("uniprot", tmp_path / "b")
    assert [(r.id, r.letters) for r in plain] == [(r.id, r.letters) for r in whole] and len(plain) == 8
    with (source / "multi_ex.txt").open() as handle:
        theirs = list(SwissProt.parse(handle))
    for ours, entry in zip(whole, theirs, strict=True):
        assert (ours.id, ours.letters, ours.meta["name"]) == (entry.accessions[0], entry.sequence, entry.entry_name)
        assert [f.type for f in ours.features] == [f.type for f in entry.features]
    signal = whole[0].features[0]
    assert (signal.type, signal.start, signal.end) == ("SIGNAL", 0, 22)  # FT SIGNAL 1 22: from 1, the end included


@pytest.mark.evidence("ncbi-genbank", "sample", where="reference")
def test_genbanks_own_entries_behind_a_file_header(
    reference_data: Path, tmp_path: Path, proves_with: ProvesWith
) -> None:
    source = reference_data / "biopython_records/Tests/GenBank"
    proves_with(source / "cor6_6.gb", source / "NC_005816.gb")
    head = "GBPLN1.SEQ          Genetic Sequence Data Bank\n                          October 15 2025\n\n                NCBI-GenBank Flat File Release 268.0\n\n\n\n"
    lay(tmp_path, {"gbpln1.seq.gz": head + (source / "cor6_6.gb").read_text(), "gbbct1.seq": source / "NC_005816.gb"})
    plasmid, *plant = records("ncbi-genbank", tmp_path)
    assert len(plant) == 6 and plasmid.id == "NC_005816.1" and len(plasmid.letters) == 9609
    assert (plasmid.meta["topology"], plasmid.meta["organism"]) == (
        "circular",
        "Yersinia pestis biovar Microtus str. 91001",
    )
    source_feature, repeat, gene, *_ = plasmid.features
    assert (source_feature.start, source_feature.end) == (0, 9609) and (gene.start, gene.end, gene.strand) == (
        86,
        1109,
        "+",
    )
    assert gene.notes["locus_tag"] == ("YP_pPCP01",) and repeat.start == 0


def test_a_damaged_entry_is_one_problem_and_the_next_is_read(reference_data: Path, tmp_path: Path) -> None:
    source = reference_data / "biopython_records/Tests/GenBank"
    text = (source / "cor6_6.gb").read_text()
    broken = text.replace("ORIGIN", "FEATURES\nORIGIN", 1).replace(
        "     source          1..", "     source          1..x", 1
    )
    lay(tmp_path, {"gbpln1.seq": broken + (source / "no_end_marker.gb").read_text()})
    dataset = open_dataset("ncbi-genbank", tmp_path, on_error="collect")
    assert 5 <= len(list(dataset)) <= 6
    assert any("the file ends within it" in str(one) for one in dataset.errors)


@pytest.mark.evidence("rnacentral-database", "layout")
def test_rnacentrals_and_rfams_headers(tmp_path: Path) -> None:
    """RNAcentral's readme: a URS id, then a description; Rfam's readme: accession/start-end, then the organism, a family a file."""
    lay(tmp_path, {
        "current_release/sequences/rnacentral_active.fasta.gz": ">URS0000000001 rRNA from 1 species\nAUGC\n>URS00000ABCDE_9606 Homo sapiens tRNA\nGGCC\n",
        "fasta_files/RF00001.fa.gz": ">X01556.1/3-118 Escherichia coli\xe9\nUGCC\n".encode("latin-1"),
    })  # fmt: skip
    one, two = records("rnacentral-database", tmp_path)
    assert [one.id, two.id, one.alphabet, two.letters] == ["URS0000000001", "URS00000ABCDE_9606", "rna", "GGCC"]
    (family,) = records("rnacentral-database:rfam", tmp_path)
    assert (family.id, family.meta["family"]) == ("RF00001:X01556.1/3-118", "RF00001")


@pytest.mark.evidence("ensembl-project", "layout")
def test_ensembls_headers_are_fields_and_a_description_with_blanks(tmp_path: Path) -> None:
    """Ensembl's README of fasta/.../pep: ID SEQTYPE:STATUS LOCATION GENE TRANSCRIPT ..., description last."""
    text = (
        ">ENSP00000451515.1 pep chromosome:GRCh38:14:22438547:22438554:1 gene:ENSG00000223997.1 transcript:ENST00000415118.1 "
        "gene_biotype:TR_D_gene transcript_biotype:TR_D_gene gene_symbol:TRDD1 description:T cell receptor delta diversity 1 [Source:HGNC Symbol;Acc:HGNC:12254]\nEI\n"
    )
    lay(tmp_path, {"fasta/homo_sapiens/pep/Homo_sapiens.GRCh38.pep.all.fa.gz": text})
    (one,) = records("ensembl-project", tmp_path)
    assert (one.id, one.letters, one.meta["gene"], one.meta["gene_symbol"]) == (
        "ENSP00000451515.1",
        "EI",
        "ENSG00000223997.1",
        "TRDD1",
    )
    assert one.meta["chromosome"] == "GRCh38:14:22438547:22438554:1" and one.description.startswith(
        "T cell receptor delta"
    )


@pytest.mark.evidence("ensembl-project", "sample", where="reference")
def test_ensembls_own_annotation_counts_from_0_here(
    reference_data: Path, tmp_path: Path, proves_with: ProvesWith
) -> None:
    source = reference_data / "pyranges_annotation/pyranges/example_data/ensembl_human.gtf.gz"
    proves_with(source)
    lay(tmp_path, {"gtf/homo_sapiens/Homo_sapiens.GRCh38.94.gtf.gz": source})
    found = records("ensembl-project:gtf", tmp_path)
    assert len(found) == 2446 and len({one.id for one in found}) == 2446
    gene = found[0]
    assert (gene.id, gene.contig, gene.start, gene.end, gene.strand) == ("ENSG00000223972", "chr1", 11868, 14409, "+")
    assert gene.labels == {"gene_type": "transcribed_unprocessed_pseudogene"} and gene.meta["contig"] == "1"


@pytest.mark.parametrize(("text", "reason"), [("no header\nACGT\n", "does not begin with '>'"), (">a\n>b\nAC\n", "no letters"), (">a\nAC1GT\n", "no letter of a sequence")])  # fmt: skip
def test_what_is_not_fasta_is_said(tmp_path: Path, text: str, reason: str) -> None:
    lay(tmp_path, {"fasta_files/RF1.fa": text})
    with pytest.raises(DatasetError, match=reason):
        records("rnacentral-database:rfam", tmp_path)


@pytest.mark.evidence("swissprotclap", "layout")
def test_proteins_and_texts_are_joined_by_id_and_not_by_place(tmp_path: Path) -> None:
    """As chao1224/ProteinDT's dataset_SwissProtCLAP.py reads them: id line, value line."""
    lay(tmp_path, {
        "SwissProtCLAP/protein_sequence.txt": "P1\nMAX\nP2\nMKK\nP3\nMM\n", "SwissProtCLAP/text_sequence.txt": "P2\nBinds zinc.\nP1\nA kinase.\nP9\nLost.\n",
    })  # fmt: skip
    dataset = open_dataset("swissprotclap", tmp_path, on_error="collect")
    assert [(one.id, one.a, one.b) for one in dataset] == [("P1", "MAX", "A kinase."), ("P2", "MKK", "Binds zinc.")]  # type: ignore[attr-defined]
    assert ["has no text" in str(dataset.errors[0]), "P9 has a text and no sequence" in str(dataset.errors[1])] == [
        True,
        True,
    ]

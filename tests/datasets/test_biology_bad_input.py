"""What is wrong with a file of biology has its line, and what is beside it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.datasets.check import check_dataset
from healthfm.errors import DatasetError
from healthfm.formats import fasta
from healthfm.formats.source import Source
from tests.datasets.laid import lay
from tests.datasets.test_omics import GCT, LEVEL5
from tests.datasets.test_recordings import ptb, record, row
from tests.datasets.test_single_cell import new_h5ad
from tests.datasets.test_variants import HEAD, LINE, PHASE3

BASES = ">chr22 a\nNNNNNNNNNN\nNNNNNNNNNM\nACGTACGTAC\nG\n>1\nacgt\n"


def collected(name: str, root: Path) -> tuple[list[Any], str, str]:
    dataset = open_dataset(name, root, on_error="collect")
    return list(dataset), "\n".join(map(str, dataset.errors)), "\n".join(dataset.notices)


def test_a_contig_that_the_assembly_lacks_is_named_and_scaffolds_are_kept(tmp_path: Path) -> None:
    lines = [LINE.replace("22\t", f"{one}\t") for one in ("chr23", "GL000192.1", "M", "chr1_KI270706v1_random", "W")]
    found, errors, _ = collected("1000-genomes", lay(tmp_path, {PHASE3: HEAD + "".join(lines)}))
    assert [one.contig for one in found] == ["GL000192.1", "M", "chr1_KI270706v1_random"]
    assert "row 4: cannot be read: GRCh37 has no chromosome chr23" in errors and "row 8" in errors


def test_a_ref_that_disagrees_with_the_reference_sequence_is_named(tmp_path: Path) -> None:
    """Places from 1: 21 is the first A; 20 is M, which is A or C; 31 is the last base of the contig."""
    lines = [
        ("22", 21, "A"),
        ("22", 21, "C"),
        ("22", 20, "A"),
        ("22", 30, "CG"),
        ("22", 31, "GT"),
        ("1", 4, "t"),
        ("2", 1, "A"),
    ]
    text = "".join(f"{contig}\t{at}\t.\t{ref}\tGG\t.\t.\t.\tGT\t0\t1\n" for contig, at, ref in lines)
    found, errors, _ = collected("1000-genomes", lay(tmp_path, {PHASE3: HEAD + text, "hs37.fa": BASES}))
    assert [one.id for one in found] == ["chr22:21:A>GG", "chr22:20:A>GG", "chr22:30:CG>GG", "chr1:4:t>GG"]
    assert errors.count("REF is not what the reference sequence has") == 2 and "row 5" in errors and "row 8" in errors
    assert "row 10: cannot be read: the reference sequence has no contig chr2" in errors


@pytest.mark.parametrize("index", [False, True])
def test_letters_are_found_by_place_as_biopython_slices_them(tmp_path: Path, index: bool) -> None:
    from Bio import SeqIO

    path = tmp_path / "x.fa"
    path.write_text(BASES.replace("\n", "\r\n"), newline="")
    if index:
        (tmp_path / "x.fa.fai").write_text("chr22\t31\t10\t10\t12\n1\t4\t53\t4\t6\n")
    found, whole = fasta.Indexed(Source(path)), {one.id: str(one.seq) for one in SeqIO.parse(path, "fasta")}
    assert found.lengths == {name: len(letters) for name, letters in whole.items()}
    for name, start, end in [("chr22", 8, 12), ("chr22", 19, 99), ("1", 0, 4), ("1", 3, 3), ("chr22", 30, 31)]:
        assert found.letters(name, start, end) == whole[name][start:end]
    path.write_text(">a\nACG\nAC\nACG\n")
    (tmp_path / "x.fa.fai").unlink(missing_ok=True)
    with pytest.raises(DatasetError, match="lines of a are of several lengths"):
        fasta.Indexed(Source(path))


def test_an_h5ad_without_raw_counts_or_with_objects_is_read_and_says_so(tmp_path: Path) -> None:
    import h5py

    new_h5ad(tmp_path / "counts.h5ad", raw=False)
    with h5py.File(new_h5ad(tmp_path / "changed.h5ad", raw=False), "a") as file:
        file["X/data"][:] = [0.5, 0.25]
        file["obs"].create_dataset("how", data=np.array([b"\x80\x04N."] * 3, dtype=np.void(4).dtype))
        file["obs"].attrs["column-order"] = ["cell_type", "how"]
    (tmp_path / "empty.h5ad").write_bytes(b"")
    (changed, counts), errors, notices = collected("cellxgene-corpus", tmp_path)
    assert (changed.id, counts.id, changed.obs_names) == ("changed", "counts", ("_index", "cell_type"))
    assert "changed.h5ad: it keeps no raw counts" in notices and "counts.h5ad: it keeps" not in notices
    assert "column 'how' of obs holds objects" in notices and "empty.h5ad: not a readable HDF5 file" in errors


def test_a_gct_whose_dimensions_lie_does_not_keep_the_next_from_being_read(tmp_path: Path) -> None:
    import h5py

    folder = lay(tmp_path, {LEVEL5: "no"})
    (folder / LEVEL5).unlink()
    with h5py.File(folder / LEVEL5, "w") as held:
        held["0/DATA/0/matrix"] = np.zeros((2, 3), np.float32)
        held["0/META/ROW/id"], held["0/META/COL/id"] = np.array([b"1", b"2"]), np.array([b"A:1", b"B:2"])
    found, errors, _ = collected("lincs-l1000", folder)
    assert not found and "a matrix of (2, 3) for 2 samples and 2 features" in errors
    other = lay(tmp_path / "ccle", {
        "CCLE_RNAseq_genes_rpkm_20180929.gct.gz": GCT.replace("2\t2", "3\t2"), "Cell_lines_annotations_20181226.txt": "CCLE_ID\tdepMapID\n",
    })  # fmt: skip
    assert "state 3 features, it has 2" in collected("ccle", other)[1]


def test_a_file_of_several_that_is_none_is_passed_by(tmp_path: Path) -> None:
    """Of two studies' proteomes, two VCF files and two FASTA files the second is sound."""
    proteome = "Gene\tA Log Ratio\nA1BG\t0.5\n"
    lay(tmp_path / "a", {"A_Proteome.tmt10.tsv": "no\n1\n", "B_Proteome.tmt10.tsv": proteome})
    found, errors, _ = collected("cptac", tmp_path / "a")
    assert [one.id for one in found] == ["B:A"] and "A_Proteome" in errors
    lay(tmp_path / "b", {PHASE3.replace("chr2.", "chr1."): "no\n", PHASE3: HEAD + LINE})
    found, errors, _ = collected("1000-genomes", tmp_path / "b")
    assert [one.position for one in found] == [99] and "not VCF" in errors
    lay(tmp_path / "c", {
        "uniref/uniref50/uniref50.fasta": "no\n", "uniref/uniref90/uniref90.fasta": ">UniRef90_A0 B n=1 Tax=C TaxID=1 RepID=D\nMK\n",
    })  # fmt: skip
    found, errors, _ = collected("uniprot:uniref", tmp_path / "c")
    assert [one.id for one in found] == ["UniRef90_A0"] and "not FASTA" in errors


def test_check_finds_what_shows_only_when_it_is_decoded(tmp_path: Path) -> None:
    """A signal file shorter than its header, an mmCIF without atoms: each a fault; the records beside them are none."""
    for number in (1, 2):
        record(tmp_path, f"records100/00000/{number:05d}_lr", np.zeros((10, 12), int))
    short = tmp_path / "records100/00000/00001_lr.dat"
    short.write_bytes(short.read_bytes()[:100])
    faults = check_dataset("ptb-xl:records100", ptb(tmp_path, [row(1, 3), row(2, 3)]))["faults"]
    (said,) = [one for one in faults if "shorter" in one]
    assert said.startswith("1: ") and "00001_lr.hea: its samples are shorter than the header says (4, not 10)" in said
    lay(tmp_path / "pdb", {"data/structures/divided/mmCIF/ab/1abc.cif": "data_x\n_entry.id X\n"})
    assert any("1abc.cif: no atoms in it" in one for one in check_dataset("pdbe", tmp_path / "pdb")["faults"])

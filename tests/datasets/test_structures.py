"""Structures: PDB entries and AlphaFold DB models, beside Biopython's parser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from tests.datasets.laid import lay

ProvesWith = Callable[..., None]
ENTRY = "data/structures/divided/mmCIF/{}/{}.cif"


def records(name: str, root: Path, on_error: Any = "raise") -> list[Any]:
    return list(open_dataset(name, root, on_error=on_error))


@pytest.mark.evidence("pdbe", "sample", where="reference")
@pytest.mark.parametrize("entry", ["2q2k", "3zee", "5kc1"])
def test_entries_have_the_atoms_that_biopython_finds_in_them(
    reference_data: Path, tmp_path: Path, proves_with: ProvesWith, entry: str
) -> None:
    from Bio.PDB.MMCIFParser import MMCIFParser

    source = reference_data / f"alphafold_openfold_testdata/tests/test_data/mmcifs/{entry}.cif"
    proves_with(source)
    (one,) = records("pdbe", lay(tmp_path, {ENTRY.format(entry[1:3], entry): source}))
    theirs = list(next(iter(MMCIFParser(QUIET=True).get_structure(entry, str(source)))).get_atoms())
    assert one.id == entry and len(one.atoms.names) == len(theirs)
    ours = dict(
        zip(
            zip(one.atoms.chains, one.atoms.residues, one.atoms.names, strict=True),
            one.atoms.positions.tolist(),
            strict=True,
        )
    )
    for atom in theirs:
        residue = atom.get_parent()
        key = (residue.get_parent().id, (residue.id[1], residue.id[2].strip()), atom.get_name())
        assert np.allclose(ours[key], atom.coord, atol=1e-3)
    assert one.confidence is None


def test_a_chain_has_the_letters_deposited_seen_or_not_and_a_structure_has_its_first_model(
    reference_data: Path, tmp_path: Path
) -> None:
    folder = reference_data / "alphafold_openfold_testdata/tests/test_data/mmcifs"
    trp = reference_data / "biotite_structures/tests/structure/data/pdb/1l2y.cif"
    one, many = records(
        "pdbe", lay(tmp_path, {ENTRY.format("ze", "3zee"): folder / "3zee.cif", ENTRY.format("l2", "1l2y"): trp})
    )[::-1]
    assert one.sequences["A"].startswith("SEFKVTVCFGRT")
    assert len(many.atoms.names) == 304 and many.sequences == {"A": "NLYIQWLKDGGPSSGRPPPS"}


@pytest.mark.evidence("pdbe", "layout")
def test_an_updated_file_is_read_in_place_of_the_archives(reference_data: Path, tmp_path: Path) -> None:
    """Names as PDBe's FTP tree gives them: divided/mmCIF/XX/ID.cif.gz, and ID_updated.cif.gz."""
    source = reference_data / "alphafold_openfold_testdata/tests/test_data/mmcifs/3zee.cif"
    lay(tmp_path, {ENTRY.format("ze", "3zee"): source, "3zee_updated.cif.gz": source.read_bytes()})
    (one,) = records("pdbe", tmp_path)
    assert one.meta["file"] == "3zee_updated.cif" and len(one.atoms.names) == 670


@pytest.mark.evidence("alphafold-db", "sample", where="reference")
def test_a_predicted_model_has_its_confidence_a_residue_and_fragments_are_records(
    reference_data: Path, tmp_path: Path, proves_with: ProvesWith
) -> None:
    """A model that OpenFold published; its B factors are the confidence, as in AlphaFold DB's files."""
    source = (
        reference_data
        / "alphafold_openfold_testdata/examples/monomer/sample_predictions/6KWC_1_model_1_ptm_relaxed.pdb"
    )
    proves_with(source)
    lay(tmp_path, {"AF-Q00001-F1-model_v4.pdb": source, "AF-Q00001-F2-model_v4.pdb.gz": source.read_bytes()})
    one, two = records("alphafold-db", tmp_path)
    assert (one.id, two.id, one.meta["version"]) == ("AF-Q00001-F1", "AF-Q00001-F2", 4)
    text = [line for line in source.read_text().splitlines() if line.startswith("ATOM") and line[12:16].strip() == "CA"]
    assert len(one.confidence) == len(text) == 191
    assert one.confidence[0] == pytest.approx(float(text[0][60:66]), abs=0.02)
    assert np.array_equal(one.confidence, two.confidence) and one.digest() == two.digest()


@pytest.mark.evidence("alphafold-db", "layout")
def test_two_versions_of_a_model_and_a_stranger_are_named(reference_data: Path, tmp_path: Path) -> None:
    source = reference_data / "alphafold_openfold_testdata/alphafold/common/testdata/glucagon.pdb"
    lay(
        tmp_path,
        {
            "AF-P01275-F1-model_v4.pdb": source,
            "AF-P01275-F1-model_v6.pdb": source,
            "AF-P01275-F1-model_v4_x-model_v1.pdb": source,
        },
    )
    dataset = open_dataset("alphafold-db", tmp_path, on_error="collect")
    assert [one.id for one in dataset] == ["AF-P01275-F1"]
    assert "versions 4 and 6" in " ".join(map(str, dataset.errors)) and "its name is not AF-ACCESSION" in " ".join(
        map(str, dataset.errors)
    )


@pytest.mark.parametrize("text", ["data_x\n_entry.id X\n", "not cif at all", "data_x\nloop_\n_atom_site.id\n"])
def test_a_file_without_atoms_is_said_when_they_are_asked_for(tmp_path: Path, text: str) -> None:
    (one,) = records("pdbe", lay(tmp_path, {ENTRY.format("ab", "1abc"): text}))
    with pytest.raises(DatasetError, match=r"no atoms|not readable as cif"):
        _ = one.atoms


def test_an_updated_entry_in_a_loose_folder_is_one_record_not_two(tmp_path: Path) -> None:
    entry = (
        "data_X\nloop_\n_atom_site.group_PDB\n_atom_site.id\n"  # never looked into: structures are read when asked for
    )
    for name in ("1abc_updated.cif", "1abc.cif", "2abc.cif"):
        (tmp_path / name).write_text(entry)
    assert [record.id for record in open_dataset("pdbe", tmp_path)] == ["1abc", "2abc"]

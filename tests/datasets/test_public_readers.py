"""The owners' files as public readers read them: anndata, scanpy, cmapPy, pysam, pyfaidx, biotite and DeepChem (``tests/references/make_public_readings.py``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.datasets.readers.structures import load
from healthfm.formats import cells, fasta, gct, vcf, vcf_columns
from healthfm.formats.source import Source
from healthfm.records import UNMEASURED
from tests.datasets.laid import lay
from tests.references import public_readings as given
from tests.references.public_readings import said, total

FOUND = json.loads((Path(__file__).parents[1] / "data/expected/public_readings.json").read_text())


def matrix(one: cells.Matrix, *columns: Any) -> list[Any]:
    return [one.cells, one.genes, total(one.rows(0, one.cells)), *map(said, columns)]


def test_cells_are_anndatas_and_scanpys(reference_data: Path) -> None:
    one = cells.h5ad(Source(reference_data / given.H5AD))
    ours = {given.H5AD: matrix(one, one.obs("bulk_labels"), one.var("index"), one.obs("index"))}
    for name in given.TEN_X_FILES:
        for genome, held in cells.ten_x(Source(reference_data / given.TEN_X / name)):
            ours[f"{name} {genome}".strip()] = matrix(held, held.obs("barcode"), held.var("id"))
    assert ours == FOUND["cells"]


@pytest.mark.parametrize("name", given.GCT_FILES)
def test_matrices_are_cmappys(reference_data: Path, name: str) -> None:
    read = gct.gctx if name.endswith("x") else gct.gct
    one = read(Source(reference_data / given.GCT / name))
    values = np.stack([one.column(n) for n in range(len(one.samples))], 1)
    assert [total(values), said(one.features), said(one.samples), sorted(one.about)] == FOUND["matrices"][name]


def test_variants_are_pysams_line_by_line_and_as_columns(reference_data: Path) -> None:
    source = Source(reference_data / given.VCF)
    rows = [(row, vcf.genotypes(row, len(head.samples))) for head, row in vcf.rows(source)]
    lines = said((row["position"], row["ref"], ",".join(row["alts"])) for row, _ in rows)
    assert [len(rows), lines, said(np.stack([called for _, called in rows]).ravel())] == FOUND["variants"][given.VCF]
    held = list(vcf_columns.columns(source))
    lines = said(one for part in held for one in part.frame.select("position", "ref", "alts").rows())
    called = said(np.concatenate([one.genotypes for one in held]).ravel())
    assert [sum(len(one.frame) for one in held), lines, called] == FOUND["variants"][given.VCF]


def test_letters_by_place_are_pyfaidxs(reference_data: Path) -> None:
    held = fasta.Indexed(Source(reference_data / given.FASTA))
    whole, parts = ([held.letters(name, *ends) for name in held.lengths] for ends in ((0, 1 << 30), (10, 75)))
    assert [said(held.lengths), said(whole), said(parts)] == FOUND["sequences"][given.FASTA]
    assert said(letters for _, _, letters in fasta.pairs(Source(reference_data / given.FASTA))) == said(whole)


@pytest.mark.parametrize("name", given.STRUCTURES)
def test_atoms_are_biotites(reference_data: Path, name: str) -> None:
    atoms, _ = load(Source(reference_data / name))
    columns = (atoms.names, atoms.chains, [number for number, _ in atoms.residues], atoms.residue_names)
    assert [len(atoms.names), total(np.abs(atoms.positions)), *map(said, columns)] == FOUND["structures"][name]


def test_molecules_and_what_was_measured_are_deepchems(reference_data: Path, tmp_path: Path) -> None:
    opened = open_dataset("moleculenet:tox21", lay(tmp_path, {"tox21.csv.gz": reference_data / given.TOX21}))
    held: list[Any] = list(opened)
    [space] = opened.card.labels
    sets = [one.labels[space.name] for one in held if isinstance(one.labels[space.name], frozenset)]
    active = [sum(task in one for one in sets) for task in given.TASKS]
    measured = [sum(one.labels.get(task) is not UNMEASURED for one in held) for task in given.TASKS]
    assert [len(held), said(one.smiles for one in held), active, measured] == FOUND["molecules"][given.TOX21]

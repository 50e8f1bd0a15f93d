"""Have public readers read the owners' files and store what they found.

    python -m tests.references.make_public_readings REFERENCE_DATA > tests/data/expected/public_readings.json

Run with anndata 0.12, scanpy 1.11, cmapPy 4.0, pysam 0.24, pyfaidx 0.9, biotite 1.6 and deepchem 2.8 in an environment of their own.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tests.references import public_readings as given
from tests.references.public_readings import said, total


def cells(root: Path) -> dict[str, Any]:
    """Return what anndata and scanpy find."""
    import anndata
    import h5py
    import scanpy

    held = anndata.read_h5ad(root / given.H5AD)
    found = {
        given.H5AD: [
            *held.raw.shape,
            total(held.raw.X),
            said(held.obs["bulk_labels"]),
            said(held.raw.var_names),
            said(held.obs_names),
        ]
    }
    for name in given.TEN_X_FILES:
        path = root / given.TEN_X / name
        with h5py.File(path) as file:
            genomes = [None] if "matrix" in file else sorted(file)
        for genome in genomes:
            one = scanpy.read_10x_h5(path, genome=genome, gex_only=False)
            found[f"{name} {genome or ''}".strip()] = [
                *one.shape,
                total(one.X),
                said(one.obs_names),
                said(one.var["probe_ids" if "probe_ids" in one.var else "gene_ids"]),
            ]
    return found


def matrices(root: Path) -> dict[str, Any]:
    """Return what cmapPy finds."""
    from cmapPy.pandasGEXpress import parse

    read = {name: parse.parse(str(root / given.GCT / name)) for name in given.GCT_FILES}
    return {
        name: [
            total(one.data_df.to_numpy()),
            said(one.data_df.index),
            said(one.data_df.columns),
            sorted(one.col_metadata_df.columns),
        ]
        for name, one in read.items()
    }


def variants(root: Path) -> dict[str, Any]:
    """Return what pysam finds."""
    import pysam

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.vcf"
        path.write_bytes(
            gzip.decompress((root / given.VCF).read_bytes())
        )  # it is packed by gzip, which pysam does not seek in
        rows = [
            (one.start, one.ref, ",".join(one.alts or ()), [call["GT"] for call in one.samples.values()])
            for one in pysam.VariantFile(str(path))
        ]
    alleles = [-1 if a is None else a for *_, calls in rows for call in calls for a in call]
    return {given.VCF: [len(rows), said(one[:3] for one in rows), said(alleles)]}


def sequences(root: Path) -> dict[str, Any]:
    """Return what pyfaidx finds: whole entries, and stretches of them."""
    import pyfaidx

    with tempfile.TemporaryDirectory() as folder:
        path = shutil.copy(root / given.FASTA, folder)
        held = pyfaidx.Fasta(path)
        return {given.FASTA: [said(held.keys()), said(str(one) for one in held), said(str(one[10:75]) for one in held)]}


def structures(root: Path) -> dict[str, Any]:
    """Return what biotite finds in first models."""
    from biotite.structure.io import pdbx

    found = {}
    for name in given.STRUCTURES:
        atoms = pdbx.get_structure(pdbx.CIFFile.read(root / name), model=1, altloc="first", use_author_fields=True)
        found[name] = [
            len(atoms),
            total(np.abs(atoms.coord)),
            said(atoms.atom_name),
            said(atoms.chain_id),
            said(atoms.res_id),
            said(atoms.res_name),
        ]
    return found


def molecules(root: Path) -> dict[str, Any]:
    """Return what DeepChem's loader makes of a table: molecules, and by task how many are active and how many were measured."""
    import deepchem

    with tempfile.TemporaryDirectory() as folder:
        path = shutil.copy(root / given.TOX21, folder)
        held = deepchem.data.CSVLoader(
            list(given.TASKS), feature_field="smiles", featurizer=deepchem.feat.DummyFeaturizer()
        ).create_dataset(path)
    return {
        given.TOX21: [
            len(held),
            said(held.X.ravel()),
            (held.y * held.w).sum(0).astype(int).tolist(),
            held.w.sum(0).astype(int).tolist(),
        ]
    }


def main(root: Path) -> dict[str, Any]:
    """Return what each of them found."""
    warnings.simplefilter("ignore")
    packages = ("anndata", "scanpy", "cmapPy", "pysam", "pyfaidx", "biotite", "deepchem")
    return {
        "versions": {one: version(one) for one in packages}, "cells": cells(root), "matrices": matrices(root), "variants": variants(root),
        "sequences": sequences(root), "structures": structures(root), "molecules": molecules(root),
    }  # fmt: skip


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # DeepChem says there what it lacks
        found = main(Path(sys.argv[1]))
    print(json.dumps(found, indent=1))

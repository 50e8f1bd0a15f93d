"""Which owners' files public readers of biology's formats were given, and what of each is compared; by the place below the reference data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

TEN_X = "scanpy_10x/tests/_data"
H5AD = "scanpy_10x/src/scanpy/datasets/10x_pbmc68k_reduced.h5ad"
TEN_X_FILES = ("10x_data/3.0.0/filtered_feature_bc_matrix.h5", "10x_data/1.2.0/multiple_genomes.h5", "10x_data/1.2.0/filtered_gene_bc_matrices_h5.h5",
               "visium_data/1.0.0/filtered_feature_bc_matrix.h5", "visium_data/2.1.0/raw_probe_bc_matrix.h5")  # fmt: skip
GCT = "lincs_l1000_gct/cmapPy/pandasGEXpress/tests/functional_tests"
GCT_FILES = ("mini_gctoo_for_testing.gct", "mini_gctoo_for_testing.gctx", "test_l1000_highprecision.gctx")
VCF = "vcf_1000genomes/vcf/test/1kg.vcf.gz"
FASTA = "biopython_records/Tests/SwissProt/multi_ex.fasta"
STRUCTURES = ("biotite_structures/tests/structure/data/pdb/1l2y.cif", *(f"alphafold_openfold_testdata/tests/test_data/mmcifs/{one}.cif" for one in ("2q2k", "3zee", "5kc1")))  # fmt: skip
TOX21 = "chembl_moleculenet/datasets/tox21.csv.gz"
TASKS = (
    "NR-AR",
    "NR-AR-LBD",
    "NR-AhR",
    "NR-Aromatase",
    "NR-ER",
    "NR-ER-LBD",
    "NR-PPAR-gamma",
    "SR-ARE",
    "SR-ATAD5",
    "SR-HSE",
    "SR-MMP",
    "SR-p53",
)


def said(values: Iterable[Any]) -> str:
    """Return a fingerprint of texts or whole numbers in their order."""
    return hashlib.sha256("\n".join(map(str, values)).encode()).hexdigest()[:16]


def total(values: Any) -> float:
    """Return a sum to six digits, as arithmetic of 32 bits lets it be compared."""
    return float(f"{float(values.sum(dtype=float)):.6g}")

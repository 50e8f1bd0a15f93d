"""Matrices of genes by samples: LINCS L1000, CCLE and DepMap, CPTAC, CGGA."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.formats import gct
from healthfm.formats.source import Source
from tests.datasets.laid import lay

ProvesWith = Callable[..., None]
LINCS = "lincs_l1000_gct/cmapPy/pandasGEXpress/tests/functional_tests"
LEVEL5 = "GSE92742_Broad_LINCS_Level5_COMPZ.MODZ_n473647x12328.gctx"


def records(name: str, root: Path, on_error: Any = "raise") -> list[Any]:
    return list(open_dataset(name, root, on_error=on_error))


@pytest.mark.evidence("lincs-l1000", "sample", where="reference")
def test_the_owners_gctx_is_read_a_sample_at_a_time_and_the_right_way_round(
    reference_data: Path, tmp_path: Path, proves_with: ProvesWith
) -> None:
    import h5py

    source = reference_data / LINCS / "test_l1000_highprecision.gctx"
    proves_with(source)
    found = records("lincs-l1000", lay(tmp_path, {LEVEL5: source}))
    assert len(found) == 377 and found[0].features[:2] == ("200814_at", "218597_s_at") and len(found[0].features) == 978
    with h5py.File(source) as held:
        assert held["0/DATA/0/matrix"].shape == (377, 978)  # samples in rows
        assert np.array_equal(np.stack([one.values for one in found]), held["0/DATA/0/matrix"][:].astype(np.float32))
    assert (found[0].id, found[0].meta["cell_id"]) == ("LJP005_A375_24H_X1_B19:A03", "A375")


def test_gct_and_gctx_of_one_matrix_agree_in_values_names_and_facts(reference_data: Path) -> None:
    folder = reference_data / LINCS
    text, binary = (
        gct.gct(Source(folder / "mini_gctoo_for_testing.gct")),
        gct.gctx(Source(folder / "mini_gctoo_for_testing.gctx")),
    )
    assert (text.samples, text.features) == (binary.samples, binary.features)
    assert np.allclose([text.column(j) for j in range(6)], [binary.column(j) for j in range(6)], atol=1e-4)
    assert text.about["zmad_ref"] == binary.about["zmad_ref"] and text.about["count_cv"][0] == "14|15|14"


@pytest.mark.evidence("lincs-l1000", "layout")
def test_signatures_get_their_facts_by_sig_id_and_666_is_missing(tmp_path: Path) -> None:
    """GSE92742_Broad_LINCS_sig_info.txt: sig_id, pert_id, pert_iname, pert_type, cell_id, ..."""
    import h5py

    with h5py.File(tmp_path / LEVEL5, "w") as held:
        held["0/DATA/0/matrix"] = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
        held["0/META/ROW/id"], held["0/META/COL/id"] = np.array([b"780", b"7849", b"6193"]), np.array([b"A:1", b"B:2"])
    lay(
        tmp_path,
        {"GSE92742_Broad_LINCS_sig_info.txt.gz": "sig_id\tpert_iname\tcell_id\tpert_dose\nA:1\taspirin\tMCF7\t-666\n"},
    )
    dataset = open_dataset("lincs-l1000", tmp_path, on_error="collect")
    one, two = dataset
    assert one.values.tolist() == [1, 2, 3] and two.values.tolist() == [4, 5, 6]  # type: ignore[attr-defined]
    assert (one.patient, one.meta["pert_iname"], one.meta["pert_dose"]) == ("MCF7", "aspirin", None)
    assert "1 of its 2 signatures are not in" in str(dataset.errors[0])


GCT = "#1.2\n2\t2\nName\tDescription\tA549_LUNG\tHL60_HAEM\nENSG1\tA\t1.5\t2\nENSG2\tB\t0\tNA\n"


@pytest.mark.evidence("ccle", "layout")
def test_ccles_gct_has_genes_in_rows_and_depmaps_table_has_cell_lines(tmp_path: Path) -> None:
    """GCT 1.2 as cmapPy describes it; Cell_lines_annotations: CCLE_ID, depMapID; DepMap: ModelID first, then GENE (Entrez)."""
    lay(tmp_path, {
        "CCLE_RNAseq_genes_rpkm_20180929.gct.gz": GCT, "Cell_lines_annotations_20181226.txt": "CCLE_ID\tdepMapID\tName\nA549_LUNG\tACH-000681\tA549\n",
        "OmicsExpressionProteinCodingGenesTPMLogp1.csv": ",TSPAN6 (7105),TNMD (64102)\nACH-000681,4.33,0\n", "Model.csv": "ModelID,CellLineName\nACH-000681,A549\n",
    })  # fmt: skip
    one, two = records("ccle", tmp_path)
    assert (one.id, one.patient, one.values.tolist()) == ("A549_LUNG", "ACH-000681", [1.5, 0.0])
    assert two.patient is None and np.isnan(two.values[1])
    (model,) = records("ccle:depmap", tmp_path)
    assert (model.id, model.features, model.values.tolist()) == (
        "ACH-000681",
        ("TSPAN6 (7105)", "TNMD (64102)"),
        [np.float32(4.33), 0.0],
    )
    assert model.meta["CellLineName"] == "A549"


@pytest.mark.parametrize(("change", "reason"), [(("2\t2", "3\t2"), "state 3 features, it has 2"), (("2\t2", "1\t2"), "state 1 features, it has more"),
                                               (("2\t2", "2\t3"), "state 3 samples"), (("\t1.5", "\tx"), "no number"), (("#1.2", "#9"), "not GCT 1.2"), (("\t1.5", ""), "3 columns, not 4")])  # fmt: skip
def test_a_gct_whose_dimensions_lie_is_refused(tmp_path: Path, change: tuple[str, str], reason: str) -> None:
    path = tmp_path / "x.gct"
    path.write_text(GCT.replace(*change))
    with pytest.raises(DatasetError, match=reason):
        gct.gct(Source(path))


@pytest.mark.evidence("cptac", "layout")
def test_pdcs_statistics_are_no_genes_and_unshared_ratios_are_another_column(tmp_path: Path) -> None:
    text = (
        "Gene\tCPT0001 Log Ratio\tCPT0001 Unshared Log Ratio\tCPT0002 Log Ratio\tCPT0002 Unshared Log Ratio\tNCBIGeneID\n"
        "Mean\t9\t9\t9\t9\t\nMedian\t9\t9\t9\t9\t\nStdDev\t9\t9\t9\t9\t\nA1BG\t0.5\t7\t-1\t7\t1\nA2M\t\t7\t2\t7\t2\n"
    )
    one, two = records("cptac", lay(tmp_path, {"CPTAC_Study_Proteome.tmt10.tsv": text}))
    assert (one.id, one.features) == ("CPTAC_Study:CPT0001", ("A1BG", "A2M"))
    assert one.values[0] == 0.5 and np.isnan(one.values[1]) and two.values.tolist() == [-1, 2]


@pytest.mark.evidence("cgga", "layout")
def test_cgga_censor_is_1_for_death_and_packed_files_are_read_in_place(tmp_path: Path) -> None:
    """Column names as cgga.org.cn's clinical file has them."""

    def packed(name: str, text: str) -> bytes:
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as archive:
            archive.writestr(name, text)
        return held.getvalue()

    expression, clinical = "CGGA.mRNAseq_693.RSEM-genes.20200506.txt", "CGGA.mRNAseq_693_clinical.20200506.txt"
    about = "CGGA_ID\tPRS_type\tHistology\tGrade\tGender\tAge\tOS\tCensor (alive=0; dead=1)\tIDH_mutation_status\nCGGA_1\tPrimary\tGBM\tWHO IV\tMale\t50\t300\t1\tWildtype\nCGGA_2\tPrimary\tA\tWHO II\tMale\t40\t900\t0\tMutant\n"
    lay(
        tmp_path,
        {
            f"{expression}.zip": packed(expression, "Gene_Name\tCGGA_1\tCGGA_2\tCGGA_9\nTP53\t1\t2\t3\n"),
            f"{clinical}.zip": packed(clinical, about),
        },
    )
    dataset = open_dataset("cgga", tmp_path, on_error="collect")
    one, two = dataset
    assert (
        one.labels == {"Grade": "WHO IV", "IDH_mutation_status": "Wildtype", "Censor": "dead"}
        and two.labels["Censor"] == "alive"
    )
    assert one.values.tolist() == [1.0] and "CGGA_9 is not in the clinical table" in str(dataset.errors[0])  # type: ignore[attr-defined]

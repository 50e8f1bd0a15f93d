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


@pytest.mark.evidence("gdsc", "layout")
def test_a_response_is_of_one_line_to_one_drug_of_one_screen(tmp_path: Path) -> None:
    """Column names as cancerrxgene.org's GDSC2_fitted_dose_response has them."""
    import openpyxl

    names = [
        "DATASET",
        "NLME_RESULT_ID",
        "NLME_CURVE_ID",
        "COSMIC_ID",
        "CELL_LINE_NAME",
        "SANGER_MODEL_ID",
        "TCGA_DESC",
        "DRUG_ID",
        "DRUG_NAME",
        "PUTATIVE_TARGET",
        "PATHWAY_NAME",
        "COMPANY_ID",
        "WEBRELEASE",
        "MIN_CONC",
        "MAX_CONC",
        "LN_IC50",
        "AUC",
        "RMSE",
        "Z_SCORE",
    ]
    book = openpyxl.Workbook()
    book.active.append(names)
    book.active.append(
        [
            "GDSC2",
            343,
            15946310,
            683667,
            "PFSK-1",
            "SIDM01132",
            "MB",
            1003,
            "Camptothecin",
            "TOP1",
            "DNA replication",
            1046,
            "Y",
            0.0001,
            0.1,
            -1.463887,
            0.93022,
            0.089052,
            0.433123,
        ]
    )
    book.active.append(
        [
            "GDSC2",
            343,
            15946311,
            683667,
            "PFSK-1",
            "SIDM01132",
            "MB",
            1004,
            "Vinblastine",
            "",
            "",
            1046,
            "Y",
            0.0001,
            0.1,
            "x",
            0.9,
            0.1,
            0.4,
        ]
    )
    book.save(tmp_path / "GDSC2_fitted_dose_response_27Oct23.xlsx")
    dataset = open_dataset("gdsc", tmp_path, on_error="collect")
    (one,) = dataset
    assert (one.id, one.patient, one.labels) == (
        "SIDM01132:1003",
        "SIDM01132",
        {"LN_IC50": -1.463887, "AUC": 0.93022, "TCGA_DESC": "MB"},
    )
    assert one.values[0] == np.float32(-1.463887) and "is no number" in str(dataset.errors[0])  # type: ignore[attr-defined]
    with pytest.raises(DatasetError, match="GDSC1_fitted"):
        records("gdsc:gdsc1", tmp_path)


SHEET = "File ID\tFile Name\tData Category\tData Type\tProject ID\tCase ID\tSample ID\tSample Type\n"
STAR = (
    "# gene-model: GENCODE v36\ngene_id\tgene_name\tgene_type\tunstranded\tstranded_first\tstranded_second\ttpm_unstranded\tfpkm_unstranded\tfpkm_uq_unstranded\n"
    + "".join(
        f"{name}\t\t\t100\t1\t1\t\t\t\n" for name in ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")
    )
    + "ENSG00000000003.15\tTSPAN6\tprotein_coding\t2157\t1\t1\t24.5\t6.1\t7.2\nENSG00000000005.6\tTNMD\tprotein_coding\t0\t0\t0\t0.0\t0\t0\n"
)


@pytest.mark.evidence("tcga", "layout")
def test_reads_of_no_gene_are_no_features_and_a_case_is_the_patient(tmp_path: Path) -> None:
    """Names as GDC's sample sheet, STAR table and clinical export have them; a missing value there is '--."""
    name = "a1.rna_seq.augmented_star_gene_counts.tsv"
    lay(tmp_path, {
        "gdc_sample_sheet.2025-01-01.tsv": SHEET + f"f1\t{name}\tTranscriptome Profiling\tGene Expression Quantification\tTCGA-LUAD\tTCGA-05-4244\tTCGA-05-4244-01A\tPrimary Tumor\n"
        f"f2\tgone.rna_seq.augmented_star_gene_counts.tsv\t\t\tTCGA-LUAD\tTCGA-05-4245\tTCGA-05-4245-01A\t\nf3\tx.svs\t\t\tTCGA-LUAD\tTCGA-05-4245\tTCGA-05-4245-01Z\t\n",
        f"f1/{name}": STAR, "clinical.tsv": "case_submitter_id\tage_at_index\trace\nTCGA-05-4244\t70\t'--\nTCGA-05-4244\t70\t'--\n",
    })  # fmt: skip
    dataset = open_dataset("tcga", tmp_path, on_error="collect")
    (one,) = dataset
    assert (one.patient, one.site, one.labels, one.meta["race"], one.meta["age_at_index"]) == (
        "TCGA-05-4244",
        "05",
        {"project": "TCGA-LUAD"},
        None,
        "70",
    )
    assert one.features == ("ENSG00000000003.15", "ENSG00000000005.6") and one.values.tolist() == [24.5, 0.0]  # type: ignore[attr-defined]
    assert "gone.rna_seq" in str(dataset.errors[0]) and dataset.passed_over == [("x.svs", "no table of expression")]

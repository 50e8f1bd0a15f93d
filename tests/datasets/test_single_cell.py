"""Cells by genes: h5ad, 10x Genomics' HDF5 and Matrix Market, portals' exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from healthfm import open_dataset
from healthfm.errors import DatasetError
from tests.datasets.laid import lay

ProvesWith = Callable[..., None]
TEN_X = "scanpy_10x/tests/_data/10x_data"
FOLDER = "filtered_feature_bc_matrix"


def records(name: str, root: Path, on_error: Any = "raise") -> list[Any]:
    return list(open_dataset(name, root, on_error=on_error))


@pytest.mark.evidence("10x-genomics", "sample", where="reference")
def test_hdf5_and_folder_of_one_experiment_hold_the_same_counts(
    reference_data: Path, tmp_path: Path, proves_with: ProvesWith
) -> None:
    source = reference_data / TEN_X / "3.0.0"
    proves_with(source / f"{FOLDER}.h5", source / FOLDER)
    lay(
        tmp_path,
        {
            f"x_{FOLDER}.h5": source / f"{FOLDER}.h5",
            **{
                f"{FOLDER}/{name}.gz": source / FOLDER / f"{name}.gz"
                for name in ("matrix.mtx", "features.tsv", "barcodes.tsv")
            },
        },
    )
    (one,), (two,) = records("10x-genomics", tmp_path), records("10x-genomics:mtx-v3", tmp_path)
    assert (one.cells, one.genes) == (two.cells, two.genes) == (1107, 507)
    assert np.array_equal(one.rows(0, 1107), two.rows(0, 1107)) and one.rows(0, 1107).sum() == 41549
    assert (
        one.obs("barcode") == two.obs("barcode")
        and one.var("id") == two.var("id")
        and one.var("feature_type")[0] == "Gene Expression"
    )
    assert (
        np.array_equal(one.rows(500, 503), one.rows(0, 1107)[500:503])
        and one.rows(1105, 2000).shape == (2, 507)
        and one.rows(5, 5).shape == (0, 507)
    )
    places = [1106, 3, 500, 4, 0]
    assert one.scattered is not None and two.scattered is None  # Matrix Market is held in memory
    assert np.array_equal(one.chosen(places), one.rows(0, 1107)[places]) and np.array_equal(
        two.chosen(places), one.chosen(places)
    )
    with pytest.raises(DatasetError, match="each can be chosen once"):
        one.chosen([3, 3])
    whole = scipy.io.mmread(source / FOLDER / "matrix.mtx.gz").toarray().T
    assert np.array_equal(one.rows(0, 1107), whole)


@pytest.mark.evidence("10x-genomics", "layout")
def test_older_files_have_a_group_a_genome(reference_data: Path, tmp_path: Path) -> None:
    source = reference_data / TEN_X / "1.2.0"
    lay(tmp_path, {f"x_{FOLDER}.h5": source / "multiple_genomes.h5"})
    assert [one.id.rpartition(":")[2] for one in records("10x-genomics", tmp_path)] == ["another_genome", "hg19_chr21"]
    old = source / "filtered_gene_bc_matrices/hg19_chr21"
    lay(
        tmp_path,
        {
            f"filtered_gene_bc_matrices/hg19_chr21/{name}": old / name
            for name in ("matrix.mtx", "genes.tsv", "barcodes.tsv")
        },
    )
    (one,) = records("10x-genomics:mtx-v2", tmp_path)
    assert (one.id, one.cells, one.genes, one.var_names) == ("hg19_chr21", 12, 343, ("id", "name"))


@pytest.mark.evidence("cellxgene-corpus", "sample", where="reference")
def test_an_old_h5ad_is_read_by_row_with_its_raw_counts_and_classes(
    reference_data: Path, tmp_path: Path, proves_with: ProvesWith
) -> None:
    import h5py

    source = reference_data / "scanpy_10x/src/scanpy/datasets/10x_pbmc68k_reduced.h5ad"
    proves_with(source)
    (one,) = records("cellxgene-corpus", lay(tmp_path, {"pbmc.h5ad": source}))
    assert (one.cells, one.genes, one.counts) == (700, 765, "raw.X")
    assert (
        one.obs("bulk_labels")[:2] == ["CD14+ Monocyte", "Dendritic"]
        and len(set(one.obs("bulk_labels"))) == 10
        and one.var("index")[0] == "HES4"
    )
    with h5py.File(source) as held:
        raw = held["raw.X"]
        whole = scipy.sparse.csr_matrix((raw["data"][:], raw["indices"][:], raw["indptr"][:]), (700, 765)).toarray()
    assert np.array_equal(one.rows(0, 700), whole)


def new_h5ad(path: Path, *, raw: bool = True, cells: int = 3, kind: str = "csr_matrix") -> Path:
    """An h5ad as AnnData 0.8 and later write it (the on-disk format of its documentation)."""
    import h5py

    counts = scipy.sparse.csr_matrix(np.array([[0, 2], [1, 0], [0, 0]], np.float32))
    with h5py.File(path, "w") as file:
        for place in ("X", *(["raw/X"] if raw else [])):
            group = file.create_group(place)
            group.attrs["encoding-type"], group.attrs["shape"] = kind, (3, 2)
            for name in ("data", "indices", "indptr"):
                group[name] = getattr(counts, name) * (10 if place == "X" and name == "data" else 1)
        for place in ("var", *(["raw/var"] if raw else [])):
            table = file.create_group(place)
            table.attrs["_index"], table.attrs["column-order"] = "_index", np.array([], "S1")
            table["_index"] = np.array([b"ENSG1", b"ENSG2"])
        obs = file.create_group("obs")
        obs.attrs["_index"], obs.attrs["column-order"] = "_index", ["cell_type", "is_primary_data"]
        obs["_index"] = np.array([b"c%d" % n for n in range(cells)])
        kinds = obs.create_group("cell_type")
        kinds["categories"], kinds["codes"] = np.array([b"B cell", b"T cell"]), np.array([1, 0, -1], np.int8)
        obs["is_primary_data"] = np.array([True, True, False])
    return path


@pytest.mark.evidence("cellxgene-corpus", "layout")
@pytest.mark.evidence("abc-atlas", "layout")
def test_a_new_h5ad_gives_raw_counts_categories_and_which_cells_are_primary(tmp_path: Path) -> None:
    """CELLxGENE schema: raw counts in raw.X, obs cell_type and is_primary_data. ABC Atlas: expression_matrices/*/*/NAME-raw.h5ad."""
    (one,) = records("cellxgene-corpus", new_h5ad(tmp_path / "a.h5ad").parent)
    assert one.counts == "raw/X" and one.rows(0, 3).tolist() == [[0, 2], [1, 0], [0, 0]]
    assert (
        one.obs("cell_type") == ["T cell", "B cell", None]
        and one.obs("is_primary_data") == [True, True, False]
        and one.var("_index") == ["ENSG1", "ENSG2"]
    )
    assert one.scattered is not None and one.chosen([2, 0, 1]).tolist() == [[0, 0], [0, 2], [1, 0]]
    with pytest.raises(DatasetError, match="no column 'disease'"):
        one.obs("disease")
    folder = tmp_path / "abc/expression_matrices/WMB-10Xv2/20230630"
    folder.mkdir(parents=True)
    new_h5ad(folder / "WMB-10Xv2-TH-raw.h5ad", raw=False)
    (two,) = records("abc-atlas", tmp_path / "abc")
    assert (
        two.id == "WMB-10Xv2-TH-raw"
        and two.counts == "X, no raw counts are kept"
        and two.rows(0, 1).tolist() == [[0, 20]]
    )


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("cells", "3 cells, its table about them has 4"),
        ("csc", "only dense matrices and csr"),
        ("text", "not a readable HDF5"),
    ],
)
def test_an_h5ad_that_does_not_hold_together_is_named_and_the_next_is_read(
    tmp_path: Path, what: str, reason: str
) -> None:
    if what == "text":
        (tmp_path / "a.h5ad").write_text("no")
    else:
        new_h5ad(
            tmp_path / "a.h5ad", cells=4 if what == "cells" else 3, kind="csc_matrix" if what == "csc" else "csr_matrix"
        )
    new_h5ad(tmp_path / "b.h5ad")
    dataset = open_dataset("cellxgene-corpus", tmp_path, on_error="collect")
    assert [one.id for one in dataset] == ["b"] and reason in str(dataset.errors[0])


@pytest.mark.evidence("single-cell-portal", "layout")
def test_the_line_of_types_is_no_cell(tmp_path: Path) -> None:
    """metadata.txt as Single Cell Portal's file format page gives it: NAME ..., then TYPE group|numeric."""
    lay(tmp_path, {
        "SCP1/metadata/metadata.txt": "NAME\tcell_type\tage\nTYPE\tgroup\tnumeric\nc1\tB\t3\n", "SCP1/expression/x.txt.gz": "GENE\tc1\tc2\nTP53\t1\t0\nBRCA1\t0\t2.5\n",
    })  # fmt: skip
    dataset = open_dataset("single-cell-portal", tmp_path, on_error="collect")
    (one,) = dataset
    assert one.rows(0, 2).tolist() == [[1, 0], [0, 2.5]] and one.obs("cell_type") == ["B", None]  # type: ignore[attr-defined]
    assert "1 of its 2 cells are not in metadata.txt" in str(dataset.errors[0])


@pytest.mark.evidence("human-cell-atlas", "layout")
def test_the_manifest_says_what_must_be_here_and_other_forms_are_named(tmp_path: Path) -> None:
    """Azul's compact manifest: bundle_uuid, file_uuid, file_name, file_format, project.*, ..."""
    new_h5ad(tmp_path / "a.h5ad")
    head = "bundle_uuid\tfile_uuid\tfile_name\tfile_format\tproject.project_core.project_title\n"
    lay(
        tmp_path,
        {
            "manifest.tsv": head
            + "b1\tf1\ta.h5ad\th5ad\tHeart\nb1\tf2\tb.mtx\tmtx\tHeart\nb1\tf3\tc.h5ad\th5ad\tHeart\n",
            "b.mtx": "x",
        },
    )
    dataset = open_dataset("human-cell-atlas", tmp_path, on_error="collect")
    (one,) = dataset
    assert (one.id, one.meta["project.project_core.project_title"]) == ("f1", "Heart")
    assert dataset.passed_over == [
        ("b.mtx", "mtx: this form is not read yet")
    ] and "c.h5ad is listed, but not here" in str(dataset.errors[0])


def new_loom(path: Path, *, version: str = "3.0.0", cells: int = 3) -> Path:
    """A loom as its specification has it: 2 genes by 3 cells, text as variable UTF-8 (3) or as ASCII with entities (2)."""
    import h5py

    with h5py.File(path, "w") as file:
        if version < "3":
            file.attrs["LOOM_SPEC_VERSION"] = version
        else:
            file["attrs/LOOM_SPEC_VERSION"] = version
        file["matrix"] = np.array([[0, 1, 0.5], [2, 0, 0]], np.float32)
        file["layers/counts"] = np.array([[0, 1, 7], [2, 0, 0]], np.int32)
        file["row_attrs/Gene"] = np.array([b"ENSG1", b"ENSG2"])
        said = [b"T&#233;", b"B"] if version < "3" else ["T\xe9", "B"]
        file["col_attrs/cell_type"] = [said[n % 2] for n in range(cells)]
        file["col_attrs/n_genes"], file["col_attrs/umap"] = np.arange(cells), np.zeros((cells, 2))
    return path


@pytest.mark.evidence("human-cell-atlas", "layout")
@pytest.mark.parametrize("version", ["2.0.1", "3.0.0"])
def test_a_loom_is_genes_by_cells_and_is_read_as_cells_by_genes(tmp_path: Path, version: str) -> None:
    new_loom(tmp_path / "a.loom", version=version)
    new_loom(tmp_path / "b.loom", cells=4)
    (tmp_path / "c.loom").write_text("no")
    head = "bundle_uuid\tfile_uuid\tfile_name\tfile_format\n"
    lay(tmp_path, {"manifest.tsv": head + "".join(f"b\tf-{one}\t{one}.loom\tloom\n" for one in "cba")})
    dataset = open_dataset("human-cell-atlas", tmp_path, on_error="collect")
    one: Any
    (one,) = dataset
    assert (one.id, one.cells, one.genes, one.var("Gene")) == ("f-a", 3, 2, ["ENSG1", "ENSG2"])
    assert one.rows(0, 3).tolist() == [[0, 2], [1, 0], [0.5, 0]] and one.rows(1, 9).tolist() == [[1, 0], [0.5, 0]]
    assert one.layers["counts"](2, 3).tolist() == [[7, 0]] and one.chosen([2, 0]).tolist() == [[0.5, 0], [0, 2]]
    assert (one.obs("cell_type"), one.obs("n_genes")) == (["T\xe9", "B", "T\xe9"], [0, 1, 2])
    assert not {"layers", "rows"} & set(dataset.to_arrow().column_names)
    notices, errors = "\n".join(dataset.notices), "\n".join(map(str, dataset.errors))
    assert "umap holds several values each" in notices and "no raw counts" in notices and "layers: counts" in notices
    assert "c.loom: not a readable HDF5" in errors and "[4] values for 3" in errors and len(dataset.errors) == 2

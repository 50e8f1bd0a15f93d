"""Molecules and recordings through an evaluation: what they are split by, what nobody measured, the cheap rivals, the page."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from healthfm import evaluate, load_model, load_run, open_dataset
from healthfm.adapt import baselines as rivals
from healthfm.adapt import integration
from healthfm.engine.store import RunFolder
from healthfm.errors import DatasetError, RunError
from healthfm.models import own
from healthfm.records import MISSING, UNMEASURED, Signal
from healthfm.report import drawings
from tests.cli.command import run
from tests.datasets import test_recordings as recordings
from tests.datasets.laid import lay

RINGS = [
    "c1ccccc1",
    "c1ccncc1",
    "C1CCCCC1",
    "C1CCOCC1",
    "c1ccsc1",
    "c1ccoc1",
    "C1CCNC1",
    "c1cnccn1",
    "C1CCCC1",
    "c1ccc2ccccc2c1",
]


@pytest.fixture(scope="module")
def bbbp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BBBP's columns; a molecule penetrates where it has a bromine, on whatever scaffold."""
    rows = [
        f"{i},n,{j % 2},{'Br' if j % 2 else 'Cl'}{'C' * (j + 1)}{ring}"
        for i, ring in enumerate(RINGS)
        for j in range(8)
    ]
    return lay(
        tmp_path_factory.mktemp("bbbp"),
        {"BBBP.csv": "num,name,p_np,smiles\n" + "\n".join([*rows, "99,n,1,C1CC"]) + "\n"},
    )


@pytest.mark.evidence("moleculenet", "layout")
def test_moleculenets_tables_say_what_was_measured(tmp_path: Path) -> None:
    """Columns as in deepchem's datasets/tox21.csv.gz: an empty cell is no 0."""
    names = [
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
    ]
    text = (
        ",".join(names)
        + ",mol_id,smiles\n"
        + "1,0,,,0,0,0,0,0,0,0,0,T1,CCO\n"
        + ",,,,,,,,,,,,T2,CC\n"
        + "2,0,0,0,0,0,0,0,0,0,0,0,T3,C\n"
    )
    opened = open_dataset("moleculenet:tox21", lay(tmp_path, {"tox21.csv.gz": text}), on_error="collect")
    first, second = opened
    assert first.labels["assays"] == {"NR-AR"} and first.labels["NR-AhR"] is UNMEASURED and "NR-ER" not in first.labels
    assert (
        second.labels["assays"] is MISSING
        and first.meta["mol_id"] == "T1"
        and "none of 0, 1 and nothing" in str(opened.errors[0])
    )


def test_a_molecule_set_goes_to_a_report_by_its_named_split(bbbp: Path, tmp_path: Path) -> None:
    done = run(
        "evaluate", "baseline:ecfp", "moleculenet:bbbp", "--root", bbbp, "--output", tmp_path / "run", "--show-inputs"
    )
    assert done.returncode == 0, done.stderr
    assert (
        "split by the rule scaffold-deepchem" in done.stdout
        and "auroc" in done.stdout
        and "1 records are in no split" in done.stdout
    )
    page = (tmp_path / "run/report.html").read_text()
    assert "Numbers under another rule do not compare" in page and "linear-probe" in page
    again = run(
        "evaluate",
        "baseline:ecfp",
        "moleculenet:bbbp",
        "--root",
        bbbp,
        "--output",
        tmp_path / "run",
        "--split-by",
        "random",
    )
    assert again.returncode != 0 and "split_by" in again.stderr  # another split is another run
    loose = evaluate("baseline:ecfp", "moleculenet:bbbp", root=bbbp, split_by="random", output=tmp_path / "loose")
    assert any("hides" in one for one in loose.facts["notices"]) and loose.facts["request"]["split_by"] == "random:0"


def test_the_fingerprints_stand_beside_a_model_that_knows_nothing(bbbp: Path, tmp_path: Path) -> None:
    def embed(items: list[str]) -> np.ndarray:
        return np.array([[len(one) % 3, 1.0] for one in items], np.float32)

    blind = load_model(embed, verb="embed", card={"slug": "mine", "name": "Mine"})
    made = evaluate(blind, "moleculenet:bbbp", root=bbbp, output=tmp_path / "run")
    beside = made.scores["baselines"]
    assert beside["strongest"]["name"] == "ecfp" and beside["rivals"][0]["value"] > made.metrics["accuracy"]["value"]
    page = made.report().read_text()
    assert "Principal components, by label" in page and "Principal components, by side" in page  # where the vectors lie
    assert made.path is not None and RunFolder(made.path).predictions("map").num_rows == 72  # to fit on and evaluated


def test_what_nobody_measured_counts_in_no_metric_and_teaches_nothing(tmp_path: Path) -> None:
    rows = [
        f"{'Br' if j % 2 else 'Cl'}{'C' * (j + 1)}{ring},{j % 2},{'' if j % 3 else j % 2}"
        for ring in RINGS
        for j in range(8)
    ]
    text = "smiles,FDA_APPROVED,CT_TOX\n" + "\n".join(rows) + "\n"
    root = lay(tmp_path / "data", {"clintox.csv.gz": text})
    made = evaluate("baseline:ecfp", "moleculenet:clintox", root=root, output=tmp_path / "run")
    open_ = made.predictions["unmeasured"].to_pylist()
    assert (
        made.facts["request"]["task"] == "multi-label-probe" and sum(map(len, open_)) == 5
    )  # of 8 rows of one scaffold
    assert any("nobody measured (5 in all)" in one for one in made.scores["rules"])
    rivals_ = made.scores["baselines"]
    assert rivals_["rivals"] == [] or all(one["n"] == 8 for one in rivals_["rivals"])
    wrong = [dict(row) for row in made.predictions.to_pylist()]
    for row in wrong:  # what is said of a class that nobody measured changes nothing
        row["probabilities"] = [
            1 - p if name in (row["unmeasured"] or ()) else p
            for name, p in zip(row["options"], row["probabilities"], strict=True)
        ]
    from healthfm import evaluate_predictions

    columns = {
        name: [row[name] for row in wrong] for name in ("id", "target", "options", "probabilities", "unmeasured")
    }
    again = evaluate_predictions(columns, "multi-label", classes=["FDA_APPROVED", "CT_TOX"])
    assert again.metrics["macro_auroc"]["value"] == pytest.approx(made.metrics["macro_auroc"]["value"])


def test_numbers_of_molecules_have_errors_ranks_and_the_mean_as_a_rival(tmp_path: Path) -> None:
    rows = [f"{len(ring) + j / 2},{'C' * (j + 1)}{ring}" for ring in RINGS for j in range(8)]
    root = lay(
        tmp_path / "data",
        {"delaney-processed.csv": "measured log solubility in mols per litre,smiles\n" + "\n".join(rows) + "\n"},
    )
    made = evaluate("baseline:ecfp", "moleculenet:esol", root=root, output=tmp_path / "run")
    assert {"rmse", "mae", "spearman", "pearson", "r2"} <= set(made.metrics)
    [mean] = made.scores["baselines"]["rivals"]
    assert mean["name"] == "mean" and mean["value"] > made.metrics["mae"]["value"]
    target = np.array(made.predictions["target"].to_pylist())
    assert made.metrics["rmse"]["value"] == pytest.approx(
        float(np.sqrt(((np.array(made.predictions["prediction"].to_pylist()) - target) ** 2).mean()))
    )
    assert (
        made.report(show_inputs=True).read_text().count("data:image/svg+xml;base64") >= 16
    )  # the molecules beside their errors


def test_a_rival_that_cannot_look_at_the_records_is_one_line(bbbp: Path, tmp_path: Path) -> None:
    assert set(own.BASELINES) - {own.COUNTS} == set(rivals.NAMES)
    for name, task, said in (
        ("words", None, "it takes question, text"),
        ("counts", None, "tasks on timelines"),
        ("ecfp", "knn", "use linear-probe"),
    ):
        with pytest.raises(RunError, match=said):
            evaluate(f"baseline:{name}", "moleculenet:bbbp", root=bbbp, task=task, output=tmp_path / "x")


@pytest.fixture(scope="module")
def ecgs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty recordings of as many patients over ten folds: an infarction lowers the T wave of three leads."""
    root = tmp_path_factory.mktemp("ecg")
    draw, lines = np.random.default_rng(0), []
    for number in range(1, 41):
        sick, fold = number % 3 == 0, 10 if number > 28 else number % 9 + 1
        beat = np.sin(np.arange(300) / 100 * 2 * np.pi)[:, None] * np.where(
            np.isin(np.arange(12), (1, 2, 5)) & sick, 200, 600
        )
        recordings.record(root, f"records100/00000/{number:05d}_lr", (beat + draw.normal(0, 60, (300, 12))).round())
        codes = "{'SR': 0.0}" if number == 40 else "{'IMI': 80.0}" if sick else "{'NORM': 100.0}"
        lines.append(recordings.row(number, fold, codes).replace("15709.0", f"{number}.0"))
    return recordings.ptb(root, lines)


def test_recordings_are_evaluated_as_their_owners_do_with_strips_of_the_worst(ecgs: Path, tmp_path: Path) -> None:
    from sklearn.metrics import roc_auc_score

    done = run(
        "evaluate", "baseline:leads", "ptb-xl:records100", "--root", ecgs, "--output", tmp_path / "run", "--no-baseline"
    )
    assert done.returncode == 0 and "1 record has no label and is left out: 40" in done.stdout, (
        done.stderr
    )  # no diagnostic statement
    made = load_run(tmp_path / "run")
    rows = made.predictions.to_pylist()
    truth = np.array([[name in row["target"] for name in ("NORM", "MI")] for row in rows])
    stated = np.array([row["probabilities"][:2] for row in rows])
    assert len(rows) == 11 and made.metrics["macro_auroc"]["value"] == pytest.approx(
        roc_auc_score(truth, stated, average="macro")
    )
    blind = load_model(
        lambda items: np.ones((len(items), 2), np.float32), verb="embed", card={"slug": "mine", "name": "Mine"}
    )
    lost = evaluate(blind, "ptb-xl:records100", root=ecgs, output=tmp_path / "blind")
    assert (
        lost.scores["baselines"]["strongest"]["name"] == "leads"
        and lost.scores["baselines"]["strongest"]["beats"] is False
    )
    assert (
        lost.report().read_text().count("data:image/svg+xml;base64") >= 3
    )  # a strip beside each recording that it got wrong


def test_a_patient_in_two_folds_is_refused(ecgs: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(ecgs, root)
    table = root / "ptbxl_database.csv"
    table.write_text(table.read_text().replace("40,40.0,", "40,1.0,"))
    with pytest.raises(RunError, match="1 patients stand in both splits"):
        evaluate("baseline:leads", "ptb-xl:records100", root=root, output=tmp_path / "run")


def test_a_strip_holds_every_lead_and_a_dead_one_too() -> None:
    samples = np.zeros((12, 1000), np.float32)
    samples[1] = np.sin(np.arange(1000) / 8)
    samples[3] = np.nan
    shown = drawings.strip(Signal(id="1", load=lambda: samples, rate=100.0, channels=recordings.LEADS))
    assert (
        shown.count("<text") == 12 + 1
        and "2.5 s across each, all to one scale" in shown
        and shown.count("<polyline") == 11
        and ">AVR<" in shown
    )
    short = drawings.strip(Signal(id="1", load=lambda: samples[:, :300] + 1, rate=100.0, channels=recordings.LEADS))
    assert short.count("<polyline") == 11  # a quarter of it a column, none stretched or empty
    few = drawings.strip(Signal(id="1", load=lambda: samples[:2], rate=100.0, channels=("<ECG>", "PPG")))
    assert "&lt;ECG>" in few and "<ECG>" not in few and few.count("<polyline") == 2


def cell_file(path: Path, donors: int = 10, each: int = 12) -> Path:
    """Counts of three kinds of cells from several donors, in AnnData's layout (encoding 0.1.0)."""
    import h5py

    draw = np.random.default_rng(0)
    count = donors * each
    kinds, donor = np.arange(count) % 3, np.arange(count) // each
    counts = draw.poisson(1 + 8 * (np.arange(30) // 10 == kinds[:, None])).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        file["X"] = counts
        for name, columns in (
            (
                "obs",
                {
                    "_index": [f"c{i}" for i in range(count)],
                    "cell_type": [f"kind {k}" for k in kinds],
                    "donor_id": [f"d{d}" for d in donor],
                },
            ),
            ("var", {"_index": [f"g{i}" for i in range(30)]}),
        ):
            group = file.create_group(name)
            group.attrs.update(
                {
                    "_index": "_index",
                    "column-order": np.array([k for k in columns if k != "_index"], dtype=h5py.string_dtype()),
                    "encoding-type": "dataframe",
                    "encoding-version": "0.2.0",
                }
            )
            for key, values in columns.items():
                group[key] = np.array(values, dtype=h5py.string_dtype())
    return path


def test_cells_are_annotated_by_whole_donors(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    cell_file(tmp_path / "data/a.h5ad")
    made = evaluate(
        "baseline:variable-pca", "cellxgene-corpus", root=tmp_path / "data", label="cell_type", output=tmp_path / "run"
    )
    assert made.metrics["macro_f1"]["value"] == 1 and made.facts["request"]["split_by"] == "donor:0"
    tested = set(made.predictions["patient"].to_pylist())
    assert (
        len(tested) == 1 and made.metrics["macro_f1"]["n"] == 12 and "whole donors" in " ".join(made.facts["notices"])
    )
    loose = evaluate(
        "baseline:variable-pca",
        "cellxgene-corpus",
        root=tmp_path / "data",
        label="cell_type",
        split_by="random",
        output=tmp_path / "loose",
    )
    assert "donor" in " ".join(one for one in loose.facts["notices"] if "hides" in one)
    with pytest.raises(DatasetError, match="its obs has no column 'kind' \\(it has "):
        evaluate(
            "baseline:variable-pca", "cellxgene-corpus", root=tmp_path / "data", label="kind", output=tmp_path / "x"
        )


def test_scibs_metrics_are_its_own_packages_and_one_line_without_it() -> None:
    draw, kinds, batches = np.random.default_rng(0), np.arange(240) % 3, np.arange(240) // 60
    apart = (draw.normal(size=(240, 8)) + 6 * np.eye(8)[kinds], [f"k{i}" for i in kinds], [f"b{i}" for i in batches])
    if not integration.present():
        with pytest.raises(RunError, match="pip install scib-metrics"):
            integration.scib(*apart)
        return
    found = integration.scib(*apart)
    assert (found["KMeans NMI"], found["cells"]) == (1, 240) and found["Total"] == pytest.approx(
        0.9228, abs=0.02
    )  # 0.5.10

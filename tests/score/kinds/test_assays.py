"""Variants by assay beside ProteinGym: its metrics of one assay, and its averages of published per-assay values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from healthfm import evaluate_predictions
from healthfm.errors import RunError
from healthfm.score.tables import read_predictions
from tests.cli.command import run

DATA = Path(__file__).parents[2] / "data"
# Spearman, nDCG, top recall, AUROC, MCC of the assays that ``variants`` makes, by github.com/OATML-Markslab/ProteinGym@bb685245
# proteingym/performance_DMS_benchmarks.py (spearmanr, calc_ndcg, calc_toprecall, roc_auc_score, matthews_corrcoef at the median)
THEIRS = {
    "a": (0.612614615, 0.949767474, 0.5, 0.826086957, 0.394055203), "b": (0.644400527, 0.953125419, 0.6, 0.805555556, 0.388710612),
    "c": (0.397067698, 0.840604273, 0.444444444, 0.680689655, 0.280984521), "d": (-0.280241935, 0.644555109, 0.25, 0.352380952, -0.29844172),
}  # fmt: skip
# Summary_performance_DMS_substitutions_Spearman.csv of the same commit: Average_Spearman and the five functions, of ESM2 (650M)
OFFICIAL = {"Activity": 0.425, "Binding": 0.337, "Expression": 0.415, "OrganismalFitness": 0.368, "Stability": 0.523}


def variants() -> dict[str, list[Any]]:
    draw = np.random.default_rng(7)
    found: dict[str, list[Any]] = {name: [] for name in ("id", "assay", "target", "prediction", "hit")}
    for name, n in (("a", 60), ("b", 45), ("c", 83), ("d", 31)):
        target = draw.normal(size=n).round(3)
        score = (target * draw.choice([0.5, 1, -0.2]) + draw.normal(size=n)).round(3)
        rows = (
            [f"{name}{i}" for i in range(n)],
            [name] * n,
            target.tolist(),
            score.tolist(),
            (target > 0.3).astype(int).tolist(),
        )
        for column, values in zip(found.values(), rows, strict=True):
            column += values
    return found


def test_each_assay_has_proteingyms_numbers_and_averages_go_by_protein_and_function() -> None:
    table = variants()
    table["protein"] = [{"a": "P", "b": "P", "c": "Q", "d": "R"}[one] for one in table["assay"]]
    table["function"] = [{"d": "Binding"}.get(one, "Activity") for one in table["assay"]]
    made = evaluate_predictions(table, "variant-effect")
    names = ("spearman", "ndcg", "top_recall", "auroc", "mcc")
    for one in made.scores["assays"]:
        assert [one[name] for name in names] == pytest.approx(THEIRS[one["assay"]], abs=1e-8)
    for i, name in enumerate(names):  # a and b are one protein, c another, d alone is a class
        a, b, c, d = (THEIRS[one][i] for one in "abcd")
        assert made.metrics[name]["value"] == pytest.approx((((a + b) / 2 + c) / 2 + d) / 2, abs=1e-8)
    assert made.metrics["spearman_plain"]["value"] == pytest.approx(
        np.mean([one[0] for one in THEIRS.values()]), abs=1e-8
    )
    assert "only 3 patients, too few to trust" in made.metrics["spearman"]["method"]
    assert any("3 proteins" in rule for rule in made.scores["rules"])


def test_the_published_average_is_made_again_of_the_published_assays(tmp_path: Path) -> None:
    table = read_predictions(DATA / "proteingym_esm2_650m.csv", {"id": "assay"})
    table = table.append_column("assay", table["id"])
    made = evaluate_predictions(table, "variant-effect", output=tmp_path / "run")
    assert made.metrics["spearman"]["value"] == pytest.approx(0.414, abs=5e-4)  # and not 0.438, the plain mean
    assert made.metrics["spearman_plain"]["value"] == pytest.approx(0.438, abs=5e-4)
    for name, value in OFFICIAL.items():
        assert made.scores["per_class"][name]["spearman"]["value"] == pytest.approx(value, abs=5e-4)
    found = made.metrics["spearman"]
    assert found["low"] < 0.414 - 0.02 < 0.414 + 0.02 < found["high"] < 0.5 and "patient-clustered" in found["method"]
    page = made.report().read_text()
    assert (
        "Assay by assay" in page
        and "OrganismalFitness (" in page
        and "217 assays" in page
        and "With 217 assays looked at" in page
    )


def test_a_table_of_variants_is_scored_from_the_command_line(tmp_path: Path) -> None:
    table = variants()
    path = tmp_path / "scores.csv"
    path.write_text(
        "mutant,assay,DMS_score,score\n"
        + "".join(
            f"{i},{a},{t},{p}\n"
            for i, a, t, p in zip(*(table[n] for n in ("id", "assay", "target", "prediction")), strict=True)
        )
    )
    done = run(
        "report",
        "--predictions",
        path,
        "--task",
        "variant-effect",
        "--columns",
        "id=mutant,target=DMS_score,prediction=score",
        "--output",
        tmp_path / "run",
    )
    assert done.returncode == 0 and "spearman" in done.stdout, done.stderr


def test_what_an_assay_cannot_be_is_one_line() -> None:
    table = {"id": ["1", "2", "3"], "assay": ["a", "a", "a"], "target": [1.0, 2.0, 3.0], "prediction": [1.0, 1.0, 1.0]}
    for more, said in (
        ({}, "no assay has variants whose targets and predictions vary"), ({"protein": ["P", "P", "Q"]}, "1 assays have more than one protein: a"),
        ({"hit": [0, 1, 2]}, "neither 0 nor 1: 3"), ({"assay": ["a", None, "a"]}, "have no assay: 2"),
    ):  # fmt: skip
        with pytest.raises(RunError, match=said):
            evaluate_predictions({**table, **more}, "variant-effect")
    mixed = {
        "id": [*"123456"],
        "assay": [*"aaabbb"],
        "target": [1.0, 2, 3, 1, 2, 3],
        "prediction": [3.0, 2, 1, 5, 5, 5],
    }
    made = evaluate_predictions(mixed, "variant-effect")
    assert made.metrics["spearman"]["value"] == -1 and any("left out: b" in rule for rule in made.scores["rules"])

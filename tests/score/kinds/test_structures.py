"""Predicted structures as a table of files or of places; predicted signatures of drugs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from healthfm import evaluate_predictions, load_run
from healthfm.errors import RunError
from tests.cli.command import run
from tests.score.metrics.test_superposition import THEIRS, pair


def pdb(path: Path, places: np.ndarray, chain: str, left_out: range = range(0)) -> Path:
    """A chain of alanines as the PDB writes CA atoms, behind a calcium, which is called CA too."""
    line = "{:<6}{:>5} {:<4} {:>3} {}{:>4}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           {}\n"
    rows = [
        line.format("ATOM", i + 1, " CA", "ALA", chain, i + 1, *one, "C")
        for i, one in enumerate(places)
        if i not in left_out
    ]
    path.write_text("".join([*rows, line.format("HETATM", 900, "CA", "CA", chain, 900, 0, 0, 0, "CA"), "END\n"]))
    return path


def test_files_of_structures_are_scored_as_the_published_programs_score_them(tmp_path: Path) -> None:
    rows = []
    for name in THEIRS:
        true, moved = pair(name)
        rows.append(
            f"{name},{pdb(tmp_path / f'{name}-true.pdb', true, 'A')},{pdb(tmp_path / f'{name}-model.pdb', moved, 'B')}\n"
        )
    (tmp_path / "table.csv").write_text("id,target,prediction\n" + "".join(rows))
    done = run(
        "report",
        "--predictions",
        tmp_path / "table.csv",
        "--task",
        "structure-prediction",
        "--output",
        tmp_path / "run",
    )
    assert done.returncode == 0 and "lddt" in done.stdout, done.stderr
    both = load_run(tmp_path / "run").metrics
    for place, (name, off) in enumerate((("tm_score", 5e-4), ("gdt_ts", 3e-3), ("lddt", 1e-6))):
        assert both[name]["value"] == pytest.approx(np.mean([one[place] for one in THEIRS.values()]), abs=off)
    page = (tmp_path / "run/report.html").read_text()
    assert "The chains read worst" in page and "TM-score" in page


def test_residues_without_a_place_count_as_wrong_and_are_said(tmp_path: Path) -> None:
    true, _ = pair("bent")
    files = pdb(tmp_path / "t.pdb", true, "A"), pdb(tmp_path / "p.pdb", true, "A", range(60, 120))
    made = evaluate_predictions(
        {"id": ["x"], "target": [str(files[0])], "prediction": [str(files[1])]}, "structure-prediction"
    )
    assert made.metrics["tm_score"]["value"] == pytest.approx(0.5) and made.metrics["rmsd"]["value"] == pytest.approx(
        0, abs=1e-3
    )
    assert made.metrics["lddt"]["value"] == pytest.approx(0.51, abs=2e-3) and any(
        "60 residues of targets" in one for one in made.scores["rules"]
    )
    for wrong, said in (
        ([[1.0, 2.0]], "no lists of three numbers"), (str(tmp_path / "absent.pdb"), "no file"), ([[0.0, 0.0, 0.0]] * 2, "as many residues as their target: x"),
    ):  # fmt: skip
        target = str(files[0]) if isinstance(wrong, str) else true.tolist()
        with pytest.raises(RunError, match=said):
            evaluate_predictions({"id": ["x"], "target": [target], "prediction": [wrong]}, "structure-prediction")


def test_signatures_are_measured_alone_and_whole_drugs_are_drawn() -> None:
    draw = np.random.default_rng(1)
    true = draw.normal(size=(40, 50))
    guess = true + draw.normal(size=true.shape) * 1.5
    table = {
        "id": [str(i) for i in range(40)],
        "drug": [f"d{i // 5}" for i in range(40)],
        "target": true.tolist(),
        "prediction": guess.tolist(),
    }
    made = evaluate_predictions(table, "perturbation-signature")
    assert made.metrics["spearman"]["value"] == pytest.approx(
        np.mean([spearmanr(a, b)[0] for a, b in zip(true, guess, strict=True)])
    )
    assert made.metrics["pearson"]["value"] == pytest.approx(
        np.mean([pearsonr(a, b)[0] for a, b in zip(true, guess, strict=True)])
    )
    sets = [
        len(set(np.argsort(a * s)[:5]) & set(np.argsort(b * s)[:5])) / 5
        for a, b in zip(true, guess, strict=True)
        for s in (1, -1)
    ]
    assert made.metrics["ends_found"]["value"] == pytest.approx(np.mean(sets)) and 0.2 < np.mean(sets) < 0.8
    assert "patient-clustered" in made.metrics["spearman"]["method"] and any(
        "8 drugs" in one for one in made.scores["rules"]
    )

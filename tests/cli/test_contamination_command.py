"""``healthfm contamination`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from healthfm.report.contamination import section
from healthfm.report.run import evaluate_predictions, load_run
from tests.cli.command import run
from tests.cli.test_evaluate_command import assert_one_clear_line


@pytest.fixture
def corpus(tmp_path: Path, pubmedqa_root: Path) -> Path:
    """A text that holds the first 30 of the owners' questions."""
    rows = json.loads((pubmedqa_root / "data/ori_pqal.json").read_text())
    asked = [row["QUESTION"] for row in list(rows.values())[:30]]
    place = tmp_path / "corpus"
    place.mkdir()
    (place / "forum.txt").write_text("\n\nSomebody asked:\n".join(asked))
    return place


def test_texts_found_are_shown_and_told(corpus: Path, pubmedqa_root: Path) -> None:
    result = run("contamination", "pubmedqa", "--root", pubmedqa_root, "--against", corpus)
    assert result.returncode == 0, result.stderr
    assert "30 texts of pubmedqa:pqa-l found in" in result.stdout
    assert "question: 30 of 1000 records found in" in result.stdout and "30 as a whole" in result.stdout
    assert "... and 10 more" in result.stdout and "forum.txt 0-" in result.stdout
    assert "whether the model learned it, this does not say" in result.stdout


def test_a_run_gets_its_clean_and_dirty_score_and_keeps_the_finding(
    corpus: Path, pubmedqa_root: Path, tmp_path: Path
) -> None:
    truth = json.loads((pubmedqa_root / "data/test_ground_truth.json").read_text())
    table = {"id": list(truth), "target": list(truth.values()), "prediction": ["yes"] * len(truth)}
    made = evaluate_predictions(table, "yes-no-maybe", output=tmp_path / "run")
    words = (
        "contamination",
        "pubmedqa",
        "--root",
        pubmedqa_root,
        "--split",
        "test",
        "--against",
        corpus,
        "--run",
        tmp_path / "run",
    )
    result = run(*words, "--json")
    assert result.returncode == 0, result.stderr
    [found] = json.loads(result.stdout)
    dirty = {i for one in found["found"] for i in one["ids"]}
    assert (found["scores"]["n_dirty"], found["scores"]["n"]) == (len(dirty), 500) and 5 < len(dirty) < 30
    yes = [truth[i] == "yes" for i in dirty]
    assert found["scores"]["dirty"]["value"] == sum(yes) / len(yes)
    assert section(load_run(made.path or ""))["content"] == [found]


def test_own_data_shows_places_and_no_text(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("text\nSomebody asked for the secret history of the patient in bed nine\n")
    (corpus / "leak.txt").write_text("It read: somebody asked for the secret history of the patient in bed nine.")
    hidden = run("contamination", tmp_path / "notes.csv", "--against", corpus)
    assert "leak.txt 9-" in hidden.stdout and "secret" not in hidden.stdout + hidden.stderr
    assert "secret" in run("contamination", tmp_path / "notes.csv", "--against", corpus, "--show-inputs").stdout


def test_a_models_likelihoods_are_probed(medqa_root: Path, small_at_home: Path) -> None:
    result = run(
        "contamination", "medqa", "--root", medqa_root, "--model", "smollm2-135m-instruct", "--limit", 2, "--json"
    )
    assert result.returncode == 0, result.stderr
    [found] = json.loads(result.stdout)
    assert (found["n"], found["min_k"]["n"], found["order"]["n"] + found["order"]["left_out"]) == (2, 2, 2)
    assert found["min_k"]["mean"]["low"] <= found["min_k"]["mean"]["value"] < 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("medqa", "--root", "{medqa}"), ("name what to ask: --against CORPUS, --model MODEL, or both",)),
        (("medqa", "--root", "{medqa}", "--against", "./absent"), ("no file or folder absent",)),
        (("medqa", "--root", "{medqa}", "--against", "medqb"), ("no dataset is called 'medqb'", "medqa")),
        (("medqa", "--root", "{medqa}", "--against", "{corpus}", "--run", "{corpus}"), ("not a run folder",)),
        (("medqa", "--root", "{medqa}", "--against", "{corpus}", "--split", "dev"), ("no split 'dev'",)),
    ],
)  # fmt: skip
def test_a_mistake_is_one_clear_line(
    words: tuple[str, ...], says: tuple[str, ...], medqa_root: Path, corpus: Path
) -> None:
    filled = [word.format(medqa=medqa_root, corpus=corpus) for word in words]
    assert_one_clear_line(run("contamination", *filled), *says)

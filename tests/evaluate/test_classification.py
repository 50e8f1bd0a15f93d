"""Texts put into classes by the likelihood of words: one class by its name, several by yes and no for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from healthfm import RunError, evaluate, load_model, open_dataset
from healthfm.models.language.causal_lm import CausalLM
from healthfm.models.model import Model
from tests.datasets.test_labelled_text import write_hoc

TOML = """
name = "Notes"
[files]
test = "notes.csv"
[columns]
text = "text"
[[labels]]
name = "label"
kind = "multi-class"
classes = ["burn", "fracture", "rash"]
"""


def words_found(prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """Score an option by whether its word stands in the prompt's text; "yes" where the asked name stands there twice."""
    found = []
    for prompt, choices in zip(prompts, options, strict=True):
        if [one.strip() for one in choices] == ["yes", "no"]:
            asked = prompt.split('"')[1]
            found.append(np.log([0.9, 0.1] if prompt.count(asked) > 1 else [0.2, 0.8]))
        else:
            text = prompt.split("\n")[0]
            found.append(np.array([0.0 if one.strip() in text else -1.0 for one in choices]))
    return found


@pytest.fixture
def finder() -> Model:
    return load_model(words_found, verb="score", card={"slug": "finder", "name": "Finder"})


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "dataset.toml").write_text(TOML)
    rows = [
        "id,text,label",
        "1,a burn on the arm,burn",
        "2,an old fracture,fracture",
        "3,a red rash,rash",
        "4,some rash,burn",
    ]
    (folder / "notes.csv").write_text("\n".join(rows))
    return folder


def test_the_likeliest_name_is_the_class(finder: Model, notes: Path, tmp_path: Path) -> None:
    run = evaluate(finder, notes, output=tmp_path / "run")
    table = run.predictions.to_pylist()
    assert run.facts["request"]["task"] == "text-classification"
    assert [row["prediction"] for row in table] == ["burn", "fracture", "rash", "rash"]
    assert [row["target"] for row in table] == ["burn", "fracture", "rash", "burn"]
    assert table[0]["options"] == ["burn", "fracture", "rash"]
    odds = np.exp([0, -1, -1])
    assert table[0]["probabilities"] == pytest.approx(odds / odds.sum())
    assert run.metrics["accuracy"]["value"] == 0.75


def test_each_hallmark_is_asked_by_name_and_several_or_none_may_hold(finder: Model, tmp_path: Path) -> None:
    lines = [
        "cellular energetics and inducing angiogenesis .\tcellular energetics|inducing angiogenesis",
        "nothing here .\tempty",
    ]
    root = write_hoc(tmp_path, "test.tsv", "\n".join(lines) + "\n")
    run = evaluate(finder, "hoc", root=root, output=tmp_path / "run")
    two, none = run.predictions.to_pylist()
    assert two["prediction"] == two["target"] == ["cellular energetics", "inducing angiogenesis"]
    assert none["prediction"] == none["target"] == []
    assert none["probabilities"] == pytest.approx([0.2] * 10)
    assert two["probabilities"][two["options"].index("cellular energetics")] == pytest.approx(0.9)


def test_real_weights_classify_real_sentences(smollm2: CausalLM, reference_data: Path, tmp_path: Path) -> None:
    root = reference_data / "ddi_hoc"
    run = evaluate(smollm2, "hoc", root=root, limit=1, output=tmp_path / "run", baseline=False)
    table = run.predictions.to_pylist()
    truth = {r.id: r.labels["hallmarks"] for r in open_dataset("hoc", root, "test")}
    assert [set(row["target"]) for row in table] == [truth[row["id"]] for row in table]
    assert all(0 < p < 1 for row in table for p in row["probabilities"])


def test_a_set_of_labels_needs_a_multi_label_task(finder: Model, tmp_path: Path) -> None:
    embed = load_model(
        lambda texts: np.ones((len(texts), 2), np.float32), verb="embed", card={"slug": "e", "name": "E"}
    )
    root = write_hoc(write_hoc(tmp_path, "test.tsv", "a .\tempty\n"), "train.tsv", "b .\tempty\n")
    with pytest.raises(RunError, match="has a set of labels; use a multi-label task"):
        evaluate(embed, "hoc", root=root, task="linear-probe", output=tmp_path / "run")


def test_a_task_for_tables_only_and_one_that_does_not_exist_are_refused(
    finder: Model, notes: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="regression is for predictions made elsewhere"):
        evaluate(finder, notes, task="regression", output=tmp_path / "run")
    with pytest.raises(RunError, match=r"no task 'guessing' \(tasks: multiple-choice, "):
        evaluate(finder, notes, task="guessing", output=tmp_path / "run")

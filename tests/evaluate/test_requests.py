"""Going on with a run: only what is missing is computed, and only by the same weights and the same request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from healthfm import RunError, card, evaluate, load_model
from healthfm.evaluate.provenance import weights_digest
from healthfm.evaluate.runner import default_folder
from healthfm.models.model import Model
from tests.models.vision.test_vision_road import class_folders, published
from tests.models.vision.towers import expected, recipe


class Counting:
    """Scores options by their text, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def score(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[np.ndarray]:
        self.asked += prompts
        return [np.array([-float(sum(map(ord, prompt + one)) % 97) for one in choices]) for prompt, choices in zip(prompts, options, strict=True)]  # fmt: skip


def counted() -> tuple[Counting, Model]:
    counting = Counting()
    return counting, load_model(counting, card={"slug": "guesser", "name": "Guesser"})  # type: ignore[arg-type]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    lines = ["id,question,A,B,answer", *(f"{i},Is it {i}? {'word ' * 400},yes,no,{'AB'[i % 2]}" for i in range(30))]
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "own.csv"


def test_only_the_parts_that_are_missing_are_asked_again(questions: Path, tmp_path: Path) -> None:
    first, model = counted()
    run = evaluate(model, questions, output=tmp_path / "run")
    assert len(first.asked) == len(set(first.asked)) == 30
    plan = run.facts["plan"]["parts"]
    assert len(plan) > 3
    for number in (1, 3):
        (tmp_path / f"run/predictions/part-{number:05d}.parquet").unlink()
    again, model = counted()
    assert evaluate(model, questions, output=tmp_path / "run").predictions.equals(run.predictions)
    assert again.asked == [first.asked[i] for number in (1, 3) for i in range(*plan[number])]
    (tmp_path / "run/predictions/part-00002.parquet").unlink()  # one alone
    last, model = counted()
    assert evaluate(model, questions, output=tmp_path / "run").predictions.equals(run.predictions)
    assert last.asked == [first.asked[i] for i in range(*plan[2])]
    nothing, model = counted()
    evaluate(model, questions, output=tmp_path / "run")
    assert nothing.asked == []


@pytest.mark.parametrize("task", ["knn", "linear-probe", "few-shot"])
def test_of_a_probe_only_the_vectors_that_are_missing_are_made_again(tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr("healthfm.evaluate.job.CHARACTERS_PER_PART", 60)
    rows = [
        f"{i},{'sea' if i % 2 else 'bio'} word {i},{'ab'[i % 2]},{'train' if i < 12 else 'test'}" for i in range(18)
    ]
    (tmp_path / "own.csv").write_text("\n".join(["id,text,label,split", *rows]) + "\n")
    asked: list[str] = []

    def letters(texts: Sequence[str]) -> np.ndarray:
        asked.extend(texts)
        return np.array([[one.count(letter) for letter in "aeiou"] for one in texts], np.float32)

    def probe() -> Any:
        model = load_model(letters, verb="embed", card={"slug": "letters", "name": "Letters"})
        return evaluate(model, tmp_path / "own.csv", task=task, shots=2 if task == "few-shot" else None, output=tmp_path / "run")  # fmt: skip

    run = probe()
    first, parts = list(asked), sorted((tmp_path / "run/embeddings").glob("part-*"))
    begins = np.cumsum([0, *(pq.read_metadata(one).num_rows for one in parts)])
    assert len(first) == len(set(first)) == begins[-1] == 18 and len(parts) > 3
    (tmp_path / "run/predictions/part-00000.parquet").unlink()
    asked.clear()
    assert probe().predictions.equals(run.predictions) and asked == []  # all vectors were there
    (tmp_path / "run/predictions/part-00000.parquet").unlink()
    for number in (1, 3):
        parts[number].unlink()
    assert probe().predictions.equals(run.predictions)
    assert asked == [text for number in (1, 3) for text in first[begins[number] : begins[number + 1]]]


def test_requests_are_compared_by_the_keys_of_both(questions: Path, tmp_path: Path) -> None:
    """What the folder's run asked and this one does not, what it did not ask (None) and this one does, and any other value."""
    _, model = counted()
    evaluate(model, questions, output=tmp_path / "run")
    whole = (tmp_path / "run/run.json").read_text()
    (tmp_path / "run/predictions/part-00000.parquet").unlink()
    asked, model = counted()
    others: list[tuple[str, Any]] = [
        ("window", [0, 1]), ("asked by another version", True), ("seed", None), ("seed", 1), ("weights", "sha256:other"), ("cards", None),
        ("items", "other"), ("subgroups", ["ward"]), ("limit", 29),
    ]  # fmt: skip
    for key, before in others:
        facts = json.loads(whole)
        facts["request"] = {
            name: one for name, one in {**facts["request"], key: before}.items() if (name, one) != (key, None)
        }
        (tmp_path / "run/run.json").write_text(json.dumps(facts))
        with pytest.raises(RunError, match=rf"holds a run of another request \({key} differ\)"):
            evaluate(model, questions, output=tmp_path / "run")
    assert asked.asked == []
    (tmp_path / "run/run.json").write_text(whole)
    evaluate(model, questions, output=tmp_path / "run")
    assert len(asked.asked) == 5


def louder(folder: Path) -> None:
    """Change one number of the published weights."""
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    tensors["norm.bias"][0] += 0.5
    torch.save(tensors, folder / "pytorch_model.bin")


def test_other_weights_under_the_same_name_do_not_go_on_with_a_run(tmp_path: Path) -> None:
    """By name, with a file whose bytes changed; such a run's default folder is another one too."""
    pictures, weights = class_folders(tmp_path / "tiles", 64), published("uni", tmp_path / "weights")

    def probe(output: str) -> Any:
        return evaluate("uni", pictures, task="knn", weights=weights, device="cpu", output=tmp_path / output)

    run = probe("run")
    assert run.facts["request"]["weights"].startswith(run.facts["environments"][0]["model"]["digest"])
    louder(weights)
    with pytest.raises(RunError, match=r"holds a run of another request \(weights differ\)"):
        probe("run")
    asked = run.facts["request"]
    other = {**asked, "weights": weights_digest("uni", card("uni"), weights)}
    assert other["weights"].startswith("sha256:") and other["weights"] != asked["weights"]
    assert default_folder(other, False) != default_folder(asked, False)


def test_a_loaded_model_whose_numbers_were_changed_does_not_go_on_with_a_run(tmp_path: Path) -> None:
    pictures, facts = class_folders(tmp_path / "tiles", 64), expected("uni")
    model = load_model("uni", recipe(facts["shapes"]), config=facts["config"], device="cpu")
    evaluate(model, pictures, task="knn", output=tmp_path / "run")
    with torch.no_grad():
        model.network.norm.bias[0] += 0.5  # type: ignore[union-attr, operator, index]
    with pytest.raises(RunError, match=r"holds a run of another request \(weights differ\)"):
        evaluate(model, pictures, task="knn", output=tmp_path / "run")

"""Retrieval: a question's own passage among all of the split's, equal passages being one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from healthfm import RunError, evaluate, load_model
from healthfm.models.model import Model

WORDS = ("scurvy", "bile", "heart", "bone")


@pytest.fixture
def counter() -> Model:
    def embed(texts: Sequence[str]) -> np.ndarray:
        return np.array([[text.lower().count(word) + 0.01 for word in WORDS] for text in texts], dtype=np.float32)

    return load_model(embed, verb="embed", card={"slug": "counter", "name": "Counter"})


def own(folder: Path, rows: list[tuple[str, list[str]]]) -> Path:
    lines = [json.dumps({"id": f"q{i}", "question": q, "answers": a}) for i, (q, a) in enumerate(rows, 1)]
    (folder / "own.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "own.jsonl"


def test_answers_are_ranked_by_the_cosine_of_embeddings(counter: Model, tmp_path: Path) -> None:
    rows = [
        ("scurvy?", ["scurvy scurvy"]),
        ("bile?", ["bile", "bile and bone"]),
        ("of scurvy", ["scurvy scurvy"]),
        ("heart", []),
    ]
    run = evaluate(counter, own(tmp_path, rows), task="retrieval", output=tmp_path / "run")
    table = run.predictions.to_pylist()
    assert [row["id"] for row in table] == ["q1", "q2", "q3"]
    assert [row["target"] for row in table] == [["q1"], ["q2", "q2#1"], ["q1"]]
    assert table[0]["ranking"][0] == table[2]["ranking"][0] == "q1"
    assert table[1]["ranking"] == ["q2", "q2#1", "q1"]
    assert table[1]["scores"] == sorted(table[1]["scores"], reverse=True)
    assert table[1]["scores"][0] == pytest.approx(1)
    assert "1 record has no passage and is left out: q4" in run.facts["notices"]
    assert run.facts["fitted"] == {"retrieval": "cosine of embeddings", "passages": 3, "kept": 3}


def test_a_limit_draws_questions_and_keeps_every_passage(counter: Model, pubmedqa_root: Path, tmp_path: Path) -> None:
    run = evaluate(counter, "pubmedqa", root=pubmedqa_root, task="retrieval", limit=5, output=tmp_path / "run")
    table = run.predictions.to_pylist()
    assert len(table) == 5 and run.facts["fitted"]["passages"] == 500
    assert all(row["target"] == [row["id"]] and len(row["ranking"]) == 100 for row in table)
    again = evaluate(counter, "pubmedqa", root=pubmedqa_root, task="retrieval", limit=5, output=tmp_path / "run")
    assert again.predictions.equals(run.predictions)


def test_records_without_passages_are_refused(counter: Model, medqa_root: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no record of split 'test' has a context or an answer to find"):
        evaluate(counter, "medqa", root=medqa_root, task="retrieval", output=tmp_path / "run")

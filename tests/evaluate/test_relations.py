"""Relations: listed in words, and named for two marked mentions; DDI's and ChemProt's rules of what is evaluated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from healthfm import RunError, evaluate, evaluate_predictions, load_model
from healthfm.cards.schema import Labels
from healthfm.records import Document, Relation, Span
from tests.evaluate.test_answering import in_memory, values
from tests.evaluate.test_writing import writer

TYPES = ("mechanism", "effect", "advise", "int")


def ddi(root: Path) -> Path:
    """BioGPT's DDI-2013, small."""
    folder = root / "data/DDI/raw"
    folder.mkdir(parents=True)
    one = {"abstract": "Aspirin raises warfarin's effect. Avoid ibuprofen with aspirin.", "triples": [
        {"drug": "Aspirin", "target": "warfarin", "interaction": "effect"}, {"drug": "ibuprofen", "target": "aspirin", "interaction": "advise"},
    ]}  # fmt: skip
    seen = {
        "abstract": "Warfarin: aspirin raises its effect.",
        "triples": [{"drug": "aspirin", "target": "Warfarin", "interaction": "effect"}],
    }
    (folder / "train.json").write_text(json.dumps({"t1": seen, "t2": one}))
    (folder / "test.json").write_text(json.dumps({"d1": one, "d2": {"abstract": "Nothing here.", "triples": []}}))
    return root


def test_a_model_lists_relations_and_names_agree_without_case(tmp_path: Path) -> None:
    outputs = ["aspirin | Effect | Warfarin\naspirin | advise | ibuprofen\nwater | dissolves | salt", "none"]
    run = evaluate(writer(outputs), "blurb:biogpt-ddi", root=ddi(tmp_path), task="relations", output=tmp_path / "run")
    table = run.predictions.to_pylist()
    assert table[0]["target"] == [
        {"type": "effect", "head": "aspirin", "tail": "warfarin"}, {"type": "advise", "head": "ibuprofen", "tail": "aspirin"},
    ]  # fmt: skip
    assert table[0]["prediction"][0] == table[0]["target"][0] and table[1]["prediction"] == []
    assert run.metrics["micro_recall"]["value"] == 0.5  # the second is the other way round
    assert run.scores["classes"] == list(TYPES)
    assert run.metrics["micro_precision"]["value"] == pytest.approx(1 / 3)  # a type that nobody asked for is invented
    assert table[0]["other_types"] == [{"type": "dissolves", "head": "water", "tail": "salt"}]
    assert run.report(show_inputs=True).is_file()
    [looked_up] = run.scores["baselines"]["rivals"]  # a text that is asked again is not learned from
    assert (looked_up["name"], looked_up["value"]) == ("dictionary", pytest.approx(2 / 3))


def test_names_that_a_text_marks_mean_their_concepts(tmp_path: Path) -> None:
    text = "Naloxone reverses the antihypertensive effect of clonidine."
    spans = (
        Span(0, 8, "chemical", ("D009270",)),
        Span(22, 45, "effect", ("D1", "D2")),
        Span(49, 58, "chemical", ("D003000",)),
    )
    record = Document(
        id="a", text=text, spans=spans, relations=(Relation("CID", "D009270", "D1"), Relation("CID", "D009270", "D2"))
    )
    run = evaluate(
        writer(["naloxone | cid | antihypertensive effect"]),
        in_memory([record]),
        task="relations",
        output=tmp_path / "run",
    )
    assert run.metrics["micro_f1"]["value"] == 1


def test_relations_score_as_the_micro_f1_over_the_classes_that_state_one() -> None:
    """DDI's rule: five classes, micro-F1 over the four that state an interaction (``labels`` of scikit-learn)."""
    rng = np.random.default_rng(0)
    true, said = (rng.choice(["false", *TYPES], 80, p=[0.6, 0.1, 0.1, 0.1, 0.1]) for _ in range(2))
    said = np.where(rng.random(80) < 0.5, true, said)

    def rows(names: Sequence[str]) -> list[list[dict[str, str]]]:
        return [[] if one == "false" else [{"type": str(one), "head": "a", "tail": "b"}] for one in names]

    run = evaluate_predictions(
        {"id": range(80), "target": rows(true), "prediction": rows(said)}, "relation-classification"
    )
    assert run.metrics["micro_f1"]["value"] == pytest.approx(f1_score(true, said, labels=TYPES, average="micro"))
    assert run.metrics["macro_f1"]["value"] == pytest.approx(f1_score(true, said, labels=TYPES, average="macro"))


def likes(word: str) -> Any:
    def score(prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[np.ndarray]:
        return [np.array([0.0 if word in one else -3.0 for one in row]) for row in options]

    return load_model(score, verb="score", card={"slug": "liker", "name": "Liker"})


def test_chemprots_classes_are_evaluated_in_its_five_groups(tmp_path: Path) -> None:
    folder = tmp_path / "data/text_classification/chemprot"
    folder.mkdir(parents=True)
    rows = [
        ("ACTIVATOR", "<< A >> turns [[ B ]] on"),
        ("UPREGULATOR", "[[ B ]] by << A >>, by << C >> and [[ D ]]"),
        ("SUBSTRATE", "<< A >> eats [[ B ]]"),
    ]
    made = [{"text": text.replace("[[ B ]] by << A >>, by ", ""), "label": label} for label, text in rows]
    (folder / "test.txt").write_text("\n".join(map(json.dumps, made)) + "\n")
    run = evaluate(
        likes("CPR:3"), "blurb:scibert-chemprot", root=tmp_path, task="relation-classification", output=tmp_path / "run"
    )
    assert [row[0]["type"] for row in run.predictions["target"].to_pylist()] == ["CPR:3", "CPR:3", "CPR:9"]
    assert run.scores["classes"] == ["CPR:3", "CPR:4", "CPR:5", "CPR:6", "CPR:9"]
    assert run.metrics["micro_f1"]["value"] == pytest.approx(2 / 3)
    assert any("other types count as none" in one for one in run.facts["notices"])


def test_a_class_that_states_nothing_is_offered_and_not_evaluated(tmp_path: Path) -> None:
    space = Labels(name="relation", kind="multi-class", classes=("effect", "false"), negative=("false",))
    records = [
        Document(id=f"r{i}", text="a b", spans=(Span(0, 1, "drug"), Span(2, 3, "drug")), relations=(Relation(kind, 0, 1),))
        for i, kind in enumerate(("effect", "false"))
    ]  # fmt: skip
    run = evaluate(likes("false"), in_memory(records, space), task="relation-classification", output=tmp_path / "none")
    assert run.predictions["said"].to_pylist() == ["false", "false"] and run.scores["classes"] == ["effect"]
    assert values(run)["micro_recall"] == 0 and values(run)["micro_precision"] == 0
    run = evaluate(likes("effect"), in_memory(records, space), task="relation-classification", output=tmp_path / "all")
    assert values(run)["micro_recall"] == 1 and values(run)["micro_precision"] == 0.5
    assert [(one["name"], one["value"]) for one in run.scores["baselines"]["rivals"]] == [
        ("majority", pytest.approx(2 / 3))
    ]
    with pytest.raises(RunError, match="no text of split 'test' states a relation"):
        evaluate(
            likes("x"),
            in_memory([Document(id="a", text="a")]),
            task="relation-classification",
            output=tmp_path / "bare",
        )


def test_groups_hold_classes_of_the_space_once() -> None:
    for groups in ({"g": ("other",)}, {"g": ("a",), "h": ("a",)}):
        with pytest.raises(ValueError, match="labels: 'r'"):
            Labels(name="r", kind="multi-class", classes=("a", "b"), groups=groups)
    assert "groups" not in Labels(name="r", kind="multi-class").model_dump()

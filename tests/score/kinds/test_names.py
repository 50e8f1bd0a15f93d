"""One class, one name, in tables of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from healthfm import RunError, evaluate_predictions
from healthfm.score.tables import read_predictions


def table(target: list[Any], prediction: list[Any]) -> dict[str, list[Any]]:
    return {"id": list(range(len(target))), "target": target, "prediction": prediction}


@pytest.mark.parametrize(
    ("columns", "task", "said"),
    [
        (table(["Yes", "yes", "no"], ["yes", "yes", "no"]), "binary", r"'Yes' \(1 rows\) and 'yes' \(2 rows\)"),
        (
            table(["benign", "malign"], [" benign", "malign"]),
            "multi-class",
            r"' benign' \(1 rows\) and 'benign' \(1 rows\)",
        ),
        (
            table([True, False], [1, 0]),
            "binary",
            r"'1' \(1 rows\) and 'True' \(1 rows\)",
        ),
        (table([["X"], ["y"]], [["x"], ["y"]]), "multi-label", "'X'"),
        (table(["a", "b", "c"], ["a", "b", "c"]), "binary", "a binary task has two classes, these are 3: a, b, c"),
        (table(["a", "b"], ["a", "nan"]), "multi-class", "1 rows say 'nan' in prediction: leave the cell empty"),
        (table(["a", "b"], ["None", "b"]), "multi-class", "1 rows say 'None' in prediction"),
        (table(["A", "B"], ["a", "B"]), "multiple-choice", "1 rows write one option in several ways, 'A' and 'a'"),
    ],
)
def test_a_class_in_two_spellings_and_a_word_for_nothing_are_refused(
    columns: dict[str, Any], task: str, said: str
) -> None:
    with pytest.raises(RunError, match=said):
        evaluate_predictions(columns, task)


def test_declared_classes_make_every_spelling_one_class() -> None:
    columns = table(["Yes", "yes ", "no", "NO"], ["yes", "\uff59\uff45\uff53", "no", "yes"])
    run = evaluate_predictions(columns, "binary", classes=["no", "yes"])
    assert run.predictions["target"].to_pylist() == ["yes", "yes", "no", "no"]
    assert run.metrics["accuracy"]["value"] == 0.75 and run.metrics["specificity"]["value"] == 0.5
    truth = evaluate_predictions(table([True, False, True], [1.0, 0.0, 0.0]), "binary", classes=["0", "1"])
    assert truth.metrics["sensitivity"]["value"] == 0.5


def test_declared_classes_reach_sets_and_probabilities() -> None:
    sets = evaluate_predictions(
        {"id": [1, 2], "target": [["X"], []], "options": [["x", "Y"]] * 2, "probabilities": [[0.9, 0.2], [0.1, 0.8]]},
        "multi-label", classes=["x", "y"],
    )  # fmt: skip
    assert sets.predictions["target"].to_pylist() == [["x"], []] and sets.predictions["prediction"].to_pylist() == [
        ["x"],
        ["y"],
    ]


def test_a_class_called_none_is_one_where_targets_say_so() -> None:
    found = evaluate_predictions(table(["none", "mild", "none"], ["none", "none", "none"]), "multi-class")
    assert found.scores["classes"] == ["mild", "none"]
    assert (
        evaluate_predictions(table(["a", "NA"], ["a", "NA"]), "multi-class", classes=["a", "NA"]).metrics["accuracy"][
            "value"
        ]
        == 1
    )


def test_blank_and_nan_cells_of_a_file_are_missing_and_zero_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,target,prediction\n0,0,0\n1,1,  \n2,1,1\n")
    found = evaluate_predictions(read_predictions(tmp_path / "p.csv"), "binary")
    assert found.predictions["id"].to_pylist() == ["0", "1", "2"] and found.scores["unanswered"] == 1
    (tmp_path / "p.jsonl").write_text(
        '{"id": 0, "target": "a", "prediction": NaN}\n{"id": 1, "target": "b", "prediction": "b"}\n'
    )
    found = evaluate_predictions(read_predictions(tmp_path / "p.jsonl"), "multi-class")
    assert found.predictions["prediction"].to_pylist() == [None, "b"]


def test_a_probability_of_one_class_in_another_spelling_is_that_class(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,target,probability.sick\n1,Sick,0.9\n2,well,0.2\n")
    found = evaluate_predictions(read_predictions(tmp_path / "p.csv"), "binary", classes=["well", "sick"])
    assert found.metrics["accuracy"]["value"] == 1

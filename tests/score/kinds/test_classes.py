"""Tables of one class a row: every metric is scikit-learn's, every refusal names its rows, every rule is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as theirs

from healthfm import RunError, evaluate_predictions
from healthfm.score import scoring


def stated(n: int, classes: int, seed: int = 0, **more: Any) -> dict[str, Any]:
    """Probabilities of named classes, right more often than not."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, n)
    matrix = rng.dirichlet(np.ones(classes), n)
    matrix[np.arange(n), target] += 0.3
    names = [f"c{i}" for i in range(classes)]
    columns = {"id": [f"q{i}" for i in range(n)], "target": [names[i] for i in target], "options": [names] * n}
    return columns | {"probabilities": matrix / matrix.sum(axis=1, keepdims=True)} | more


def test_two_classes_have_the_metrics_of_scikit_learn_for_the_second() -> None:
    table = stated(120, 2)
    target, score = np.array(table["target"]), table["probabilities"][:, 1]
    guess = np.where(score > 0.5, "c1", "c0")
    run = evaluate_predictions(table, "binary")
    expected = {
        "accuracy": theirs.accuracy_score(target, guess), "macro_f1": theirs.f1_score(target, guess, average="macro"),
        "balanced_accuracy": theirs.balanced_accuracy_score(target, guess), "mcc": theirs.matthews_corrcoef(target, guess),
        "kappa": theirs.cohen_kappa_score(target, guess), "sensitivity": theirs.recall_score(target, guess, pos_label="c1"),
        "specificity": theirs.recall_score(target, guess, pos_label="c0"), "log_loss": theirs.log_loss(target, table["probabilities"]),
        "brier": 2 * theirs.brier_score_loss(target == "c1", score), "auroc": theirs.roc_auc_score(target, score),
        "average_precision": theirs.average_precision_score(target, score, pos_label="c1"),
    }  # fmt: skip
    assert {name: one["value"] for name, one in run.metrics.items()} == pytest.approx(expected)
    assert all(one["low"] < one["value"] < one["high"] for one in run.metrics.values())
    assert run.metrics["auroc"]["method"] == "DeLong, logit scale"
    assert run.metrics["sensitivity"]["n"] == (target == "c1").sum()
    assert "positive class: 'c1', the second of the two" in run.scores["rules"]
    assert run.scores["headline"] == "accuracy" and run.scores["kind"] == "classes" and "n = 120" in repr(run)


def test_several_classes_have_means_over_classes_and_each_classs_own() -> None:
    table = stated(150, 4)
    target = np.array(table["target"])
    run = evaluate_predictions(table, "multi-class")
    areas = {f"c{i}": theirs.roc_auc_score(target == f"c{i}", table["probabilities"][:, i]) for i in range(4)}
    assert {name: one["auroc"]["value"] for name, one in run.scores["per_class"].items()} == pytest.approx(areas)
    macro = theirs.roc_auc_score(target, table["probabilities"], multi_class="ovr", average="macro")
    assert run.metrics["macro_auroc"]["value"] == pytest.approx(macro)
    assert not any("/" in name for name in run.metrics) and "sensitivity" not in run.metrics
    roc = {one["class"]: one for one in run.scores["curves"]["roc"]}
    assert {name: one["auroc"] for name, one in roc.items()} == pytest.approx(areas)
    assert roc["c0"]["fpr"][0] == 0 and roc["c0"]["tpr"][-1] == 1


def test_options_in_another_order_or_classes_given_backwards_change_nothing_but_the_positive_class() -> None:
    table = stated(60, 2)
    turned = table | {
        "options": [["c1", "c0"] if i % 2 else ["c0", "c1"] for i in range(60)],
        "probabilities": [p[::-1] if i % 2 else p for i, p in enumerate(table["probabilities"].tolist())],
    }
    assert evaluate_predictions(turned, "binary").scores == evaluate_predictions(table, "binary").scores
    backwards = evaluate_predictions(table, "binary", classes=["c1", "c0"])
    assert (
        backwards.metrics["sensitivity"]["value"]
        == evaluate_predictions(table, "binary").metrics["specificity"]["value"]
    )


def test_the_letters_of_questions_are_not_scored_as_classes() -> None:
    run = evaluate_predictions(stated(40, 4), "multiple-choice")
    assert set(run.metrics) == {"accuracy", "macro_f1", "log_loss", "brier"}
    assert any("not classes that recur" in rule for rule in run.scores["rules"])
    assert run.scores["curves"] == {"roc": [], "pr": []}


def test_rows_with_their_own_options_have_no_auroc_and_it_says_why() -> None:
    table = stated(4, 3) | {
        "options": [["c0", "c1", "c2"]] * 3 + [["c0", "c1", "other"]],
        "target": ["c0", "c1", "c2", "c0"],
    }
    run = evaluate_predictions(table, "multi-class")
    assert "macro_auroc" not in run.metrics
    assert any("differ from row to row" in rule for rule in run.scores["rules"])


def test_an_absent_class_and_an_undefined_metric_are_named() -> None:
    table = {"id": range(3), "target": ["a", "a", "a"], "options": [["a", "b"]] * 3, "probabilities": [[0.9, 0.1]] * 3}
    run = evaluate_predictions(table, "binary")
    assert "auroc" not in run.metrics and "sensitivity" not in run.metrics and run.metrics["specificity"]["value"] == 1
    rules = " ".join(run.scores["rules"])
    assert (
        "classes without a target here: b" in rules and "not defined here and not given" in rules and "auroc" in rules
    )


def test_an_impossible_answer_has_a_finite_log_loss() -> None:
    table = {
        "id": range(2),
        "target": ["a", "b"],
        "options": [["a", "b"]] * 2,
        "probabilities": [[0.0, 1.0], [0.0, 1.0]],
    }
    assert evaluate_predictions(table, "binary").metrics["log_loss"]["value"] == pytest.approx(-np.log(2.0**-52) / 2)


def test_every_statistic_resamples_to_its_own_metric_of_the_drawn_rows() -> None:
    """For every metric of the kind: the value at counts is the value of a table of the drawn rows."""
    table = scoring.check_table(
        pa.table({**stated(60, 2), "probabilities": stated(60, 2)["probabilities"].tolist()}), "binary"
    )
    counts = np.random.default_rng(1).multinomial(60, np.full(60, 1 / 60), 2)
    whole = scoring.statistics_of(table, "binary")
    for i, one in enumerate(counts):
        again = scoring.statistics_of(table.take(np.repeat(np.arange(60), one)), "binary", ["c0", "c1"])
        found = {name: s.at(counts)[i] for name, s in whole.items()}
        assert found == pytest.approx({name: s.value for name, s in again.items()})


def test_selective_prediction_reads_the_highest_probability() -> None:
    table = stated(100, 3)
    found = evaluate_predictions(table, "multi-class").scores["selective"]
    matrix = table["probabilities"]
    order = np.argsort(-matrix.max(axis=1))
    wrong = np.array([f"c{i}" for i in matrix.argmax(axis=1)])[order] != np.array(table["target"])[order]
    assert found["risk"] == pytest.approx(np.cumsum(wrong) / np.arange(1, 101))
    assert found["aurc_low"] < found["aurc"] < found["aurc_high"]


@pytest.mark.parametrize("bad", [["a", "a"], ["a", None]])
def test_double_and_missing_options_are_refused(bad: list[Any]) -> None:
    table = {"id": ["x", "y"], "target": ["a", "a"], "options": [["a", "b"], bad], "probabilities": [[0.5, 0.5]] * 2}
    with pytest.raises(RunError, match="1 rows have a missing or double option: y"):
        evaluate_predictions(table, "binary")


# Ordinal --------------------------------------------------------------------------------------------------------------


def test_grades_in_their_order_have_quadratic_kappa() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 5, 80)
    guess = np.clip(target + rng.integers(-1, 2, 80), 0, 4)
    run = evaluate_predictions({"id": range(80), "target": target, "prediction": guess}, "ordinal")
    assert run.metrics["quadratic_kappa"]["value"] == pytest.approx(
        theirs.cohen_kappa_score(target, guess, weights="quadratic")
    )
    words = np.array(["none", "mild", "moderate", "severe", "worst"])
    named = {"id": range(80), "target": words[target].tolist(), "prediction": words[guess].tolist()}
    assert evaluate_predictions(named, "ordinal", classes=words.tolist()).metrics == run.metrics


def test_ten_grades_are_ordered_as_numbers_and_words_need_their_order() -> None:
    run = evaluate_predictions({"id": range(3), "target": [2, 10, 9], "prediction": [2, 10, 10]}, "ordinal")
    assert run.scores["classes"] == ["2", "9", "10"]
    with pytest.raises(RunError, match="needs the classes in their order"):
        evaluate_predictions({"id": range(2), "target": ["mild", "severe"], "prediction": ["mild", "mild"]}, "ordinal")


def test_an_unanswered_grade_counts_as_the_farthest_and_the_result_says_so() -> None:
    table = {"id": range(4), "target": [0, 1, 2, 0], "prediction": [0, 1, None, 0]}
    run = evaluate_predictions(table, "ordinal", classes=["0", "1", "2"])
    expected = theirs.cohen_kappa_score([0, 1, 2, 0], [0, 1, 0, 0], weights="quadratic")
    assert run.metrics["quadratic_kappa"]["value"] == pytest.approx(expected)
    assert "farthest" in run.metrics["quadratic_kappa"]["rule"]
    assert any("quadratic_kappa" in rule for rule in run.scores["rules"])


def test_questions_that_are_all_answered_by_a_letter_that_no_target_is_are_wrong_and_no_mistake_of_the_table() -> None:
    """Of few questions that is likely; a column of scores in the place of letters is still refused."""
    two = {"id": ["1", "2"], "target": ["A", "A"]}
    assert evaluate_predictions({**two, "prediction": ["B", None]}, "multiple-choice").metrics["accuracy"]["value"] == 0
    with pytest.raises(RunError, match="none of the predictions is one of the classes"):
        evaluate_predictions({**two, "prediction": ["0.31", "0.5"]}, "multiple-choice")


def test_of_equal_probabilities_the_first_option_is_the_answer_for_every_metric() -> None:
    """Predictions, and the right or wrong that calibration and selection look at."""
    table = {"id": ["1", "2"], "target": ["a", "a"], "options": [["a", "b"]] * 2, "probabilities": [[0.5, 0.5]] * 2}
    scores = evaluate_predictions(table, "multi-class").scores
    assert scores["metrics"]["accuracy"]["value"] == 1 and scores["selective"]["aurc"] == 0
    turned = evaluate_predictions({**table, "target": ["b", "b"]}, "multi-class").scores
    assert turned["metrics"]["accuracy"]["value"] == 0 and turned["selective"]["aurc"] == 1


def test_a_binary_task_has_two_classes_and_no_more() -> None:
    table = {"id": ["1", "2", "3"], "target": ["a", "b", "c"], "prediction": ["a", "b", "c"]}
    with pytest.raises(RunError, match="a binary task has two classes, these are 3: a, b, c; use multi-class"):
        evaluate_predictions(table, "binary")


def test_letters_of_options_are_no_classes_to_rank_or_weigh() -> None:
    """With probabilities of the same letters in every row: right or wrong, and how sure; nothing by letter."""
    found = evaluate_predictions(stated(40, 4), "multiple-choice")
    assert set(found.metrics) == {"accuracy", "macro_f1", "log_loss", "brier"}
    assert found.scores["per_class"] == {} and found.scores["curves"] == {"roc": [], "pr": []}
    assert any("no AUROC" in rule for rule in found.scores["rules"])

"""Tables of predictions made elsewhere: scored when sound, refused by row when not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import accuracy_score, f1_score

from healthfm import RunError, evaluate_predictions
from healthfm.score.statistics import bootstrap


def columns(n: int = 40, seed: int = 0, **more: Any) -> dict[str, Any]:
    """A sound table: n rows of yes, no or maybe, about half of them answered rightly."""
    rng = np.random.default_rng(seed)
    classes = np.array(["yes", "no", "maybe"])
    target = classes[rng.integers(0, 3, n)]
    guess = np.where(rng.random(n) < 0.5, target, classes[rng.integers(0, 3, n)])
    return {"id": [f"q{i}" for i in range(n)], "target": target.tolist(), "prediction": guess.tolist(), **more}


def likely(n: int = 40, seed: int = 0) -> dict[str, Any]:
    """The same with probabilities in place of predictions."""
    rng = np.random.default_rng(seed)
    rest = {key: value for key, value in columns(n, seed).items() if key != "prediction"}
    return {**rest, "options": [["yes", "no", "maybe"]] * n, "probabilities": rng.dirichlet(np.ones(3), n).tolist()}


def refusal(table: Mapping[str, Any] | pa.Table, task: str = "yes-no-maybe", **options: Any) -> str:
    with pytest.raises(RunError) as error:
        evaluate_predictions(table, task, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# Sound tables ---------------------------------------------------------------------------------------------------------


def test_predictions_alone_give_the_metrics_of_scikit_learn_with_intervals() -> None:
    table = columns()
    found = evaluate_predictions(table, "yes-no-maybe").metrics
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(table["target"], table["prediction"]))
    assert found["macro_f1"]["value"] == pytest.approx(f1_score(table["target"], table["prediction"], average="macro"))
    for one in found.values():
        assert one["low"] < one["value"] < one["high"] and one["n"] == 40 and one["level"] == 0.95
    assert found["accuracy"]["method"] == "Wilson score"
    assert "BCa" in found["macro_f1"]["method"]


def test_probabilities_give_predictions_and_calibration() -> None:
    table = likely()
    run = evaluate_predictions(table, "yes-no-maybe")
    best = [("yes", "no", "maybe")[int(np.argmax(p))] for p in table["probabilities"]]
    assert run.predictions["prediction"].to_pylist() == best
    assert run.metrics["accuracy"]["value"] == pytest.approx(accuracy_score(table["target"], best))
    one_hot = [[float(o == t) for o in ("yes", "no", "maybe")] for t in table["target"]]
    calibration = run.scores["calibration"]
    assert calibration["brier"] == pytest.approx(np.mean(np.sum((np.array(table["probabilities"]) - one_hot) ** 2, 1)))
    assert sum(one["n"] for one in calibration["bins"]) == 40


def test_options_may_differ_in_order_and_number_from_row_to_row() -> None:
    table = {
        "id": ["a", "b"], "target": ["C", "B"], "options": [["A", "B", "C"], ["B", "A"]],
        "probabilities": [[0.1, 0.2, 0.7], [0.9, 0.1]],
    }  # fmt: skip
    run = evaluate_predictions(table, "multiple-choice")
    assert run.predictions["prediction"].to_pylist() == ["C", "B"]
    assert run.metrics["accuracy"]["value"] == 1


def test_probabilities_as_a_matrix_are_read() -> None:
    table = likely()
    matrix = {**table, "probabilities": np.array(table["probabilities"])}
    assert evaluate_predictions(matrix, "yes-no-maybe").scores == evaluate_predictions(table, "yes-no-maybe").scores


def test_a_missing_prediction_counts_as_wrong_and_is_counted() -> None:
    table = {"id": ["a", "b", "c", "d"], "target": ["x", "x", "y", "y"], "prediction": ["x", None, "y", None]}
    run = evaluate_predictions(table, "multi-class")
    assert run.metrics["accuracy"]["value"] == 0.5
    assert run.scores["unanswered"] == 2
    assert run.scores["confusion"] == [[1, 0, 1], [0, 1, 1]]


def test_a_table_with_no_answer_at_all_is_scored_as_nothing_right() -> None:
    run = evaluate_predictions({"id": ["a", "b"], "target": ["x", "y"], "prediction": [None, None]}, "multi-class")
    assert run.metrics["accuracy"]["value"] == run.metrics["macro_f1"]["value"] == 0


def test_given_classes_order_the_confusion_counts_and_absent_ones_stay_out_of_macro_f1() -> None:
    table = {"id": ["a", "b", "c"], "target": ["x", "y", "y"], "prediction": ["x", "y", "x"]}
    run = evaluate_predictions(table, "multi-class", classes=["z", "y", "x"])
    assert run.scores["classes"] == ["z", "y", "x"]
    assert run.scores["confusion"] == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]]
    assert run.metrics["macro_f1"]["value"] == pytest.approx(2 / 3)


def test_the_majority_baseline_is_the_commonest_target() -> None:
    table = {"id": list("abcd"), "target": ["no", "yes", "no", "no"], "prediction": ["yes"] * 4}
    majority = evaluate_predictions(table, "yes-no-maybe").scores["majority"]
    assert majority == {"class": "no", "accuracy": 0.75, "n": 4}


def test_integer_ids_and_labels_are_taken_as_text() -> None:
    table = {"id": [3, 1, 2], "target": [0, 1, 10], "prediction": [0, 1, 1]}
    run = evaluate_predictions(table, "multi-class", classes=[0, 1, 10])  # type: ignore[list-item]
    assert run.predictions["id"].to_pylist() == ["3", "1", "2"]
    assert run.scores["classes"] == ["0", "1", "10"]
    assert run.metrics["accuracy"]["value"] == pytest.approx(2 / 3)


def test_integer_labels_that_a_gap_turned_into_floats_still_match() -> None:
    table = {"id": [1, 2, 3], "target": [0, 1, 1], "prediction": np.array([0.0, 1.0, math.nan])}
    run = evaluate_predictions(table, "multi-class")
    assert run.metrics["accuracy"]["value"] == pytest.approx(2 / 3)
    assert run.scores["unanswered"] == 1
    assert run.scores["classes"] == ["0", "1"]


def test_integer_options_are_calibrated_against_integer_targets() -> None:
    table = {"id": [1, 2], "target": [7, 8], "options": [[7, 8], [7, 8]], "probabilities": [[1.0, 0.0], [0.0, 1.0]]}
    run = evaluate_predictions(table, "multi-class")
    assert run.metrics["accuracy"]["value"] == 1
    assert run.scores["calibration"]["brier"] == run.scores["calibration"]["ece"] == 0


def test_a_pandas_frame_and_an_arrow_table_score_alike() -> None:
    pandas = pytest.importorskip("pandas")
    table = columns(**{"subgroup.site": ["a", None] * 20})
    whole = evaluate_predictions(pa.table(table), "yes-no-maybe").scores
    assert evaluate_predictions(pandas.DataFrame(table), "yes-no-maybe").scores == whole
    assert evaluate_predictions(table, "yes-no-maybe").scores == whole


def test_the_seed_decides_the_bootstrap() -> None:
    lows = [evaluate_predictions(columns(), "yes-no-maybe", seed=s).metrics["macro_f1"]["low"] for s in (1, 1, 2)]
    assert lows[0] == lows[1] != lows[2]


# Subgroups ------------------------------------------------------------------------------------------------------------


def test_each_subgroup_has_its_accuracy_and_small_ones_are_marked() -> None:
    table = columns(**{"subgroup.sex": ["f"] * 25 + ["m"] * 15})
    found = evaluate_predictions(table, "yes-no-maybe").scores["subgroups"]["sex"]
    assert [(one["group"], one["n"], one["too_few"]) for one in found] == [("f", 25, False), ("m", 15, True)]
    assert found[1]["value"] == pytest.approx(accuracy_score(table["target"][25:], table["prediction"][25:]))
    assert found[1]["low"] < found[1]["value"] < found[1]["high"]


@pytest.mark.parametrize("gap", [None, math.nan])
def test_rows_without_a_subgroup_value_are_in_no_group(gap: float | None) -> None:
    table = columns(**{"subgroup.age": [gap] * 10 + [60.0] * 30})
    found = evaluate_predictions(table, "yes-no-maybe").scores["subgroups"]["age"]
    assert [(one["group"], one["n"]) for one in found] == [("60", 30)]


def test_subgroups_resample_their_own_patients() -> None:
    table = columns(
        **{"subgroup.site": ["a"] * 20 + ["b"] * 20, "patient": [i // 2 for i in range(20)] + list(range(20, 40))}
    )
    one, other = evaluate_predictions(table, "yes-no-maybe").scores["subgroups"]["site"]
    assert "only 10 patients" in one["method"]
    assert other["method"] == "Wilson score"


# Patients -------------------------------------------------------------------------------------------------------------


def test_repeated_patients_are_resampled_whole() -> None:
    table = columns(200)
    alike = {key: [value for value in values for _ in range(4)] for key, values in table.items()}
    alike = {**alike, "id": list(range(800)), "patient": [i // 4 for i in range(800)]}
    independent = evaluate_predictions({k: v for k, v in alike.items() if k != "patient"}, "yes-no-maybe").metrics
    for name, one in evaluate_predictions(alike, "yes-no-maybe").metrics.items():
        assert "patient-clustered" in one["method"]
        width = independent[name]["high"] - independent[name]["low"]
        assert (one["high"] - one["low"]) / width == pytest.approx(2, rel=0.15)  # sqrt(4)


def test_patients_with_one_row_each_leave_the_rows_independent() -> None:
    plain = evaluate_predictions(columns(), "yes-no-maybe").metrics
    assert evaluate_predictions(columns(patient=list(range(40))), "yes-no-maybe").metrics == plain


@pytest.mark.parametrize("gap", [None, math.nan])
def test_where_only_some_rows_have_a_patient_the_repeated_ones_still_cluster(gap: float | None) -> None:
    table = columns(60, patient=[gap] * 20 + [float(i // 4) for i in range(40)])
    for one in evaluate_predictions(table, "yes-no-maybe").metrics.values():
        assert "patient-clustered" in one["method"]
        assert "20 samples without a patient count as one patient each" in one["method"]
        assert "only 30 patients" in one["method"]


def test_a_patient_named_like_a_row_number_is_not_taken_for_a_row_without_patient() -> None:
    table = columns(4, patient=[None, "1", "0", "1"])
    assert "only 3 patients" in evaluate_predictions(table, "yes-no-maybe").metrics["accuracy"]["method"]


def test_many_patients_are_scored_in_bounded_time_and_memory() -> None:
    n = 6_000  # all resamples at once would be 2 x 240 MB of draws alone
    table = columns(n, patient=[i // 2 for i in range(n)])
    assert bootstrap.RESAMPLES * n // 2 > bootstrap.BLOCK
    found = evaluate_predictions(table, "yes-no-maybe").metrics["accuracy"]
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * math.sqrt(0.25 / n), rel=0.2)


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", ["id", "target", "prediction"])
def test_a_missing_column_is_named_with_those_that_are_there(gone: str) -> None:
    message = refusal({key: value for key, value in columns().items() if key != gone})
    assert f"lacks the columns {gone}" in message
    assert all(name in message for name in columns() if name != gone)


def test_probabilities_without_options_are_refused() -> None:
    assert "no options column" in refusal({key: value for key, value in likely().items() if key != "options"})


def test_an_unknown_task_is_refused_with_the_known_ones() -> None:
    message = refusal(columns(), "yes-no")
    assert "'yes-no'" in message and "yes-no-maybe" in message and "multi-class" in message


@pytest.mark.parametrize("task", ["yes-no-maybe", "multi-class"])
def test_an_empty_table_is_refused(task: str) -> None:
    assert refusal({"id": [], "target": [], "prediction": []}, task) == "the table has no rows"


@pytest.mark.parametrize("gap", [None, math.nan])
def test_rows_without_an_id_are_named_by_their_number(gap: float | None) -> None:
    assert refusal(columns(3, id=[1.0, gap, 3.0])).endswith("have no id: 2")


def test_rows_whose_id_occurred_before_are_named() -> None:
    assert refusal(columns(5, id=["a", "b", "a", "c", "b"])).endswith("have an id that occurred before: a, b")


def test_an_integer_id_that_equals_another_is_double() -> None:
    assert "occurred before: 7" in refusal(columns(3, id=[7, 8, 7]))


@pytest.mark.parametrize("gap", [None, math.nan])
def test_rows_without_a_target_are_named(gap: float | None) -> None:
    table = {"id": ["a", "b", "c"], "target": [1.0, gap, 0.0], "prediction": [1, 1, 0]}
    assert refusal(table, "multi-class").endswith("have no target: b")


@pytest.mark.parametrize(
    "bad", [[0.5, math.nan, 0.1], [0.5, math.inf, 0.1], [0.5, -math.inf, 0], [0.5, None, 0], [], None]
)
def test_rows_with_broken_probabilities_are_named(bad: Any) -> None:
    table = likely(4)
    table["probabilities"][2] = bad
    assert refusal(table).endswith("have NaN, infinite or missing probabilities: q2")


@pytest.mark.parametrize("bad", [[-3.2, -0.1, -7.0], [0.2, 1.7, 0.1]])
def test_scores_that_are_no_probabilities_are_refused(bad: list[float]) -> None:
    table = likely(4)
    table["probabilities"][1] = bad
    assert refusal(table).endswith("have probabilities outside 0 to 1: q1")


def test_rows_with_more_options_than_probabilities_are_named() -> None:
    table = likely(4)
    table["options"] = [["yes", "no", "maybe"]] * 3 + [["yes", "no", "maybe", "other"]]
    assert refusal(table).endswith("do not have as many options as probabilities: q3")


@pytest.mark.parametrize("bad", [[0.5] * 4, ["0.5"] * 4, [["a", "b", "c"]] * 4])
def test_probabilities_that_are_no_lists_of_numbers_are_refused(bad: list[Any]) -> None:
    assert "need a list in each row" in refusal({**likely(4), "probabilities": bad})


def test_options_that_are_no_lists_are_refused() -> None:
    assert "need a list in each row" in refusal({**likely(4), "options": ["yes no maybe"] * 4})


def test_a_target_or_prediction_that_is_not_among_the_options_is_named() -> None:
    table = likely(4)
    assert refusal({**table, "target": ["yes", "no", "perhaps", "no"]}).endswith(
        "target that is not among their options: q2"
    )
    guessed = {**table, "prediction": ["yes", "perhaps", None, "no"]}
    assert refusal(guessed).endswith("prediction that is not among their options: q1")


def test_labels_outside_the_given_classes_are_named() -> None:
    table = {"id": ["a", "b", "c"], "target": ["x", "y", "x"], "prediction": ["x", "y", "z"]}
    assert refusal(table, "multi-class", classes=["x", "z"]).endswith("target outside the classes x, z: b")
    assert refusal(table, "multi-class", classes=["x", "y"]).endswith("prediction outside the classes x, y: c")


def test_yes_no_maybe_knows_its_classes_without_being_told() -> None:
    table = {"id": ["a", "b"], "target": ["yes", "no"], "prediction": ["perhaps", "no"]}
    assert refusal(table).endswith("have a prediction outside the classes yes, no, maybe: a")
    found = evaluate_predictions({**table, "prediction": ["Yes", "no"]}, "yes-no-maybe").scores
    assert found["metrics"]["accuracy"]["value"] == 1
    assert found["classes"] == ["yes", "no", "maybe"]


def test_columns_that_differ_in_length_are_named_with_their_lengths() -> None:
    message = refusal(columns(5, id=["a", "b"]))
    assert "id 2" in message and "target 5" in message and "prediction 5" in message


def test_a_column_that_mixes_kinds_is_named_without_its_values() -> None:
    message = refusal(columns(3, note=["Mrs Smith", 3, {}]))
    assert "column note" in message and "Smith" not in message


@pytest.mark.parametrize(("bad", "shown"), [(5, "q0, q1, q2, q3, q4"), (7, "q0, q1, q2, q3, q4 and 2 more")])
def test_more_than_five_bad_rows_are_abbreviated_with_a_count(bad: int, shown: str) -> None:
    table = columns(12)
    table["target"] = [None] * bad + table["target"][bad:]
    assert refusal(table) == f"{bad} rows have no target: {shown}"


def test_a_refused_table_leaves_no_folder_behind(tmp_path: Path) -> None:
    refusal(columns(4, id=["a", "a", "b", "c"]), output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# What a reader must know ------------------------------------------------------------------------------------------------


def grouped(n: int = 400) -> dict[str, Any]:
    """A score that ranks the positives of ward a and knows nothing in ward b."""
    rng = np.random.default_rng(0)
    ill = rng.random(n) < 0.4
    ward = np.where(np.arange(n) % 4 == 0, "b", "a")
    p = np.clip(np.where(ward == "a", 0.3 + 0.4 * ill, 0.5) + rng.normal(0, 0.12, n), 0.01, 0.99)
    return {
        "id": [str(i) for i in range(n)], "target": np.where(ill, "ill", "well").tolist(), "options": [["well", "ill"]] * n,
        "probabilities": [[1 - one, one] for one in p.tolist()], "subgroup.ward": ward.tolist(),
    }  # fmt: skip


def test_subgroups_carry_auroc_and_sensitivity_with_intervals(tmp_path: Path) -> None:
    from sklearn.metrics import recall_score, roc_auc_score

    table = grouped()
    run = evaluate_predictions(table, "binary", classes=["well", "ill"], output=tmp_path / "run")
    rows = {one["group"]: one for one in run.scores["subgroups"]["ward"]}
    for ward, one in rows.items():
        inside = [i for i, w in enumerate(table["subgroup.ward"]) if w == ward]
        truth = [table["target"][i] == "ill" for i in inside]
        score = [table["probabilities"][i][1] for i in inside]
        beside = one["beside"]
        assert set(beside) == {"auroc", "sensitivity", "specificity"}
        assert beside["auroc"]["value"] == pytest.approx(roc_auc_score(truth, score))
        assert beside["sensitivity"]["value"] == pytest.approx(recall_score(truth, [s > 0.5 for s in score]))
        assert all(cell["low"] <= cell["value"] <= cell["high"] for cell in beside.values())
    assert rows["b"]["beside"]["auroc"]["gap_high"] < 0
    page = run.report().read_text()
    said = "It is not the same for everyone, by ward: "
    assert page.count(said) == 2 and "; auroc in b is 0." in page  # beside the headline, and among the limits
    assert "Ranking and finding by ward" in page


def test_groups_that_may_be_alike_are_not_called_apart(tmp_path: Path) -> None:
    table = grouped()
    table["subgroup.ward"] = np.random.default_rng(5).choice(["a", "b"], 400).tolist()
    run = evaluate_predictions(table, "binary", classes=["well", "ill"], output=tmp_path / "run")
    assert "not the same for everyone" not in run.report().read_text()


def test_one_answer_to_nearly_all_is_said() -> None:
    from healthfm.score.sentences import headline_notes

    targets = ["yes", "no"] * 20
    table = {"id": [str(i) for i in range(40)], "target": targets, "prediction": ["yes"] * 39 + ["no"]}
    [note] = [n for n in headline_notes(evaluate_predictions(table, "multi-class")) if n.startswith("one answer")]
    assert "39 of 40 rows got 'yes', which is right for 20" in note
    for fine in (targets, ["yes"] * 30 + ["no"] * 10):
        assert not any(n.startswith("one answer") for n in headline_notes(evaluate_predictions({**table, "prediction": fine}, "multi-class")))  # fmt: skip
    rare = {**table, "target": ["yes"] * 39 + ["no"]}
    assert not any(n.startswith("one answer") for n in headline_notes(evaluate_predictions(rare, "multi-class")))


@pytest.mark.parametrize("classes", [None, ["0", "1"]])
def test_predictions_none_of_which_is_a_class_are_refused_with_what_was_meant(classes: list[str] | None) -> None:
    table = {"id": ["a", "b", "c"], "target": [0, 1, 1], "prediction": [0.2, 0.71, 0.93]}
    with pytest.raises(
        RunError, match=r"none of the predictions is one of the classes 0, 1; .* --columns probability\.1=COLUMN"
    ):
        evaluate_predictions(table, "binary", classes=classes)
    words = {**table, "prediction": ["neg", "pos", "pos"]}
    with pytest.raises(RunError, match="none of the predictions is one of the classes 0, 1; name the column"):
        evaluate_predictions(words, "binary", classes=classes)

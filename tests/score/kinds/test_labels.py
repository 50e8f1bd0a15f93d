"""Tables of any of several classes a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as theirs

from healthfm import RunError, evaluate_predictions, load_run
from healthfm.score import scoring

NAMES = ["edema", "fracture", "nodule"]
IVTMETRICS = {
    "ap_ivt": 0.6391895141895142, "ap_i": 0.6305770287913145, "ap_v": 0.5901328334364049, "ap_t": 0.6489703583453584,
    "ap_iv": 0.6087698412698412, "ap_it": 0.6520047412904556,
}  # fmt: skip  # with NaN for what a video has not, as scikit-learn gave it when the package was written


def matrices(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random((n, 3)) < [0.5, 0.2, 0.35]
    return truth, np.round(1 / (1 + np.exp(-(rng.standard_normal((n, 3)) + 2 * truth - 1))), 2)


def names(matrix: np.ndarray) -> list[list[str]]:
    return [[NAMES[i] for i in np.flatnonzero(row)] for row in matrix]


def table(n: int = 90, **more: Any) -> dict[str, Any]:
    truth, scores = matrices(n)
    return {
        "id": [f"s{i}" for i in range(n)],
        "target": names(truth),
        "options": [NAMES] * n,
        "probabilities": scores,
    } | more


def test_the_metrics_are_scikit_learns() -> None:
    truth, scores = matrices()
    guess = scores >= 0.5
    run = evaluate_predictions(table(), "multi-label")
    expected = {
        "macro_f1": theirs.f1_score(truth, guess, average="macro"), "micro_f1": theirs.f1_score(truth, guess, average="micro"),
        "subset_accuracy": theirs.accuracy_score(truth, guess), "macro_auroc": theirs.roc_auc_score(truth, scores),
        "macro_average_precision": theirs.average_precision_score(truth, scores),
        "sample_f1": theirs.f1_score(truth, guess, average="samples", zero_division=1),
    }  # fmt: skip
    assert {name: one["value"] for name, one in run.metrics.items()} == pytest.approx(expected)
    assert run.scores["headline"] == "macro_auroc" and run.scores["classes"] == NAMES
    for i, name in enumerate(NAMES):
        own = {metric: one["value"] for metric, one in run.scores["per_class"][name].items()}
        assert own == pytest.approx({
            "f1": theirs.f1_score(truth[:, i], guess[:, i]), "auroc": theirs.roc_auc_score(truth[:, i], scores[:, i]),
            "average_precision": theirs.average_precision_score(truth[:, i], scores[:, i]),
        })  # fmt: skip
        assert run.scores["per_class"][name]["auroc"]["method"] == "DeLong, logit scale"


def test_predictions_alone_have_f1_and_a_threshold_is_not_spoken_of() -> None:
    truth, scores = matrices()
    run = evaluate_predictions(
        {"id": range(90), "target": names(truth), "prediction": names(scores >= 0.3)}, "multi-label"
    )
    assert (
        set(run.metrics) == {"macro_f1", "micro_f1", "subset_accuracy", "sample_f1"}
        and run.scores["headline"] == "macro_f1"
    )
    assert run.metrics["micro_f1"]["value"] == pytest.approx(theirs.f1_score(truth, scores >= 0.3, average="micro"))
    assert not any("0.5" in rule for rule in run.scores["rules"])


def test_a_tables_own_predictions_win_over_the_threshold() -> None:
    truth, scores = matrices()
    run = evaluate_predictions(table(prediction=names(scores >= 0.3)), "multi-label")
    assert run.metrics["micro_f1"]["value"] == pytest.approx(theirs.f1_score(truth, scores >= 0.3, average="micro"))


@pytest.mark.parametrize("policy", ["ignore", "positive", "negative"])
def test_uncertain_labels_follow_the_named_rule(policy: str) -> None:
    truth, scores = matrices()
    open_ = (np.random.default_rng(1).random(truth.shape) < 0.2) & ~truth
    run = evaluate_predictions(table(uncertain=names(open_)), "multi-label", uncertain=policy)
    for i, name in enumerate(NAMES):
        rows = ~open_[:, i] if policy == "ignore" else np.ones(90, bool)
        side = truth[:, i] | (open_[:, i] if policy == "positive" else False)
        own = run.scores["per_class"][name]
        assert own["auroc"]["value"] == pytest.approx(theirs.roc_auc_score(side[rows], scores[rows, i]))
        assert own["average_precision"]["value"] == pytest.approx(
            theirs.average_precision_score(side[rows], scores[rows, i])
        )
        assert own["f1"]["value"] == pytest.approx(theirs.f1_score(side[rows], scores[rows, i] >= 0.5))
        assert own["auroc"]["n"] == rows.sum()
    assert any(rule.startswith(f"uncertain labels ({open_.sum()})") for rule in run.scores["rules"])


def test_the_rule_for_uncertain_labels_is_kept_with_the_run(tmp_path: Any) -> None:
    open_ = [["nodule"] if "nodule" not in row else [] for row in table()["target"]]
    run = evaluate_predictions(table(uncertain=open_), "multi-label", uncertain="positive", output=tmp_path)
    assert load_run(tmp_path).scores == run.scores
    assert run.scores != evaluate_predictions(table(uncertain=open_), "multi-label").scores
    with pytest.raises(RunError, match=r"no rule 'guess'.*ignore, positive, negative"):
        evaluate_predictions(table(), "multi-label", uncertain="guess")


def test_a_class_without_positives_stays_out_of_the_means_and_is_named() -> None:
    wide = table() | {
        "options": [[*NAMES, "other"]] * 90,
        "probabilities": np.hstack([matrices()[1], np.full((90, 1), 0.1)]),
    }
    run = evaluate_predictions(wide, "multi-label")
    truth, scores = matrices()
    assert run.metrics["macro_auroc"]["value"] == pytest.approx(theirs.roc_auc_score(truth, scores))
    assert "auroc" not in run.scores["per_class"].get("other", {})
    assert any("classes without a positive here: other" in rule for rule in run.scores["rules"])


def test_a_missing_answer_is_wrong_and_counted() -> None:
    run = evaluate_predictions({"id": [1, 2], "target": [["a"], []], "prediction": [None, None]}, "multi-label")
    assert run.scores["unanswered"] == 2 and run.metrics["subset_accuracy"]["value"] in (0, 0.5)


def test_every_statistic_resamples_to_its_own_metric_of_the_drawn_rows() -> None:
    whole = scoring.check_table(pa.table(table() | {"probabilities": matrices()[1].tolist()}), "multi-label")
    counts = np.random.default_rng(1).multinomial(90, np.full(90, 1 / 90), 2)
    for i, one in enumerate(counts):
        again = scoring.statistics_of(whole.take(np.repeat(np.arange(90), one)), "multi-label", NAMES)
        found = {name: s.at(counts)[i] for name, s in scoring.statistics_of(whole, "multi-label").items()}
        assert found == pytest.approx({name: s.value for name, s in again.items()})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": [["edema"], None, []]}, "1 rows have no target: b"),
        ({"target": [["edema"], ["edema", "edema"], []]}, "1 rows have a value twice in target: b"),
        ({"target": [["edema"], ["gout"], []]}, "1 rows have a target that is not among their options: b"),
        ({"target": ["edema", "edema", "edema"]}, "the column target needs a list in each row"),
        ({"id": ["a", "b", "a"]}, "1 rows have an id that occurred before: a"),
        ({"probabilities": [[0.1, 0.2], [0.1, float("nan")], [0.5, 0.5]]}, "1 rows have NaN, infinite or missing probabilities: b"),
        ({"probabilities": [[0.1, 0.2], [0.1, 1.5], [0.5, 0.5]]}, "1 rows have probabilities outside 0 to 1: b"),
        ({"options": [["edema", "nodule"], ["edema", "gout"], ["nodule", "edema"]]}, "1 rows do not speak of the same classes as the first row: b"),
        ({"uncertain": [["edema"], [], []]}, "1 rows have a class both in target and in uncertain: a"),
        ({"uncertain": [["gout"], [], []]}, "1 rows have a class in uncertain that is not one of edema, nodule: a"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_named(change: dict[str, Any], message: str) -> None:
    sound = {
        "id": ["a", "b", "c"], "target": [["edema"], [], ["nodule"]], "options": [["edema", "nodule"]] * 3,
        "probabilities": [[0.9, 0.2], [0.1, 0.3], [0.5, 0.5]],
    }  # fmt: skip
    with pytest.raises(RunError) as error:
        evaluate_predictions(sound | change, "multi-label", classes=["edema", "nodule"])
    assert str(error.value) == message


def test_a_table_that_names_no_class_is_refused_unless_they_are_given() -> None:
    table = {"id": ["a", "b"], "target": [[], []], "prediction": [[], []]}
    with pytest.raises(RunError, match="no row names a class"):
        evaluate_predictions(table, "multi-label")
    assert evaluate_predictions(table, "multi-label", classes=["x"]).metrics["subset_accuracy"]["value"] == 1


def test_triplets_and_their_parts_are_scored_video_by_video_as_ivtmetrics() -> None:
    """Six triplets of two videos; the expected values are those of ivtmetrics 0.1.5 (``compute_video_AP``), whose maps say which part is whose."""
    triplets = ["grasper,grasp,gallbladder", "grasper,retract,gallbladder", "hook,dissect,gallbladder", "hook,dissect,omentum", "clipper,clip,cystic_duct", "hook,retract,omentum"]  # fmt: skip
    rng = np.random.default_rng(7)
    truth = rng.random((24, 6)) < 0.3
    truth[:12, 4] = False  # no clip in the first video: it says nothing of clips
    scores = np.round(0.6 * rng.random((24, 6)) + 0.4 * truth * rng.random((24, 6)), 2)
    made = {
        "id": [str(i) for i in range(24)], "patient": ["VID01"] * 12 + ["VID02"] * 12, "options": [triplets] * 24, "probabilities": scores,
        "target": [[triplets[i] for i in np.flatnonzero(row)] for row in truth],
    }  # fmt: skip
    run = evaluate_predictions(made, "surgical-triplets")
    assert {name: one["value"] for name, one in run.metrics.items()} == pytest.approx(IVTMETRICS, abs=1e-12)
    assert run.scores["headline"] == "ap_ivt" and "patient-clustered" in run.metrics["ap_ivt"]["method"]
    with pytest.raises(RunError, match="no instrument,verb,target"):
        evaluate_predictions(table(), "surgical-triplets")
    with pytest.raises(RunError, match="which names the video"):
        evaluate_predictions({name: one for name, one in made.items() if name != "patient"}, "surgical-triplets")

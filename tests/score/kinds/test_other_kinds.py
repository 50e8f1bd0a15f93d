"""Tables of numbers, written answers, ranked lists and likelihoods."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from lm_eval.api import metrics as lm_eval
from scipy import stats
from sklearn import metrics as theirs

from healthfm import RunError, evaluate_predictions
from healthfm.score import scoring
from healthfm.score.sentences import headline_notes

NUMBERS = {"id": ["a", "b", "c"], "target": [1.0, 2.0, 3.0], "prediction": [1.5, 2.0, 2.0]}
ANSWERS = {
    "id": ["a", "b", "c"],
    "target": [["aspirin"], ["the heart", "heart"], ["no"]],
    "output": ["Aspirin.", "A large heart", None],
}
LISTS = {"id": ["a", "b"], "target": [["d1"], ["d2", "d3"]], "ranking": [["d2", "d1"], ["d3", "d1", "d2"]]}
TEXTS = {"id": ["a", "b"], "log_likelihood": [-20.0, -100.0], "tokens": [8, 30], "words": [5, 20], "bytes": [30, 110]}
SOUND: dict[str, dict[str, Any]] = {
    "regression": NUMBERS,
    "free-text": ANSWERS,
    "retrieval": LISTS,
    "perplexity": TEXTS,
}


def test_numbers_have_the_metrics_of_scikit_learn_and_scipy() -> None:
    rng = np.random.default_rng(0)
    x = np.round(rng.standard_normal(80), 1)
    y = np.round(x + rng.standard_normal(80), 1)
    run = evaluate_predictions({"id": range(80), "target": x, "prediction": y}, "regression")
    concordant = np.sign(x[:, None] - x) * np.sign(y[:, None] - y)
    known = x[:, None] != x
    expected = {
        "mae": theirs.mean_absolute_error(x, y), "rmse": theirs.root_mean_squared_error(x, y), "r2": theirs.r2_score(x, y),
        "pearson": stats.pearsonr(x, y)[0], "spearman": stats.spearmanr(x, y)[0], "c_index": ((concordant + 1) / 2)[known].mean(),
        "bias": (y - x).mean(), "agreement_low": (y - x).mean() - 1.96 * (y - x).std(ddof=1), "agreement_high": (y - x).mean() + 1.96 * (y - x).std(ddof=1),
    }  # fmt: skip
    assert {name: one["value"] for name, one in run.metrics.items()} == pytest.approx(expected)
    assert all(one["low"] < one["value"] < one["high"] and "BCa" in one["method"] for one in run.metrics.values())
    assert run.scores["headline"] == "mae" and run.scores["confusion"] is None


def test_numbers_without_a_prediction_are_left_out_and_said() -> None:
    table = {"id": range(4), "target": [1, 2, 3, 4], "prediction": [1.5, None, 2.0, math.nan]}
    run = evaluate_predictions(table, "regression")
    assert run.metrics["mae"]["value"] == pytest.approx(0.75) and run.metrics["mae"]["n"] == 2
    assert run.scores["unanswered"] == 2 and any("2 rows without a prediction" in rule for rule in run.scores["rules"])
    with pytest.raises(RunError, match="no row has a prediction"):
        evaluate_predictions(table | {"prediction": [None] * 4}, "regression")


def test_equal_numbers_have_no_correlation_and_it_is_said() -> None:
    run = evaluate_predictions({"id": range(3), "target": [2, 2, 2], "prediction": [1, 2, 3]}, "regression")
    assert set(run.metrics) == {"mae", "rmse", "bias", "agreement_low", "agreement_high"}
    assert any("not defined" in rule and "pearson" in rule and "c_index" in rule for rule in run.scores["rules"])


def test_written_answers_have_overlap_metrics_and_the_caution() -> None:
    run = evaluate_predictions(ANSWERS, "free-text")
    assert set(run.metrics) == {
        "exact_match", "token_f1", "exact_match_squad", "token_f1_squad", "rouge_1", "rouge_2", "rouge_l",
        "closed_accuracy", "open_exact_match", "open_token_f1", "open_token_recall",  # one of the three accepts no alone
    }  # fmt: skip
    assert any("no accepted answer has four" in rule for rule in run.scores["rules"])
    assert run.metrics["exact_match"]["value"] == run.metrics["exact_match_squad"]["value"] == pytest.approx(1 / 3)
    assert run.metrics["token_f1"]["value"] == pytest.approx((1 + 1 / 2 + 0) / 3)  # "a" counts
    assert run.metrics["token_f1_squad"]["value"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert any("none of them measures clinical correctness" in rule for rule in run.scores["rules"])
    assert run.scores["unanswered"] == 1


WRITTEN = [
    ("患者应当每天服用阿司匹林", "患者应当每天服用阿司匹林"), ("急性阑尾炎です", "阑尾炎です"), ("発熱。", "发热"), ("ปวดหัว", "ปวดหัว"),
    ("артериальная гипертензия", "Артериальная гипертензия."), ("1.5 mg", "15 mg"), ("hepatitis A", "hepatitis"), ("...", "!"),
]  # fmt: skip


def test_word_for_word_right_answers_score_1_in_any_script_and_the_rule_is_said() -> None:
    target, output = zip(*WRITTEN, strict=True)
    table = {"id": range(len(WRITTEN)), "target": [[one] for one in target], "output": target}
    for rows in (slice(0, 3), slice(3, 5), slice(0, 5)):
        found = evaluate_predictions({name: list(column)[rows] for name, column in table.items()}, "free-text").metrics
        names = {"exact_match", "token_f1", "bleu", "rouge_1", "rouge_l"} & set(found)
        assert {found[name]["value"] for name in names} == {1.0} and (
            "bleu" in names or (rows.start == 3 and rows.stop == 5)
        )
    run = evaluate_predictions(table | {"output": output}, "free-text")
    assert run.metrics["exact_match"]["value"] == pytest.approx(3 / 8)
    said = run.scores["rules"]
    assert any(one.startswith("what counts in an answer") for one in said)
    assert any("are a word each in 4 of 8 of the rows" in one for one in said)
    assert any("1 row accepts nothing but punctuation" in one for one in said)
    notes = headline_notes(run)
    assert any(one.startswith("what counts in an answer") for one in notes) and any(
        "scripts without blanks" in one for one in notes
    )


def test_a_parsed_answer_wins_over_the_output_and_a_judge_is_the_headline() -> None:
    table = ANSWERS | {"prediction": ["heart", None, "no"], "judge": [0.5, None, 1.0]}
    run = evaluate_predictions(table, "free-text")
    assert run.predictions["prediction"].to_pylist() == ["heart", "A large heart", "no"]
    assert run.metrics["judge"]["value"] == pytest.approx(0.75) and run.metrics["judge"]["n"] == 2
    assert run.scores["headline"] == "judge" and any(
        "1 row has no judge's score" in rule for rule in run.scores["rules"]
    )


def test_ranked_lists_have_recall_reciprocal_rank_and_ndcg() -> None:
    run = evaluate_predictions(LISTS, "retrieval")
    found = {name: one["value"] for name, one in run.metrics.items()}
    second = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    assert found == pytest.approx({
        "recall_1": 0.25, "recall_5": 1, "recall_10": 1, "mrr": 0.75, "ndcg_10": (1 / math.log2(3) + second) / 2,
    })  # fmt: skip


def test_likelihoods_have_lm_evals_perplexities() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(5, 50, 30)
    octets, likely = words * 6, -words * rng.uniform(2, 5, 30)
    run = evaluate_predictions(
        {"id": range(30), "log_likelihood": likely, "tokens": words * 2, "words": words, "bytes": octets}, "perplexity"
    )
    expected = {
        "word_perplexity": lm_eval.weighted_perplexity(list(zip(likely, words, strict=True))),
        "byte_perplexity": lm_eval.weighted_perplexity(list(zip(likely, octets, strict=True))),
        "bits_per_byte": lm_eval.bits_per_byte(list(zip(likely, octets, strict=True))),
    }
    assert {name: one["value"] for name, one in run.metrics.items()} == pytest.approx(expected)
    assert run.scores["tokens"] == words.sum() * 2


def test_lm_eval_has_the_same_accuracy_mcc_f1_and_bleu_on_the_same_predictions() -> None:
    rng = np.random.default_rng(0)
    target, guess = rng.integers(0, 2, 60), rng.integers(0, 2, 60)
    found = evaluate_predictions({"id": range(60), "target": target, "prediction": guess}, "binary").metrics
    pairs = list(zip(target, guess, strict=True))
    assert found["mcc"]["value"] == pytest.approx(lm_eval.matthews_corrcoef(pairs))
    assert found["accuracy"]["value"] == pytest.approx(lm_eval.mean(target == guess))
    written = [
        ("a small pleural effusion", "small left pleural effusion"),
        ("no fracture is seen here", "no fracture is seen there"),
    ]
    table = {"id": range(2), "target": [[one] for one, _ in written], "output": [other for _, other in written]}
    bleu = evaluate_predictions(table, "free-text").metrics["bleu"]["value"]
    assert 100 * bleu == pytest.approx(lm_eval.bleu([([one], other) for one, other in written]))


@pytest.mark.parametrize("task", SOUND)
def test_every_statistic_resamples_to_its_own_metric_of_the_drawn_rows(task: str) -> None:
    table = scoring.check_table(pa.table(SOUND[task]), task)
    n = table.num_rows
    counts = np.array([[2] * n, [1] * (n - 1) + [3]])
    for i, one in enumerate(counts):
        again = scoring.statistics_of(table.take(np.repeat(np.arange(n), one)), task)
        found = {name: s.at(counts)[i] for name, s in scoring.statistics_of(table, task).items()}
        assert found == pytest.approx({name: s.value for name, s in again.items()})


@pytest.mark.parametrize("task", SOUND)
def test_patients_make_every_interval_clustered_and_groups_have_the_headline(task: str) -> None:
    n = len(SOUND[task]["id"])
    table = {key: [*values, *values] for key, values in SOUND[task].items()}
    table |= {"id": range(2 * n), "patient": [i % n for i in range(2 * n)], "subgroup.site": ["x"] * n + ["y"] * n}
    run = evaluate_predictions(table, task)
    assert all("patient-clustered" in one["method"] for one in run.metrics.values())
    x, y = run.scores["subgroups"]["site"]
    assert x["metric"] == run.scores["headline"] and x["too_few"]
    assert x["value"] == pytest.approx(y["value"]) and x["gap"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("regression", {"target": [1.0, None, 3.0]}, "1 rows have no target: b"),
        ("regression", {"target": [1.0, math.nan, 3.0]}, "1 rows have no target: b"),
        ("regression", {"target": [1.0, math.inf, 3.0]}, "1 rows have an infinite target: b"),
        ("regression", {"prediction": ["1", "Smith", "3"]}, "1 rows have a prediction that is no number: b"),
        ("regression", {"prediction": [[1], [2], [3]]}, "the column prediction needs a number in each row"),
        ("regression", {"id": ["a", "b", "b"]}, "1 rows have an id that occurred before: b"),
        ("free-text", {"target": [["x"], [], ["y"]]}, "1 rows have no accepted answer: b"),
        ("free-text", {"target": [["x"], None, ["y"]]}, "1 rows have no target: b"),
        ("free-text", {"id": ["a", None, "c"]}, "1 rows have no id: 2"),
        ("free-text", {"judge": [0.1, 7.0, None]}, "1 rows have a judge's score outside 0 to 1: b"),
        ("retrieval", {"target": [["d1"], []]}, "1 rows have nothing relevant in target: b"),
        ("retrieval", {"ranking": [["d1"], None]}, "1 rows have no ranking: b"),
        ("retrieval", {"ranking": [["d1"], ["d2", "d2"]]}, "1 rows have a value twice in ranking: b"),
        ("retrieval", {"id": ["a", "a"]}, "1 rows have an id that occurred before: a"),
        ("perplexity", {"log_likelihood": [-1.0, math.nan]}, "1 rows have no log_likelihood: b"),
        ("perplexity", {"log_likelihood": [-1.0, 0.5]}, "1 rows have a log_likelihood above 0: b"),
        ("perplexity", {"words": [3, 0]}, "1 rows have no whole positive number of words: b"),
        ("perplexity", {"bytes": [3, 2.5]}, "1 rows have no whole positive number of bytes: b"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_named_and_no_value_is_repeated(
    task: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunError) as error:
        evaluate_predictions(SOUND[task] | change, task)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("task", "column"),
    [("regression", "prediction"), ("retrieval", "ranking"), ("perplexity", "bytes"), ("free-text", "output")],
)
def test_a_missing_column_is_named(task: str, column: str) -> None:
    table = {key: values for key, values in SOUND[task].items() if key != column}
    with pytest.raises(RunError, match=f"lacks .*{column}.*it has id"):
        evaluate_predictions(table, task)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("patients", [False, True])
@pytest.mark.parametrize("task", [*SOUND, "binary", "multi-label", "ordinal"])
def test_tables_of_one_or_two_rows_give_finite_numbers_only(task: str, patients: bool, rows: int) -> None:
    likely = {"options": [["0", "1"]] * 2, "probabilities": [[0.7, 0.3], [0.4, 0.6]]}
    sound = {
        **SOUND, "binary": {"id": ["a", "b"], "target": ["0", "1"], **likely}, "ordinal": {"id": ["a", "b"], "target": ["0", "1"], **likely},
        "multi-label": {"id": ["a", "b"], "target": [["0"], ["0", "1"]], **likely},
    }[task]  # fmt: skip
    table = {key: values[:rows] for key, values in sound.items()} | {"subgroup.sex": ["f", "m"][:rows]}
    table |= {"patient": ["p"] * rows} if patients else {}
    run = evaluate_predictions(table, task)
    json.dumps(run.scores, allow_nan=False)
    assert run.scores["headline"] in run.metrics


def test_closed_and_open_questions_are_told_apart() -> None:
    rows = [
        ("yes", "Yes, it is."), ("no", "There is no fracture"), ("no", "yes and no"), ("yes", None), ("left lung", "the left lung"), ("pleural effusion", "effusion, I think"),
        ("no enhancement", "no"),
    ]  # fmt: skip
    made = {"id": list("abcdefg"), "target": [[one] for one, _ in rows], "prediction": [one for _, one in rows]}
    run = evaluate_predictions(made, "free-text")
    assert (run.metrics["closed_accuracy"]["value"], run.metrics["closed_accuracy"]["n"]) == (0.5, 4)
    assert (
        run.metrics["open_exact_match"]["value"] == pytest.approx(1 / 3) and run.metrics["open_exact_match"]["n"] == 3
    )
    assert run.metrics["open_token_recall"]["value"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert any("4 that accept yes or no alone, the other 3 are open" in one for one in run.scores["rules"])
    assert (
        "closed_accuracy"
        not in evaluate_predictions({name: one[:4] for name, one in made.items()}, "free-text").metrics
    )

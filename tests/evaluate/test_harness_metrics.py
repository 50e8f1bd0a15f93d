"""lm-evaluation-harness's own metrics of the same predictions; its perplexities, MCC and BLEU stand in ``kinds/test_other_kinds``."""

from __future__ import annotations

from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
from lm_eval.api import metrics as harness
from lm_eval.api.task import ConfigurableTask

from healthfm import evaluate_predictions
from healthfm.evaluate import protocols, questions
from healthfm.records import MultipleChoice

OPTIONS = {"A": "yes", "B": "no, not at all", "C": "a third thing that takes long to say", "D": "it depends"}


@pytest.fixture(scope="module")
def likelihoods() -> np.ndarray:
    """Log-likelihoods of 60 questions' four options, as texts have them: longer ones are less likely."""
    rng = np.random.default_rng(0)
    return -np.array([len(one) for one in OPTIONS.values()]) * rng.uniform(0.2, 1.5, (60, 4))


@pytest.fixture(scope="module")
def theirs(likelihoods: np.ndarray) -> dict[str, float]:
    """What the harness makes of them, by its own task class and aggregations."""
    docs = [{"question": f"q{i}", "gold": i % 4} for i in range(len(likelihoods))]
    names = ("acc", "acc_norm", "brier_score")
    task = ConfigurableTask(config={
        "task": "here", "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(docs)}, "test_split": "test",
        "output_type": "multiple_choice", "doc_to_text": "{{question}}", "doc_to_target": "gold",
        "doc_to_choice": list(OPTIONS.values()), "metric_list": [{"metric": name} for name in names],
    })  # fmt: skip
    rows = [
        task.process_results(doc, [(one, False) for one in row])
        for doc, row in zip(docs, likelihoods.tolist(), strict=True)
    ]
    return {name: float(task.aggregation()[name]([row[name] for row in rows])) for name in names}


def found(likelihoods: np.ndarray) -> dict[str, Any]:
    """Ours: the table that a run of scored options writes."""
    asked = [
        MultipleChoice(id=f"q{i}", question="q", options=OPTIONS, answer="ABCD"[i % 4], split="test") for i in range(len(likelihoods))
    ]  # fmt: skip
    items = [protocols.Item(one, "q", tuple(OPTIONS), tuple(OPTIONS.values()), str(one.answer)) for one in asked]
    return dict(evaluate_predictions(questions.part_table(items, list(likelihoods), {}), "multiple-choice").metrics)


def test_accuracy_and_brier_score_of_scored_options_are_the_harnesss(
    likelihoods: np.ndarray, theirs: dict[str, float]
) -> None:
    ours = found(likelihoods)
    assert ours["accuracy"]["value"] == pytest.approx(theirs["acc"])
    assert ours["brier"]["value"] == pytest.approx(theirs["brier_score"])


def test_accuracy_by_length_is_the_harnesss_acc_norm_with_an_interval(
    likelihoods: np.ndarray, theirs: dict[str, float]
) -> None:
    ours = found(likelihoods)
    assert theirs["acc_norm"] != pytest.approx(theirs["acc"])
    assert ours["acc_norm"]["value"] == pytest.approx(theirs["acc_norm"])
    assert ours["acc_norm"]["low"] < theirs["acc_norm"] < ours["acc_norm"]["high"]
    assert ours["acc_norm"]["method"] == "Wilson score"
    assert list(ours)[:2] == ["accuracy", "acc_norm"]


def test_characters_count_not_bytes_and_no_delimiter() -> None:
    """Chinese options: three bytes a character. The harness divides by characters, and the delimiter is none of the option's."""
    options = {"A": "高血压", "B": "type 2 diabetes"}
    one = MultipleChoice(id="q", question="q", options=options, answer="A", split="test")
    item = protocols.Item(one, "q", tuple(options), tuple(" " + text for text in options.values()), "A")
    assert item.lengths == [3, 15]
    ours = evaluate_predictions(questions.part_table([item], [np.array([-6.0, -31.0])], {}), "multiple-choice").metrics
    assert ours["acc_norm"]["value"] == 1  # -2 a character against -2.07
    by_bytes = questions.part_table(
        [item], [np.array([-13.5, -30.0])], {}
    )  # -1.5 a byte, -4.5 a character; the other -2
    assert evaluate_predictions(by_bytes, "multiple-choice").metrics["acc_norm"]["value"] == 0


def test_letters_have_no_accuracy_by_length(likelihoods: np.ndarray) -> None:
    asked = [MultipleChoice(id=f"q{i}", question="q", options=OPTIONS, answer="A", split="test") for i in range(60)]
    items = [protocols.Item(one, "q", tuple(OPTIONS), tuple(" " + key for key in OPTIONS), "A") for one in asked]
    table = questions.part_table(items, list(likelihoods), {})
    assert "acc_norm" not in evaluate_predictions(table, "multiple-choice").metrics


def test_macro_f1_of_two_classes_is_the_mean_of_the_harnesss_f1_of_either() -> None:
    rng = np.random.default_rng(1)
    target, guess = rng.integers(0, 2, 80), rng.integers(0, 2, 80)
    ours = evaluate_predictions({"id": range(80), "target": target, "prediction": guess}, "binary").metrics
    either = [harness.f1_score(list(zip(a, b, strict=True))) for a, b in ((target, guess), (1 - target, 1 - guess))]
    assert ours["macro_f1"]["value"] == pytest.approx(np.mean(either))


def test_exact_match_is_the_harnesss_without_case_and_signs_and_drops_articles_too() -> None:
    accepted, written = ["left lung", "no", "aspirin", "heart"], ["Left lung.", "No!", "ibuprofen", "the heart"]
    table = pa.table({"id": range(4), "target": [[one] for one in accepted], "output": written})
    found = evaluate_predictions(table, "free-text").metrics
    ours = found["exact_match"]["value"]
    assert ours == found["exact_match_squad"]["value"]
    match = harness.exact_match_hf_evaluate
    assert match(written, accepted, ignore_case=True, ignore_punctuation=True)["exact_match"] == 0.5
    assert (
        ours == match(written, accepted, [r"\bthe "], ignore_case=True, ignore_punctuation=True)["exact_match"] == 0.75
    )

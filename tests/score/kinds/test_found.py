"""Things found in texts: mentions, tags, relations, sets. Held against seqeval's numbers; each edge has its rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from healthfm import RunError, evaluate_predictions
from tests.references.found_cases import SCHEMES, tags

THEIRS = json.loads((Path(__file__).parents[2] / "data/expected/found.json").read_text(encoding="utf-8"))


def span(start: int, end: int, of: str = "disease", **more: Any) -> dict[str, Any]:
    return {"start": start, "end": end, "type": of, **more}


def spans(target: list[Any], prediction: list[Any], **more: Any) -> dict[str, Any]:
    return {"id": [f"d{i}" for i in range(len(target))], "target": target, "prediction": prediction, **more}


def values(run: Any) -> dict[str, float]:
    return {name: one["value"] for name, one in run.metrics.items()}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tags_score_as_seqeval_reads_them_leniently_and_strictly(scheme: str) -> None:
    true, given = tags(scheme)
    run = evaluate_predictions(spans(true, given), "tagged-entities")
    for mode, prefix in (("lenient", ""), ("strict", "strict_")):
        theirs, ours = THEIRS["tags"][scheme][mode], values(run)
        for name, of in (("micro_precision", "precision"), ("micro_recall", "recall"), ("micro_f1", "f1-score")):
            assert ours[prefix + name] == pytest.approx(theirs["micro avg"][of])
        assert ours[f"{prefix}macro_f1"] == pytest.approx(theirs["macro avg"]["f1-score"])
    for kind in ("disease", "cell-line"):
        theirs = THEIRS["tags"][scheme]["lenient"][kind]
        found = run.scores["per_class"][kind]
        assert [found[name]["value"] for name in ("precision", "recall", "f1")] == pytest.approx(
            [theirs["precision"], theirs["recall"], theirs["f1-score"]]
        )
        assert run.scores["positives"][kind] == theirs["support"]
    assert any(f"scheme {scheme}" in rule for rule in run.scores["rules"])


def test_tags_of_no_scheme_and_of_another_length_are_refused_and_iob1_has_no_strict_reading() -> None:
    with pytest.raises(RunError, match=r"1 rows have a tag in prediction of no scheme .*: d0"):
        evaluate_predictions(spans([["O"]], [["X-disease"]]), "tagged-entities")
    with pytest.raises(RunError, match="1 rows have another number of tags in prediction than in target: d1"):
        evaluate_predictions(spans([["O"], ["B-x", "O"]], [["O"], ["O"]]), "tagged-entities")
    run = evaluate_predictions(spans([["I-x", "I-x", "O"]], [["I-x", "I-x", "O"]]), "tagged-entities")
    assert run.metrics["micro_f1"]["value"] == 1 and "strict_micro_f1" not in run.metrics
    assert any("IOB1" in rule for rule in run.scores["rules"])


def test_a_mention_counts_where_start_end_and_type_are_right_and_overlap_is_a_metric_of_its_own() -> None:
    target = [[span(0, 5), span(10, 20, "drug")], [span(3, 9)]]
    run = evaluate_predictions(
        spans(target, [[span(0, 5), span(12, 20, "drug")], [span(3, 9, "drug")]]), "named-entities"
    )
    found = values(run)
    assert (found["micro_precision"], found["micro_recall"], found["micro_f1"]) == pytest.approx((1 / 3,) * 3)
    assert found["overlap_f1"] == pytest.approx(2 / 3)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert run.scores["per_class"]["drug"]["precision"]["value"] == 0
    assert run.metrics["micro_f1"]["n"] == 2  # texts are what is resampled


def test_nested_mentions_and_mentions_in_pieces_are_not_lost() -> None:
    pieces = {"parts": [{"start": 0, "end": 6}, {"start": 11, "end": 16}]}
    target = [[span(0, 16, **pieces), span(7, 16), span(0, 16)]]
    every = evaluate_predictions(spans(target, target), "named-entities")
    assert every.scores["positives"] == {"disease": 3} and every.metrics["micro_f1"]["value"] == 1
    whole = evaluate_predictions(spans(target, [[span(0, 16), span(7, 16)]]), "named-entities")
    assert whole.metrics["micro_recall"]["value"] == pytest.approx(2 / 3)


def test_what_is_found_twice_counts_once_and_no_answer_found_nothing() -> None:
    run = evaluate_predictions(
        spans([[span(0, 4)], [span(1, 2)], []], [[span(0, 4), span(0, 4)], None, []]), "named-entities"
    )
    assert values(run)["micro_precision"] == 1 and values(run)["micro_recall"] == 0.5
    assert run.scores["unanswered"] == 1
    assert any("counts once (1 did)" in rule for rule in run.scores["rules"])


def test_where_nothing_is_anywhere_there_is_nothing_to_score_and_inventions_score_0() -> None:
    with pytest.raises(RunError, match="nothing to score"):
        evaluate_predictions(spans([[], []], [[], None]), "named-entities", classes=["disease"])
    run = evaluate_predictions(spans([[], []], [[span(0, 1)], []]), "named-entities", classes=["disease", "drug"])
    assert values(run)["micro_f1"] == 0 and "drug" not in {k for k, v in run.scores["per_class"].items() if "f1" in v}
    assert any("not defined here" in rule and "f1/drug" in rule for rule in run.scores["rules"])


def test_spans_that_are_none_are_refused_and_those_behind_the_text_are_inventions() -> None:
    for bad in (
        span(4, 4),
        span(-1, 3),
        {"start": 0, "end": 2},
        span(0, 9, parts=[{"start": 0, "end": 4}, {"start": 2, "end": 9}]),
    ):
        with pytest.raises(RunError, match=r"1 rows have .*: d0"):
            evaluate_predictions(spans([[span(0, 2)]], [[bad]]), "named-entities")
    with pytest.raises(RunError, match="1 rows have a span in target behind the end of the text: d0"):
        evaluate_predictions(spans([[span(0, 9)]], [[]], characters=[8]), "named-entities")
    run = evaluate_predictions(spans([[span(0, 2)]], [[span(0, 2), span(7, 9)]], characters=[8]), "named-entities")
    assert values(run)["micro_precision"] == 0.5
    assert any(rule.startswith("1 predicted span reaches behind") for rule in run.scores["rules"])


def test_a_named_mention_that_the_text_does_not_hold_is_an_invented_one() -> None:
    table = spans([[span(0, 2)]], [[span(0, 2)]], unplaced=[[{"text": "flu", "type": "disease"}]])
    run = evaluate_predictions(table, "named-entities")
    assert values(run)["micro_precision"] == 0.5 and values(run)["overlap_f1"] == pytest.approx(2 / 3)
    assert any("1 mention was named that the text does not hold" in rule for rule in run.scores["rules"])


def test_concepts_are_scored_with_their_mentions_and_by_text() -> None:
    target = [[span(0, 4, concepts=["D1"]), span(9, 20, concepts=["D2", "D3"]), span(30, 34)]]
    given = [[span(0, 4, concepts=["D1"]), span(9, 20, concepts=["D3"]), span(40, 44, concepts=["D2"]), span(30, 34)]]
    found = values(evaluate_predictions(spans(target, given), "named-entities"))
    assert (found["micro_precision"], found["micro_recall"]) == (3 / 4, 1)
    assert (found["linked_micro_precision"], found["linked_micro_recall"]) == (2 / 4, 2 / 3)
    assert (found["concept_micro_precision"], found["concept_micro_recall"]) == (1, 1)
    bare = evaluate_predictions(spans(target, [[span(0, 4)]]), "named-entities")
    assert "linked_micro_f1" not in bare.metrics and any(
        "no prediction names one" in rule for rule in bare.scores["rules"]
    )


def test_a_class_outside_the_declared_ones_is_refused() -> None:
    with pytest.raises(RunError, match="1 rows have a class in prediction that is not one of disease: d0"):
        evaluate_predictions(spans([[span(0, 2)]], [[span(0, 2, "drug")]]), "named-entities", classes=["disease"])


def test_intervals_resample_whole_documents_where_rows_are_sentences() -> None:
    target = [[span(0, 2)] for _ in range(60)]
    given = [[span(0, 2)] if i % 20 < 12 else [] for i in range(60)]
    apart = evaluate_predictions(spans(target, given), "named-entities").metrics["micro_recall"]
    together = evaluate_predictions(
        spans(target, given, patient=[str(i % 20) for i in range(60)]), "named-entities"
    ).metrics["micro_recall"]
    assert apart["value"] == together["value"] and "patients" in together["method"]
    assert together["high"] - together["low"] > 1.4 * (apart["high"] - apart["low"])


# Relations and sets -----------------------------------------------------------------------------------------------------


def relation(of: str, head: str, tail: str) -> dict[str, str]:
    return {"type": of, "head": head, "tail": tail}


def test_a_relation_counts_where_type_head_and_tail_are_right_in_this_direction() -> None:
    target = [[relation("effect", "a", "b"), relation("int", "a", "c")], [relation("effect", "x", "y")]]
    given = [[relation("effect", "a", "b"), relation("effect", "a", "b"), relation("int", "c", "a")], None]
    run = evaluate_predictions(spans(target, given), "relations")
    assert values(run)["micro_precision"] == 0.5 and values(run)["micro_recall"] == pytest.approx(1 / 3)
    assert run.scores["per_class"]["effect"]["recall"]["value"] == 0.5
    some = evaluate_predictions(spans(target, given), "relations", classes=["effect"])
    assert values(some)["micro_precision"] == 1 and values(some)["micro_recall"] == 0.5
    assert any(rule.startswith("relations of other types than effect are left out") for rule in some.scores["rules"])

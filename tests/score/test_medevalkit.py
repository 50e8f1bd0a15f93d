"""MedEvalKit's metrics beside ours on the same answers: equal where the rule is one; where its code is wrong, ours is not.

``tests/references/make_medevalkit.py`` ran its code; what it gave stands in ``medevalkit.json``. Its issue 30 reports two of these.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from healthfm import evaluate_predictions
from healthfm.evaluate.writing import stated_answer
from healthfm.score.metrics import text
from tests.references.medevalkit_cases import (
    DECISIONS,
    OTHER,
    PLAIN,
    REFUSALS,
    VISUAL,
    YES_NO,
    letters,
    questions,
)

THEIRS = json.loads((Path(__file__).parent.parent / "data/expected/medevalkit.json").read_text(encoding="utf-8"))
OPEN = dict(zip((*PLAIN, *OTHER), THEIRS["open"], strict=True))


def bleu(answer: str, written: str) -> float:
    return float(text.bleu(text.bleu_counts([written], [[answer]]).sum(0)))


def rouge(answer: str, written: str) -> list[float]:
    return [float(values[0]) for values in text.rouge([written], [[answer]]).values()]


@pytest.mark.parametrize("pair", PLAIN)
def test_overlap_with_one_answer_is_medevalkits_where_the_rules_are_the_same(pair: tuple[str, str]) -> None:
    (answer, written), theirs = pair, OPEN[pair]
    assert text.exact_match_squad(written, [answer]) == theirs["em"]
    assert text.token_f1_squad(written, [answer]) == pytest.approx(theirs["calculate_f1"][0])
    assert rouge(*pair) == pytest.approx([theirs[name] for name in ("rouge1", "rouge2", "rougel")], abs=1e-7)
    assert bleu(*pair) == pytest.approx(theirs["bleu4"], abs=1e-9)


def test_overlap_differs_by_design_in_signs_repeated_words_and_smoothing() -> None:
    sign, twice, shuffled = OTHER
    assert text.exact_match_squad(sign[1], [sign[0]]) == 1 != OPEN[sign]["em"]  # SQuAD's rule: no article, no full stop
    assert (
        text.token_f1_squad(twice[1], [twice[0]]) == pytest.approx(2 / 6) != OPEN[twice]["calculate_f1"][0]
    )  # words, not a set
    assert OPEN[twice]["calculate_f1"][0] == pytest.approx(2 / 5) == pytest.approx(OPEN[twice]["rouge1"])
    assert (
        OPEN[shuffled]["bleu4"] < 1e-9 < 0.1 < bleu(*shuffled)
    )  # sacrebleu's smoothing; theirs is 0 without four in a row


def test_f1_is_f1_where_medevalkit_reports_recall_under_that_name() -> None:
    pair = ("pleural effusion", "left pleural effusion")
    f1, precision, recall = OPEN[pair]["calculate_f1"]
    assert (f1, precision, recall) == pytest.approx((0.8, 2 / 3, 1))
    assert (OPEN[pair]["precision"], OPEN[pair]["recall"], OPEN[pair]["f1"]) == (
        f1,
        precision,
        recall,
    )  # unpacked in another order
    found = evaluate_predictions({"id": ["a"], "target": [[pair[0]]], "output": [pair[1]]}, "free-text").metrics
    assert found["token_f1"]["value"] == pytest.approx(0.8)


def test_an_empty_answer_scores_0_where_medevalkit_ends() -> None:
    assert THEIRS["open, nothing written"].startswith("ValueError: Hypothesis is empty")
    found = evaluate_predictions({"id": ["a"], "target": [["liver"]], "output": [""]}, "free-text").metrics
    assert {one["value"] for one in found.values()} == {0.0}


# Questions whose answer is one of several ------------------------------------------------------------------------------


def test_letters_in_five_forms_are_read_and_counted_as_medevalkit_does() -> None:
    asked = questions()
    read = [stated_answer(one, "ABCD") for one in letters(asked)]
    right = [one == question.answer for one, question in zip(read, asked, strict=True)]
    assert "".join(str(int(one)) for one in right) == THEIRS["medqa"]["correct"]
    table = {"id": [one.id for one in asked], "target": [one.answer for one in asked], "prediction": read}
    assert (
        evaluate_predictions(table, "multiple-choice-generated").metrics["accuracy"]["value"] == THEIRS["medqa"]["acc"]
    )


def test_a_refusal_is_no_answer_where_medevalkit_takes_the_most_similar_option() -> None:
    for refusal in REFUSALS:
        assert stated_answer(refusal, "ABCD") is None
        assert THEIRS["medqa refusals"][refusal] > 0.2  # of 1,273 questions, without one answer


def test_yes_and_no_are_words_where_medevalkit_finds_them_in_normal_and_know() -> None:
    read = [stated_answer(written, DECISIONS) == answer for answer, written in YES_NO]
    unlike = {pair[1] for pair, ours, theirs in zip(YES_NO, read, THEIRS["yes or no"], strict=True) if ours != theirs}
    assert unlike == {"Yes, it is normal.", "I do not know"}
    assert stated_answer("Yes, it is normal.", DECISIONS) == "yes" and stated_answer("I do not know", DECISIONS) is None


# Closed and open questions in one run ----------------------------------------------------------------------------------


def judged() -> dict[str, Any]:
    """The run as a table: a closed question is right by its answer, an open one by the judge's verdict."""
    closed = [answer in DECISIONS for answer, _, _ in VISUAL]
    return {
        "id": range(len(VISUAL)),
        "target": [[answer] for answer, _, _ in VISUAL],
        "output": [written for _, written, _ in VISUAL],
        "judge": [
            float(stated_answer(written, DECISIONS) == answer) if rule else None if verdict is None else float(verdict)
            for (answer, written, verdict), rule in zip(VISUAL, closed, strict=True)
        ],
        "subgroup.kind": ["closed" if one else "open" for one in closed],
    }  # fmt: skip


def test_a_judge_leaves_closed_questions_their_score_where_path_vqa_loses_and_slake_doubles_it() -> None:
    """Issue 30: with a judge, PATH_VQA's copy sets the closed questions to 0; SLAKE's adds the judge's view to the rule's."""
    run = evaluate_predictions(judged(), "free-text")
    groups = {one["group"]: one["value"] for one in run.scores["subgroups"]["kind"]}
    assert groups == pytest.approx(
        {"closed": 5 / 7, "open": 3 / 4}
    )  # the verdict that never came is left out, and said
    assert run.metrics["judge"]["value"] == pytest.approx(8 / 11)
    theirs = {name: one["judge"] for name, one in THEIRS["visual"].items()}
    assert [one["close"]["total"] for one in theirs.values()] == [7, 7, 7]
    assert theirs["PATH_VQA"]["close"]["acc"] == 0 and theirs["PATH_VQA"]["total metrics"]["acc"] == 3 / 12
    assert theirs["SLAKE"]["close"]["acc"] == 10 / 7 and theirs["SLAKE"]["total metrics"]["acc"] == 13 / 12
    assert theirs["VQA_RAD"]["close"]["acc"] == 5 / 7  # mended there after the issue


def test_an_accuracy_is_a_share_of_the_rows_where_medevalkit_divides_that_of_open_questions_twice() -> None:
    for one in THEIRS["visual"].values():
        for metrics in one.values():
            found = metrics["open"]
            assert found["acc"] == found["right"] / found["total"] / found["total"]
    rows = [i for i, one in enumerate(judged()["subgroup.kind"]) if one == "open"]
    table = {name: [list(values)[i] for i in rows] for name, values in judged().items() if name != "judge"}
    assert evaluate_predictions(table, "free-text").metrics["exact_match"]["value"] == pytest.approx(2 / 5)

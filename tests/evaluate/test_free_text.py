"""Free-text answers and their judge: verdicts read strictly, missing ones counted, agreement with people, data kept in the house."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import cohen_kappa_score

from healthfm import CheckpointError, RunError, evaluate, load_model, load_run
from healthfm.evaluate import judge as judging
from healthfm.models.language.causal_lm import CausalLM
from healthfm.models.model import Model
from healthfm.score import written
from tests.evaluate.test_writing import writer

QUESTIONS = [
    ("q1", "Which vitamin prevents scurvy?", "vitamin C"),
    ("q2", "How many chambers has the human heart?", "four"),
    ("q3", "Which organ makes bile?", "the liver"),
]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    rows = [json.dumps({"id": i, "question": q, "answers": [a]}) for i, q, a in [*QUESTIONS, ("q4", "Why?", None)]]
    (tmp_path / "own.jsonl").write_text("\n".join(rows).replace("[null]", "[]") + "\n")
    return tmp_path / "own.jsonl"


def marker(verdicts: Sequence[str]) -> Model:
    """A judge that gives these texts in turn and keeps what it was asked."""
    left, asked = list(verdicts), []  # type: ignore[var-annotated]

    def generate(given: Sequence[Any], **_: Any) -> list[str]:
        asked.extend(given)
        return [left.pop(0) for _ in given]

    generate.asked = asked  # type: ignore[attr-defined]
    return load_model(generate, verb="generate", card={"slug": "marker", "name": "Marker"})


def test_without_a_judge_the_result_says_so_and_unsolved_questions_are_left_out(own: Path, tmp_path: Path) -> None:
    run = evaluate(writer(["vitamin C", "two", ""]), own, output=tmp_path / "run")
    assert run.predictions["target"].to_pylist() == [["vitamin C"], ["four"], ["the liver"]]
    assert run.predictions["prediction"].to_pylist() == ["vitamin C", "two", None]
    assert "1 question has no accepted answer and is left out: q4" in run.facts["notices"]
    assert any("no judge looked at the answers" in one for one in run.facts["notices"])
    assert "judge" not in run.predictions.column_names and "judge" not in run.facts


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Verdict: correct", 1.0), ("verdict: INCORRECT.", 0.0), (' "Verdict: correct" \n', 1.0), ("**Verdict: incorrect**", 0.0),
        ("correct", None), ("Verdict: correct because it says so", None), ("Verdict: partly", None), ("", None),
        ("Verdict: correct\nVerdict: incorrect", None), ("The answer is correct.", None),
    ],
)  # fmt: skip
def test_a_verdict_is_read_strictly(text: str, value: float | None) -> None:
    assert judging.verdict(text) == value


def test_a_verdict_that_cannot_be_read_is_missing_and_counted_and_no_answer_is_wrong(own: Path, tmp_path: Path) -> None:
    """The first answer is the accepted one, word for word: nothing stands in for its missing verdict."""
    judge = marker(["I think it is right", "Verdict: incorrect"])
    run = evaluate(writer(["vitamin C", "two", ""]), own, judge=judge, output=tmp_path / "run")
    assert run.predictions["judge"].to_pylist() == [None, 0.0, 0.0]
    assert run.predictions["judge_raw"].to_pylist() == ["I think it is right", "Verdict: incorrect", None]
    assert run.facts["judge"] == {"asked": 2, "missing_verdicts": 1, "unanswered": 1}
    assert run.facts["request"]["judge"]["prompt"] == judging.PROMPT_NAME
    assert len(run.facts["request"]["judge"]["prompt_digest"]) == 16
    assert not any("no judge" in one for one in run.facts["notices"])
    shown = judge.generate.asked[0]  # type: ignore[attr-defined]
    assert "How many chambers" not in shown and "vitamin C" in shown and "Which vitamin" in shown
    assert load_run(tmp_path / "run").metrics == run.metrics


def test_agreement_with_people_is_raw_and_kappa_with_its_n(own: Path, tmp_path: Path) -> None:
    human = {"q1": 1.0, "q2": 0.75, "q3": 0.0}
    judge = marker(["Verdict: correct", "Verdict: incorrect", "Verdict: incorrect"])
    run = evaluate(writer(["a", "b", "c"]), own, judge=judge, human=human, output=tmp_path / "run")
    found = run.facts["judge"]["agreement"]
    assert (found["n"], found["scored_by_people"], found["raw"]) == (3, 3, 2 / 3)
    assert found["low"] < 2 / 3 < found["high"] and found["method"].startswith("Wilson")
    assert found["kappa"] == pytest.approx(cohen_kappa_score([1, 0, 0], [1, 1, 0])) == pytest.approx(0.4)
    assert run.predictions["human"].to_pylist() == [1.0, 0.75, 0.0]


def test_kappa_is_undefined_where_both_say_one_thing_only() -> None:
    assert written.agreement([(True, True)] * 3)["kappa"] is None
    assert written.agreement([])["n"] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [("id,score\nq1,2\n", "from 0 to 1"), ("id,mark\nq1,1\n", "columns id and score"), ("id,score\nq1,1\nq1,0\n", "1 ids occur twice"),
     ("id,score\nq1,well\n", "columns id and score")],
)  # fmt: skip
def test_a_bad_file_of_human_scores_is_refused_before_the_model(
    own: Path, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "human.csv").write_text(text)
    with pytest.raises(RunError, match=said):
        evaluate(writer([]), own, judge=marker([]), human=tmp_path / "human.csv", output=tmp_path / "run")


def test_human_scores_need_a_judge_and_must_be_of_this_run(own: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="name one"):
        evaluate(writer([]), own, human={"q1": 1.0}, output=tmp_path / "run")
    with pytest.raises(RunError, match="none of the human scores is of a record"):
        evaluate(writer([]), own, judge=marker([]), human={"other": 1.0}, output=tmp_path / "run")


def test_a_judge_for_another_task_and_one_without_weights_are_refused(
    own: Path, medqa_root: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="has an answer key of its own"):
        evaluate(writer([]), "medqa@letters-generated", root=medqa_root, judge=marker([]), output=tmp_path / "run")
    with pytest.raises(CheckpointError):
        evaluate(writer([]), own, judge="meditron", output=tmp_path / "run")


def test_a_judge_stopped_in_the_middle_goes_on_without_asking_for_answers_again(own: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(given: Sequence[Any], **_: Any) -> list[str]:
        raise Stopped

    answers, names = ["a", "b", "c"], {"slug": "marker", "name": "Marker"}
    with pytest.raises(Stopped):
        evaluate(writer(answers), own, judge=load_model(stop, verb="generate", card=names), output=tmp_path / "run")
    again = evaluate(writer([]), own, judge=marker(["Verdict: correct"] * 3), output=tmp_path / "run")
    assert again.predictions["output"].to_pylist() == answers
    assert again.predictions["judge"].to_pylist() == [1.0] * 3


def test_real_weights_judge_real_answers(smollm2: CausalLM, own: Path, tmp_path: Path) -> None:
    """SmolLM2-135M (Q4_1, dequantised) keeps to the form that the solved examples show; it is not a judge to trust."""
    run = evaluate(writer(["The liver"]), own, judge=smollm2, limit=1, output=tmp_path / "run")
    raw, values = run.predictions["judge_raw"].to_pylist(), run.predictions["judge"].to_pylist()
    assert values == [judging.verdict(text) for text in raw]
    assert run.facts["judge"]["missing_verdicts"] == values.count(None) < len(raw) == 1


# A judge behind a server ----------------------------------------------------------------------------------------------


def test_a_judge_behind_a_real_server(llama_cpp: str, own: Path, tmp_path: Path) -> None:
    run = evaluate(writer(["The liver"]), own, judge=llama_cpp, limit=1, output=tmp_path / "run")
    raw, values = run.predictions["judge_raw"].to_pylist(), run.predictions["judge"].to_pylist()
    assert values == [judging.verdict(text) for text in raw] and set(values) - {None}
    assert run.facts["request"]["judge"]["endpoint"].startswith(llama_cpp)
    assert run.facts["usage"]["requests"] >= 1


def test_an_answering_model_behind_a_real_server(llama_cpp: str, pubmedqa_root: Path, tmp_path: Path) -> None:
    run = evaluate(
        "smollm2-135m-instruct", "pubmedqa@reasoning-free-generated", root=pubmedqa_root, endpoint=llama_cpp, limit=1,
        output=tmp_path / "run",
    )  # fmt: skip
    assert all(row["output"] for row in run.predictions.to_pylist())


def test_own_data_never_goes_to_a_judge_elsewhere(own: Path, tmp_path: Path) -> None:
    """192.0.2.1 is reserved for documentation: no machine answers there, and none is asked."""
    with pytest.raises(
        RunError, match=r"own stays on this machine .*192\.0\.2\.1 is not this machine; nothing was sent"
    ):
        evaluate(writer([]), own, judge="http://192.0.2.1:9/v1#m", output=tmp_path / "run")
    with pytest.raises(RunError, match="nothing was sent"):
        evaluate(
            writer([]),
            own,
            judge="http://192.0.2.1:9/v1#m",
            allow_remote=["a.example", "b.example"],
            output=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()

"""Own questions whose answers are closed though no options stand beside them: what is recognised, what is doubted, what stays open."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from healthfm import DatasetError, RunError, evaluate, load_model, open_dataset
from healthfm.datasets.dataset import Dataset
from healthfm.datasets.own.closed import WORDS
from healthfm.evaluate.protocols import make_items
from healthfm.records import QA, MultipleChoice


def table(folder: Path, answers: Sequence[Any], toml: str = "", **more: Any) -> Dataset:
    """Open a table of one question a row, with these answers."""
    rows = [{"id": f"r{i}", "question": f"Is it {i}?", "answer": one, **more} for i, one in enumerate(answers)]
    path = folder / "q.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    if toml:
        (folder / "dataset.toml").write_text(f'files = {{ test = "q.jsonl" }}\n{toml}', encoding="utf-8")
    return open_dataset(folder / "dataset.toml" if toml else path)


def asked(opened: Dataset) -> tuple[list[str], list[Any]]:
    """Return the answers that are offered, and the right ones."""
    records = [one for one in opened if isinstance(one, MultipleChoice)]
    return list(records[0].options), [one.answer for one in records]


@pytest.mark.parametrize("words", WORDS, ids=lambda one: one[0])
def test_plain_words_are_closed_whatever_few_rows_there_are(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert asked(table(tmp_path, words)) == (list(words), list(words))


@pytest.mark.parametrize(
    ("answers", "offered", "right"),
    [
        (["Yes", " no ", "YES.", "no"], ["yes", "no"], ["yes", "no", "yes", "no"]),
        (["yes", "no", "Maybe"], ["yes", "no", "maybe"], ["yes", "no", "maybe"]),
        ([True, False, True], ["true", "false"], ["true", "false", "true"]),
        (["no", "no"], ["yes", "no"], ["no", "no"]),
        (["yes", None, "", "no"], ["yes", "no"], ["yes", None, None, "no"]),
        ([["yes"], "no"], ["yes", "no"], ["yes", "no"]),
        (["Benign", "malignant", "benign"] * 3, ["benign", "malignant"], ["benign", "malignant", "benign"] * 3),
        ([10, 9, 11, 8] * 3, ["8", "9", "10", "11"], ["10", "9", "11", "8"] * 3),
        ([1.0, 0.0, None] * 3, ["0", "1"], ["1", "0", None] * 3),
        (["mild", "severe"] * 3 + [None], ["mild", "severe"], ["mild", "severe"] * 3 + [None]),
    ],
    ids=["case", "maybe", "boolean", "one word", "empty", "list of one", "classes", "grades", "0 and 1 as floats", "withheld"],
)  # fmt: skip
def test_answers_that_recur_are_offered_in_one_spelling_and_in_their_order(
    tmp_path: Path, answers: list[Any], offered: list[str], right: list[Any]
) -> None:
    if answers[0] == "Benign":  # of two spellings the commoner
        answers = [*answers[:6], "benign", "malignant", "benign"]
    opened = table(tmp_path, answers)
    assert asked(opened) == (offered, right)
    assert any(one.startswith("the column answer holds") and "--task free-text" in one for one in opened.notices)


@pytest.mark.parametrize(
    "answers",
    [["because", "of it"], ["aspirin", "aspirin", "heparin"], [["yes", "of course"], "no"], [f"drug {i}" for i in range(50)] * 3, ["x" * 60, "y" * 60] * 4,
     ["yes", "no"] * 6 + [f"open {i}" for i in range(12)], [1.5, 37.2, 12, 99, 4, 7.25]],
    ids=["few", "too few to say", "several accepted", "many", "long", "half of them", "measurements"],
)  # fmt: skip
def test_open_answers_stay_open(tmp_path: Path, answers: list[Any]) -> None:
    opened = table(tmp_path, answers)
    assert all(isinstance(one, QA) for one in opened) and opened.card.default_protocol == "answer" and not opened.doubt
    half = [one for one in opened.notices if "are asked as open questions" in one]
    assert half == (
        ["12 of 24 answers in the column answer are yes or no, the others are not: all are asked as open questions"]
        if len(answers) == 24
        else []
    )


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (["yes", "no"] * 4 + ["Mr Smith said so"], "holds yes, no, but not in row 9: correct it"),
        (["ja", "nein", "ja", "weiss nicht"], "holds ja, nein, but not in row 4"),
        (["mild", "severe"] * 10 + ["Severe pain of Mr Smith"], "holds mild, severe, but not in row 21"),
        ([0, 2] * 4, "holds 2 numbers again and again, with gaps"),
        ([10, 37.5] * 4, "holds 2 numbers again and again, with gaps"),
    ],
)
def test_nearly_closed_answers_cost_one_line_before_the_model_is_loaded(
    tmp_path: Path, answers: list[Any], said: str
) -> None:
    """A stray is named by its row, without what it says, and never dropped; who asks for open answers gets them."""
    opened, loaded = table(tmp_path, answers), []
    with pytest.raises(RunError) as refused:
        evaluate("hf:./no-such-folder", opened) if loaded else evaluate(
            load_model(lambda p, **_: loaded.append(p) or ["x"] * len(p), verb="generate", card={"slug": "m", "name": "M"}), opened
        )  # fmt: skip
    assert said in str(refused.value) and "--task free-text" in str(refused.value) and "Smith" not in str(refused.value)
    assert not loaded and len(list(opened)) == len(answers)
    assert any(said in one for one in opened.notices)
    model = load_model(lambda p, **_: ["x"] * len(p), verb="generate", card={"slug": "m", "name": "M"})
    run = evaluate(model, opened, task="free-text", output=tmp_path / "run")
    assert run.predictions.num_rows == len(answers)


def test_the_answers_that_there_are_can_be_declared_and_others_are_refused_by_row(tmp_path: Path) -> None:
    toml = (
        '[[labels]]\nname = "answer"\nkind = "ordinal"\nclasses = ["none", "mild", "severe"]\ncodes = { none = "0" }\n'
    )
    assert asked(table(tmp_path, ["mild", " SEVERE", "0"], toml)) == (
        ["none", "mild", "severe"],
        ["mild", "severe", "none"],
    )
    with pytest.raises(DatasetError, match=r"row 2: .*column 'answer': none of the classes of 'answer'") as refused:
        list(table(tmp_path, ["mild", "of Mr Smith"], toml))
    assert "Smith" not in str(refused.value)
    assert all(isinstance(one, QA) for one in table(tmp_path, ["yes", "no"], 'record = "QA"\n'))


def model(verb: str, prompts: list[str]) -> Any:
    def score(asked: Sequence[str], options: Sequence[Sequence[str]]) -> list[Any]:
        prompts.extend(asked)
        return [np.array([len(one) for one in row], float) for row in options]

    def write(asked: Sequence[str], **_: Any) -> list[str]:
        prompts.extend(asked)
        return ["Yes, it is." if i == 1 else "The answer is A." if i % 2 else "I cannot say" for i in range(len(asked))]

    return load_model({"score": score, "generate": write}[verb], verb=verb, card={"slug": "m", "name": "M"})


def test_closed_questions_are_scored_or_written_and_as_open_ones_on_request(tmp_path: Path) -> None:
    opened, prompts = table(tmp_path, ["yes", "no", "no", "yes"]), []  # type: tuple[Dataset, list[str]]
    run = evaluate(model("score", prompts), opened, output=tmp_path / "a")
    assert prompts[0] == "Question: Is it 0?\nAnswer with yes or no.\nAnswer:"
    assert run.facts["request"]["task"] == "closed-answer" and run.metrics["accuracy"]["value"] == 0.5
    assert (
        run.scores["classes"] == ["no", "yes"] and "auroc" in run.metrics
    )  # classes that recur, of which yes is the positive
    (items,) = [make_items(list(opened), opened.card.protocols["closed"])]
    assert (items[0].continuations, items[0].target) == ((" yes", " no"), "yes")
    written = evaluate(model("generate", []), opened, task="closed-answer-generated", output=tmp_path / "b")
    assert written.predictions["prediction"].to_pylist() == [None, "yes", None, None]
    free = evaluate(model("generate", []), opened, task="free-text", output=tmp_path / "c")
    assert free.predictions["target"].to_pylist() == [["yes"], ["no"], ["no"], ["yes"]]


def test_own_questions_with_options_are_written_too(tmp_path: Path) -> None:
    opened = table(tmp_path, ["A", "B", "B", "A"], options={"A": "yes", "B": "no"})
    assert {one.task for one in opened.card.protocols.values()} == {"multiple-choice", "multiple-choice-generated"}
    run = evaluate(model("generate", []), opened, task="multiple-choice-generated", output=tmp_path / "run")
    assert run.predictions["prediction"].to_pylist() == [None, None, None, "A"]


@pytest.mark.parametrize(("first", "keys"), [("from0", ["B", "C"]), ("from1", ["A", "B"])])
def test_who_says_from_where_places_count_is_believed(tmp_path: Path, first: str, keys: list[str]) -> None:
    rows = [{"question": "q", "options": ["2", "1", "0"], "gold": one} for one in (1, 2)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    opened = open_dataset(tmp_path / "q.jsonl", columns={"answer": {first: "gold"}})
    assert [one.answer for one in opened] == keys  # type: ignore[attr-defined]
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": "q", "options": ["x", "y"], "gold": 3}) + "\n")
    with pytest.raises(DatasetError, match=f"no place of an option, counted from {first[-1]}"):
        list(open_dataset(tmp_path / "q.jsonl", columns={"answer": {first: "gold"}}))
    with pytest.raises(DatasetError, match="answer is a column, or one of answer"):
        open_dataset(tmp_path / "q.jsonl", columns={"answer": {"from2": "gold"}})


def test_labelled_texts_without_a_manifest_are_asked_by_their_classes(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("id,text,label\n" + "".join(f"{i},text {i},{'xy'[i % 2]}\n" for i in range(6)))
    opened, prompts = open_dataset(tmp_path / "n.csv"), []  # type: tuple[Dataset, list[str]]
    run = evaluate(model("score", prompts), opened, output=tmp_path / "run")
    assert prompts[1] == "Text: text 1\nQuestion: Which of these is it: x, y?\nAnswer:"
    assert run.scores["classes"] == ["x", "y"] and "the column label holds the classes x, y" in run.facts["notices"]


def test_a_column_called_answers_is_closed_in_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("question,answers\nq,Yes\nq,no\n")
    assert asked(open_dataset(tmp_path / "q.csv")) == (["yes", "no"], ["yes", "no"])
    (tmp_path / "q.csv").write_text("question,answer,answers\nq,yes,yes it is\nq,no,no it is not\n")
    assert all(isinstance(one, QA) for one in open_dataset(tmp_path / "q.csv"))  # two columns: accepted answers
    toml = '[[labels]]\nname = "answer"\nkind = "binary"\nclasses = ["left", "right"]\n'
    (tmp_path / "q.csv").write_text("question,answers\nq,LEFT\n")
    (tmp_path / "dataset.toml").write_text('files = { test = "q.csv" }\n' + toml)
    assert asked(open_dataset(tmp_path / "dataset.toml")) == (["left", "right"], ["left"])

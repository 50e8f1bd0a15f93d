"""Own tables through ``evaluate``: what they hold reaches the model and the scores, or is refused before the model is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from healthfm import RunError, evaluate, load_model, open_dataset
from healthfm.errors import DatasetError
from healthfm.models.model import Model

CARD = {"slug": "mine", "name": "Mine"}


class Asked:
    """A model that keeps what it is asked."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def score(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Prefer the last option."""
        self.prompts += prompts
        return [np.arange(len(one), dtype=float) for one in options]

    def write(self, prompts: Sequence[str], **how: Any) -> list[str]:
        """Say one thing."""
        self.prompts += map(str, prompts)
        return ["vitamin C"] * len(prompts)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Count letters."""
        self.prompts += texts
        return np.array([[len(text), text.count("a")] for text in texts], np.float32)

    def model(self, verb: str) -> Model:
        """Return it as a model of one verb."""
        return load_model(
            {"score": self.score, "generate": self.write, "embed": self.embed}[verb], verb=verb, card=CARD
        )


@pytest.fixture
def asked() -> Asked:
    return Asked()


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_context_of_a_question_with_options_is_in_its_prompt(asked: Asked, tmp_path: Path) -> None:
    path = put(
        tmp_path / "q.csv",
        "id,question,passage,A,B,answer\n0,Which drug?,He takes warfarin.,aspirin,warfarin,B\n1,Why?,,x,y,A\n",
    )
    evaluate(
        asked.model("score"),
        put(tmp_path / "dataset.toml", f'[files]\ntest = "{path.name}"\n[columns]\ncontext = "passage"\n'),
        output=tmp_path / "run",
    )
    assert asked.prompts == [
        "He takes warfarin.\nQuestion: Which drug?\nA. aspirin\nB. warfarin\nAnswer:", "Question: Why?\nA. x\nB. y\nAnswer:",
    ]  # fmt: skip


def test_questions_without_an_answer_are_left_out_by_name(asked: Asked, tmp_path: Path) -> None:
    path = put(tmp_path / "q.csv", "id,question,A,B,answer\n0,q,x,y,B\n1,q,x,y,\n2,q,x,y,A\n")
    run = evaluate(asked.model("score"), path, output=tmp_path / "run")
    assert run.predictions["id"].to_pylist() == ["0", "2"]
    assert "1 question has no answer and is left out: 1" in run.facts["notices"]


def test_equal_accepted_answers_are_one(asked: Asked, tmp_path: Path) -> None:
    rows = [
        {"id": 0, "question": "Which?", "answers": ["vitamin C", "vitamin C", "ascorbic acid"]},
        {"id": 1, "question": "Which?", "answers": ["liver"]},
    ]
    path = put(tmp_path / "q.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    run = evaluate(asked.model("generate"), path, output=tmp_path / "run")
    assert run.metrics["exact_match"]["value"] == 0.5
    assert run.predictions["target"].to_pylist() == [["vitamin C", "ascorbic acid"], ["liver"]]


def texts(label: Any = lambda i: "ab"[i % 2]) -> str:
    rows = [f"{i},{'a' * (i % 2)} text {i},{label(i)},{'train' if i < 20 else 'test'},{i % 2}" for i in range(40)]
    return "\n".join(["id,text,label,split,ward", *rows])


@pytest.mark.parametrize("task", ["linear-probe", "knn"])
def test_rows_without_a_label_are_no_class_and_left_out_by_name(asked: Asked, tmp_path: Path, task: str) -> None:
    path = put(tmp_path / "n.csv", texts(lambda i: "" if i in (3, 33) else "ab"[i % 2]))
    run = evaluate(asked.model("embed"), path, task=task, subgroups=["ward"], output=tmp_path / "run")
    assert (
        run.scores["classes"] == ["a", "b"]
        and run.predictions.num_rows == 19
        and run.facts["request"]["fitted_on"] == 19
    )
    assert {
        "to fit on: 1 record has no label and is left out: 3",
        "1 record has no label and is left out: 33",
    } <= set(run.facts["notices"])
    assert set(run.predictions["subgroup.ward"].to_pylist()) == {"0", "1"}


@pytest.mark.parametrize(
    ("text", "how", "error", "said"),
    [
        (texts(lambda i: "B" if i == 30 else "ab"[i % 2]), {"task": "knn"}, DatasetError, "'B' .* and 'b' "),
        (texts(), {"task": "few-shot", "shots": 11}, RunError, "class '[ab]' has 10 examples to fit on, 11 are asked for"),
        (texts().replace("\n39,", "\n38,"), {"task": "knn"}, DatasetError, "the id '38' occurs twice, first in row 40"),
        (texts(lambda i: ""), {"task": "knn"}, RunError, "record 0 has no label, nor has any other"),
        (texts().replace("label", "dx"), {"task": "knn", "subgroups": ["clinic"]}, RunError, "has no label|no record has 'clinic'"),
    ],
    ids=["spelling", "too few", "id twice", "no labels", "subgroup"],
)  # fmt: skip
def test_what_can_be_known_is_said_before_the_model_is_asked(
    asked: Asked, tmp_path: Path, text: str, how: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        evaluate(asked.model("embed"), put(tmp_path / "n.csv", text), output=tmp_path / "run", **how)
    assert asked.prompts == []


def test_targets_outside_the_classes_are_refused_before_the_model_is_asked(asked: Asked, tmp_path: Path) -> None:
    from healthfm.score.scoring import check_targets

    with pytest.raises(RunError, match="outside the classes no, yes: 7"):
        check_targets("text-classification", ["6", "7"], ["yes", "maybe"], ["no", "yes"])
    with pytest.raises(RunError, match="have no accepted answer: 6"):
        check_targets("free-text", ["6", "7"], [[], ["x"]], None)
    check_targets("free-text", ["6", "7"], [["x", "x"], ["x"]], None)


def test_the_classes_of_a_manifest_are_asked_in_one_spelling(asked: Asked, tmp_path: Path) -> None:
    put(tmp_path / "n.csv", "id,text,label,site\n0,a,Yes,0\n1,b,yes ,0\n2,c,NO,1\n3,d,,1\n")
    toml = 'record = "Document"\n[files]\ntest = "n.csv"\n[[labels]]\nname = "dx"\nkind = "binary"\nclasses = ["no", "yes"]\n'
    run = evaluate(
        asked.model("score"), put(tmp_path / "dataset.toml", toml), subgroups=["site"], output=tmp_path / "run"
    )
    assert run.predictions["target"].to_pylist() == ["yes", "yes", "no"]
    assert run.predictions["subgroup.site"].to_pylist() == ["0", "0", "1"]
    assert "1 record has no label and is left out: 3" in run.facts["notices"]


def test_pictures_without_a_label_are_no_class_of_a_bag(asked: Asked, tmp_path: Path) -> None:
    from PIL import Image

    from healthfm import open_dataset
    from healthfm.evaluate.bags import prepare
    from healthfm.evaluate.job import Ask, Request

    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    rows = [
        f"{i},x.png,p{i // 2},{'' if i in (3, 25) else 'ab'[i // 2 % 2]},{'train' if i < 20 else 'test'}"
        for i in range(40)
    ]
    opened = open_dataset(put(tmp_path / "m.csv", "\n".join(["id,image,patient,label,split", *rows])))
    job = prepare(
        Ask(
            request=Request(model="", dataset=opened),
            opened=opened,
            card=asked.model("embed").card,
            task="mil",
            protocol=None,
            split="test",
        )
    )
    assert job.classes == ["a", "b"] and set(job.targets or ()) == {"a", "b"}
    assert {
        "to fit on: 1 record has no label and is left out: 3",
        "1 record has no label and is left out: 25",
    } <= set(job.facts["notices"])


@pytest.mark.parametrize("name", ["site", "diagnosis"])
def test_subgroups_of_own_data_go_by_the_name_in_the_record_as_ever(tmp_path: Path, name: str) -> None:
    """Of a table of predictions the file's own name finds them too (test_predictions)."""
    rows = [f"{i},Is it {i}?,yes,no,{'AB'[i % 2]},{'ns'[i % 3 == 0]},{'xy'[i % 2]}" for i in range(12)]
    (tmp_path / "q.csv").write_text("\n".join(["id,question,A,B,answer,hospital,dx", *rows]) + "\n")
    columns = {"site": "hospital", "labels": {"diagnosis": "dx"}}
    model = load_model(lambda p, o: [np.zeros(len(one)) for one in o], verb="score", card={"slug": "m", "name": "M"})
    run = evaluate(model, open_dataset(tmp_path / "q.csv", columns=columns), subgroups=[name], output=tmp_path / "run")
    groups = sorted(one["group"] for one in run.scores["subgroups"][name])
    assert groups == (["n", "s"] if name == "site" else ["x", "y"])

"""Consultations: what turns are for, what is mentioned in them, findings, and what the doctor says next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from healthfm import RunError, evaluate, evaluate_predictions, load_model
from tests.datasets.test_consultations import imcs, write
from tests.evaluate.test_answering import values
from tests.evaluate.test_writing import writer


@pytest.fixture
def imcs_root(tmp_path: Path) -> Path:
    """Two consultations of IMCS-21, one with what is marked in it, one of which it is withheld."""
    held = imcs()
    for turn in held["dialogue"]:
        for key in ("dialogue_act", "BIO_label", "symptom_norm", "symptom_type"):
            turn[key] = None
    held.pop("implicit_info")
    write(tmp_path / "dataset/dev.json", {"10001": imcs(), "10002": held})
    return tmp_path


def test_each_turn_is_asked_for_its_act_with_the_turns_before_it(imcs_root: Path, tmp_path: Path) -> None:
    def score(prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[np.ndarray]:
        asked.extend(prompts)
        return [np.array([0.0 if one == " Request-Symptom" else -1.0 for one in row]) for row in options]

    asked: list[str] = []
    model = load_model(score, verb="score", card={"slug": "liker", "name": "Liker"})
    run = evaluate(model, "imcs-21", root=imcs_root, split="validation", task="dialogue-acts", output=tmp_path / "run")
    table = run.predictions.to_pylist()
    assert [row["id"] for row in table] == ["10001-1", "10001-2"] and {row["patient"] for row in table} == {"10001"}
    assert [row["target"] for row in table] == ["Request-Symptom", "Inform-Existing_Examination_and_Treatment"]
    assert values(run)["accuracy"] == 0.5 and len(run.scores["classes"]) == 16
    assert "doctor: 有发热、咳嗽吗\n\nThe patient says: 吃了阿莫西林" in asked[1]
    assert any("2 records have no label" in one for one in run.facts["notices"])


def test_mentions_are_asked_turn_by_turn_and_withheld_turns_are_left_out(imcs_root: Path, tmp_path: Path) -> None:
    run = evaluate(
        writer(["symptom | 发热\nsymptom | 头痛", "drug | 阿莫西林"]), "imcs-21", root=imcs_root, split="validation", task="named-entities", output=tmp_path / "run",
    )  # fmt: skip
    assert run.predictions.num_rows == 2
    assert (values(run)["micro_precision"], values(run)["micro_recall"]) == pytest.approx((2 / 3, 2 / 3))
    assert run.predictions["unplaced"].to_pylist()[0] == [{"text": "头痛", "type": "symptom"}]


def test_findings_are_names_with_their_status_as_the_owners_state_them(imcs_root: Path, tmp_path: Path) -> None:
    known = imcs(sentence="有发热、咳嗽呢", BIO_label="O B-Symptom I-Symptom O B-Symptom I-Symptom O")
    write(imcs_root / "dataset/train.json", {"9": known})
    run = evaluate(
        writer(["咳嗽 | Present\n发热 | absent"]), "imcs-21", root=imcs_root, split="validation", task="dialogue-findings", output=tmp_path / "run"
    )  # fmt: skip
    assert run.predictions["target"].to_pylist() == [["咳嗽: present"]]
    assert run.predictions["prediction"].to_pylist() == [["咳嗽: present", "发热: absent"]]
    assert (values(run)["micro_precision"], values(run)["micro_recall"]) == (0.5, 1)
    assert any("1 consultation withholds its findings" in one for one in run.facts["notices"])
    assert [(one["name"], one["value"]) for one in run.scores["baselines"]["rivals"]] == [("dictionary", 1)]


def meddg(root: Path) -> Path:
    def turn(who: str, said: str, **found: list[str]) -> dict[str, object]:
        empty: dict[str, object] = {"Symptom": [], "Medicine": [], "Test": [], "Attribute": [], "Disease": []}
        return {**empty, "id": who, "Sentence": said, **found}

    talk = [
        turn("Patients", "肚子痛", Symptom=["腹痛"]), turn("Doctor", "有腹泻和发热吗", Symptom=["腹泻", "发热"]), turn("Doctor", "做过胃镜吗", Test=["胃镜"]),
        turn("Patients", "没有"), turn("Doctor", "吃奥美拉唑", Medicine=["奥美拉唑"]),
    ]  # fmt: skip
    write(root / "MedDG/MedDG_dev.json", [talk])
    return root


def test_the_doctors_next_turn_is_written_and_its_entities_counted_together(tmp_path: Path) -> None:
    run = evaluate(
        writer(["有发热和腹痛吗", "请做胃镜"]), "meddg:cblue", root=meddg(tmp_path), split="validation", task="response-generation", output=tmp_path / "run"
    )  # fmt: skip
    table = run.predictions.to_pylist()
    assert [row["target"] for row in table] == [["有腹泻和发热吗"], ["吃奥美拉唑"]]
    assert [row["entities"] for row in table] == [["发热", "腹泻"], ["奥美拉唑"]]
    assert [row["entities_found"] for row in table] == [["发热", "腹痛"], ["胃镜"]]
    assert (values(run)["entity_precision"], values(run)["entity_recall"]) == pytest.approx((1 / 3, 1 / 3))
    assert values(run)["entity_f1"] == pytest.approx(1 / 3) and "rouge_1" in run.metrics
    assert run.report(show_inputs=True).is_file()


def test_terms_joined_by_two_hashes_are_a_set_as_chip_cdn_writes_them() -> None:
    table = {
        "id": ["a", "b", "c"],
        "target": ["右肺癌##肺恶性肿瘤", "糖尿病", "流感"],
        "prediction": ["肺恶性肿瘤##右肺癌", "糖尿病##肥胖", None],
    }
    run = evaluate_predictions(table, "term-normalisation")
    found = values(run)
    assert (found["micro_precision"], found["micro_recall"]) == pytest.approx((3 / 4, 3 / 4))
    assert found["subset_accuracy"] == pytest.approx(1 / 3) and run.scores["unanswered"] == 1


def test_a_set_without_consultations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text('{"id": "1", "question": "Why?", "answers": ["so"]}\n')
    for task in ("response-generation", "dialogue-findings"):
        with pytest.raises(RunError, match="no consultation of split 'test'"):
            evaluate(writer([]), tmp_path / "own.jsonl", task=task, output=tmp_path / task)

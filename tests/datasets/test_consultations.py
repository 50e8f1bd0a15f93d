"""Annotated consultations: what is marked stands with the turn it is said in, in characters, and withheld is not nothing."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.records import MISSING, Conversation, Message, Record, Span


def conversation(record: Record) -> Conversation:
    assert isinstance(record, Conversation)
    return record


def write(path: Path, value: Any, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding=encoding)
    return path


def imcs(**changes: Any) -> dict[str, Any]:
    """A consultation in the layout of the README of imcs21-cblue, "Data format"; tags and classes as in its task1 and task4."""
    asked = {
        "sentence_id": "1", "speaker": "医生", "sentence": "有发热、咳嗽吗", "dialogue_act": "Request-Symptom",
        "BIO_label": "O B-Symptom I-Symptom O B-Symptom I-Symptom O", "symptom_norm": ["发热", "咳嗽"], "symptom_type": ["0", "1"],
        "local_implicit_info": {"发热": "0", "咳嗽": "1"},
    }  # fmt: skip
    told = {
        "sentence_id": "2", "speaker": "患者", "sentence": "吃了阿莫西林", "dialogue_act": "Inform-Existing_Examination_and_Treatment",
        "BIO_label": "O O B-Drug I-Drug I-Drug I-Drug", "symptom_norm": [], "symptom_type": [], "local_implicit_info": {},
    }  # fmt: skip
    return {
        "diagnosis": "小儿发热", "self_report": "宝宝咳嗽", "dialogue": [{**asked, **changes}, told], "report": [{"主诉": "咳嗽"}, {"主诉": "咳"}],
        "explicit_info": {"Symptom": ["咳嗽"]}, "implicit_info": {"Symptom": {"咳嗽": "1"}},
    }  # fmt: skip


@pytest.mark.evidence("imcs-21", "layout")
def test_imcs_21_keeps_intention_entities_and_symptoms_with_their_sentence(tmp_path: Path) -> None:
    write(tmp_path / "dataset/train.json", {"10001": imcs()})
    one = conversation(open_dataset("imcs-21", tmp_path, "train")[0])
    first, second = one.turns
    assert (one.id, one.labels) == ("10001", {"diagnosis": "小儿发热"})
    assert (first.role, second.role) == ("assistant", "user")
    assert first.labels == {"dialogue act": "Request-Symptom"}
    assert first.spans == (
        Span(1, 3, "symptom", ("发热",), status="absent"), Span(4, 6, "symptom", ("咳嗽",), status="present"),
    )  # fmt: skip
    assert [first.text[s.start : s.end] for s in first.spans] == ["发热", "咳嗽"]
    assert second.spans == (Span(2, 6, "drug"),) and second.text[2:6] == "阿莫西林"
    assert one.meta["self_report"] == "宝宝咳嗽" and one.meta["sentences"] == ["1", "2"]
    assert one.meta["report"] == [{"主诉": "咳嗽"}, {"主诉": "咳"}]


@pytest.mark.evidence("imcs-21", "layout")
def test_imcs_21_without_labels_is_missing_them(tmp_path: Path) -> None:
    bare = {"sentence_id": "1", "speaker": "医生", "sentence": "有发热吗"}
    write(tmp_path / "dataset/test.json", {"9": {"self-report": "咳", "dialogue": [bare]}})
    one = conversation(open_dataset("imcs-21", tmp_path, "test")[0])
    assert one.labels == {"diagnosis": MISSING} and one.meta["self_report"] == "咳"
    assert one.turns == (Message("assistant", "有发热吗", {"dialogue act": MISSING, "entities": MISSING}),)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"BIO_label": " ".join(["O"] * len("有发热、咳嗽吗".encode()))}, "a sentence of 7 characters has 21 tags"),  # a tag a byte
        ({"symptom_norm": ["发热"], "symptom_type": ["0"]}, "2 symptoms are marked in a sentence, 1 named, 1 judged"),
        ({"symptom_type": ["0", "3"]}, "'symptom_type' has a value that the card does not know"),
        ({"BIO_label": "O B-Symptom I-Symptom O O I-Symptom O", "symptom_norm": ["发热"], "symptom_type": ["0"]}, "2 symptoms are marked"),
        ({"dialogue_act": "Greet"}, "'dialogue act' has a value"),
        ({"speaker": "护士"}, "a turn is said by neither patient nor doctor"),
    ],
)  # fmt: skip
def test_imcs_21_refuses_what_does_not_fit(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    write(tmp_path / "dataset/dev.json", {"1": imcs(), "2": imcs(**changes), "3": imcs()})
    with pytest.raises(DatasetError, match=f"dev.json, row 2: cannot be read: {reason}") as caught:
        list(open_dataset("imcs-21", tmp_path, "validation"))
    assert "发热" not in str(caught.value)
    collected = open_dataset("imcs-21", tmp_path, "validation", on_error="collect")
    assert [r.id for r in collected] == ["1", "3"] and len(collected.errors) == 1


def test_what_is_marked_in_a_turn_goes_out_and_changes_no_digest(tmp_path: Path) -> None:
    write(tmp_path / "dataset/train.json", {"1": imcs()})
    dataset = open_dataset("imcs-21", tmp_path, "train")
    turn = json.loads(dataset.to_arrow()["turns"][0].as_py())[0]
    assert turn["labels"] == {"dialogue act": "Request-Symptom"}
    assert turn["spans"][0] == {
        "start": 1, "end": 3, "type": "symptom", "concepts": ["发热"], "parts": [], "status": "absent",
    }  # fmt: skip
    one = conversation(dataset[0])
    assert one.digest() == Conversation(id="x", turns=tuple(Message(t.role, t.content) for t in one.turns)).digest()


def turn(who: str, said: str, **entities: list[str]) -> dict[str, Any]:
    return {
        "id": who, "Sentence": said, **{k: entities.get(k, []) for k in ("Symptom", "Medicine", "Examination", "Attribute", "Disease")},
    }  # fmt: skip


DIALOGUE = [turn("Patients", "肚子痛。", Symptom=["腹痛"]), turn("Doctor", "做胃镜吧。", Examination=["胃镜"])]
NONE = dict.fromkeys(("symptom", "medicine", "test", "attribute", "disease"), frozenset[str]())


@pytest.mark.evidence("meddg", "layout")
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_meddg_opens_its_pickles_with_the_entities_of_each_turn(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "new_train.pk").write_bytes(pickle.dumps([DIALOGUE, DIALOGUE], protocol))
    first, second = map(conversation, open_dataset("meddg", tmp_path, "train"))
    assert (first.id, second.id) == ("train-1", "train-2")
    assert first.turns == (
        Message("user", "肚子痛。", {**NONE, "symptom": frozenset({"腹痛"})}), Message("assistant", "做胃镜吧。", {**NONE, "test": frozenset({"胃镜"})}),
    )  # fmt: skip


@pytest.mark.evidence("meddg", "layout")
def test_meddg_of_cblue_is_json_whose_test_part_is_history_alone(tmp_path: Path) -> None:
    cblue = [{("Test" if k == "Examination" else k): v for k, v in one.items()} for one in DIALOGUE]
    write(tmp_path / "MedDG/MedDG_train.json", [cblue])
    write(tmp_path / "MedDG/MedDG_test.json", [{"id": 7, "history": ["患者：肚子：痛", "医生：多久了"]}])
    (train,) = map(conversation, open_dataset("meddg:cblue", tmp_path, "train"))
    assert train.turns[1].labels == {**NONE, "test": frozenset({"胃镜"})}
    (test,) = map(conversation, open_dataset("meddg:cblue", tmp_path, "test"))
    assert (test.id, [(t.role, t.content) for t in test.turns]) == (
        "7",
        [("user", "肚子：痛"), ("assistant", "多久了")],
    )
    assert all(t.labels == {"entities": MISSING} for t in test.turns)  # not: no entity


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ([{**DIALOGUE[0], "id": "Nurse"}], "said by neither Patients nor Doctor"),
        ([{"id": "Doctor", "Sentence": "好"}], "KeyError"),
        (["text"], "TypeError"),
    ],
)
def test_meddg_names_a_dialogue_that_it_cannot_read(tmp_path: Path, change: Any, reason: str) -> None:
    (tmp_path / "dev.pk").write_bytes(pickle.dumps([DIALOGUE, change]))
    with pytest.raises(DatasetError, match=f"dev.pk, row 2: cannot be read: .*{reason}"):
        list(open_dataset("meddg", tmp_path, "validation"))
    collected = open_dataset("meddg", tmp_path, "validation", on_error="collect")
    assert [r.id for r in collected] == ["validation-1"] and len(collected.errors) == 1


@pytest.mark.evidence("meddialog", "layout")
def test_meddialog_processed_hears_who_speaks_in_both_languages(tmp_path: Path) -> None:
    english = [{"description": "q. cough?", "utterances": ["patient: i cough: a lot.", "doctor: rest."]}]
    write(tmp_path / "en/validate_data.json", english)
    (one,) = map(conversation, open_dataset("meddialog", tmp_path / "en", "validation"))
    assert [(t.role, t.content) for t in one.turns] == [("user", "i cough: a lot."), ("assistant", "rest.")]
    assert (one.id, one.meta) == ("validation-1", {"description": "q. cough?"})
    write(tmp_path / "zh/test_data.json", [["病人：咳嗽：三天", "医生：多喝水"]])
    (one,) = map(conversation, open_dataset("meddialog:zh-processed", tmp_path / "zh", "test"))
    assert [(t.role, t.content) for t in one.turns] == [("user", "咳嗽：三天"), ("assistant", "多喝水")]
    with pytest.raises(DatasetError, match="its dialogues are not en-processed: open meddialog:zh-processed"):
        list(open_dataset("meddialog:en-processed", tmp_path / "zh", "test"))
    write(tmp_path / "zh/test_data.json", [["病人：咳嗽", "多喝水"]])
    with pytest.raises(DatasetError, match="a turn does not begin with who says it"):
        list(open_dataset("meddialog:zh-processed", tmp_path / "zh", "test"))


RAW = """id=1
https://www.icliniq.com/qa/a
Description
Q. My knee hurts?
Dialogue
Patient:
Hello doctor,
it hurts. Dialogue is hard.
Doctor:
Rest it.

id=2
https://www.icliniq.com/qa/b
Description
Q. None.
"""


def test_meddialog_raw_is_blocks_of_text(tmp_path: Path) -> None:
    (tmp_path / "icliniq_dialogue.txt").write_text(RAW)
    (tmp_path / "healthcaremagic_dialogue_1.txt").write_text(RAW.split("\n\n")[0])
    dataset = open_dataset("meddialog:en-raw", tmp_path, "train", on_error="collect")
    other, one = map(conversation, dataset)
    assert (other.id, one.id) == ("healthcaremagic_dialogue_1/1", "icliniq_dialogue/1")
    assert [(t.role, t.content) for t in one.turns] == [
        ("user", "Hello doctor,\nit hurts. Dialogue is hard."), ("assistant", "Rest it."),
    ]  # fmt: skip
    assert one.meta == {"description": "Q. My knee hurts?", "diagnosis": "", "head": ["https://www.icliniq.com/qa/a"]}
    assert (dataset.errors, dataset.notices) == ([], ["meddialog: 1 block has no dialogue and is no record"])
    (tmp_path / "icliniq_dialogue.txt").write_text(RAW + "Dialogue\n")
    again = open_dataset("meddialog:en-raw", tmp_path, "train", on_error="collect")
    assert [str(e).rpartition("icliniq_dialogue.txt")[2] for _ in [list(again)] for e in again.errors] == [
        ", row 12: cannot be read: a conversation without a turn"
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_meddialog_raw_chinese_is_of_either_encoding(tmp_path: Path, encoding: str) -> None:
    text = "id=1\nhttps://www.haodf.com/1.htm\nDoctor faculty\n骨科\nDescription\n疾病： 膝痛\nDialogue\n医生：\n休息\n病人：好的\n"
    (tmp_path / "2011.txt.gz").write_bytes(gzip.compress(text.encode(encoding)))
    (one,) = map(conversation, open_dataset("meddialog:zh-raw", tmp_path, "train"))
    assert (one.id, [(t.role, t.content) for t in one.turns]) == ("2011/1", [("assistant", "休息"), ("user", "好的")])
    assert one.meta == {
        "description": "疾病： 膝痛", "diagnosis": "", "head": ["https://www.haodf.com/1.htm", "Doctor faculty", "骨科"],
    }  # fmt: skip


def test_what_a_doctor_concludes_behind_a_raw_dialogue_is_no_turn_of_it(tmp_path: Path) -> None:
    text = "id=1\n\nDescription\n疾病： 膝痛\n\nDialogue\n医生：\n休息\n病人：\n好的\nDescription\nDiagnosis and suggestions\n总结建议： 休息\n"
    later = "\nDescription\n疾病： 发热\n\nDialogue\n病人：\n还要休息吗\n\nid=2\n\nDescription\n无\n"
    (tmp_path / "2020.txt").write_text(text + later, encoding="utf-8")
    opened = open_dataset("meddialog:zh-raw", tmp_path, "train")
    (one,) = map(conversation, opened)
    assert [t.content for t in one.turns] == ["休息", "好的\nDescription", "还要休息吗"]
    assert (one.meta["description"], one.meta["diagnosis"]) == ("疾病： 膝痛\n疾病： 发热", "总结建议： 休息")
    assert opened.notices[-1] == "meddialog: 1 block has no dialogue and is no record"


def test_a_damaged_raw_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "2011.txt.gz").write_bytes(gzip.compress(b"id=1\n" * 9000)[:-12])
    with pytest.raises(DatasetError, match=r"2011\.txt\.gz.*damaged or cut short"):
        list(open_dataset("meddialog:zh-raw", tmp_path, "train"))

"""Instruction and answer sets: each owner's layout, its traps, and the owners' real files where they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.records import QA, Document

ProvesWith = Callable[..., None]
DOCTOR = "If you are a doctor, please answer the medical questions based on the patient's description."


def as_list(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(rows), ensure_ascii=False, indent=1), encoding="utf-8")


def as_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read(name: str, root: Path, split: str = "train") -> list[QA]:
    dataset = open_dataset(name, root, split)
    found = list(dataset)
    assert dataset.errors == []
    return found  # type: ignore[return-value]


def triple(instruction: str, given: str, output: str, **more: Any) -> dict[str, Any]:
    return {"instruction": instruction, "input": given, "output": output, **more}


def test_cmekg_is_lines_in_a_file_called_json(tmp_path: Path) -> None:
    as_lines(
        tmp_path / "data/llama_data.json", [triple("头痛怎么办？", "", "休息。"), triple("发热？", "三天", "就诊。")]
    )
    first, second = read("cmekg-8k", tmp_path)
    assert (first.id, first.question, first.context, first.answers) == ("train-1", "头痛怎么办？", "", ("休息。",))
    assert second.as_text == "三天\n发热？"
    as_list(tmp_path / "data/llama_data.json", [triple("头痛怎么办？", "", "休息。")])
    with pytest.raises(DatasetError, match=r"llama_data.json, line 1: "):  # the wrong reading: no list is read as lines
        read("cmekg-8k", tmp_path)


@pytest.mark.evidence("cmekg-8k", "files", where="reference")
def test_the_whole_cmekg(reference_data: Path, proves_with: ProvesWith) -> None:
    root = reference_data / "cmekg_8k"
    proves_with(root / "data/llama_data.json")
    dataset = open_dataset("cmekg-8k", root, "train")
    records: list[QA] = list(dataset)  # type: ignore[arg-type]
    assert len(records) == 8658 and dataset.notices == dataset.errors == []
    assert {r.context for r in records} == {""} and all(r.question and len(r.answers) == 1 for r in records)
    raw = [json.loads(line) for line in (root / "data/llama_data.json").read_text(encoding="utf-8").splitlines()]
    assert [(r.question, *r.answers) for r in records] == [(row["instruction"], row["output"]) for row in raw]


@pytest.mark.evidence("healthcaremagic", "layout")
def test_healthcaremagic_asks_what_the_patient_asks_in_both_of_its_forms(tmp_path: Path) -> None:
    as_list(tmp_path / "HealthCareMagic-100k.json", [triple(DOCTOR, "My knee hurts.", "Rest it.")])
    [original] = read("healthcaremagic", tmp_path)
    assert (original.question, original.answers) == ("My knee hurts.", ("Rest it.",))  # not the request of every row
    assert original.meta == {"instruction": DOCTOR}
    text = "<human>: My knee hurts.\n<bot>: Rest it. "
    as_lines(tmp_path / "HealthCareMagic-100k-en.jsonl", [{"text": text}])
    [chat] = read("healthcaremagic:chat-format", tmp_path)
    assert (chat.question, chat.answers) == ("My knee hurts.", ("Rest it.",))
    assert chat.digest() == original.digest()


@pytest.mark.parametrize(
    "text",
    ["My knee hurts.", "<human>: My knee hurts.", "<human>: a <bot>: b <human>: c <bot>: d", "So <human>: a <bot>: b"],
)
def test_a_chat_text_that_is_not_one_exchange_is_an_error_of_its_row(tmp_path: Path, text: str) -> None:
    as_lines(tmp_path / "HealthCareMagic-100k-en.jsonl", [{"text": text}, {"text": "<human>: a <bot>: b"}])
    dataset = open_dataset("healthcaremagic:chat-format", tmp_path, "train", on_error="collect")
    assert [r.id for r in dataset] == ["train-2"]
    assert "HealthCareMagic-100k-en.jsonl, row 1" in str(dataset.errors[0]) and "knee" not in str(dataset.errors[0])


def test_the_file_that_chatdoctor_ships_is_the_generated_one(reference_data: Path) -> None:
    """It is the owners' file in the owners' form; it proves nothing about the questions of the site, which are not in it."""
    dataset = open_dataset("healthcaremagic:genmedgpt-5k", reference_data / "chatdoctor", "train")
    records: list[QA] = list(dataset)  # type: ignore[arg-type]
    assert len(records) == 5452 and dataset.notices == dataset.errors == []
    assert {r.meta["instruction"] for r in records} == {DOCTOR} and len({r.question for r in records}) > 5000
    assert open_dataset("healthcaremagic", reference_data / "chatdoctor").variant == "genmedgpt-5k"
    with pytest.raises(DatasetError, match=r"no questions file 'HealthCareMagic-100k\.json'"):
        open_dataset("healthcaremagic:original", reference_data / "chatdoctor", "train")


def test_icliniq_as_alpacare_asks_it_has_no_doctors_answer(reference_data: Path) -> None:
    opened = open_dataset("icliniq", reference_data / "medinstruct_test")
    records = list(opened)
    assert (opened.name, len(records), {one.answers for one in records}) == ("icliniq:alpacare", 1000, {()})  # type: ignore[attr-defined]
    assert all(one.question.strip() for one in records)  # type: ignore[attr-defined]
    assert list(records[0].meta["written_by_models"]) == ["gpt-4"]


@pytest.mark.evidence("icliniq", "layout")
def test_icliniq_accepts_the_doctors_answer_only(tmp_path: Path) -> None:
    row = {"input": "Is it mumps?", "answer_icliniq": "No.", "answer_chatgpt": "Perhaps.", "answer_chatdoctor": "Yes."}
    as_list(tmp_path / "iCliniq.json", [row])
    (tmp_path / "data").mkdir()
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "data/train-00000-of-00001-ab12.parquet")
    for name in ("icliniq:original", "icliniq:hub"):
        [record] = read(name, tmp_path, "test")
        assert (record.id, record.question, record.answers) == ("test-1", "Is it mumps?", ("No.",))
        assert record.meta == {"written_by_models": {"chatgpt": "Perhaps.", "chatdoctor": "Yes."}}


@pytest.mark.evidence("variousmedqa", "layout")
def test_variousmedqa_keeps_options_as_the_questions_context(tmp_path: Path) -> None:
    rows = [
        triple("Could it be a cold?", "", "It could."),
        triple("Which error?", "Rotation, Fusion", "The answer is fusion."),
    ]
    as_list(tmp_path / "data/med_alpaca_data_clean.json", rows)
    first, second = read("variousmedqa", tmp_path)
    assert (first.question, first.context) == ("Could it be a cold?", "")
    assert (second.question, second.context, second.answers) == (
        "Which error?",
        "Rotation, Fusion",
        ("The answer is fusion.",),
    )
    captions = 'id,name,caption\nROCO_00020,PMC1_a.jpg," Scan of a ""mass"".\n"\nROCO_00021,PMC2_b.jpg," ""All of it quoted.""\n"\n'
    (tmp_path / "data/radiologyvaldata_cleaned.csv").write_text(captions)
    records = list(open_dataset("variousmedqa:radiology", tmp_path, "val"))
    assert [(r.id, r.text, r.meta["image"]) for r in records if isinstance(r, Document)] == [
        ("ROCO_00020", 'Scan of a "mass".', "PMC1_a.jpg"), ("ROCO_00021", '"All of it quoted."', "PMC2_b.jpg"),
    ]  # fmt: skip


MEADOW = {  # the names that medalpaca's repositories on Hugging Face hold; two are not called as their repository
    "medical-flashcards": "medical_meadow_medical_flashcards/medical_meadow_wikidoc_medical_flashcards.json",
    "wikidoc": "medical_meadow_wikidoc/medical_meadow_wikidoc.json",
    "wikidoc-patient-information": "medical_meadow_wikidoc_patient_information/medical_meadow_wikidoc_patient_info.json",
    "mediqa": "medical_meadow_mediqa/medical_meadow_mediqa.json",
    "medqa": "medical_meadow_medqa/medical_meadow_medqa.json",
    "mmmlu": "medical_meadow_mmmlu/medical_meadow_mmmlu.json",
    "pubmed-causal": "medical_meadow_pubmed_causal/medical_meadow_pubmed_causal.json",
    "health-advice": "medical_meadow_health_advice/medical_meadow_health_advice.json",
    "small": "medical_meadow_small.json",  # github.com/kbressem/medAlpaca
}


@pytest.mark.evidence("medical-meadow", "layout")
def test_medical_meadow_reads_each_part_from_its_own_file(tmp_path: Path) -> None:
    for part, path in MEADOW.items():
        as_list(tmp_path / path, [triple("Answer this question truthfully", f"What is {part}?", "It.")])
    for part in MEADOW:
        [record] = read(f"medical-meadow:{part}", tmp_path)
        assert (record.question, record.answers) == (f"What is {part}?", ("It.",))
        assert record.meta == {"instruction": "Answer this question truthfully"}


@pytest.mark.evidence("medc-i", "layout")
@pytest.mark.parametrize("write", [as_list, as_lines])
def test_medc_i_names_the_origin_of_each_row(tmp_path: Path, write: Callable[..., None]) -> None:
    asked = "###Question: Which?\n###Options:\nA. One\nB. Two\n"
    rows = [
        triple("Answer with the best option directly.", asked, "###Answer: OPTION B IS CORRECT.", source="medqa_train", sample_id=0),
        triple("Answer with the best option directly.", asked, "###Answer: OPTION B IS CORRECT.", source="umls", sample_id=None),
    ]  # fmt: skip
    write(tmp_path / "release.json", rows)
    first, second = read("medc-i", tmp_path)
    assert (first.question, first.answers) == (asked, ("###Answer: OPTION B IS CORRECT.",))
    assert first.labels == {"source": "medqa_train"} and second.labels == {"source": "umls"}
    assert (first.meta["sample_id"], second.meta["sample_id"]) == (0, None)
    write(tmp_path / "release.json", [{**rows[0], "source": "chatdoctor"}])  # a part that the release leaves out
    with pytest.raises(DatasetError, match=r"release.json, row 1: .*'source' has a value that the card does not know"):
        read("medc-i", tmp_path)


@pytest.mark.evidence("oncogpt", "layout")
def test_oncogpt_says_question_where_its_kin_say_input(tmp_path: Path) -> None:
    as_list(
        tmp_path / "data/test.json", [{"instruction": DOCTOR, "question": "Can he be cured?", "output": " Perhaps."}]
    )
    [record] = read("oncogpt", tmp_path, "test")
    assert (record.question, record.answers) == ("Can he be cured?", (" Perhaps.",))
    as_list(
        tmp_path / "data/test.json", [triple(DOCTOR, "Can he be cured?", "Perhaps.")]
    )  # the form of ChatDoctor's files
    with pytest.raises(DatasetError, match=r"test.json, row 1: no 'question'"):
        read("oncogpt", tmp_path, "test")
    (tmp_path / "data/OncoGPT_demo.rar").write_bytes(b"Rar!")
    with pytest.raises(DatasetError, match="RAR archive, which is not read"):
        list(open_dataset("oncogpt", tmp_path, "train"))


@pytest.mark.evidence("huatuo-26m", "layout")
def test_huatuo_takes_one_question_of_its_wordings_and_no_address_for_an_answer(tmp_path: Path) -> None:
    nested = {"questions": [["曲匹地尔片的用法？", "怎么吃？"]], "answers": ["口服。"]}
    flat = {"questions": ["怎么吃？"], "answers": ["口服。", "饭后。"]}
    address = {"questions": ["头痛？"], "answers": ["https://x.cn/q/1.html"]}
    as_lines(tmp_path / "huatuo_encyclopedia_qa/validation_datasets.jsonl", [nested])
    as_lines(tmp_path / "huatuo_knowledge_graph_qa/validation_datasets.jsonl", [flat])
    as_lines(tmp_path / "huatuo_consultation_qa/validation_datasets.jsonl", [address])
    as_lines(tmp_path / "huatuo26M-testdatasets/test_datasets.jsonl", [flat])
    lite = {
        "id": 7,
        "question": "怎么吃？",
        "answer": "口服。",
        "label": "内科",
        "related_diseases": "头痛",
        "score": 5,
    }
    as_lines(tmp_path / "Huatuo26M-Lite/format_data.jsonl", [lite])
    [first] = read("huatuo-26m:encyclopedia", tmp_path, "validation")
    assert (first.question, first.meta["other_wordings"], first.answers) == (
        "曲匹地尔片的用法？",
        ["怎么吃？"],
        ("口服。",),
    )
    [second] = read("huatuo-26m:knowledge-graph", tmp_path, "validation")
    assert (second.question, second.answers, second.meta["answer_is_url"]) == ("怎么吃？", ("口服。", "饭后。"), False)
    [third] = read("huatuo-26m:consultation", tmp_path, "validation")
    assert (third.answers, third.meta["answer_is_url"], third.meta["urls"]) == ((), True, ["https://x.cn/q/1.html"])
    [fourth] = read("huatuo-26m:test", tmp_path, "test")
    assert (fourth.id, fourth.question) == ("test-1", "怎么吃？")
    as_list(tmp_path / "data/huatuo26M_test.json", [triple(["怎么吃？"], "", ["口服。"], id="")])  # type: ignore[arg-type]
    [sixth] = read("huatuo-26m:zhongjing-test", tmp_path, "test")
    assert (sixth.id, sixth.question, sixth.answers) == ("test-1", "怎么吃？", ("口服。",))
    [fifth] = read("huatuo-26m:lite", tmp_path)
    assert (fifth.id, fifth.labels, fifth.meta) == (
        "7",
        {"department": "内科"},
        {"related_diseases": "头痛", "score": 5},
    )


DAMAGED = [
    ("cmekg-8k", "train", "data/llama_data.json", as_lines, triple("Why?", "", "So.")),
    ("healthcaremagic", "train", "HealthCareMagic-100k.json", as_list, triple(DOCTOR, "Why?", "So.")),
    ("icliniq", "test", "iCliniq.json", as_list, dict.fromkeys(("input", "answer_icliniq", "answer_chatgpt", "answer_chatdoctor"), "a")),
    ("variousmedqa", "train", "data/med_alpaca_data_clean.json", as_list, triple("Why?", "", "So.")),
    ("medical-meadow:mmmlu", "train", MEADOW["mmmlu"], as_list, triple("Answer", "Why?", "So.")),
    ("medc-i", "train", "release.json", as_list, triple("Answer", "Why?", "So.", source="umls", sample_id=None)),
    ("oncogpt", "test", "data/test.json", as_list, {"instruction": DOCTOR, "question": "Why?", "output": "So."}),
    ("huatuo-26m:test", "test", "huatuo26M-testdatasets/test_datasets.jsonl", as_lines, {"questions": ["Why?"], "answers": ["So."]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "split", "path", "write", "row"), DAMAGED, ids=[one[0] for one in DAMAGED])
def test_a_damaged_row_is_named_with_its_file_and_reason(
    tmp_path: Path, name: str, split: str, path: str, write: Callable[..., None], row: dict[str, Any]
) -> None:
    asked = next(key for key in ("input", "question", "questions") if key in row)
    lost = {key: value for key, value in row.items() if key != asked}
    write(tmp_path / path, [row, lost, {**row, asked: 3}, row])
    with pytest.raises(DatasetError, match=rf"{Path(path).name}, row 2: no '{asked}'"):
        list(open_dataset(name, tmp_path, split))
    dataset = open_dataset(name, tmp_path, split, on_error="collect")
    assert [r.id for r in dataset] == [f"{split}-1", f"{split}-4"]
    assert [f"row {n}: " in str(e) for n, e in zip((2, 3), dataset.errors, strict=True)] == [True, True]
    assert str(dataset.errors[1]).endswith(f"cannot be read: '{asked}' is not text")

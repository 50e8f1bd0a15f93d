"""Dialogues of several turns: each owner's layout, its traps, and what a conversation is for the rest of the house."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from healthfm import open_dataset
from healthfm.curate.corpus import text_of
from healthfm.curate.texts import parts
from healthfm.errors import DatasetError
from healthfm.records import MISSING, Conversation, Document, Message, Record
from tests.datasets.test_instructions import as_lines, as_list


def said(record: Record) -> list[tuple[str, Any]]:
    assert isinstance(record, Conversation)
    return [(turn.role, turn.content) for turn in record.turns]


ROW = {
    "id": "j1", "cate1": "内科", "cate2": "消化内科", "instruction": "还要查吗？", "input": "", "output": "要。",
    "history": [["肚子痛。", "多久了？"], ["三天。", "查一下。"]],
}  # fmt: skip


@pytest.mark.evidence("cmtmedqa", "layout")
def test_cmtmedqa_is_history_and_then_the_last_exchange(tmp_path: Path) -> None:
    single = {"instruct": "冷水能避孕吗？", "output": "不能。"}
    odd = {**ROW, "cate1": "nan", "input": "已经查过。", "history": []}
    as_list(tmp_path / "data/CMtMedQA_test.json", [ROW, odd, single])
    first, second, third = open_dataset("cmtmedqa", tmp_path, "test")
    assert said(first) == [
        ("user", "肚子痛。"), ("assistant", "多久了？"), ("user", "三天。"), ("assistant", "查一下。"), ("user", "还要查吗？"), ("assistant", "要。"),
    ]  # fmt: skip
    assert (first.id, first.labels) == ("test-1", {"department": "内科"})
    assert first.meta == {"part": "dialogues", "id": "j1", "cate2": "消化内科"}
    assert said(second) == [("user", "还要查吗？\n已经查过。"), ("assistant", "要。")] and second.labels == {
        "department": MISSING
    }
    assert said(third) == [("user", "冷水能避孕吗？"), ("assistant", "不能。")]
    assert third.meta == {"part": "single questions"}
    assert len({first.digest(), second.digest(), third.digest()}) == 3


@pytest.mark.evidence("hybrid-sft", "layout")
def test_hybrid_sft_hears_who_speaks_from_either_colon(tmp_path: Path) -> None:
    rows = [{"data": ["问：头痛：怎么办？", "答:休息。", "问：谢谢"]}, {"data": ["问:咳嗽", "答：喝水。"]}]
    as_lines(tmp_path / "HuatuoGPT_sft_data_v1.jsonl", rows)
    first, second = open_dataset("hybrid-sft", tmp_path, "train")
    assert said(first) == [
        ("user", "头痛：怎么办？"),
        ("assistant", "休息。"),
        ("user", "谢谢"),
    ]  # only the first colon is the prefix
    assert said(second) == [("user", "咳嗽"), ("assistant", "喝水。")]
    as_lines(tmp_path / "HuatuoGPT_sft_data_v1.jsonl", [{"data": ["问：头痛", "休息。"]}])
    with pytest.raises(
        DatasetError, match=r"v1.jsonl, row 1: .*begins with neither 问 nor 答"
    ):  # never told from its place
        list(open_dataset("hybrid-sft", tmp_path, "train"))


@pytest.mark.evidence("chimed", "layout")
def test_chimed_reads_its_three_stages_by_the_keys_of_the_owners_scripts(tmp_path: Path) -> None:
    turns = [{"from": "input", "value": "头痛？"}, {"from": "output", "value": "休息。"}]
    as_lines(tmp_path / "sft.jsonl", [{"conversations": turns}])
    (tmp_path / "cpt.txt").write_text("第一段。\n\n第二段。\n", encoding="utf-8")
    [sft] = open_dataset("chimed", tmp_path, "train")
    assert said(sft) == [("user", "头痛？"), ("assistant", "休息。")]
    texts = list(open_dataset("chimed:cpt", tmp_path, "train"))
    assert [(r.id, r.text) for r in texts if isinstance(r, Document)] == [
        ("train-1", "第一段。"),
        ("train-3", "第二段。"),
    ]
    pair = {"question": "头痛？", "response_chosen": "休息。", "response_rejected": "不知道。"}
    for write in (as_list, as_lines):
        write(tmp_path / "dpo.json", [pair])
        [preference] = open_dataset("chimed:dpo", tmp_path, "train")
        assert said(preference) == [("user", "头痛？"), ("assistant", "休息。")]  # the better one, never the worse
        assert preference.meta == {"rejected": "不知道。"}
    as_lines(tmp_path / "sft.jsonl", [{"conversations": [{"from": "human", "value": "头痛？"}]}])
    with pytest.raises(DatasetError, match=r"sft.jsonl, row 1: .*from neither input nor output"):
        list(open_dataset("chimed", tmp_path, "train"))


DAMAGED = [
    ("cmtmedqa", "CMtMedQA.json", ROW, {"history": [["肚子痛。"]]}, "'history' has an entry that is not a question with its answer"),
    ("cmtmedqa", "CMtMedQA.json", ROW, {"output": None}, "a turn is not text"),
    ("hybrid-sft", "HuatuoGPT_sft_data_v1.jsonl", {"data": ["问：a", "答：b"]}, {"data": []}, "a conversation without a turn"),
    ("chimed", "sft.jsonl", {"conversations": [{"from": "input", "value": "a"}]}, {"conversations": [{"from": "input"}]}, "KeyError"),
    ("chimed:dpo", "dpo.json", {"question": "a", "response_chosen": "b", "response_rejected": "c"}, {"response_rejected": 3}, "'response_rejected' is not text"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "path", "row", "change", "reason"), DAMAGED)
def test_a_damaged_row_is_named_with_its_file_and_reason(
    tmp_path: Path, name: str, path: str, row: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    rows = [row, {**row, **change}, row]
    (as_lines if path.endswith(".jsonl") else as_list)(tmp_path / path, rows)
    with pytest.raises(DatasetError, match=f"{path}, row 2: cannot be read: {reason}"):
        list(open_dataset(name, tmp_path, "train"))
    dataset = open_dataset(name, tmp_path, "train", on_error="collect")
    assert [r.id for r in dataset] == ["train-1", "train-3"] and len(dataset.errors) == 1


def test_a_conversation_goes_out_as_a_row(tmp_path: Path) -> None:
    as_lines(tmp_path / "HuatuoGPT_sft_data_v1.jsonl", [{"data": ["问：a", "答：b"]}])
    table = open_dataset("hybrid-sft", tmp_path, "train").to_arrow()
    assert json.loads(table["turns"][0].as_py()) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]


def test_a_conversation_is_searched_and_looked_for_by_its_turns() -> None:
    one = Conversation(id="1", turns=(Message("user", "My knee hurts."), Message("assistant", "Rest it.")))
    assert text_of(one) == "My knee hurts.\nRest it."
    [part] = parts([one])
    assert (part.kind, [b" ".join(words) for words in part.segments], part.ids) == (
        "text",
        [b"my knee hurts", b"rest it"],
        ("1",),
    )

"""CBLUE: each set in the layout of its owners' README, code and format checkers; the wrong reading of each trap fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from healthfm import card, open_dataset
from healthfm.cards.schema import DatasetCard
from healthfm.errors import DatasetError
from healthfm.records import MISSING, QA, Conversation, Document, Pair, Record, Relation, Span
from tests.datasets.test_consultations import DIALOGUE, imcs, write


def lined(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def document(record: Record) -> Document:
    assert isinstance(record, Document)
    return record


def words(record: Document) -> list[tuple[str, str]]:
    return [(record.text[s.start : s.end], s.type) for s in record.spans]


LUNG = "呼吸肌麻痹和呼吸中枢受累患者可并发肺炎。"
NESTED = [
    {"start_idx": 0, "end_idx": 2, "type": "bod", "entity": "呼吸肌"}, {"start_idx": 0, "end_idx": 4, "type": "sym", "entity": "呼吸肌麻痹"},
    {"start_idx": 17, "end_idx": 18, "type": "dis", "entity": "肺炎"},
]  # fmt: skip


@pytest.mark.evidence("cblue", "layout")
def test_cmeee_ends_on_the_last_character(tmp_path: Path) -> None:
    write(tmp_path / "CMeEE/CMeEE_train.json", [{"text": LUNG, "entities": NESTED}, {"text": "无", "entities": []}])
    first, second = map(document, open_dataset("cblue", tmp_path, "train"))
    assert words(first) == [("呼吸肌", "body"), ("呼吸肌麻痹", "symptom"), ("肺炎", "disease")]
    assert first.spans[0] == Span(0, 3, "body") and first.labels == {} and second.spans == () and second.labels == {}
    behind = [{**one, "end_idx": one["end_idx"] + 1} for one in NESTED]  # type: ignore[operator]
    in_bytes = [{**NESTED[2], "start_idx": 51, "end_idx": 56}]
    for wrong in (behind, in_bytes):
        write(tmp_path / "CMeEE/CMeEE_train.json", [{"text": LUNG, "entities": wrong}])
        with pytest.raises(
            DatasetError, match=r"CMeEE_train\.json, row 1: cannot be read: the text at the place of a mention"
        ):
            list(open_dataset("cblue", tmp_path, "train"))
    for ends in (NESTED, behind):  # of the second version readers say both
        write(tmp_path / "CMeEE-V2/CMeEE-V2_dev.json", [{"text": LUNG, "entities": ends}])
        (found,) = map(document, open_dataset("cblue:cmeee-v2", tmp_path, "validation"))
        assert words(found) == words(first)


@pytest.mark.evidence("cblue", "layout")
@pytest.mark.parametrize(
    ("name", "path", "row"),
    [
        ("cmeee", "CMeEE/CMeEE", {"text": "a"}), ("cmeee-v2", "CMeEE-V2/CMeEE-V2", {"text": "a", "entities": []}), ("cmeie", "CMeIE/CMeIE", {"text": "a"}),
        ("chip-cdn", "CHIP-CDN/CHIP-CDN", {"text": "a", "normalized_result": ""}), ("chip-cdee", "CHIP-CDEE/CHIP-CDEE", {"id": 1, "text": "a"}),
        ("chip-ctc", "CHIP-CTC/CHIP-CTC", {"id": "s1", "text": "a"}), ("chip-sts", "CHIP-STS/CHIP-STS", {"id": "1", "text1": "a", "text2": "b", "category": "c"}),
        ("kuake-qic", "KUAKE-QIC/KUAKE-QIC", {"id": "1", "query": "a", "label": ""}), ("kuake-qtr", "KUAKE-QTR/KUAKE-QTR", {"id": "1", "query": "a", "title": "b"}),
        ("kuake-qqr", "KUAKE-QQR/KUAKE-QQR", {"id": "1", "query1": "a", "query2": "b", "label": "NA"}), ("cmedcausal", "CMedCausal/CMedCausal", {"text": "a"}),
        ("text2dt", "Text2DT/Text2DT", {"text": "a"}),
    ],
)  # fmt: skip
def test_what_a_test_part_withholds_is_missing_and_no_other_part_may(
    tmp_path: Path, name: str, path: str, row: dict[str, Any]
) -> None:
    write(tmp_path / f"{path}_test.json", [row])
    (one,) = open_dataset(f"cblue:{name}", tmp_path, "test")
    assert list(one.labels.values()) == [MISSING]
    keys = ("entities", "normalized_result", "label")
    write(tmp_path / f"{path}_train.json", [{key: value for key, value in row.items() if key not in keys}])
    with pytest.raises(DatasetError, match=r"train\.json, .* 1: no '"):
        list(open_dataset(f"cblue:{name}", tmp_path, "train"))


SPO = {
    "Combined": True, "predicate": "放射治疗", "subject": "慢性胰腺炎", "subject_type": "疾病", "object": {"@value": "外照射"}, "object_type": {"@value": "其他治疗"},
}  # fmt: skip


@pytest.mark.evidence("cblue", "layout")
@pytest.mark.parametrize("path", ["CMeIE/CMeIE_train.json", "CMeIE/CMeIE_train.jsonl", "CMeIE-V2/CMeIE-V2_train.jsonl"])
def test_cmeie_is_lines_of_json_whatever_it_is_called(tmp_path: Path, path: str) -> None:
    lined(tmp_path / path, [{"text": "慢性胰腺炎@外照射", "spo_list": [SPO]}, {"text": "无", "spo_list": []}])
    name = "cblue:cmeie-v2" if "V2" in path else "cblue:cmeie"
    first, second = map(document, open_dataset(name, tmp_path, "train"))
    assert first.relations == (Relation("放射治疗", "慢性胰腺炎", "外照射"),) and first.meta == {
        "types": [("疾病", "其他治疗")]
    }
    assert second.relations == () and second.labels == {}
    lined(tmp_path / path, [{"text": "a", "spo_list": [{**SPO, "predicate": "治愈"}]}])
    with pytest.raises(DatasetError, match="row 1: cannot be read: 'predicate' has a value that the card"):
        list(open_dataset(name, tmp_path, "train"))


@pytest.mark.evidence("cblue", "layout")
def test_chip_cdn_parts_its_terms(tmp_path: Path) -> None:
    row = {"text": "左膝退变伴游离体", "normalized_result": "膝骨关节病##膝关节游离体"}
    write(tmp_path / "CHIP-CDN/CHIP-CDN_train.json", [row])
    assert open_dataset("cblue:chip-cdn", tmp_path, "train")[0].labels == {
        "terms": frozenset({"膝骨关节病", "膝关节游离体"})
    }


def test_chip_cdn_quotes_around_terms_with_a_comma_are_no_part_of_them(tmp_path: Path) -> None:
    row = {"text": "多发骨折", "normalized_result": '"股骨骨折##下肢未特指的损伤,水平未特指"'}
    write(tmp_path / "CHIP-CDN/CHIP-CDN_train.json", [row])
    assert open_dataset("cblue:chip-cdn", tmp_path, "train")[0].labels == {
        "terms": frozenset({"股骨骨折", "下肢未特指的损伤,水平未特指"})
    }


@pytest.mark.evidence("cblue", "layout")
def test_texts_with_a_class(tmp_path: Path) -> None:
    criterion = {"id": "s2", "label": "Addictive Behavior", "text": " （2）重度吸烟"}
    write(tmp_path / "CHIP-CTC/CHIP-CTC_train.json", [criterion, {**criterion, "id": "s3", "label": "Wealth"}])
    dataset = open_dataset("cblue:chip-ctc", tmp_path, "train", on_error="collect")
    assert [(r.id, document(r).text, r.labels) for r in dataset] == [
        ("s2", " （2）重度吸烟", {"label": "Addictive Behavior"})
    ]
    assert "row 2: cannot be read: 'label' has a value that the card" in str(dataset.errors[0])
    write(tmp_path / "KUAKE-QIC/KUAKE-QIC_dev.json", [{"id": "s1", "query": "如何治疗？", "label": "治疗方案"}])
    (one,) = map(document, open_dataset("cblue:kuake-qic", tmp_path, "validation"))
    assert (one.text, one.labels) == ("如何治疗？", {"label": "method"})


@pytest.mark.evidence("cblue", "layout")
def test_pairs_of_texts(tmp_path: Path) -> None:
    sts = {
        "id": "1",
        "text1": "糖尿病能吃减肥药吗？",
        "text2": "糖尿病为什么不能吃减肥药",
        "label": "1",
        "category": "diabetes",
    }
    write(tmp_path / "CHIP-STS/CHIP-STS_train.json", [sts])
    write(
        tmp_path / "KUAKE-QTR/KUAKE-QTR_train.json", [{"id": "s1", "query": "咳嗽", "title": "感冒咳嗽", "label": "2"}]
    )
    write(tmp_path / "KUAKE-QQR/KUAKE-QQR_train.json", [{"id": "s1", "query1": "咳嗽", "query2": "感冒", "label": "0"}])
    found = [open_dataset(f"cblue:{name}", tmp_path, "train")[0] for name in ("chip-sts", "kuake-qtr", "kuake-qqr")]
    assert [(r.a, r.b, r.labels, r.meta) for r in found if isinstance(r, Pair)] == [
        ("糖尿病能吃减肥药吗？", "糖尿病为什么不能吃减肥药", {"label": "alike"}, {"category": "diabetes"}),
        ("咳嗽", "感冒咳嗽", {"label": "2"}, {}), ("咳嗽", "感冒", {"label": "0"}, {}),
    ]  # fmt: skip
    table = open_dataset("cblue:chip-sts", tmp_path, "train").to_arrow()
    assert (table["a"][0].as_py(), table["b"][0].as_py()) == (sts["text1"], sts["text2"])


@pytest.mark.evidence("cblue", "layout")
def test_chip_cdee_events_are_words_not_places(tmp_path: Path) -> None:
    event = {"core_name": "肝功能异常", "tendency": "", "character": ["轻度"], "anatomy_list": ["肝"]}
    denied = {"core_name": "咳嗽", "tendency": "否定", "character": [], "anatomy_list": []}
    write(
        tmp_path / "CHIP-CDEE/CHIP-CDEE_train.json",
        [{"id": 149, "text": "肝功仍轻度异常，无咳。", "event": [event, denied]}],
    )
    (one,) = map(document, open_dataset("cblue:chip-cdee", tmp_path, "train"))
    assert (one.id, one.spans) == ("149", ())
    assert one.meta["events"] == [{**event, "tendency": None}, {**denied, "tendency": "negated"}]


@pytest.mark.evidence("cblue", "layout")
def test_chip_mdcfnpc_ends_behind_the_last_character(tmp_path: Path) -> None:
    ner = [
        {"mention": "拉稀", "name": "腹泻", "range": [1, 3], "attr": "阴性"},
        {"mention": "咳", "name": "undefined", "range": [4, 5], "attr": "阳性"},
    ]
    turn = {"sentence_id": "1", "sender": "患者", "text": "不拉稀，咳", "ner": ner}
    path = tmp_path / "CHIP-MDCFNPC/CHIP-MDCFNPC_train.jsonl"
    lined(path, [{"dialog_id": 5, "dialog_info": [turn]}])
    (one,) = open_dataset("cblue:chip-mdcfnpc", tmp_path, "train")
    assert isinstance(one, Conversation) and (one.id, one.turns[0].role) == ("5", "user")
    assert one.turns[0].spans == (
        Span(1, 3, "clinical finding", ("腹泻",), status="absent"), Span(4, 5, "clinical finding", status="present"),
    )  # fmt: skip
    lined(
        path, [{"dialog_id": 5, "dialog_info": [{**turn, "ner": [{**ner[0], "range": [1, 2]}]}]}]
    )  # as CMeEE would have it
    with pytest.raises(
        DatasetError, match="row 1: cannot be read: the text at the place of a mention is not the one it says"
    ):
        list(open_dataset("cblue:chip-mdcfnpc", tmp_path, "train"))
    lined(
        tmp_path / "CHIP-MDCFNPC/CHIP-MDCFNPC_test.jsonl",
        [{"dialog_id": 6, "dialog_info": [{**turn, "ner": [{**ner[0], "attr": ""}]}]}],
    )
    (bare,) = open_dataset("cblue:chip-mdcfnpc", tmp_path, "test")
    assert isinstance(bare, Conversation) and bare.turns[0].spans[0].status is None


def at(mention: str, text: str) -> dict[str, Any]:
    return {"mention": mention, "start_idx": text.index(mention), "end_idx": text.index(mention) + len(mention)}


HEART = "怀孕后的女性由于生理性贫血使心脏的负担加重,可能会使心率相对增快。"


@pytest.mark.evidence("cblue", "layout")
def test_cmedcausal_keeps_a_condition_as_a_relation_to_a_relation(tmp_path: Path) -> None:
    burden, faster = at("心脏的负担加重", HEART), {"type": "mention", **at("心率相对增快", HEART)}
    cause = {"type": "relation", "head": at("生理性贫血", HEART), "relation": 1, "tail": burden}
    rows = [
        {"head": at("怀孕后的女性", HEART), "relation": 2, "tail": cause},
        {"head": burden, "relation": 1, "tail": faster},
    ]
    write(tmp_path / "CMedCausal/CMedCausal_train.json", [{"text": HEART, "relation_of_mention": rows}])
    (one,) = map(document, open_dataset("cblue:cmedcausal", tmp_path, "train"))
    assert [w for w, _ in words(one)] == ["怀孕后的女性", "生理性贫血", "心脏的负担加重", "心率相对增快"]
    assert one.relations == (Relation("cause", 1, 2), Relation("cause", 2, 3)) and one.meta == {"conditions": [(0, 0)]}
    rows[1]["head"] = {**burden, "end_idx": burden["end_idx"] - 1}  # as CMeEE would have it
    write(tmp_path / "CMedCausal/CMedCausal_train.json", [{"text": HEART, "relation_of_mention": rows}])
    with pytest.raises(DatasetError, match="the text at the place of a mention is not the one it says"):
        list(open_dataset("cblue:cmedcausal", tmp_path, "train"))


@pytest.mark.evidence("cblue", "layout")
def test_text2dt_is_a_tree_in_pre_order(tmp_path: Path) -> None:
    tree = [
        {"role": "C", "triples": [["患者", "临床表现", "发热"]], "logical_rel": "null"},
        {"role": "D", "triples": [["患者", "治疗药物", "甲"], ["患者", "治疗药物", "乙"]], "logical_rel": "or"}, {"role": "D", "triples": [], "logical_rel": "null"},
    ]  # fmt: skip
    write(
        tmp_path / "Text2DT/Text2DT_dev.json",
        [{"text": "发热者给甲或乙。", "tree": tree}, {"text": "x", "tree": tree[:2]}],
    )
    dataset = open_dataset("cblue:text2dt", tmp_path, "validation", on_error="collect")
    (one,) = map(document, dataset)
    assert one.relations[1] == Relation("治疗药物", "患者", "甲") and len(one.relations) == 3
    assert [(n["role"], n["logical_rel"], n["triples"]) for n in one.meta["tree"]] == [
        ("condition", "null", 1), ("decision", "or", 2), ("decision", "null", 0),
    ]  # fmt: skip
    assert "row 2: cannot be read: the nodes make no tree" in str(dataset.errors[0])


@pytest.mark.evidence("cblue", "layout")
def test_kuake_ir_answers_a_query_with_its_passages(tmp_path: Path) -> None:
    folder = tmp_path / "KUAKE-IR"
    folder.mkdir()
    (folder / "corpus.tsv").write_text("10\t多喝水。\n11\t休息。\n", encoding="utf-8")
    (folder / "KUAKE-IR_dev_query.txt").write_text("1\t咳嗽怎么办\n2\t发热\n", encoding="utf-8")
    (folder / "KUAKE-IR_dev.tsv").write_text("1\t11\n2\t99\n", encoding="utf-8")
    (folder / "KUAKE-IR_test.query.txt").write_text("7\t头痛\n", encoding="utf-8")
    dataset = open_dataset("cblue:kuake-ir", tmp_path, "validation", on_error="collect")
    assert [(r.id, r.question, r.answers, r.meta) for r in dataset if isinstance(r, QA)] == [
        ("1", "咳嗽怎么办", ("休息。",), {"passages": ["11"]})
    ]
    assert "a query is answered by a passage that is not in the corpus" in str(dataset.errors[0])
    (asked,) = open_dataset("cblue:kuake-ir", tmp_path, "test")
    assert isinstance(asked, QA) and (asked.question, asked.answers) == ("头痛", ())


@pytest.mark.evidence("cblue", "layout")
def test_the_consultations_of_other_rows_are_read_by_their_cards(tmp_path: Path) -> None:
    write(tmp_path / "IMCS-V2-NER/IMCS-V2_train.json", {"10001": imcs()})
    write(
        tmp_path / "IMCS-V2-DAC/IMCS-V2_test.json",
        {"9": {"self_report": "", "dialogue": [{"sentence_id": "1", "speaker": "患者", "sentence": "好"}]}},
    )
    write(tmp_path / "MedDG/MedDG_train.json", [DIALOGUE])
    (consultation,) = open_dataset("cblue:imcs-v2-ner", tmp_path, "train")
    (withheld,) = open_dataset("cblue:imcs-v2-dac", tmp_path, "test")
    (dialogue,) = open_dataset("cblue:meddg", tmp_path, "train")
    assert isinstance(consultation, Conversation) and consultation.turns[0].spans[0].status == "absent"
    assert isinstance(withheld, Conversation) and withheld.turns[0].labels["dialogue act"] is MISSING
    assert isinstance(dialogue, Conversation) and dialogue.turns[0].labels["symptom"] == frozenset({"腹痛"})


def test_every_part_on_the_card_has_files_and_a_reader() -> None:
    from healthfm.datasets.readers.cblue import PARTS

    cblue = card("cblue")
    assert isinstance(cblue, DatasetCard)
    assert set(PARTS) == set(cblue.variants) == {file.variant for file in cblue.files}

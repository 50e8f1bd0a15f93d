"""MASH-QA and CliCR: miniatures in the owners' layouts, and what a plain SQuAD reader makes of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError

Row = dict[str, Any]

# MASH-QA: SQuAD's keys, with sent_list beside context and answer_span beside answer_start (run_sentqa_att_sparse_hier.py) ---

SENTENCES = ["Gout hurts.", "Rest helps.", "It is common.", "Drink water – a lot."]
CONTEXT = " ".join(SENTENCES)


def mash_question(name: str, span: list[int]) -> Row:
    places = [CONTEXT.index(SENTENCES[one]) for one in span]
    answer = {
        "text": " ".join(SENTENCES[one] for one in span), "answer_start": places[0], "answer_span": span,
        "answer_starts": [[place, len(SENTENCES[one])] for place, one in zip(places, span, strict=True)],
    }  # fmt: skip
    return {"id": name, "question": f"What of {name}?", "is_impossible": False, "answers": [answer]}


def mash_file(*asked: Row) -> Row:
    starts = [[CONTEXT.index(one), len(one)] for one in SENTENCES]
    passage = {"context": CONTEXT, "sent_list": SENTENCES, "sent_starts": starts, "qas": list(asked)}
    return {"version": "1", "data": [{"title": "https://www.webmd.com/gout", "paragraphs": [passage]}]}


def write_mash(root: Path, content: Row, part: str = "full") -> Path:
    (root / "mashqa_data").mkdir(parents=True, exist_ok=True)
    for word in ("train", "val", "test"):
        place = root / "mashqa_data" / f"{word}_webmd_squad_v2_{part}.json"
        place.write_text(json.dumps(content), encoding="utf-8")
    return root


@pytest.mark.evidence("mash-qa", "layout")
@pytest.mark.parametrize("packed", [False, True])
def test_mash_qas_answers_are_all_their_sentences(tmp_path: Path, packed: bool) -> None:
    impossible = {"id": "n", "question": "None?", "is_impossible": True, "answers": []}
    root = write_mash(tmp_path / "r", mash_file(mash_question("far", [1, 3]), mash_question("near", [0]), impossible))
    write_mash(root, mash_file(mash_question("near", [0])), "consec")
    if packed:
        shutil.make_archive(str(root / "mashqa_data"), "zip", root, "mashqa_data")
        shutil.rmtree(root / "mashqa_data")
    dataset = open_dataset("mash-qa", root=root)
    assert dataset.splits == ("train", "validation", "test")
    for split in dataset.splits:
        far, near, none = dataset[split]
        assert (far.id, far.question, far.context) == ("far", "What of far?", CONTEXT)
        assert far.answers == ("Rest helps. Drink water – a lot.",)
        assert [far.meta["sentences"][one] for one in far.meta["answer_sentences"]] == [SENTENCES[1], SENTENCES[3]]
        assert far.meta["url"] == "https://www.webmd.com/gout"
        assert (near.answers, none.answers, none.meta["answer_sentences"]) == (("Gout hurts.",), (), [])
    assert [one.id for one in open_dataset("mash-qa:consec", root=root, split="test")] == ["near"]


def test_a_squad_readers_span_is_not_mash_qas_answer(tmp_path: Path) -> None:
    asked = mash_question("far", [1, 3])
    [record] = open_dataset("mash-qa", root=write_mash(tmp_path, mash_file(asked)), split="test")
    answer = asked["answers"][0]
    squad = CONTEXT[answer["answer_start"] : answer["answer_start"] + len(answer["text"])]
    assert squad == "Rest helps. It is common. Drink " and record.answers[0] != squad


def changed(**keys: Any) -> Row:
    row = mash_question("bad", [1, 3])
    row["answers"][0] |= {key: value for key, value in keys.items() if key in row["answers"][0]}
    return row | {key: value for key, value in keys.items() if key in row}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (changed(answer_span=[4]), "its answer names sentences that the passage does not have"),
        (changed(answer_span=[-1]), "its answer names sentences that the passage does not have"),
        (changed(answer_span=[]), "its answer names sentences"),
        (changed(answers=[]), "0 answers, which goes ill with its 'is_impossible'"),
        (changed(is_impossible=True), "1 answers, which goes ill"),
        (changed(answers=[{"text": "x", "answer_start": 0}]), "no 'answer_span'"),
        ({"id": "bad", "answers": [], "is_impossible": True}, "no 'question'"),
        ("bad", "a JSON object was expected, not a str"),
    ],
)
def test_a_damaged_mash_qa_question_names_file_place_and_reason(tmp_path: Path, bad: Any, reason: str) -> None:
    root = write_mash(tmp_path, mash_file(mash_question("a", [0]), bad, mash_question("b", [2])))
    with pytest.raises(
        DatasetError, match=rf"test_webmd_squad_v2_full\.json, row 1, .*question 2.*: .*{reason}"
    ) as one:
        list(open_dataset("mash-qa", root=root, split="test"))
    assert "What of" not in str(one.value)
    collected = open_dataset("mash-qa", root=root, split="test", on_error="collect")
    assert ([r.id for r in collected], len(collected.errors)) == (["a", "b"], 1)


@pytest.mark.parametrize("content", ["[]", "{}", '{"data": 3}', '{"data": [3]}', '{"data": [{"title": "x"}]}', '{"data": [{"paragraphs": [{}]}]}'])  # fmt: skip
def test_a_file_that_is_no_squad_file_is_told(tmp_path: Path, content: str) -> None:
    root = write_mash(tmp_path, {})
    (root / "mashqa_data" / "test_webmd_squad_v2_full.json").write_text(content)
    with pytest.raises(DatasetError, match=r"test_webmd_squad_v2_full\.json"):
        list(open_dataset("mash-qa", root=root, split="test"))


# CliCR: the keys of build_json_dataset.py, the marks of json_to_plain.py -----------------------------------------------


def clicr_answer(text: str, origin: str = "dataset") -> Row:
    return {"text": text, "cui": "C0018099", "sem_type": "T047", "origin": origin}


def clicr_question(
    number: int, query: str = "the cause was BEG__acute gout__END of @placeholder .", **more: Any
) -> Row:
    answers = [clicr_answer("podagra", "UMLS"), clicr_answer("toe gout"), clicr_answer("gout of toe", "UMLS")]
    return {"id": f"bcr.01.2009.1411.{number}", "query": query, "answers": answers, **more}


def write_clicr(root: Path, *asked: Any) -> Path:
    document = {
        "title": "A BEG__red toe__END",
        "context": "He had BEG__pain__END .\nIt BEG__swelled__END .",
        "qas": list(asked),
    }
    content = {"version": "1.0", "data": [{"source": "bcr.01.2009.1411", "document": document}]}
    for word in ("train", "dev", "test"):
        (root / f"{word}1.0.json").write_text(json.dumps(content), encoding="utf-8")
    return root


@pytest.mark.evidence("clicr", "layout")
def test_clicr_reads_cloze_queries_with_the_reports_answer_before_its_synonyms(tmp_path: Path) -> None:
    dataset = open_dataset("clicr", root=write_clicr(tmp_path, clicr_question(1), clicr_question(2)))
    assert dataset.splits == ("train", "validation", "test")
    for split in dataset.splits:
        first, second = dataset[split]
        assert (first.id, second.id) == ("bcr.01.2009.1411.1", "bcr.01.2009.1411.2")
        assert first.question == "the cause was acute gout of @placeholder ."
        assert first.context == "A red toe\nHe had pain .\nIt swelled ."
        assert first.answers == ("toe gout", "podagra", "gout of toe")
        assert [one["origin"] for one in first.meta["answers"]] == ["dataset", "UMLS", "UMLS"]
        assert first.meta["source"] == "bcr.01.2009.1411"


def test_clicrs_answer_is_not_always_a_span_of_its_report(tmp_path: Path) -> None:
    [record] = open_dataset("clicr", root=write_clicr(tmp_path, clicr_question(1)), split="test")
    assert not any(one in record.context for one in record.answers) and len(record.answers) == 3


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (clicr_question(2, answers=[]), "no answer, or no @placeholder"),
        (clicr_question(2, query="no gap"), "no answer, or no @placeholder"),
        (clicr_question(2, answers=[clicr_answer("x", "MeSH")]), "'origin' has a value that the card does not know"),
        (clicr_question(2, answers=[{"text": "x"}]), "no 'origin'"),
        (clicr_question(2, answers=["x"]), "a JSON object was expected, not a str"),
        (3, "a JSON object was expected, not a int"),
    ],
)
def test_a_damaged_clicr_query_names_file_place_and_reason(tmp_path: Path, bad: Any, reason: str) -> None:
    root = write_clicr(tmp_path, clicr_question(1), bad, clicr_question(3))
    with pytest.raises(DatasetError, match=rf"dev1\.0\.json, row 1, document.*question 2.*: .*{reason}") as caught:
        list(open_dataset("clicr", root=root, split="validation"))
    assert "gout" not in str(caught.value)
    collected = open_dataset("clicr", root=root, split="validation", on_error="collect")
    assert ([r.id[-1] for r in collected], len(collected.errors)) == (["1", "3"], 1)

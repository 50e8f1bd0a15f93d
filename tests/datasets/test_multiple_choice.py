"""MedQA, MedMCQA and PubMedQA: the owners' files, and the prompts that lm-evaluation-harness makes of the same rows."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import shutil
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from jinja2 import Template

from healthfm import card, evaluate, load_model, open_dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.evaluate.protocols import continuations, render
from healthfm.formats.source import Source
from healthfm.records import MISSING, MultipleChoice

FOUR_OPTIONS = Path("data_clean/questions/US/4_options/phrases_no_exclude_test.jsonl")
Row = dict[str, Any]
ProvesWith = Callable[..., None]


# lm-evaluation-harness' own task definitions ---------------------------------------------------------------------------


def harness(name: str) -> Row:
    """Return a task of the harness: its YAML, with ``!function`` resolved to the harness' own code."""
    found = importlib.util.find_spec("lm_eval")
    assert found is not None and found.origin is not None
    folder = Path(found.origin).parent / "tasks" / name

    def function(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
        module, _, attribute = loader.construct_scalar(node).partition(".")
        spec = importlib.util.spec_from_file_location(module, folder / f"{module}.py")
        assert spec is not None and spec.loader is not None
        code = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(code)
        return getattr(code, attribute)

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", function)
    task: Row = yaml.load((folder / f"{name}.yaml").read_text(encoding="utf-8"), Loader)
    return task


def asked(task: Row, row: Row) -> tuple[str, tuple[str, ...], str]:
    """Return prompt, what is scored for each choice, and the right choice, as the harness has them."""
    target = task["doc_to_target"]
    target = target(row) if callable(target) else row[target]
    choices = task["doc_to_choice"]
    return (
        task["doc_to_text"](row),
        tuple(" " + c for c in choices),
        choices[target] if isinstance(target, int) else target,
    )


def ours(name: str, records: list[MultipleChoice], protocol: str) -> list[tuple[str, tuple[str, ...], Any]]:
    chosen = card(name, "dataset").protocols[protocol]  # type: ignore[union-attr]
    return [(render(r, chosen), continuations(r, chosen), r.answer) for r in records]


# MedQA ----------------------------------------------------------------------------------------------------------------


def medqa_rows(root: Path) -> list[Row]:
    return [json.loads(line) for line in (root / FOUR_OPTIONS).read_text(encoding="utf-8").splitlines()]


def write_medqa(root: Path, rows: list[Row], place: Path = FOUR_OPTIONS) -> Path:
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (root / place).write_text(text, encoding="utf-8")
    return root


def five_options(row: Row) -> Row:
    return {**row, "options": {**row["options"], "E": "none of these"}}


@pytest.mark.evidence("medqa", "files")
def test_the_whole_medqa_test_split_is_read_as_the_file_has_it(medqa_root: Path, proves_with: ProvesWith) -> None:
    proves_with(medqa_root / FOUR_OPTIONS)
    dataset = open_dataset("medqa", root=medqa_root)
    assert dataset.splits == ("test",)
    records, rows = list(dataset["test"]), medqa_rows(medqa_root)
    assert len(records) == len(rows) == 1273 == card("medqa").counts["us-4-options"]["test"]  # type: ignore[union-attr]
    assert dataset.summary()["notices"] == dataset.summary()["errors"] == []
    for number, (record, row) in enumerate(zip(records, rows, strict=True), 1):
        assert (record.id, record.split) == (f"test-{number}", "test")
        assert (record.question, dict(record.options), record.answer) == (
            row["question"],
            row["options"],
            row["answer_idx"],
        )
        assert record.options[record.answer] == row["answer"] == record.meta["answer"]
    assert Counter(r.answer for r in records) == {"A": 353, "B": 309, "C": 346, "D": 265}
    assert Counter(r.meta["step"] for r in records) == {"step1": 679, "step2&3": 594}
    assert records[0].question.startswith("A junior orthopaedic surgery resident is completing a carpal tunnel repair")


@pytest.mark.evidence("medqa", "reader")
def test_medqa_prompts_and_targets_are_those_of_the_harness(medqa_root: Path) -> None:
    task = harness("medqa")
    rows = [
        {"sent1": row["question"], **{f"ending{i}": row["options"][key] for i, key in enumerate("ABCD")},
         "label": "ABCD".index(row["answer_idx"])}
        for row in medqa_rows(medqa_root)
    ]  # fmt: skip
    records = list(open_dataset("medqa", root=medqa_root, split="test"))
    assert ours("medqa", records, "letters") == [asked(task, row) for row in rows]


def test_medqa_left_packed_gives_the_same_records(medqa_root: Path, tmp_path: Path) -> None:
    expected = list(open_dataset("medqa", root=medqa_root))
    for name in ("zip", "tar", "tar.gz", "gz"):
        (tmp_path / name).mkdir()
    with zipfile.ZipFile(tmp_path / "zip" / "data_clean.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(medqa_root / FOUR_OPTIONS, FOUR_OPTIONS.as_posix())
    for name, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        with tarfile.open(tmp_path / name / f"data_clean.{name}", mode) as tar:  # type: ignore[call-overload]
            tar.add(medqa_root / FOUR_OPTIONS, FOUR_OPTIONS.as_posix())
    (tmp_path / "gz" / FOUR_OPTIONS.parent).mkdir(parents=True)
    (tmp_path / "gz" / f"{FOUR_OPTIONS}.gz").write_bytes(gzip.compress((medqa_root / FOUR_OPTIONS).read_bytes()))
    for name in ("zip", "tar", "tar.gz", "gz"):
        assert list(open_dataset("medqa", root=tmp_path / name)) == expected, name


def test_the_five_option_file_does_not_serve_as_the_four_option_one(medqa_root: Path, tmp_path: Path) -> None:
    rows = [five_options(row) for row in medqa_rows(medqa_root)[:5]]
    write_medqa(tmp_path, rows, Path("data_clean/questions/US/test.jsonl"))
    with pytest.raises(DatasetError, match=r"no questions file 'data_clean/.*phrases_no_exclude_train\.jsonl'"):
        open_dataset("medqa:us-4-options", root=tmp_path)
    found = open_dataset("medqa", root=tmp_path)  # the one variant that is here, under its own name
    assert found.name == "medqa:us" and [list(r.options) for r in found] == [list("ABCDE")] * 5


def test_five_options_under_the_four_option_name_are_refused(medqa_root: Path, tmp_path: Path) -> None:
    rows = medqa_rows(medqa_root)[:3]
    write_medqa(tmp_path, [rows[0], five_options(rows[1]), rows[2]])
    with pytest.raises(DatasetError, match=r"row 2: cannot be read: 5 options: is this the file with five\?"):
        list(open_dataset("medqa", root=tmp_path))


def test_a_four_option_answer_never_fits_a_shorter_list(medqa_root: Path, tmp_path: Path) -> None:
    row = next(row for row in medqa_rows(medqa_root) if row["answer_idx"] == "D")
    write_medqa(tmp_path, [{**row, "options": {k: v for k, v in row["options"].items() if k != "D"}}])
    with pytest.raises(DatasetError, match=r"row 1: cannot be read: the answer is not among the options \(A, B, C\)"):
        list(open_dataset("medqa", root=tmp_path))


@pytest.mark.parametrize("key", ["question", "options", "answer_idx", "meta_info"])
def test_a_medqa_row_without_a_key_names_file_row_and_key_but_no_value(
    medqa_root: Path, tmp_path: Path, key: str
) -> None:
    rows = medqa_rows(medqa_root)[:3]
    del rows[1][key]
    with pytest.raises(DatasetError) as caught:
        list(open_dataset("medqa", root=write_medqa(tmp_path, rows)))
    message = str(caught.value)
    assert f"phrases_no_exclude_test.jsonl, row 2: no '{key}'" in message
    assert not any(str(value) in message for value in rows[1].values())


# MedMCQA: a miniature in the layout that the card's layout_source describes --------------------------------------------


def medmcqa_row(split: str, number: int) -> Row:
    """A row of the owners' JSON lines: keys and their order as in the README, cop from 1 to 4, none in test."""
    row: Row = {"question": f"{split} {number}: which is “first-line”?\n(a) < (b)"}
    if split != "test":
        row |= {"exp": None if number % 3 else f"Ans. {number}", "cop": number % 4 + 1}
    options = {f"op{letter}": f"{letter} of {number} – ß" for letter in "abcd"}
    return row | options | {
        "subject_name": "Pathology", "topic_name": None if number % 2 else "Inflammation",
        "id": f"{split}-{number:04d}-0bc3-494e", "choice_type": "multi" if number % 5 == 0 else "single",
    }  # fmt: skip


SIZES = {"train": 12, "dev": 8, "test": 5}
ZIP_ROWS = {split: [medmcqa_row(split, n) for n in range(size)] for split, size in SIZES.items()}
HUB_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
HUB_ROWS = {
    HUB_SPLITS[split]: [{**r, "exp": r.get("exp", ""), "cop": r.get("cop", 0) - 1} for r in rows]
    for split, rows in ZIP_ROWS.items()
}


def as_lines(rows: list[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_zip_layout(folder: Path, rows: dict[str, list[Row]] = ZIP_ROWS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, some in rows.items():
        (folder / f"{split}.json").write_text(as_lines(some), encoding="utf-8")
    return folder


def write_hub_layout(root: Path, rows: dict[str, list[Row]] = HUB_ROWS, shards: int = 1) -> Path:
    (root / "data").mkdir(parents=True, exist_ok=True)
    for split, some in rows.items():
        for shard in range(shards):
            part = some[shard * len(some) // shards : (shard + 1) * len(some) // shards]
            pq.write_table(pa.Table.from_pylist(part), root / "data" / f"{split}-{shard:05d}-of-{shards:05d}.parquet")
    return root


def content(records: Iterator[Any]) -> list[tuple[Any, ...]]:
    return [(r.id, r.split, r.question, dict(r.options), r.answer, r.meta["subject_name"]) for r in records]


def expected_content(split: str, ours: str) -> list[tuple[Any, ...]]:
    return [
        (r["id"], ours, r["question"], {k: r[f"op{k.lower()}"] for k in "ABCD"},
         "ABCD"[r["cop"] - 1] if "cop" in r else None, r["subject_name"])
        for r in ZIP_ROWS[split]
    ]  # fmt: skip


@pytest.mark.evidence("medmcqa", "layout")
@pytest.mark.parametrize("place", [".", "medmcqa_data", "download/medmcqa/data", "packed"])
def test_medmcqa_in_the_owners_layout(tmp_path: Path, place: str) -> None:
    write_zip_layout(tmp_path / place)
    if place == "packed":
        shutil.make_archive(str(tmp_path / "data"), "zip", tmp_path / place)
        shutil.rmtree(tmp_path / place)
    dataset = open_dataset("medmcqa", root=tmp_path)
    assert dataset.splits == ("train", "validation", "test")
    for theirs, name in HUB_SPLITS.items():
        assert content(iter(dataset[name])) == expected_content(theirs, name)
    assert dataset["dev"].split == "validation"
    assert all(r.answer is None for r in dataset["test"])
    notices = dataset.summary()["notices"]
    assert notices[1] == "medmcqa:zip, split validation: 8 records read, the card says 4183"


@pytest.mark.evidence("medmcqa", "layout")
@pytest.mark.parametrize("shards", [1, 2])
def test_medmcqa_in_the_hubs_layout_gives_the_same_records(tmp_path: Path, shards: int) -> None:
    dataset = open_dataset("medmcqa:hub", root=write_hub_layout(tmp_path, shards=shards))
    assert dataset.splits == ("train", "validation", "test")
    for theirs, name in HUB_SPLITS.items():
        assert content(iter(dataset[name])) == expected_content(theirs, name)


@pytest.mark.evidence("medmcqa", "reader")
def test_medmcqa_prompts_and_targets_are_those_of_the_harness(tmp_path: Path) -> None:
    task = harness("medmcqa")
    for name, root in (
        ("medmcqa", write_zip_layout(tmp_path / "zip")),
        ("medmcqa:hub", write_hub_layout(tmp_path / "hub")),
    ):
        for split in ("train", "validation"):
            records = list(open_dataset(name, root=root, split=split))
            assert ours("medmcqa", records, "letters") == [asked(task, row) for row in HUB_ROWS[split]]


def test_the_hubs_rows_read_by_the_owners_rule_are_caught_at_the_first_answer_a(tmp_path: Path) -> None:
    write_zip_layout(tmp_path, {"dev": HUB_ROWS["validation"]})
    with pytest.raises(
        DatasetError,
        match=r"dev\.json, row 1: .*'cop' has a value that the card of variant zip does not know \(it knows 1, 2, 3, 4\)",
    ):
        list(open_dataset("medmcqa", root=tmp_path))
    collected = open_dataset("medmcqa", root=tmp_path, on_error="collect")
    kept = list(collected)
    assert (len(kept), len(collected.errors)) == (6, 2)


def test_the_owners_rows_read_by_the_hubs_rule_are_caught_at_the_first_answer_d(tmp_path: Path) -> None:
    write_hub_layout(tmp_path, {"validation": ZIP_ROWS["dev"]})
    with pytest.raises(
        DatasetError,
        match=r"row 4: .*'cop' has a value that the card of variant hub does not know \(it knows 0, 1, 2, 3\)",
    ):
        list(open_dataset("medmcqa:hub", root=tmp_path))


def test_the_wrong_rule_disagrees_with_the_harness_on_every_row_it_lets_pass(tmp_path: Path) -> None:
    rows = [row for row in HUB_ROWS["validation"] if row["cop"] != 0]
    write_zip_layout(tmp_path, {"dev": rows})
    records = list(open_dataset("medmcqa", root=tmp_path))
    pairs = zip(ours("medmcqa", records, "letters"), [asked(harness("medmcqa"), row) for row in rows], strict=True)
    assert all(mine[0] == theirs[0] and mine[2] != theirs[2] for mine, theirs in pairs)


@pytest.mark.parametrize("cop", [0, 5, -1, None, True, "a"])
def test_a_cop_that_names_no_option_is_an_error_in_a_split_with_answers(tmp_path: Path, cop: object) -> None:
    write_zip_layout(tmp_path, {"dev": [ZIP_ROWS["dev"][0], {**ZIP_ROWS["dev"][1], "cop": cop}]})
    with pytest.raises(DatasetError, match="row 2: cannot be read"):
        list(open_dataset("medmcqa", root=tmp_path))


def test_an_answer_that_is_missing_outside_the_test_split_is_an_error(tmp_path: Path) -> None:
    write_zip_layout(tmp_path, {"train": ZIP_ROWS["test"]})
    with pytest.raises(DatasetError, match=r"train\.json, row 1: no 'cop'"):
        list(open_dataset("medmcqa", root=tmp_path))


def test_a_hub_copy_that_lacks_a_shard_is_told_by_its_count(tmp_path: Path) -> None:
    write_hub_layout(tmp_path, shards=2)
    (tmp_path / "data" / "train-00001-of-00002.parquet").unlink()
    dataset = open_dataset("medmcqa:hub", root=tmp_path, split="train")
    assert len(dataset) == 6
    assert dataset.notices == ["medmcqa:hub, split train: 6 records read, the card says 182822"]


# PubMedQA -------------------------------------------------------------------------------------------------------------


def pubmedqa_files(root: Path) -> tuple[dict[str, Row], dict[str, str]]:
    names = ("ori_pqal.json", "test_ground_truth.json")
    questions, truth = (json.loads((root / "data" / name).read_text(encoding="utf-8")) for name in names)
    return questions, truth


def write_pubmedqa(root: Path, questions: dict[str, Row], truth: dict[str, str]) -> Path:
    (root / "data").mkdir(parents=True)
    (root / "data" / "ori_pqal.json").write_text(json.dumps(questions), encoding="utf-8")
    (root / "data" / "test_ground_truth.json").write_text(json.dumps(truth), encoding="utf-8")
    return root


@pytest.fixture
def some_pubmedqa(pubmedqa_root: Path) -> tuple[dict[str, Row], dict[str, str]]:
    """Six test questions and four of the train pool, two test labels each."""
    questions, truth = pubmedqa_files(pubmedqa_root)
    ids = [pmid for label in ("yes", "no", "maybe") for pmid in [p for p, t in truth.items() if t == label][:2]]
    pool = [pmid for pmid in questions if pmid not in truth][:4]
    return {pmid: questions[pmid] for pmid in [*pool, *ids]}, {pmid: truth[pmid] for pmid in ids}


def test_pubmedqas_test_questions_are_also_read_from_a_file_of_their_own(
    some_pubmedqa: tuple[dict[str, Row], dict[str, str]], tmp_path: Path
) -> None:
    questions, truth = some_pubmedqa
    root = write_pubmedqa(tmp_path / "whole", questions, truth)
    (tmp_path / "own/data").mkdir(parents=True)
    (tmp_path / "own/data/test_set.json").write_text(json.dumps({one: questions[one] for one in truth}))
    opened = open_dataset("pubmedqa", tmp_path / "own")
    assert (opened.name, opened.splits) == ("pubmedqa:pqa-l-test", ("test",))
    assert {one.id: one for one in opened} == {one.id: one for one in open_dataset("pubmedqa", root, "test")}
    assert len(opened) == len(truth) > 0


@pytest.mark.evidence("pubmedqa", "files")
def test_the_500_pubmedqa_test_questions_are_those_of_the_ground_truth(
    pubmedqa_root: Path, proves_with: ProvesWith
) -> None:
    proves_with(pubmedqa_root / "data")
    dataset = open_dataset("pubmedqa", root=pubmedqa_root)
    questions, truth = pubmedqa_files(pubmedqa_root)
    records = list(dataset["test"])
    assert {record.id: record.answer for record in records} == truth
    assert Counter(record.answer for record in records) == {"yes": 276, "no": 169, "maybe": 55}
    assert len(records) == 500 == card("pubmedqa").counts["pqa-l"]["test"]  # type: ignore[union-attr]
    for record in records:
        raw = questions[record.id]
        assert (record.question, record.context) == (raw["QUESTION"], "\n".join(raw["CONTEXTS"]))
        assert (record.meta["long_answer"], record.meta["year"]) == (raw["LONG_ANSWER"], raw["YEAR"])
        assert dict(record.options) == {"yes": "yes", "no": "no", "maybe": "maybe"}
    train = list(dataset["train"])
    assert {r.id for r in train} == set(questions) - set(truth) and len(train) == 500
    assert dataset.summary()["notices"] == []


def test_a_file_that_several_splits_share_is_parsed_once_in_a_pass_over_them_and_anew_in_the_next(
    some_pubmedqa: tuple[dict[str, Row], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions, truth = some_pubmedqa
    path = write_pubmedqa(tmp_path, questions, truth) / "data" / "ori_pqal.json"
    opened: list[str] = []
    plainly = Source.open
    monkeypatch.setattr(Source, "open", lambda source: opened.append(source.name) or plainly(source))
    dataset = open_dataset("pubmedqa", tmp_path)
    assert [record.split for record in dataset] == ["train"] * 4 + ["test"] * 6 and opened.count("ori_pqal.json") == 1
    assert len([record.split for record in dataset]) == 10 and opened.count("ori_pqal.json") == 2
    path.write_text(json.dumps({**questions, "1": next(iter(questions.values()))}), encoding="utf-8")
    assert len(list(dataset)) == 11  # the file as it is now
    path.write_text(path.read_text(encoding="utf-8")[:-1] + ', "1": {}}', encoding="utf-8")
    collected = open_dataset("pubmedqa", tmp_path, on_error="collect")
    assert list(collected) == [] and "one JSON object holds 1 key(s) twice" in str(collected.errors[0])


@pytest.mark.evidence("pubmedqa", "reader")
def test_pubmedqa_prompts_and_targets_are_those_of_the_harness(pubmedqa_root: Path) -> None:
    task = harness("pubmedqa")
    questions, _ = pubmedqa_files(pubmedqa_root)
    records = list(open_dataset("pubmedqa", root=pubmedqa_root))
    assert len(records) == 1000
    expected = [asked(task, questions[record.id]) for record in records]
    assert ours("pubmedqa", records, "reasoning-required") == expected


def test_the_reasoning_free_prompt_gives_the_conclusion_and_not_the_abstract(pubmedqa_root: Path) -> None:
    questions, _ = pubmedqa_files(pubmedqa_root)
    record = next(iter(open_dataset("pubmedqa", root=pubmedqa_root, split="test")))
    prompt, _, _ = ours("pubmedqa", [record], "reasoning-free")[0]  # type: ignore[list-item]
    assert questions[record.id]["LONG_ANSWER"] in prompt
    assert questions[record.id]["CONTEXTS"][0] not in prompt


def test_a_test_question_that_is_missing_is_an_error(some_pubmedqa: tuple[Any, Any], tmp_path: Path) -> None:
    questions, truth = some_pubmedqa
    gone = list(truth)[3]
    root = write_pubmedqa(tmp_path, {k: v for k, v in questions.items() if k != gone}, truth)
    with pytest.raises(DatasetError, match=r"ori_pqal\.json: 1 of the 6 test questions are not in it"):
        list(open_dataset("pubmedqa", root=root, split="test"))
    assert len(list(open_dataset("pubmedqa", root=root, split="train"))) == 4
    collected = open_dataset("pubmedqa", root=root, split="test", on_error="collect")
    assert {r.id for r in collected} == set(truth) - {gone}
    assert len(collected.errors) == 1


def test_a_label_that_differs_from_the_ground_truth_is_an_error(some_pubmedqa: tuple[Any, Any], tmp_path: Path) -> None:
    questions, truth = some_pubmedqa
    wrong = next(pmid for pmid, label in truth.items() if label == "yes")
    root = write_pubmedqa(tmp_path, questions, {**truth, wrong: "no"})
    with pytest.raises(DatasetError, match=rf"row {wrong}: .*final_decision differs from test_ground_truth\.json"):
        list(open_dataset("pubmedqa", root=root, split="test"))
    collected = open_dataset("pubmedqa", root=root, on_error="collect")
    assert {r.id for r in collected} == set(questions) - {wrong}
    assert len(collected.errors) == 1


def test_pubmedqa_without_its_ground_truth_has_no_splits_to_offer(pubmedqa_root: Path, tmp_path: Path) -> None:
    shutil.copytree(pubmedqa_root, tmp_path / "p")
    (tmp_path / "p" / "data" / "test_ground_truth.json").unlink()
    with pytest.raises(DatasetError, match=r"no test ids file 'data/test_ground_truth\.json'"):
        open_dataset("pubmedqa", root=tmp_path / "p")


def test_an_unknown_decision_is_an_error(some_pubmedqa: tuple[Any, Any], tmp_path: Path) -> None:
    questions, truth = some_pubmedqa
    pool = next(pmid for pmid in questions if pmid not in truth)
    root = write_pubmedqa(tmp_path, {**questions, pool: {**questions[pool], "final_decision": "perhaps"}}, truth)
    with pytest.raises(
        DatasetError, match=rf"row {pool}: .*'final_decision' has a value that .* \(it knows yes, no, maybe\)"
    ):
        list(open_dataset("pubmedqa", root=root, split="train"))


def test_the_unlabelled_part_withholds_its_answers_and_the_artificial_part_has_them(
    some_pubmedqa: tuple[Any, Any], tmp_path: Path
) -> None:
    questions, _ = some_pubmedqa
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ori_pqaa.json").write_text(json.dumps(questions), encoding="utf-8")
    bare = {pmid: {k: v for k, v in row.items() if k != "final_decision"} for pmid, row in questions.items()}
    (tmp_path / "data" / "ori_pqau.json").write_text(json.dumps(bare), encoding="utf-8")
    artificial = {r.id: r.answer for r in open_dataset("pubmedqa:pqa-a", root=tmp_path)}
    unlabelled = {r.id: r.answer for r in open_dataset("pubmedqa:pqa-u", root=tmp_path)}
    assert artificial == {pmid: row["final_decision"] for pmid, row in questions.items()}
    assert unlabelled == dict.fromkeys(questions)


# CMExam: the layout that the owners' generate_prompt.py and notebook read ----------------------------------------------

CMEXAM_COLUMNS = ("Question", "Options", "Answer", "Explanation")
CMEXAM_TEST_COLUMNS = ("Disease Group", "Area of Competency", "Clinical Department", "Medical Discipline", "Difficulty level")  # fmt: skip


def cmexam_row(number: int, answer: str, options: str | None = None) -> list[str]:
    listed = "\n".join(f"{letter} 选项 {letter}，{number} mg" for letter in "ABCDE")
    return [f"第{number}题：\n下列哪项“正确”？", options or listed, answer, f"因为, {number}\n所以"]


def write_cmexam(root: Path, split: str, rows: list[list[str]]) -> Path:
    (root / "data").mkdir(parents=True, exist_ok=True)
    tested = split == "test_with_annotations"
    with (root / "data" / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*CMEXAM_COLUMNS, *(CMEXAM_TEST_COLUMNS if tested else ())])
        writer.writerows([*row, "不符合", "疾病治疗", "内科", "临床医学", "1.0"] if tested else row for row in rows)
    return root


@pytest.mark.evidence("cmexam", "layout")
def test_cmexam_reads_the_options_of_one_cell_and_the_letters_of_one_word(tmp_path: Path) -> None:
    rows = [cmexam_row(1, "B"), cmexam_row(2, "ACE"), cmexam_row(3, "")]
    for split in ("train", "val", "test_with_annotations"):
        write_cmexam(tmp_path, split, rows)
    dataset = open_dataset("cmexam", root=tmp_path)
    assert dataset.splits == ("train", "validation", "test")
    for split in dataset.splits:
        one, several, none = dataset[split]
        assert (one.question, one.answer) == ("第1题：\n下列哪项“正确”？", "B")
        assert one.options == {letter: f"选项 {letter}，1 mg" for letter in "ABCDE"}
        assert (several.answer, none.answer) == (("A", "C", "E"), None)
        assert one.meta["explanation"] == "因为, 1\n所以"
        assert len({one.id, several.id, none.id}) == 3 and one.id.startswith(f"{split}-")
    labels = next(iter(dataset["test"])).labels
    assert labels["Area of Competency"] == "treatment" and labels["Difficulty level"] == 1.0
    assert labels["Disease Group"] is MISSING and labels["Clinical Department"] == "内科"
    assert next(iter(dataset["train"])).labels == {}


def test_cmexams_options_are_not_cut_at_a_blank_as_the_owners_script_cuts_them(tmp_path: Path) -> None:
    write_cmexam(tmp_path, "val", [cmexam_row(1, "B")])
    [record] = open_dataset("cmexam", root=tmp_path)
    theirs = {line.split(" ")[0]: line.split(" ")[-1] for line in cmexam_row(1, "B")[1].split("\n")}
    assert theirs["B"] == "mg" and record.options["B"] == "选项 B，1 mg"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("A 甲\r\nB 乙\r\n", {"A": "甲", "B": "乙"}),
        ("A 甲\nB 乙\n第二行\nC 丙", {"A": "甲", "B": "乙\n第二行", "C": "丙"}),
        ("A 甲\nB 乙\nE", {"A": "甲", "B": "乙"}),
        ("A  甲 乙\nB\t乙", {"A": "甲 乙", "B": "乙"}),
    ],
)
def test_cmexams_lines_of_options(tmp_path: Path, options: str, expected: dict[str, str]) -> None:
    write_cmexam(tmp_path, "val", [cmexam_row(1, "B", options)])
    [record] = open_dataset("cmexam", root=tmp_path)
    assert record.options == expected


@pytest.mark.parametrize(
    ("answer", "options", "reason"),
    [
        ("F", None, "'Answer' has a value that the card does not know"),
        ("AA", None, "the answer names no option, or one twice"),
        ("A,B", None, "'Answer' has a value"),
        ("A", "甲\n乙", "the options do not begin with a letter"),
        ("A", "A 甲\nA 乙", "two options are called A"),
        ("E", "A 甲\nB 乙", "the answer is not among the options"),
    ],
)
def test_a_damaged_cmexam_row_names_file_row_and_reason(
    tmp_path: Path, answer: str, options: str | None, reason: str
) -> None:
    write_cmexam(tmp_path, "val", [cmexam_row(1, "B"), cmexam_row(2, answer, options), cmexam_row(3, "C")])
    with pytest.raises(DatasetError, match=rf"val\.csv, row \d+: .*{reason}"):
        list(open_dataset("cmexam", root=tmp_path))
    collected = open_dataset("cmexam", root=tmp_path, on_error="collect")
    assert [record.answer for record in collected] == ["B", "C"] and len(collected.errors) == 1


def test_cmexams_test_file_without_its_annotations_is_told(tmp_path: Path) -> None:
    write_cmexam(tmp_path, "val", [cmexam_row(1, "B")])
    (tmp_path / "data" / "val.csv").rename(tmp_path / "data" / "test_with_annotations.csv")
    with pytest.raises(DatasetError, match="no 'Disease Group'"):
        list(open_dataset("cmexam", root=tmp_path))


# MMedBench: the keys of the owners' card, answers as their inference.py takes them -------------------------------------

LANGUAGES = ("English", "Chinese", "Japanese", "French", "Russian", "Spanish")


def mmedbench_row(number: int, answer: object) -> Row:
    return {
        "question": f"Question {number} ?", "options": {key: f"{key} {number}" for key in "ABCDE"}, "answer_idx": answer,
        "rationale": "parce que", "human_checked": number == 1, "human_check_passed": False,
    }  # fmt: skip


def write_mmedbench(root: Path, rows: list[Row], split: str = "Test", language: str = "French") -> Path:
    place = root / "MMedBench" / split / f"{language}.jsonl"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(as_lines(rows), encoding="utf-8")
    return root


@pytest.mark.evidence("mmedbench", "layout")
@pytest.mark.parametrize("packed", [False, True])
def test_mmedbench_reads_each_language_with_one_right_letter_or_several(tmp_path: Path, packed: bool) -> None:
    rows = [mmedbench_row(1, "B"), mmedbench_row(2, "D,A"), mmedbench_row(3, ["C", "E"]), mmedbench_row(4, ["A"])]
    for language in LANGUAGES:
        for split in ("Train", "Test"):
            write_mmedbench(tmp_path, rows, split, language)
    if packed:
        shutil.make_archive(str(tmp_path / "MMedBench"), "zip", tmp_path, "MMedBench")
        shutil.rmtree(tmp_path / "MMedBench")
    for language in LANGUAGES:
        dataset = open_dataset(f"mmedbench:{language.lower()}", root=tmp_path)
        assert dataset.splits == ("train", "test")
        records = list(dataset["test"])
        assert [r.answer for r in records] == ["B", ("A", "D"), ("C", "E"), "A"]
        assert [r.id for r in records] == [f"test-{n}" for n in range(1, 5)]
        assert records[0].options == rows[0]["options"] and records[0].question == "Question 1 ?"
        assert records[0].meta == {"rationale": "parce que", "human_checked": True, "human_check_passed": False}


def test_an_answer_of_two_letters_read_as_one_key_is_no_option() -> None:
    with pytest.raises(BadValue, match="the answer is not among the options"):
        MultipleChoice(id="1", question="?", options=mmedbench_row(1, "A")["options"], answer="A,D")


@pytest.mark.parametrize("answer", ["", [], "AD", "A,A", "F", None, "A,", 1])
def test_a_damaged_mmedbench_answer_names_file_and_row(tmp_path: Path, answer: object) -> None:
    write_mmedbench(tmp_path, [mmedbench_row(1, "B"), mmedbench_row(2, answer)])
    with pytest.raises(DatasetError, match=r"French\.jsonl, row 2: "):
        list(open_dataset("mmedbench:french", root=tmp_path))
    collected = open_dataset("mmedbench:french", root=tmp_path, on_error="collect")
    assert (len(list(collected)), len(collected.errors)) == (1, 1)


# MMLU: evaluate.py reads its files without a header --------------------------------------------------------------------

MMLU_ROWS = [
    ['Which "vessel", if any,\nis it?', "None", "007", "NA", 'the "left" one', "D"],
    ["  Second? ", "a, b", "c", "d", "e", "A"],
    ["Third?", "1.0", "2", "3", "4", "C"],
]


def write_mmlu(root: Path, rows: list[list[str]], split: str = "test", subject: str = "anatomy") -> Path:
    (root / "data" / split).mkdir(parents=True, exist_ok=True)
    with (root / "data" / split / f"{subject}_{split}.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


@pytest.mark.evidence("mmlu-medical", "layout")
@pytest.mark.parametrize("subject", ["anatomy", "clinical_knowledge", "college_biology", "college_medicine", "medical_genetics", "professional_medicine"])  # fmt: skip
def test_mmlus_first_line_is_a_question_and_its_cells_are_text(tmp_path: Path, subject: str) -> None:
    for split in ("dev", "val", "test"):
        write_mmlu(tmp_path, MMLU_ROWS, split, subject)
    dataset = open_dataset(f"mmlu-medical:{subject.replace('_', '-')}", root=tmp_path)
    assert dataset.splits == ("train", "validation", "test")
    for split in dataset.splits:
        records = list(dataset[split])
        assert [[r.question, *r.options.values(), r.answer] for r in records] == MMLU_ROWS
        assert [list(r.options) for r in records] == [list("ABCD")] * 3
        assert len({r.id for r in records}) == 3


@pytest.mark.evidence("mmlu-medical", "reader")
def test_mmlu_prompts_and_targets_are_those_of_the_harness(tmp_path: Path) -> None:
    found = importlib.util.find_spec("lm_eval")
    assert found is not None and found.origin is not None
    place = Path(found.origin).parent / "tasks" / "mmlu" / "default" / "_default_template_yaml"
    task = yaml.safe_load(place.read_text(encoding="utf-8"))
    expected = []
    for question, *choices, letter in MMLU_ROWS:  # as the hub's copy holds them: a list, and the answer's place in it
        prompt = Template(task["doc_to_text"]).render(question=question, choices=choices)
        expected.append((prompt, tuple(" " + one for one in task["doc_to_choice"]), letter))
    records = list(open_dataset("mmlu-medical", root=write_mmlu(tmp_path, MMLU_ROWS)))
    assert ours("mmlu-medical", records, "letters") == expected


@pytest.mark.parametrize("row", [["Q?", "a", "b", "c", "D"], ["Q?", "a", "b", "c", "d", "E"], ["Q?", "a", "b", "c", "d", ""]])  # fmt: skip
def test_a_damaged_mmlu_row_names_file_and_place(tmp_path: Path, row: list[str]) -> None:
    write_mmlu(tmp_path, [MMLU_ROWS[2], row, MMLU_ROWS[1]])
    with pytest.raises(DatasetError, match=r"anatomy_test\.csv, (row|line) 2: "):
        list(open_dataset("mmlu-medical", root=tmp_path))
    collected = open_dataset("mmlu-medical", root=tmp_path, on_error="collect")
    assert ([r.answer for r in collected], len(collected.errors)) == (["C", "A"], 1)


# The three of them are asked by their protocols ------------------------------------------------------------------------


def last(prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """Score the last option highest."""
    return [np.arange(len(choices), dtype=float) for choices in options]


@pytest.mark.parametrize("protocol", ["letters", "text"])
@pytest.mark.parametrize(
    ("name", "right", "asked", "several"),
    [("cmexam", 1, 2, "validation-"), ("mmedbench:french", 0, 2, "test-2"), ("mmlu-medical", 1, 3, "")],
)
def test_their_questions_are_asked_and_those_of_several_answers_are_named(
    tmp_path: Path, name: str, protocol: str, right: int, asked: int, several: str
) -> None:
    root = tmp_path / "data"
    write_cmexam(root, "val", [cmexam_row(1, "B"), cmexam_row(2, "ACE"), cmexam_row(3, ""), cmexam_row(4, "E")])
    write_mmedbench(root, [mmedbench_row(1, "B"), mmedbench_row(2, "D,A"), mmedbench_row(3, ["C"])])
    write_mmlu(root, MMLU_ROWS)
    model = load_model(last, verb="score", card={"slug": "last", "name": "Last"})
    split = "validation" if name == "cmexam" else "test"
    run = evaluate(model, f"{name}@{protocol}", root=root, split=split, output=tmp_path / "run")
    assert (run.metrics["accuracy"]["value"], len(run.predictions)) == (right / asked, asked)
    told = [
        one for one in run.facts["notices"] if "several right answers and " in one and f"left out: {several}" in one
    ]
    assert len(told) == (1 if several else 0)


def test_a_question_of_several_answers_is_no_solved_example(tmp_path: Path) -> None:
    answers = ["B", "D,A", "C", "E"]
    root = write_mmedbench(tmp_path / "data", [mmedbench_row(number, one) for number, one in enumerate(answers, 1)])
    model = load_model(last, verb="score", card={"slug": "last", "name": "Last"})
    run = evaluate(
        model, "mmedbench:french", root=root, shots=2, shots_from="test", shots_order="first", output=tmp_path / "run"
    )
    assert run.facts["request"]["shots"] == 2
    assert [row["id"] for row in run.predictions.to_pylist()] == ["test-4"]

"""``contamination``: what was found, where, in words; a run's clean and dirty scores; a corpus read in any dress and in pieces."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import healthfm as hfm
from healthfm.curate import corpus
from healthfm.datasets.open import open_dataset
from healthfm.errors import RunError
from healthfm.evaluate.contamination import store
from healthfm.evaluate.contamination.content import CAUTION
from healthfm.report.contamination import section
from healthfm.report.run import evaluate_predictions, load_run

QUESTIONS = [
    {"id": "q1", "question": "Which enzyme is deficient in classic galactosaemia of the newborn?", "A": "GALT transferase", "B": "Galactokinase of the red cell", "answer": "A"},
    {"id": "q2", "question": "Which vitamin deficiency causes night blindness and dry eyes in children?", "A": "Vitamin A of the liver", "B": "Vitamin K of the gut", "answer": "A"},
    {"id": "q3", "question": "Which antibody is most specific for systemic lupus erythematosus?", "A": "Anti-Smith antibody", "B": "Antinuclear antibody of any kind", "answer": "A"},
    {"id": "q4", "question": "Why?", "A": "So", "B": "Else", "answer": "A"},
]  # fmt: skip
FILLER = "The ward round began early, and nobody had slept much. "


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "exam.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "corpus"
    place.mkdir()
    return place


def documents() -> list[str]:
    whole = f"{FILLER * 3}{QUESTIONS[0]['question']} Options: {QUESTIONS[0]['A']} or {QUESTIONS[0]['B']}. {FILLER}"
    near = f"{FILLER}which vitamin deficiency causes night blindness and dry eyes in infants{FILLER}"
    return [FILLER * 2, whole, near]


def parts_found(found: hfm.evaluate.contamination.Finding) -> dict[tuple[str, str], str]:
    return {(one["ids"][0], one["part"]): one["how"] for one in found.found}


def test_a_finding_says_what_was_found_how_and_where(own: Path, folder: Path) -> None:
    (folder / "notes.txt").write_text(documents()[1])
    (folder / "more.txt").write_text(documents()[2])
    (folder / "scan.pdf").write_bytes(b"%PDF")
    found = hfm.contamination(own, folder)
    assert parts_found(found) == {
        ("q1", "question"): "exact",
        ("q1", "question and options"): "exact",
        ("q2", "question"): "near",
    }
    place = next(one for one in found.found if one["part"] == "question" and one["how"] == "exact")["places"][0]
    assert place["document"] == "notes.txt"
    assert documents()[1][place["start"] : place["end"]] == QUESTIONS[0]["question"].rstrip("?")
    question = found.parts["question"]
    assert {k: question[k] for k in ("looked_for", "too_short", "exact", "near")} == {
        "looked_for": 3,
        "too_short": 1,
        "exact": 1,
        "near": 1,
    }
    assert question["share"] == 2 / 3 and question["low"] < 2 / 3 < question["high"]
    assert (found.records, found.documents, found.files, found.skipped) == (4, 2, 2, ("scan.pdf",))
    assert found.characters == sum(map(len, documents()[1:]))
    assert json.loads(json.dumps(found.asdict()))["parts"] == found.parts


def test_what_was_matched_is_shown_only_of_data_that_may_be_shown(own: Path, folder: Path, medqa_root: Path) -> None:
    (folder / "notes.txt").write_text(documents()[1])
    assert all("snippet" not in place for one in hfm.contamination(own, folder).found for place in one["places"])
    shown = hfm.contamination(own, folder, show_inputs=True).found
    assert any(place["snippet"].startswith("Which enzyme") for one in shown for place in one["places"])
    record = next(iter(open_dataset("medqa", medqa_root, "test")))
    (folder / "notes.txt").write_text(FILLER + record.question)  # type: ignore[attr-defined]
    found = hfm.contamination("medqa", folder, root=medqa_root, split="test")
    assert found.found[0]["ids"] == ["test-1"] and found.found[0]["places"][0]["snippet"].startswith(
        "A junior orthopaedic"
    )


def test_a_finding_is_told_in_sentences_with_its_caution(own: Path, folder: Path) -> None:
    (folder / "notes.txt").write_text(documents()[1])
    says = hfm.contamination(own, folder).says
    assert (
        says[0].startswith("question: 1 of 3 records found in")
        and "1 as a whole and 0 nearly (95 % interval" in says[0]
    )
    assert "question: 1 record has under 3 words: not looked for." in says
    assert says[-1] == CAUTION
    (folder / "notes.txt").write_text(FILLER)
    assert hfm.contamination(own, folder).says[0].startswith("question: 0 of 3 records found in")


@pytest.mark.parametrize("kind", ["txt", "txt.gz", "csv", "jsonl", "jsonl.gz", "json", "json-mapping", "parquet"])
def test_a_corpus_is_read_in_any_dress(kind: str, own: Path, folder: Path) -> None:
    rows = [{"url": f"u{i}", "body": {"paragraphs": [text]}} for i, text in enumerate(documents())]
    text = "\n".join(documents())
    lines = "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows)
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / "corpus.parquet")
    else:
        content = {
            "txt": text,
            "csv": f'id,text\n1,"{text}"\n',
            "jsonl": lines,
            "json": json.dumps(rows),
            "json-mapping": json.dumps({r["url"]: r for r in rows}),
        }[kind.removesuffix(".gz")]
        data = gzip.compress(content.encode()) if kind.endswith(".gz") else content.encode()
        (folder / f"corpus.{kind.removesuffix('-mapping')}").write_bytes(data)
    found = hfm.contamination(own, folder)
    assert parts_found(found) == {
        ("q1", "question"): "exact",
        ("q1", "question and options"): "exact",
        ("q2", "question"): "near",
    }
    assert found.documents == (1 if kind in ("txt", "txt.gz", "csv") else 3)


def test_another_dataset_can_be_the_corpus(own: Path, tmp_path: Path, pubmedqa_root: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "train.csv").write_text(f'text\n"{documents()[1]}"\n')
    (other / "dataset.toml").write_text('[files]\ntrain = "train.csv"\n')
    found = hfm.contamination(own, other)
    assert parts_found(found)["q1", "question"] == "exact" and found.found[0]["places"][0]["document"] == "train/2"
    same = hfm.contamination("pubmedqa", "pubmedqa", root=pubmedqa_root, corpus_root=pubmedqa_root, split="test")
    assert same.parts["question"]["exact"] == same.parts["context"]["exact"] == 500


@pytest.mark.parametrize("chunk", [7_000, 1 << 19])
def test_a_long_document_is_read_in_pieces_and_nothing_is_cut_apart(
    chunk: int, own: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "CHUNK", chunk)
    lead = "\u00e4rztlich " * 4_000
    text = f"{lead}{QUESTIONS[0]['question']} {lead}{QUESTIONS[2]['question']} {lead}"
    (folder / "long.txt").write_text(text)
    found = hfm.contamination(own, folder)
    assert parts_found(found) == {("q1", "question"): "exact", ("q3", "question"): "exact"}
    for one, question in zip(found.found, (QUESTIONS[0], QUESTIONS[2]), strict=True):
        [place] = one["places"]
        assert text[place["start"] : place["end"]] == question["question"].rstrip("?")
        assert one["documents"] == 1
    assert (found.characters, found.documents) == (len(text), 1)


def test_rows_of_a_corpus_that_cannot_be_read_are_counted(own: Path, folder: Path) -> None:
    (folder / "c.jsonl").write_text('{"text": "fine"}\n{broken\n[1]\n')
    found = hfm.contamination(own, folder)
    assert (found.documents, found.unread) == (1, 2)
    assert "2 rows of the corpus could not be read." in found.says


def test_a_corpus_that_is_not_there_or_holds_no_text_is_refused(own: Path, folder: Path) -> None:
    with pytest.raises(RunError, match="no file or folder"):
        hfm.contamination(own, folder / "absent")
    (folder / "a.pdf").write_bytes(b"x")
    with pytest.raises(RunError, match="holds no text to search"):
        hfm.contamination(own, folder)


def scored(path: Path | None = None, **more: Any) -> hfm.Run:
    table = {"id": [q["id"] for q in QUESTIONS], "target": list("AAAA"), "prediction": list("AABB"), **more}
    return evaluate_predictions(table, "multiple-choice", output=path)


def test_a_runs_score_is_given_for_what_was_found_and_what_was_not(own: Path, folder: Path) -> None:
    (folder / "notes.txt").write_text("\n".join(documents()))
    scores = hfm.contamination(own, folder, run=scored()).scores
    assert scores is not None
    assert (scores["n_dirty"], scores["n_clean"], scores["metric"]) == (2, 2, "accuracy")
    assert (scores["dirty"]["value"], scores["clean"]["value"], scores["difference"]["value"]) == (1, 0, 1)
    assert scores["difference"]["low"] < 1 <= scores["difference"]["high"]
    says = hfm.contamination(own, folder, run=scored()).says
    assert any(line.startswith("accuracy is 1.000 on the 2 records found and 0.000 on the 2 others") for line in says)


def test_a_run_with_nothing_found_has_no_dirty_score_and_one_of_other_data_is_refused(own: Path, folder: Path) -> None:
    (folder / "notes.txt").write_text(FILLER)
    found = hfm.contamination(own, folder, run=scored())
    assert found.scores is not None and found.scores["difference"] is None
    assert any("no clean and dirty score to compare" in line for line in found.says)
    with pytest.raises(RunError, match="none of the run's samples is a record"):
        hfm.contamination(own, folder, run=scored(id=["x1", "x2", "x3", "x4"]))


def test_the_section_of_a_report_is_there_when_nothing_was_asked_and_gathers_what_was(
    own: Path, folder: Path, tmp_path: Path
) -> None:
    empty = section(scored())
    assert (empty["content"], empty["behaviour"], empty["lineage"]["asked"]) == ([], [], False)
    assert [line.partition(":")[0] for line in empty["says"]] == ["lineage", "content", "behaviour"]
    (folder / "notes.txt").write_text(documents()[1])
    run = scored(tmp_path / "run")
    finding = hfm.contamination(own, folder, run=run)
    store(run, finding)
    store(run, finding)
    kept = section(load_run(tmp_path / "run"))
    assert kept["content"] == [json.loads(json.dumps(finding.asdict()))]
    assert any(line.startswith("content: question: 1 of 3 records found") for line in kept["says"])
    assert any(line.startswith("behaviour: the model's likelihoods were not probed") for line in kept["says"])
    with pytest.raises(RunError, match="no folder"):
        store(scored(), finding)


def test_what_stands_in_a_corpus_that_may_not_be_shown_is_not_shown_though_the_dataset_may_be(
    pubmedqa_root: Path, tmp_path: Path
) -> None:
    opened = open_dataset("pubmedqa", pubmedqa_root, "test")
    question = next(iter(opened)).question.replace(",", " ")  # type: ignore[attr-defined]
    (tmp_path / "own.csv").write_text(f"id,text\n1,Patient Roe asked: {question}\n")
    own = open_dataset(tmp_path / "own.csv")
    assert opened.card.shareable_inputs and not own.card.shareable_inputs
    [place] = hfm.contamination(opened, own).found[0]["places"]
    assert (
        "snippet" not in place and "snippet" in hfm.contamination(opened, own, show_inputs=True).found[0]["places"][0]
    )

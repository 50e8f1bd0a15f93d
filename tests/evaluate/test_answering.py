"""Reading comprehension, answer selection, pairs of texts: each asked of a model, and each table scored by its field's own rule."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from healthfm import RunError, card, evaluate, evaluate_predictions, load_model, load_run
from healthfm.cards.schema import DatasetCard, Labels
from healthfm.datasets.dataset import Dataset
from healthfm.evaluate import candidates, reading
from healthfm.formats.source import Problems
from healthfm.models.model import Model
from healthfm.records import Pair, Ranking, Record
from tests.datasets.test_reading_comprehension import clicr_question, mash_file, mash_question, write_clicr, write_mash
from tests.evaluate.test_writing import writer
from tests.references.found_cases import ANSWERS, rankings

THEIRS = json.loads((Path(__file__).parents[1] / "data/expected/found.json").read_text(encoding="utf-8"))


def values(run: Any) -> dict[str, float]:
    return {name: one["value"] for name, one in run.metrics.items()}


def in_memory(records: Sequence[Record], *labels: Labels) -> Dataset:
    """A dataset of records that are at hand, open to all."""
    made = card("medquad")
    assert isinstance(made, DatasetCard)
    own = made.model_copy(
        update={
            "slug": "made",
            "name": "Made",
            "labels": labels,
            "protocols": {},
            "default_protocol": None,
            "counts": {},
        }
    )

    def read(split: str, problems: Problems) -> Iterator[Record]:
        yield from records

    return Dataset(own, read, ("test",))


# Reading comprehension ----------------------------------------------------------------------------------------------------


def test_answers_score_as_squads_script_has_it_and_one_and_a_half_is_not_fifteen() -> None:
    table = {
        "id": [str(i) for i in range(len(ANSWERS))],
        "target": [accepted for accepted, _ in ANSWERS],
        "prediction": [said for _, said in ANSWERS],
    }
    run = evaluate_predictions(table, "reading-comprehension")
    theirs, found = THEIRS["answers"], values(run)
    assert found["exact_match_squad"] == pytest.approx(np.mean(theirs["exact"]))
    assert found["token_f1_squad"] == pytest.approx(np.mean(theirs["f1"]))
    bare = [
        i for i, (accepted, _) in enumerate(ANSWERS) if accepted in ([], ["the"], ["."])
    ]  # of which the rule leaves nothing
    rest = [i for i in range(len(ANSWERS)) if i not in bare]
    assert found["token_f1_squad_has_answer"] == pytest.approx(np.mean([theirs["f1"][i] for i in rest]))
    assert found["exact_match_squad_no_answer"] == pytest.approx(np.mean([theirs["exact"][i] for i in bare]))
    assert found["exact_match"] < found["exact_match_squad"]
    assert run.scores["without_answer"] == len(bare) and run.scores["headline"] == "token_f1_squad"
    assert run.metrics["token_f1_squad_no_answer"]["n"] == len(bare)


def test_a_missing_answer_scores_nothing_even_where_there_is_none_to_find() -> None:
    run = evaluate_predictions(
        {"id": ["a", "b"], "target": [["x"], []], "prediction": [None, None]}, "reading-comprehension"
    )
    assert set(values(run).values()) == {0.0} and run.scores["unanswered"] == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n  the toe. \nBecause", "the toe."),
        ("No answer.", ""),
        ("<think>toe?\nknee?</think>the knee", "the knee"),
        ("无答案。", ""),
        ("no answer is given to gout", "no answer is given to gout"),
        (" \n", None),
    ],
)
def test_an_answer_is_the_first_line_or_that_there_is_none(text: str, said: str | None) -> None:
    assert reading.answer(text) == said


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1, 3 and 3", ["1", "3"]),
        ("Sentences: 2.", ["2"]),
        ("none", []),
        ("4.5 mg, 50%", None),
        ("", None),
        ("7", None),
        ("[2,4]", ["2", "4"]),
    ],
)
def test_sentences_are_named_by_numbers_that_they_have(text: str, found: Any) -> None:
    assert reading.numbers(text, 4) == found


def unanswerable(name: str) -> dict[str, Any]:
    return {"id": name, "question": "Who?", "is_impossible": True, "answers": []}


def test_mash_qa_is_asked_for_words_and_for_sentences(tmp_path: Path) -> None:
    root = write_mash(tmp_path, mash_file(mash_question("q1", [0, 3]), mash_question("q2", [1]), unanswerable("q3")))
    run = evaluate(
        writer(["Gout hurts", "Rest helps.", "no answer"]),
        "mash-qa",
        root=root,
        task="reading-comprehension",
        output=tmp_path / "words",
    )
    assert run.predictions["target"].to_pylist() == [["Gout hurts. Drink water – a lot."], ["Rest helps."], []]
    assert run.predictions["prediction"].to_pylist() == ["Gout hurts", "Rest helps.", ""]
    assert values(run)["exact_match_squad"] == pytest.approx(2 / 3)
    reached = {one["name"]: one["value"] for one in run.scores["baselines"]["rivals"]}
    assert reached == {
        "nothing": pytest.approx(1 / 3),
        "context": pytest.approx(1 / 2 / 3),
    }  # 2 of the 6 words, the dash is one
    run = evaluate(
        writer(["1, 2", "2", "none"]), "mash-qa", root=root, task="answer-sentences", output=tmp_path / "numbers"
    )
    assert run.predictions["target"].to_pylist() == [["1", "4"], ["2"], []]
    assert run.predictions["prediction"].to_pylist() == [["1", "2"], ["2"], []]
    found = values(run)  # 2 of 3 named are right, 2 of 3 right ones were named; as MASH-QA's code sums them
    assert (found["micro_precision"], found["micro_recall"]) == pytest.approx((2 / 3, 2 / 3))
    assert found["subset_accuracy"] == pytest.approx(2 / 3) and found["sample_f1"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert {one["name"]: one["value"] for one in run.scores["baselines"]["rivals"]} == {
        "context": pytest.approx(1 / 3),
        "nothing": 0,
    }
    assert load_run(tmp_path / "numbers").scores == run.scores and run.report().is_file()


def test_clicr_takes_the_best_of_its_answers(tmp_path: Path) -> None:
    root = write_clicr(tmp_path, clicr_question(1), clicr_question(2))
    run = evaluate(
        writer(["Podagra", "the gout of his toe"]),
        "clicr",
        root=root,
        task="reading-comprehension",
        output=tmp_path / "run",
    )
    assert values(run)["exact_match_squad"] == 0.5
    assert values(run)["token_f1_squad"] == pytest.approx((1 + 2 * 3 / (3 + 4)) / 2)


# Answer selection -----------------------------------------------------------------------------------------------------------


def test_candidates_score_as_trec_eval_has_it() -> None:
    cases = rankings()
    table = {
        "id": [str(i) for i in range(len(cases))],
        "target": [right for right, _ in cases],
        "scores": [scores for _, scores in cases],
    }
    theirs, ours = THEIRS["ranks"], values(evaluate_predictions(table, "answer-selection"))
    for name, of in (
        ("mrr", "recip_rank"),
        ("map", "map"),
        ("precision_1", "P_1"),
        ("recall_5", "recall_5"),
        ("ndcg_10", "ndcg_cut_10"),
    ):
        assert ours[name] == pytest.approx(theirs[of])


def test_of_equal_scores_the_wrong_stand_first_wherever_the_file_has_them() -> None:
    run = evaluate_predictions(
        {"id": ["a", "b"], "target": [[1, 0, 0], [0, 1, 0]], "scores": [[1, 1, 0], [2, 2, 2]]}, "answer-selection"
    )
    assert values(run)["mrr"] == pytest.approx((1 / 2 + 1 / 3) / 2) and values(run)["precision_1"] == 0
    assert any("(2 rows have some)" in rule for rule in run.scores["rules"])


def test_rows_that_cannot_be_ranked_are_named_and_a_missing_row_scores_nothing() -> None:
    for target, scores, said in (
        ([0, 0], [1, 2], "no right candidate"),
        ([1, 0], [1], "another number of scores"),
        ([1, 0], [1, float("nan")], "no list of finite numbers"),
    ):
        with pytest.raises(RunError, match=f"1 rows have .*{said}.*: a"):
            evaluate_predictions({"id": ["a"], "target": [target], "scores": [scores]}, "answer-selection")
    run = evaluate_predictions(
        {"id": ["a", "b"], "target": [[1, 0], [1, 0]], "scores": [[1, 0], None]}, "answer-selection"
    )
    assert values(run)["mrr"] == values(run)["map"] == 0.5 and run.scores["unanswered"] == 1


QUERIES = [
    Ranking(
        id="q1",
        query="what stops gout pain",
        candidates=("drink water", "colchicine stops gout pain", "rest"),
        relevance=(0, 1, 0),
    ),
    Ranking(id="q2", query="flu in winter", candidates=("gout is common", "flu comes in winter"), relevance=(0, 1)),
    Ranking(id="q3", query="why", candidates=("a", "b"), relevance=(0, 0)),
    Ranking(id="q4", query="why not", candidates=("a", "b")),
]
WORDS = ("gout", "flu", "water", "winter", "colchicine")


def counter() -> Model:
    def embed(texts: Sequence[str]) -> np.ndarray:
        return np.array([[text.count(word) + 0.01 for word in WORDS] for text in texts], np.float32)

    return load_model(embed, verb="embed", card={"slug": "counter", "name": "Counter"})


def test_candidates_are_ranked_by_cosine_beside_bm25(tmp_path: Path) -> None:
    run = evaluate(counter(), in_memory(QUERIES), task="answer-selection", output=tmp_path / "run")
    table = run.predictions.to_pylist()
    assert [row["id"] for row in table] == ["q1", "q2"] and [row["target"] for row in table] == [[0, 1, 0], [0, 1]]
    assert np.argmax(table[0]["scores"]) == 1 and max(table[0]["scores"]) <= 1 + 1e-6
    assert run.scores["rivals"] == {"bm25": {"mrr": 1.0}} and values(run)["mrr"] == 1
    assert "1 query withholds what is right and is left out: q4" in run.facts["notices"]
    assert "1 query has no right candidate and is left out: q3" in run.facts["notices"]
    page = run.report().read_text(encoding="utf-8")
    assert "strongest cheap rival: BM25, which knows shared words alone, mrr 1.000; the model beats it: no" in page


def test_bm25_is_okapis_formula() -> None:
    query = Ranking(id="q", query="gout gout pain", candidates=("gout", "rest and gout", "pain"), relevance=(1, 0, 0))
    rare, common, mean = np.log(1 + 2.5 / 1.5), np.log(1 + 1.5 / 2.5), 5 / 3

    def part(weight: float, length: int) -> float:
        return float(weight * 2.5 / (1 + 1.5 * (0.25 + 0.75 * length / mean)))

    assert candidates.bm25([query], [query]) == [
        pytest.approx([2 * part(common, 1), 2 * part(common, 3), part(rare, 1)])
    ]


def test_candidates_are_ranked_by_likelihood_and_length_does_not_count(tmp_path: Path) -> None:
    def score(prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[np.ndarray]:
        asked.extend(prompts)
        return [
            np.array([-len(one) * (1.0 if "stops" in one or "flu" in one else 2.0) for one in row]) for row in options
        ]

    asked: list[str] = []
    model = load_model(score, verb="score", card={"slug": "liker", "name": "Liker"})
    run = evaluate(model, in_memory(QUERIES), task="answer-selection-scored", output=tmp_path / "run")
    assert asked[0] == "Question: what stops gout pain\nAnswer:" and values(run)["precision_1"] == 1
    assert run.predictions["log_likelihoods"].to_pylist()[0] == [-24, -27, -10]


# Pairs ----------------------------------------------------------------------------------------------------------------------


def test_similarity_is_the_correlation_of_cosines_with_what_people_said(tmp_path: Path) -> None:
    texts = [("gout", "gout", 4.0), ("gout", "flu", 0.0), ("flu and gout", "gout", 2.5), ("water", "winter", 1.0)]
    pairs = [Pair(id=f"p{i}", a=a, b=b, labels={"score": score}) for i, (a, b, score) in enumerate(texts)]
    run = evaluate(counter(), in_memory(pairs), task="similarity", output=tmp_path / "run")
    assert [one["name"] for one in run.scores["baselines"]["rivals"]] == ["words"]
    cosines = run.predictions["prediction"].to_pylist()
    assert values(run)["pearson"] == pytest.approx(np.corrcoef(cosines, [one for *_, one in texts])[0, 1])
    assert set(run.metrics) == {"pearson", "spearman"} and run.scores["headline"] == "pearson"
    assert run.report().is_file()
    with pytest.raises(RunError, match="needs pairs of texts"):
        evaluate(counter(), in_memory(QUERIES), task="similarity", output=tmp_path / "other")


def test_inference_is_asked_with_both_texts(tmp_path: Path) -> None:
    pairs = [
        Pair(id="p1", a="He has gout.", b="He is ill.", labels={"relation": "entailment"}),
        Pair(id="p2", a="He has flu.", b="He is well.", labels={"relation": "contradiction"}),
    ]

    def score(prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[np.ndarray]:
        asked.extend(prompts)
        return [np.array([0.0, -1.0, -2.0]) for _ in prompts]

    asked: list[str] = []
    space = Labels(name="relation", kind="multi-class", classes=("entailment", "neutral", "contradiction"))
    model = load_model(score, verb="score", card={"slug": "liker", "name": "Liker"})
    run = evaluate(model, in_memory(pairs, space), task="inference", output=tmp_path / "run")
    assert values(run)["accuracy"] == 0.5
    assert (
        asked[0]
        == "Text: He has gout.\nStatement: He is ill.\nWhat is the statement to the text: entailment, neutral, contradiction?\nAnswer:"
    )


# Several classes a text -------------------------------------------------------------------------------------------------------


def test_classes_of_documents_score_as_blues_script_has_it() -> None:
    """Its code, on these documents: precision (1 + 0 + 1/2) / 3, recall (1/2 + 0 + 1) / 3."""
    table = {
        "id": list("abcde"), "document": ["d1", "d1", "d2", "d3", "d4"],
        "target": [["x"], ["y"], ["x"], ["y"], []], "prediction": [["x"], [], [], ["x", "y"], ["x"]],
    }  # fmt: skip
    run = evaluate_predictions(table, "multi-label", classes=["x", "y"])
    found = values(run)
    assert (found["document_precision"], found["document_recall"]) == pytest.approx((0.5, 0.5)) and found[
        "document_f1"
    ] == pytest.approx(0.5)
    assert found["sample_f1"] == pytest.approx((1 + 0 + 0 + 2 / 3 + 0) / 5)
    assert any("4 documents" in rule and "1 without a class are left out" in rule for rule in run.scores["rules"])


def test_a_row_without_an_answer_is_wrong_as_a_whole_even_where_there_is_no_class() -> None:
    run = evaluate_predictions(
        {"id": ["a", "b"], "target": [[], ["x"]], "prediction": [None, ["x"]]}, "multi-label", classes=["x"]
    )
    assert values(run)["subset_accuracy"] == values(run)["sample_f1"] == 0.5


def test_questions_without_a_passage_are_no_reading_comprehension(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text('{"id": "1", "question": "Why?", "answers": ["so"]}\n')
    with pytest.raises(RunError, match="no question of split 'test' has a passage and an accepted answer"):
        evaluate(writer([]), tmp_path / "own.jsonl", task="reading-comprehension", output=tmp_path / "run")


def test_columns_of_ones_own_that_are_called_as_readers_call_theirs_mean_nothing(tmp_path: Path) -> None:
    row = {
        "id": "1",
        "question": "Why?",
        "context": "So.",
        "answers": [],
        "impossible": "false",
        "sentences": "So.",
        "document": 12,
    }
    (tmp_path / "own.jsonl").write_text(
        json.dumps(row) + "\n" + json.dumps({**row, "id": "2", "answers": ["so"]}) + "\n"
    )
    run = evaluate(writer(["so"]), tmp_path / "own.jsonl", task="reading-comprehension", output=tmp_path / "run")
    assert run.predictions["id"].to_pylist() == ["2"] and "document" not in run.predictions.column_names
    with pytest.raises(RunError, match="a passage cut into sentences"):
        evaluate(writer([]), tmp_path / "own.jsonl", task="answer-sentences", output=tmp_path / "numbers")

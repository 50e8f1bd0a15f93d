"""Written answers: by whose prompt they are asked, by which rule they are read, and what an unreadable one counts as."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from healthfm import RunError, card, evaluate, load_model, load_run
from healthfm.cards.schema import DatasetCard, ModelCard
from healthfm.evaluate import job
from healthfm.evaluate.protocols import render
from healthfm.evaluate.writing import own_prompt, stated_answer
from healthfm.models.language.causal_lm import CausalLM
from healthfm.models.model import Model
from healthfm.records import MultipleChoice

LETTERS, WORDS = ("A", "B", "C", "D"), ("yes", "no", "maybe")


@pytest.mark.parametrize(
    ("text", "keys", "answer"),
    [
        ("B", LETTERS, "B"), (" B. because", LETTERS, "B"), ("(C) text", LETTERS, "C"), ("**D**", LETTERS, "D"),
        ("A. one\n\nThe correct answer is D. four", LETTERS, "D"), ("Answer: (B)", LETTERS, "B"),
        ("The answer is: C", LETTERS, "C"), ("the best option is B", LETTERS, "B"),
        ("A patient with fever", LETTERS, None), ("b", LETTERS, None), ("E", LETTERS, None), ("", LETTERS, None),
        ("The answer is Aspirin", LETTERS, None), ("It could be A or B", LETTERS, None),
        ("Yes, because", WORDS, "yes"), ("MAYBE", WORDS, "maybe"), ("The answer is no.", WORDS, "no"),
        ("No difference was seen, so yes", WORDS, None), ("Nobody", WORDS, None), ("yesno", WORDS, None),
    ],
)  # fmt: skip
def test_a_stated_answer_is_read_and_nothing_is_guessed(text: str, keys: tuple[str, ...], answer: str | None) -> None:
    assert stated_answer(text, keys) == answer


def test_the_models_own_prompt_is_the_first_that_fits_the_task_and_has_a_rule() -> None:
    def own(slug: str, task: str) -> str | None:
        model = card(slug, "model")
        assert isinstance(model, ModelCard)
        found = own_prompt(model, task)
        return found[0] if found else None

    assert own("meditron", "multiple-choice-generated") == "medqa"
    assert own("meditron", "yes-no-maybe-generated") == "pubmedqa"
    assert own("pmc-llama", "multiple-choice-generated") == "question"
    assert own("biogpt", "yes-no-maybe-generated") == "pubmedqa"
    assert own("biogpt", "multiple-choice-generated") is None
    assert own("smollm2-135m-instruct", "multiple-choice-generated") is None


def test_the_prompt_for_letters_is_medevalkits() -> None:
    """As ``get_multiple_choice_prompt`` of MedEvalKit@9b12e3b3 writes it, blank behind "Options:" included."""
    data = card("medqa", "dataset")
    assert isinstance(data, DatasetCard)
    record = MultipleChoice(id="1", question="Which?", options={"A": "one", "B": "two"})
    assert render(record, data.protocols["letters-generated"]) == (
        "\nQuestion: Which?\nOptions: \nA. one\nB. two\nAnswer with the option's letter from the given choices directly."
    )


def writer(texts: Sequence[str], prompts: dict[str, Any] | None = None) -> Model:
    """A model that writes the texts in turn, and notes what it was asked."""
    left = list(texts)
    asked: list[Any] = []

    def generate(given: Sequence[Any], **options: Any) -> list[str]:
        asked.extend((one, options) for one in given)
        return [left.pop(0) for _ in given]

    generate.asked = asked  # type: ignore[attr-defined]
    facts = {"slug": "writer", "name": "Writer", "prompts": prompts or {}}
    return load_model(generate, verb="generate", card=facts)


def test_an_answer_that_cannot_be_read_is_no_answer_and_counts_as_wrong(medqa_root: Path, tmp_path: Path) -> None:
    model = writer(["The answer is A.", "I do not know.", "B", "Perhaps"])
    run = evaluate(model, "medqa@letters-generated", root=medqa_root, limit=4, output=tmp_path / "run")
    table = run.predictions.to_pylist()
    assert [row["prediction"] for row in table] == ["A", None, "B", None]
    assert [row["output"] for row in table][1] == "I do not know."
    assert run.scores["unanswered"] == 2
    right = sum(row["prediction"] == row["target"] for row in table)
    assert run.metrics["accuracy"]["value"] == right / 4
    assert load_run(tmp_path / "run").metrics == run.metrics
    assert run.facts["request"]["prompt"]["parser"] == "stated-answer"


def test_the_model_cards_own_prompt_comes_first_and_its_rule_reads(medqa_root: Path, tmp_path: Path) -> None:
    own = {
        "exam": {
            "template": "EXAM {{ question }} {{ options | join(', ') }}",
            "parser": "option-is-correct",
            "source": "here",
        }
    }
    model = writer(["OPTION B IS CORRECT.", "The answer is A."], own)
    run = evaluate(model, "medqa", root=medqa_root, task="multiple-choice-generated", limit=2, output=tmp_path / "run")
    assert run.predictions["prediction"].to_pylist() == ["B", None]
    assert run.facts["request"]["prompt"]["name"] == "exam"
    with pytest.raises(RunError, match="its card's own prompt 'exam', which takes no examples"):
        evaluate(model, "medqa", root=medqa_root, task="multiple-choice-generated", shots=2, output=tmp_path / "other")


def test_another_prompt_is_another_request(medqa_root: Path, tmp_path: Path) -> None:
    evaluate(writer(["A", "A"]), "medqa@letters-generated", root=medqa_root, limit=2, output=tmp_path / "run")
    own = {"exam": {"template": "{{ question }} {{ options }}", "parser": "meditron", "source": "here"}}
    with pytest.raises(RunError, match=r"another request .*prompt"):
        evaluate(writer(["A", "A"], own), "medqa@letters-generated", root=medqa_root, limit=2, output=tmp_path / "run")


def test_solved_examples_stand_in_the_prompt(medqa_root: Path, tmp_path: Path) -> None:
    model = writer(["A"])
    evaluate(
        model, "medqa@letters-generated", root=medqa_root, shots=1, shots_from="test", limit=1, output=tmp_path / "run"
    )
    [(prompt, _)] = model.generate.asked  # type: ignore[attr-defined]
    assert prompt.count("Question:") == 2


@pytest.mark.parametrize("name", ["pubmedqa@reasoning-required-generated", "pubmedqa@reasoning-free-generated"])
def test_real_weights_write_yes_no_or_maybe(smollm2: CausalLM, few_pubmedqa: Path, tmp_path: Path, name: str) -> None:
    run = evaluate(smollm2, name, root=few_pubmedqa, limit=2, output=tmp_path / "run")
    table = run.predictions.to_pylist()
    assert all(row["prediction"] == stated_answer(row["output"], WORDS) for row in table)
    assert any(row["prediction"] in WORDS for row in table)
    assert json.loads((tmp_path / "run/run.json").read_text())["max_new_tokens"] == 256


def test_a_lost_part_is_written_again_to_the_same_bytes(
    small_llama: CausalLM, few_pubmedqa: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "CHARACTERS_PER_PART", 1)  # a question a part
    asked = {"root": few_pubmedqa, "limit": 3, "output": tmp_path / "run"}
    evaluate(small_llama, "pubmedqa@reasoning-free-generated", **asked)  # type: ignore[arg-type]
    part = sorted((tmp_path / "run/predictions").glob("part-*"))[1]
    before = part.read_bytes()
    part.unlink()
    evaluate(small_llama, "pubmedqa@reasoning-free-generated", **asked)  # type: ignore[arg-type]
    assert part.read_bytes() == before

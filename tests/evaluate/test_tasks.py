"""What a model is asked: prompts, options and targets from records and a protocol."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthfm import RunError, card, open_dataset
from healthfm.cards.schema import DatasetCard, Protocol
from healthfm.evaluate import protocols
from healthfm.records import Document, MultipleChoice

LETTERS = "Question: {{ question }}\n{% for key, text in options.items() %}{{ key }}. {{ text }}\n{% endfor %}Answer:"


def question(answer: Any = "B", options: Mapping[str, str] | None = None, **more: Any) -> MultipleChoice:
    fields = {
        "id": "q1",
        "question": "Which?",
        "options": options or {"A": "one", "B": "two"},
        "answer": answer,
        **more,
    }
    return MultipleChoice(**fields)


def protocol(template: str = LETTERS, **more: Any) -> Protocol:
    fields = {
        "summary": "s",
        "task": "multiple-choice",
        "template": template,
        "options": "letters",
        "follows": "f",
        **more,
    }
    return Protocol(**fields)


def pubmedqa_card() -> DatasetCard:
    found = card("pubmedqa")
    assert isinstance(found, DatasetCard)
    return found


# Templates ------------------------------------------------------------------------------------------------------------


def test_a_template_sees_question_context_and_options() -> None:
    text = protocols.render(question(context="Because."), protocol("{{ context }} {{ question }} {{ options['A'] }}"))
    assert text == "Because. Which? one"


def test_a_prompt_keeps_its_text_as_it_is() -> None:
    text = "Is <b>A & B</b> {{ not a variable }} true?\n"
    assert protocols.render(question(question=text), protocol("{{ question }}\n")) == text + "\n"


@pytest.mark.parametrize(
    "template", ["{{ qestion }}", "{{ options.Z }}", "{% if patient %}x{% endif %}", "{{ record.id }}"]
)
def test_a_name_that_does_not_exist_is_an_error_not_an_empty_string(template: str) -> None:
    with pytest.raises(RunError, match="template cannot be filled: UndefinedError"):
        protocols.render(question(), protocol(template))


@pytest.mark.parametrize(
    "template",
    [
        "{{ question.__class__.__mro__ }}",
        "{{ options.__class__.__base__.__subclasses__() }}",
        "{{ question.__init__.__globals__ }}",
        "{{ ''['__class__'] }}",
        "{{ '{0.__class__}'.format(question) }}",
        "{{ question|attr('__class__') }}",
        "{{ cycler.__init__.__globals__.os }}",
    ],
)
def test_the_sandbox_refuses_a_way_out_of_the_template(template: str) -> None:
    with pytest.raises(RunError, match="template cannot be filled") as error:
        protocols.render(question(), protocol(template))
    assert "<class" not in str(error.value)


@pytest.mark.parametrize(
    "template",
    ["{% for i in range(10**9) %}{% endfor %}", "{{ 1 / 0 }}", "{{ question + 1 }}", "{% if %}", "{% include 'x' %}"],
)
def test_a_template_that_cannot_run_is_one_error_without_the_question(template: str) -> None:
    with pytest.raises(RunError, match="template cannot be filled") as error:
        protocols.render(question(question="Mrs Smith"), protocol(template))
    assert "Smith" not in str(error.value) and "\n" not in str(error.value)


def test_the_long_answer_takes_the_place_of_the_context() -> None:
    record = question(context="abstract", meta={"long_answer": "conclusion"})
    assert protocols.render(record, protocol("{{ context }}", context="long-answer")) == "conclusion"
    with pytest.raises(RunError, match="q1 has no long answer"):
        protocols.render(question(context="abstract"), protocol("{{ context }}", context="long-answer"))


def test_what_is_scored_is_the_key_or_the_text_behind_the_delimiter() -> None:
    assert protocols.continuations(question(), protocol()) == (" A", " B")
    assert protocols.continuations(question(), protocol(options="text", delimiter="\n")) == ("\none", "\ntwo")


# lm-evaluation-harness ------------------------------------------------------------------------------------------------


def harness_prompt(docs: list[dict[str, Any]], shots: int, **config: Any) -> str:
    """What lm-evaluation-harness itself asks for the last document, the first ones being its solved examples."""
    datasets = pytest.importorskip("datasets")
    from lm_eval.api.task import ConfigurableTask

    splits = {"train": datasets.Dataset.from_list(docs[:-1]), "test": datasets.Dataset.from_list(docs[-1:])}
    task = ConfigurableTask(config={
        "task": "here", "custom_dataset": lambda **_: splits, "output_type": "multiple_choice", "test_split": "test",
        "training_split": "train", "fewshot_split": "train", "num_fewshot": shots, "fewshot_config": {"sampler": "first_n"},
        **config,
    })  # fmt: skip
    return task.fewshot_context(docs[-1], shots)


@pytest.mark.parametrize("shots", [0, 1, 3])
def test_pubmedqa_prompts_equal_the_harness_with_any_number_of_examples(pubmedqa_root: Path, shots: int) -> None:
    from lm_eval.tasks.pubmedqa.preprocess_pubmedqa import doc_to_text

    raw = json.loads((pubmedqa_root / "data" / "ori_pqal.json").read_text())
    records = list(open_dataset("pubmedqa", pubmedqa_root, "train"))[: shots + 1]
    _, found = protocols.choose_protocol(pubmedqa_card(), None, None)
    item = protocols.make_items(records[-1:], found, records[:-1])[0]  # type: ignore[arg-type]
    theirs = harness_prompt(
        [raw[record.id] for record in records], shots, doc_to_text=doc_to_text,
        doc_to_target="final_decision", doc_to_choice=["yes", "no", "maybe"],
    )  # fmt: skip
    assert item.prompt == theirs
    assert item.continuations == (" yes", " no", " maybe")
    assert item.target == raw[records[-1].id]["final_decision"]


@pytest.mark.parametrize("shots", [0, 2])
def test_medqa_prompts_equal_the_harness(medqa_root: Path, shots: int) -> None:
    from lm_eval.tasks.medqa.preprocess_medqa import doc_to_target, doc_to_text

    records = [record for record, _ in zip(open_dataset("medqa", medqa_root, "test"), range(shots + 1), strict=False)]
    docs = [
        {"sent1": r.question, **{f"ending{i}": text for i, text in enumerate(r.options.values())}, "label": "ABCD".index(r.answer)}  # type: ignore[attr-defined]
        for r in records
    ]  # fmt: skip
    found = card("medqa")
    assert isinstance(found, DatasetCard)
    item = protocols.make_items(records[-1:], found.protocols["letters"], records[:-1])[0]  # type: ignore[arg-type]
    theirs = harness_prompt(
        docs, shots, doc_to_text=doc_to_text, doc_to_target=doc_to_target, doc_to_choice=list("ABCD")
    )
    assert item.prompt == theirs


def test_examples_stand_before_the_question_with_one_empty_line_between() -> None:
    shots = [question("A", id="s1", question="First?"), question("B", id="s2", question="Second?")]
    items = protocols.make_items([question()], protocol("Q: {{ question }}\nA:"), shots)
    assert items[0].prompt == "Q: First?\nA: A\n\nQ: Second?\nA: B\n\nQ: Which?\nA:"


def test_an_example_is_solved_with_its_own_options_text() -> None:
    shot = question("B", {"A": "left", "B": "right"})
    assert protocols.shot_block([shot], protocol("{{ question }}", options="text")) == "Which? right\n\n"


def test_no_examples_add_nothing() -> None:
    assert protocols.shot_block([], protocol()) == ""


# Records that cannot be asked -----------------------------------------------------------------------------------------


def test_withheld_answers_are_refused_by_record() -> None:
    with pytest.raises(RunError, match="q7 withholds its answer"):
        protocols.make_items([question(), question(None, id="q7")], protocol())


def test_another_kind_of_record_is_refused() -> None:
    with pytest.raises(RunError, match="needs MultipleChoice records, these are Document"):
        protocols.make_items([Document(id="d", text="text")], protocol())


@pytest.mark.parametrize("answer", [("A", "B"), ()])
def test_a_question_without_exactly_one_answer_is_refused_before_any_model_runs(answer: tuple[str, ...]) -> None:
    with pytest.raises(RunError, match="q1 has no single answer"):
        protocols.make_items([question(answer)], protocol())


@pytest.mark.parametrize("answer", [None, ("A", "B")])
def test_a_question_without_exactly_one_answer_is_no_example(answer: Any) -> None:
    with pytest.raises(RunError, match="q1 has no single answer and cannot serve as an example"):
        protocols.shot_block([question(answer)], protocol())


# Protocols ------------------------------------------------------------------------------------------------------------


def test_the_cards_default_protocol_is_followed_unless_another_is_named() -> None:
    assert protocols.choose_protocol(pubmedqa_card(), None, None)[0] == "reasoning-required"
    name, found = protocols.choose_protocol(pubmedqa_card(), "reasoning-free", "yes-no-maybe")
    assert (name, found.context) == ("reasoning-free", "long-answer")


def test_a_task_that_the_protocol_is_not_of_is_refused() -> None:
    with pytest.raises(RunError, match="no protocol for the task multiple-choice"):
        protocols.choose_protocol(pubmedqa_card(), None, "multiple-choice")


def test_a_protocol_named_for_another_task_is_refused() -> None:
    with pytest.raises(RunError, match="reasoning-free is a yes-no-maybe protocol, not free-text"):
        protocols.choose_protocol(pubmedqa_card(), "reasoning-free", "free-text")


def test_a_task_finds_its_protocol() -> None:
    assert (
        protocols.choose_protocol(pubmedqa_card(), None, "yes-no-maybe-generated")[0] == "reasoning-required-generated"
    )


def test_a_card_without_protocols_cannot_be_evaluated() -> None:
    bare = pubmedqa_card().model_copy(update={"protocols": {}, "default_protocol": None})
    with pytest.raises(RunError, match="no protocol to evaluate by"):
        protocols.choose_protocol(bare, None, None)


def test_texts_of_a_card_without_protocols_are_classified_as_healthfm_asks() -> None:
    name, found = protocols.choose_protocol(card("cblue"), None, "text-classification")  # type: ignore[arg-type]
    query = Document(id="s1", split="validation", text="头痛吃什么药？", labels={"label": "method"})
    assert name == "text-classification" and protocols.render(query, found, labels=["cause", "method"]) == (
        "Text: 头痛吃什么药？\nWhich of these fits the text: cause, method?\nAnswer:"
    )


def test_a_protocol_that_the_card_does_not_have_is_named_with_those_it_has() -> None:
    with pytest.raises(RunError, match=r"no protocol 'nope' .*reasoning-free"):
        protocols.choose_protocol(pubmedqa_card(), "nope", None)


# Samples --------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300), st.integers(0, 5))
def test_samples_are_nested_distinct_in_order_and_of_the_size_asked(n: int, one: int, other: int, seed: int) -> None:
    small, large = sorted((one, other))
    few, many = protocols.sample(n, small, seed), protocols.sample(n, large, seed)
    assert set(few) <= set(many)
    assert many == sorted(set(many)) and len(many) == min(large, n)
    assert set(many) <= set(range(n))


def test_the_seed_decides_the_sample() -> None:
    assert protocols.sample(500, 50, 1) == protocols.sample(500, 50, 1) != protocols.sample(500, 50, 2)


@pytest.mark.parametrize("limit", [None, 7, 8, 10**9])
def test_no_limit_or_a_larger_one_keeps_every_record(limit: int | None) -> None:
    assert protocols.sample(7, limit, 0) == list(range(7))


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(RunError, match=f"limit is {limit}"):
        protocols.sample(7, limit, 0)


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_of_pubmedqa_is_never_its_head_and_holds_each_answer(pubmedqa_root: Path, seed: int) -> None:
    """The owners' test ids are sorted by answer, "yes" first; whatever the order read, a sample mirrors the whole."""
    truth = json.loads((pubmedqa_root / "data" / "test_ground_truth.json").read_text())
    head = Counter(list(truth.values())[:64])
    assert head == {"yes": 64}, "the trap this test is about is gone"
    records = sorted(open_dataset("pubmedqa", pubmedqa_root, "test"), key=lambda record: list(truth).index(record.id))
    kept = protocols.sample(len(records), 64, seed)
    assert kept != list(range(64))
    answers = Counter(records[i].answer for i in kept)  # type: ignore[attr-defined]
    whole = Counter(truth.values())
    for answer, count in whole.items():
        expected, spread = 64 * count / 500, (64 * count / 500 * (1 - count / 500)) ** 0.5
        assert abs(answers[answer] - expected) < 4 * spread


def test_an_item_carries_its_record_keys_and_target() -> None:
    record = question()
    (item,) = protocols.make_items([record], protocol())
    assert (item.record, item.keys, item.target) == (record, ("A", "B"), "B")

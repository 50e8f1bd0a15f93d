"""Prompts: the same text, or the same token ids, as the owners' own code makes of 20 real questions.

``tests/references/make_prompts.py`` ran that code; ``tests/data/expected/prompts.json`` keeps the digests of what it made.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from jinja2.exceptions import SecurityError

from healthfm import CapabilityError, RunError, card, load_model
from healthfm.cards.schema import ModelCard, Prompt
from healthfm.models.language import prompts
from healthfm.models.language.text_model import TextModel
from healthfm.records import Image, Message
from tests.references.prompt_cases import (
    ASK,
    SAID,
    SEQUENCES,
    digest,
    instructed,
    medqa,
    pubmedqa,
    question_ending,
    small_tokenizers,
    taiyi_tokenizer,
    turns,
)  # fmt: skip

EXPECTED = json.loads((Path(__file__).parents[2] / "data/expected/prompts.json").read_text(encoding="utf-8"))
Slots = dict[str, Any]


def plain() -> list[Slots]:
    return [{"question": q.question} for q in medqa()]


def exams() -> list[Slots]:
    return [{"question": q.question, "options": q.options} for q in medqa()]


def papers() -> list[Slots]:
    return [{"question": q.question, "context": q.context} for q in pubmedqa()]


def talks(*, count: int = 10, said: str = SAID, more: Slots | None = None) -> list[Slots]:
    """Both turns of each conversation."""
    return [
        {"question": q.question, **({"history": [(pair[0].question, said)]} if i else {}), **(more or {})}
        for pair in turns()[:count] for i, q in enumerate(pair)
    ]  # fmt: skip


def answers_of_five() -> list[Slots]:
    """Conversations of five turns, as ``infer_literature.py`` holds them."""
    whole = [q.question for q in medqa()]
    return [{"question": whole[i], "history": [(one, SAID) for one in whole[i - i % 5 : i]]} for i in range(len(whole))]


def instructions() -> list[Slots]:
    return [{k: v for k, v in one.items() if v} for one in instructed()]


def readme_sample() -> list[Slots]:
    """PMC-LLaMA's own sample question, the sentence joints as its README has them; then others in its place."""
    question = (
        "A 23-year-old pregnant woman at 22 weeks gestation presents with burning upon urination. She states it started 1 day ago "
        "and has been worsening despite drinking more water and taking cranberry extract. She otherwise feels well and is followed "
        "by a doctor for her pregnancy. Her temperature is 97.7°F (36.5°C), blood pressure is 122/77 mmHg, pulse is 80/min, "
        "respirations are 19/min, and oxygen saturation is 98% on room air.Physical exam is notable for an absence of "
        "costovertebral angle tenderness and a gravid uterus. Which of the following is the best treatment for this patient?"
    )
    options = {"A": "Ampicillin", "B": "Ceftriaxone", "C": "Doxycycline", "D": "Nitrofurantoin"}
    return [{"question": question, "options": options}, *exams()[:19]]


def endings() -> list[Slots]:
    """Exams whose questions end in a mark of theirs, a full stop, or nothing."""
    return [{**one, "question": question_ending(one["question"], i)} for i, one in enumerate(exams())]


def lettered() -> list[Slots]:
    return exams() + [{**one, "options": {"A": "yes", "B": "no", "C": "maybe"}} for one in papers()]


def premises() -> list[Slots]:
    there = [{"premise": q.question, "hypothesis": f" {q.context} "} for q in pubmedqa()]
    return there + [{"premise": q.context, "hypothesis": q.question} for q in pubmedqa()]


CASES: dict[tuple[str, str], Callable[[], list[Slots]]] = {
    ("mmedlm-2", "alpaca"): instructions, ("mmedlm-2", "mmedbench"): exams, ("mmedlm-2", "mmedbench-rationale"): exams,
    ("pmc-llama", "training"): instructions, ("pmc-llama", "question"): readme_sample,
    ("pmc-llama", "readme"): lambda: [{"instruction": ASK, "input": q.question} for q in medqa()],
    ("medalpaca", "medalpaca"): lambda: [
        {"input": q.question, **({"instruction": ASK} if i % 2 else {})} for i, q in enumerate(medqa())
    ],
    ("medalpaca", "usmle"): exams,
    ("bentsao", "med"): plain, ("bentsao", "bloom"): plain, ("bentsao", "literature"): answers_of_five,
    ("chatdoctor", "chat"): lambda: talks(said=SAID + "\n\n"), ("chatdoctor", "training"): instructions,
    ("meditron", "fine-tuned"): plain, ("meditron", "medical"): plain, ("meditron", "orca"): plain,
    ("meditron", "chat"): lambda: talks(more={"system": "{system}"}),
    ("meditron", "medqa"): endings, ("meditron", "medqa-fine-tuned"): endings, ("meditron", "pubmedqa"): papers,
    ("chemdfm", "dialogue"): talks,
    ("biogpt", "pubmedqa"): lambda: papers() + [
        {**one, "answer": q.meta["long_answer"]} for one, q in zip(papers(), pubmedqa(), strict=True)
    ],
    ("me-llama", "chat"): plain, ("me-llama", "medqa"): exams, ("me-llama", "pubmedqa"): papers,
    ("biomistral", "bioinstructqa"): lettered,
    ("biomedgpt", "conversation"): talks,
    ("clinical-t5", "mednli"): premises,
    ("clinical-t5", "radqa"): lambda: [{"question": f" {q.question}", "context": f"\n{q.context}"} for q in pubmedqa()],
    ("omnina", "fine-tuning"): lambda: [
        {"input": one, "question": q.question} for one, q in zip(SEQUENCES, medqa(), strict=True)
    ],
    ("omnina", "pretraining"): lambda: [{"input": one} for one in SEQUENCES],
}  # fmt: skip


def model_card(slug: str) -> ModelCard:
    found = card(slug)
    assert isinstance(found, ModelCard)
    return found


def prompt_of(slug: str, name: str) -> Prompt:
    return prompts.choose(model_card(slug), name)


def reading(tokenizer: Any, slug: str = "pulse") -> TextModel:
    """A model as far as prompts need one: a card and a tokenizer."""
    model = TextModel.__new__(TextModel)
    model.card, model.variant, model.tokenizer, model.stated_generation = model_card(slug), None, tokenizer, {}
    return model


@pytest.mark.parametrize(
    ("slug", "name"),
    [pytest.param(*case, marks=pytest.mark.evidence(case[0], "input"), id="-".join(case)) for case in CASES],
)
def test_a_prompt_is_the_owners(slug: str, name: str) -> None:
    expected = EXPECTED["prompts"][slug][name]
    made = [prompts.render(prompt_of(slug, name), **slots) for slots in CASES[slug, name]()]
    assert [digest(str(one)) for one in made] == expected
    assert len(expected) >= 20


@pytest.mark.parametrize("kind", ["sentencepiece-like", "byte-level"])
@pytest.mark.parametrize("name", ["base", "medical-qa", "consultation"])
@pytest.mark.evidence("pulse", "input")
def test_pulse_builds_the_owners_token_ids(kind: str, name: str) -> None:
    model, prompt = reading(small_tokenizers()[kind]), prompt_of("pulse", name)
    slots = plain() + (talks(count=5, said=f"Helper: {SAID}") if name == "consultation" else [])
    made = [prompts.encode(model, prompts.render(prompt, **one))[0] for one in slots]
    assert [digest(ids) for ids in made] == EXPECTED["prompts"]["pulse"][f"{name} {kind}"]


@pytest.mark.evidence("taiyi", "input")
def test_taiyi_builds_the_owners_token_ids() -> None:
    model, prompt = reading(taiyi_tokenizer(), "taiyi"), prompt_of("taiyi", "chat")
    made = [prompts.encode(model, prompts.render(prompt, **one))[0] for one in plain() + talks(count=5)]
    assert [digest(ids) for ids in made] == EXPECTED["prompts"]["taiyi"]["chat"]


@pytest.mark.parametrize("kind", ["sentencepiece-like", "byte-level"])
def test_pulses_prompt_read_as_one_text_gives_other_ids(kind: str) -> None:
    """Negative control: encoded in one go, the same text gives other ids with either tokenizer."""
    model = reading(small_tokenizers()[kind])
    whole = [digest(model.encode(str(prompts.render(prompt_of("pulse", "base"), **one)))) for one in plain()]
    assert not set(whole) & set(EXPECTED["prompts"]["pulse"][f"base {kind}"])


@pytest.mark.parametrize(
    ("slug", "name", "wrong"),
    [
        ("pmc-llama", "readme", ("context.Write", "context. Write")),
        ("chatdoctor", "chat", ("ChatDoctor: ", "ChatDoctor:")),
        ("meditron", "medical", ("<|im_start|> user", "<|im_start|>user")),
        ("bentsao", "bloom", ("：", ":")),
        ("chemdfm", "dialogue", ("loop.index0", "loop.index")),
        ("mmedlm-2", "mmedbench", ("{{ text }} {% endfor", "{{ text }}{% endfor")),
        ("biomistral", "bioinstructqa", (" \n **Answer", "\n**Answer")),
    ],
)
def test_a_tidied_template_is_not_the_owners(slug: str, name: str, wrong: tuple[str, str]) -> None:
    """Negative controls: a blank more or less, a half-width colon, rounds from 1, each shows."""
    prompt = prompt_of(slug, name)
    tidied = prompt.model_copy(update={"template": prompt.template.replace(*wrong)})
    assert tidied.template != prompt.template
    made = [digest(str(prompts.render(tidied, **slots))) for slots in CASES[slug, name]()]
    assert made != EXPECTED["prompts"][slug][name]


# The renderer -----------------------------------------------------------------------------------------------------------


def prompt(template: str, **facts: Any) -> Prompt:
    return Prompt(template=template, source="here", **facts)


def test_a_missing_or_a_strange_slot_is_refused() -> None:
    with pytest.raises(RunError, match="'question' is undefined"):
        prompts.render(prompt("Q: {{ question }}"))
    with pytest.raises(RunError, match="no place for context"):
        prompts.render(prompt("Q: {{ question }}"), question="a", context="b")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ question.__class__.__subclasses__() }}",
        "{{ options.update({'a': 1}) }}",
        "{{ cycler.__init__ }}",
    ],
)
def test_a_template_cannot_leave_its_sandbox(template: str) -> None:
    with pytest.raises(RunError, match="cannot be filled"):
        prompts.render(prompt(template + "{{ question }}{{ options }}"), question="a", options={"A": "b"})


def test_a_questions_own_braces_and_borders_stay_text() -> None:
    made = prompts.render(prompt("a\x1f{{ question }}\x1fb"), question="{{ 7 * 7 }}\x1f</s>")
    assert str(made) == "a{{ 7 * 7 }}</s>b"
    assert made.parts == ("a", "{{ 7 * 7 }}</s>", "b")


def test_a_made_prompt_is_plain_data() -> None:
    made = prompts.render(prompt("Q\x1f{{ question }}"), question="a")
    assert made == prompts.Rendered("Qa", ("Q", "a"), prompt("Q\x1f{{ question }}")) and not isinstance(made, str)
    with pytest.raises(FrozenInstanceError):
        made.text = "b"  # type: ignore[misc]


def test_an_object_of_the_callers_is_given_the_text_of_a_made_prompt() -> None:
    met: list[object] = []

    class Theirs:
        def generate(self, texts: list[str], **more: object) -> list[str]:
            met.extend(texts)
            return texts

        def score(self, texts: list[str], options: list[list[str]]) -> list[list[float]]:
            met.extend(texts)
            return [[0.0 for _ in some] for some in options]

    model, turns = load_model(Theirs(), card={"slug": "theirs", "name": "Theirs"}), [Message("user", "b")]
    made = prompts.render(prompt("Q: {{ question }}"), question="a")
    assert model.generate([made, "plain", turns]) == ["Q: a", "plain", turns]
    assert model.score([made], [["x", "y"]]) == [[0.0, 0.0]]
    assert met == ["Q: a", "plain", turns, "Q: a"] and type(met[0]) is str


@pytest.mark.parametrize(
    ("rule", "pieces", "kept"),
    [
        ({}, [" a", " b ", "\n"], [" a", " b ", "\n"]),
        ({"trim": True}, [" ", "\n", " a", " ", "b ", "\n"], ["a", " b"]),
        ({"trim": True}, ["a", " ", " \n", "b", "c "], ["a", "  \nb", "c"]),
        ({"trim": True}, [" ", "\n"], []),
        ({"after": "Answer:"}, ["x Ans", "wer: y An", "swer: z "], [" z "]),
        ({"after": "Answer:", "trim": True}, ["x", " "], ["x"]),
    ],
)
def test_an_answers_pieces_are_kept_as_they_come(rule: Slots, pieces: list[str], kept: list[str]) -> None:
    model = reading(small_tokenizers()["byte-level"])
    assert list(prompts.kept(model, prompt("a", **rule), [1], iter(pieces))) == kept
    assert list(prompts.kept(model, None, [1], iter(pieces))) == pieces


def test_a_conversation_takes_the_cards_default_prompt() -> None:
    messages = [Message("user", "one"), Message("assistant", "two"), Message("user", ("th", "ree"))]
    assert str(prompts.converse(model_card("chemdfm"), messages)) == (
        "[Round 0]\nHuman: one\nAssistant: two\n[Round 1]\nHuman: three\nAssistant:"
    )


@pytest.mark.parametrize(
    ("slug", "messages", "reason"),
    [
        (
            "me-llama",
            [Message("user", "a"), Message("assistant", "b"), Message("user", "c")],
            "no place for earlier turns",
        ),
        ("chemdfm", [Message("system", "a"), Message("user", "b")], "no place for a system text"),
        ("chemdfm", [Message("user", "a"), Message("user", "b")], "alternates"),
        ("chemdfm", [Message("user", "a"), Message("assistant", "b")], "ends with the user's turn"),
        ("chemdfm", [], "roles: none"),
        ("biogpt", [Message("user", "a")], "has no chat form"),
        ("chemdfm", [Message("user", (Image(id="x", load=lambda: None),))], "reads text only"),  # type: ignore[arg-type, return-value]
    ],
)
def test_a_conversation_that_does_not_fit_is_refused(slug: str, messages: list[Message], reason: str) -> None:
    with pytest.raises((CapabilityError, RunError), match=reason):
        prompts.converse(model_card(slug), messages)


def test_the_chat_template_runs_in_transformers_sandbox() -> None:
    class Hostile:
        chat_template = "{{ ''.__class__ }}"

    hostile = small_tokenizers()["byte-level"]
    hostile.chat_template = "{{ messages.__class__.__mro__[1].__subclasses__() }}"
    try:
        with pytest.raises(SecurityError):
            hostile.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False)
        with pytest.raises(RunError, match=r"refuses these turns \(SecurityError; roles: user\)"):
            prompts.encode(reading(hostile), [Message("user", "a secret")])
    finally:
        hostile.chat_template = None


def test_a_default_prompt_is_one_only() -> None:
    facts = model_card("chemdfm").model_dump()
    one = facts["prompts"]["dialogue"]
    with pytest.raises(ValueError, match="only one of them"):
        ModelCard.model_validate({**facts, "prompts": {"a": one, "b": one}})


# Rows that were never released ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "slug", [pytest.param(slug, marks=pytest.mark.evidence(slug, "closed")) for slug in ("med-palm", "med-palm-2")]
)
def test_a_closed_row_has_its_facts_and_says_that_it_cannot_run(slug: str) -> None:
    found = model_card(slug)
    assert found.access == "closed" and not found.weights
    assert found.results and all(one.source for one in found.results)
    assert any(one.dataset for one in found.trained_on)
    made = prompts.render(prompt_of(slug, "multiple-choice"), question="Why?", options={"A": "x", "B": "y"})
    assert made.text.endswith("Question: Why?\n(A) x (B) y\nExplanation:")
    with pytest.raises(CapabilityError, match=rf"cannot run {slug}.*No weights"):
        load_model(slug)

"""Readers of answers: what the owners' own code reads in the same texts, and None where they read nothing.

``tests/references/make_prompts.py`` ran the owners' code on ``ANSWERS``; what it read stands in ``prompts.json``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from healthfm import RunError
from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard, Prompt
from healthfm.evaluate import parsers
from tests.references.prompt_cases import ANSWERS

READ = json.loads((Path(__file__).parent.parent / "data/expected/prompts.json").read_text(encoding="utf-8"))["answers"]
LETTERS = ("A", "B", "C", "D", "E")
DECISIONS = ("yes", "no", "maybe")
OWNERS = {
    "option-is-correct": ("pmc-llama", "option-is-correct", LETTERS), "mmedbench": ("mmedlm-2", "mmedbench", LETTERS),
    "biogpt": ("biogpt", "biogpt", DECISIONS), "meditron": ("meditron", "meditron", LETTERS),
    "meditron yes-no": ("meditron", "meditron", DECISIONS),
    "opening-letter-sentence": ("medalpaca", "opening-letter-sentence", LETTERS),
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "rule", "keys"),
    [
        pytest.param(case, rule, keys, marks=pytest.mark.evidence(slug, "output"), id=case)
        for case, (slug, rule, keys) in OWNERS.items()
    ],
)
def test_a_rule_reads_what_the_owners_code_reads(case: str, rule: str, keys: tuple[str, ...]) -> None:
    names = {key.lower(): key for key in keys}
    for text, theirs in zip(ANSWERS[case], READ[case], strict=True):
        expected = None if theirs is None else "|".join(names[one.lower()] for one in theirs.split(","))
        assert parsers.PARSERS[rule](text, keys) == expected, text
    assert None in READ[case] and len(set(READ[case])) > 2


def test_a_response_without_its_end_token_reads_the_same() -> None:
    """The owners keep </s> in the text; ours ends before it."""
    assert parsers.mmedbench("###Answer: OPTION D IS CORRECT.", LETTERS) == "D"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Explanation: so.\nAnswer: (D)", "D"),
        ("Answer: (A) ... Answer: (C)", "C"),
        ("Answer: D", None),
        ("(B)", None),
        ("Answer: (F)", None),
    ],
)
def test_the_palm_form_is_read_from_its_last_answer(text: str, answer: str | None) -> None:
    assert parsers.palm_answer(text, LETTERS) == answer


def test_an_option_that_the_question_lacks_is_no_answer() -> None:
    for rule, text in (
        ("option-is-correct", "OPTION D IS CORRECT"),
        ("whole", "D"),
        ("meditron", "D"),
        ("mmedbench", "D"),
    ):
        assert parsers.PARSERS[rule](text, ("A", "B", "C")) is None


def test_every_rule_that_a_card_names_is_there() -> None:
    cards = [one for one in catalog.all_cards("model") if isinstance(one, ModelCard)]
    named = {prompt.parser for one in cards for prompt in one.prompts.values() if prompt.parser}
    assert named == set(parsers.PARSERS)


def test_a_prompt_without_a_rule_is_refused() -> None:
    with pytest.raises(RunError, match="no rule to read an answer by"):
        parsers.parse(Prompt(template="a", source="here"), "A", LETTERS)
    with pytest.raises(RunError, match="no rule 'x'"):
        parsers.parse(Prompt(template="a", source="here", parser="x"), "A", LETTERS)
    assert parsers.parse(Prompt(template="a", source="here", parser="whole"), "B", LETTERS) == "B"

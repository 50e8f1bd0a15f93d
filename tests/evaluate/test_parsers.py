"""Readers of answers: what the owners' own code reads in the same texts, and None where they read nothing.

``tests/references/make_prompts.py`` ran the owners' code on ``ANSWERS``; what it read stands in ``prompts.json``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from healthfm import RunError, card
from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard, Prompt
from healthfm.evaluate import parsers
from tests.references.prompt_cases import ANSWERS

READ = json.loads((Path(__file__).parent.parent / "data/expected/prompts.json").read_text(encoding="utf-8"))["answers"]
LETTERS = ("A", "B", "C", "D", "E")
DECISIONS = ("yes", "no", "maybe")
OWNERS = {
    "option-is-correct": ("pmc-llama", ("training", "readme", "question"), LETTERS), "mmedbench": ("mmedlm-2", ("mmedbench",), LETTERS),
    "biogpt": ("biogpt", ("pubmedqa",), DECISIONS), "meditron": ("meditron", ("medqa", "medqa-fine-tuned"), LETTERS),
    "meditron yes-no": ("meditron", ("pubmedqa",), DECISIONS), "opening-letter-sentence": ("medalpaca", ("usmle",), LETTERS),
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "slug", "which", "keys"),
    [
        pytest.param(case, slug, which, keys, marks=pytest.mark.evidence(slug, "output"), id=case)
        for case, (slug, which, keys) in OWNERS.items()
    ],
)
def test_a_cards_prompt_reads_what_the_owners_code_reads(
    case: str, slug: str, which: tuple[str, ...], keys: tuple[str, ...]
) -> None:
    names = {key.lower(): key for key in keys}
    expected = [None if one is None else "|".join(names[key.lower()] for key in one.split(",")) for one in READ[case]]
    for prompt in (card(slug).prompts[one] for one in which):  # type: ignore[union-attr]
        assert [parsers.parse(prompt, text, keys) for text in ANSWERS[case]] == expected
        for other in set(parsers.PARSERS) - {
            prompt.parser
        }:  # negative control: by any other rule, something reads otherwise
            changed = prompt.model_copy(update={"parser": other})
            assert [parsers.parse(changed, text, keys) for text in ANSWERS[case]] != expected
    assert None in expected and len(set(expected)) > 2


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

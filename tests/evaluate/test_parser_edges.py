"""Texts in which one step of an owner's rule decides: what a rule reads is asked of cards' prompts, as ``evaluate`` asks it."""

from __future__ import annotations

import pytest

from healthfm.cards.schema import Prompt
from healthfm.evaluate.parsers import PARSERS, parse

LETTERS = ("A", "B", "C", "D")
WORDS = ("yes", "no", "maybe")
LEAD = "the answer to the question given the context is"


def asked(rule: str) -> Prompt:
    return Prompt(template="{{ question }}", parser=rule, source="a test")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("rule", "text", "keys", "answer"),
    [
        ("mmedbench", "###Answer: OPTION A,X IS CORRECT.</s>", LETTERS, None),  # one that is no key: not even the other
        ("mmedbench", "###Answer: OPTION C,A IS CORRECT.</s>", LETTERS, "A|C"),
        ("meditron", "so\n##B\n##C", LETTERS, "B"),  # what stands behind the first mark, up to the next
        ("meditron", "A\n## C\nD", LETTERS, "C"),
        ("meditron", "E", (*LETTERS, "E"), "E"),
        ("meditron", "F", (*LETTERS, "E", "F"), None),
        ("meditron", "maybe", WORDS, None),
        ("meditron", "yesno", WORDS, "yes"),
        ("meditron", "noyes", WORDS, "no"),
        ("biogpt", f"{LEAD} no learned1 learned2 {LEAD} yes.", WORDS, "yes"),  # behind the last of the learned tokens
        ("biogpt", f"we have that {LEAD} maybe", WORDS, "maybe"),
        ("biogpt", f"in conclusion, {LEAD} no.", WORDS, "no"),
        ("opening-letter-sentence", "b: something", LETTERS, None),
        ("opening-letter-sentence", "b: something", ("a", "b"), None),
        ("opening-letter-sentence", "B", LETTERS, None),
        ("opening-letter-sentence", "**B: something**", LETTERS, "B"),
        ("option-is-correct", "option b is correct. OPTION C IS CORRECT", LETTERS, "B"),
        ("option-is-correct", "OPTION E IS CORRECT", (*LETTERS, "E"), None),
        ("first-option-within", "Answer: B", LETTERS, "A"),
        ("first-option-within-lower", "No, or yes", WORDS, "yes"),
        ("palm-answer", "Answer: (A) ... Answer: (C)", LETTERS, "C"),
        ("whole", "A ", LETTERS, None),
    ],
)
def test_a_rule_reads_what_its_owner_reads(rule: str, text: str, keys: tuple[str, ...], answer: str | None) -> None:
    assert parse(asked(rule), text, keys) == answer


def test_every_rule_finds_nothing_in_nothing() -> None:
    for rule in PARSERS:
        assert [parse(asked(rule), text, LETTERS) for text in ("", " ", "\n", "Zx")] == [None] * 4

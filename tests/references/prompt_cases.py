"""What both sides of a prompt comparison use: real questions, in file order, and generated-looking answers."""

from __future__ import annotations

import functools
import hashlib
import json
import random
from pathlib import Path
from typing import Any

from healthfm import open_dataset
from healthfm.records import MultipleChoice
from tests.references.small_tokenizer import byte_level, sentencepiece_like

PROJECT = Path(__file__).parent.parent.parent
ASK = "You're a doctor, kindly address the medical queries according to the patient's account. Answer with the best option directly."
SAID = "Rest, and drink water."  # a model's earlier answer
_BASES = random.Random(0)
SEQUENCES = ["".join(_BASES.choices("ACGT", k=200)) for _ in range(20)]  # made: the repository carries no nucleotides

ANSWERS = {
    "option-is-correct": [
        "###Answer: OPTION B IS CORRECT.</s>", "The rest follows. Option c is correct", "OPTION A IS CORRECT. OPTION D IS CORRECT.",
        "OPTION E IS CORRECT", "The answer is B.", "", "OPTION  B IS CORRECT", "B",
    ],
    "mmedbench": [
        "###Answer: OPTION B IS CORRECT.</s>", "B", " C ", "A,B", "B,A", "###Answer: OPTION A,C IS CORRECT.</s>", "The answer is B",
        "b", "", "OPTION B IS CORRECT.</s>", "D.",
    ],
    "biogpt": [
        "the answer to the question given the context is yes.", "the answer to the question given the context is no",
        "learned1 learned2 the answer to the question given the context is maybe.", "yes.",
        "in conclusion, the answer to the question given the context is no.", "the answer to the question is yes.",
    ],
    "meditron": ["A", " b. Because", "The answer is C", "(D)", "ECG", "?", "", "F", "A\n\nQuestion: next", "x\n## B\nmore", "C\n## D\nmore\n## E\nend"],
    "meditron yes-no": ["Yes", "no.", "yesno", "noyes", "maybe", "Yes, it is", "yesyes", "", "no\n## Yes.\nmore\n## no"],
    "opening-letter-sentence": [
        "A: Ampicillin", "B. Ceftriaxone is right", "C because", "(D) something", "D", "because of A", "", "**E: five**", "Ask a doctor",
    ],
}  # fmt: skip


def digest(made: Any) -> str:
    """Return the sha256 of a text, or of a list of token ids."""
    return hashlib.sha256((made if isinstance(made, str) else json.dumps(made)).encode()).hexdigest()


@functools.cache
def medqa() -> list[MultipleChoice]:
    """The first 20 questions of MedQA's US four-option test file."""
    return list(open_dataset("medqa", PROJECT / "tests/data/medqa", "test"))[:20]  # type: ignore[arg-type]


@functools.cache
def pubmedqa() -> list[MultipleChoice]:
    """The first 20 test questions of PubMedQA's labelled part."""
    return list(open_dataset("pubmedqa", PROJECT / "examples/pubmedqa", "test"))[:20]  # type: ignore[arg-type]


def question_ending(question: str, i: int) -> str:
    """A question with its own end, a full stop, or none, in turn: owners add a mark where there is none."""
    return question if i % 3 == 0 else question.rstrip('?"') + ("." if i % 3 == 1 else "")


def turns() -> list[list[MultipleChoice]]:
    """The MedQA questions as ten conversations of two turns; between them stands ``SAID``."""
    return [medqa()[i : i + 2] for i in range(0, 20, 2)]


def instructed() -> list[dict[str, str]]:
    """The MedQA questions as instructions, every second one with an input."""
    return [
        {"instruction": ASK, "input": q.question} if i % 2 else {"instruction": q.question, "input": ""}
        for i, q in enumerate(medqa())
    ]


@functools.cache
def small_tokenizers() -> dict[str, Any]:
    """A tokenizer that adds a start token and one that adds none, as PULSE's two sizes have."""
    return {"sentencepiece-like": sentencepiece_like(_texts()), "byte-level": byte_level(_texts())}


@functools.cache
def taiyi_tokenizer() -> Any:
    """A byte-level tokenizer with Qwen's end of text."""
    return byte_level(_texts(), "<|endoftext|>")


def _texts() -> list[str]:
    return [q.question for q in medqa()]

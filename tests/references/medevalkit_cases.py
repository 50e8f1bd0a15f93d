"""Answers as models write them, and the right ones, for MedEvalKit's metrics and ours alike."""

from __future__ import annotations

from pathlib import Path

from healthfm import open_dataset
from healthfm.records import MultipleChoice

MEDQA = Path(__file__).parents[1] / "data" / "medqa"
DECISIONS = ("yes", "no")

# (right answer, what was written): rules that differ elsewhere agree on these, which have no sign, no article and no word twice.
PLAIN = (
    ("right frontal lobe", "right frontal lobe"),
    ("pleural effusion", "left pleural effusion"),
    ("pneumonia", "cardiomegaly"),
    ("moderate left pleural effusion with enlarged heart", "moderate left pleural effusion and enlarged heart"),
    ("small bowel obstruction with dilated loops", "dilated loops"),
    ("ct of chest", "Ct Of Chest"),
)
# ... and on these they do not: an article and a full stop; a word that comes twice; no four words in a row in common.
OTHER = (
    ("liver", "The liver."),
    ("left lung and right lung", "lung"),
    ("enlarged heart with clear lungs", "clear lungs with enlarged heart"),
)
# (right answer, what was written, what a judge who can read says of it: True, False, or None where no verdict came back)
VISUAL = (
    ("yes", "Yes", True),
    ("yes", "yes.", True),
    ("no", "No.", True),
    ("no", "yes", False),
    ("yes", "Yes, it is normal.", True),
    ("no", "I do not know", False),
    ("yes", "Answer: yes", True),
    ("right frontal lobe", "right frontal lobe", True),
    ("pleural effusion", "left pleural effusion", True),
    ("pneumonia", "cardiomegaly", False),
    ("liver", "The liver.", True),
    ("axial", "sagittal", None),
)  # fmt: skip
YES_NO = tuple((answer, written) for answer, written, _ in VISUAL if answer in DECISIONS)
REFUSALS = ("I cannot answer this question.", "I do not know.", "None of these.")
FORMS = ("{letter}", "{letter}. {text}", "The answer is {letter}.", "**Answer**: {letter}", "Answer: {letter}")


def questions() -> list[MultipleChoice]:
    """The 1,273 questions of MedQA's official test file."""
    return [one for one in open_dataset("medqa", MEDQA, "test") if isinstance(one, MultipleChoice)]


def letters(asked: list[MultipleChoice]) -> list[str]:
    """An answer to each, in several forms, right and wrong."""
    found = []
    for i, one in enumerate(asked):
        letter = "ABCD"[i * 7 // 3 % 4]
        found.append(FORMS[i % len(FORMS)].format(letter=letter, text=one.options[letter]))
    return found

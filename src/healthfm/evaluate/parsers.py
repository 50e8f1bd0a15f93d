"""Readers of generated answers: text -> the key of an option, or None where the rule finds none. None is never a guess.

Each rule is the owner's, and its docstring says whose; a card's prompt names its rule (``parser``). Several keys, where a
rule can read several, are sorted and joined by "|", as answers are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from healthfm.cards.schema import Prompt
from healthfm.errors import RunError

Parser = Callable[[str, Sequence[str]], str | None]
YES_NO = {"yesyes": "yes", "nono": "no", "yesno": "yes", "noyes": "no"}


def option_is_correct(text: str, keys: Sequence[str]) -> str | None:
    """Return the letter of the first "OPTION X IS CORRECT", in any case.

    Source: github.com/chaoyi-wu/PMC-LLaMA@54fc0d4d SFT/eval/eval_medqa.py, ``parse_pmc_answers`` (letters A to D only; it
    keeps the letter as written, which matters only where it is written small).
    """
    found = re.search(r"(?i)OPTION ([ABCD]) IS CORRECT", text)
    return _key(found.group(1), keys) if found else None


def mmedbench(text: str, keys: Sequence[str]) -> str | None:
    """Return the keys that a response consists of, once "###Answer: OPTION " and "IS CORRECT.</s>" are taken out of it.

    Source: github.com/MAGIC-AI4Med/MMedLM@9722bb79 metrics/accuracy.py (several keys are separated by commas) after
    inference/inference.py, which removes line breaks. The end token may have been left out of the text already.
    """
    response = text.replace("\n", "").strip()
    ended = response if response.endswith("</s>") or not response.endswith("IS CORRECT.") else response + "</s>"
    names = ended.replace("###Answer: OPTION ", "").replace("IS CORRECT.</s>", "").strip().split(",")
    return "|".join(sorted(set(names))) if all(name in keys for name in names) else None


def biogpt(text: str, keys: Sequence[str]) -> str | None:
    """Return what stands behind "the answer to the question given the context is", without a full stop at the end.

    Source: github.com/microsoft/BioGPT@648f7d65 examples/QA-PubMedQA/postprocess.py.
    """
    line = text.strip().removesuffix(".")
    for lead in ("(?:learned[0-9]+ )+", "we can conclude that", "we have that", "in conclusion,"):
        if re.search(lead, line):
            line = re.split(lead, line)[-1].strip()
            break
    found = re.search(r"the answer to the question given the context is(.*)", line)
    answer = found.group(1).strip() if found else None
    return answer if answer in keys else None


def meditron(text: str, keys: Sequence[str]) -> str | None:
    """Return the first letter of a text where options are letters, or the one word that it is where they are words.

    Of a text with "\\n##" what stands behind it counts. The owners know the letters A to E, yes and no (no maybe), and
    read "yesno" as yes and "noyes" as no: a run of them is what an unstopped model writes. The first letter counts
    whatever follows it ("ECG" is E).
    Source: github.com/epfLLM/meditron@a7c7cda3 evaluation/evaluate.py, ``eval`` without examples or chain of thought.
    """
    low = text.lower()
    if "\n##" in low:
        low = low.split("\n##")[1].split("\n")[0].strip()
    plain = re.sub(" +", " ", re.sub(r"[^a-zA-Z0-9]", " ", low).strip())
    if all(len(key) == 1 for key in keys):
        return _key(plain[:1], keys) if plain[:1] in tuple("abcde") else None
    for run, meant in YES_NO.items():
        if run in plain:
            plain = plain.replace(run, meant)
            break
    return plain if plain in ("yes", "no") and plain in keys else None


def opening_letter_sentence(text: str, keys: Sequence[str]) -> str | None:
    """Return the capital letter that opens a text, before ": ", ". " or " " and more words; signs at either end are dropped.

    Source: github.com/kbressem/medAlpaca@63448c57 eval/eval_usmle.py, ``strip_special_chars`` and
    ``starts_with_capital_letter`` (the owners draw again where they fail, at most five times).
    """
    plain = re.sub(r"\A[^A-Za-z0-9]+|[^A-Za-z0-9]+\Z", "", text)
    found = re.match(r"([A-Z])(?::|\.|) .+", plain)
    return found.group(1) if found and found.group(1) in keys else None


def whole(text: str, keys: Sequence[str]) -> str | None:
    """Return the key that a text is, to the letter.

    Source: github.com/BioMistral/BioMistral@4d1fa85e Evaluation/FewShot/PredictFewShot-Avg-Thread.py and
    EvaluateSFT-FewShotV2.py (the first generated token); github.com/elehman16/do-we-still-need-clinical-lms@350f9e46
    src/finetuning/preprocess_mednli.py, ``compute_metrics``.
    """
    return text if text in keys else None


def first_option_within(text: str, keys: Sequence[str]) -> str | None:
    """Return the first of the keys, in their own order, that is anywhere in a text, within a word too ("Answer: B" is A).

    Source: github.com/BIDS-Xu-Lab/Me-LLaMA@08c893f2 src/tasks/vital_measure.py, ``Classification`` with ``LOWER_CASE`` off
    (MedQA, MedMCQA).
    """
    return next((key for key in keys if key in text.strip()), None)


def first_option_within_lower(text: str, keys: Sequence[str]) -> str | None:
    """Return the first of the keys, in their own order, that is anywhere in a text, in any case ("maybe not" is no).

    Source: as ``first_option_within``, ``LOWER_CASE`` on (PubMedQA and the other tasks).
    """
    return next((key for key in keys if key.lower() in text.lower()), None)


def palm_answer(text: str, keys: Sequence[str]) -> str | None:
    """Return the key in brackets behind the last "Answer:".

    Source: the form of the solved examples in the Med-PaLM papers' appendices (arXiv 2212.13138, 2305.09617), from memory.
    """
    found = re.findall(r"Answer:\s*\(([^()\s]+)\)", text)
    return found[-1] if found and found[-1] in keys else None


PARSERS: dict[str, Parser] = {
    "option-is-correct": option_is_correct, "mmedbench": mmedbench, "biogpt": biogpt, "meditron": meditron,
    "opening-letter-sentence": opening_letter_sentence, "whole": whole,
    "first-option-within": first_option_within, "first-option-within-lower": first_option_within_lower, "palm-answer": palm_answer,
}  # fmt: skip


def parse(prompt: Prompt, text: str, keys: Sequence[str]) -> str | None:
    """Return the answer that the prompt's own rule reads in a text. Raises ``RunError`` when the prompt has no rule."""
    if prompt.parser is None:
        raise RunError("this prompt has no rule to read an answer by; score the options instead")
    if prompt.parser not in PARSERS:
        raise RunError(f"no rule '{prompt.parser}' to read answers by (rules: {', '.join(PARSERS)})")
    return PARSERS[prompt.parser](text, keys)


def _key(letter: str, keys: Sequence[str]) -> str | None:
    return next((key for key in keys if key.lower() == letter.lower()), None)

"""What both sides of a comparison of answers use: texts a network may say, and small tokenizers of the published kinds."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

from healthfm.models.language.text_model import read_tokenizer
from tests.models.published import byte_level_json, sentencepiece_model
from tests.references.prompt_cases import medqa
from tests.references.small_tokenizer import byte_level, t5_like

SAID = {
    "bentsao med": ["多休息，多喝水。", " 多休息。\n", "休息。\n### 回答:\n再休息。", "休息。\n### 回答：\n再休息。", ""],
    "bentsao bloom": ["多休息，多喝水。", "\n 多休息。", "休息。\n### 回答:\n再休息。", "休息。\n### 回答：\n再休息。"],
    "bentsao literature": ["肝癌。", "肝癌。\n### 回复:\n不是。", "肝癌。\n### 回答:\n是。"],
    "pulse": ["Rest, and drink water.", " Rest,  and drink water. \n\n", "Rest.\nUser: and then?", ""],
    "taiyi": ["多休息，多喝水。", "\n Rest, and drink water.  ", "Rest.\nUser: and then?", ""],
    "chemdfm": ["It is ethanol.", " \nIt is  ethanol.\n\n", " CCO\n[Round 1]\nHuman: and CCN?", ""],
    "biomedgpt": [
        "It binds DNA.", " It binds\nDNA. \n", "It binds DNA. ### Human: and RNA? ### Assistant: RNA too. ",
        "It binds DNA. ### Human: and RNA?", "Assistant: yes", "",
    ],
    "omnina": ["Yes", "False", "promoter", "Homo sapiens mRNA, partial cds", "gRNA and target, 2 mismatches"],
    "me-llama": [
        "C", " (B) Ceftriaxone", "Answer: D", "The answer is E.", "b", "None of these", "", "\nDoxycycline", "yes",
    ],
    "me-llama lower": ["Yes", "no.", "Maybe", "maybe not", "I know that it is yes", "unclear", "", "It cannot be said"],
    "chatdoctor": [
        "Rest, and drink water.", " Rest.\n\nPatient: and then?", "Rest.\n\nPatient:and then?", "A Patient: B Patient: C", "", "ends \n",
    ],
    "medalpaca": [
        "Rest, and drink water.", " Rest. \n", "Rest.\n\n### Response:\nDrink.", "Rest.\n### Response:\nDrink.", "",
        "One.\n\n### Response:\nTwo.\n\n### Response:\nThree. ",
    ],
    "medalpaca usmle": [
        " A: Ampicillin", "\nB. Ceftriaxone\n", "C it is\n\n### Response:\nThe Answer to the question is: D it is",
        "A it is\n\n### Response:\nB it is", "",
    ],
    "mmedlm-2": [
        "###Answer: OPTION B IS CORRECT.", "\n\n###Answer: OPTION C\n IS CORRECT. ", "OPTION B### Response: OPTION C", "B ### Response:", "",
    ],
    "clinical-t5": ["entailment", "neutral", "contradiction", "entailment.", "Entailment", "entailment neutral", "", "ent"],
}  # fmt: skip
TOKENS = ("A", "▁A", "B", "▁D", ")", "a", "C", "▁C", "▁", "(", "E", "F", "▁no")  # what BioMistral may say first


@functools.cache
def tokenizers() -> dict[str, Any]:
    """LLaMA's kind (sentencepiece with bytes for what it lacks), Llama 3's, BLOOM's, Qwen's and T5's."""
    texts = [q.question for q in medqa()]
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece_model(Path(folder))
        llama = read_tokenizer(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        byte_level_json(Path(folder))
        llama3 = read_tokenizer(Path(folder))
    return {
        "llama": llama, "llama 3": llama3, "bloom": byte_level(texts), "qwen": byte_level(texts, "<|endoftext|>"),
        "t5": t5_like([*texts, *SAID["clinical-t5"]]),
    }  # fmt: skip

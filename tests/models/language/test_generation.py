"""Generation: greedy text equal to transformers' and llama.cpp's, stop strings never seen, nothing depends on the company."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers

from healthfm import RunError, card
from healthfm.cards.schema import Decoding
from healthfm.models.language import generation, prompts
from healthfm.models.language.causal_lm import CausalLM
from healthfm.models.language.text_model import TextModel
from healthfm.records import Message
from tests.llama_cpp import ask
from tests.models.published import EXPECTED
from tests.references.answer_cases import SAID

PLAIN = ["The capital of France is", "Aspirin is used to treat", "Question: Is smoking harmful?\nAnswer:"]
TALKS = [
    [Message("user", "Name two drugs for high blood pressure.")],
    [Message("system", "Answer in one word."), Message("user", "What is the capital of France?")],
    [Message("user", "Hello"), Message("assistant", "Hello!"), Message("user", "What does  <b>BP</b> mean?\n")],
]


def theirs(model: CausalLM, ids: Sequence[int], count: int) -> str:
    """transformers' own greedy text."""
    with torch.inference_mode():
        out = model.network.generate(
            torch.tensor([list(ids)]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=count, do_sample=False
        )
    return str(model.tokenizer.decode(out[0][len(ids) :], skip_special_tokens=True))  # type: ignore[union-attr]


@pytest.mark.parametrize(("weights", "asked"), [("small_llama", [*PLAIN, *TALKS]), ("smollm2", [PLAIN[0], TALKS[1]])])
def test_greedy_text_is_transformers(weights: str, asked: list[Any], request: pytest.FixtureRequest) -> None:
    model: CausalLM = request.getfixturevalue(weights)
    ours = model.generate(asked, max_new_tokens=5, stop=[])
    assert ours == [theirs(model, prompts.encode(model, one)[0], 5) for one in asked]
    assert len(set(ours)) > 1 and (weights == "small_llama" or "Paris" in ours[0])


def test_first_greedy_tokens_are_llama_cpps(smollm2: CausalLM, llama_cpp: str) -> None:
    """The first words: the two multiply Q4_1 weights at other precisions (theirs rounds activations to eight bits)."""
    for text in PLAIN[:2]:
        body = {"prompt": text, "n_predict": 4, "temperature": 0, "top_k": 1, "cache_prompt": False}
        found = ask(llama_cpp, "completion", body)["content"]
        assert smollm2.generate([text], max_new_tokens=4, stop=[])[0] == found


def test_the_chat_template_writes_what_llama_cpps_writes(smollm2: CausalLM, llama_cpp: str) -> None:
    for talk in TALKS:
        body = {"messages": [{"role": one.role, "content": one.content} for one in talk]}
        assert prompts.chat_text(smollm2, talk) == ask(llama_cpp, "apply-template", body)["prompt"]


def test_company_changes_nothing(small_llama: CausalLM) -> None:
    together = small_llama.generate([*PLAIN, TALKS[0]], max_new_tokens=8)
    assert together == [small_llama.generate([one], max_new_tokens=8)[0] for one in (*PLAIN, TALKS[0])]
    drawn = small_llama.generate([*PLAIN, PLAIN[0]], max_new_tokens=8, temperature=1.0, seed=7)
    assert drawn[0] == drawn[3] == small_llama.generate([PLAIN[0]], max_new_tokens=8, temperature=1.0, seed=7)[0]
    assert drawn[0] != small_llama.generate([PLAIN[0]], max_new_tokens=8, temperature=1.0, seed=8)[0]


def test_pieces_make_the_whole(small_llama: CausalLM) -> None:
    pieces = list(small_llama.generate([PLAIN[2]], max_new_tokens=16, stream=True))
    assert len(pieces) > 3
    assert "".join(pieces) == small_llama.generate([PLAIN[2]], max_new_tokens=16)[0]
    with pytest.raises(RunError, match="stream takes one prompt, 2"):
        small_llama.generate(PLAIN[:2], stream=True)


# Stop strings, on texts that are known beforehand -----------------------------------------------------------------------


def scripted(model: CausalLM, text: str) -> generation.Begin:
    """A network that says ``text``, whatever it is asked, and then ends."""
    said = [*model.encode(text), model.tokenizer.eos_token_id]  # type: ignore[union-attr]

    def begin(_: TextModel, ids: Sequence[int]) -> tuple[generation.Step, list[int], int]:
        left = iter(said)
        vocabulary = len(model.tokenizer)  # type: ignore[arg-type]
        return lambda newest: torch.nn.functional.one_hot(torch.tensor(next(left)), vocabulary).float(), list(ids), 1000

    return begin


def say(model: CausalLM, text: str, stop: Sequence[str], stream: bool = False, count: int = 200) -> Any:
    return generation.generate(model, scripted(model, text), ["Hi"], count, 0, stop, 0, stream)


@pytest.mark.parametrize(
    ("text", "stop", "left"),
    [
        (" Rest.\n\nPatient: and then?", ["Patient: "], " Rest.\n\n"),
        (" one two three", ["two"], " one "),
        (" unbelievable", ["lieva"], " unbe"),
        (" end###more", ["###"], " end"),
        (" a ## b", ["###"], " a ## b"),
        (" first second", ["second", "first"], " "),
        (" Patient", ["Patient: "], " Patient"),
        ("STOP at once", ["STOP"], ""),
        (" naïve β-blocker 🫀 高血压!", ["压!"], " naïve β-blocker 🫀 高血"),
        (" 休息。高血压 再休息。", ["高血压"], " 休息。"),  # each of its characters comes in several tokens
    ],
)
def test_a_stop_string_is_cut_wherever_tokens_end(small_llama: CausalLM, text: str, stop: list[str], left: str) -> None:
    assert say(small_llama, text, stop) == [left]
    assert "".join(say(small_llama, text, stop, stream=True)) == left


def test_no_piece_shows_a_stop_string_or_half_a_character(small_llama: CausalLM) -> None:
    text = " 🫀 Pat Patient is fine. 高血压 Patient: next"
    pieces = list(say(small_llama, text, ["Patient: "], stream=True))
    assert "".join(pieces) == " 🫀 Pat Patient is fine. 高血压 "
    assert not any("\ufffd" in piece for piece in pieces)
    shown = ""
    for piece in pieces:
        shown += piece
        assert not shown.endswith("Patient:")


def test_a_limit_ends_a_text(small_llama: CausalLM) -> None:
    assert say(small_llama, " one two three four", [], count=2) == [" one two"]


def test_a_stop_string_that_is_a_special_token_ends_a_text(small_llama: CausalLM) -> None:
    assert say(small_llama, " over<|im_start|>again", ["<|im_start|>"]) == [" over"]


# The owners' rules for where an answer ends, on the same words ------------------------------------------------------------


@pytest.mark.evidence("chatdoctor", "output")
def test_chatdoctors_answer_ends_before_the_patient(small_llama: CausalLM) -> None:
    """What chat.py itself keeps of these texts: cut at "Patient: ", the line breaks before it left standing."""
    theirs = json.loads((EXPECTED / "answers.json").read_text(encoding="utf-8"))["chatdoctor"]
    stop = card("chatdoctor").prompts["chat"].stop  # type: ignore[union-attr]
    assert [say(small_llama, text, stop)[0] for text in SAID["chatdoctor"]] == theirs


# Drawing ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "decode",
    [
        Decoding(), Decoding(top_k=5), Decoding(top_p=0.6), Decoding(repetition_penalty=1.3),
        Decoding(top_k=20, top_p=0.9, repetition_penalty=1.05),
    ],
)  # fmt: skip
def test_filters_are_transformers(decode: Decoding) -> None:
    logits = torch.randn(50, generator=torch.Generator().manual_seed(0)).double() * 2
    seen = [3, 4, 4, 30]
    chain = transformers.LogitsProcessorList()
    if decode.repetition_penalty:
        chain.append(transformers.RepetitionPenaltyLogitsProcessor(decode.repetition_penalty))
    chain.append(transformers.TemperatureLogitsWarper(0.7))
    if decode.top_k:
        chain.append(transformers.TopKLogitsWarper(decode.top_k))
    if decode.top_p:
        chain.append(transformers.TopPLogitsWarper(decode.top_p))
    expected = chain(torch.tensor([seen]), logits[None].clone())[0]
    torch.testing.assert_close(generation._filtered(logits.clone(), 0.7, decode, seen), expected)


def test_draws_follow_the_probabilities() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0])
    choose = generation.Choice(1.0, 0, Decoding()).chooser()
    counts = torch.bincount(torch.tensor([choose(logits, []) for _ in range(4000)]), minlength=3) / 4000
    torch.testing.assert_close(counts.double(), torch.softmax(logits.double(), 0), atol=0.03, rtol=0)


# Calls that make no sense -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "words", "reason"),
    [
        ("a prompt", {}, "takes a list"), (["a"], {"max_new_tokens": 0}, "at least 1"), (["a"], {"temperature": -1}, "temperature is -1"),
        (["a"], {"temperature": float("nan")}, "temperature is nan"), (["a"], {"stop": [""]}, "none of them empty"),
        (["a"], {"stop": "end"}, "list of strings"), ([""], {}, "empty prompt"), (["word " * 9000], {}, "takes 8192: shorten it"),
    ],
)  # fmt: skip
def test_calls_that_make_no_sense_are_refused(
    small_llama: CausalLM, asked: Any, words: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RunError, match=reason):
        small_llama.generate(asked, **words)

"""A batch's scores are those of its questions alone, whatever they are; the boundary between prompt and option is lm_eval's."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
import transformers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import processors

from healthfm import CapabilityError, RunError, card, load_model
from healthfm.cards.schema import Prompt
from healthfm.models.arithmetic import shared_prefix
from healthfm.models.language import likelihood
from healthfm.models.language.causal_lm import CausalLM
from healthfm.models.language.prompts import render
from tests.references.small_tokenizer import byte_level, sentencepiece_like

TEXTS = [
    "Question: is aspirin given for pain?  \n\nOptions: yes, no, maybe.\nAnswer:", "fever and chills \n\n   in a child  ",
    "高血压患者是否应服用阿司匹林？", "the answer the answer is A B C D E F G", "答案 是 否", "a\n\n\nb   c\t\td",
]  # fmt: skip
SMALL = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}  # fmt: skip
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 24}
NETWORKS = {
    "rotary": ("Llama", "LlamaForCausalLM", SMALL), "stretched": ("Llama", "LlamaForCausalLM", {**SMALL, "rope_parameters": DYNAMIC}),
    "window": ("Mistral", "MistralForCausalLM", {**SMALL, "sliding_window": 24}), "learned": ("GPT2", "GPT2LMHeadModel", GPT),
    "alibi": ("Bloom", "BloomForCausalLM", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "seq_length": 512}),
}  # fmt: skip


@functools.cache
def tokenizer(kind: str = "bytes") -> transformers.PreTrainedTokenizerFast:
    return {"bytes": byte_level, "sentencepiece": sentencepiece_like}[kind](TEXTS * 4)


@functools.cache
def model(name: str, words: str = "bytes") -> CausalLM:
    """A small random network, its weights loud so that a token seen too much or too little shows."""
    config, network, numbers = NETWORKS[name]
    torch.manual_seed(0)
    made = getattr(transformers, network)(getattr(transformers, f"{config}Config")(vocab_size=600, **numbers)).eval()
    for parameter in made.parameters():
        parameter.data *= 4
    facts = card("smollm2-135m-instruct", "model")
    return CausalLM(facts, None, made, tokenizer(words))  # type: ignore[arg-type]


WORDS = (
    "yes",
    "no",
    " maybe",
    " the answer is",
    "高血压",
    "阿司匹林",
    " A",
    " B",
    "AB",
    "\n",
    "\n\n",
    " ",
    "   ",
    "\t",
    "ß",
    " pain?",
    "a",
)
piece = st.sampled_from(WORDS)
text = st.lists(piece, min_size=1, max_size=6).map("".join)
PREAMBLE = "Question: is aspirin given for pain? yes\n\n" * 6


@st.composite
def questions(draw: st.DrawFn) -> tuple[str, list[str]]:
    prompt = draw(st.sampled_from([TEXTS[0], "Is it?", "高血压？", draw(text) + "x"])) + draw(
        st.sampled_from(["", " ", "  \n", "\n\n"])
    )
    options = draw(st.lists(text, min_size=2, max_size=4))
    some = draw(st.sampled_from(options))
    options += draw(st.lists(st.sampled_from([some, some + "no", some + " ", " " + some, "\n" + some]), max_size=4))
    if draw(st.booleans()):
        options = [f" {letter}" for letter in "ABCDEFGHIJK"[: draw(st.integers(2, 11))]]
    return prompt, options


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    asked = draw(st.lists(questions(), min_size=1, max_size=5))
    asked += draw(st.lists(st.sampled_from(asked), max_size=1))
    before = draw(st.sampled_from(["", PREAMBLE]))
    return [before + prompt for prompt, _ in asked], [options for _, options in asked]


def scorable(
    one: CausalLM, prompts: Sequence[str], options: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """Leave out options that add no token to their prompt, as merging over the boundary can make them."""
    kept: list[tuple[str, list[str]]] = []
    for prompt, choices in zip(prompts, options, strict=True):
        start = len(one.encode(prompt.rstrip()))
        fit = [choice for choice in choices if len(one.encode(prompt + choice)) > start]
        kept += [(prompt, fit)] if fit else []
    return [prompt for prompt, _ in kept], [fit for _, fit in kept]


def by_hand(one: CausalLM, prompt: str, option: str) -> float:
    """lm_eval's boundary rule and one plain pass, written out."""
    start = one.encode(prompt.rstrip())
    whole = [*start, *one.encode(prompt + option)[len(start) :]]
    with torch.inference_mode():
        logs = one.network(input_ids=torch.tensor([whole[:-1]])).logits[0].double().log_softmax(-1)
    return float(sum(logs[i - 1, whole[i]] for i in range(len(start), len(whole))))


MIXED = (["Is it?", "Is it? "], [["A", "B"], [" yes, the answer is", " no"]])  # without and with branches, in one pass


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=6)
@example(MIXED)
@example(([PREAMBLE + one for one in MIXED[0]], MIXED[1]))
@given(batches())
def test_a_batch_scores_as_its_questions_alone(name: str, batch: tuple[list[str], list[list[str]]]) -> None:
    one = model(name)
    prompts, options = scorable(one, *batch)
    for prompt, choices, scores in zip(prompts, options, one.score(prompts, options), strict=True):
        np.testing.assert_allclose(scores, one.score([prompt], [choices])[0], rtol=1e-5, atol=2e-4)
        np.testing.assert_allclose(scores, [by_hand(one, prompt, choice) for choice in choices], rtol=1e-5, atol=2e-4)


def test_a_prompt_that_a_card_made_scores_as_its_text() -> None:
    one, options = model("rotary"), [[" yes", " no"]]
    made = render(Prompt(template="Q: {{ question }} ", source="here"), question="is it?")
    np.testing.assert_array_equal(one.score([made], options)[0], one.score(["Q: is it? "], options)[0])


@settings(max_examples=4)
@example(MIXED)
@given(batches())
def test_copies_of_the_prefix_score_alike(batch: tuple[list[str], list[list[str]]]) -> None:
    """Where torch's kernel that tells its log-sum-exp is absent, each row has a copy of the shared prefix."""
    one = model("rotary")
    prompts, options = scorable(one, [PREAMBLE + prompt for prompt in batch[0]], batch[1])
    once = one.score(prompts, options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_prefix, "available", lambda network: False)
        for a, b in zip(once, one.score(prompts, options), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-4)


def test_the_roads_were_walked() -> None:
    """The batches above reach what they are meant to: a shared prefix, and rows longer than the window."""
    one = model("rotary")
    asked = [likelihood.encode(one, PREAMBLE + prompt, options) for prompt, options in zip(*MIXED, strict=True)]
    assert len(likelihood.common_prefix([question.context for question in asked])) >= likelihood.PREFIX_STEP
    assert [bool(question.branches) for question in asked] == [False, True]
    assert likelihood._can_pack(one, asked)
    assert not any(likelihood._can_pack(model(name), asked) for name in NETWORKS if name != "rotary")


# The boundary -------------------------------------------------------------------------------------------------------------


@functools.cache
def harness(words: str) -> object:
    from lm_eval.models.huggingface import HFLM

    one = model("rotary", words)
    return HFLM(pretrained=one.network, tokenizer=one.tokenizer, batch_size=1, device="cpu")


@pytest.mark.parametrize("words", ["bytes", "sentencepiece"])
@settings(max_examples=20)
@example("<s>The answer", " is")  # opened by its own words: no second start token
@example("the answer \n ", "is")
@example("an", "swer")  # merges over the boundary
@given(text.map(lambda one: f"a{one}"), text)
def test_prompt_and_option_are_cut_where_lm_eval_cuts_them(words: str, prompt: str, option: str) -> None:
    start, rest = harness(words)._encode_pair(prompt, option)  # type: ignore[attr-defined]
    if not rest:
        with pytest.raises(RunError, match="adds no token"):
            likelihood.encode(model("rotary", words), prompt, [option])
        return
    ours = likelihood.encode(model("rotary", words), prompt, [option])
    assert (list(ours.context), list(ours.continuations[0])) == (start, rest)


# Tokenizers that end a text ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["$A </s>", "</s> $A </s>", "$A </s> </s>"])
def test_an_end_token_behind_every_text_changes_no_score(template: str) -> None:
    plain = byte_level(TEXTS * 4)
    ended = byte_level(TEXTS * 4)
    started = template.startswith("</s>")
    for one, form in ((plain, "</s> $A" if started else "$A"), (ended, template)):
        one.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=form, special_tokens=[("</s>", one.eos_token_id)]
        )
    network, facts = model("rotary").network, model("rotary").card
    right, ours = CausalLM(facts, None, network, plain), CausalLM(facts, None, network, ended)
    assert ended.encode("yes")[-1] == ended.eos_token_id
    for a, b in zip(right.score(*MIXED), ours.score(*MIXED), strict=True):
        np.testing.assert_array_equal(a, b)
    assert ours.encode("Is it? </s>") == right.encode("Is it? </s>")  # the text's own end token is the text's
    assert ours.generate(["Is it?"], 5) == right.generate(["Is it?"], 5)
    np.testing.assert_array_equal(ours.preprocess(["yes"])["input_ids"], right.preprocess(["yes"])["input_ids"])


# Behind a server ---------------------------------------------------------------------------------------------------------


class Served(BaseHTTPRequestHandler):
    """The completions protocol with echo, as vLLM speaks it, over a small network here; its tokenizer may end every text."""

    words: transformers.PreTrainedTokenizerFast
    tells_tokens = True
    spells = True

    def do_GET(self) -> None:
        self.answer({"data": [{"id": "small"}]} if self.path.endswith("/models") else None)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            ids = self.words.encode(asked["prompt"], add_special_tokens=asked["add_special_tokens"])
            return self.answer({"tokens": ids} if self.tells_tokens else None)
        if self.path != "/v1/completions":
            return self.answer(None)
        given = asked["prompt"]
        ids = self.words.encode(given) if isinstance(given, str) else given
        network = model("rotary").network
        with torch.inference_mode():
            logits = network(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        told = [None, *(float(logits[i - 1, ids[i]]) for i in range(1, len(ids)))]
        spelt = {"tokens": [self.words.decode([one]) for one in ids]} if self.spells else {}
        text = self.words.decode([int(logits[-1].argmax())])
        usage = {"prompt_tokens": len(ids), "completion_tokens": 1}
        return self.answer(
            {"choices": [{"text": text, "logprobs": {"token_logprobs": [*told, -1.0], **spelt}}], "usage": usage}
        )

    def answer(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("tells_tokens", [True, False])
@pytest.mark.parametrize("spells", [True, False])
@pytest.mark.parametrize("ends", [True, False])
def test_a_server_that_ends_every_text_scores_as_one_that_does_not(
    tells_tokens: bool, spells: bool, ends: bool
) -> None:
    words = byte_level(TEXTS * 4)
    if ends:
        words.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", words.eos_token_id)]
        )
    kind = type("Kind", (Served,), {"words": words, "tells_tokens": tells_tokens, "spells": spells})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        there = load_model("smollm2-135m-instruct", endpoint=f"http://127.0.0.1:{server.server_port}")
        for ours, theirs in zip(model("rotary").score(*MIXED), there.score(*MIXED), strict=True):
            np.testing.assert_allclose(theirs, ours, atol=1e-3)
        assert bool(there.provenance["notices"]) == ends
        if ends and not tells_tokens:
            with pytest.raises(CapabilityError, match="ends every prompt with its end token"):
                there.generate(["Is it?"], 1)
        else:
            assert there.generate(["Is it?"], 1) == model("rotary").generate(["Is it?"], 1)
    finally:
        server.shutdown()
        server.server_close()

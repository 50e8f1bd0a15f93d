"""Answers: of the same words of a network, what the owners' own decoding code keeps, and how their code searches and draws.

``tests/references/make_answers.py`` ran that code; ``tests/data/expected/answers.json`` holds what it printed and was called with.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from healthfm import card, load_model
from healthfm.cards import files
from healthfm.cards.schema import Prompt
from healthfm.evaluate import parsers
from healthfm.models.language import generation, prompts
from healthfm.models.language.text_model import TextModel
from tests.models import published as pub
from tests.models.language.test_prompts import prompt_of, reading
from tests.references.answer_cases import SAID, TOKENS, tokenizers
from tests.references.prompt_cases import SEQUENCES, medqa, pubmedqa, small_tokenizers

THEIRS = json.loads((Path(__file__).parents[2] / "data/expected/answers.json").read_text(encoding="utf-8"))
LETTERS = ("A", "B", "C", "D", "E")
Slots = dict[str, Any]


def saying(slug: str, tokenizer: Any, said: Sequence[int]) -> TextModel:
    """A model of a row whose network says these ids, whatever it is asked, by step and by beams."""
    model = reading(tokenizer, slug)
    config = SimpleNamespace(eos_token_id=None, pad_token_id=0, is_encoder_decoder=False)
    model.network = SimpleNamespace(  # type: ignore[assignment]
        config=config, generation_config=config, device="cpu",
        generate=lambda ids, **_: torch.cat([ids, torch.tensor([list(said)])], dim=1),
    )  # fmt: skip
    return model


def answer(prompt: Prompt, slug: str, tokenizer: Any, said: Sequence[int], **slots: Any) -> str:
    """What we keep of the ids, decoded as the card says (its draws too: the network is sure of every token)."""
    model, size = saying(slug, tokenizer, said), len(tokenizer)

    def begin(_: TextModel, ids: Sequence[int]) -> tuple[generation.Step, list[int], int]:
        left = iter(said)
        return lambda newest: 1e4 * torch.nn.functional.one_hot(torch.tensor(next(left)), size), list(ids), 10_000

    asked = prompts.render(prompt, **(slots or {"question": medqa()[0].question}))
    [text] = generation.generate(model, begin, [asked], None, None, None, 0, False)
    return str(text)


def bare(tokenizer: Any, text: str) -> list[int]:
    """A text's ids and the end's."""
    return [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]


def kept(name: str) -> tuple[str, Prompt, Any, list[list[int]], list[str]]:
    """Slug, prompt, tokenizer, what is said, and what the owners keep of it (without the end token some leave on)."""
    slug = name.partition(" ")[0]
    which = {"bentsao": name.partition(" ")[2], "pulse": "consultation", "taiyi": "chat", "chemdfm": "dialogue"}
    prompt = prompt_of(slug, which.get(slug, "conversation"))
    kinds = {"bentsao": "bloom", "taiyi": "qwen", "biomedgpt": "llama", "chemdfm": name.partition(" ")[2]}
    texts = SAID[name if slug == "bentsao" else slug]
    if slug == "pulse":
        tokenizer = small_tokenizers()[name.partition(" ")[2]]
        end = tokenizer.convert_tokens_to_ids("</s>")
        said = [[*tokenizer("Helper: " + text).input_ids[1:], end] for text in texts]
    else:
        tokenizer = tokenizers()[kinds[slug]]
        said = [bare(tokenizer, text) for text in texts]
    return slug, prompt, tokenizer, said, [one.removesuffix("</s>").rstrip() for one in THEIRS[name]]


KEPT = (
    "bentsao med", "bentsao bloom", "bentsao literature", "pulse sentencepiece-like", "pulse byte-level", "taiyi",
    "chemdfm llama", "chemdfm llama 3", "biomedgpt",
)  # fmt: skip


def marked(names: Sequence[str]) -> list[Any]:
    return [pytest.param(n, marks=pytest.mark.evidence(n.partition(" ")[0], "output"), id=n) for n in names]


@pytest.mark.parametrize("name", marked(KEPT))
def test_an_answer_is_what_the_owners_keep(name: str) -> None:
    slug, prompt, tokenizer, said, theirs = kept(name)
    assert [answer(prompt, slug, tokenizer, one) for one in said] == theirs
    assert len(set(theirs)) > 1


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("bentsao med", {"stop": ()}),
        ("bentsao bloom", {"stop": ("### 回答:",)}),
        ("bentsao literature", {"stop": ("### 回答:",)}),
        ("pulse byte-level", {"tokens": "bare"}),
        ("pulse sentencepiece-like", {"trim": False}),
        ("taiyi", {"trim": False}),
        ("chemdfm llama", {"trim": False}),
        ("chemdfm llama 3", {"stop": ("[Round",)}),
        ("biomedgpt", {"after": None}),
        ("biomedgpt", {"stop": ("###",)}),
    ],
)
def test_another_rule_keeps_another_answer(name: str, wrong: Slots) -> None:
    """Negative controls: a half-width colon, an answer without its opening, a stop that seems natural, each shows."""
    slug, prompt, tokenizer, said, theirs = kept(name)
    assert [answer(prompt.model_copy(update=wrong), slug, tokenizer, one) for one in said] != theirs


WRITTEN = {
    "chatdoctor": ("chatdoctor", ("chat",)), "medalpaca": ("medalpaca", ("medalpaca",)), "medalpaca usmle": ("medalpaca", ("usmle",)),
    "mmedlm-2": ("mmedlm-2", ("alpaca", "mmedbench", "mmedbench-rationale")),
}  # fmt: skip


def written(name: str, **wrong: Any) -> tuple[list[list[str]], list[str]]:
    """What we keep by each prompt of a row of the texts it may say, and what its owners keep.

    MMedLM's script also drops line breaks, which its reader of answers does here, and leaves the end token.
    """
    slug, which = WRITTEN[name]
    tokenizer, found = tokenizers()["bloom"], []
    for prompt in (prompt_of(slug, one).model_copy(update=wrong) for one in which):
        every: Slots = {"question": medqa()[0].question, "options": medqa()[0].options}
        slots = {slot: value for slot, value in every.items() if slot in prompts.slots(prompt)}
        texts = [answer(prompt, slug, tokenizer, bare(tokenizer, text), **slots) for text in SAID[name]]
        found.append([text.replace("\n", "") if slug == "mmedlm-2" else text for text in texts])
    theirs = [one.removesuffix("</s>").rstrip() if slug == "mmedlm-2" else one for one in THEIRS[name]]
    return found, theirs


@pytest.mark.parametrize("name", marked(tuple(WRITTEN)))
def test_an_answer_is_what_the_owners_script_writes_down(name: str) -> None:
    ours, theirs = written(name)
    assert all(one == theirs for one in ours)
    assert len(set(theirs)) > 3


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("chatdoctor", {"trim": True}), ("chatdoctor", {"stop": ()}), ("chatdoctor", {"stop": ("Patient:",)}),
        ("medalpaca", {"after": None}), ("medalpaca", {"after": "### Response:\n"}), ("medalpaca", {"trim": False}),
        ("medalpaca usmle", {"after": "\n\n### Response:\n"}), ("mmedlm-2", {"stop": ()}), ("mmedlm-2", {"trim": False}),
    ],
)  # fmt: skip
def test_another_rule_writes_another_answer_down(name: str, wrong: Slots) -> None:
    ours, theirs = written(name, **wrong)
    assert all(one != theirs for one in ours)


# How the owners decode ----------------------------------------------------------------------------------------------------

FIELDS = {
    "max_new_tokens": "max_new_tokens", "max_gen_toks": "max_new_tokens", "max_length": "max_new_tokens", "new": "max_new_tokens",
    "least": "min_new_tokens", "input": "max_input_tokens", "temperature": "temperature", "top_k": "top_k", "top_p": "top_p",
    "repetition_penalty": "repetition_penalty", "num_beams": "beams",
}  # fmt: skip
DRAWS = ("temperature", "top_k", "top_p")


@pytest.mark.parametrize(
    ("name", "which", "more"),
    [
        ("pulse", ("base", "medical-qa", "consultation"), {}),
        ("taiyi", ("chat",), {"max_input_tokens": 1000}),  # cut by hand: in the ids of test_prompts
        ("chemdfm", ("dialogue",), {}),
        ("biomedgpt", ("conversation",), {}),
        ("me-llama", ("medqa", "pubmedqa"), {}),
        ("biomistral", ("bioinstructqa",), {}),
        ("chatdoctor", ("chat",), {}),
        ("medalpaca", ("medalpaca",), {}),
    ],
)
def test_a_card_decodes_by_the_owners_numbers(name: str, which: Sequence[str], more: dict[str, Any]) -> None:
    """Their ``generate`` was called with these; without ``do_sample`` what shapes draws says nothing."""
    words = THEIRS[f"{name} words"]
    said = {FIELDS[k]: v for k, v in words.items() if k in FIELDS and (words.get("do_sample") or k not in DRAWS)}
    for prompt in (prompt_of(name, one) for one in which):
        assert {k: v for k, v in prompt.decode.model_dump().items() if v is not None} == {**said, **more}


@pytest.mark.filterwarnings("ignore:Unexpected keyword arguments")  # peft's words for a configuration of 2023
@pytest.mark.parametrize(("name", "which"), [("bentsao", "med"), ("bentsao:bloom", "bloom")])
@pytest.mark.evidence("bentsao", "output")
def test_bentsao_searches_as_its_owners_script(name: str, which: str, tmp_path: Path) -> None:
    """``infer.py`` itself read these weights with their adapter, and printed what its 4 beams found in 256 tokens."""
    theirs = THEIRS["bentsao searched"][0 if name == "bentsao" else 2]  # the first question's of each
    model = load_model(name, pub.bentsao_adapter(tmp_path, name), device="cpu")
    prompt = prompt_of("bentsao", which)
    asked = prompts.render(prompt, question=medqa()[0].question)
    assert model.generate([asked], None, None) == [theirs.removesuffix("</s>").rstrip()]
    greedy = prompt.model_copy(update={"decode": prompt.decode.model_copy(update={"beams": 1})})
    [other] = model.generate([prompts.render(greedy, question=medqa()[0].question)], 64, None)
    assert other and not theirs.startswith(other)


def test_omnina_says_what_its_owners_training_teaches() -> None:
    """They publish nothing that generates; a network that learnt their labels says the response, a blank, and the end."""
    tokenizer, prompt = tokenizers()["bloom"], prompt_of("omnina", "fine-tuning")
    raw = prompt.model_copy(update={"trim": False})
    for sequence, q, response, taught in zip(SEQUENCES, medqa(), SAID["omnina"], THEIRS["omnina taught"], strict=False):
        slots = {"input": sequence, "question": q.question}
        assert answer(prompt, "omnina", tokenizer, taught, **slots) == response
        assert answer(raw, "omnina", tokenizer, taught, **slots) == f"{response} "


# Every prompt, whole ------------------------------------------------------------------------------------------------------

TABLES = Path(__file__).parents[2] / "data" / "prompts"
SPEAKING = sorted(
    slug for (kind, slug), entry in files.entries().items()
    if kind == "model" and entry.get("prompts") and entry.get("run", {}).get("family") in ("causal_lm", "seq2seq")
)  # fmt: skip
TEXT = {"template", "note", "source", "checked"}  # of a prompt: what test_prompts holds, and words


def ruled(prompt: Prompt) -> Slots:
    """All that a prompt says beside its template: how it is cut into tokens, decoded, ended, trimmed and read."""
    said = prompt.model_dump(exclude_defaults=True, exclude=TEXT)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


@pytest.mark.parametrize("slug", [pytest.param(slug, marks=pytest.mark.evidence(slug, "output")) for slug in SPEAKING])
def test_every_prompt_is_its_owners_whole(slug: str) -> None:
    """``tests/data/prompts/SLUG.toml`` was copied from the owners' code: no prompt, and no rule of one, more, less or other."""
    table = tomllib.loads((TABLES / f"{slug}.toml").read_text(encoding="utf-8"))
    sources = [one.pop("read") for one in table.values()]
    assert {name: ruled(prompt) for name, prompt in card(slug).prompts.items()} == table  # type: ignore[union-attr]
    assert all("github.com/" in one for one in sources)
    assert {path.stem for path in TABLES.glob("*.toml")} == set(SPEAKING)


@pytest.mark.parametrize(
    ("slug", "name", "wrong"),
    [
        ("pmc-llama", "training", {"parser": "mmedbench"}), ("pmc-llama", "training", {"decode": {"max_new_tokens": 400}}),
        ("chatdoctor", "chat", {"decode": {"temperature": 0.7}}), ("chatdoctor", "chat", {"decode": {"repetition_penalty": 1.0}}),
        ("bentsao", "literature", {"decode": {"beams": 1}}), ("meditron", "chat", {"stop": ["###"]}),
        ("clinical-t5", "mednli", {"parser": "first-option-within"}), ("meditron", "medqa", {"decode": {"temperature": 0.8}}),
    ],
)  # fmt: skip
def test_a_wrong_rule_of_a_prompt_shows(slug: str, name: str, wrong: Slots) -> None:
    prompt = prompt_of(slug, name)
    facts = prompt.model_dump()
    changed = Prompt.model_validate({**facts, **wrong, "decode": {**facts["decode"], **wrong.get("decode", {})}})
    assert ruled(changed) != ruled(prompt)


# How they read the answers ------------------------------------------------------------------------------------------------


READERS = {
    "me-llama": ("me-llama", "medqa", LETTERS, "first-option-within-lower"),
    "me-llama lower": ("me-llama", "pubmedqa", ("yes", "no", "maybe"), "first-option-within"),
    "clinical-t5": ("clinical-t5", "mednli", ("entailment", "contradiction", "neutral"), "first-option-within"),
}


@pytest.mark.parametrize("said", marked(tuple(READERS)))
def test_a_cards_prompt_reads_what_the_owners_code_reads(said: str) -> None:
    slug, which, keys, wrong = READERS[said]
    prompt = prompt_of(slug, which)
    assert [parsers.parse(prompt, text, keys) for text in SAID[said]] == THEIRS[said]
    other = prompt.model_copy(update={"parser": wrong})
    assert [parsers.parse(other, text, keys) for text in SAID[said]] != THEIRS[said]


def test_me_llama_stops_nowhere() -> None:
    assert THEIRS["me-llama words"]["until"] is None and not prompt_of("me-llama", "medqa").stop


@pytest.mark.evidence("biomistral", "output")
def test_biomistrals_first_token_is_read_as_its_owners_read_it() -> None:
    prompt, tokenizer = prompt_of("biomistral", "bioinstructqa"), tokenizers()["llama"]
    slots = {"question": medqa()[0].question, "options": medqa()[0].options}
    texts = [
        answer(prompt, "biomistral", tokenizer, [tokenizer.convert_tokens_to_ids(one), 5], **slots) for one in TOKENS
    ]
    read = [parsers.parse(prompt, text, LETTERS) for text in texts]
    assert read == [best if best in LETTERS else None for best in THEIRS["biomistral"]]
    assert {"A", "B", "C", "D", None} <= set(read)
    untrimmed = prompt.model_copy(update={"trim": False})
    assert parsers.parse(untrimmed, answer(untrimmed, "biomistral", tokenizer, [tokenizer.convert_tokens_to_ids("▁A")], **slots), LETTERS) is None  # fmt: skip
    assert parsers.first_option_within_lower("a", LETTERS) == "A"  # a small letter is no answer of theirs


@pytest.mark.parametrize(
    ("which", "words"), [("mednli", {"num_beams": 3, "max_length": 20}), ("radqa", {"max_length": 30})]
)
@pytest.mark.evidence("clinical-t5", "output")
def test_clinical_t5_answers_by_its_owners_search(which: str, words: dict[str, Any]) -> None:
    """Their trainer's ``generate`` with 3 beams and the library's 20 tokens, or greedily with 30, decoded as they do."""
    stated = THEIRS["clinical-t5 words"]
    assert stated["mednli beams"] == [3] and stated["mednli lengths"] == []
    assert stated["max_answer_length"] == 30 and stated["val_max_answer_length"] is stated["num_beams"] is None
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4}
    tokenizer = tokenizers()["bloom"]  # training T5's kind gives a slightly different one each time
    model = load_model("clinical-t5", "random", config={**sizes, "vocab_size": len(tokenizer)}, device="cpu")
    assert isinstance(model, TextModel) and isinstance(model.network, transformers.T5ForConditionalGeneration)
    with torch.no_grad():
        for key, value in model.network.named_parameters():
            if value.dim() > 1 and "shared" not in key:
                value.mul_(16)
    model.tokenizer = tokenizer
    q = pubmedqa()[0]
    slots = {"premise": q.question, "hypothesis": "It is."} if which == "mednli" else {"question": q.question, "context": q.context[:400]}  # fmt: skip
    asked = prompts.render(prompt_of("clinical-t5", which), **slots)
    ids, ends = torch.tensor([tokenizer.encode(str(asked))]), sorted(generation.end_ids(model))
    with torch.inference_mode():
        found = model.network.generate(ids, do_sample=False, eos_token_id=ends, **words)
    theirs = tokenizer.batch_decode(found, skip_special_tokens=True)[0]
    assert model.generate([asked], None, None) == [theirs] and len(theirs) > 20
    assert model.generate([str(asked)], None, None) != [theirs]  # as long as any text, and greedy

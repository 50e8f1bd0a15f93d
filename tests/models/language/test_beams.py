"""Decoding by the card's numbers: the token ids that transformers' own ``generate`` gives, on small random networks.

The references are called with the owners' words (``num_beams`` and the like) on the bare network; the numbers on our side come
from a card's ``Decoding``.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
import torch

from healthfm import load_model
from healthfm.cards.schema import Decoding, Prompt
from healthfm.models.language import generation, prompts
from healthfm.models.language.text_model import TextModel
from tests.references.small_tokenizer import byte_level

TEXTS = ["The patient was given aspirin.", "Is smoking harmful? Yes, it is.", "Blood pressure 120/80, no fever."]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
NETWORKS: dict[str, dict[str, Any]] = {
    "bentsao": {**SIZES, "intermediate_size": 48, "num_key_value_heads": 4},
    "bentsao:bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "seq_length": 256},
    "biomistral": {**SIZES, "intermediate_size": 48, "num_key_value_heads": 2},
    "biogpt": {**SIZES, "intermediate_size": 48, "max_position_embeddings": 256},
    "clinical-t5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4},
}  # fmt: skip


def theirs(model: TextModel, text: str, **words: Any) -> list[int]:
    """The ids behind transformers' text."""
    ids, ends = torch.tensor([model.encode(text)]), sorted(generation.end_ids(model))
    with torch.inference_mode():
        found = model.network.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=ends[0], eos_token_id=ends, **words
        )
    new = found[0].tolist()[1 if model.network.config.is_encoder_decoder else ids.shape[1] :]
    return list(itertools.takewhile(lambda one: one not in ends, new))


@functools.cache
def small(name: str) -> TextModel:
    """A random network whose texts vary; what the second of them says sixth is its end. No test may change it."""
    tokenizer = byte_level(TEXTS)
    vocabulary = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    model = load_model(name, "random", config={**NETWORKS[name], **vocabulary}, device="cpu")
    assert isinstance(model, TextModel)
    loud = 32 if name in ("bentsao:bloom", "biogpt") else 16
    with torch.no_grad():
        for key, value in model.network.named_parameters():
            if value.dim() > 1 and not any(word in key for word in ("embed", "shared", "lm_head")):
                value.mul_(loud)
    model.tokenizer = tokenizer
    model.network.config.eos_token_id = theirs(model, TEXTS[1], max_new_tokens=6)[-1]
    return model


def asked(text: str, decode: Decoding) -> prompts.Rendered:
    return prompts.render(Prompt(template="{{ question }}", decode=decode, source="here"), question=text)


def ours(model: TextModel, text: str, decode: Decoding, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids behind our text."""
    seen: list[list[int]] = [[]]
    monkeypatch.setattr(generation, "_decoder", lambda *_: lambda ids: seen.append(list(ids)) or "")
    model.generate([asked(text, decode)], max_new_tokens=None, temperature=None)
    return seen[-1]


CASES: dict[str, tuple[Decoding, dict[str, Any]]] = {
    "greedy": (Decoding(max_new_tokens=14), {"max_new_tokens": 14}),
    "repetition penalty": (
        Decoding(max_new_tokens=14, repetition_penalty=1.3), {"max_new_tokens": 14, "repetition_penalty": 1.3},
    ),
    "at least": (Decoding(max_new_tokens=14, min_new_tokens=9), {"max_new_tokens": 14, "min_new_tokens": 9}),
    "at least, with the prompt": (Decoding(max_new_tokens=24, min_length=22), {"max_new_tokens": 24, "min_length": 22}),
    "4 beams": (Decoding(max_new_tokens=14, beams=4), {"max_new_tokens": 14, "num_beams": 4}),
    "3 beams, early": (
        Decoding(max_new_tokens=14, beams=3, early_stopping=True),
        {"max_new_tokens": 14, "num_beams": 3, "early_stopping": True},
    ),
    "5 beams, at least, penalty": (
        Decoding(max_new_tokens=24, beams=5, min_length=18, repetition_penalty=1.2),
        {"max_new_tokens": 24, "num_beams": 5, "min_length": 18, "repetition_penalty": 1.2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_cards_decoding_gives_transformers_ids(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(name)
    found = {}
    for case, (decode, words) in CASES.items():
        texts = (
            TEXTS[:2] if (decode.beams or 1) == 1 else TEXTS[:1]
        )  # the search by beams is theirs: one text shows its words
        found[case] = [ours(model, text, decode, monkeypatch) for text in texts]
        assert found[case] == [theirs(model, text, **words) for text in texts], case
    assert (
        found["4 beams"] != found["greedy"][:1] and found["greedy"] != found["repetition penalty"]
    )  # the numbers matter
    assert min(map(len, found["at least"])) >= 9 > min(map(len, found["greedy"]))


def test_biogpt_goes_on_as_its_readmes_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words count the prompt's tokens too; the longest text is what the network takes."""
    model = small("biogpt")
    prompt = model.card.prompts["continuation"]
    words = {"min_length": 100, "max_length": 256, "num_beams": 5, "early_stopping": True}
    found = ours(model, TEXTS[1], prompt.decode, monkeypatch)
    assert found == theirs(model, TEXTS[1], **words) and len(found) + len(model.encode(TEXTS[1])) >= 99


def test_beams_are_not_for_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A temperature above 0 draws, whatever the number of beams; the owners of beams leave it out."""
    model = small("bentsao")
    beams = Decoding(max_new_tokens=12, beams=4)
    drawn = [model.generate([asked(TEXTS[0], beams)], None, 1.0, seed=seed)[0] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_none_means_what_the_card_says() -> None:
    model = small("bentsao")
    one = asked(TEXTS[0], Decoding(max_new_tokens=7, temperature=1.5, top_k=50))
    assert model.generate([one], None, None, seed=3) == model.generate([one], 7, 1.5, seed=3)
    assert model.generate([one], None, None, seed=3) != model.generate([one], 7, 0)
    assert model.generate([TEXTS[0]], None, None) == model.generate([TEXTS[0]], 256, 0)  # bentsao draws nothing


def test_a_text_of_beams_streams_in_the_end() -> None:
    model = small("bentsao")
    one = asked(TEXTS[1], Decoding(max_new_tokens=16, beams=4))
    assert "".join(model.generate([one], None, stream=True)) == model.generate([one], None)[0]

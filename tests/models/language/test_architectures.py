"""GPT-2 and Phi, which no listed row is published as but own cards may name: the road of every causal language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from healthfm import card
from healthfm.cards.schema import ModelCard, Runner
from healthfm.models.language import causal_lm, likelihood
from healthfm.models.language.causal_lm import CausalLM
from tests.models import published as pub
from tests.references.recipe_weights import fill

IDS = [5, 6, 7, 300, 41]
PROMPTS = ["Question: is it so? Answer:", "Question: is it so?\nIt may be. Answer:"]
OPTIONS = [[" yes", " no", " maybe so"], [" yes", " no, it is not", " yes"]]
NUMBERS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "bos_token_id": 1, "eos_token_id": 2},
    "phi": {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "partial_rotary_factor": 0.5,
        "max_position_embeddings": 256, "bos_token_id": 1, "eos_token_id": 2,
    },
}  # fmt: skip
CLASSES = {"gpt2": "GPT2LMHeadModel", "phi": "PhiForCausalLM"}


def publish(folder: Path, name: str) -> transformers.PreTrainedModel:
    """Write a small network with a tokenizer; return it as transformers loads it."""
    vocabulary = pub.byte_level_json(folder)
    config = getattr(transformers, causal_lm.ARCHITECTURES[name][0])(vocab_size=vocabulary, **NUMBERS[name])
    network = getattr(transformers, CLASSES[name])(config)
    fill(network.state_dict())
    network.save_pretrained(folder)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return loaded.eval()  # type: ignore[no-any-return]


def load(folder: Path, name: str) -> CausalLM:
    found = card("smollm2-135m-instruct")
    assert isinstance(found, ModelCard)
    own = found.model_copy(update={"run": Runner(family="causal_lm", architecture=name, native=True)})
    return causal_lm.load(own, None, folder, {}, "cpu", "float32")  # type: ignore[return-value]


@pytest.mark.parametrize("name", NUMBERS)
def test_logits_and_text_are_transformers(name: str, tmp_path: Path) -> None:
    theirs, ours = publish(tmp_path, name), load(tmp_path, name)
    with torch.inference_mode():
        expected = theirs(torch.tensor([IDS])).logits[0].numpy()
        written = theirs.generate(
            torch.tensor([ours.encode(PROMPTS[0])]), max_new_tokens=12, do_sample=False, pad_token_id=0
        )
    np.testing.assert_allclose(ours.logits([IDS])[0], expected, atol=1e-5)
    new = written[0][len(ours.encode(PROMPTS[0])) :]
    assert ours.generate([PROMPTS[0]], 12, stop=[]) == [ours.tokenizer.decode(new, skip_special_tokens=True)]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", NUMBERS)
def test_scores_are_the_sums_of_the_networks_own_log_probabilities(name: str, tmp_path: Path) -> None:
    """Phi's rotary positions take the packed road, GPT-2's learnt ones the plain one."""
    publish(tmp_path, name)
    model = load(tmp_path, name)
    assert hasattr(model.network.get_decoder(), "rotary_emb") == (name == "phi")
    for prompt, options, scores in zip(PROMPTS, OPTIONS, model.score(PROMPTS, OPTIONS), strict=True):
        context, continuations = (found := likelihood.encode(model, prompt, options)).context, found.continuations
        likely = [
            torch.from_numpy(model.logits([[*context, *one]])[0]).double().log_softmax(-1) for one in continuations
        ]
        by_hand = [
            sum(float(rows[len(context) + i - 1, token]) for i, token in enumerate(one))
            for one, rows in zip(continuations, likely, strict=True)
        ]
        np.testing.assert_allclose(scores, by_hand, atol=1e-4)


def test_gpt2s_first_release_loads(tmp_path: Path) -> None:
    """Its keys lack the prefix, and it holds the masks of its attention."""
    publish(tmp_path, "gpt2")
    expected = load(tmp_path, "gpt2").logits([IDS])[0]
    tensors = {
        key.removeprefix("transformer."): value
        for key, value in load(tmp_path, "gpt2").network.state_dict().items() if key != "lm_head.weight"
    }  # fmt: skip
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 256, 256).tril() for i in range(2)}
    (tmp_path / "model.safetensors").unlink()
    torch.save({**tensors, **masks, "h.0.attn.masked_bias": torch.tensor(-1e4)}, tmp_path / "pytorch_model.bin")
    assert np.array_equal(load(tmp_path, "gpt2").logits([IDS])[0], expected)

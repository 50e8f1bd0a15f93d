"""Weights published as a difference: base + difference, tensor by tensor, from files as their owners publish them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from healthfm import CheckpointError, card
from healthfm.cards.schema import ModelCard, Weights
from healthfm.models.files import delta
from healthfm.models.language import causal_lm
from healthfm.models.language.causal_lm import CausalLM
from tests.models import published as pub

BASE = {"model.embed_tokens.weight": torch.ones(5, 3), "model.norm.weight": torch.full((3,), 2.0)}


def delta_card() -> ModelCard:
    """PMC-LLaMA's card, as if it were published as a difference to LLaMA."""
    found = card("pmc-llama")
    assert isinstance(found, ModelCard)
    return found.model_copy(update={"weights": (Weights(source="here", format="delta", access="open"),)})


def load(folder: Path) -> CausalLM:
    return causal_lm.load(delta_card(), None, folder, {}, "cpu", "float32")  # type: ignore[return-value]


def publish(folder: Path, **changes: Any) -> tuple[Path, dict[str, torch.Tensor]]:
    """Write a base of 600 tokens, and the difference of a model with 601 to it; return the folder and the model's tensors."""
    base = pub.publish(folder / "llama", pub.LLAMA, pub.sentencepiece_model)
    whole = {key: 0.5 * value for key, value in pub.LLAMA(601)[0].items()}
    own = pub.LLAMA(600)[0]
    difference = {}
    for key, value in whole.items():
        difference[key] = value.clone()
        difference[key][: len(own[key])] -= own[key]
    config = {**pub.LLAMA(601)[1], **changes}
    weights = pub.publish(folder / "delta", lambda _: (difference, config), pub.padded_model)
    (weights / "base").symlink_to(base)
    return weights, whole


def test_a_difference_is_added_to_its_base(tmp_path: Path) -> None:
    weights, whole = publish(tmp_path)
    model = load(weights)
    network = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_pretrained(weights)).eval()
    network.load_state_dict(whole)
    ids = [5, 6, 300, 7, 600]  # the last is a token that the base has not
    with torch.inference_mode():
        theirs = network(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(model.logits([ids])[0], theirs, atol=1e-5)
    assert model.tokenizer is not None and len(model.tokenizer) == 601
    assert len(model.provenance["files"]) == 4  # two shards of each


def test_the_difference_alone_is_another_network(tmp_path: Path) -> None:
    weights, _ = publish(tmp_path)
    alone = causal_lm.load(card("pmc-llama"), None, weights, {}, "cpu", "float32")  # type: ignore[arg-type]
    both = load(weights)
    assert isinstance(alone, CausalLM)
    apart = alone.logits([[5, 6]])[0] - both.logits([[5, 6]])[0]
    assert np.linalg.norm(apart) > 0.1 * np.linalg.norm(both.logits([[5, 6]])[0])


def test_a_difference_without_its_base_says_where_to_put_it(tmp_path: Path) -> None:
    weights, _ = publish(tmp_path)
    (weights / "base").unlink()
    with pytest.raises(
        CheckpointError, match=r"a difference to a base: put the base's files \(or a link to them\) in .*base"
    ):
        load(weights)


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"hidden_size": 64}, r"the delta's .* is \(\d+.*\), the base's \(\d+.*\): it belongs to another base"),
        ({"num_hidden_layers": 3}, r"lacks 9 tensors of the base, e\.g\. model\.layers\.2\..*another base"),
        ({"intermediate_size": 64}, r"mlp\..*: it belongs to another base"),
    ],
)
def test_another_base_is_refused(numbers: dict[str, int], says: str, tmp_path: Path) -> None:
    weights, _ = publish(tmp_path)
    other = pub.publish(tmp_path / "other", pub.native("Llama", **{**pub.SMALL, **numbers}), pub.sentencepiece_model)
    (weights / "base").unlink()
    (weights / "base").symlink_to(other)
    with pytest.raises(CheckpointError, match=says):
        load(weights)


def test_a_base_cut_short_is_named(tmp_path: Path) -> None:
    weights, _ = publish(tmp_path)
    shard = next((weights / "base").glob("pytorch_model-00002*.bin"))
    shard.write_bytes(shard.read_bytes()[:-300])
    with pytest.raises(CheckpointError, match=r"base/pytorch_model-00002-of-00002\.bin: not a readable"):
        load(weights)
    shard.unlink()
    with pytest.raises(CheckpointError, match=r"base: 1 of 2 shards are missing"):
        load(weights)


def test_what_the_base_lacks_and_new_rows_are_the_differences_own() -> None:
    change = {
        "model.embed_tokens.weight": torch.full((6, 3), 0.5), "model.norm.weight": torch.full((3,), -1.0),
        "model.mm_projector.weight": torch.full((2, 2), 7.0),
    }  # fmt: skip
    whole = delta.add(BASE, change)
    assert whole["model.norm.weight"].tolist() == [1, 1, 1]
    assert whole["model.embed_tokens.weight"][:5].unique().tolist() == [1.5]
    assert whole["model.embed_tokens.weight"][5].tolist() == [0.5] * 3
    assert torch.equal(whole["model.mm_projector.weight"], change["model.mm_projector.weight"])
    assert change["model.norm.weight"].tolist() == [-1, -1, -1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model.embed_tokens.weight": torch.ones(5, 4), "model.norm.weight": torch.ones(3)}, r"is \(5, 4\), the base's \(5, 3\)"),
        ({"model.embed_tokens.weight": torch.ones(4, 3), "model.norm.weight": torch.ones(3)}, r"is \(4, 3\), the base's \(5, 3\)"),
        ({"model.embed_tokens.weight": torch.ones(5, 3), "model.norm.weight": torch.ones(4)}, r"norm.weight is \(4,\)"),
        ({"model.norm.weight": torch.ones(3)}, "lacks 1 tensors of the base, e.g. model.embed_tokens.weight"),
    ],
)  # fmt: skip
def test_a_difference_of_another_size_is_refused(change: dict[str, torch.Tensor], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        delta.add(BASE, change)


def test_a_card_says_which_of_its_weights_are_differences() -> None:
    llava_med = card("llava-med")
    assert isinstance(llava_med, ModelCard)
    found = {variant: delta.is_delta(llava_med, variant) for variant in llava_med.variants}
    assert sum(found.values()) == 1 and not found[llava_med.default_variant or ""]

"""Rows whose card says ``native``: transformers' own class under its own, published key names, at the card's full size.

And whose key names and sizes the evidence of the others holds: cards say so where they are not their owners'.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from typing import Any

import gguf
import pytest
import torch
import transformers

from healthfm.cards import catalog, coverage
from healthfm.cards.schema import ModelCard, Runner
from healthfm.models.language import causal_lm, seq2seq
from healthfm.models.language import published_keys as remap
from tests.models.language.test_causal_rows import FULL, OWN_LAYOUTS
from tests.models.vision.towers import DATA

MANIFESTS = DATA / "manifests"
CARDS = [card for card in catalog.all_cards("model") if isinstance(card, ModelCard)]
NATIVE = [card.slug for card in CARDS if card.run is not None and card.run.native]
INDEXED = ("llama", "bloom", "mistral")  # index files of published checkpoints are recorded; T5's names are llama.cpp's
ROUND = 10**8  # parameters that the owners give in round numbers


def index(architecture: str) -> dict[str, Any]:
    return dict(json.loads(gzip.decompress((MANIFESTS / f"native_{architecture}.json.gz").read_bytes())))


def published(network: transformers.PreTrainedModel) -> dict[str, int]:
    """The names a checkpoint of a network has, each with its tensor's size: tied ones stand in it once."""
    tied = set(network.all_tied_weights_keys or {})
    return {key: value.numel() for key, value in network.state_dict().items() if key not in tied}


def general(keys: Any) -> set[str]:
    """Key names without the number of their layer; what every checkpoint may leave out or add is left out."""
    plain = remap.plain({key: torch.empty(0) for key in keys}, {})
    return {re.sub(r"\.\d+\.", ".N.", key) for key in plain}


def variants(card: ModelCard) -> Iterator[tuple[str | None, str, transformers.PreTrainedModel]]:
    """Each variant that runs: its name, its architecture, its full-size network on the meta device."""
    assert card.run is not None
    for name in card.variants or (None,):
        architecture = (card.variants[name].architecture if name else None) or card.run.architecture
        family = {"causal_lm": causal_lm, "seq2seq": seq2seq}[card.run.family]
        if architecture in family.ARCHITECTURES:  # type: ignore[attr-defined]
            with torch.device("meta"):
                yield name, architecture, family.build(card, name, {})  # type: ignore[attr-defined]


def held(slug: str) -> int:
    """Hold a row to what ``native`` says of it, in every variant that runs; return their number."""
    card = catalog.card(slug, "model")
    assert isinstance(card, ModelCard)
    assert not [name for name, made in FULL.items() if name.partition(":")[0] == slug and made[0] in OWN_LAYOUTS]
    found = list(variants(card))
    for name, architecture, network in found:
        assert type(network) is getattr(transformers, type(network).__name__)
        names = published(network)
        if architecture in INDEXED:
            assert general(names) == general(index(architecture)["keys"])
        if architecture == "t5":
            known = gguf.TensorNameMap(gguf.MODEL_ARCH.T5, network.config.num_layers)
            assert [key for key in names if known.get_name(key, (".weight",)) is None] == []
        stated = card.variants[name].parameters if name else card.parameters
        if stated and "vocab_size" in stated_numbers(card, name):
            near = 0.05 if stated % ROUND == 0 else 2e-3
            assert sum(names.values()) == pytest.approx(stated, rel=near), name
    for path in MANIFESTS.glob(f"causal_{slug}-*.json.gz"):  # a layout of its owners' is no class of transformers'
        keys = json.loads(gzip.decompress(path.read_bytes()))["keys"]
        assert any(general(keys) == general(published(network)) for _, _, network in found)
    return len(found)


def stated_numbers(card: ModelCard, name: str | None) -> dict[str, Any]:
    assert card.run is not None
    return {**card.run.config, **(card.variants[name].config if name else {})}


@pytest.mark.parametrize("slug", NATIVE)
def test_a_native_row_is_transformers_own_class_under_published_names(slug: str) -> None:
    assert held(slug) >= 1


@pytest.mark.parametrize("architecture", INDEXED)
def test_the_classes_have_the_names_and_the_size_of_published_checkpoints(architecture: str) -> None:
    """Key by key and parameter by parameter, against an index file; LLaMA's first one counts its rotary frequencies too."""
    facts = index(architecture)
    config, kind = causal_lm.ARCHITECTURES[architecture]
    with torch.device("meta"):
        network = getattr(transformers, kind)(getattr(transformers, config)(**facts["config"]))
    names = published(network)
    assert set(remap.plain({key: torch.empty(0) for key in facts["keys"]}, {})) == set(names)
    rotary = (
        sum("inv_freq" in key for key in facts["keys"])
        * network.config.hidden_size
        // network.config.num_attention_heads
        // 2
    )
    assert sum(names.values()) + rotary == facts["parameters"]


@pytest.mark.parametrize("slug", ["mmedlm-2", "taiyi"])
def test_native_forged_on_a_row_with_a_layout_of_its_own_is_seen(slug: str) -> None:
    assert slug not in NATIVE
    with pytest.raises(AssertionError):
        held(slug)


@pytest.mark.parametrize(
    "changes",
    [{"family": "vit"}, {"family": "masked_lm"}, {"dialect": "timm"}, {"state": "model"}, {"strip": ("module.",)}],
)
def test_native_forged_on_a_row_whose_keys_are_read_otherwise_is_an_error_of_the_card(changes: dict[str, Any]) -> None:
    assert Runner(family="causal_lm", architecture="llama", native=True).native
    with pytest.raises(ValueError, match="native is for transformers' own classes"):
        Runner(**{"family": "causal_lm", "architecture": "llama", "native": True, **changes})


# Whose keys ---------------------------------------------------------------------------------------------------------------


def sources() -> list[tuple[str, str]]:
    """(row, what its manifest of keys was made from)"""
    found = []
    for path in sorted(MANIFESTS.glob("*.json.gz")):
        stem = path.name.split(".")[0].removeprefix("causal_").removesuffix("-torch")
        slugs = [card.slug for card in CARDS if stem == card.slug or stem.startswith(f"{card.slug}-")]
        if slugs:
            found.append((max(slugs, key=len), json.loads(gzip.decompress(path.read_bytes()))["source"]))
    return found


OTHERS = {  # what a manifest's source shows -> what its card then says
    r"sizes by the rows' cards": "own card", r"^transformers": "transformers' class", r"mahmoodlab/TRIDENT": "mahmoodlab/TRIDENT",
    r"^open_clip_torch": "open_clip's class",
    r"^github\.com/(?P<name>[^,]+), a copy of": "{name}", r"^(?P<name>google-research/big_transfer|facebookresearch/mae)": "{name}",
}  # fmt: skip


def test_a_card_says_whose_keys_and_sizes_it_rests_on_where_they_are_not_its_owners() -> None:
    assert len(sources()) >= 28
    said = {card.slug: card.keys_from or "" for card in CARDS}
    silent = {
        (slug, source) for slug, source in sources() for pattern, word in OTHERS.items()
        if (met := re.search(pattern, source)) and word.format(**met.groupdict()) not in said[slug]
    }  # fmt: skip
    assert silent == set()
    without = {slug for slug, source in sources() if not any(re.search(pattern, source) for pattern in OTHERS)}
    assert {slug for slug in without if said[slug]} == set()


def test_a_note_stands_beside_the_level() -> None:
    claims = tuple(
        {"kind": "model", "slug": slug, "tick": "road", "where": "ci"} for slug in ("taiyi", "biogpt", "uni")
    )
    found = {row["slug"]: row["keys_from"] for row in coverage.rows(claims)}
    assert "zhangningboo/Qwen-7B" in found["taiyi"]
    assert found["biogpt"] == coverage.NATIVE
    assert found["uni"] is found["virchow"] is found["medqa"] is None

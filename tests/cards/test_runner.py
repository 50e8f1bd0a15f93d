"""How a model runs, variant by variant: what a card says once, and what each variant changes."""

from __future__ import annotations

import pytest

from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard

FACTS = {
    "kind": "model", "slug": "own", "name": "Own", "summary": "A model.", "group": "vision", "modalities": ["image"], "access": "closed",
    "architecture": "a tower", "default_variant": "a",
}  # fmt: skip
RUN = {
    "family": "vit", "architecture": "vit", "dialect": "mae", "pooling": "mean", "config": {"depth": 2, "embed_dim": 8},
    "transform": {"resize": 5},
}  # fmt: skip


def card(**special: object) -> ModelCard:
    variants = {"a": {"summary": "one"}, "b": {"summary": "another", **special}}
    return ModelCard.model_validate({**FACTS, "run": RUN, "variants": variants})


def test_a_variant_overrides_single_numbers_and_whole_fields() -> None:
    made = card(config={"depth": 3}, run={"pooling": "cls", "dialect": "dinov2", "transform": {"crop": 4}})
    run = made.runner("b")
    assert (run.config, run.pooling, run.dialect) == ({"depth": 3, "embed_dim": 8}, "cls", "dinov2")
    assert run.transform is not None and (run.transform.resize, run.transform.crop) == (None, 4)
    assert made.runner(None) == made.runner("a") == made.run
    assert made.run is not None and made.run.config["depth"] == 2


def test_a_variant_that_does_not_fit_is_an_error_of_the_card() -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        card(run={"poling": "cls"})
    with pytest.raises(ValueError, match="mean and std go together"):
        card(run={"transform": {"mean": [0.5] * 3}})


def test_a_card_without_a_runner_says_so() -> None:
    with pytest.raises(ValueError, match=r"own has no \[run\]"):
        ModelCard.model_validate({**FACTS, "variants": {"a": {"summary": "one"}}}).runner(None)


def test_every_vision_card_runs_in_each_variant() -> None:
    slugs = [
        slug for (kind, slug), entry in catalog.entries().items() if kind == "model" and entry["group"] == "vision"
    ]
    assert len(slugs) >= 20
    for slug in slugs:
        made = catalog.card(slug, "model")
        assert isinstance(made, ModelCard)
        for variant in made.variants or (None,):
            assert made.runner(variant).pooling is not None

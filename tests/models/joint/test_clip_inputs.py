"""What goes into CLIP and those trained from it: token ids of strings and pixels of pictures are OpenAI's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from healthfm import CheckpointError
from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard
from healthfm.models.joint.clip_text import repaired
from healthfm.models.vision import transform
from tests.models.joint.near import LIMIT, distance
from tests.models.joint.test_dual_encoder import expected, openai, small
from tests.models.vision.towers import DATA, recipe
from tests.references import clip_inputs as reference
from tests.references import dual_encoders as pairs

ROWS = ("clip", "plip", "quiltnet", "pathasst", "chexzero", "pubmedclip", "pathgen-clip")


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    return dict(json.loads((DATA / "expected" / "clip-inputs.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def folder(theirs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with a row for each of CLIP's tokens, and OpenAI's file of merges beside them."""
    made = tmp_path_factory.mktemp("clip")
    reference.merges_file(made / "bpe_simple_vocab_16e6.txt.gz", theirs["merges"])
    words = {"token_embedding.weight": [49408, 64], "positional_embedding": [reference.CONTEXT, 64]}
    for name in ("open-clip", "chexzero"):
        torch.save({**openai(name), **recipe(words)}, made / f"{name}.pt")
    return made


@pytest.mark.parametrize("slug", [pytest.param(one, marks=pytest.mark.evidence(one, "input")) for one in ROWS])
def test_strings_and_pictures_go_in_as_openais_code_makes_them(slug: str, theirs: dict[str, Any], folder: Path) -> None:
    card = catalog.card(slug, "model")
    assert isinstance(card, ModelCard) and card.run is not None
    model = small(slug, folder / ("chexzero.pt" if slug == "chexzero" else "open-clip.pt"))
    made = [model.prepare(one) for one in reference.SENTENCES]
    assert [one.inputs[0].tolist() for one in made] == theirs["ids"]
    assert [one.cut for one in made] == [False] * 23 + [True]
    some = list(reference.SENTENCES[13:])  # of several lengths, in one batch
    before = model.provenance["texts_cut"]
    assert np.abs(model.embed(some) - model.embed_tokens(theirs["ids"][13:])).max() <= 1e-6
    assert model.provenance["texts_cut"] == before + 1
    rule = card.run.part("image").transform
    assert rule is not None
    if slug == "chexzero":  # its own way, at the small network's size
        assert (
            distance(model.preprocess(pairs.pictures())["pixels"][:, :, ::7, ::7], expected(slug)["transform"]) <= LIMIT
        )
        return
    pixels = np.stack([transform.pixels(one, rule) for one in reference.pictures()])
    assert distance(pixels[:, :, ::37, ::37], theirs["pixels"]) <= LIMIT
    for change in ({"interpolation": "bilinear"}, {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}):
        other = rule.model_copy(update=change)
        moved = np.stack([transform.pixels(one, other) for one in reference.pictures()])
        assert distance(moved[:, :, ::37, ::37], theirs["pixels"]) > LIMIT


def test_a_text_that_is_not_made_plain_has_other_tokens(theirs: dict[str, Any], folder: Path) -> None:
    model = small("plip", folder / "open-clip.pt", text={"tokenizer": {"length": 77}})
    ids = [model.prepare(one).inputs[0].tolist() for one in reference.SENTENCES]
    moved = [text for text, ours, one in zip(reference.SENTENCES, ids, theirs["ids"], strict=True) if ours != one]
    assert len(moved) == sum(repaired(one).split() != one.split() for one in reference.SENTENCES) >= 5
    assert model.settings() != small("plip", folder / "open-clip.pt").settings()


def test_a_vocabulary_larger_than_the_network_is_anothers(folder: Path) -> None:
    torch.save(openai(), folder / "narrow.pt")
    with pytest.raises(CheckpointError, match="49408 pieces, the network 200: it is another model's"):
        small("plip", folder / "narrow.pt")

"""SigLIP and MedSigLIP are transformers' class: towers, words, pixels and the sigmoid; and what would be another shows."""

from __future__ import annotations

import functools
import html
import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from safetensors.torch import save_file

from healthfm import CheckpointError, load_model
from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard
from healthfm.models.joint import pair, siglip_words, zero_shot
from healthfm.models.joint.dual_encoder import DualEncoderModel
from tests.models import road
from tests.models.joint.near import LIMIT, PROBE, distance
from tests.models.joint.test_dual_encoder import expected, manifest
from tests.models.joint.test_towers import fits, pixels_go_in
from tests.models.vision.test_vision_road import class_folders
from tests.models.vision.towers import recipe
from tests.references import dual_encoders as clip_reference
from tests.references import paired_towers as reference

ROWS = ("siglip", "medsiglip")
SIDE = {"siglip": 224, "medsiglip": 448}


def ticks(tick: str) -> list[Any]:
    return [pytest.param(slug, marks=pytest.mark.evidence(slug, tick)) for slug in ROWS]


@functools.cache
def tensors() -> dict[str, torch.Tensor]:
    """The reference's small weights; its scale is exp(3), its bias -2, in rows of one as they are published."""
    learned = {"logit_scale": torch.tensor([3.0]), "logit_bias": torch.tensor([-2.0])}
    return {**recipe(expected("siglip")["shapes"]), **learned}


def small(slug: str, weights: Any = None, **config: Any) -> DualEncoderModel:
    given = {part: {"num_heads": 2, **config.pop(part, {})} for part in ("image", "text")}
    model = load_model(slug, weights or dict(tensors()), config={**given, **config}, device="cpu")
    assert isinstance(model, DualEncoderModel)
    return model


def pixels_of_64(slug: str) -> dict[str, Any]:
    card = catalog.card(slug, "model")
    assert isinstance(card, ModelCard) and card.run is not None
    rule = card.run.parts["image"].transform
    assert rule is not None
    return {**rule.model_dump(), "resize": (64, 64)}


@pytest.mark.parametrize("slug", ticks("keys"))
def test_transformers_keys_load_strictly_at_full_size(slug: str) -> None:
    card = catalog.card(slug, "model")
    assert isinstance(card, ModelCard)
    if slug == "medsiglip":
        assert fits(slug, manifest("siglip")["448"]) == card.parameters
    for variant, own in card.variants.items():
        shapes = manifest("siglip")[variant]
        assert fits(f"{slug}:{variant}", shapes) == own.parameters
        spare = {f"{side}_model.embeddings.position_ids": [1, 64] for side in ("text", "vision")}
        assert fits(f"{slug}:{variant}", {**shapes, **spare}) == own.parameters  # in older files
    name = slug if slug == "medsiglip" else f"{slug}:base-patch16-224"
    shapes = manifest("siglip")["448" if slug == "medsiglip" else "base-patch16-224"]
    for lost in ("logit_bias", "vision_model.head.probe", "text_model.head.bias"):
        with pytest.raises(CheckpointError, match="missing"):
            fits(name, {key: value for key, value in shapes.items() if key != lost})
    with pytest.raises(CheckpointError, match="unexpected"):
        fits(name, {**shapes, "text_model.strange": [1]})


@pytest.mark.parametrize("slug", ticks("network"))
def test_both_towers_are_transformers_and_neighbours_are_not(slug: str) -> None:
    model, theirs = small(slug), expected("siglip")
    x, ids = {"pixels": reference.pixels()}, reference.ended()
    out = model.forward(x)
    assert distance(out["image_embedding"], theirs["image"]) <= LIMIT
    assert distance(out["pooled"], theirs["pooled"]) <= LIMIT and out["tokens"].shape == (3, 16, 64)
    assert distance(model.embed_tokens(ids), theirs["text"]) <= LIMIT
    assert distance(model.forward({"token_ids": ids})["text_embedding"], theirs["text"]) <= LIMIT
    ragged = [[one for one in row if one > 1] + [1] for row in ids.tolist()]
    assert distance(model.embed_tokens(ragged), theirs["text"]) <= LIMIT  # filled up to the last place, always
    alone = np.concatenate([model.embed_tokens([one]) for one in ragged])
    assert np.abs(alone - model.embed_tokens(ids)).max() <= 1e-6
    assert distance(theirs["masked"], theirs["text"]) > LIMIT  # what a mask over the padding would make
    for wrong in ({"activation": "gelu"}, {"norm_eps": 1e-2}, {"num_heads": 4}):
        other = small(slug, image=wrong, text=wrong)
        assert distance(other.forward(x)["image_embedding"], theirs["image"]) > LIMIT, wrong
        assert distance(other.embed_tokens(ids), theirs["text"]) > LIMIT, wrong
    mean = model.network.image.joint(torch.from_numpy(out["tokens"]).mean(1)).detach().numpy()
    assert distance(mean, theirs["image"]) > LIMIT  # patches are read by the query


@pytest.mark.parametrize("slug", ticks("output"))
def test_zero_shot_scores_are_transformers(slug: str) -> None:
    model, theirs = small(slug), expected("siglip")
    known = {name: row.tolist() for name, row in zip("abcd", reference.ended(), strict=True)}
    model._texts = lambda texts: model.embed_tokens([known[text] for text in texts])  # type: ignore[method-assign]
    model.transform = None  # the reference's pixels
    ready, rule = list(reference.pixels().numpy()), "sigmoid" if slug == "siglip" else "softmax"
    assert distance(model.classify(ready, list("abcd"), "{}", logits=True), theirs["logits"]) <= LIMIT
    likely = model.classify(ready, list("abcd"), "{}")
    assert distance(likely, theirs[rule]) <= LIMIT
    assert distance(likely, theirs["softmax" if slug == "siglip" else "sigmoid"]) > LIMIT
    [space] = zero_shot.spaces(model)
    likeness = [np.reshape(theirs["image"], (3, -1)) @ np.reshape(theirs["text"], (4, -1)).T]
    one = zero_shot.chances(rule, likeness, space["scale"], False, space["bias"])
    each = np.reshape(theirs[rule], (3, 4))
    assert distance(one, each / each.sum(-1, keepdims=True)) <= LIMIT and (one.argmax(1) == each.argmax(1)).all()
    if slug == "siglip":
        assert distance(zero_shot.chances(rule, likeness, space["scale"], True, space["bias"]), theirs[rule]) <= LIMIT
        far = [np.array([[-60, -59]], np.float32)]
        assert np.allclose(zero_shot.chances(rule, far, 10, False, -10), [[4.5397868e-05, 0.9999546]], atol=1e-7)


def words_beside(folder: Path) -> dict[str, torch.Tensor]:
    """Write a small model of sentencepiece beside the weights; return these with a row for each piece and all places."""
    reference.pieces(folder)
    sizes = {"token_embedding.weight": [64, 64], "position_embedding.weight": [64, 64]}
    return {**tensors(), **recipe({f"text_model.embeddings.{key}": shape for key, shape in sizes.items()})}


@pytest.mark.parametrize("slug", ticks("input"))
def test_pictures_and_strings_go_in_as_the_owners_make_them(slug: str, tmp_path: Path) -> None:
    save_file(words_beside(tmp_path), tmp_path / "model.safetensors")
    model = small(slug, tmp_path, image={"transform": pixels_of_64(slug)})
    assert small(slug, tmp_path).preprocess(clip_reference.pictures()[:1])["pixels"].shape[-1] == 56  # whole patches
    pixels_go_in("siglip", model)
    assert model.transform is not None
    model.transform = model.transform.model_copy(update={"resize": 64, "crop": 64})  # the middle alone
    found = model.preprocess(clip_reference.pictures())["pixels"][:, :, ::7, ::7]
    assert distance(found, expected("siglip")["transform"]) > LIMIT
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    card = catalog.card("conch", "model")
    assert isinstance(card, ModelCard) and card.run is not None and card.run.zero_shot is not None
    asked = [one.format("lung-failure, in the HEART") for one in card.run.zero_shot.templates]  # 22
    texts = [*asked, "No heart failure!", "  a heart's\nlung  ", "", "lung " * 90]
    for text in texts:
        plain = " ".join("".join(one for one in text.lower() if one not in string.punctuation).split())
        ids = [*pieces.encode(plain)[:63], 1]
        assert model.prepare(text).inputs[0].tolist() == ids + [1] * (64 - len(ids))
        assert model.prepare(text).cut is (len(pieces.encode(plain)) > 63)
    before = model.provenance["texts_cut"]
    made = model.embed(texts)
    assert model.provenance["texts_cut"] == before + 1
    assert np.abs(np.concatenate([model.embed([one]) for one in texts]) - made).max() <= 1e-6
    prepared = model.embed_prepared([model.prepare(one).inputs[0] for one in texts])
    assert np.abs(prepared - made).max() <= 1e-6
    assert np.abs(model.embed(["LUNG."]) - model.embed(["lung"])).max() == 0
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    upper = small(slug, tmp_path, text={"tokenizer": {"length": 64, "padded": True}})
    assert np.abs(upper.embed(["LUNG"]) - upper.embed(["lung"])).max() > 1e-3


def test_a_file_that_is_no_model_of_sentencepiece_or_anothers_is_refused(tmp_path: Path) -> None:
    assert siglip_words.read(tmp_path, None) is None and siglip_words.read(None, None) is None
    (tmp_path / "spiece.model").write_bytes(b"no model")
    with pytest.raises(CheckpointError, match="not readable as a model of sentencepiece"):
        siglip_words.read(tmp_path, None)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(reference.PIECES), model_prefix=str(tmp_path / "spiece"), vocab_size=60,
        hard_vocab_limit=False, minloglevel=2, num_threads=1,
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="the token of number 1 is not '</s>'"):
        siglip_words.read(tmp_path, None)


def test_what_the_file_beside_the_weights_states_wins(tmp_path: Path) -> None:
    save_file(dict(tensors()), tmp_path / "model.safetensors")
    told = {"num_attention_heads": 2, "hidden_act": "gelu_pytorch_tanh"}

    def vectors(side: dict[str, Any]) -> np.ndarray:
        config = {"model_type": "siglip", "vision_config": side, "text_config": side}
        (tmp_path / "config.json").write_text(json.dumps(config))
        model = load_model("siglip", tmp_path, device="cpu")
        return np.asarray(model.forward({"pixels": reference.pixels()})["image_embedding"])

    assert distance(vectors(told), expected("siglip")["image"]) <= LIMIT
    assert distance(vectors({**told, "hidden_act": "gelu"}), expected("siglip")["image"]) > LIMIT
    with pytest.raises(CheckpointError, match="hidden_act is relu"):
        vectors({**told, "hidden_act": "relu"})


def test_each_size_is_told_from_the_others() -> None:
    full = {
        name: {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
        for name, shapes in manifest("siglip").items()
    }
    for asked, given, why in (
        ("siglip:base-patch16-224", "so400m-patch14-384", "tensors of siglip:so400m-patch14-384, not of siglip:base"),
        ("medsiglip", "so400m-patch14-384", "siglip:so400m-patch14-384"), ("siglip:so400m-patch14-384", "448", "medsiglip"),
        ("plip", "448", "the sizes of medsiglip, not of plip"),
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match=why):
            load_model(asked, full[given], device="cpu")
    for name, key in (("siglip:so400m-patch14-384", "so400m-patch14-384"), ("medsiglip", "448")):
        card = catalog.card(name, "model")
        assert isinstance(card, ModelCard)
        plain = card.runner(name.partition(":")[2] or None)
        seen = pair.shown(pair.own_names(full[key], plain), plain)
        run = pair._shared(plain, plain, seen, {})
        assert run.parts["image"].transform == plain.parts["image"].transform  # 384 px stay, though 378 are looked at


def test_siglip_2_is_refused_though_its_other_sizes_are_siglips() -> None:
    shapes = {**manifest("siglip")["base-patch16-224"], "text_model.embeddings.token_embedding.weight": [256000, 768]}
    full = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    with pytest.raises(CheckpointError, match="256,000 words is SigLIP 2's or the multilingual one"):
        load_model("siglip", full, device="cpu")


# The whole road ---------------------------------------------------------------------------------------------------------


def published(folder: Path) -> Path:
    folder.mkdir()
    save_file(words_beside(folder), folder / "model.safetensors")
    side = {"num_attention_heads": 2}
    (folder / "config.json").write_text(
        json.dumps({"model_type": "siglip", "vision_config": side, "text_config": side})
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return folder


@pytest.mark.parametrize("slug", ticks("road"))
def test_a_linear_probe_on_class_folders_from_published_files_to_a_report(slug: str, tmp_path: Path) -> None:
    weights, pictures = published(tmp_path / "weights"), class_folders(tmp_path / "tiles", 64)
    rows = road.evaluated(tmp_path / "run", slug, pictures, *PROBE, "--weights", weights)
    fit, test = (sorted((pictures / split).rglob("*.*g")) for split in ("train", "test"))
    assert [row["target"] for row in rows] == [path.parent.name for path in test]
    model = load_model(slug, weights, device="cpu")
    vectors = model.embed(test)
    road.assert_probed(tmp_path / "run", rows, [path.parent.name for path in fit], model.embed(fit), vectors)
    others = load_model(slug, dict(road.other(tensors())), config={"image": {"num_heads": 2}}, device="cpu")  # fmt: skip
    road.assert_moved(vectors, others.embed(test))


@pytest.mark.parametrize("slug", ticks("road"))
def test_classes_by_their_names_from_published_files_to_a_report(slug: str, tmp_path: Path) -> None:
    weights, pictures = published(tmp_path / "weights"), class_folders(tmp_path / "tiles", 64)
    for folder in pictures.iterdir():
        for old, new in (("class0", "heart"), ("class1", "lung_heart")):
            (folder / old).rename(folder / new)
    rows = road.evaluated(tmp_path / "run", slug, pictures, "--task", "zero-shot", "--weights", weights)
    model = load_model(slug, weights, device="cpu")
    files = sorted((pictures / "test").rglob("*.*g"))
    likely = np.asarray(
        model.classify(files, ["heart", "lung heart"]), np.float64
    )  # by the card's own sentences and rule
    assert np.allclose([row["probabilities"] for row in rows], likely / likely.sum(1, keepdims=True), atol=1e-5)
    assert isinstance(model, DualEncoderModel) and (likely.sum(1) < 0.99).any() is np.bool_(slug == "siglip")
    page = html.unescape((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    assert model.rule.templates[0] in page

"""MedCLIP, CXR-CLIP and MaCo: published keys load strictly at full size, vectors and zero-shot scores are the owners', and the traps show."""

from __future__ import annotations

import functools
import gzip
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from healthfm import CheckpointError, RunError, load_model
from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard, Transform
from healthfm.models.files import checkpoint
from healthfm.models.joint import pair, zero_shot
from healthfm.models.joint.dual_encoder import DualEncoderModel
from healthfm.models.vision import transform
from healthfm.models.vision import vision_model as vision
from tests.models import road
from tests.models.joint.near import LIMIT, PROBE, distance, disturbed
from tests.models.vision.test_vision_road import class_folders
from tests.models.vision.towers import DATA, recipe
from tests.references import chest_pairs as reference
from tests.references import dual_encoders as both
from tests.references import query_decoders as words

ROWS = ("medclip:vit", "medclip:resnet50", "cxr-clip:swint-m", "cxr-clip:r50-m", "maco")
HEADS = {"text": {"num_attention_heads": 4}, "image": {}}
FILES = {"medclip": "pytorch_model.bin", "cxr-clip": "swint_m.tar", "maco": "maco.pth"}


@functools.cache
def expected(row: str) -> dict[str, Any]:
    return dict(json.loads((DATA / "expected" / f"{row}.pair.json").read_text()))


def facts(name: str) -> dict[str, Any]:
    """What the owners' code gives for a variant."""
    row, _, variant = name.partition(":")
    return dict(expected(row)["runs"][variant]) if variant else expected(row)


@functools.cache
def weights(name: str) -> dict[str, torch.Tensor]:
    tensors = recipe(facts(name)["shapes"])
    return tensors if name == "maco" else {**tensors, "logit_scale": torch.tensor(5.0)}


def small(name: str, given: Any = None, **config: Any) -> DualEncoderModel:
    merged = {side: {**own, **config.pop(side, {})} for side, own in HEADS.items()}
    if name == "maco":
        merged["image"] = {"num_heads": 4, **merged["image"]}
    model = load_model(name, weights(name) if given is None else given, config={**merged, **config}, device="cpu")
    assert isinstance(model, DualEncoderModel)
    return model


def published(row: str, folder: Path, noise: bool = False) -> Path:
    """The small network in the owners' file, with the vocabulary beside it."""
    folder.mkdir()
    tensors = weights(next(one for one in ROWS if one.startswith(row)))
    content = {
        "medclip": tensors, "maco": {"model": tensors, "epoch": 1},
        "cxr-clip": {"model": tensors, "config": {"base": {"text_max_length": 256}}, "epoch": 2, "train_loss": 0.5},
    }[row]  # fmt: skip
    torch.save(disturbed(content) if noise else content, folder / FILES[row])
    if row == "maco":
        reference.wordpiece(folder / "mimic_wordpiece.json")
    else:
        words.vocabulary(folder)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    return {row: published(row, folder / row) for row in FILES}


def ticks(tick: str, rows: Iterable[str] = FILES) -> list[Any]:
    return [pytest.param(row, marks=pytest.mark.evidence(row, tick)) for row in rows]


# Keys -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ticks("keys"))
def test_the_owners_keys_load_strictly_at_full_size(row: str) -> None:
    manifest = json.loads(gzip.decompress((DATA / "manifests" / f"{row}.pair.json.gz").read_bytes()))["variants"]
    card = catalog.card(row, "model")
    assert isinstance(card, ModelCard)
    for name, shapes in manifest.items():
        variant = None if name == "only" else name
        run = pair.settings(card, variant, {}, {})
        tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
        with torch.device("meta"):
            network = pair.build(run)
            checkpoint.load_strict(network, pair.own_names(vision.state(tensors, run), run), run.ignore_keys)
        assert pair.match(card, variant, tensors, {}) == 3


# Network, input, output -------------------------------------------------------------------------------------------------

TRAPS: dict[str, tuple[dict[str, Any], str]] = {
    "medclip:vit": ({"text": {"pooling": "cls"}}, "text"),
    "cxr-clip:swint-m": ({"image": {"pooling": "mean"}}, "image"),  # the first token, which is no class token
    "cxr-clip:r50-m": ({"text": {"pooling": "cls"}}, "text"),
    "maco": ({"image": {"projection": {"widths": [48], "normalise": True}}}, "image"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.evidence(one.partition(":")[0], "network")) for one in ROWS]
)
def test_both_sides_are_the_owners(name: str, files: dict[str, Path]) -> None:
    row, theirs = name.partition(":")[0], facts(name)
    model, every = small(name), expected(row)
    assert distance(model.forward({"pixels": both.pixels()})["image_embedding"], theirs["image"]) <= LIMIT
    texts = (every["ids"], every["mask"]) if row == "medclip" else (every["ids"], None)
    assert distance(model.embed_tokens(*texts), theirs["text"]) <= LIMIT
    if name in TRAPS:
        config, side = TRAPS[name]
        wrong = small(name, **config)
        made = (
            wrong.embed_tokens(*texts)
            if side == "text"
            else wrong.forward({"pixels": both.pixels()})["image_embedding"]
        )
        assert distance(made, theirs[side]) > LIMIT


@pytest.mark.parametrize("row", ticks("input"))
def test_pictures_and_strings_go_in_as_the_owners(row: str, files: dict[str, Path]) -> None:
    every, card = expected(row), catalog.card(row, "model")
    assert isinstance(card, ModelCard)
    told = every["transform"] if row == "cxr-clip" else {None: every["transform"]}
    pictures = [*both.pictures(), *([reference.LARGE] if row == "medclip" else [])]
    for variant, theirs in told.items():
        rule = card.runner(variant).part("image").transform
        assert rule is not None
        found = np.stack([transform.pixels(one, rule) for one in pictures])
        kept = found[:, 0] if row == "medclip" else found
        assert np.ptp(found, 1).max() < 1e-6 or row == "cxr-clip"  # three equal channels
        assert distance(kept[..., ::17, ::17], theirs) <= LIMIT
    if row == "medclip":  # traps: grey after the resize, small pictures enlarged
        assert isinstance(rule, Transform)
        for change in ({"grey_first": False, "grey": True}, {"pad_least": None}):
            other = rule.model_copy(update=change)
            moved = np.stack([transform.pixels(one, other)[0] for one in pictures])
            assert distance(moved[:, ::17, ::17], every["transform"]) > LIMIT
    name = next(one for one in ROWS if one.startswith(row))
    model = small(name, files[row])
    texts = list(words.TEXTS)
    ids = [
        [one for one, seen in zip(*both_of, strict=True) if seen]
        for both_of in zip(every["ids"], every.get("mask", every["ids"]), strict=True)
    ]
    assert distance(model.embed(texts), facts(name)["text"]) <= LIMIT
    assert [model.prepare(one).inputs[0].tolist() for one in texts] == ids


def test_medclips_vectors_of_texts_depend_on_what_they_are_given_with(files: dict[str, Path]) -> None:
    theirs, model = facts("medclip:vit"), small("medclip", files["medclip"])
    few = list(reference.SHORT)
    assert distance(model.embed(few), theirs["short"]) <= LIMIT
    assert distance(model.embed([*few, words.TEXTS[4]])[:4], theirs["short"]) > LIMIT
    assert distance(np.concatenate([model.embed([one]) for one in few]), theirs["short"]) > LIMIT
    ids = expected("medclip")["short"]
    assert distance(model.embed_tokens(ids), theirs["unmasked"]) <= LIMIT  # without a mask the padding is read too
    assert distance(model.embed_tokens(ids, (np.array(ids) != 0).astype(int)), theirs["short"]) <= LIMIT
    assert distance(theirs["short"], theirs["unmasked"]) > LIMIT
    ragged = [[one for one in row if one] for row in ids]
    assert distance(model.embed_tokens(ragged), theirs["short"]) <= LIMIT


@pytest.mark.parametrize("row", ticks("output"))
def test_classes_by_their_names_are_the_owners(row: str, files: dict[str, Path]) -> None:
    name = next(one for one in ROWS if one.startswith(row))
    theirs, model = facts(name), small(name, files[row])
    model.transform = None
    ready = list(both.pixels().numpy())
    if row != "medclip":
        classes = ["Lung mass", "edema"] if row == "cxr-clip" else ["Lung Mass", "Edema"]
        assert distance(model.classify(ready, classes), theirs["probabilities"]) <= LIMIT
        if row == "maco":  # its probabilities saturate
            assert distance(model.classify(ready, classes, logits=True), theirs["odds"]) <= LIMIT
        return
    classes = list(reference.SENTENCES)
    scores = functools.partial(model.classify, ready, classes, reference.SENTENCES, logits=True)
    assert distance(scores(), theirs["classes"]) <= LIMIT
    assert zero_shot.spaces(model) == [
        {"scale": pytest.approx(np.exp(4.6052)), "bias": 0, "unit": False, "ready": True}
    ]
    plain = model.rule
    for change in ({"limits": None}, {"average": "vectors"}, {"by_class": False}):
        model.rule = plain.model_copy(update=change)
        assert distance(scores(), theirs["classes"]) > LIMIT, change
    model.rule = plain
    soft = model.classify(ready, classes, reference.SENTENCES)
    assert np.allclose(soft.sum(1), 1) and np.allclose(
        np.log(soft[:, 0] / soft[:, 1]), -np.diff(scores())[:, 0], atol=1e-4
    )


# The whole road, and what goes wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ticks("road", ("medclip", "cxr-clip")))
def test_a_linear_probe_from_published_files_to_a_report(row: str, tmp_path: Path, files: dict[str, Path]) -> None:
    pictures = class_folders(tmp_path / "tiles", 64)
    name = next(one for one in ROWS if one.startswith(row))
    rows = road.evaluated(tmp_path / "run", name, pictures, *PROBE, "--weights", files[row])
    fit, test = (sorted((pictures / split).rglob("*.*g")) for split in ("train", "test"))
    assert [one["target"] for one in rows] == [path.parent.name for path in test]
    model = load_model(name, files[row], device="cpu")
    labels = [path.parent.name for path in fit]
    vectors = model.embed(test)
    road.assert_probed(tmp_path / "run", rows, labels, model.embed(fit), vectors)
    others = load_model(name, published(row, tmp_path / "other", True), device="cpu")
    road.assert_moved(vectors, others.embed(test))


@pytest.mark.evidence("maco", "road")
def test_classes_by_their_names_from_published_files_to_a_report(tmp_path: Path, files: dict[str, Path]) -> None:
    pictures, names = class_folders(tmp_path / "tiles", 64), ("Edema", "Lung Mass")
    shutil.rmtree(pictures / "train")
    for i, one in enumerate(names):
        (pictures / "test" / f"class{i}").rename(pictures / "test" / one)
    words = ("--task", "zero-shot", "--weights", files["maco"], "--no-baseline")
    rows = road.evaluated(tmp_path / "run", "maco", pictures, *words)
    asked = json.loads((tmp_path / "run" / "run.json").read_text())["fitted"]["zero_shot"]
    assert asked["names"] == ["edema", "lung mass"] and rows[0]["options"] == list(names)
    test = [pictures / one["id"] for one in rows]
    model, others = (
        load_model("maco", one, device="cpu") for one in (files["maco"], published("maco", tmp_path / "other", True))
    )
    likely = model.classify(test, names)
    assert np.allclose(road.scores(rows), likely / likely.sum(1, keepdims=True), atol=1e-5)
    road.assert_moved(likely, others.classify(test, names))


def test_what_does_not_go_together_is_named(files: dict[str, Path]) -> None:
    model = small("medclip", files["medclip"])
    picture = both.pictures()[:1]
    for templates, why in (
        ({"a": ["x"]}, "'b' has no list"),
        ({"a": ["x"], "b": "y"}, "'b' has no list"),
        ("a", "no place"),
    ):
        with pytest.raises(RunError, match=why):
            model.classify(picture, ["a", "b"], templates)
    narrow = {k: v for k, v in weights("maco").items() if not k.startswith("img_mlp")}
    wide = small("maco", {**narrow, **recipe({"img_mlp.weight": [20, 32], "img_mlp.bias": [20]})})
    wide._texts = lambda texts: np.zeros((len(texts), 48), np.float32)  # type: ignore[method-assign]
    with pytest.raises(CheckpointError, match="texts 48 numbers and pictures 20"):
        wide.classify(picture, ["a"])
    with pytest.raises(CheckpointError, match=r"no key names of such a pair|tensors of"):
        load_model("cxr-clip", {"model": {"cls_token": torch.zeros(1, 1, 8)}}, device="cpu")

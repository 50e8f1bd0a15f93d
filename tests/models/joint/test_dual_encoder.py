"""Pairs of towers: published keys load strictly at full size, vectors and zero-shot scores are the references', and the traps show."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import transformers

from healthfm import CapabilityError, CheckpointError, RunError, load_model
from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard, Runner, ZeroShot
from healthfm.models.files import checkpoint
from healthfm.models.joint import clip_keys, pair
from healthfm.models.joint.dual_encoder import DualEncoder, DualEncoderModel, Ensemble
from tests.models import road
from tests.models.joint.near import LIMIT, PROBE, distance
from tests.models.vision.test_vision_road import class_folders
from tests.models.vision.towers import DATA, recipe
from tests.references import dual_encoders as reference

ROWS = ("plip", "quiltnet", "pathasst", "chexzero", "pubmedclip")


@functools.cache
def expected(name: str) -> dict[str, Any]:
    return dict(json.loads((DATA / "expected" / f"{name}.pair.json").read_text()))


@functools.cache
def manifest(name: str) -> dict[str, dict[str, list[int]]]:
    return dict(json.loads(gzip.decompress((DATA / "manifests" / f"{name}.pair.json.gz").read_bytes()))["variants"])


def openai(name: str = "open-clip") -> dict[str, torch.Tensor]:
    """A reference's small weights, under OpenAI's names; their scale is exp(3)."""
    return {**filled(name), "logit_scale": torch.tensor(3.0)}


@functools.cache
def filled(name: str) -> dict[str, torch.Tensor]:
    return recipe(expected(name)["shapes"])


def hub() -> dict[str, torch.Tensor]:
    """The same weights under the names that transformers' files have."""
    fronts = {ours: theirs for theirs, ours in clip_keys.FRONTS.items()}
    found = {}
    for key, value in clip_keys.openai(openai()).items():
        front = next((one for one in fronts if key.startswith(one)), "")
        found[fronts.get(front, "") + key.removeprefix(front)] = value
    return found | {"text_model.embeddings.position_ids": torch.arange(8)[None]}


HEADS = {"image": {"num_heads": 2}, "text": {"num_heads": 2}}


def small(slug: str, weights: Any = None, **config: Any) -> DualEncoderModel:
    heads = {part: {**numbers, **config.pop(part, {})} for part, numbers in HEADS.items()}
    given = openai("chexzero" if slug == "chexzero" else "open-clip") if weights is None else weights
    if slug == "chexzero":
        heads = {part: {**numbers, "num_heads": 1 if part == "image" else 2} for part, numbers in heads.items()}
    model = load_model(slug, given, config={**heads, **config}, device="cpu")
    assert isinstance(model, DualEncoderModel)
    return model


def ticks(tick: str, rows: tuple[str, ...] = ROWS) -> list[Any]:
    return [pytest.param(slug, marks=pytest.mark.evidence(slug, tick)) for slug in rows]


def run_of(slug: str) -> dict[str, Any]:
    """The reference's numbers with the row's activation."""
    return dict(expected("open-clip")["runs"]["gelu" if slug.startswith(("quiltnet", "pathgen")) else "quick-gelu"])


# Keys -------------------------------------------------------------------------------------------------------------------


def fits(slug: str, shapes: Mapping[str, list[int]]) -> int:
    """Load a manifest strictly into the row's full-size network, without memory; return how many numbers it has."""
    _, network = whole(slug)
    with torch.device("meta"):
        checkpoint.load_strict(
            network, clip_keys.own_names({k: torch.empty(s, device="meta") for k, s in shapes.items()})
        )
    return sum(one.numel() for one in network.parameters())


@functools.cache
def whole(name: str) -> tuple[Runner, DualEncoder]:
    """A row's [run] and its full-size network without memory."""
    card = catalog.card(name, "model")
    assert isinstance(card, ModelCard)
    run = pair.settings(card, name.partition(":")[2] or None, {}, {})
    with torch.device("meta"):
        return run, pair.build(run)


@pytest.mark.parametrize("slug", ticks("keys"))
def test_the_references_keys_load_strictly_at_full_size(slug: str) -> None:
    small_patch, large_patch = (manifest("open-clip")[name] for name in ("ViT-B-16", "ViT-B-32"))
    card = catalog.card(slug, "model")
    assert isinstance(card, ModelCard)
    if slug == "plip":
        assert fits(slug, manifest("hub-clip")["only"]) == card.parameters
    elif slug == "quiltnet":
        assert fits("quiltnet:b-32", large_patch) == card.variants["b-32"].parameters
        assert fits("quiltnet:b-16", small_patch) == card.variants["b-16"].parameters
    elif slug == "pathasst":
        assert fits(slug, small_patch) == card.variants["pathclip"].parameters
    elif slug == "chexzero":
        assert fits(slug, manifest("chexzero")["only"]) == card.parameters
    else:
        assert (
            fits(slug, large_patch) == fits(slug, manifest("hub-clip")["only"]) == card.variants["vit-b-32"].parameters
        )
    with pytest.raises(CheckpointError, match=r"wrong shapes|missing"):
        fits(slug, large_patch if slug == "pathasst" else small_patch)


@pytest.mark.evidence("pathgen-clip", "keys")
@pytest.mark.evidence("clip", "keys")
def test_openais_three_sizes_load_strictly() -> None:
    card = catalog.card("clip", "model")
    assert isinstance(card, ModelCard)
    for name, shapes in manifest("open-clip").items():
        variant = name.removeprefix("ViT-").lower()
        assert fits(f"clip:{variant}", shapes) == card.variants[variant].parameters
        if variant != "b-32":
            assert fits(f"pathgen-clip:{variant}", shapes) == card.variants[variant].parameters


# Network and output -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "slug", ticks("network", ("clip", "plip", "quiltnet", "pathasst", "pubmedclip", "pathgen-clip"))
)
def test_both_towers_are_open_clips_and_the_other_activation_is_not(slug: str) -> None:
    theirs = run_of(slug)
    other = "quick-gelu" if slug in ("quiltnet", "pathgen-clip") else "gelu"
    for weights in (openai(), hub()) if slug in ("clip", "plip", "pubmedclip") else (openai(),):
        model, wrong = small(slug, weights), small(slug, weights, activation=other)
        x, ids = {"pixels": reference.pixels()}, reference.ids()
        assert distance(model.forward(x)["image_embedding"], theirs["image"]) <= LIMIT
        assert distance(model.embed_tokens(ids), theirs["text"]) <= LIMIT
        assert distance(model.forward({"token_ids": ids})["text_embedding"], theirs["text"]) <= LIMIT
        assert distance(wrong.forward(x)["image_embedding"], theirs["image"]) > LIMIT
        assert distance(wrong.embed_tokens(ids), theirs["text"]) > LIMIT


@pytest.mark.evidence("chexzero", "network")
@pytest.mark.evidence("chexzero", "output")
def test_chexzero_from_pictures_to_probabilities_is_the_owners(tmp_path: Path) -> None:
    facts = expected("chexzero")
    for seed in range(3):
        tensors = {k: v * (1 + 0.2 * seed) if v.ndim > 1 else v for k, v in openai("chexzero").items()}
        torch.save(tensors, tmp_path / f"best_64_{seed}_0.86.pt")
    files = sorted(tmp_path.iterdir())
    model, pictures = small("chexzero", files[0]), reference.pictures()
    assert distance(model.preprocess(pictures)["pixels"][:, :, ::7, ::7], facts["transform"]) <= LIMIT
    assert distance(model.embed(pictures), facts["image"]) <= LIMIT
    assert distance(model.embed_tokens(reference.ids()), facts["text"]) <= LIMIT
    whole = load_model("chexzero", tmp_path, config={"image": {"num_heads": 1}, "text": {"num_heads": 2}}, device="cpu")
    assert isinstance(whole, Ensemble) and len(whole.members) == 3
    assert whole.capabilities == {"preprocess", "classify"} and whole.provenance["files"] == [one.name for one in files]
    for one in (model, *whole.members):
        told(one, {"a": 0, "no a": 1, "b": 2, "no b": 3})
    for one, theirs in zip(whole.members, facts["probabilities"], strict=True):
        assert distance(one.classify(pictures, ["a", "b"]), theirs) <= LIMIT
    assert distance(whole.classify(pictures, ["a", "b"]), facts["ensemble"]) <= LIMIT
    odds = whole.classify(pictures, ["a", "b"], logits=True)
    assert distance(1 / (1 + np.exp(-odds)), facts["ensemble"]) <= LIMIT


def told(model: DualEncoderModel, rows: Mapping[str, int]) -> None:
    """Let a model without tokenizer files read the reference's sentences by its ids."""
    known = {text: reference.TEXTS[i] for text, i in rows.items()}
    model._texts = lambda texts: model.embed_tokens([known[text] for text in texts])  # type: ignore[method-assign]


def test_chexzeros_pictures_normalised_from_0_to_1_or_filtered_are_others() -> None:
    """The traps: CLIP's own 0 to 1; a resize that filters; the longer side cut instead of fitted."""
    facts = expected("chexzero")
    rule = small("chexzero").transform
    assert rule is not None
    plain = rule.model_dump()
    for change in ({"scale": 255.0}, {"interpolation": "bicubic"}, {"fit": None, "pad": "square"}, {"grey": False}):
        model = small("chexzero", image={"transform": {**plain, **change}})
        assert distance(model.preprocess(reference.pictures())["pixels"][:, :, ::7, ::7], facts["transform"]) > LIMIT, (
            change
        )


@pytest.mark.parametrize(
    "slug", ticks("output", ("clip", "plip", "quiltnet", "pathasst", "pubmedclip", "pathgen-clip"))
)
def test_pictures_and_zero_shot_scores_are_open_clips(slug: str) -> None:
    model, theirs = small(slug), run_of(slug)
    found = model.preprocess(reference.pictures())["pixels"]
    assert distance(found[:, :, ::7, ::7], expected("open-clip")["transform"]) <= LIMIT
    told(model, {"one a": 0, "a two": 1, "one b": 2, "b two": 3})
    model.transform = None  # the reference's pixels
    ready = list(reference.pixels().numpy())
    assert distance(model.classify(ready, ["a", "b"], ("one {}", "{} two")), theirs["probabilities"]) <= LIMIT
    logits = model.classify(ready, ["a", "b"], ("one {}", "{} two"), logits=True)
    assert np.allclose(
        np.exp(logits) / np.exp(logits).sum(1, keepdims=True), np.reshape(theirs["probabilities"], (3, 2)), atol=1e-6
    )
    model.network.logit_scale.data.zero_()
    assert distance(model.classify(ready, ["a", "b"], ("one {}", "{} two")), theirs["probabilities"]) > LIMIT


def test_vectors_do_not_depend_on_the_batch_or_the_padding() -> None:
    model, ids = small("plip"), reference.ids()
    alone = np.concatenate([model.embed_tokens(ids[i : i + 1, : ids[i].argmax() + 1]) for i in range(4)])
    ragged = model.embed_tokens([ids[i, : ids[i].argmax() + 1].tolist() for i in range(4)])
    masked = model.embed_tokens(ids, (torch.arange(8) <= ids.argmax(1, keepdim=True)).long())
    for found in (alone, ragged, masked):
        assert np.abs(found - model.embed_tokens(ids)).max() <= 1e-6
    x = reference.pixels()
    one = np.concatenate([model.forward({"pixels": x[i : i + 1]})["image_embedding"] for i in range(3)])
    assert np.abs(one - model.forward({"pixels": x})["image_embedding"]).max() <= 1e-6


def test_texts_that_begin_the_same_have_the_vectors_of_transformers_own_layers() -> None:
    model, end = small("plip"), reference.ids().max()
    network = model.network.text
    ids = [
        [1, 5, end],
        [1, 5, 9, 7, end],
        [1, 5, 9, end],
        [1, 6, 9, 7, end],
        [1, 5, end],
        [2, 9, 7, end],
        [3, 9, 7, end],
        [1, 6, 9, 7, 7, end],
    ]
    made = [np.array(one) for one in ids]
    found = model.embed_prepared(made)
    hidden = torch.tensor([[1, 5, 9, end]]), torch.tensor([[1, 0, 1, 1]])
    with torch.inference_mode():
        for one, vector in zip(made, found, strict=True):
            state = transformers.CLIPTextModel.forward(network.tower, torch.from_numpy(one)[None]).pooler_output
            assert np.abs(network.joint(state)[0].numpy() - vector).max() <= 1e-6
        state = transformers.CLIPTextModel.forward(network.tower, *hidden).pooler_output
        assert np.abs(network.joint(state).numpy() - model.embed_tokens(*hidden)).max() <= 1e-6
    x = reference.pixels()
    plain = model.forward({"pixels": x})["image_embedding"]
    assert np.abs(plain - model.embed_prepared(list(x.numpy()))).max() <= 1e-6
    inner = network.tower.encoder.layers[-1].self_attn.register_forward_hook(lambda _, given, out: (0 * out[0], None))
    assert np.abs(model.embed_prepared(made) - found).max() > 1e-3  # a function of the caller's inside is called
    inner.remove()


def with_tokens(folder: Path) -> dict[str, torch.Tensor]:
    """Write OpenAI's file of merges; return the small weights with a row for each of its tokens."""
    reference.merges_file(folder / "bpe_simple_vocab_16e6.txt.gz")
    count = 512 + len(reference.MERGES) + 2
    return {**openai(), **recipe({"token_embedding.weight": [count, 64]})}


def test_strings_become_openais_tokens_and_long_ones_are_cut_and_counted(tmp_path: Path) -> None:
    torch.save(with_tokens(tmp_path), tmp_path / "weights.pt")
    model = small("pathasst", tmp_path / "weights.pt")
    ids, texts = expected("clip-tokens")["ids"], reference.SENTENCES
    assert [model.tokenizer(one)["input_ids"] for one in texts] == ids  # type: ignore[misc]
    cut = [one if len(one) <= 8 else [*one[:7], one[-1]] for one in ids]
    assert np.abs(model.embed(list(texts)) - model.embed_tokens(cut)).max() <= 1e-6
    assert model.provenance["texts_cut"] == sum(len(one) > 8 for one in ids) > 0
    assert [model.prepare(one).cut for one in texts] == [len(one) > 8 for one in ids]
    pictures = reference.pictures()
    by_hand = model.embed(pictures) @ model.embed(["An image of heart", "An image of lung"]).T
    assert np.allclose(model.classify(pictures, ["heart", "lung"], logits=True), np.exp(3) * by_hand, atol=1e-5)
    soft = model.classify(pictures, ["heart", "lung"])
    assert soft.dtype == np.float32 and np.allclose(soft.sum(1), 1) and soft.shape == (3, 2)


def test_a_file_that_is_no_list_of_merges_is_refused(tmp_path: Path) -> None:
    torch.save(openai(), tmp_path / "weights.pt")
    (tmp_path / "bpe_simple_vocab_16e6.txt.gz").write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="CLIP's list of merges"):
        small("pathasst", tmp_path / "weights.pt")


# The whole road ---------------------------------------------------------------------------------------------------------

STATED = {"model_type": "clip", **{f"{side}_config": {"num_attention_heads": 2} for side in ("vision", "text")}}
OPEN_CLIP = {"model_cfg": {"vision_cfg": {"width": 64, "head_width": 32}, "text_cfg": {"heads": 2}}}


def published(slug: str, folder: Path) -> Path:
    """The small network in the row's published file; what tensors cannot show beside it, as each hub has it."""
    folder.mkdir()
    name, content = {
        "clip": ("pytorch_model.bin", hub()),
        "plip": ("pytorch_model.bin", hub()), "quiltnet": ("open_clip_pytorch_model.bin", openai()),
        "pathgen-clip": ("pathgenclip.pt", openai()), "pathasst": ("pathclip-base.pt", {"epoch": 1, "state_dict": {f"module.{k}": v for k, v in openai().items()}}),
        "chexzero": ("best_64_5e-05_original_22000_0.864.pt", openai("chexzero")),
        "pubmedclip": ("PubMedCLIP_ViT32.pth", {"epoch": 1, "state_dict": openai(), "optimizer": {"state": {}}}),
    }[slug]  # fmt: skip
    torch.save(content, folder / name)
    if slug in ("quiltnet", "pathgen-clip"):
        (folder / "open_clip_config.json").write_text(json.dumps(OPEN_CLIP))
    elif slug != "chexzero":
        (folder / "config.json").write_text(json.dumps(STATED))
    return folder


def disturbed(folder: Path) -> Path:
    for path in folder.iterdir():
        if path.suffix != ".json":
            torch.save(road.other(torch.load(path, weights_only=True)), path)
    return folder


@pytest.mark.parametrize("slug", ticks("road", ("clip", "pathgen-clip", *ROWS)))
def test_a_linear_probe_on_class_folders_from_published_files_to_a_report(slug: str, tmp_path: Path) -> None:
    weights, pictures = published(slug, tmp_path / "weights"), class_folders(tmp_path / "tiles", 64)
    rows = road.evaluated(tmp_path / "run", slug, pictures, *PROBE, "--weights", weights)
    fit, test = (sorted((pictures / split).rglob("*.*g")) for split in ("train", "test"))
    assert [row["target"] for row in rows] == [path.parent.name for path in test]
    model = load_model(slug, weights, device="cpu")
    if slug == "chexzero":
        assert distance(model.embed(reference.pictures()), expected(slug)["image"]) <= LIMIT
    else:
        assert (
            distance(model.forward({"pixels": reference.pixels()})["image_embedding"], run_of(slug)["image"]) <= LIMIT
        )
    labels = [path.parent.name for path in fit]
    vectors = model.embed(test)
    road.assert_probed(tmp_path / "run", rows, labels, model.embed(fit), vectors)
    others = load_model(slug, disturbed(published(slug, tmp_path / "other")), device="cpu")
    road.assert_moved(vectors, others.embed(test))
    moved = road.probabilities(tmp_path / "run", rows, labels, others.embed(fit), others.embed(test))
    assert not np.allclose(road.scores(rows), moved, rtol=1e-2, atol=0)


# What goes wrong --------------------------------------------------------------------------------------------------------


def test_classes_and_templates_that_do_not_fit_are_refused() -> None:
    pair, soft = small("chexzero"), small("plip")
    for classes, why in (([], "no classes"), (["a", "a"], "'a' is named twice"), (["a", " "], "not empty")):
        with pytest.raises(RunError, match=why):
            soft.classify(reference.pictures(), classes)
    for model, templates, why in (
        (soft, "a picture", "has no place"), (soft, ["a {} {}"], "has no place, or several"), (soft, [], "no templates"),
        (pair, ["{}"], "templates are pairs"), (pair, [("a", "no {}")], "'a' has no place"), (pair, [], "templates are pairs"),
    ):  # fmt: skip
        with pytest.raises(RunError, match=why):
            model.classify(reference.pictures(), ["a", "b"], templates)
    with pytest.raises(CheckpointError, match="no tokenizer beside the weights"):
        soft.classify(reference.pictures(), ["a", "b"])
    with pytest.raises(ValueError, match="no place"):
        ZeroShot(templates=("a",))


def test_checkpoints_of_other_networks_are_named() -> None:
    full = {
        name: {k: torch.empty(s, device="meta") for k, s in shapes.items()}
        for name, shapes in manifest("open-clip").items()
    }
    with pytest.raises(CheckpointError, match=r"sizes of .*quiltnet:b-16.*, not of plip|sizes of .*pathasst:pathclip"):
        load_model("plip", full["ViT-B-16"], device="cpu")
    with pytest.raises(CheckpointError, match="tensors of quiltnet:b-16, not of quiltnet:b-32"):
        load_model("quiltnet:b-32", full["ViT-B-16"], device="cpu")
    with pytest.raises(CheckpointError, match="no key names of CLIP"):
        load_model("plip", {"cls_token": torch.zeros(1, 1, 8)}, device="cpu")
    with pytest.raises(CapabilityError, match="does not read yet"):
        load_model("pathasst:pathasst", openai(), device="cpu")
    with pytest.raises(CheckpointError, match="pubmedclip:rn50"):
        load_model("pubmedclip:rn50", openai(), device="cpu")
    with pytest.raises(CapabilityError, match="reads 8 tokens a text"):
        small("plip").embed_tokens([list(range(9))])
    with pytest.raises(CapabilityError, match="embed_tokens takes token ids; texts go to embed"):
        small("plip").embed_tokens(["a text"])


def test_the_file_beside_the_weights_says_which_gelu(tmp_path: Path) -> None:
    torch.save(openai(), tmp_path / "open_clip_pytorch_model.bin")
    torch.save({}, tmp_path / "other.pth")
    sides = {"vision_cfg": {"width": 64, "head_width": 32}, "text_cfg": {"heads": 2}}
    for quick in (False, True):
        (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {**sides, "quick_gelu": quick}}))
        model = load_model("quiltnet", tmp_path, device="cpu")
        theirs = expected("open-clip")["runs"]["quick-gelu" if quick else "gelu"]
        assert distance(model.forward({"pixels": reference.pixels()})["image_embedding"], theirs["image"]) <= LIMIT


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([1, 2], "a list of whole numbers was expected"),
        ([[1.5, 2.5]], "a list of whole numbers was expected"),
        (np.ones((1, 2, 2), int), "a list of whole numbers was expected"),
        ([[1, 2], []], "has no token ids"),
        ([[1, 200]], "none of its vocabulary's 200"),
        ([[1, -1]], "none of its vocabulary's 200"),
    ],
)
def test_what_are_no_token_ids_is_named_before_the_network_meets_it(ids: Any, said: str) -> None:
    with pytest.raises(CapabilityError, match=said):
        small("plip").embed_tokens(ids)


@pytest.mark.parametrize("mask", [[1, 1], [[1]], [["a", "b"]], [[1, 7]], [[0, 0]]])
def test_what_is_no_mask_is_named(mask: Any) -> None:
    model = small("plip")
    with pytest.raises(CapabilityError, match="attention_mask"):
        model.embed_tokens([[1, 2]], mask)
    same = [model.embed_tokens([[1, 2]], one) for one in ([[True, True]], np.ones((1, 2)), torch.ones(1, 2))]
    assert all(np.array_equal(one, same[0]) for one in same)


@pytest.mark.parametrize("slug", ["plip", "chexzero"])
@pytest.mark.parametrize("templates", [5, [5], {"a": [3], "b": [4]}, {"a": ["{}"], "b": 7}, {"a": "text", "b": "text"}])
def test_templates_of_another_form_are_named(slug: str, templates: Any) -> None:
    with pytest.raises(RunError, match=r"template|list of sentences"):
        small(slug).classify([np.zeros((8, 8, 3), np.uint8)], ["a", "b"], templates)


def test_one_picture_where_a_list_is_expected_is_named_and_a_stack_is_a_list() -> None:
    model = small("plip")
    with pytest.raises(RunError, match="takes a list of items"):
        list(model._pictures_of(PIL.Image.new("RGB", (8, 8))))  # type: ignore[arg-type]
    stack = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    assert np.array_equal(model._pictures_of(stack), model._pictures_of(list(stack)))  # type: ignore[arg-type]

"""Pairs of any two towers: BiomedCLIP, CONCH, MI-Zero, PMC-CLIP and CLIP's ResNet are their owners' code, and the traps show."""

from __future__ import annotations

import functools
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from healthfm import CapabilityError, CheckpointError, RunError, load_model
from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard
from healthfm.models.files import checkpoint
from healthfm.models.joint import pair
from healthfm.models.joint.dual_encoder import DualEncoderModel
from tests.models import road
from tests.models.joint.near import LIMIT, PROBE, distance, disturbed
from tests.models.joint.test_dual_encoder import expected, manifest, whole
from tests.models.vision.test_vision_road import class_folders
from tests.models.vision.towers import recipe
from tests.references import dual_encoders as clip_reference
from tests.references import paired_towers as reference
from tests.references.recipe_weights import recipe_image

ROWS = ("biomedclip", "conch", "mi-zero", "pmc-clip", "keep")
HEADS: dict[str, dict[str, Any]] = {  # what the small networks' tensors cannot show
    "biomedclip": {"image": {"num_heads": 2}, "text": {"num_attention_heads": 2}},
    "conch": {"image": {"num_heads": 2}, "text": {"num_heads": 2}},
    "mi-zero": {"image": {}, "text": {"num_attention_heads": 2}},
    "pmc-clip": {"image": {}, "text": {"num_attention_heads": 2}},
    "keep": {"image": {"num_heads": 2}, "text": {"num_attention_heads": 2}},
}


def ticks(tick: str, rows: tuple[str, ...] = ROWS) -> list[Any]:
    return [pytest.param(slug, marks=pytest.mark.evidence(slug, tick)) for slug in rows]


@functools.cache
def tensors(slug: str) -> dict[str, torch.Tensor]:
    """The reference's small weights under the owners' names; the scale is exp(3)."""
    return {**recipe(expected(slug)["shapes"]), "logit_scale": torch.tensor(3.0)}


def small(slug: str, weights: Any = None, **config: Any) -> DualEncoderModel:
    given = {part: {**numbers, **config.pop(part, {})} for part, numbers in HEADS[slug].items()}
    if slug == "mi-zero" and "transform" not in given["image"]:
        given["image"]["transform"] = {**rule(slug), "pad_least": 140}
    model = load_model(slug, weights or dict(tensors(slug)), config={**given, **config}, device="cpu")
    assert isinstance(model, DualEncoderModel)
    return model


def rule(slug: str) -> dict[str, Any]:
    card = catalog.card(slug, "model")
    assert isinstance(card, ModelCard) and card.run is not None
    transform = card.run.parts["image"].transform
    assert transform is not None
    return transform.model_dump()


def pixels(slug: str) -> torch.Tensor:
    if slug != "mi-zero":
        return reference.pixels()
    seen = np.stack([recipe_image(f"network {i}", 112, 112) for i in range(3)])
    return torch.from_numpy(seen).permute(0, 3, 1, 2).float() / 127.5 - 1


# Keys -------------------------------------------------------------------------------------------------------------------


def fits(name: str, shapes: Mapping[str, list[int]]) -> int:
    """Load a manifest strictly into a row's full-size network, without memory; return how many numbers that has."""
    run, network = whole(name)
    with torch.device("meta"):
        full = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
        checkpoint.load_strict(network, pair.own_names(full, run))
    return sum(one.numel() for one in network.parameters())


@pytest.mark.parametrize("slug", ticks("keys"))
def test_the_owners_keys_load_strictly_at_full_size(slug: str) -> None:
    card, shapes = catalog.card(slug, "model"), manifest(slug)["only"]
    assert isinstance(card, ModelCard)
    assert fits(slug, shapes) == card.parameters
    if slug == "conch":  # the release leaves the decoder out
        assert fits(slug, {k: v for k, v in shapes.items() if not k.startswith("text_decoder.")}) == card.parameters
    if slug == "keep":  # as transformers saves it
        assert fits(slug, {k.replace(".gamma", ".weight"): v for k, v in shapes.items()}) == card.parameters
    if slug == "mi-zero":  # one network, whatever the variant is called
        assert fits("mi-zero:pubmedbert", shapes) == card.parameters
    lost = next(
        key for key in shapes if key.endswith("0.attn.qkv.bias") or "query.bias" in key or ".in_proj_bias" in key
    )
    with pytest.raises(CheckpointError, match="missing"):
        fits(slug, {key: value for key, value in shapes.items() if key != lost})
    with pytest.raises(CheckpointError, match="unexpected"):
        fits(slug, {**shapes, "visual.strange": [1]})


# Network ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", ticks("network"))
def test_both_towers_are_the_owners(slug: str) -> None:
    model, theirs = small(slug), expected(slug)
    out = model.forward({"pixels": pixels(slug)})
    assert distance(out["image_embedding"], theirs["image"]) <= LIMIT
    assert distance(model.embed_tokens(reference.ids()), theirs["text"]) <= LIMIT
    assert distance(model.forward({"token_ids": reference.ids()})["text_embedding"], theirs["text"]) <= LIMIT
    assert out["tokens"].shape[:2] == (
        3,
        {"biomedclip": 17, "conch": 17, "mi-zero": 196, "pmc-clip": 4, "keep": 17}[slug],
    )
    alone = [model.forward({"pixels": pixels(slug)[i : i + 1]})["image_embedding"] for i in (2, 1, 0)]
    assert np.abs(np.concatenate(alone[::-1]) - out["image_embedding"]).max() <= 1e-6
    assert model.embed_tokens([]).shape == (0, out["image_embedding"].shape[1])
    with pytest.raises(CapabilityError, match="attention_mask has not the shape"):
        model.embed_tokens(reference.ids(), [[1, 1]] * 4)
    if slug == "conch":
        assert distance(out["pooled"], theirs["pooled"]) <= LIMIT
        given = torch.nn.functional.pad(reference.ids(), (0, 1))  # as the owners' tokenizer leaves the last place free
        assert distance(model.embed_tokens(given), theirs["text"]) <= LIMIT


def test_what_of_the_padding_is_seen_is_as_each_row_was_trained() -> None:
    """The traps: PMC-CLIP sees all padding, MI-Zero and BiomedCLIP none, CONCH its first place and where the text ends."""
    ids = reference.ids()
    for slug in ("biomedclip", "mi-zero"):
        model = small(slug)
        alone = np.concatenate([model.embed_tokens([[i for i in row if i]]) for row in ids.tolist()])
        assert distance(alone, expected(slug)["text"]) <= LIMIT
    everything = small("mi-zero").embed_tokens(ids, torch.ones_like(ids))
    assert distance(everything, expected("mi-zero")["unmasked"]) <= LIMIT
    assert distance(everything, expected("mi-zero")["text"]) > LIMIT
    pmc = small("pmc-clip")
    assert distance(pmc.embed_tokens(ids, ids != 0), expected("pmc-clip")["text"]) <= LIMIT  # the owners pass no mask
    tokenizer = {"length": 77, "padded": True, "lower_case": True}
    masked = small("pmc-clip", text={"tokenizer": tokenizer}).embed_tokens(ids)
    assert distance(masked, expected("pmc-clip")["text"]) > LIMIT
    conch = small("conch")
    alone = [[i for i in row if i] for row in ids.tolist()]
    whole = conch.embed_tokens(ids)
    assert distance(whole, expected("conch")["text"]) <= LIMIT
    for given in (ids[1:2, :5], alone[1:2]):  # of whatever length: filled up, as the owners' tokenizer does
        assert distance(conch.embed_tokens(given), whole[1:2]) <= LIMIT
        assert distance(conch.embed_tokens(given), expected("conch")["short"]) > LIMIT  # what their network alone gives
    assert distance(conch.embed_tokens(alone), expected("conch")["text"]) <= LIMIT


def test_a_tower_that_is_pooled_or_activated_otherwise_is_another() -> None:
    for slug, config, side in (
        ("biomedclip", {"text": {"pooling": "last"}}, "text"), ("keep", {"text": {"pooling": "cls"}}, "text"), ("biomedclip", {"text": {"layer_norm_eps": 1e-3}}, "text"),
        ("biomedclip", {"image": {"pooling": "mean"}}, "image"), ("mi-zero", {"image": {"shift_last": True, "window_size": 7}}, ""),
        ("conch", {"image": {"query_heads": 4}}, "image"), ("conch", {"image": {"norm_eps": 1e-2}}, "image"),
        ("pmc-clip", {"image": {"num_heads": 4}}, "image"), ("pmc-clip", {"text": {"pooling": "last"}}, "text"),
    ):  # fmt: skip
        model = small(slug, **{part: dict(numbers) for part, numbers in config.items()})
        if side == "image":
            assert distance(model.forward({"pixels": pixels(slug)})["image_embedding"], expected(slug)["image"]) > LIMIT
        elif side:
            assert distance(model.embed_tokens(reference.ids()), expected(slug)["text"]) > LIMIT


def test_clips_resnet_is_open_clips(tmp_path: Path) -> None:
    shapes = expected("clip-resnet")["shapes"]
    weights = {**recipe(shapes), "logit_scale": torch.tensor(3.0)}
    given = {"image": {"num_heads": 8}, "text": {"num_heads": 2}}
    model = load_model("pubmedclip:rn50", weights, config=given, device="cpu")
    assert isinstance(model, DualEncoderModel)
    theirs = expected("clip-resnet")
    assert distance(model.forward({"pixels": reference.pixels()})["image_embedding"], theirs["image"]) <= LIMIT
    assert distance(model.embed_tokens(clip_reference.ids()), theirs["text"]) <= LIMIT
    torch.save(weights, tmp_path / "open_clip_pytorch_model.bin")
    sides = {"vision_cfg": {"layers": [1, 2, 1, 1], "width": 16, "image_size": 64}, "text_cfg": {"heads": 2}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {**sides, "quick_gelu": True}}))
    told = load_model("pubmedclip:rn50", tmp_path, device="cpu")
    assert distance(told.forward({"pixels": reference.pixels()})["image_embedding"], theirs["image"]) <= LIMIT
    assert distance(told.forward({"token_ids": clip_reference.ids()})["text_embedding"], theirs["text"]) <= LIMIT
    for name in ("RN50", "RN50x4"):
        card = catalog.card("pubmedclip", "model")
        assert isinstance(card, ModelCard)
        assert (
            fits(f"pubmedclip:{name.lower()}", manifest("clip-resnet")[name]) == card.variants[name.lower()].parameters
        )


# Output and input -------------------------------------------------------------------------------------------------------


def told(model: DualEncoderModel, rows: Mapping[str, int]) -> None:
    """Let a model without tokenizer files read the reference's sentences by its ids."""
    known = {text: reference.TEXTS[i] for text, i in rows.items()}
    model._texts = lambda texts: model.embed_tokens([known[text] for text in texts])  # type: ignore[method-assign]


@pytest.mark.parametrize("slug", ticks("output"))
def test_zero_shot_scores_are_the_owners(slug: str) -> None:
    model, theirs = small(slug), expected(slug)
    told(model, {"one a": 0, "a two": 1, "one b": 2, "b two": 3})
    model.transform = None  # the reference's pixels
    ready, sentences = list(pixels(slug).numpy()), ("one {}", "{} two")
    if slug != "mi-zero":
        assert distance(model.classify(ready, ["a", "b"], sentences), theirs["probabilities"]) <= LIMIT
        return
    likeness = np.reshape(theirs["image"], (3, -1)) @ np.reshape(theirs["classes"], (2, -1)).T
    assert distance(model.classify(ready, ["a", "b"], sentences, logits=True), np.exp(3) * likeness) <= LIMIT
    for top, want in ((2, theirs["top"]), (50, likeness.mean(0)), (1, likeness.max(0))):
        model.rule = model.rule.model_copy(update={"top": top})
        slide = model.classify([ready], ["a", "b"], sentences, logits=True)  # one item, three tiles
        assert slide.shape == (1, 2) and distance(slide, np.exp(3) * np.asarray(want)) <= LIMIT
    with pytest.raises(RunError, match="no pictures"):
        model.classify([[]], ["a", "b"], sentences)
    assert small(slug, zero_shot={"templates": sentences, "top": 5}).rule.top == 5


def pixels_go_in(slug: str, model: DualEncoderModel) -> None:
    """The card's transform is the owners', and one that pads, resizes or normalises otherwise is not."""
    pictures, theirs = clip_reference.pictures(), expected(slug)["transform"]

    def made(one: DualEncoderModel) -> np.ndarray:
        return np.stack([one.preprocess([picture])["pixels"][0].numpy()[:, ::7, ::7] for picture in pictures])

    assert distance(made(model), theirs) <= LIMIT
    plain = model.transform
    assert plain is not None
    wrong: dict[str, Any] = {"fill": (255, 255, 255)} if slug == "mi-zero" else {"interpolation": "bilinear"}
    for change in (wrong, {"mean": (0.45, 0.45, 0.45), "std": (0.45, 0.45, 0.45)}):
        model.transform = plain.model_copy(update=change)
        assert distance(made(model), theirs) > LIMIT, change
    model.transform = plain


def with_words(slug: str, folder: Path) -> dict[str, torch.Tensor]:
    """Write a vocabulary beside the weights; return these with a row for each of its pieces."""
    (folder / "vocab.txt").write_text("\n".join(reference.WORDS) + "\n", encoding="utf-8")
    return dict(tensors(slug))


@pytest.mark.parametrize("slug", ticks("input", ("biomedclip", "mi-zero", "pmc-clip", "keep")))
def test_strings_become_berts_tokens_cut_and_filled_as_the_owners_do(slug: str, tmp_path: Path) -> None:
    import transformers

    torch.save(with_words(slug, tmp_path), tmp_path / "weights.pt")
    model = small(slug, tmp_path / "weights.pt")
    pixels_go_in(slug, model)
    words = {piece: i for i, piece in enumerate(reference.WORDS)}
    theirs = transformers.BertTokenizer(vocab=words, do_lower_case=True)
    texts = list(reference.SENTENCES)
    long = 32  # places of the small network
    full = theirs(texts, padding="max_length", truncation=True, max_length=long, return_tensors="pt")
    mask = None if slug == "pmc-clip" else full["attention_mask"]
    assert np.abs(model.embed(texts) - model.embed_tokens(full["input_ids"], mask)).max() <= 1e-6
    assert model.provenance["texts_cut"] == 1
    assert [len(model.prepare(one).inputs[0]) for one in texts[:2]] == (
        [long, long] if slug == "pmc-clip" else [int(row.sum()) for row in full["attention_mask"][:2]]
    )
    one_by_one = np.concatenate([model.embed([one]) for one in texts])
    assert np.abs(one_by_one - model.embed(texts)).max() <= 1e-6
    assert (
        np.abs(model.embed_prepared([model.prepare(one).inputs[0] for one in texts]) - model.embed(texts)).max() <= 1e-6
    )
    conch = catalog.card("conch", "model")
    assert isinstance(conch, ModelCard) and conch.run is not None and conch.run.zero_shot is not None
    asked = [one.format("pneumonia of the lungs") for one in conch.run.zero_shot.templates]  # 22
    filled = "max_length" if slug == "pmc-clip" else False
    wanted = [theirs(one, padding=filled, max_length=long, truncation=True)["input_ids"] for one in asked]
    assert [model.prepare(one).inputs[0].tolist() for one in asked] == wanted
    wide, plain = (model.prepare(one).inputs[0].tolist() for one in ("\uff41\uff4e image", "an image"))
    assert (wide == plain) is (slug == "biomedclip")  # only open_clip makes texts plain


@pytest.mark.evidence("conch", "input")
def test_strings_become_conchs_tokens_and_leave_its_own_place_free(tmp_path: Path) -> None:
    theirs = expected("conch")["tokens"]
    sizes = {"text.token_embedding.weight": [320, 64], "text.positional_embedding": [128, 64]}
    reference.byte_pairs(tmp_path / "conch_byte_level_bpe_uncased.json")
    torch.save({**tensors("conch"), **recipe(sizes)}, tmp_path / "weights.pt")
    model = small("conch", tmp_path / "weights.pt")
    pixels_go_in("conch", model)
    texts = list(reference.SENTENCES)
    assert [[*model.prepare(one).inputs[0].tolist(), 0] for one in texts] == theirs
    assert np.abs(model.embed(texts) - model.embed_tokens(theirs)).max() <= 1e-6
    prepared = model.embed_prepared([model.prepare(one).inputs[0] for one in texts])
    assert np.abs(prepared - model.embed(texts)).max() <= 1e-6
    with pytest.raises(RunError, match="the last place is the network's own: 127 are read"):
        model.embed_tokens([[*theirs[0][:-1], 5]])
    long = model.prepare("lung " * 200)
    ids = long.inputs[0].tolist()
    assert long.cut and len(ids) == 127 and (ids[0], ids[-1]) == (1, 2)


def test_a_file_of_another_pair_is_named() -> None:
    def full(name: str, which: str = "only") -> dict[str, torch.Tensor]:
        return {key: torch.empty(shape, device="meta") for key, shape in manifest(name)[which].items()}

    for asked, given, why in (
        ("pmc-clip", full("conch"), "the sizes of conch, not of pmc-clip"),
        ("plip", full("biomedclip"), "the sizes of biomedclip or quiltnet:b-16-pmb, not of plip"),
        ("biomedclip", full("mi-zero"), "the sizes of mi-zero:bioclinicalbert or mi-zero:pubmedbert, not of biomedclip"),
        ("conch", full("clip-resnet", "RN50x4"), "the sizes of pubmedclip:rn50x4, not of conch"),
        ("pubmedclip:rn50", full("clip-resnet", "RN50x4"), "tensors of pubmedclip:rn50x4, not of pubmedclip:rn50"),
        ("keep", {"cls_token": torch.zeros(1, 1, 8)}, "no key names of such a pair"),
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match=why):
            load_model(asked, given, device="cpu")


def test_a_vocabulary_larger_than_the_network_is_anothers(tmp_path: Path) -> None:
    torch.save(dict(tensors("mi-zero")), tmp_path / "weights.pt")
    (tmp_path / "vocab.txt").write_text("\n".join([*reference.WORDS, *(f"w{i}" for i in range(200))]), encoding="utf-8")
    with pytest.raises(CheckpointError, match="another model's"):
        small("mi-zero", tmp_path / "weights.pt")


# The whole road ---------------------------------------------------------------------------------------------------------


def published(slug: str, folder: Path) -> Path:
    """The small network in the row's published file, its tokenizer beside it."""
    folder.mkdir()
    own = dict(tensors(slug))
    if slug == "conch":
        own |= recipe({"text.token_embedding.weight": [320, 64], "text.positional_embedding": [128, 64]})
        reference.byte_pairs(folder / "conch_byte_level_bpe_uncased.json")
    else:
        (folder / "vocab.txt").write_text("\n".join(reference.WORDS) + "\n", encoding="utf-8")
    name, content = {
        "biomedclip": ("open_clip_pytorch_model.bin", own), "conch": ("pytorch_model.bin", own), "keep": ("pytorch_model.bin", own),
        "mi-zero": ("epoch_50.pt", {"epoch": 50, "state_dict": {f"module.{k}": v for k, v in own.items()}}),
        "pmc-clip": ("checkpoint.pt", {"epoch": 1, "state_dict": {f"module.{k}": v for k, v in own.items()}}),
    }[slug]  # fmt: skip
    torch.save(content, folder / name)
    return folder


@pytest.mark.parametrize("slug", ticks("road"))
def test_a_linear_probe_on_class_folders_from_published_files_to_a_report(slug: str, tmp_path: Path) -> None:
    weights, pictures = published(slug, tmp_path / "weights"), class_folders(tmp_path / "tiles", 64)
    rows = road.evaluated(tmp_path / "run", slug, pictures, *PROBE, "--weights", weights)
    fit, test = (sorted((pictures / split).rglob("*.*g")) for split in ("train", "test"))
    assert [row["target"] for row in rows] == [path.parent.name for path in test]
    model = load_model(slug, weights, device="cpu")
    labels = [path.parent.name for path in fit]
    vectors = model.embed(test)
    road.assert_probed(tmp_path / "run", rows, labels, model.embed(fit), vectors)
    (tmp_path / "other").mkdir()
    for path in (one for one in weights.iterdir() if one.suffix in (".bin", ".pt")):
        torch.save(disturbed(torch.load(path, weights_only=True)), tmp_path / "other" / path.name)
    others = load_model(slug, tmp_path / "other", device="cpu")
    road.assert_moved(vectors, others.embed(test))


@pytest.mark.parametrize("slug", ticks("road"))
def test_classes_by_their_names_from_published_files_to_a_report(slug: str, tmp_path: Path) -> None:
    weights, pictures = published(slug, tmp_path / "weights"), class_folders(tmp_path / "tiles", 64)
    for folder in pictures.iterdir():
        for old, new in (("class0", "heart"), ("class1", "lung_heart")):
            (folder / old).rename(folder / new)
    rows = road.evaluated(tmp_path / "run", slug, pictures, "--task", "zero-shot", "--weights", weights)
    model = load_model(slug, weights, device="cpu")
    files = sorted((pictures / "test").rglob("*.*g"))
    assert [row["target"] for row in rows] == [path.parent.name for path in files]
    told = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    likely = model.classify(files, ["heart", "lung heart"])  # by the card's own sentences and rule
    assert np.allclose([row["probabilities"] for row in rows], likely, atol=1e-5)
    page = html.unescape((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    assert len(told["environments"]) == 1 and model.rule.templates[0] in page

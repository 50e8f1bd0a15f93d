"""Query decoders: published keys load strictly at full size, answers are the owners' from pictures and strings, and the traps show."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from healthfm import CheckpointError, RunError, load_model, load_run, open_dataset
from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard
from healthfm.evaluate import prompts as drawing
from healthfm.models.files import checkpoint
from healthfm.models.joint import query_decoder
from healthfm.models.joint.query_decoder import QueryDecoderModel
from healthfm.score import prompts
from tests.cli.command import run as command
from tests.evaluate.pairs import chest_mnist
from tests.models import road
from tests.models.joint.near import LIMIT, distance, disturbed
from tests.models.vision.towers import DATA, recipe
from tests.references import dual_encoders as both
from tests.references import query_decoders as reference

HEADS = {"text": {"num_attention_heads": 4}}


@functools.cache
def expected(name: str) -> dict[str, Any]:
    return dict(json.loads((DATA / "expected" / f"{name}.pair.json").read_text()))


@functools.cache
def kad(name: str = "512") -> dict[str, Any]:
    """The three states of a small KAD, as its checkpoint holds them."""
    shown = expected("kad")["runs"][name]["shapes"]
    return {part: recipe(shapes) for part, shapes in shown.items()}


@functools.cache
def medklip() -> dict[str, torch.Tensor]:
    return {f"module.{key}": value for key, value in recipe(expected("medklip")["shapes"]).items()}


def published(slug: str, folder: Path, noise: bool = False) -> Path:
    """The small network in the owners' file, with what it is read with beside it."""
    folder.mkdir()
    change = disturbed if noise else lambda tensors: tensors
    if slug == "kad":
        torch.save(change({**kad(), "epoch": 3, "optimizer": {"state": {}}}), folder / "best_valid.pt")
        reference.vocabulary(folder)
        return folder
    torch.save(change({"model": medklip(), "epoch": 99}), folder / "checkpoint_final.pth")
    (folder / "observation explanation.json").write_text(json.dumps(dict(enumerate(reference.descriptions()))))
    bert = folder / "Bio_ClinicalBERT"
    bert.mkdir()
    reference.vocabulary(bert)
    torch.save({f"bert.{k}": v for k, v in recipe(expected("medklip")["bert"]).items()}, bert / "pytorch_model.bin")
    (bert / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return folder


def loaded(slug: str, weights: Any, **config: Any) -> QueryDecoderModel:
    model = load_model(slug, weights, config={**HEADS, **config}, device="cpu")
    assert isinstance(model, QueryDecoderModel)
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    return {slug: published(slug, folder / slug) for slug in ("kad", "medklip")}


# Keys -------------------------------------------------------------------------------------------------------------------


@pytest.mark.evidence("kad", "keys")
@pytest.mark.evidence("medklip", "keys")
def test_the_owners_keys_load_strictly_at_full_size() -> None:
    for slug, name in (("kad:512", "512"), ("kad:1024", "512"), ("kad:224", "224"), ("medklip", "only")):
        row, _, variant = slug.partition(":")
        manifest = json.loads(gzip.decompress((DATA / "manifests" / f"{row}.pair.json.gz").read_bytes()))["variants"]
        card = catalog.card(row, "model")
        assert isinstance(card, ModelCard)
        run = query_decoder.settings(card, variant or None, {}, {})
        tensors = (
            {part: meta(shapes) for part, shapes in manifest[name].items()}
            if row == "kad"
            else {"model": meta(manifest[name])}
        )
        with torch.device("meta"):
            network = query_decoder.build(run, text=row == "kad")
            checkpoint.load_strict(network, query_decoder.own_names(tensors, run), query_decoder.COUNTERS)
        assert query_decoder.match(card, variant or None, tensors, {}) == 3
        if name == "512":
            assert query_decoder.match(card, "224", tensors, {}) < 2


def meta(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


# Network, input, output -------------------------------------------------------------------------------------------------


@pytest.mark.evidence("kad", "network")
@pytest.mark.evidence("kad", "input")
@pytest.mark.evidence("kad", "output")
def test_kad_from_strings_and_pictures_is_the_owners(files: dict[str, Path]) -> None:
    facts = expected("kad")
    queries = np.reshape(facts["queries"], (5, -1))
    for name in ("512", "224"):
        theirs = facts["runs"][name]
        model = loaded(f"kad:{name}", kad(name))
        found = model.forward({"pixels": both.pixels(), "queries": queries})
        assert found["logits"].shape == (3, 5, 2)
        for ours, word in (
            (found["tokens"][:, ::3], "tokens"),
            (found["pooled"], "pooled"),
            (found["logits"], "logits"),
        ):
            assert distance(ours, theirs[word]) <= LIMIT
        alone = model.forward({"pixels": both.pixels(), "queries": queries[:1]})["logits"]
        assert distance(alone, found["logits"][:, :1]) > LIMIT  # what is asked together counts
        model.network.n = query_decoder.replace(model.network.n, shared_norm=False)
        assert (
            distance(model.forward({"pixels": both.pixels(), "queries": queries})["logits"], theirs["logits"]) > LIMIT
        )
    model = loaded("kad", files["kad"])
    texts = list(reference.TEXTS)
    assert distance(model.embed(texts), queries) <= LIMIT and model.provenance["texts_cut"] == 1
    assert [model.prepare(one).inputs[0].tolist() for one in texts] == facts["ids"]
    assert distance(model.embed_tokens(facts["ids"][:2]), queries[:2]) <= LIMIT
    rule = model.transform
    assert rule is not None
    model.transform = rule.model_copy(update={"resize": 64})
    made = [model.preprocess([one])["pixels"][0] for one in both.pictures()]
    assert [list(one.shape[1:]) for one in made] == facts["sizes"]  # the shorter side; nothing is cut
    assert all(
        distance(one[:, ::7, ::7], theirs) <= LIMIT for one, theirs in zip(made, facts["transform"], strict=True)
    )
    model.transform = None
    ready, theirs = list(both.pixels().numpy()), facts["runs"]["512"]["probabilities"]
    assert distance(model.classify(ready, texts), theirs) <= LIMIT
    odds = model.classify(ready, texts, logits=True)
    assert distance(1 / (1 + np.exp(-odds)), theirs) <= LIMIT
    assert distance(model.classify(ready[:1], texts), np.reshape(theirs, (3, 5))[:1]) <= LIMIT


@pytest.mark.evidence("medklip", "network")
@pytest.mark.evidence("medklip", "input")
@pytest.mark.evidence("medklip", "output")
def test_medklip_from_its_descriptions_to_answers_is_the_owners(files: dict[str, Path]) -> None:
    facts = expected("medklip")
    model = loaded("medklip", files["medklip"])
    assert model.network.n.entities == tuple(facts["entities"])
    assert [model.prepare(one).inputs[0].tolist() for one in reference.TEXTS] == facts["ids"]
    assert model.queries is not None and distance(model.queries[:, ::4], facts["queries"]) <= LIMIT
    found = model.forward({"pixels": both.pixels()})
    assert distance(found["logits"][:, ::5], facts["logits"]) <= LIMIT
    assert distance(model.preprocess(both.pictures())["pixels"][:, :, ::17, ::17], facts["transform"]) <= LIMIT
    bare = loaded("medklip", medklip())
    assert bare.queries is None and "logits" not in bare.forward({"pixels": both.pixels()})
    given = bare.forward({"pixels": both.pixels(), "queries": model.queries})
    assert distance(given["logits"][:, ::5], facts["logits"]) <= LIMIT
    layer = model.network.ask(torch.from_numpy(model.queries)).detach()
    after = bare.forward({"pixels": both.pixels(), "queries": layer})
    assert distance(after["logits"][:, ::5], facts["logits"]) <= LIMIT
    model.transform = None
    ready = list(both.pixels().numpy())
    fourteen = [
        {"infiltrate": "Infiltration", "tail_abnorm_obs": "fibrosis"}.get(one, one) for one in facts["chexray14"]
    ]
    assert distance(model.classify(ready, fourteen), facts["probabilities"]) <= LIMIT
    two = np.reshape(facts["probabilities"], (3, 14))[:, [9, 3]]
    assert distance(model.classify(ready, ["edema", "infiltrate"]), two) <= LIMIT  # all 75 are asked whatever is named
    closed = model.queries.copy()
    ids = [[*ids, 3] for ids in (model.prepare(one).inputs[0].tolist() for one in reference.descriptions())]
    closed[:] = model.embed_tokens(ids)
    wrong = model.forward({"pixels": both.pixels(), "queries": closed})["logits"]
    assert distance(wrong[:, ::5], facts["logits"]) > LIMIT  # BERT's own tokenizer would close the texts


# The whole road ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "slug", [pytest.param(one, marks=pytest.mark.evidence(one, "road")) for one in ("kad", "medklip")]
)
def test_findings_of_chest_films_from_published_files_to_a_report(
    slug: str, tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "DRAWS", 6)
    root = chest_mnist(tmp_path)
    words = ("--root", root, "--task", "zero-shot", "--weights", files[slug], "--no-baseline", "--device", "cpu")
    done = command("evaluate", slug, "medmnist-v2:chestmnist", *words, "--output", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    records = list(open_dataset("medmnist-v2:chestmnist", root)["test"])
    run = load_run(tmp_path / "run")
    names = run.facts["fitted"]["zero_shot"]["names"]
    assert names[4:6] == (["lung mass", "lung nodule"] if slug == "kad" else ["mass", "nodule"])
    rows = run.predictions.to_pylist()
    mine = np.array([row["probabilities"] for row in rows])
    config = {"text": {"num_attention_heads": 1}}  # what nobody states, of 64 numbers a head
    model = load_model(slug, files[slug], config=config, device="cpu")
    assert np.allclose(mine, model.classify(records, names), atol=1e-5)
    other = load_model(slug, published(slug, tmp_path / "other", True), config=config, device="cpu")
    road.assert_moved(mine, other.classify(records, names))
    assert run.scores["headline"] == "macro_auroc" and len(run.scores["per_class"]) == 14
    assert run.scores["per_class"]["hernia"]["auroc"]["high"] is not None
    found, page = run.scores["prompts"], run.report().read_text(encoding="utf-8")
    assert found["shuffled"]["n"] == 20 and "pictures shuffled" in page
    if slug == "medklip":
        assert found["draws"] == [] and prompts.FIXED in page and found["nonsense"] is None
        return
    assert len(found["draws"]) == 6 and found["nonsense"]["n"] > 1
    truth = np.array([[name in row["target"] for name in row["options"]] for row in rows])
    for one in found["draws"][::3]:
        likely = model.classify(records, one["names"], one["templates"])
        assert one["value"] == pytest.approx(prompts.value("macro_auroc", truth, likely))


# What goes wrong --------------------------------------------------------------------------------------------------------


def test_what_a_query_decoder_does_not_know_is_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    own, bare, asked = loaded("medklip", files["medklip"]), loaded("medklip", medklip()), loaded("kad", kad())
    picture = both.pictures()[:1]
    for model, classes, templates, why in (
        (own, ["covid"], None, "no query for 'covid'"), (own, ["mass"], ["a {}"], "takes no templates"), (own, [], None, "no classes"),
        (own, ["mass", "mass"], None, "named twice"), (asked, ["mass"], ["a {}", "the {}"], "one template"), (asked, ["mass"], ["a"], "no place"),
    ):  # fmt: skip
        with pytest.raises(RunError, match=why):
            model.classify(picture, classes, templates)
    with pytest.raises(CheckpointError, match="written descriptions"):
        bare.classify(picture, ["mass"])
    with pytest.raises(CheckpointError, match="no text encoder"):
        bare.embed_tokens([])
    with pytest.raises(CheckpointError, match="no tokenizer"):
        asked.classify(picture, ["mass"])
    with pytest.raises(RunError, match=r"queries are \[number of questions, 16 or 32\]"):
        bare.forward({"pixels": both.pixels(), "queries": np.zeros((2, 9))})
    with pytest.raises(CheckpointError, match="no ResNet"):
        load_model("kad", {"image_encoder": {"densenet.a": torch.zeros(1)}, "model": {}}, device="cpu")
    (files["medklip"] / "observation explanation.json").rename(tmp_path / "kept.json")
    (files["medklip"] / "observation explanation.json").write_text('{"a": "one"}')
    with pytest.raises(CheckpointError, match="75 texts were expected, 1"):
        loaded("medklip", files["medklip"])
    (tmp_path / "kept.json").rename(files["medklip"] / "observation explanation.json")

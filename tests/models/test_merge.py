"""What a model runs with: the card's [run], its variant's, its files', the caller's; and a model's parts the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from healthfm import CapabilityError, CardError, CheckpointError, load_model
from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard
from healthfm.models.families import family_of
from healthfm.models.files import opening, recognise
from healthfm.models.language import causal_lm, masked_lm
from healthfm.models.merge import merged
from healthfm.models.vision import hierarchical, vit
from healthfm.models.vision.vision_model import VisionModel
from tests.cards.conftest import write_card
from tests.models.vision.towers import expected, pixels, recipe

FACTS = {
    "kind": "model", "slug": "own", "name": "Own", "summary": "A model.", "group": "vision", "modalities": ["image"], "access": "closed",
    "architecture": "small", "default_variant": "a",
}  # fmt: skip
LLAMA = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 32, "tie_word_embeddings": False,
}  # fmt: skip
BLOOM = {"vocab_size": 50, "hidden_size": 16, "n_layer": 1, "n_head": 2, "seq_length": 32}
BERT = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
    "max_position_embeddings": 32, "type_vocab_size": 2,
}  # fmt: skip
T5 = {
    "vocab_size": 50,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 1,
    "num_decoder_layers": 1,
    "num_heads": 2,
    "n_positions": 32,
}
RUNS: dict[str, dict[str, Any]] = {
    "causal_lm": {"family": "causal_lm", "architecture": "llama", "config": LLAMA},
    "masked_lm": {"family": "masked_lm", "architecture": "bert", "config": {**BERT, "lower_case": True}},
    "seq2seq": {"family": "seq2seq", "architecture": "t5", "config": T5},
    "vit": {"family": "vit", "architecture": "vit", "pooling": "cls", "config": {"embed_dim": 8, "depth": 1, "num_heads": 2, "img_size": 32}},
    "swin": {"family": "swin", "architecture": "swin", "config": {"embed_dim": 8, "depths": [1], "num_heads": [2]}},
    "resnet": {"family": "resnet", "architecture": "resnet", "config": {"depths": [1], "version": 1, "stages": 1}},
}  # fmt: skip
LANGUAGE = ("causal_lm", "masked_lm", "seq2seq")
IDS = [[5, 6, 7, 8, 9]]


def row(run: dict[str, Any], /, **special: Any) -> ModelCard:
    """A card of the caller's: variant a as [run] says, b with changes."""
    variants = {"a": {"summary": "one"}, "b": {"summary": "another", **special}}
    return ModelCard.model_validate({**FACTS, "variants": variants, "run": run})


def load(card: ModelCard, variant: str, weights: Any = "random", **config: Any) -> Any:
    """What ``load_model`` does once it has found the card."""
    return family_of(card, variant).load(card, variant, weights, dict(config), "cpu", "float32")


def tensors(family: str) -> dict[str, torch.Tensor]:
    """The small network's own tensors, as published."""
    found = {name: value.clone() for name, value in load(row(RUNS[family]), "a").network.state_dict().items()}
    return {
        name: value for name, value in found.items() if family != "seq2seq" or not name.endswith("embed_tokens.weight")
    }


# A variant's [run] ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", LANGUAGE)
def test_a_variants_keys_to_leave_out_count_for_language_rows(family: str) -> None:
    card = row(RUNS[family], run={"ignore_keys": ["old.*"]})
    weights = {**tensors(family), "old.counter": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"old\.counter"):
        load(card, "a", weights)
    loaded = load(card, "b", weights).network.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in loaded.items() if key in weights)


@pytest.mark.parametrize("special", [{"architecture": "bloom"}, {"run": {"architecture": "bloom"}}])
def test_a_variant_of_another_network_is_that_network(special: dict[str, Any]) -> None:
    card = row(RUNS["causal_lm"], **special, config=BLOOM)
    model = load(card, "b")
    assert isinstance(model.network, transformers.BloomForCausalLM) and model.network.config.n_layer == 1
    assert model.logits(IDS)[0].shape == (5, 50)
    run = card.runner("b")
    assert (run.architecture, run.config) == ("bloom", BLOOM)  # no number of the other network's among them


@pytest.mark.parametrize("family", [*LANGUAGE, "vit"])
def test_a_variants_number_format_counts_on_a_gpu(family: str) -> None:
    card = row(RUNS[family], run={"dtype": "bfloat16"})
    found = {v: [opening.precision(card.runner(v), where, "auto") for where in ("cuda", "cpu")] for v in ("a", "b")}
    assert found == {"a": ["float32", "float32"], "b": ["bfloat16", "float32"]}
    network = torch.nn.Linear(2, 2)
    opening.place(network, card.runner("b"), "meta", "auto")  # any place that is not the CPU
    assert network.weight.dtype == torch.bfloat16


def test_a_variants_pooling_counts_for_a_bert() -> None:
    card, weights = row(RUNS["masked_lm"], run={"pooling": "mean"}), tensors("masked_lm")
    first, mean = (load(card, variant, weights) for variant in "ab")
    tokens = first.forward(first.pad(IDS))["last_hidden_state"]
    np.testing.assert_allclose(first.embed_tokens(IDS), tokens[:, 0], atol=1e-6)
    np.testing.assert_allclose(mean.embed_tokens(IDS), tokens.mean(1), atol=1e-6)
    again = load(card, "b", weights, pooling="cls")  # the caller has the last word
    np.testing.assert_array_equal(again.embed_tokens(IDS), first.embed_tokens(IDS))


def test_a_pooling_in_two_places_is_refused() -> None:
    card = row(RUNS["masked_lm"], run={"pooling": "mean"}, config={"pooling": "cls"})
    with pytest.raises(CardError, match=r"own:b: pooling stands in \[run\] and in \[run\.config\]; state it once"):
        load(card, "b")


@pytest.mark.parametrize(
    ("family", "architecture", "error"),
    [("causal_lm", "mamba", CapabilityError), ("masked_lm", "roberta", CapabilityError), ("seq2seq", "bart", CheckpointError)],
)  # fmt: skip
def test_a_variant_of_a_network_that_no_code_knows_is_refused(
    family: str, architecture: str, error: type[Exception]
) -> None:
    card = row(RUNS[family], run={"architecture": architecture})
    with pytest.raises(error, match=f"own.*architecture '{architecture}' is not one of "):
        load(card, "b")
    assert (
        recognise.match(card, "b", {}) is recognise.Match.OTHER
    )  # which stops no other row whose tensors are looked up


WORDS = {"dialect": "x", "state": "model", "strip": ["x."], "transform": {"resize": 5}, "pooling": "mean"}


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("family", LANGUAGE)
def test_what_a_family_does_not_read_is_not_passed_over(family: str, word: str) -> None:
    card = row(RUNS[family], run={word: WORDS[word]})
    if (family, word) == ("masked_lm", "pooling"):
        assert load(card, "b").rules.pooling == "mean"
        return
    with pytest.raises(
        CardError, match=rf"^own:b: \[run\] states {word}, which the family {family} does not read there"
    ):
        load(card, "b")


def test_a_card_that_cannot_run_stops_no_other_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tensors are nobody's, every row is asked whether they are its own. By the door: own cards in a folder."""
    for kinds in ("models", "datasets"):
        (tmp_path / kinds).mkdir()
    write_card(tmp_path, "model", "own", run={**RUNS["causal_lm"], "pooling": "mean"})
    monkeypatch.setenv("HEALTHFM_CARDS", str(tmp_path))
    with pytest.raises(
        CardError, match=r"^own: \[run\] states pooling, which the family causal_lm does not read there"
    ):
        load_model("own", "random", device="cpu")
    with pytest.raises(CheckpointError, match=r"'num_head' is no number of this family"):  # and not that card's mistake
        load_model("uni", recipe(expected("uni")["shapes"]), config={"num_head": 2}, device="cpu")


# The caller's config -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", RUNS)
def test_a_callers_key_that_no_family_knows_is_refused_by_name(family: str) -> None:
    for key in ("embed_dimension", "parts", "ignore_keys", "dtypes", "family"):
        with pytest.raises(CheckpointError, match=f"'{key}' is "):
            load(row(RUNS[family]), "b", **{key: 3})


def test_the_layers_stand_over_each_other() -> None:
    card = row(RUNS["causal_lm"], config={"num_hidden_layers": 2, "hidden_size": 32})
    assert merged(card, "b", {}, {}).config == {**LLAMA, "num_hidden_layers": 2, "hidden_size": 32}
    found = merged(card, "b", {"hidden_size": 48, "rope_theta": 5.0}, {"rope_theta": 6.0})
    assert found.config == {**LLAMA, "num_hidden_layers": 2, "hidden_size": 48, "rope_theta": 6.0}
    assert causal_lm.numbers_of(card, "a") == LLAMA


# Parts -------------------------------------------------------------------------------------------------------------------

TILES = {"embed_dim": 8, "depth": 2, "num_heads": 2, "img_size": 16, "patch_size": 8, "positions": "dino"}
REGION = {
    "embed_dim": 8,
    "depth": 2,
    "num_heads": 2,
    "img_size": 32,
    "patch_size": 16,
    "features": 8,
    "positions": "dino",
}
TILE = {"family": "vit", "architecture": "vit", "config": TILES}
REGIONS = {
    "family": "hierarchical", "architecture": "two towers", "pooling": "cls", "state": "teacher", "config": {"tile": 16},
    "parts": {"tiles": TILE, "region": {"family": "vit", "architecture": "vit", "config": REGION}},
}  # fmt: skip


def stages() -> dict[str, Any]:
    """What the two parts' files hold."""
    made = {}
    for name, numbers in (("tiles", TILES), ("region", REGION)):
        state = vit.ViT(vit.ViTNumbers(**numbers)).state_dict()  # type: ignore[arg-type]
        filled = recipe({f"{name} {key}": list(value.shape) for key, value in state.items()})
        made[name] = {"teacher": {key.partition(" ")[2]: value for key, value in filled.items()}}
    return made


def vector(card: ModelCard, variant: str, weights: Any = None, **config: Any) -> np.ndarray:
    model = load(card, variant, stages() if weights is None else weights, **config)
    assert isinstance(model, VisionModel)
    return np.asarray(model.forward({"pixels": pixels(48, 64)})["pooled"])


def test_a_variants_word_on_a_part_counts_as_the_callers_does() -> None:
    """Numbers and words, of either part; the other part keeps its own."""
    card = row(REGIONS, run={"parts": {"region": {"config": {"positions": "timm"}}, "tiles": {"pooling": "mean"}}})
    plain, both = vector(card, "a"), vector(card, "b")
    np.testing.assert_array_equal(both, vector(card, "a", region={"positions": "timm"}, tiles={"pooling": "mean"}))
    for other in (plain, vector(card, "a", region={"positions": "timm"}), vector(card, "a", tiles={"pooling": "mean"})):
        assert np.abs(both - other).max() > 1e-5
    np.testing.assert_array_equal(vector(card, "b", region={"positions": "dino"}, tiles={"pooling": "cls"}), plain)


def test_a_part_is_read_in_its_own_key_names() -> None:
    """By the dialects of its family; where its tensors stand it may say itself."""
    card = row(REGIONS, run={"parts": {"tiles": {"dialect": "dinov2", "state": "model", "strip": ["net."]}}})
    theirs = stages()
    old = theirs["tiles"].pop("teacher")
    named = {f"net.{key.replace('blocks.', 'blocks.0.')}": value for key, value in old.items()}
    theirs["tiles"]["model"] = {**named, "net.mask_token": torch.zeros(1, 8)}
    np.testing.assert_array_equal(vector(card, "b", theirs), vector(card, "a"))
    with pytest.raises(CheckpointError):
        load(card, "a", theirs)


def test_parts_of_other_towers_are_built_by_their_own_families() -> None:
    """A ResNet's mean of places for the tiles, under the same code."""
    small = {
        "family": "resnet",
        "architecture": "resnet",
        "dialect": "torchvision",
        "config": {"version": 1, "depths": [1], "stages": 1},
    }
    model = load(row(REGIONS, run={"parts": {"tiles": small, "region": {"config": {"features": 256}}}}), "b")
    found = model.forward({"pixels": pixels(48, 64)})
    assert found["pooled"].shape == (2, 8) and found["tokens"].shape == (2, 13, 8)
    with torch.no_grad():
        grid = model.network.grid(pixels(48, 64))
        alone = model.network.tiles(pixels(48, 64)[:, :, 16:32, 32:48])[1]
    np.testing.assert_allclose(grid[:, :, 1, 2], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"tiles": {"depht": 3}}, "'depht' is no number of this family"), ({"tils": {"depth": 3}}, "'tils' is no number of this family; it has tile"),
        ({"dialect": "dinov2"}, "'dialect' is no number of this family"), ({"region": {"pooling": "mean"}}, "'pooling' is no number of this family"),
        ({"tiles": 5}, "tiles is a part of this model: its numbers are a mapping"), ({"tiles": {"pooling": "max"}}, "tiles: pooling is 'max'; use cls, mean"),
        ({"tiles": {"strip": 3}}, r"own: config does not fit the card: parts\.tiles\.strip: "), ({"parts": {"tiles": {}}}, "'parts' is no number of this family"),
        ({"tiles": {"embed_dim": 12}}, "a vit whose features are 12 was expected"), ({"tiles": {"dialect": "klingon"}}, "key dialect is 'klingon'; this family reads dinov2"),
    ],
)  # fmt: skip
def test_what_a_caller_cannot_say_of_a_part_is_refused_by_name(config: dict[str, Any], says: str) -> None:
    weights: Any = stages() if "klingon" in str(config) else "random"
    with pytest.raises(CheckpointError, match=says):
        load(row(REGIONS), "a", weights, **config)


@pytest.mark.parametrize(
    ("family", "run", "says"),
    [
        ("vit", {"parts": {"tiles": TILE}}, r"^own:b: the parts of \[run\] are tiles; the family vit takes none"),
        ("causal_lm", {"parts": {"text": {"family": "masked_lm", "architecture": "bert"}}}, r"^own:b: the parts of \[run\] are text; the family causal_lm takes none"),
        ("", {"parts": {"slide": TILE}}, r"^own:b: the parts of \[run\] are tiles, region, slide; the family hierarchical takes tiles, region"),
        ("", {"parts": {"region": {"pooling": "mean"}}}, r"^own:b: \[run\.parts\.region\] states pooling, which the family hierarchical does not read there \(it reads dialect, state, strip\)"),
        ("", {"parts": {"tiles": {"transform": {"resize": 5}}}}, r"^own:b: \[run\.parts\.tiles\] states transform, which .* \(it reads pooling, dialect, state, strip\)"),
        ("", {"parts": {"tiles": {"tokenizer": {"length": 5}}}}, r"^own:b: \[run\.parts\.tiles\] states tokenizer"),
        ("", {"parts": {"tiles": {"projection": {"widths": [5]}}}}, r"^own:b: \[run\.parts\.tiles\] states projection"),
        ("", {"dialect": "dinov2"}, r"^own:b: \[run\] states dialect"),
    ],
)  # fmt: skip
def test_a_part_that_its_family_would_pass_over_is_refused(family: str, run: dict[str, Any], says: str) -> None:
    card = row(RUNS[family] if family else REGIONS, run=run)
    with pytest.raises(CardError, match=says):
        load(card, "b")


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"tiles": {"family": "masked_lm", "architecture": "bert"}}, "a part is of the family masked_lm, whose networks make no vectors of pictures"),
        ({"region": {"family": "resnet", "config": {"version": 1}}}, "a vit whose features are 8 was expected"),
        ({"region": {"architecture": "another", "config": {k: v for k, v in REGION.items() if k != "features"}}}, "a vit whose features are 8 was expected"),
    ],
)  # fmt: skip
def test_a_part_that_cannot_stand_there_is_refused(part: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        load(row(REGIONS, run={"parts": part}), "b")


def test_a_folder_holds_the_files_that_the_card_names_for_each_part(tmp_path: Path) -> None:
    """Whatever the parts' variants are called; a config.json beside them gives numbers of both."""
    facts = {"source": "the owner", "format": "pth", "access": "open"}
    weights = [
        {**facts, "part": "region", "files": ["up/second.pth"]},
        {**facts, "part": "tiles", "files": ["up/first.pth"]},
    ]
    card = ModelCard.model_validate({**row(REGIONS).model_dump(), "weights": weights})
    for name, file in (("tiles", "first.pth"), ("region", "second.pth")):
        torch.save(stages()[name], tmp_path / file)
    np.testing.assert_array_equal(vector(card, "a", tmp_path), vector(card, "a"))
    (tmp_path / "config.json").write_text('{"model_args": {"tile": 24, "region": {"positions": "timm"}}}')
    stated = {"tile": 24, "region": {"positions": "timm"}}
    np.testing.assert_array_equal(vector(card, "a", tmp_path), vector(card, "a", **stated))
    assert np.abs(vector(card, "a", tmp_path) - vector(card, "a")).max() > 1e-5
    (tmp_path / "second.pth").unlink()
    with pytest.raises(CheckpointError, match=r"one second\.pth was expected there, 0 were found"):
        load(card, "a", tmp_path)


def test_a_text_tower_is_read_from_a_part_by_its_familys_own_code() -> None:
    """What a model of a picture's and a text's tower will do with its card."""
    text = {
        "family": "masked_lm",
        "architecture": "bert",
        "pooling": "mean",
        "config": {**BERT, "lower_case": False},
        "tokenizer": {"length": 77},
    }
    image = {
        "family": "vit",
        "architecture": "vit",
        "config": TILES,
        "transform": {"resize": 16},
        "projection": {"widths": [4]},
    }
    towers = {"family": "hierarchical", "architecture": "two towers", "parts": {"image": image, "text": text}}
    card = row(towers, run={"parts": {"text": {"config": {"num_hidden_layers": 2}}}})
    reads = {"image": ("transform", "projection"), "text": ("tokenizer", "pooling")}
    run = merged(
        card, "b", {"text": {"hidden_size": 32}}, {"text": {"pooling": "cls"}, "image": {"depth": 1}}, (), reads
    )
    rules, numbers = masked_lm.parted(run.part("text"), "own:b")
    assert (rules.pooling, rules.lower_case) == ("cls", False)
    assert numbers == {**BERT, "num_hidden_layers": 2, "hidden_size": 32}
    network = masked_lm.build(numbers)
    assert len(network.bert.encoder.layer) == 2 and network.bert.embeddings.word_embeddings.weight.shape == (50, 32)
    assert len(vit.build(run.part("image")).blocks) == 1
    assert run.parts["image"].projection is not None and run.parts["image"].projection.widths == (4,)
    with pytest.raises(CardError, match=r"own:b: \[run\.parts\.image\] states projection"):
        merged(card, "b", {}, {}, (), {**reads, "image": ("transform",)})


def test_the_shipped_hierarchy_says_all_that_its_code_knows() -> None:
    """No fact of HIPT stands in Python: its parts, their files and numbers are the card's."""
    card = catalog.card("hipt", "model")
    assert isinstance(card, ModelCard)
    run = card.runner(None)
    assert list(run.parts) == list(hierarchical.PARTS)
    for part, variant in (("tiles", "vit-256"), ("region", "vit-4k")):
        alone, own = run.part(part), card.runner(variant)
        assert (alone.config, alone.state, alone.strip, alone.ignore_keys) == (
            own.config,
            own.state,
            own.strip,
            own.ignore_keys,
        )
        assert [one.variant for one in card.weights if one.part == part] == [variant]

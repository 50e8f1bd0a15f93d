"""A checkpoint of another variant, or of another row, is recognised from its tensors: loaded as what it is, or named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from healthfm import CheckpointError, load_model
from healthfm.cards import catalog
from healthfm.models.files import recognise
from healthfm.models.files.recognise import Match
from healthfm.report.run import load_run
from tests.cli.command import run
from tests.models import published as pub
from tests.models.vision.towers import DATA, manifest, small

IDS = [[5, 6, 7, 8, 9]]


def meta(shapes: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def tensors_of(name: str) -> dict[str, Any]:
    """The published key names and full sizes of a variant, without memory."""
    slug, _, variant = name.partition(":")
    if slug in ("pulse", "pmc-llama"):
        return llm(name)
    if slug in ("scibert", "biobert"):
        return bert(name)
    shapes = manifest(slug)[variant or "only"]
    found = meta(shapes)
    if slug == "hipt":
        return {"teacher": {f"module.backbone.{key}": value for key, value in found.items()}}
    return {"teacher": {f"backbone.{k}": v for k, v in found.items()}} if name == "retfound:dinov2" else found


def llm(name: str) -> dict[str, torch.Tensor]:
    from healthfm.models.language import causal_lm

    card = catalog.card(name, "model")
    with torch.device("meta"):
        network = causal_lm.build(card, name.partition(":")[2], {})  # type: ignore[arg-type]
    return dict(network.state_dict())


def bert(name: str) -> dict[str, torch.Tensor]:
    from healthfm.models.language import masked_lm

    card = catalog.card(name, "model")
    _, numbers = masked_lm.settings(card, name.partition(":")[2], {}, {})  # type: ignore[arg-type]
    with torch.device("meta"):
        return dict(masked_lm.build(numbers).state_dict())


@pytest.mark.parametrize(
    ("asked", "given", "says"),
    [
        ("pulse:20b", "pulse:7b", r"the tensors of pulse:7b, not of pulse:20b; ask for it by that name"),
        ("pulse:7b", "pulse:20b", r"the tensors of pulse:20b, not of pulse:7b"),
        ("pmc-llama:7b", "pmc-llama:13b", r"the tensors of pmc-llama:13b, not of pmc-llama:7b"),
        ("remedis", "remedis:50x1", r"remedis:cxr-50x1-remedis-m, .*path-50x1-remedis-s, not of remedis:cxr-152x2-remedis-m"),
        ("remedis:path-50x1-remedis-s", "remedis:152x2", r"tensors of remedis:cxr-152x2-remedis-m, .*ask for the right one"),
        ("kaiko:b8", "kaiko:l14", r"tensors of kaiko:l14, not of kaiko:b8"),
        ("kaiko:s16", "kaiko:s8", r"tensors of kaiko:s8, not of kaiko:s16"),
        ("lunit-dino:s8", "lunit-dino:s16", r"tensors of lunit-dino:s16, not of lunit-dino:s8"),
        ("dinov2:l14", "dinov2:l14-reg", r"tensors of dinov2:l14-reg, not of dinov2:l14"),
        ("retfound", "retfound:dinov2", r"tensors of retfound:dinov2-meh or retfound:dinov2-shanghai, not of retfound:mae-nature-cfp"),
        ("vis-mae:classification", "vis-mae:segmentation", r"tensors of vis-mae:segmentation, not of vis-mae:classification"),
        ("hipt:vit-256", "hipt:vit-4k", r"tensors of hipt:vit-4k, not of hipt:vit-256"),
        ("hipt:hipt-4k", "hipt:vit-256", r"tensors of hipt:vit-256, not of hipt:hipt-4k"),
        ("scibert:scivocab-uncased", "scibert:scivocab-cased", r"tensors of scibert:scivocab-cased, not of scibert:scivocab-uncased"),
        ("biobert:base-v1-2", "biobert:large-v1-1", r"tensors of biobert:large-v1-1, not of biobert:base-v1-2"),
        ("virchow", "virchow2", r"the sizes of virchow2, not of virchow; ask for the row they are"),
        ("uni", "uni2-h", r"the sizes of uni2-h, not of uni;"),
        ("rad-dino", "phikon-v2", r"the sizes of phikon-v2, not of rad-dino;"),
        ("pubmedbert", "biobert:base-v1-2", r"the sizes of biobert:base-v1-2, .*, not of pubmedbert"),
        ("chatdoctor", "pulse:7b", r"the sizes of pulse:7b or bentsao:bloom.*not of chatdoctor|the sizes of bentsao.*pulse:7b"),
    ],
)  # fmt: skip
def test_another_variants_or_rows_tensors_are_named(asked: str, given: str, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        load_model(asked, tensors_of(given), device="cpu")


@pytest.mark.parametrize(
    "slug", ["uni", "virchow2", "kaiko", "dinov2", "ctranspath", "lunit-dino", "uni2-h", "prov-gigapath"]
)
def test_every_variant_is_itself_alone(slug: str) -> None:
    for name, shapes in manifest(slug).items():
        card = catalog.card(slug, "model")
        found = {v: recognise.match(card, v, meta(shapes)) for v in card.variants or (None,)}  # type: ignore[arg-type]
        assert [v for v, one in found.items() if one is Match.EXACT] == [None if name == "only" else name]


def test_sizes_that_were_seen_before_are_held_against_the_cards_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, shapes = catalog.card("uni", "model"), manifest("virchow")["only"]
    assert recognise.rows_of(card, meta(shapes)) == ["virchow"]  # type: ignore[arg-type]
    assert recognise.rows_of(card, meta({**shapes, "pos_embed": [1, 9, 1280]})) == []  # type: ignore[arg-type]
    text = Path(catalog.lookup("virchow", "model")["path"]).read_text("utf-8")
    (tmp_path / "models/vision").mkdir(parents=True)
    (tmp_path / "models/vision/ours.toml").write_text(
        text.replace('slug = "virchow"', 'slug = "ours"').replace('name = "Virchow"', 'name = "Ours"'), "utf-8"
    )
    monkeypatch.setenv("HEALTHFM_CARDS", str(tmp_path))
    assert sorted(recognise.rows_of(card, meta(shapes))) == ["ours", "virchow"]  # type: ignore[arg-type]


def test_the_names_of_another_release_make_no_other_row() -> None:
    """DINOv2 as transformers names it has RAD-DINO's sizes and names; it is still the variant of DINOv2."""
    shapes = manifest("rad-dino")["only"]
    with pytest.raises(CheckpointError, match="the tensors of dinov2:b14, not of dinov2:s14"):
        load_model("dinov2:s14", meta(shapes), device="cpu")
    assert recognise.check(catalog.card("dinov2", "model"), "b14", meta(shapes), {}) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["mmedlm-2:1-8b", "mmedlm-2:7b", "taiyi:taiyi-1", "taiyi:taiyi-2"])
def test_owners_own_layouts_are_recognised(name: str) -> None:
    file = f"causal_{name.partition(':')[2] if 'taiyi' in name else name.replace(':', '-')}.json.gz"
    stored = json.loads(gzip.decompress((DATA / "manifests" / file).read_bytes()))
    card = catalog.card(name, "model")
    found = {v: recognise.match(card, v, meta(stored["keys"])) for v in card.variants}  # type: ignore[arg-type]
    assert [v for v, one in found.items() if one is Match.EXACT] == [name.partition(":")[2]]


# Where no variant is named ----------------------------------------------------------------------------------------------

CARD = """
slug = "two-sizes"
name = "Two sizes"
summary = "A row of two small networks."
group = "language"
modalities = ["text"]
access = "open"
architecture = "decoder-only"
default_variant = "big"

[variants.big]
summary = "the larger"

[variants.small]
summary = "the smaller"
architecture = "bloom"

[variants.small.config]
vocab_size = {rows}
hidden_size = 32
n_layer = 2
n_head = 4
seq_length = 4096

[run]
family = "causal_lm"
architecture = "llama"

[run.config]
vocab_size = {rows}
hidden_size = 64
intermediate_size = 96
num_hidden_layers = 3
num_attention_heads = 4
num_key_value_heads = 4
max_position_embeddings = 4096
tie_word_embeddings = false
"""


@pytest.fixture
def row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A row of two variants in networks of two kinds; returns a published folder of the one that is not the default."""
    folder = pub.publish(tmp_path / "weights", pub.BLOOM, pub.byte_level_json)
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    (tmp_path / "cards" / "models").mkdir(parents=True)
    (tmp_path / "cards" / "models" / "two-sizes.toml").write_text(CARD.format(rows=rows))
    monkeypatch.setenv("HEALTHFM_CARDS", str(tmp_path / "cards"))
    return folder


@pytest.mark.parametrize("beside", [True, False])
def test_a_default_gives_way_to_the_variant_that_the_tensors_are(row: Path, beside: bool) -> None:
    """With its config.json, which names another network, and without; heads of attention come from the right variant."""
    if not beside:
        (row / "config.json").unlink()
    model = load_model("two-sizes", row, device="cpu")
    assert model.name == "two-sizes:small" and model.provenance["variant"] == "small"
    said = "the weights are those of two-sizes:small, not of two-sizes:big, which is meant where no variant is named: loaded as two-sizes:small"
    assert model.provenance["notices"] == [said]
    config = transformers.BloomConfig(vocab_size=model.network.config.vocab_size, hidden_size=32, n_layer=2, n_head=4)  # type: ignore[union-attr]
    reference = transformers.BloomForCausalLM(config).eval()
    state = {k: v for file in row.glob("pytorch_model-*.bin") for k, v in torch.load(file, weights_only=True).items()}
    reference.load_state_dict(state, strict=False)
    with torch.no_grad():
        theirs = reference(torch.tensor(IDS)).logits[0].numpy()
    np.testing.assert_allclose(model.logits(IDS)[0], theirs, atol=1e-5)
    with pytest.raises(
        CheckpointError, match="the tensors of two-sizes:small, not of two-sizes:big; ask for it by that name"
    ):
        load_model("two-sizes:big", row, device="cpu")
    assert load_model("two-sizes:small", row, device="cpu").provenance["notices"] == []


def test_a_run_says_which_variant_it_ran(row: Path, few_pubmedqa: Path, tmp_path: Path) -> None:
    words = [
        "evaluate",
        "two-sizes",
        "pubmedqa",
        "--root",
        few_pubmedqa,
        "--weights",
        row,
        "--limit",
        "4",
        "--device",
        "cpu",
    ]
    done = run(*words, "--output", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    stored = json.loads((tmp_path / "run" / "run.json").read_text())
    assert stored["environments"][0]["model"]["variant"] == "small"
    assert load_run(tmp_path / "run").title.startswith("two-sizes:small on pubmedqa")
    for text in (done.stdout + done.stderr, (tmp_path / "run" / "report.html").read_text()):
        assert "loaded as two-sizes:small" in " ".join(text.split())
    done = run(*words[:1], "two-sizes:big", *words[2:], "--output", tmp_path / "other")
    assert done.returncode == 2 and "ask for it by that name" in done.stderr


def test_one_stage_of_hipt_is_loaded_as_that_stage(tmp_path: Path) -> None:
    """Another family of networks than the default's, from a file too."""
    shapes = manifest("hipt")["vit-4k"]
    state = {"teacher": {f"module.backbone.{key}": torch.zeros(shape) for key, shape in shapes.items()}}
    torch.save(state, tmp_path / "vit4k_xs_dino.pth")
    for weights in (state, tmp_path / "vit4k_xs_dino.pth"):
        model = load_model("hipt", weights, device="cpu")
        assert model.name == "hipt:vit-4k" and "loaded as hipt:vit-4k" in model.provenance["notices"][0]


# Sizes that are nobody's ------------------------------------------------------------------------------------------------


def test_sizes_of_nobody_load_as_the_caller_says_and_are_told() -> None:
    assert small("uni").provenance["notices"] == [
        "the weights have the sizes that the caller's config gives, not those of uni"
    ]
    model = load_model("chatdoctor", pub.LLAMA(300)[0], config={**pub.SMALL, "num_key_value_heads": 4}, device="cpu")
    assert "the caller's config" in model.provenance["notices"][0]


def test_a_config_beside_unknown_sizes_is_followed_and_told(tmp_path: Path) -> None:
    folder = pub.publish(tmp_path, pub.LLAMA, pub.byte_level_json)
    assert load_model("chatdoctor", folder, device="cpu").provenance["notices"][0] == (
        "the weights have sizes of no published variant of chatdoctor"
    )


def test_added_tokens_make_no_other_variant() -> None:
    """PMC-LLaMA has 32,001 tokens, LLaMA's base 32,000."""
    card, tensors = catalog.card("pmc-llama", "model"), tensors_of("pmc-llama:13b")
    tensors["model.embed_tokens.weight"] = torch.empty(32010, 5120, device="meta")
    assert recognise.match(card, "13b", tensors) is Match.SIZES  # type: ignore[arg-type]
    assert recognise.check(card, "13b", tensors, {}) == []  # type: ignore[arg-type]


def test_the_callers_numbers_decide_where_the_tensors_have_them() -> None:
    """Another row's sizes, asked for in so many words."""
    card = catalog.card("virchow", "model")
    shapes = manifest("virchow2")["only"]
    assert recognise.check(card, None, meta(shapes), {"reg_tokens": 4})[0].endswith("not those of virchow")  # type: ignore[arg-type]

"""The vision rows: published keys load strictly at full size, outputs are the references', and every known trap shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from healthfm import CheckpointError, RunError, load_model
from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard
from healthfm.models.files import checkpoint
from healthfm.models.vision import hierarchical, mae, resnet, swin, swin_decoders, vit
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision.vision_model import VisionModel
from tests.models.vision.towers import (
    DATA,
    distance,
    expected,
    fit_on_meta,
    furthest,
    manifest,
    pixels,
    recipe,
    small,
    thinned,
)
from tests.references.recipe_weights import recipe_array

EXTRA = ("uni2-h", "virchow2", "h-optimus-0", "h-optimus-1", "prov-gigapath", "kaiko", "lunit-dino", "conch-v1-5")
TRANSFORMERS = ("phikon-v2", "rad-dino", "midnight-12k")  # their files hold transformers' Dinov2Model
LIMIT = 1e-4


def ticks(slugs: tuple[str, ...], tick: str) -> list[Any]:
    return [pytest.param(slug, marks=pytest.mark.evidence(slug, tick)) for slug in slugs]


def card(slug: str) -> ModelCard:
    found = catalog.card(slug, "model")
    assert isinstance(found, ModelCard)
    return found


# Keys -------------------------------------------------------------------------------------------------------------------


def variants(slug: str) -> dict[str, str]:
    """Which manifest each variant must fit."""
    if slug == "remedis":
        return {name: name.split("-")[1] for name in card(slug).variants}
    if slug == "retfound":
        return {name: name.split("-")[0] for name in card(slug).variants}
    return {name: name for name in manifest(slug)} if card(slug).variants else {"": "only"}


@pytest.mark.parametrize(
    "slug", ticks(("uni", "virchow", "retfound", "ctranspath", "remedis", *EXTRA, *TRANSFORMERS, "dinov2"), "keys")
)
def test_the_references_keys_load_strictly_at_full_size(slug: str) -> None:
    for variant, name in variants(slug).items():
        network = fit_on_meta(f"{slug}:{variant}".rstrip(":"), manifest(slug)[name])
        stated = card(slug).variants[variant].parameters if variant else card(slug).parameters
        stated = stated or card(slug).parameters
        if stated is not None and not variant.startswith("dinov2"):
            assert sum(p.numel() for p in network.parameters()) == pytest.approx(stated, rel=1e-3)


@pytest.mark.evidence("hipt", "keys")
def test_hipts_two_checkpoints_load_strictly_at_full_size() -> None:
    """Each alone, and both together as HIPT_4K takes them; DINO's head stands beside the backbone."""
    stages = {}
    for variant, stage in (("vit-256", "tiles"), ("vit-4k", "region")):
        published = {f"module.backbone.{key}": shape for key, shape in manifest("hipt")[variant].items()}
        published["module.head.mlp.0.weight"] = [2048, 384]
        network = fit_on_meta(f"hipt:{variant}", published)
        assert sum(p.numel() for p in network.parameters()) == card("hipt").variants[variant].parameters
        stages[stage] = {"teacher": {k: torch.empty(s, device="meta") for k, s in published.items()}, "epoch": 1}
    run = card("hipt").runner("hipt-4k")
    with torch.device("meta"):
        whole = hierarchical.build(run)
        checkpoint.load_strict(whole, hierarchical.joined(stages, run, whole), run.ignore_keys)
    assert sum(p.numel() for p in whole.parameters()) == card("hipt").variants["hipt-4k"].parameters


# Network ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "slug", ticks(("uni", "virchow", "ctranspath", "retfound", "remedis", *EXTRA, "dinov2"), "network")
)
def test_outputs_are_the_references(slug: str) -> None:
    assert (
        furthest(small("kaiko:l14" if slug == "kaiko" else "dinov2:g14" if slug == "dinov2" else slug, slug), slug)
        <= LIMIT
    )


def test_dinov2_with_registers_is_the_references() -> None:
    assert furthest(small("dinov2:l14-reg", "dinov2-reg"), "dinov2-reg") <= LIMIT


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.evidence("phikon-v2", "network")
@pytest.mark.evidence("rad-dino", "network")
@pytest.mark.evidence("midnight-12k", "network")
def test_a_folder_that_transformers_wrote_gives_what_its_dinov2_gives(
    registers: int, gated: bool, tmp_path: Path
) -> None:
    numbers = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 56, "patch_size": 14, "use_swiglu_ffn": gated,
    }  # fmt: skip
    kind = transformers.Dinov2WithRegistersModel if registers else transformers.Dinov2Model
    reference = kind(kind.config_class(**numbers, **({"num_register_tokens": registers} if registers else {}))).eval()
    reference.load_state_dict(recipe({k: list(v.shape) for k, v in reference.state_dict().items()}))
    reference.save_pretrained(tmp_path)
    model = load_model("phikon-v2", tmp_path, device="cpu")
    for height, width in ((56, 56), (70, 84)):
        x = pixels(height, width)
        with torch.no_grad():
            theirs = reference(x).last_hidden_state.numpy()
        found = model.forward({"pixels": x})
        assert distance(found["tokens"], thinned(theirs)) <= LIMIT >= distance(found["pooled"], thinned(theirs[:, 0]))
        wrong = "transformers" if registers else "timm"
        other = load_model("phikon-v2", tmp_path, config={"positions": wrong}, device="cpu").forward({"pixels": x})
        assert (distance(other["tokens"], thinned(theirs)) <= LIMIT) == (height == 56)


DINOV3 = {
    "s16": (384, 12, 6, False),
    "s16plus": (384, 12, 6, True),
    "b16": (768, 12, 12, False),
    "l16": (1024, 24, 16, False),
}


def dinov3(width: int, depth: int, heads: int, gated: bool, hidden: int) -> transformers.DINOv3ViTModel:
    return transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, intermediate_size=hidden, use_gated_mlp=gated,
        num_register_tokens=4, hidden_act="silu" if gated else "gelu",
    ))  # fmt: skip


@pytest.mark.evidence("dinov3", "keys")
def test_dinov3s_keys_load_strictly_at_full_size() -> None:
    """Published names: transformers' class says ``model.layer.`` since version 5, its files ``layer.``."""
    for variant, (width, depth, heads, gated) in DINOV3.items():
        with torch.device("meta"):
            reference = dinov3(width, depth, heads, gated, 4 * width)
        network = fit_on_meta(
            f"dinov3:{variant}", {k.removeprefix("model."): list(v.shape) for k, v in reference.state_dict().items()}
        )
        spare = width * depth - width  # keys' biases, which are zeros here; its mask token
        assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in reference.parameters()) + spare


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.evidence("dinov3", "network")
def test_dinov3_gives_what_transformers_gives(gated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = vit.ViT.angles
    reference = dinov3(32, 2, 4, gated, 96).eval()
    reference.load_state_dict(recipe({k: list(v.shape) for k, v in reference.state_dict().items()}))
    reference.save_pretrained(tmp_path)
    model = load_model("dinov3:s16plus" if gated else "dinov3", tmp_path, device="cpu")
    for height, width in ((64, 64), (80, 112)):
        x = pixels(height, width)
        with torch.no_grad():
            theirs = reference(x)
        found = model.forward({"pixels": x})
        assert distance(found["tokens"], thinned(theirs.last_hidden_state.numpy())) <= LIMIT
        assert distance(found["pooled"], thinned(theirs.pooler_output.numpy())) <= LIMIT
        monkeypatch.setattr(vit.ViT, "angles", lambda self, rows, columns: straight(self, columns, rows))
        other = model.forward({"pixels": x})
        monkeypatch.setattr(vit.ViT, "angles", straight)
        assert (distance(other["tokens"], thinned(theirs.last_hidden_state.numpy())) <= LIMIT) == (height == width)


def hipt(**config: Any) -> tuple[VisionModel, dict[str, Any]]:
    facts = expected("hipt")
    published = recipe(facts["shapes"])
    stages = {
        stage: {"teacher": {f"module.backbone.{k.removeprefix(prefix)}": v for k, v in published.items() if k.startswith(prefix)}}
        for stage, prefix in (("tiles", "model256."), ("region", "model4k."))
    }  # fmt: skip
    numbers = {stage: {**facts["config"][stage], **config.pop(stage, {})} for stage in ("tiles", "region")}
    return load_model("hipt", stages, config={**numbers, **config}, device="cpu"), facts["runs"][0]  # type: ignore[return-value]


@pytest.mark.evidence("hipt", "network")
@pytest.mark.evidence("hipt", "output")
def test_hipt_gives_what_the_owners_class_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A region of 530 x 800 pixels: cut to 2 x 3 tiles around its middle; the region's vector, and with the tiles' mean before it."""
    model, run = hipt()
    x = pixels(*run["size"])
    assert distance(model.forward({"pixels": x})["pooled"], run["pooled"]) <= LIMIT
    assert distance(hipt(pooling="mean+cls")[0].forward({"pixels": x})["pooled"], run["mean+cls"]) <= LIMIT
    for stage in ("tiles", "region"):  # positions stretched in another way than DINO's
        assert (
            distance(hipt(**{stage: {"positions": "timm"}})[0].forward({"pixels": x})["pooled"], run["pooled"]) > LIMIT
        )
    straight = hierarchical.Regions.grid
    monkeypatch.setattr(hierarchical.Regions, "grid", lambda self, x: straight(self, x).transpose(2, 3))
    assert distance(model.forward({"pixels": x})["pooled"], run["pooled"]) > LIMIT


def test_hipt_tiles_alone_are_stage_one() -> None:
    facts = expected("hipt")
    tensors = {k.removeprefix("model256."): v for k, v in recipe(facts["shapes"]).items() if k.startswith("model256.")}
    model = load_model("hipt:vit-256", {"teacher": tensors, "epoch": 3}, config=facts["config"]["tiles"], device="cpu")
    x = pixels(530, 800)[:, :, 9 : 9 + 512, 16 : 16 + 768]
    tiles = x.unfold(2, 256, 256).unfold(3, 256, 256).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    assert distance(model.forward({"pixels": tiles})["pooled"][:, :48], facts["runs"][0]["tiles"]) <= LIMIT


@pytest.mark.evidence("hipt", "network")
def test_hipts_slide_stage_scores_as_the_owners_class_does() -> None:
    facts = expected("hipt-slide")
    slide = hierarchical.SlideHead(card("hipt").runner("hipt-4k").parts["region"].config, num_classes=3)
    weights = recipe(facts["shapes"])
    checkpoint.load_strict(slide, weights)
    bags: list[torch.Tensor] = []
    slide.global_attn_pool.register_forward_hook(lambda _, given, __: bags.append(given[0]))
    with torch.no_grad():
        found = slide.eval()(torch.from_numpy(recipe_array("hipt slide", (4, 256, 384))))
    assert distance(found["logits"].numpy(), facts["logits"]) <= LIMIT

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    gate = "global_attn_pool.attention_"  # the published tensors, by the formula of Ilse and others 2018
    raw = linear(f"{gate}c", linear(f"{gate}a.0", bags[0]).tanh() * linear(f"{gate}b.0", bags[0]).sigmoid())[:, 0]
    shares = raw.exp() / raw.exp().sum()
    error, apart = (
        found["attention"] - shares,
        shares - shares.mean(),
    )  # the shares are nearly equal: how they differ counts
    assert float(error.norm()) <= 0.01 * float(apart.norm()) > 0
    pooled = linear("global_rho.0", (found["attention"][:, None] * bags[0]).sum(0)).relu()
    torch.testing.assert_close(found["pooled"], pooled, rtol=1e-4, atol=1e-5)


def test_hipt_needs_both_published_files(tmp_path: Path) -> None:
    torch.save({"teacher": {}}, tmp_path / "vit256_small_dino.pth")
    with pytest.raises(CheckpointError, match=r"one vit4k_xs_dino\.pth was expected there, 0 were found"):
        load_model("hipt", tmp_path, device="cpu")
    with pytest.raises(CheckpointError, match="'region' is missing"):
        load_model("hipt", {"tiles": {}}, device="cpu")


def test_a_region_smaller_than_a_tile_is_refused() -> None:
    with pytest.raises(RunError, match="a region of 200 x 300 pixels holds no tile of 256"):
        hipt()[0].embed([np.zeros((200, 300, 3), np.uint8)])


# Output -----------------------------------------------------------------------------------------------------------------


@pytest.mark.evidence("uni", "output")
def test_unis_vector_is_the_class_token() -> None:
    """timm's network without a head gives it (``get_encoder.py``)."""
    run = expected("uni")["runs"][0]
    found = {
        rule: small("uni", pooling=rule).forward({"pixels": pixels(*run["size"])})["pooled"] for rule in ("cls", "mean")
    }
    assert np.array_equal(small("uni").forward({"pixels": pixels(*run["size"])})["pooled"], found["cls"])
    assert distance(found["cls"], run["cls"]) <= LIMIT < distance(found["mean"], run["cls"])


@pytest.mark.parametrize("slug", ticks(("virchow", "virchow2"), "output"))
def test_virchows_vector_is_the_class_token_and_the_mean_of_the_patches(slug: str) -> None:
    """``cat(output[:, 0], output[:, 1:].mean(1))``; from token 5 for Virchow2 (its four registers are no patches)."""
    run = expected(slug)["runs"][0]
    model = small(slug)
    x = {"pixels": pixels(*run["size"])}
    owners = np.concatenate((np.reshape(run["cls"], (2, -1)), np.reshape(run["patches"], (2, -1))), -1)
    assert distance(model.forward(x)["pooled"], owners) <= LIMIT
    assert small(slug, pooling="cls").forward(x)["pooled"].shape[1] * 2 == owners.shape[1]
    model.network.prefix = {"virchow": 0, "virchow2": 1}[slug]
    assert distance(model.forward(x)["pooled"], owners) > LIMIT


@pytest.mark.evidence("ctranspath", "output")
@pytest.mark.evidence("remedis", "output")
def test_the_mean_of_the_last_map_is_the_vector() -> None:
    """CTransPath: the network's own output without its head. REMEDIS: ``reduce_mean`` over height and width in the notebook."""
    for slug in ("ctranspath", "remedis"):
        run = expected(slug)["runs"][0]
        found = small(slug).forward({"pixels": pixels(*run["size"])})
        assert distance(found["pooled"], run["pooled"]) <= LIMIT < distance(found["tokens"].max(1), run["pooled"])


@pytest.mark.evidence("retfound", "output")
def test_retfounds_vector_is_normed_once_and_its_scores_twice() -> None:
    run = expected("retfound")["runs"][0]
    x = {"pixels": pixels(*run["size"])}
    found = small("retfound").forward(x)
    assert distance(found["pooled"], run["pooled"]) <= LIMIT and distance(found["logits"], run["logits"]) <= LIMIT
    once = small("retfound", twice=False).forward(x)
    assert distance(once["pooled"], run["pooled"]) <= LIMIT < distance(once["logits"], run["logits"])


def test_retfounds_pretrained_file_gives_the_untrained_norm_of_the_mean() -> None:
    """Its decoder and its encoder's norm are left out, as the owners' loader leaves them."""
    facts = expected("retfound-mae")
    numbers = {k: v for k, v in facts["config"].items() if k != "decoder"}
    model = load_model("retfound", {"model": recipe(facts["shapes"]), "epoch": 1}, config=numbers, device="cpu")
    found = model.forward({"pixels": pixels(64, 64)})
    mean = torch.from_numpy(found["tokens"][:, 1:].mean(1))
    np.testing.assert_allclose(
        found["pooled"], torch.nn.functional.layer_norm(mean, (32,), eps=1e-6).numpy(), atol=1e-5
    )
    assert set(found) == {"tokens", "pooled"}


def test_a_pooling_that_would_leave_out_a_norm_is_refused() -> None:
    with pytest.raises(CheckpointError, match="pooling 'cls' does not go with fc_norm = true; set both in config"):
        small("retfound", pooling="cls")
    with pytest.raises(CheckpointError, match="pooling 'fc_norm' does not go with fc_norm = false"):
        small("uni", pooling="fc_norm")
    facts = expected("retfound-mae")
    numbers = {k: v for k, v in facts["config"].items() if k != "decoder"}
    both = {"pooling": "cls", "fc_norm": False, "twice": False}
    found = load_model("retfound", recipe(facts["shapes"]), config={**numbers, **both}, device="cpu").forward(
        {"pixels": pixels(64, 64)}
    )
    assert np.array_equal(found["pooled"], found["tokens"][:, 0])


# Traps ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "change"),
    [("uni", {"positions": "transformers"}), ("uni", {"norm_eps": 1e-2}), ("virchow", {"positions": "transformers"}), ("dinov2:g14", {"positions": "timm"}), ("vis-mae", {"shift_last": False}), ("remedis", {"eps": 1e-3}), ("remedis", {"minus_one_to_one": True})],
)  # fmt: skip
def test_a_wrong_number_shows(slug: str, change: dict[str, Any]) -> None:
    name = slug.partition(":")[0]
    assert furthest(small(slug, **change), name) > LIMIT


@pytest.mark.parametrize(
    "change", [{"positions": "timm"}, {"positions": "transformers"}, {"query_heads": 8}, {"norm_eps": 1e-2}]
)
def test_conchs_tower_with_a_wrong_number_is_another(change: dict[str, Any]) -> None:
    assert furthest(small("conch-v1-5", **change), "conch-v1-5") > LIMIT


def test_conchs_query_reads_every_token_and_no_other_table_of_positions_than_its_loaders() -> None:
    """The traps: the class token is no vector of it; keys and values stand in one matrix; a table of another grid is made smaller first."""
    tensors = recipe(expected("conch-v1-5")["shapes"])
    theirs = expected("conch-v1-5")["runs"][1]
    model = small("conch-v1-5")
    made = model.forward({"pixels": pixels(*theirs["size"])})
    assert made["pooled"].shape == (2, 48) and distance(made["pooled"], theirs["pooled"]) <= LIMIT
    patches = torch.from_numpy(made["tokens"][:, 1:])
    assert distance(model.network.pooler(patches).detach().numpy(), theirs["pooled"]) > LIMIT  # type: ignore[operator, union-attr]
    turned = {k: v.roll(len(v) // 2, 0) if k.endswith("to_kv.weight") else v for k, v in tensors.items()}
    assert furthest(small("conch-v1-5", weights=turned), "conch-v1-5") > LIMIT
    wide = {**tensors, **recipe({"trunk.pos_embed": [1, 65, 64]})}
    assert furthest(small("conch-v1-5", weights=wide), "conch-v1-5-wide") <= LIMIT
    assert furthest(small("conch-v1-5", weights=wide), "conch-v1-5") > LIMIT
    with pytest.raises(CheckpointError, match="pooling 'query' goes with query_dim"):
        small("conch-v1-5", pooling="cls")
    with pytest.raises(CheckpointError, match="pooling 'query' goes with query_dim"):
        small("uni", pooling="query")


def test_conchs_tower_and_uni_are_told_apart() -> None:
    """They have one transformer."""
    full = {k: torch.empty(s, device="meta") for k, s in manifest("conch-v1-5")["only"].items()}
    with pytest.raises(CheckpointError, match="the sizes of conch-v1-5, not of uni"):
        load_model("uni", full, device="cpu")
    full = {k: torch.empty(s, device="meta") for k, s in manifest("uni")["only"].items()}
    with pytest.raises(CheckpointError, match="the sizes of uni, not of conch-v1-5"):
        load_model("conch-v1-5", full, device="cpu")


@pytest.mark.parametrize("slug", ["virchow", "prov-gigapath", "uni2-h"])
def test_the_gate_and_the_values_of_swiglu_the_wrong_way_round_show(slug: str) -> None:
    tensors = recipe(expected(slug)["shapes"])
    turned = {k: v.roll(len(v) // 2, 0) if ".mlp.fc1." in k else v for k, v in tensors.items()}
    assert furthest(small(slug, weights=turned), slug) > LIMIT


def test_ctranspaths_buffers_are_dropped_and_only_those() -> None:
    tensors = recipe(expected("ctranspath")["shapes"])
    buffers = [k for k in tensors if k.endswith(("attn_mask", "relative_position_index"))]
    assert buffers
    with pytest.raises(CheckpointError, match=rf"{len(buffers)} unexpected keys"):
        small("ctranspath", weights=tensors, dialect=None)
    with pytest.raises(CheckpointError, match=r"1 missing keys: layers\.0\.downsample\.norm\.weight"):
        small("ctranspath", weights={k: v for k, v in tensors.items() if k != "layers.0.downsample.norm.weight"})


def test_ctranspath_under_timms_new_names_is_the_same() -> None:
    """Since timm 0.8 a stage begins with the joining."""
    tensors = recipe(expected("ctranspath")["shapes"])
    new = {k.replace(f"layers.{i}.downsample.", f"layers.{i + 1}.downsample."): v for i in (1, 0) for k, v in tensors.items()
           if f"layers.{i}.downsample." in k}  # fmt: skip
    new |= {k: v for k, v in tensors.items() if ".downsample." not in k}
    assert furthest(small("ctranspath", weights=new, dialect="timm-new"), "ctranspath") <= LIMIT
    with pytest.raises(CheckpointError):
        small("ctranspath", weights=new)


@pytest.mark.parametrize("wrong", ["no mask", "no shift", "turned offsets"])
def test_windows_put_together_wrongly_show(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = swin.offsets(7), swin.borders
    replaced: dict[str, Callable[[], None]] = {
        "no mask": lambda: monkeypatch.setattr(swin, "borders", lambda *sizes: torch.zeros_like(right[1](*sizes))),
        "no shift": lambda: monkeypatch.setattr(swin.torch, "roll", lambda x, *_: x),
        "turned offsets": lambda: monkeypatch.setattr(swin, "offsets", lambda side: right[0].T.contiguous()),
    }
    model = small("ctranspath")
    assert furthest(model, "ctranspath") <= LIMIT
    replaced[wrong]()
    assert furthest(model, "ctranspath") > LIMIT


def bit(**config: Any) -> VisionModel:
    tensors = recipe(expected("remedis-torch")["shapes"])
    kept = {k: v for k, v in tensors.items() if not k.startswith("head.conv")}
    own = {"dialect": None, "depths": [1, 2, 1, 1], "width": 1, "minus_one_to_one": False, **config}
    return load_model("remedis", kept, config=own, device="cpu")  # type: ignore[return-value]


def test_big_transfers_own_pytorch_network_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = bit()
    assert furthest(model, "remedis-torch") <= LIMIT
    pad = torch.nn.functional.pad
    monkeypatch.setattr(resnet.functional, "pad", lambda x, by: pad(x, by, value=float("-inf")))
    assert furthest(model, "remedis-torch") > LIMIT


def test_what_is_added_to_a_kernels_variance_shows_where_kernels_are_tiny() -> None:
    """BiT adds 1e-10, timm 1e-8."""
    run = expected("remedis-tiny")["runs"][0]
    for eps, right in ((1e-10, True), (1e-8, False)):
        model = bit(eps=eps)
        with torch.no_grad():
            model.network.root.conv.weight *= 1e-4
        assert (distance(model.forward({"pixels": pixels(64, 64)})["pooled"], run["pooled"]) <= LIMIT) == right


@pytest.mark.evidence("remedis", "network")
def test_a_savedmodel_and_an_npz_load_as_the_variables_themselves(tmp_path: Path) -> None:
    facts = expected("remedis")
    from_folder = load_model("remedis", DATA / "bit_savedmodel", config=facts["config"], device="cpu")
    assert furthest(from_folder, "remedis") <= LIMIT  # type: ignore[arg-type]
    assert from_folder.provenance["files"] == ["variables.data-00000-of-00001", "variables.index"]
    arrays = {name: value.numpy() for name, value in recipe(facts["shapes"]).items()}
    np.savez(
        tmp_path / "BiT-M-R50x1.npz", **arrays, **{"resnet/head/conv2d/kernel": np.zeros((1, 1, 256, 10), np.float32)}
    )
    assert (
        furthest(load_model("remedis", tmp_path / "BiT-M-R50x1.npz", config=facts["config"], device="cpu"), "remedis")
        <= LIMIT
    )  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="the variable dense/kernel is none of Big Transfer's"):
        small("remedis", weights={"dense/kernel": torch.zeros(1)})


def test_kernels_left_in_tensorflows_order_show(monkeypatch: pytest.MonkeyPatch) -> None:
    turned = {
        k: v.transpose(0, 1).contiguous() if v.ndim == 4 else v
        for k, v in recipe(expected("remedis")["shapes"]).items()
    }
    assert furthest(small("remedis", weights=turned), "remedis") > LIMIT


def test_a_plain_resnet_is_torchvisions() -> None:
    facts = expected("resnet50")
    numbers = {"version": 1, "depths": [1, 2, 1, 1], "width": 1, "dialect": "torchvision", "minus_one_to_one": False}
    tensors = recipe(facts["shapes"])
    model = load_model("remedis", tensors, config=numbers, device="cpu")
    third = load_model(
        "remedis",
        {k: v for k, v in tensors.items() if "layer4" not in k},
        config={**numbers, "stages": 3},
        device="cpu",
    )
    for run in facts["runs"]:
        x = {"pixels": pixels(*run["size"])}
        assert distance(model.forward(x)["pooled"], run["pooled"]) <= LIMIT
        assert distance(third.forward(x)["pooled"], run["third"]) <= LIMIT
    with torch.device("meta"):
        whole = resnet.ResNet(resnet.ResNetNumbers(version=1))
    shapes = {k: torch.empty(s, device="meta") for k, s in manifest("resnet50")["only"].items()}
    checkpoint.load_strict(whole, resnet.torchvision(shapes, whole))


def test_a_block_before_the_last_can_be_asked_for() -> None:
    """As vision-language models take it: before the last norm, counted from the end."""
    network = small("uni").network
    x = pixels(64, 64)
    with torch.no_grad():
        assert torch.equal(network.norm(network.tokens(x, layer=-1)), network.tokens(x))
        assert torch.equal(network.blocks[1](network.tokens(x, layer=-2)), network.tokens(x, layer=1))


# Masked autoencoders, and the rows without weights ----------------------------------------------------------------------


def hidden(run: dict[str, Any], patches: int) -> torch.Tensor:
    mask = torch.zeros(2, patches, dtype=torch.bool)
    for row, places in zip(mask, run["hidden"], strict=True):
        row[places] = True
    return mask


def test_retfounds_training_network_paints_as_the_references_does() -> None:
    facts = expected("retfound-mae")
    run = facts["runs"][0]
    numbers = {k: v for k, v in facts["config"].items() if k != "decoder"}
    network = mae.MaskedAutoencoder(vit.ViTNumbers(**numbers), **facts["config"]["decoder"])
    assert torch.equal(network.pos_embed[:, 1:], mae.waves(32, 4)[None])
    checkpoint.load_strict(network, recipe(facts["shapes"]))
    x, mask = pixels(64, 64), hidden(run, 16)
    with torch.no_grad():
        prediction = network(x, mask)
    assert distance(prediction.numpy(), run["prediction"]) <= LIMIT
    assert float(mae.loss(x, prediction, mask, 16)) == pytest.approx(run["loss"][0], rel=1e-4)


def test_training_positions_are_the_fixed_waves_of_the_reference() -> None:
    """``get_2d_sincos_pos_embed``: place (row 1, column 0) of a grid of 2, width 8: the column's waves, then the row's."""
    found = mae.waves(8, 2)
    assert found.shape == (4, 8)
    np.testing.assert_allclose(found[2], [0, 0, 1, 1, np.sin(1), np.sin(0.01), np.cos(1), np.cos(0.01)], atol=1e-6)


@pytest.mark.evidence("vis-mae", "architecture")
def test_vis_maes_three_networks_are_the_owners() -> None:
    assert furthest(small("vis-mae"), "vis-mae") <= LIMIT
    for variant, build in (
        ("pretraining", lambda n: swin_decoders.SwinMAE(n)), ("segmentation", lambda n: swin_decoders.SwinUnet(n, 3)),
    ):  # fmt: skip
        facts = expected(f"vis-mae-{variant}")
        run = facts["runs"][0]
        numbers = vision.settings(
            card("vis-mae"), None, {}, {k: v for k, v in facts["config"].items() if k != "num_classes"}
        ).config
        network = build(vision.numbers(swin.SwinNumbers, numbers)).eval()
        own = {k: v for k, v in recipe(facts["shapes"]).items() if not k.endswith("relative_position_index")}
        checkpoint.load_strict(network, own)
        x = pixels(*run["size"])
        with torch.no_grad():
            found = network(x, hidden(run, 56 * 56)) if variant == "pretraining" else network(x)
        assert distance(found.numpy(), run["prediction" if variant == "pretraining" else "map"]) <= LIMIT


@pytest.mark.evidence("vis-mae", "architecture")
def test_vis_maes_keys_load_strictly_at_full_size() -> None:
    shapes = manifest("vis-mae")
    network = fit_on_meta("vis-mae", {k: s for k, s in shapes["classification"].items() if not k.startswith("head.")})
    assert network.n.depths == (2, 2, 2, 2)
    for variant, depths in (("pretraining", (2, 2, 2, 2)), ("segmentation", (2, 2, 6, 2))):
        with torch.device("meta"):
            n = swin.SwinNumbers(depths=depths, norm_eps=1e-6, shift_last=True)
            whole = swin_decoders.SwinMAE(n) if variant == "pretraining" else swin_decoders.SwinUnet(n, 3)
        tensors = {
            k: torch.empty(s, device="meta")
            for k, s in shapes[variant].items()
            if not k.endswith("relative_position_index")
        }
        checkpoint.load_strict(whole, tensors)


@pytest.mark.evidence("rudolfv", "architecture")
def test_rudolfv_is_dinov2s_large_network() -> None:
    """Nothing was released: the paper names DINOv2's ViT-L/14, whose own keys fit it, and whose numbers it gives."""
    published = manifest("dinov2")["l14"]
    network = fit_on_meta("rudolfv", {**published, "pos_embed": [1, 257, 1024]})
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(304e6, rel=0.01)
    assert furthest(small("rudolfv", "dinov2"), "dinov2") <= LIMIT
    assert card("rudolfv").access == card("vis-mae").access == "unreleased"

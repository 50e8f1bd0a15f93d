"""A head that a checkpoint brings is loaded, read as classes in the right order, or left off and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file

from healthfm import CheckpointError, RunError, load_model
from healthfm.records import Video
from tests.models import published as pub
from tests.models.vision.towers import distance, expected, pixels, recipe, small, thinned
from tests.references.recipe_weights import recipe_array, recipe_image

PICTURES = [recipe_image(f"picture {i}", 90 + i, 120) for i in range(3)]
LIMIT = 1e-4
NAMES = ["a", "b", "c"]


def loaded(slug: str, weights: Any, config: dict[str, Any], **more: Any) -> Any:
    numbers = {k: v for k, v in config.items() if k not in ("num_classes", "decoder")}
    return load_model(slug, weights, config={**numbers, **more}, device="cpu")


def headed(
    tensors: dict[str, torch.Tensor], width: int, classes: int = 3, key: str = "head"
) -> dict[str, torch.Tensor]:
    """A checkpoint with a head of its own."""
    return {
        **tensors, f"{key}.weight": torch.from_numpy(recipe_array("head w", (classes, width))),
        f"{key}.bias": torch.from_numpy(recipe_array("head b", (classes,))),
    }  # fmt: skip


def applied(tensors: dict[str, torch.Tensor], vectors: np.ndarray, key: str = "head") -> np.ndarray:
    return vectors @ tensors[f"{key}.weight"].numpy().T + tensors[f"{key}.bias"].numpy()


# Towers -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", ["retfound", "vis-mae"])
def test_a_fine_tuned_tower_gives_the_references_scores(slug: str) -> None:
    """RETFound with its fc_norm and VIS-MAE's classifier, whose numbers of classes nobody states."""
    facts = expected(slug)
    weights = {"model": recipe(facts["shapes"]), "epoch": 3}
    model, run = loaded(slug, weights, facts["config"]), facts["runs"][0]
    found = model.forward({"pixels": pixels(*run["size"])})
    assert distance(found["logits"], run["logits"]) <= LIMIT >= distance(found["pooled"], run["pooled"])
    assert model.capabilities == {"preprocess", "forward", "embed", "classify"}
    classes = [f"grade {i}" for i in range(facts["config"]["num_classes"])]
    logits = model.classify(PICTURES, classes, logits=True)
    each = model.forward(model.preprocess(PICTURES))
    np.testing.assert_allclose(logits, each["logits"], atol=1e-5)
    np.testing.assert_allclose(model.embed(PICTURES), each["pooled"], atol=1e-5)
    chances = model.classify(PICTURES, classes)
    assert chances.dtype == np.float32 and chances.shape == (3, len(classes))
    np.testing.assert_allclose(chances, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), atol=1e-6)
    film = Video(id="v", frames=lambda: iter(PICTURES), track=lambda: None)
    np.testing.assert_allclose(model.classify([film], classes, logits=True)[0], logits.mean(0), atol=1e-5)
    assert model.classify([], classes).shape == (0, len(classes))
    with pytest.raises(RunError, match=f"a head of {len(classes)} classes; 2 were named"):
        model.classify(PICTURES, ["a", "b"])
    with pytest.raises(RunError, match="it takes no templates"):
        model.classify(PICTURES, classes, templates=["a photo of {}"])


def test_retfound_fine_tuned_on_its_class_token_is_not_pooled_by_an_untrained_norm() -> None:
    """``--cls_token``: the file holds the last norm and no fc_norm."""
    facts = expected("retfound-mae")
    kept = {k: v for k, v in recipe(facts["shapes"]).items() if not k.startswith(("decoder_", "mask_token"))}
    tensors = headed(kept, 32)
    model = loaded("retfound", {"model": tensors}, facts["config"])
    found = model.forward({"pixels": pixels(64, 64)})
    np.testing.assert_allclose(found["logits"], applied(tensors, found["tokens"][:, 0]), atol=1e-5)
    assert "vectors are pooled as the head takes them: cls, not fc_norm" in model.provenance["notices"]


def test_a_linear_probes_norm_and_layer_are_one_head() -> None:
    """MAE's ``main_linprobe.py``: BatchNorm1d without factors, then the layer, on the class token."""
    facts = expected("retfound-mae")
    kept = {k: v for k, v in recipe(facts["shapes"]).items() if not k.startswith(("decoder_", "mask_token"))}
    probe = torch.nn.Sequential(torch.nn.BatchNorm1d(32, affine=False, eps=1e-6), torch.nn.Linear(32, 3)).eval()
    probe[0].running_mean.copy_(torch.linspace(-1, 1, 32))  # type: ignore[operator,union-attr]
    probe[0].running_var.copy_(torch.linspace(0.1, 2, 32))  # type: ignore[operator,union-attr]
    state = {f"head.{k}": v for k, v in probe.state_dict().items()}
    found = loaded("retfound", {"model": {**kept, **state}}, facts["config"]).forward({"pixels": pixels(64, 64)})
    with torch.no_grad():
        theirs = probe(torch.from_numpy(found["tokens"][:, 0])).numpy()
    np.testing.assert_allclose(found["logits"], theirs, atol=1e-5)


@pytest.mark.parametrize("norm", ["norm", "fc_norm"])
def test_a_towers_pooling_is_the_one_its_head_was_trained_on(norm: str) -> None:
    """timm's "token" has a norm, its "avg" an fc_norm after the mean, which acts once."""
    facts = expected("uni")
    plain = recipe(facts["shapes"])
    tensors = headed({k.replace("norm.", f"{norm}.") if k.startswith("norm.") else k: v for k, v in plain.items()}, 32)
    model = loaded(
        "uni",
        {"state_dict": {f"module.{k}": v for k, v in tensors.items()}} if norm == "norm" else tensors,
        facts["config"],
    )
    found = model.forward({"pixels": pixels(64, 64)})
    vectors = found["tokens"][:, 0]
    if norm == "fc_norm":
        mean = torch.from_numpy(found["tokens"][:, 1:].mean(1))
        vectors = torch.nn.functional.layer_norm(mean, (32,), plain["norm.weight"], plain["norm.bias"], 1e-6).numpy()
    np.testing.assert_allclose(found["logits"], applied(tensors, vectors), atol=1e-5)
    np.testing.assert_allclose(found["pooled"], vectors, atol=1e-5)


@pytest.mark.parametrize(("pool", "fits"), [("token", "cls"), ("avg", "mean"), ("map", None)])
def test_what_timm_states_of_the_pooling_before_a_head_is_followed(pool: str, fits: str | None, tmp_path: Path) -> None:
    facts = expected("uni")
    tensors = headed(recipe(facts["shapes"]), 32, key="classifier")
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"global_pool": pool, "num_classes": 3}))
    if fits is None:
        with pytest.raises(CheckpointError, match="its global_pool is 'map'"):
            loaded("uni", tmp_path, facts["config"])
        return
    found = loaded("uni", tmp_path, facts["config"]).forward({"pixels": pixels(64, 64)})
    vectors = found["tokens"][:, 0] if fits == "cls" else found["tokens"][:, 1:].mean(1)
    np.testing.assert_allclose(found["logits"], applied(tensors, vectors, "classifier"), atol=1e-5)


def test_transformers_own_image_classifier_gives_its_scores(tmp_path: Path) -> None:
    """Dinov2ForImageClassification: class token and patches' mean go into the head; its names are the files'."""
    numbers = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 56, "patch_size": 14}
    config = transformers.Dinov2Config(
        **numbers, id2label={0: "normal", 1: "mild", 2: "severe"}, label2id={"normal": 0, "mild": 1, "severe": 2}
    )
    reference = transformers.Dinov2ForImageClassification(config).eval()
    reference.load_state_dict(recipe({k: list(v.shape) for k, v in reference.state_dict().items()}))
    reference.save_pretrained(tmp_path)
    model = load_model("phikon-v2", tmp_path, device="cpu")
    x = pixels(56, 56)
    with torch.no_grad():
        theirs = reference(x).logits.numpy()
    assert distance(model.forward({"pixels": x})["logits"], thinned(theirs)) <= LIMIT
    straight = model.classify(PICTURES, ["normal", "mild", "severe"])
    np.testing.assert_array_equal(model.classify(PICTURES, ["severe", "normal", "mild"]), straight[:, [2, 0, 1]])
    with pytest.raises(RunError, match="the head's classes are normal, mild, severe; not worse"):
        model.classify(PICTURES, ["normal", "mild", "worse"])


@pytest.mark.parametrize("kernel", ["resnet/head/conv2d/kernel", "head/dense/kernel:0"])
def test_a_head_on_remedis_is_read_from_tensorflows_names(kernel: str) -> None:
    facts = expected("remedis")
    shape = (1, 1, 256, 4) if "conv" in kernel else (256, 4)
    weight, bias = recipe_array("kernel", shape), recipe_array("bias", (4,))
    tensors = {
        **recipe(facts["shapes"]), kernel: torch.from_numpy(weight), kernel.replace("kernel", "bias"): torch.from_numpy(bias),
    }  # fmt: skip
    found = loaded("remedis", tensors, facts["config"]).forward({"pixels": pixels(*facts["runs"][0]["size"])})
    np.testing.assert_allclose(found["logits"], found["pooled"] @ weight.reshape(256, 4) + bias, atol=1e-4)


def test_a_plain_resnets_head_is_read() -> None:
    facts = expected("resnet50")
    numbers = {"version": 1, "depths": [1, 2, 1, 1], "width": 1, "dialect": "torchvision", "minus_one_to_one": False}
    tensors = headed({k: v for k, v in recipe(facts["shapes"]).items() if not k.startswith("fc.")}, 2048, key="fc")
    found = loaded("remedis", tensors, numbers).forward({"pixels": pixels(64, 64)})
    np.testing.assert_allclose(found["logits"], applied(tensors, found["pooled"], "fc"), atol=1e-3)


# Heads that are left off, or refused ------------------------------------------------------------------------------------


def test_imagenets_head_is_left_off_and_named() -> None:
    facts = expected("uni")
    plain = small("uni").forward({"pixels": pixels(64, 64)})["pooled"]
    tensors = headed(recipe(facts["shapes"]), 32, 1000)
    model = loaded("uni", tensors, facts["config"])
    assert "classify" not in model.capabilities
    np.testing.assert_array_equal(model.forward({"pixels": pixels(64, 64)})["pooled"], plain)
    assert any(
        one.startswith("a head of 1000 classes (head.weight) was left off") for one in model.provenance["notices"]
    )
    assert "classify" in loaded("uni", tensors, facts["config"], num_classes=1000).capabilities
    few = loaded("uni", headed(recipe(facts["shapes"]), 32), facts["config"], num_classes=0)
    assert "classify" not in few.capabilities and "as the caller asks" in few.provenance["notices"][-1]


def test_a_head_the_card_forbids_is_named() -> None:
    """HIPT's card drops heads."""
    facts = expected("hipt")
    published = recipe(facts["shapes"])
    state = {
        f"module.backbone.{k.removeprefix('model256.')}": v for k, v in published.items() if k.startswith("model256.")
    }
    state |= {f"module.{k}": v for k, v in headed({}, 32).items()}
    model = load_model("hipt:vit-256", {"teacher": state}, config=facts["config"]["tiles"], device="cpu")
    assert "a head of 3 classes (head.weight) was left off, as the card says" in model.provenance["notices"]
    assert "classify" not in model.capabilities


def test_a_head_on_other_vectors_is_refused_by_name() -> None:
    facts = expected("virchow")
    width = facts["config"]["embed_dim"]
    says = rf"the head head.weight of 3 classes takes {width} numbers, the pooled vectors have {2 * width}"
    tensors = headed(recipe(facts["shapes"]), width)
    with pytest.raises(CheckpointError, match=says):
        loaded("virchow", tensors, facts["config"])
    assert "classify" in loaded("virchow", tensors, facts["config"], pooling="cls").capabilities


def test_one_output_is_no_probability() -> None:
    facts = expected("uni")
    model = loaded("uni", headed(recipe(facts["shapes"]), 32, 1), facts["config"])
    assert model.classify(PICTURES, ["risk"], logits=True).shape == (3, 1)
    with pytest.raises(RunError, match="its head has one output"):
        model.classify(PICTURES, ["risk"])


def test_names_that_are_not_as_many_as_the_head_has_are_refused(tmp_path: Path) -> None:
    facts = expected("uni")
    save_file(headed(recipe(facts["shapes"]), 32), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"label_names": ["a", "b"]}))
    with pytest.raises(CheckpointError, match=r"config.json names 2 classes, the head has 3"):
        loaded("uni", tmp_path, facts["config"])


# Texts ------------------------------------------------------------------------------------------------------------------

BERT = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32, "vocab_size": 120,
    "max_position_embeddings": 64,
}  # fmt: skip
TEXTS = ["the patient died", "he went home well", "no change"]


def bert(folder: Path, kind: str, **config: Any) -> Any:
    """A folder as transformers writes a fine-tuned BERT, with a vocabulary, and the network itself."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(" ".join(TEXTS).split())]
    pieces = [*words, *(f"[unused{i}]" for i in range(BERT["vocab_size"] - len(words)))]
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    network = getattr(transformers, kind)(transformers.BertConfig(**BERT, **config)).eval()
    network.load_state_dict(
        recipe({k: list(v.shape) for k, v in network.state_dict().items() if v.is_floating_point()}), strict=False
    )
    network.save_pretrained(folder)
    return network


@pytest.mark.parametrize("many", [False, True])
def test_a_fine_tuned_bert_classifies_as_transformers_does(many: bool, tmp_path: Path) -> None:
    labels = {0: "alive", 1: "dead", 2: "unknown"}
    kind = {"problem_type": "multi_label_classification"} if many else {}
    reference = bert(
        tmp_path, "BertForSequenceClassification", id2label=labels, label2id={v: k for k, v in labels.items()}, **kind
    )
    model: Any = load_model("pubmedbert", tmp_path, device="cpu")
    assert "classify" in model.capabilities and "fill" not in model.capabilities
    with torch.no_grad():
        theirs = torch.cat([reference(torch.tensor([model.encode(text)])).logits for text in TEXTS])
    np.testing.assert_allclose(model.classify(TEXTS, list(labels.values()), logits=True), theirs.numpy(), atol=1e-5)
    chances = theirs.sigmoid() if many else theirs.softmax(-1)
    turned = model.classify(TEXTS, ["unknown", "alive", "dead"])
    np.testing.assert_allclose(turned, chances[:, [2, 0, 1]].numpy(), atol=1e-5)
    with pytest.raises(RunError, match="the head's classes are alive, dead, unknown; not ill"):
        model.classify(TEXTS, ["alive", "dead", "ill"])
    assert model.embed(TEXTS).shape == (3, 16)


def test_berts_head_over_tokens_is_left_off_and_named(tmp_path: Path) -> None:
    bert(tmp_path, "BertForTokenClassification", num_labels=5)
    model = load_model("biobert", tmp_path, device="cpu")
    assert (
        "a head over tokens of 5 classes (classifier.weight) was left off: hf:FOLDER tags words by it (token-classification)"
        in model.provenance["notices"]
    )
    assert "classify" not in model.capabilities


@pytest.mark.parametrize(("slug", "kind"), [("chatdoctor", "Llama"), ("biomistral", "Mistral")])
def test_a_fine_tuned_causal_network_classifies_as_transformers_does(slug: str, kind: str, tmp_path: Path) -> None:
    rows = pub.byte_level_json(tmp_path)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=rows, **pub.SMALL, num_key_value_heads=2, num_labels=3, pad_token_id=3,
        id2label=dict(enumerate(NAMES)), label2id={name: i for i, name in enumerate(NAMES)},
    )  # fmt: skip
    reference = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    reference.load_state_dict(recipe({k: list(v.shape) for k, v in reference.state_dict().items()}))
    reference.save_pretrained(tmp_path)
    model: Any = load_model(slug, tmp_path, device="cpu")
    assert model.capabilities == {"preprocess", "forward", "classify"}
    with torch.no_grad():
        theirs = torch.cat([reference(torch.tensor([model.encode(text)])).logits for text in TEXTS])
    np.testing.assert_allclose(
        model.classify(TEXTS, ["c", "a", "b"], logits=True), theirs.numpy()[:, [2, 0, 1]], atol=1e-5
    )


def test_t5s_classification_head_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match=r"classification_head.dense.weight is a classifier's head on T5"):
        load_model("clinical-t5", {"classification_head.dense.weight": torch.zeros(2, 2)}, device="cpu")

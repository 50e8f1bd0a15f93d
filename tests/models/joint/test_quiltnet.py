"""QuiltNet's B-16-PMB is open_clip's CustomTextCLIP with BiomedCLIP's two networks, and none of QuiltNet's other variants."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from healthfm import CheckpointError, load_model
from healthfm.cards import catalog
from healthfm.cards.schema import ModelCard
from healthfm.models.joint.dual_encoder import DualEncoderModel
from tests.models import road
from tests.models.joint.near import LIMIT, distance
from tests.models.joint.test_dual_encoder import expected, manifest
from tests.models.joint.test_towers import HEADS, fits, pixels_go_in, tensors, told, with_words
from tests.models.vision.test_vision_road import class_folders
from tests.references import paired_towers as reference

NAME, TWIN = "quiltnet:b-16-pmb", "biomedclip"  # of whose networks the reference's numbers are


def small(weights: Any = None, **config: Any) -> DualEncoderModel:
    given = {part: {**numbers, **config.pop(part, {})} for part, numbers in HEADS[TWIN].items()}
    model = load_model(NAME, weights or dict(tensors(TWIN)), config={**given, **config}, device="cpu")
    assert isinstance(model, DualEncoderModel)
    return model


@pytest.mark.evidence("quiltnet", "keys")
def test_its_keys_load_strictly_at_full_size_and_no_other_variants_do() -> None:
    card = catalog.card("quiltnet", "model")
    assert isinstance(card, ModelCard)
    shapes = manifest(TWIN)["only"]
    assert fits(NAME, shapes) == card.variants["b-16-pmb"].parameters
    with pytest.raises(CheckpointError, match="missing"):
        fits(NAME, {key: value for key, value in shapes.items() if key != "text.proj.2.weight"})
    full = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    with pytest.raises(CheckpointError, match="tensors of quiltnet:b-16-pmb, not of quiltnet:b-16"):
        load_model("quiltnet:b-16", full, device="cpu")
    plain = {key: torch.empty(shape, device="meta") for key, shape in manifest("open-clip")["ViT-B-16"].items()}
    with pytest.raises(CheckpointError, match="quiltnet:b-16, not of quiltnet:b-16-pmb"):
        load_model(NAME, plain, device="cpu")


@pytest.mark.evidence("quiltnet", "network")
@pytest.mark.evidence("quiltnet", "output")
def test_its_towers_and_scores_are_open_clips() -> None:
    model, theirs, ids = small(), expected(TWIN), reference.ids()
    x = {"pixels": reference.pixels()}
    assert distance(model.forward(x)["image_embedding"], theirs["image"]) <= LIMIT
    assert distance(model.embed_tokens(ids), theirs["text"]) <= LIMIT
    alone = np.concatenate([model.embed_tokens([[one for one in row if one]]) for row in ids.tolist()])
    assert distance(alone, theirs["text"]) <= LIMIT  # padding is not seen
    assert distance(model.embed_tokens(ids, torch.ones_like(ids)), theirs["text"]) > LIMIT
    for side, wrong in (("text", {"pooling": "last"}), ("text", {"layer_norm_eps": 1e-3}), ("image", {"pooling": "mean"})):  # fmt: skip
        other = small(**{side: wrong})
        made = other.embed_tokens(ids) if side == "text" else other.forward(x)["image_embedding"]
        assert distance(made, theirs[side]) > LIMIT
    told(model, {"one a": 0, "a two": 1, "one b": 2, "b two": 3})
    model.transform = None  # the reference's pixels
    ready = list(reference.pixels().numpy())
    assert distance(model.classify(ready, ["a", "b"], ("one {}", "{} two")), theirs["probabilities"]) <= LIMIT


@pytest.mark.evidence("quiltnet", "input")
def test_pictures_and_strings_go_in_as_open_clip_makes_them(tmp_path: Path) -> None:
    import transformers

    torch.save(with_words(TWIN, tmp_path), tmp_path / "open_clip_pytorch_model.bin")
    model = small(tmp_path)
    pixels_go_in(TWIN, model)
    words = {piece: i for i, piece in enumerate(reference.WORDS)}
    theirs = transformers.BertTokenizer(vocab=words, do_lower_case=True)
    card = catalog.card("conch", "model")
    assert isinstance(card, ModelCard) and card.run is not None and card.run.zero_shot is not None
    asked = [one.format("pneumonia of the lungs") for one in card.run.zero_shot.templates]  # 22
    for text in (*asked, *reference.SENTENCES):
        ids = theirs(text, truncation=True, max_length=32)["input_ids"]  # places of the small network
        assert model.prepare(text).inputs[0].tolist() == ids
    assert model.prepare("\uff41\uff4e image").inputs[0].tolist() == theirs("an image")["input_ids"]


@pytest.mark.evidence("quiltnet", "road")
def test_classes_by_their_names_from_published_files_to_a_report(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    torch.save(with_words(TWIN, weights), weights / "open_clip_pytorch_model.bin")
    torch.save({}, weights / "other.pth")
    pictures = class_folders(tmp_path / "tiles", 64)
    for folder in pictures.iterdir():
        for old, new in (("class0", "heart"), ("class1", "lung_heart")):
            (folder / old).rename(folder / new)
    rows = road.evaluated(tmp_path / "run", NAME, pictures, "--task", "zero-shot", "--weights", weights)
    model = load_model(NAME, weights, device="cpu")
    files = sorted((pictures / "test").rglob("*.*g"))
    likely = model.classify(files, ["heart", "lung heart"])  # by the card's own sentences and rule
    assert np.allclose([row["probabilities"] for row in rows], likely, atol=1e-5)
    asked = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    page = html.unescape((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    assert "b-16-pmb" in json.dumps(asked) and "a histopathology slide showing {}" in page

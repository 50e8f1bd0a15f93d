"""Vision models as a user meets them: pictures in, vectors out, published files loaded strictly."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from healthfm import CapabilityError, CheckpointError, RunError, load_model
from healthfm.models.vision import vision_model as vision
from healthfm.models.vision import vit
from healthfm.records import Video, Volume
from tests.models.vision.towers import expected, recipe, small
from tests.references.recipe_weights import recipe_image

PICTURES = [recipe_image(f"picture {i}", 90 + i, 120) for i in range(5)]


def weights(name: str = "uni") -> dict[str, torch.Tensor]:
    return recipe(expected(name)["shapes"])


def test_embeddings_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small("uni")
    together = model.embed(PICTURES)
    assert together.shape == (5, 32) and together.dtype == np.float32
    np.testing.assert_allclose(model.embed(PICTURES, batch_size=2), together, atol=1e-6)
    np.testing.assert_allclose(model.embed(PICTURES[::-1])[::-1], together, atol=1e-6)
    monkeypatch.setattr(vision, "PIXELS_PER_BATCH", 3 * 224 * 224)
    np.testing.assert_allclose(model.embed(PICTURES), together, atol=1e-6)


def test_verbs_agree_with_each_other() -> None:
    model = small("uni", pooling="cls+mean")
    batch = model.preprocess(PICTURES)
    assert batch["pixels"].shape == (5, 3, 224, 224)
    found = model.forward(batch)
    np.testing.assert_allclose(model.embed(PICTURES), found["pooled"], atol=1e-6)
    np.testing.assert_allclose(np.stack(model.embed(PICTURES, "tokens")), found["tokens"], atol=1e-6)
    tokens = found["tokens"]
    assert tokens.shape == (5, 1 + 14 * 14, 32)
    np.testing.assert_allclose(found["pooled"], np.concatenate((tokens[:, 0], tokens[:, 1:].mean(1)), -1), atol=1e-5)


def test_a_film_is_the_mean_of_its_frames() -> None:
    model = small("uni")
    film = Video(id="v", frames=lambda: iter(PICTURES[:3]), track=lambda: None)
    found = model.embed([film, PICTURES[3]])
    np.testing.assert_allclose(found[0], model.embed(PICTURES[:3]).mean(0), atol=1e-6)
    np.testing.assert_allclose(found[1], model.embed(PICTURES[3:4])[0], atol=1e-6)


def test_a_volume_is_the_mean_of_its_windowed_slices() -> None:
    values = np.random.default_rng(0).integers(-1000, 1000, (30, 20, 3)).astype(np.int16)
    volume = Volume(id="v", load=lambda: values, place=lambda: np.eye(4))
    with pytest.raises(RunError, match="voxels of int16 need a window"):
        small("uni").embed([volume])
    model = small("uni")
    model.show_between(-160, 240)
    seen = np.rint(np.clip((values + 160.0) / 400, 0, 1) * 255).astype(np.uint8)
    slices = [np.flipud(np.fliplr(seen[:, :, k].T)) for k in range(3)]
    np.testing.assert_allclose(model.embed([volume])[0], model.embed(slices).mean(0), atol=1e-6)
    left = Volume(id="l", load=lambda: values[::-1], place=lambda: np.diag([-1.0, 1, 1, 1]))  # stored right to left
    np.testing.assert_allclose(model.embed([left]), model.embed([volume]), atol=1e-6)
    wrong = Volume(id="w", load=lambda: values[::-1], place=lambda: np.eye(4))
    assert np.abs(model.embed([wrong]) - model.embed([volume])).max() > 1e-3
    several = Volume(id="s", load=lambda: values[..., None].repeat(2, -1), place=lambda: np.eye(4))
    with pytest.raises(RunError, match="several channels"):
        model.embed([several])


def test_slices_have_their_neighbours_beside_them_where_the_card_says_so() -> None:
    values = np.random.default_rng(0).integers(0, 255, (30, 20, 4), dtype=np.uint8)
    volume = Volume(id="v", load=lambda: values, place=lambda: np.eye(4))
    rule = {"resize": 224, "crop": 224}
    plain, model = small("uni", transform=rule), small("uni", transform={**rule, "volumes": "2.5d"})
    beyond = np.pad(values, ((0, 0), (0, 0), (1, 1)), "edge").transpose(1, 0, 2)[::-1, ::-1]
    pictures = [beyond[..., k : k + 3] for k in range(4)]  # red is nearer to the feet, blue to the head
    np.testing.assert_allclose(model.embed([volume])[0], plain.embed(pictures).mean(0), atol=1e-6)
    down = Volume(id="d", load=lambda: values[..., ::-1], place=lambda: np.diag([1.0, 1, -1, 1]))  # stored head first
    np.testing.assert_allclose(model.embed([down]), model.embed([volume]), atol=1e-6)
    turned = plain.embed([one[..., ::-1] for one in pictures]).mean(0)  # neighbours in the wrong order
    assert np.abs(model.embed([volume])[0] - turned).max() > 1e-3
    assert np.abs(model.embed([volume]) - plain.embed([volume])).max() > 1e-3
    alone = Volume(id="a", load=lambda: values[..., :1], place=lambda: np.eye(4))
    np.testing.assert_allclose(model.embed([alone]), plain.embed([alone]), atol=1e-6)
    with pytest.raises(CheckpointError, match="needs the channels that grey makes one"):
        small("uni", transform={**rule, "volumes": "2.5d", "grey": True})


def test_nothing_gives_nothing() -> None:
    assert len(small("uni").embed([])) == 0


def test_batches_hold_neighbours_of_one_shape() -> None:
    shapes = [(3, 4, 4)] * 3 + [(3, 4, 8)] + [(3, 4, 4)] * 2
    found = [[a.shape for a in batch] for batch in vision.batches((np.zeros(s, np.float32) for s in shapes), 2)]
    assert found == [shapes[:2], shapes[2:3], shapes[3:4], shapes[4:]]


def test_pictures_of_different_sizes_need_a_transform_that_crops() -> None:
    model = small("uni", transform={"resize": 64})
    with pytest.raises(RunError, match=r"uni does not crop, and these pictures become 64 x 64, 64 x 80"):
        model.preprocess([np.zeros((64, 80), np.uint8), np.zeros((64, 64), np.uint8)])
    assert model.embed([np.zeros((64, 80), np.uint8), np.zeros((64, 64), np.uint8)]).shape == (2, 32)


def test_an_output_or_pooling_that_is_not_there_is_named() -> None:
    with pytest.raises(CapabilityError, match="output is 'map'; use pooled or tokens"):
        small("uni").embed(PICTURES, "map")
    with pytest.raises(CheckpointError, match=r"uni: pooling is 'max'; use cls, mean, cls\+mean, fc_norm"):
        small("uni", pooling="max")


def test_a_number_the_family_does_not_know_is_named() -> None:
    with pytest.raises(CheckpointError, match="'widht' is no number of this family; it has embed_dim, depth"):
        small("uni", widht=3)
    with pytest.raises(CheckpointError, match="uni: config does not fit the card"):
        small("uni", transform={"resize": -1})


# Files ------------------------------------------------------------------------------------------------------------------


def test_files_of_every_form_load_the_same(tmp_path: Path) -> None:
    reference = small("uni").embed(PICTURES[:1])
    torch.save(weights(), tmp_path / "pytorch_model.bin")
    save_file(weights(), tmp_path / "model.safetensors")
    torch.save(weights(), tmp_path / "uni.pth")
    for name in ("pytorch_model.bin", "model.safetensors", "uni.pth"):
        model = small("uni", weights=tmp_path / name)
        assert np.array_equal(model.embed(PICTURES[:1]), reference)
        assert model.provenance["files"] == [name] and model.provenance["digest"].startswith("sha256:")


def test_a_training_scripts_arguments_beside_the_weights_are_no_obstacle(tmp_path: Path) -> None:
    kept = {"model": weights("ctranspath"), "args": argparse.Namespace(lr=1.0), "epoch": 3}
    torch.save(kept, tmp_path / "ctranspath.pth")
    assert np.array_equal(small("ctranspath", weights=tmp_path / "ctranspath.pth").embed(PICTURES[:1]), small("ctranspath").embed(PICTURES[:1]))  # fmt: skip


def test_a_state_under_another_key_is_named() -> None:
    with pytest.raises(CheckpointError, match="the weights should stand under 'model'; found student, epoch"):
        small("ctranspath", weights={"student": weights("ctranspath"), "epoch": 3})


def test_missing_unexpected_and_wrongly_shaped_keys_are_listed() -> None:
    wrong = weights()
    wrong["stranger"] = wrong.pop("norm.bias")
    wrong["cls_token"] = torch.zeros(1, 1, 16)
    with pytest.raises(CheckpointError, match=r"1 missing keys: norm\.bias; 1 unexpected keys: stranger; 1 wrong shapes: cls_token is \(1, 1, 16\), \(1, 1, 32\) fits"):  # fmt: skip
        small("uni", weights=wrong)


def test_a_dialect_the_family_does_not_read_is_named() -> None:
    with pytest.raises(
        CheckpointError, match="key dialect is 'keras'; this family reads dinov2, transformers, dinov3, mae"
    ):
        small("uni", dialect="keras")


def test_random_weights_are_the_same_every_time() -> None:
    config = expected("uni")["config"]
    first, second = (load_model("uni", "random", config=config, device="cpu").embed(PICTURES[:2]) for _ in range(2))
    assert np.array_equal(first, second) and first.std() > 0 and not np.array_equal(first[0], first[1])


def test_a_file_without_tensors_is_no_random_network(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "empty.pth")
    for nothing in ({}, tmp_path / "empty.pth"):
        with pytest.raises(CheckpointError, match=r"\d+ missing keys"):
            small("uni", weights=nothing)


def test_an_architecture_that_lacks_a_number_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"the architecture is not complete: missing 1 required .*: 'depth'"):
        vision.numbers(vit.ViTNumbers, {"embed_dim": 8, "num_heads": 2})


def test_half_precision_stays_near(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = small("uni").embed(PICTURES)
    half = load_model("uni", weights(), config=expected("uni")["config"], device="cpu", dtype="bfloat16").embed(
        PICTURES
    )
    assert half.dtype == np.float32
    cosine = (exact * half).sum(-1) / np.linalg.norm(exact, axis=-1) / np.linalg.norm(half, axis=-1)
    assert cosine.min() > 0.999 and not np.array_equal(exact, half)

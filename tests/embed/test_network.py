"""Precisions, the check against torch's float32, and the key under which vectors are shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from healthfm import load_model
from healthfm.embed import check, engines
from healthfm.embed.embedder import Embedder
from healthfm.embed.items import gather
from healthfm.embed.key import code, key_of
from healthfm.embed.run import embed
from healthfm.errors import CapabilityError, RunError
from healthfm.models.arithmetic import openvino
from healthfm.models.vision.vision_model import VisionModel
from healthfm.records import Document, Volume
from tests.embed.conftest import SMALL, small

Photos = Callable[..., Path]
needs_openvino = pytest.mark.skipif(openvino.version() is None, reason="needs openvino")


def test_how_far_vectors_are_is_measured_row_by_row_and_without_what_they_share() -> None:
    rng = np.random.default_rng(0)
    common, own = 100 * np.ones((4, 8), np.float32), rng.standard_normal((4, 8)).astype(np.float32)
    other = rng.standard_normal((4, 8)).astype(np.float32)
    found = check.measure(common + own, common + other)
    assert found["cosine"] > 0.999  # which flatters
    centred = own - own.mean(0)
    expected = min(
        float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        for a, b in zip(centred, other - own.mean(0), strict=True)  # both lose the reference's mean
    )
    assert found["centred_cosine"] == pytest.approx(expected, abs=1e-4)
    assert found["relative_difference"] == pytest.approx(
        max(np.linalg.norm(other - own, axis=1) / np.linalg.norm(common + own, axis=1)), rel=1e-5
    )
    assert check.measure(common, common)["centred_cosine"] is None


@needs_openvino
def test_bfloat16_is_checked_on_the_first_pictures_and_the_cosines_are_stored(tower: VisionModel, photos: Photos, tmp_path: Path) -> None:  # fmt: skip
    made = embed(tower, gather([photos(12)], False), tmp_path / "out", precision="bfloat16")
    found = made.manifest["check"]
    assert found["units"] == 8
    assert 0.999 <= found["cosine"] <= 1
    assert found["centred_cosine"] <= found["cosine"]
    assert made.manifest["key"]["precision"] == "bfloat16"


@needs_openvino
def test_the_check_takes_one_slice_of_a_volume(tower: VisionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    voxels = np.random.default_rng(0).integers(0, 255, (12, 10, 9), dtype=np.uint8)
    volumes = [Volume(id=name, load=lambda: voxels, place=lambda: np.eye(4)) for name in "ab"]
    seen, real = [], engines.reference
    monkeypatch.setattr(engines, "reference", lambda model, some: seen.extend(some) or real(model, some))
    made = embed(tower, volumes, tmp_path / "out")
    assert made.manifest["check"]["units"] == len(seen) == 2
    middle = tower.preprocess([np.flipud(np.fliplr(voxels[:, :, 4].T))])["pixels"][0].numpy()
    np.testing.assert_array_equal(seen[0], middle)
    assert np.abs(made.vectors - tower.embed(volumes)).max() < 1e-4


@needs_openvino
def test_int8_takes_its_ranges_from_pictures_that_are_not_checked_and_a_rerun_uses_the_same_network(tower: VisionModel, photos: Photos, tmp_path: Path) -> None:  # fmt: skip
    pytest.importorskip("nncf")
    folder = photos(14)
    items = gather([folder], False)
    with pytest.raises(RunError, match="more pictures than the first 8"):
        embed(tower, gather([str(folder / "00[0-4].jpg")], False), tmp_path / "few", precision="int8")
    made = embed(tower, items, tmp_path / "out", precision="int8", units_per_part=4)
    expected = tower.embed(sorted(folder.iterdir()))
    assert 1e-4 < check.measure(expected, made.vectors)["relative_difference"] < 0.3
    assert made.manifest["check"]["units"] == 8
    before = made.vectors
    (made.path / "embeddings" / "part-40000000.parquet").unlink()
    assert np.array_equal(embed(tower, items, tmp_path / "out", precision="int8", units_per_part=4).vectors, before)


@needs_openvino
def test_where_openvinos_float32_differs_torchs_own_is_used_and_said(tower: VisionModel, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    folder = photos(5)
    monkeypatch.setattr(check, "SAME", 0.0)  # what the check would do at a real difference
    made = embed(tower, gather([folder], False), tmp_path / "out")
    assert made.manifest["key"]["engine"].startswith("torch")
    assert "differs" in made.manifest["check"]["openvino"]["refused"]
    (folder / "004.jpg").write_bytes(b"")
    again = embed(tower, gather([str(folder / "*.jpg")], False), tmp_path / "other")
    assert again.manifest["check"]["openvino"]["units"] == 4


def test_without_openvino_float32_goes_through_onednn_and_other_precisions_are_refused(tower: VisionModel, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(openvino, "version", lambda: None)
    made = embed(tower, gather([photos(3)], False), tmp_path / "out")
    assert made.manifest["key"]["linear"] == "oneDNN"
    with pytest.raises(Exception, match=r"healthfm\[cpu\]"):
        engines.choose(tower, "int8")
    with pytest.raises(CapabilityError, match="dtype='bfloat16'"):
        engines.choose(tower, "bfloat16")
    assert engines.loaded_for(tower, "bfloat16") == "bfloat16"


def test_the_key_changes_with_all_that_a_vector_depends_on(tower: VisionModel) -> None:
    def key(model: VisionModel, **how: Any) -> dict[str, Any] | None:
        return key_of(model, engines.choose(model, **how))

    first = key(tower)
    assert first == key(small())
    changed = small()
    with torch.no_grad():
        changed.network.blocks[0].mlp.fc1.bias[3] += 1e-3  # type: ignore[union-attr,index]
    rule: dict[str, Any] = SMALL["transform"]  # type: ignore[assignment]
    models = [changed, small(num_heads=4), small(pooling="mean"), small(transform={**rule, "scale": 254})]
    models += [small(transform={**rule, "volumes": "2.5d"}), load_model("uni", "random", config=SMALL, device="cpu")]  # type: ignore[list-item]
    keys = [first, key(tower, engine="torch"), *map(key, models)]
    assert len({str(one) for one in keys}) == len(keys)


def test_eight_bits_are_for_pictures_only(tmp_path: Path) -> None:
    model = load_model(lambda texts: np.zeros((len(texts), 2), np.float32), card={"slug": "other"}, verb="embed")
    with pytest.raises(CapabilityError, match="int8 is for models of pictures"):
        embed(model, ["a", "b"], tmp_path / "out", precision="int8")


def test_the_code_in_the_key_is_that_of_this_model_alone(tower: VisionModel) -> None:
    other = load_model(lambda texts: texts, card={"slug": "other"}, verb="embed")
    assert code(tower) == code(tower) != code(other)  # type: ignore[arg-type]


def test_an_embedder_computes_each_content_once_and_names_what_it_cannot_read(
    tower: VisionModel, photos: Photos
) -> None:
    paths = sorted(photos(10).iterdir())
    expected = tower.embed(paths)
    first = Embedder(tower)
    vectors = first(paths)
    assert np.abs(vectors - expected).max() <= 1e-4 * np.abs(expected).max()
    second = Embedder(tower)
    second(paths[:1])
    second._network.work = lambda units: 1 / 0  # type: ignore[union-attr,assignment,return-value]
    assert np.array_equal(second(paths[::-1]), vectors[::-1])
    with pytest.raises(RunError, match=r"gone.jpg: .*cannot be read"):
        first([paths[0], Path("gone.jpg")])


def test_texts_of_a_callers_own_model_are_embedded_and_not_shared(tmp_path: Path) -> None:
    calls: list[int] = []

    def count(texts: Sequence[str]) -> np.ndarray:
        calls.append(len(texts))
        return np.array([[len(text), text.count("a")] for text in texts], np.float32)

    model = load_model(count, card={"slug": "counts"}, verb="embed")
    (tmp_path / "a.txt").write_text("banana", encoding="utf-8")
    (tmp_path / "b.txt").write_text("  ", encoding="utf-8")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\xfa")
    made = embed(model, gather([tmp_path], texts=True), tmp_path / "out")
    assert made.vectors.tolist() == [[6, 3]]
    assert [one["problem"].split(": ")[-1] for one in made.failures] == ["the text is empty", "not UTF-8"]
    assert made.manifest["key"] is None
    assert Embedder(model)([Document(id="x", text="aa"), "b"]).tolist() == [[2, 2], [1, 0]]
    made = embed(model, ["aa", "b"], tmp_path / "given")
    assert made.vectors.tolist() == [[2, 2], [1, 0]]
    with pytest.raises(RunError, match="items differ"):
        embed(model, ["aa", "c"], tmp_path / "given")
    assert (
        embed(model, [Document(id="x", text="a"), Document(id="x", text="b")], tmp_path / "twice").failures[0]["id"]
        == "x"
    )

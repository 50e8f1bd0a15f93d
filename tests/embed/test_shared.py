"""One embedding is computed once: evaluate, embed and every probe find each other's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from healthfm import evaluate, load_model
from healthfm.embed import engines
from healthfm.embed.items import gather
from healthfm.embed.run import embed
from healthfm.embed.shared import Shared
from healthfm.errors import DatasetError, RunError
from healthfm.models.vision.vision_model import VisionModel
from tests.embed.conftest import SMALL


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    """Class folders of two textures, train and test."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 10)):
        for name, cells, low in (("coarse", 2, 0), ("fine", 16, 120)):
            folder = tmp_path / "mine" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                picture = PIL.Image.fromarray(rng.integers(low, low + 130, (cells, cells, 3), dtype=np.uint8))
                picture.resize((64, 64), PIL.Image.Resampling.NEAREST).save(folder / f"{i:02}.png")
    return tmp_path / "mine"


def refuse(*_: object) -> None:
    raise AssertionError("computed again")


def test_probes_of_own_pictures_share_their_embeddings_with_each_other_and_with_embed(
    tower: VisionModel, own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    run = evaluate(tower, own_data, task="linear-probe", output=tmp_path / "probe")
    assert run.metrics["accuracy"]["value"] >= 0.8
    arithmetic = run.facts["fitted"]["arithmetic"]
    assert arithmetic["precision"] == "float32"
    assert arithmetic["check"].get("relative_difference", 0) <= 1e-4
    with monkeypatch.context() as broken:
        broken.setattr(engines, "fill", refuse)
        with pytest.raises(AssertionError, match="computed again"):
            embed(tower, gather([own_data], False), tmp_path / "torch", engine="torch")
    calls = []
    real = engines.fill
    monkeypatch.setattr(
        engines, "fill", lambda n, units: calls.append(sum(u.inputs is not None for u in units)) or real(n, units)
    )
    for task, shots in (("knn", None), ("balanced-probe", None), ("few-shot", 4)):
        run = evaluate(tower, own_data, task=task, shots=shots, output=tmp_path / task)
        assert run.metrics["accuracy"]["value"] >= 0.6
    assert sum(calls) == 0
    made = embed(tower, gather([own_data], False), tmp_path / "vectors")
    assert made.vectors.shape == (52, 32)
    assert sum(calls) == 0


def test_few_shot_says_how_all_draws_did_and_asks_for_its_number(
    tower: VisionModel, own_data: Path, tmp_path: Path
) -> None:
    from healthfm.score.sentences import headline_notes

    with pytest.raises(RunError, match="shots=5"):
        evaluate(tower, own_data, task="few-shot", output=tmp_path / "none")
    run = evaluate(tower, own_data, task="few-shot", shots=3, output=tmp_path / "run")
    assert run.facts["fitted"]["draws"] == 20
    assert any("3 a class, drawn 20 times" in one for one in headline_notes(run))


def test_a_picture_that_cannot_be_read_stops_a_probe_and_is_named(
    tower: VisionModel, own_data: Path, tmp_path: Path
) -> None:
    (own_data / "train" / "fine" / "03.png").write_bytes(b"no picture")
    with pytest.raises((RunError, DatasetError), match=r"fine/03.*not a readable image"):
        evaluate(tower, own_data, task="linear-probe", output=tmp_path / "run")


def test_what_is_kept_is_found_by_its_whole_digest(own_home: Path) -> None:
    key = {"model": "m:v", "weights": "w"}
    one, other = "0" * 16 + "a" * 48, "0" * 16 + "b" * 48  # alike in the first 8 bytes
    Shared(key).add([one, other], [np.array([1, 2], np.float32), np.array([3, 4], np.float32)])
    kept = Shared(key)
    assert kept.find(other).tolist() == [3, 4]  # type: ignore[union-attr]
    assert kept.find(one).tolist() == [1, 2]  # type: ignore[union-attr]
    assert kept.find("0" * 16 + "c" * 48) is None
    assert Shared({**key, "weights": "others"}).find(one) is None
    assert Shared(None).find(one) is None
    assert not list(own_home.rglob(".*"))


def test_vectors_of_random_weights_are_shared_with_nobody(tmp_path: Path, own_home: Path, photos: Callable[..., Path]) -> None:  # fmt: skip
    folder, random = photos(2), load_model("uni", "random", config=SMALL, device="cpu")
    for name in ("first", "second"):
        made = embed(random, gather([folder], False), tmp_path / name)
        assert made.manifest["stages"]["stages"]["model"]["units"] == 2
    assert not (own_home / "embeddings").exists()


def test_a_home_that_cannot_be_written_to_shares_nothing_and_stops_nobody(
    tower: VisionModel, tmp_path: Path, photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HEALTHFM_HOME", str(tmp_path / "file"))
    assert embed(tower, gather([photos(2)], False), tmp_path / "out").vectors.shape == (2, 32)


def test_a_run_folder_that_was_moved_away_is_simply_not_found(
    tower: VisionModel, tmp_path: Path, photos: Callable[..., Path]
) -> None:
    folder = photos(3)
    made = embed(tower, gather([folder], False), tmp_path / "first")
    made.path.rename(tmp_path / "elsewhere")
    again = embed(tower, gather([folder], False), tmp_path / "second")
    assert again.manifest["stages"]["stages"]["model"]["units"] == 3

"""Films go through the network a few frames at a time, however long they are; what is chosen while decoding is said."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from healthfm import evaluate
from healthfm.embed.embedder import Embedder, instances
from healthfm.embed.items import gather
from healthfm.embed.run import embed
from healthfm.formats import notices
from healthfm.models.vision import transform
from healthfm.models.vision.vision_model import VisionModel
from healthfm.records import Video, Volume
from healthfm.score import sentences
from tests.formats.test_dicom import written

AT_MOST = 8  # frames that may be alive at once: a batch, what is being prepared, and what the loop variables still hold


class Film:
    """Frames made when they are asked for, and how many of them, and of what was made of them, were alive at once."""

    def __init__(self, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.most = count, 0
        self._alive: list[weakref.ref[Any]] = []
        prepare = transform.pixels

        def watched(*arguments: Any) -> Any:
            made = prepare(*arguments)
            self.watch(made)
            return made

        monkeypatch.setattr(transform, "pixels", watched)

    def watch(self, array: np.ndarray) -> None:
        self._alive = [one for one in self._alive if one() is not None] + [weakref.ref(array)]
        self.most = max(self.most, len(self._alive))

    def frames(self) -> Iterator[np.ndarray]:
        for number in range(self.count):
            array = np.full((40, 48, 3), number % 251, np.uint8)
            self.watch(array)
            yield array

    def record(self) -> Video:
        return Video(id="film", frames=self.frames, track=lambda: None)


@pytest.mark.parametrize("road", ["embed", "run", "embedder"])
@pytest.mark.parametrize("count", [30, 150])
def test_a_film_is_never_held_whole(
    tower: VisionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, road: str, count: int
) -> None:
    film = Film(count, monkeypatch)
    if road == "embed":
        found = tower.embed([film.record()], batch_size=2)[0]
    elif road == "run":
        found = embed(tower, [film.record()], tmp_path / "out", engine="torch").vectors[0]
    else:
        found = Embedder(tower, "torch")([film.record()])[0]
    assert 1 <= film.most <= AT_MOST
    expected = tower.embed([np.full((40, 48, 3), n % 251, np.uint8) for n in range(count)]).mean(0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_films_stand_among_pictures_in_one_batch(
    tower: VisionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from healthfm.embed import engines

    film, picture = Film(5, monkeypatch), np.full((40, 48, 3), 7, np.uint8)
    by_torch = engines.by_torch

    def in_batches(model: VisionModel) -> engines.Network:
        network = by_torch(model)
        network.batch = 4  # as a GPU's network has
        return network

    monkeypatch.setattr(engines, "by_torch", in_batches)
    made = embed(tower, [picture, film.record(), picture], tmp_path / "out", engine="torch")
    np.testing.assert_allclose(made.vectors[1], tower.embed([film.record()])[0], atol=1e-5)
    np.testing.assert_allclose(made.vectors[2], made.vectors[0], atol=1e-6)


def test_what_is_chosen_while_decoding_stands_in_the_manifest_also_of_a_run_that_goes_on(
    tower: VisionModel, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for name, centres in (("a", [100, 5]), ("b", 100), ("c", [100, 7])):
        array = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) + ord(name)
        written(
            folder / f"{name}.dcm",
            array,
            WindowCenter=centres,
            WindowWidth=[50, 50] if isinstance(centres, list) else 50,
        )
    made = embed(tower, gather([folder], texts=False), tmp_path / "out", engine="torch")
    assert [
        one for one in made.manifest["notices"] if "its first is used" in one and one.endswith(": 2 (a.dcm, c.dcm)")
    ]
    again = embed(tower, gather([folder], texts=False), tmp_path / "out", engine="torch")
    assert again.manifest["notices"] == made.manifest["notices"]
    units = Embedder(tower, "torch").units([folder / "a.dcm", folder / "b.dcm"])
    assert [len(unit.notices) for unit in units] == [1, 0]


def test_what_is_chosen_while_decoding_stands_among_the_notes_of_a_report(tower: VisionModel, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, name, low in (
        ("train", "dark", 0),
        ("train", "light", 2000),
        ("test", "dark", 0),
        ("test", "light", 2000),
    ):
        folder = tmp_path / "mine" / split / name
        folder.mkdir(parents=True)
        for i in range(6):
            array = rng.integers(low, low + 1000, (40, 40), dtype=np.uint16)
            written(folder / f"{i}.dcm", array, WindowCenter=[1500, 9], WindowWidth=[3000, 9])
    run = evaluate(tower, tmp_path / "mine", task="knn", output=tmp_path / "run")
    assert any("its first is used" in note and ": 24 (" in note for note in sentences.headline_notes(run))


def test_frames_that_were_made_square_are_noticed_as_pictures_are(tower: VisionModel, tmp_path: Path) -> None:
    frames = [np.full((40, 48, 3), 7 * n, np.uint8) for n in range(3)]
    film = Video(id="film", frames=lambda: iter(frames), track=lambda: None, ratio=lambda: 2.0)
    made = embed(tower, [film], tmp_path / "out", engine="torch")
    assert [one for one in made.manifest["notices"] if "1 item, height over width 2 (film)" in one]


def test_what_is_said_of_a_volume_is_kept_with_each_of_its_slices(tower: VisionModel) -> None:
    def load() -> np.ndarray:
        notices.say("its first window is used")
        return np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)

    with instances(Volume(id="v", load=load, place=lambda: np.eye(4)), tower) as units:
        found = list(Embedder(tower, "torch").stream(units))
    assert [unit.notices for unit in found] == [("its first window is used",)] * 3

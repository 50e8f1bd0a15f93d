"""Families that nothing in the package knows: what they take and how they prepare it is all that embed, probes and reports need."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from healthfm import RunError, evaluate
from healthfm.cards import files
from healthfm.datasets.dataset import Dataset
from healthfm.embed import engines, identity
from healthfm.embed.embedder import Embedder
from healthfm.embed.key import key_of
from healthfm.embed.run import embed
from healthfm.engine.store import RunFolder
from healthfm.formats.source import Source
from healthfm.models.load import own_model_card
from healthfm.models.model import Float32, Model
from healthfm.models.prepared import Prepared
from healthfm.records import Document, Image, Record, Signal, Video, Volume

CHANNELS, LONGEST = ("I", "II"), 400


class Rhythm(Model):
    """A family over signals: how much of a recording's power lies in each of some bands."""

    capabilities = frozenset({"embed"})
    takes = (Signal,)

    def __init__(self) -> None:
        super().__init__(own_model_card({"slug": "rhythm"}, None))
        self.network = torch.nn.Linear(LONGEST // 2 + 1, 4).requires_grad_(False)
        self.network.load_state_dict({"weight": torch.eye(4, LONGEST // 2 + 1) / LONGEST, "bias": torch.zeros(4)})

    def prepare(self, content: Any) -> Prepared:
        return Prepared([content.samples[:, :LONGEST]], cut=content.samples.shape[1] > LONGEST)

    def embed_prepared(self, inputs: Sequence[Any]) -> Float32:
        power = [torch.fft.rfft(torch.from_numpy(one), LONGEST).abs().mean(0) for one in inputs]
        return torch.stack([self.network(one) for one in power]).numpy()  # type: ignore[misc]


class Both(Model):
    """A dual encoder: pictures by their colours, texts by their letters, into one space."""

    capabilities = frozenset({"embed"})
    takes = (Document, Image)

    def __init__(self) -> None:
        super().__init__(own_model_card({"slug": "both"}, None))
        rng = torch.Generator().manual_seed(0)
        self.network = torch.nn.ModuleDict({"image": torch.nn.Linear(3, 5), "text": torch.nn.Embedding(256, 5)})
        for value in self.network.requires_grad_(False).state_dict().values():
            value.copy_(torch.randn(value.shape, generator=rng))

    def prepare(self, content: Any) -> Prepared:
        if isinstance(content, str):
            return Prepared([np.frombuffer(content.encode(), np.uint8).astype(np.int64)])
        pixels = content.pixels if isinstance(content, Image) else np.asarray(content)
        return Prepared([pixels.transpose(2, 0, 1).astype(np.float32) / 255])

    def embed_prepared(self, inputs: Sequence[Any]) -> Float32:
        tower: Any = self.network
        return np.stack([
            (tower["text"](torch.from_numpy(one)).mean(0) if one.ndim == 1 else tower["image"](torch.from_numpy(one).mean((1, 2)))).numpy()
            for one in inputs
        ])  # fmt: skip


def dataset(kind: str, make: Callable[[int, str], Record], splits: dict[str, int]) -> Dataset:
    """A dataset of records made in code: those of even numbers are slow, the others fast."""
    space = {"name": "rhythm", "kind": "binary", "classes": ["slow", "fast"]}
    card = files.validate({
        "kind": "dataset", "slug": "made", "name": "Made", "summary": "Records made in code.", "group": "signal", "modalities": ["signal"],
        "tasks": ["classification"], "record": kind, "owner": "the test", "access": "open", "shareable_inputs": True, "shareable_outputs": True, "remote_ok": False,
        "labels": [space], "path": "the test's card",
    })  # fmt: skip

    def read(split: str, _: Any) -> Iterator[Record]:
        yield from (make(i + 1000 * (split == "test"), split) for i in range(splits[split]))

    return Dataset(card, read, tuple(splits))  # type: ignore[arg-type]


def wave(number: int, split: str, made: list[int] | None = None, length: int = 300) -> Signal:
    def load() -> np.ndarray:
        if made is not None:
            made.append(number)
        noise = np.random.default_rng(number).standard_normal((len(CHANNELS), length)).astype(np.float32)
        time = np.arange(length, dtype=np.float32) / 100
        return noise / 4 + np.sin(2 * np.pi * (0.25 + 0.25 * (number % 2)) * time)

    return Signal(
        id=f"{split}-{number}", split=split, patient=f"p{number}", load=load, rate=100, channels=CHANNELS,
        labels={"rhythm": ("slow", "fast")[number % 2]},
    )  # fmt: skip


def expected(model: Rhythm, signals: Sequence[Signal]) -> np.ndarray:
    power = [np.abs(np.fft.rfft(one.samples[:, :LONGEST].astype(np.float64), LONGEST)).mean(0)[:4] for one in signals]
    return np.array(power) / LONGEST


def test_a_family_over_signals_goes_through_embed_which_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals = [wave(i, "train") for i in range(10)] + [wave(10, "train", length=LONGEST + 1)]
    model, real = Rhythm(), RunFolder.publish

    def publish(self: RunFolder, number: int, table: pa.Table, room: str = "predictions") -> None:
        if len(self.published(room)) == 2:
            raise KeyboardInterrupt
        real(self, number, table, room)

    with monkeypatch.context() as broken:
        broken.setattr(RunFolder, "publish", publish)
        with pytest.raises(KeyboardInterrupt):
            embed(model, signals, tmp_path / "out", units_per_part=4)
    made = embed(model, signals, tmp_path / "out", units_per_part=4)
    assert made.table["id"].to_pylist() == [one.id for one in signals]
    np.testing.assert_allclose(made.vectors, expected(model, signals), atol=1e-5)
    assert made.manifest["stages"]["stages"]["model"]["units"] == 3  # what was left
    assert made.manifest["stages"]["stages"]["decode"]["units"] == 3
    [notice] = made.manifest["notices"]
    assert "train-10" in notice and "longer than the model reads" in notice
    assert (
        embed(model, signals, tmp_path / "other").manifest["notices"] == made.manifest["notices"]
    )  # and is not computed again
    with pytest.raises(RunError, match="items differ"):
        embed(model, [*signals[:-1], wave(10, "train")], tmp_path / "out", units_per_part=4)


def test_recordings_of_files_are_decoded_once_and_known_by_what_they_hold(tmp_path: Path) -> None:
    read: list[str] = []

    def load(source: Source) -> np.ndarray:
        read.append(source.name)
        return np.load(source.path)  # type: ignore[no-any-return]

    def recording(name: str, rate: float = 100) -> Signal:
        source = Source(tmp_path / f"{name}.npy")
        return Signal(id=name, load=functools.partial(load, source), rate=rate, channels=CHANNELS)

    for number, name in enumerate("abc"):
        np.save(tmp_path / f"{name}.npy", wave(number, "train", length=LONGEST + (name == "c")).samples)
    model, recordings = Rhythm(), [recording(name) for name in "abc"]
    made = embed(model, recordings, tmp_path / "out")
    assert sorted(read) == ["a.npy", "b.npy", "c.npy"]
    (tmp_path / "a.npy").rename(tmp_path / "moved.npy")
    units = Embedder(model).units([recording("moved"), *recordings[1:]])
    assert len(read) == 3 and [unit.cut for unit in units] == [False, False, True]
    np.testing.assert_array_equal([unit.vector for unit in units], made.vectors)
    assert identity.of_record(recording("b")) != identity.of_record(recording("b", rate=500))
    np.save(tmp_path / "b.npy", wave(3, "train").samples)
    assert not np.array_equal(Embedder(model)([recording("b")])[0], made.vectors[1]) and read[3:] == ["b.npy"]
    with pytest.raises(RunError, match="items differ"):
        embed(model, [recording("moved"), *recordings[1:]], tmp_path / "out")


def test_a_family_over_signals_goes_through_a_probe_and_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    data = dataset("Signal", functools.partial(wave, made=made), {"train": 24, "test": 12})
    monkeypatch.setattr("healthfm.evaluate.job.CHARACTERS_PER_PART", 8 * 400)
    asked: dict[str, Any] = {"task": "linear-probe", "output": tmp_path / "run"}
    real = RunFolder.publish

    def publish(self: RunFolder, number: int, table: pa.Table, room: str = "predictions") -> None:
        if (room, number) == ("embeddings", 2):
            raise KeyboardInterrupt
        real(self, number, table, room)

    with monkeypatch.context() as broken:
        broken.setattr(RunFolder, "publish", publish)
        with pytest.raises(KeyboardInterrupt):
            evaluate(Rhythm(), data, **asked)
    run = evaluate(Rhythm(), data, **asked)
    assert run.metrics["accuracy"]["value"] == 1.0 and run.predictions.num_rows == 12
    assert run.predictions["input"].to_pylist() == [wave(i + 1000, "test").digest() for i in range(12)]
    whole = evaluate(Rhythm(), data, **{**asked, "output": tmp_path / "whole"})
    assert whole.predictions.equals(run.predictions)
    page = run.report().read_text(encoding="utf-8")
    assert "rhythm" in page and "test-1000" in page


def test_a_dual_encoder_embeds_pictures_and_texts(tmp_path: Path) -> None:
    rng, model = np.random.default_rng(0), Both()
    pixels = rng.integers(0, 255, (6, 7, 3), dtype=np.uint8)
    picture, text = Image(id="picture", load=lambda: pixels), Document(id="text", text="a text")
    made = embed(model, [picture, text], tmp_path / "out")
    towers = {name: value.numpy() for name, value in model.network.state_dict().items()}
    image = towers["image.weight"] @ (pixels.mean((0, 1)) / 255) + towers["image.bias"]
    np.testing.assert_allclose(made.vectors, [image, towers["text.weight"][list(b"a text")].mean(0)], atol=1e-5)
    assert made.table["id"].to_pylist() == ["picture", "text"] and made.failures == []
    np.testing.assert_array_equal(Embedder(model)(["a text", pixels]), made.vectors[::-1])


def test_a_dual_encoder_goes_through_the_probe_of_either_kind(tmp_path: Path) -> None:
    def picture(number: int, split: str) -> Image:
        pixels = np.random.default_rng(number).integers(
            120 * (number % 2), 120 * (number % 2) + 80, (6, 6, 3), dtype=np.uint8
        )
        return Image(id=f"{split}-{number}", load=lambda: pixels, labels={"rhythm": ("slow", "fast")[number % 2]})

    def text(number: int, split: str) -> Document:
        words = ("slow" if number % 2 == 0 else "fast") + " " * (number % 7 + 1) + "x"
        return Document(id=f"{split}-{number}", text=words, labels={"rhythm": ("slow", "fast")[number % 2]})

    for kind, make in (("Image", picture), ("Document", text)):
        data = dataset(kind, make, {"train": 20, "test": 10})
        run = evaluate(Both(), data, task="linear-probe", output=tmp_path / kind)
        assert run.metrics["accuracy"]["value"] == 1.0
        assert run.report().is_file()


@pytest.mark.parametrize("content", [
    Image(id="x", load=lambda: np.zeros((4, 4, 3), np.uint8)), Document(id="x", text="a text"), np.zeros((2, 9), np.float32),
    Path(__file__),
])  # fmt: skip
def test_what_a_model_does_not_take_is_named_and_fails_alone(content: Any, tmp_path: Path) -> None:
    made = embed(Rhythm(), [wave(0, "train"), content], tmp_path / "out")
    assert len(made.vectors) == 1
    [one] = made.failures
    assert "rhythm takes Signal records" in one["problem"]


@pytest.mark.parametrize("content", [
    Volume(id="x", load=lambda: np.zeros((4, 4, 4), np.uint8), place=lambda: np.eye(4)), wave(0, "train"),
    Video(id="x", frames=lambda: iter(()), track=lambda: None),
])  # fmt: skip
def test_kinds_of_pictures_that_a_model_does_not_take_are_named(content: Record, tmp_path: Path) -> None:
    [one] = embed(Both(), [content], tmp_path / "out").failures
    assert "both takes Document, Image records" in one["problem"]


def test_a_recording_whose_samples_are_not_as_it_says_fails_alone(tmp_path: Path) -> None:
    turned = Signal(id="turned", load=lambda: np.zeros((300, 2), np.float32), rate=100, channels=CHANNELS)
    made = embed(Rhythm(), [turned, wave(1, "train")], tmp_path / "out")
    assert len(made.vectors) == 1 and "not float32 [2 channels, n]" in made.failures[0]["problem"]


def test_mil_names_a_model_that_takes_no_pictures(tmp_path: Path) -> None:
    def volume(number: int, split: str) -> Volume:
        voxels = np.full((6, 6, 3), number % 200, np.uint8)
        return Volume(
            id=f"{split}-{number}",
            load=lambda: voxels,
            place=lambda: np.eye(4),
            labels={"rhythm": ("slow", "fast")[number % 2]},
        )

    data = dataset("Volume", volume, {"train": 20, "test": 4})
    with pytest.raises(Exception, match="rhythm reads no pictures"):
        evaluate(Rhythm(), data, task="mil", output=tmp_path / "run")


def test_the_code_of_a_family_of_the_users_is_part_of_its_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = Rhythm()
    key = key_of(model, engines.choose(model))
    assert key is not None
    changed = tmp_path / "changed.py"
    changed.write_text("# another rule")
    monkeypatch.setattr(f"{__name__}.__file__", str(changed))
    assert key_of(model, engines.choose(model)) != key
    monkeypatch.delattr(f"{__name__}.__file__")  # as in a notebook
    assert key_of(model, engines.choose(model)) is None

"""One decode for each picture: in a fresh run, a resumed one, one that is called again, and one that finds vectors of others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import PIL.Image
import pyarrow as pa
import pytest

from healthfm import RunError, evaluate, load_model
from healthfm.adapt import mil
from healthfm.datasets import media
from healthfm.datasets.open import open_dataset
from healthfm.embed import identity
from healthfm.embed.embedder import Embedder
from healthfm.embed.items import gather
from healthfm.embed.run import embed
from healthfm.engine.store import RunFolder
from healthfm.formats import image, volume
from healthfm.formats.source import Source
from healthfm.models.vision.vision_model import VisionModel
from tests.embed.conftest import SMALL

FIT, TEST = 10, 6  # pictures a class


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what was decoded so far."""
    names: list[str] = []
    for module, name in ((image, "pixels"), (volume, "voxels")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda source, real=real: names.append(source.name) or real(source))
    return names


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Class folders of two textures; in each split two files are copies of others."""
    rng = np.random.default_rng(0)
    for split, count in (("train", FIT), ("test", TEST)):
        for name, cells in (("coarse", 2), ("fine", 16)):
            folder = tmp_path / "mine" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                one = PIL.Image.fromarray(rng.integers(0, 255, (cells, cells, 3), dtype=np.uint8))
                one.resize((32, 32), PIL.Image.Resampling.NEAREST).save(folder / f"{split}-{name}-{i:02}.png")
            shutil.copy(folder / f"{split}-{name}-01.png", folder / "copy.png")
    return tmp_path / "mine"


EVERY = 2 * (FIT + TEST)


def test_a_probe_decodes_each_content_once_and_what_is_known_not_at_all(
    tower: VisionModel, pictures: Path, tmp_path: Path, decoded: list[str]
) -> None:
    def run(name: str, task: str = "linear-probe") -> Any:
        decoded.clear()
        return evaluate(tower, pictures, task=task, baseline=False, output=tmp_path / name, device="cpu")

    found = run("probe")
    assert len(decoded) == EVERY
    again = run("probe")
    assert again.metrics == found.metrics and not decoded
    run("knn", "knn")
    assert not decoded
    embed(tower, gather([pictures], False), tmp_path / "embed")
    assert not decoded
    records = {record.id: record.digest() for record in open_dataset(pictures)["test"]}
    for path in ("probe", "knn"):
        table = RunFolder(tmp_path / path).predictions()
        assert dict(zip(table["id"].to_pylist(), table["input"].to_pylist(), strict=True)) == records


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_embed_decodes_each_content_once(tower: VisionModel, pictures: Path, tmp_path: Path, decoded: list[str], engine: str) -> None:  # fmt: skip
    made = embed(tower, gather([pictures], False), tmp_path / "out", engine=engine, units_per_part=8)
    assert len(decoded) == EVERY and made.vectors.shape == (EVERY + 4, 32)
    np.testing.assert_allclose(made.vectors, tower.embed(sorted(pictures.rglob("*.png"), key=lambda p: p.relative_to(pictures).as_posix())), atol=1e-4)  # fmt: skip
    decoded.clear()
    embed(tower, gather([pictures], False), tmp_path / "out", engine=engine, units_per_part=8)
    embed(tower, gather([pictures], False), tmp_path / "other", engine=engine)
    assert not decoded


def test_random_weights_are_shared_with_nobody_and_decode_once_too(pictures: Path, tmp_path: Path, decoded: list[str]) -> None:  # fmt: skip
    model = load_model("uni", "random", config=SMALL, device="cpu")
    for _ in range(2):
        evaluate(model, pictures, task="knn", baseline=False, output=tmp_path / "run", device="cpu")
        assert len(decoded) == EVERY


def test_the_callers_own_model_is_given_pictures_that_are_decoded_already(pictures: Path, tmp_path: Path, decoded: list[str]) -> None:  # fmt: skip
    def own(records: list[Any]) -> np.ndarray:
        return np.array([[one.pixels.mean(), one.pixels.std(), one.pixels[0].std()] for one in records], np.float32)

    model = load_model(own, card={"slug": "own"}, verb="embed")
    run = evaluate(model, pictures, task="knn", baseline=False, output=tmp_path / "run")
    assert len(decoded) == EVERY + 4 and run.predictions["input"].null_count == 0  # no content is known to it


def test_a_killed_probe_decodes_only_what_it_had_not_yet(
    tower: VisionModel, pictures: Path, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("healthfm.evaluate.job.CHARACTERS_PER_PART", 3200)  # eight pictures
    real = RunFolder.publish

    def publish(self: RunFolder, number: int, table: pa.Table, room: str = "predictions") -> None:
        if (room, number) == ("embeddings", 2):
            raise KeyboardInterrupt
        real(self, number, table, room)

    with monkeypatch.context() as broken:
        broken.setattr(RunFolder, "publish", publish)
        with pytest.raises(KeyboardInterrupt):
            evaluate(tower, pictures, task="knn", baseline=False, output=tmp_path / "run", device="cpu")
    before = len(decoded)
    evaluate(tower, pictures, task="knn", baseline=False, output=tmp_path / "run", device="cpu")
    assert before < EVERY and len(decoded) == EVERY


def volumes(folder: Path, kind: str = ".nii.gz") -> Path:
    rng = np.random.default_rng(1)
    for split, count in (("train", 5), ("test", 2)):
        for name, low in (("dark", 0), ("light", 120)):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                voxels = rng.integers(low, low + 130, (12, 10, 3), dtype=np.uint8)
                nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / split / name / f"{i}{kind}")
    return folder


def test_a_volume_is_decoded_once(
    tower: VisionModel, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mil.attention_mil.__kwdefaults__, "epochs", 2)  # what is learned is not the matter
    mine = volumes(tmp_path / "mine")
    for task, expected in (("knn", 14), ("linear-probe", 0), ("mil", 14)):
        for times in (expected, 0):
            decoded.clear()
            evaluate(tower, mine, task=task, baseline=False, output=tmp_path / task, device="cpu")
            assert len(decoded) == times
    embed(tower, gather([mine], False), tmp_path / "embed")
    assert not decoded


# What counts as a change ----------------------------------------------------------------------------------------------------


def changed(path: Path) -> None:
    """Write another picture of as many bytes, and set the time back."""
    facts, data = path.stat(), path.read_bytes()
    with PIL.Image.open(path) as one:
        other = PIL.Image.fromarray(255 - np.asarray(one))
    other.save(path)
    size = max(len(data), path.stat().st_size)
    path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def test_content_decides_whether_a_picture_has_changed(tower: VisionModel, pictures: Path, tmp_path: Path, decoded: list[str]) -> None:  # fmt: skip
    asked: dict[str, Any] = {"task": "knn", "output": tmp_path / "run", "device": "cpu"}
    evaluate(tower, pictures, **asked, baseline=False)
    decoded.clear()
    some = pictures / "test" / "fine" / "test-fine-00.png"
    os.utime(some, ns=(1, 1))
    evaluate(tower, pictures, **asked, baseline=False)
    evaluate(tower, shutil.copytree(pictures, tmp_path / "moved" / "mine"), **asked, baseline=False)
    assert not decoded
    changed(some)
    with pytest.raises(RunError, match="items differ"):
        evaluate(tower, pictures, **asked, baseline=False)
    evaluate(tower, pictures, **{**asked, "output": tmp_path / "new"}, baseline=False)
    assert decoded == ["test-fine-00.png"]


def test_a_picture_that_changes_while_a_run_goes_on_is_refused_and_leaves_no_vector_behind(tower: VisionModel, pictures: Path) -> None:  # fmt: skip
    [record] = [one for one in open_dataset(pictures)["test"] if one.id.endswith("fine/copy.png")]
    source = identity.of_record(record)
    changed(pictures / "test" / "fine" / "copy.png")
    with pytest.raises(RunError, match=r"copy.png: it has changed since the run was asked for"):
        Embedder(tower).units([record], [source])


@pytest.mark.parametrize(
    "which", ["voxels beside a header", "a slice of a series", "the tiles of a slide", "a large file"]
)
def test_what_belongs_to_an_item_is_looked_at_too(tmp_path: Path, which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"voxels beside a header": ("a.mhd", "a.raw"), "a slice of a series": ("a", "a/2.dcm")}
    head, part = names.get(which, ("a.mrxs", "a/Data0001.dat") if which.startswith("the tiles") else ("a.nii", "a.nii"))
    (tmp_path / "a").mkdir()
    for name in {head, part} - {"a"}:
        (tmp_path / name).write_bytes(b"x" * 100)
    if which == "a large file":
        monkeypatch.setattr(identity, "WHOLE", 50)
        monkeypatch.setattr(identity, "EDGE", 10)
    before = identity.of_file(Source(tmp_path / head)), identity.stamp(tmp_path / head)
    (tmp_path / part).write_bytes(b"x" * 40 + b"y" * 60)
    os.utime(tmp_path / part, ns=(5, 5))
    after = identity.of_file(Source(tmp_path / head)), identity.stamp(tmp_path / head)
    assert before[0] != after[0] and before[1] != after[1]


def test_how_a_file_is_read_is_part_of_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_bytes(b"slide")
    slides = [
        media.VISUAL["Slide"](id="a", **media.fields_of("Slide", Source(tmp_path / "a.svs"), mpp))
        for mpp in (None, 0.5)
    ]
    assert len({identity.of_record(one) for one in slides}) == 2


def test_the_rivals_of_a_probe_look_at_each_picture_once_together(tower: VisionModel, pictures: Path, tmp_path: Path, decoded: list[str]) -> None:  # fmt: skip
    evaluate(tower, pictures, task="knn", output=tmp_path / "run", device="cpu", baseline=False)
    decoded.clear()
    run = evaluate(tower, pictures, task="knn", output=tmp_path / "again", device="cpu")
    assert len(decoded) <= EVERY + 4 + 3  # three rivals look at pixels, and each at the first picture's size
    assert len(run.scores["baselines"]) >= 1

"""A run of embedding: what the folder holds, what a kill costs, what bad input does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest

from healthfm.embed.embedder import Embedder
from healthfm.embed.items import Item, Items, gather
from healthfm.embed.run import embed, slowest
from healthfm.errors import RunError
from healthfm.models.vision.vision_model import VisionModel
from tests.forked import Server
from tests.formats.test_dicom import written
from tests.models.vision.test_transform import disc

Photos = Callable[..., Path]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "embeddings").iterdir())}


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_the_vectors_are_those_of_the_model_in_the_order_of_the_names(tower: VisionModel, photos: Photos, tmp_path: Path, engine: str) -> None:  # fmt: skip
    folder = photos(9)
    made = embed(tower, gather([folder], False), tmp_path / "out", engine=engine, units_per_part=4)
    expected = tower.embed(sorted(folder.iterdir()))
    assert np.abs(made.vectors - expected).max() <= 1e-4 * np.abs(expected).max()
    assert made.table["id"].to_pylist() == [f"{i:03}.jpg" for i in range(9)]
    assert len(bytes_of(made.path)) == 3
    assert not made.failures
    assert made.manifest["check" if engine == "auto" else "key"]
    stages = made.manifest["stages"]
    assert {name: one["units"] for name, one in stages["stages"].items()} == dict.fromkeys(
        ("read", "decode", "preprocess", "model", "write"), 9
    )
    assert stages["start_seconds"] > 0
    name, alone, whole = slowest(stages)  # type: ignore[misc]
    assert set(name.split(" + ")) <= set(stages["stages"])
    assert whole == pytest.approx(9 / stages["wall_seconds"])
    assert alone > 0
    assert made.manifest["notices"] == []


def test_a_vector_does_not_depend_on_what_stands_beside_it(tower: VisionModel, photos: Photos, tmp_path: Path) -> None:
    folder = photos(6)
    every = embed(tower, gather([folder], False), tmp_path / "a", units_per_part=4).vectors
    (tmp_path / "home").mkdir()
    alone = [
        embed(tower, gather([folder / f"{i:03}.jpg"], False), tmp_path / f"b{i}", engine="auto").vectors[0]
        for i in (5, 2)
    ]
    assert np.array_equal(np.stack(alone), every[[5, 2]])


def test_a_slide_becomes_tiles_with_their_places(
    tower: VisionModel, slide: Callable[..., Path], tmp_path: Path
) -> None:
    path = slide(256)
    made = embed(tower, gather([path], False), tmp_path / "out", units_per_part=24)
    table = made.table
    assert table.num_rows == 32  # 4 x 8 tiles of 32 pixels
    assert table["of"].to_pylist() == [32] * 32
    assert table["number"].to_pylist() == list(range(32))
    assert len(bytes_of(made.path)) == 2
    openslide = pytest.importorskip("openslide").OpenSlide(path)
    row = table.slice(27, 1).to_pylist()[0]
    tile = np.asarray(openslide.read_region((row["x"], row["y"]), 0, (32, 32)).convert("RGB"))
    assert np.abs(np.array(row["embedding"]) - tower.embed([tile])[0]).max() < 1e-4


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from tests.embed.conftest import SMALL
import healthfm.models.vision.vit, healthfm.models.arithmetic.openvino, healthfm.formats.slide.pyramid, healthfm.formats.slide.tiling, openslide, scipy.ndimage
from healthfm import load_model
from healthfm.embed.items import gather
from healthfm.embed.run import embed

def run(output, engine):
    model = load_model("uni", "random", config=SMALL, device="cpu")
    embed(model, gather(sys.argv[2:], False), Path(output), engine=engine, units_per_part=8)

def child(output, engine):
    pid = os.fork()
    if pid == 0:
        os.environ["HEALTHFM_HOME"] = str(output) + "-home"   # nothing is found that another run made
        run(output, engine)
        os._exit(0)
    return pid

engine, output = sys.argv[1].split(",")[:2]
kills = int(sys.argv[1].split(",")[2])
began = time.perf_counter()
os.waitpid(child(output + "-whole", engine), 0)
took = time.perf_counter() - began
rng, killed = random.Random(0), 0
for _ in range(kills):
    pid = child(output, engine)
    time.sleep(rng.uniform(0.02, max(0.1, took / 5)))
    if os.waitpid(pid, os.WNOHANG)[0] == 0:
        os.kill(pid, signal.SIGKILL)
        killed += 1
        os.waitpid(pid, 0)
os.waitpid(child(output, engine), 0)
print(killed)
print(took, file=sys.stderr)
"""


@pytest.mark.parametrize(("engine", "kills"), [("torch", 9), ("auto", 3)])
def test_a_run_killed_at_random_moments_has_the_same_bytes(
    forked: Server, photos: Photos, slide: Callable[..., Path], tmp_path: Path, engine: str, kills: int
) -> None:  # fmt: skip
    words = [f"{engine},{tmp_path / 'out'},{kills}", photos(40), slide(512)]
    with (tmp_path / "count").open("w") as count, (tmp_path / "errors").open("w") as errors:
        code = forked.fork(words, count.fileno(), errors.fileno(), KILLED).wait()
    assert code == 0, (tmp_path / "errors").read_text()
    assert int((tmp_path / "count").read_text()) >= kills // 2  # the others came when the run was finished
    parts = bytes_of(tmp_path / "out")
    assert len(parts) == 5 + 16  # 40 pictures and 128 tiles, 8 a part
    assert parts == bytes_of(tmp_path / "out-whole")


def test_one_that_cannot_be_read_among_many_is_one_line_and_the_rest_is_done(
    tower: VisionModel, photos: Photos, tmp_path: Path
) -> None:  # fmt: skip
    folder = photos(5)
    rng = np.random.default_rng(0)
    whole = (folder / "001.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "empty.tif").write_bytes(b"")
    PIL.Image.new("RGB", (1, 1), (9, 9, 9)).save(folder / "one.png")
    PIL.Image.fromarray(rng.integers(0, 255, (30, 30, 4), dtype=np.uint8), "CMYK").save(folder / "ink.jpg")
    PIL.Image.fromarray(rng.integers(0, 65535, (30, 30), dtype=np.uint16)).save(folder / "deep.png")
    PIL.Image.fromarray(rng.integers(0, 255, (30, 30), dtype=np.uint8)).save(folder / "grey.bmp")
    made = embed(tower, gather([folder], False), tmp_path / "out", units_per_part=4)
    assert {one["id"] for one in made.failures} == {"cut.jpg", "bomb.png", "empty.tif"}
    assert all("\n" not in one["problem"] and str(folder) not in one["problem"] for one in made.failures)
    stages = made.manifest["stages"]["stages"]
    counted = {name: one["units"] for name, one in stages.items()}
    assert counted == {"read": 12, "decode": 9, "preprocess": 9, "model": 9, "write": 9}  # failures are no pictures
    assert set(made.table["id"].to_pylist()) == {f"{i:03}.jpg" for i in range(5)} | {
        "one.png",
        "ink.jpg",
        "deep.png",
        "grey.bmp",
    }
    lines = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [one["id"] for one in made.failures]


def bomb() -> bytes:
    """A PNG of a few hundred bytes that says it is 60,000 x 60,000 pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def test_a_rerun_tries_only_what_failed_and_leaves_the_rest_as_it_is(
    tower: VisionModel, photos: Photos, tmp_path: Path
) -> None:  # fmt: skip
    folder = photos(10)
    items = gather([folder], False)
    good = (folder / "006.jpg").read_bytes()
    (folder / "006.jpg").write_bytes(b"not a picture")
    before = embed(tower, items, tmp_path / "out", units_per_part=4)
    assert [one["id"] for one in before.failures] == ["006.jpg"]
    untouched = {name: data for name, data in bytes_of(before.path).items() if name != "part-40000000.parquet"}
    for path in folder.iterdir():
        if path.name != "006.jpg":
            path.unlink()  # what is done is not read again
    (folder / "006.jpg").write_bytes(good)
    heard: list[tuple[int, int]] = []
    after = embed(tower, items, tmp_path / "out", units_per_part=4, progress=lambda *said: heard.append(said))
    assert heard[-1] == (1, 1)  # what is done already is no part of what there is to do
    assert not after.failures
    assert (tmp_path / "out" / "failures.jsonl").read_text() == ""
    assert after.table["id"].to_pylist() == [f"{i:03}.jpg" for i in range(10)]
    assert {name: data for name, data in bytes_of(after.path).items() if name in untouched} == untouched
    assert after.manifest["stages"]["stages"]["model"]["units"] == 1
    whole = embed(tower, gather([photos(10, "again")], False), tmp_path / "whole", units_per_part=4)
    assert np.array_equal(after.vectors, whole.vectors)


def test_a_slide_that_cannot_be_opened_is_tried_again_too(
    tower: VisionModel, slide: Callable[..., Path], photos: Photos, tmp_path: Path
) -> None:  # fmt: skip
    path = slide(256, resolution=None)
    items = Items([Item("slide", path), Item("photo", photos(1) / "000.jpg")])
    made = embed(tower, items, tmp_path / "out", units_per_part=24)
    assert [one["id"] for one in made.failures] == ["slide"]
    assert "micrometres" in made.failures[0]["problem"]
    slide(256)
    made = embed(tower, items, tmp_path / "out", units_per_part=24)
    assert not made.failures
    assert made.table["id"].to_pylist() == ["slide"] * 32 + ["photo"]


def test_an_id_that_occurs_twice_is_a_failure_and_the_first_is_kept(
    tower: VisionModel, photos: Photos, tmp_path: Path
) -> None:
    ids = [path.as_posix() for path in sorted(photos(2).iterdir())]
    made = embed(tower, gather([tmp_path / "photos", f"{tmp_path}/photos/"], False), tmp_path / "out")
    assert made.table["id"].to_pylist() == ids
    assert [(one["id"], "twice" in one["problem"]) for one in made.failures] == [(one, True) for one in ids]


def test_a_folder_of_another_request_or_another_network_is_refused(
    tower: VisionModel, photos: Photos, tmp_path: Path
) -> None:
    from healthfm import load_model
    from tests.embed.conftest import SMALL

    folder = photos(2)
    embed(tower, gather([folder], False), tmp_path / "out")
    with pytest.raises(RunError, match="items differ"):
        embed(tower, gather([folder / "000.jpg"], False), tmp_path / "out")
    other = load_model("uni", "random", config={**SMALL, "num_heads": 4}, device="cpu")
    with pytest.raises(RunError, match="was begun with other weights, settings"):
        embed(other, gather([folder], False), tmp_path / "out")


def test_a_folder_in_which_nothing_was_made_yet_may_begin_with_another_network(
    tower: VisionModel, photos: Photos, tmp_path: Path
) -> None:
    """Nor does what the first attempt found out of its own network stand for the second's."""
    from healthfm import load_model
    from tests.embed.conftest import SMALL

    folder = photos(2)
    embed(tower, gather([folder], False), tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "manifest.json").read_text())
    (tmp_path / "out" / "manifest.json").write_text(json.dumps({**kept, "check": {"from": "the first attempt"}}))
    for part in (tmp_path / "out" / "embeddings").glob("part-*"):
        part.unlink()
    other = load_model("uni", "random", config={**SMALL, "num_heads": 4}, device="cpu")
    made = embed(other, gather([folder], False), tmp_path / "out")
    assert made.manifest["key"] != kept["key"] and "from" not in made.manifest.get("check", {})


def test_what_another_run_computed_is_found_and_not_computed_again(
    tower: VisionModel, photos: Photos, tmp_path: Path
) -> None:
    folder = photos(5)
    first = embed(tower, gather([folder], False), tmp_path / "first")
    (folder / "new.jpg").write_bytes((photos(1, "more", seed=9) / "000.jpg").read_bytes())
    second = embed(tower, gather([folder], False), tmp_path / "second")
    assert second.manifest["stages"]["stages"]["model"]["units"] == 1
    assert np.array_equal(second.vectors[:5], first.vectors)
    third = embed(tower, gather([folder], False), tmp_path / "third", engine="torch")  # another key
    assert third.manifest["stages"]["stages"]["model"]["units"] == 6


def test_a_part_that_is_damaged_later_is_computed_again_by_other_runs(
    tower: VisionModel, photos: Photos, tmp_path: Path
) -> None:
    folder = photos(3)
    first = embed(tower, gather([folder], False), tmp_path / "first")
    vectors = first.vectors
    next((tmp_path / "first" / "embeddings").iterdir()).write_bytes(b"damaged")
    second = embed(tower, gather([folder], False), tmp_path / "second")
    assert np.array_equal(second.vectors, vectors)


# Volumes ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def volumes(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes volumes of uint8 into a folder: all of one value, or (None) of many."""
    nibabel = pytest.importorskip("nibabel")

    def write(depth: int = 5, **values: int | None) -> Path:
        folder = tmp_path / "volumes"
        folder.mkdir(exist_ok=True)
        for name, value in values.items():
            voxels = np.random.default_rng(0).integers(0, 255, (12, 10, depth), dtype=np.uint8)
            voxels = voxels if value is None else np.full_like(voxels, value)
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / f"{name}.nii")
        return folder

    return write


def test_a_volume_counts_as_its_slices_in_the_stages_and_while_it_is_made(tower: VisionModel, volumes: Callable[..., Path], tmp_path: Path) -> None:  # fmt: skip
    heard: list[tuple[int, int]] = []
    made = embed(
        tower,
        gather([volumes(depth=7, a=None, b=3)], False),
        tmp_path / "out",
        progress=lambda *said: heard.append(said),
    )
    assert made.vectors.shape == (2, 32)
    stages = {name: one["units"] for name, one in made.manifest["stages"]["stages"].items()}
    assert stages == {"decode": 14, "preprocess": 14, "model": 14, "write": 2}
    assert sorted({done for done, _ in heard}) == list(range(15))
    assert heard[-1] == (14, 14)
    assert slowest(made.manifest["stages"])[2] == pytest.approx(14 / made.manifest["stages"]["wall_seconds"])  # type: ignore[index]


def test_volumes_that_show_nothing_are_noticed_also_by_a_run_that_goes_on(tower: VisionModel, volumes: Callable[..., Path], tmp_path: Path) -> None:  # fmt: skip
    folder = volumes(a=None, b=0, c=255, d=254, e=0)
    items = gather([folder], False)
    whole = (folder / "e.nii").read_bytes()
    (folder / "e.nii").write_bytes(b"")
    made = embed(tower, items, tmp_path / "out", units_per_part=3)
    assert made.manifest["notices"] == [
        "volumes that are all black or all white, as if the window were wrong: 2 (b.nii, c.nii)"
    ]
    (folder / "e.nii").write_bytes(whole)
    again = embed(tower, items, tmp_path / "out", units_per_part=3)
    assert again.manifest["notices"][0].endswith(": 3 (b.nii, c.nii, e.nii)")
    assert again.table["id"].to_pylist() == ["a.nii", "b.nii", "c.nii", "d.nii", "e.nii"]


def test_pixels_that_are_not_square_are_made_so_and_noticed_also_by_a_run_that_goes_on(tower: VisionModel, volumes: Callable[..., Path], tmp_path: Path) -> None:  # fmt: skip
    """The same disc in pixels of 0.5 x 0.5, 0.5 x 1 and 1 x 0.5 mm, as DICOM and as a slice that was acquired sideways."""
    nibabel = pytest.importorskip("nibabel")
    folder = volumes(z=None)
    for name, across, back in (("a", 0.5, 0.5), ("b", 0.5, 1.0), ("c", 1.0, 0.5)):
        written(folder / f"{name}.dcm", disc(across, back), PixelSpacing=[back, across])
    reslice = disc(1.0, 0.5)[::-1, ::-1].T[:, :, None]
    nibabel.save(nibabel.Nifti1Image(reslice, np.diag([1.0, 0.5, 3, 1])), folder / "d.nii")
    made = embed(tower, gather([folder], False), tmp_path / "out", units_per_part=2)
    ids = ["a.dcm", "b.dcm", "c.dcm", "d.nii", "z.nii"]
    assert made.table["id"].to_pylist() == ids
    square, *others, other = made.vectors
    for vector in others:
        assert np.linalg.norm(vector - square) < 0.1 * np.linalg.norm(other - square)
    said = "pixels that are not square were made square before the network saw them: 3 items, height over width 0.5 to 2 (b.dcm, c.dcm, d.nii)"
    assert made.manifest["notices"] == [said]
    again = embed(tower, gather([folder], False), tmp_path / "out", units_per_part=2)
    assert again.manifest["notices"] == [said]
    np.testing.assert_array_equal(Embedder(tower)([folder / "b.dcm", folder / "d.nii"]), made.vectors[[1, 3]])


def test_a_file_whose_pixels_have_no_sensible_shape_fails_alone(tower: VisionModel, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    written(tmp_path / "in" / "a.dcm", disc(1, 1), PixelSpacing=[0, 0])
    written(tmp_path / "in" / "b.dcm", disc(1, 1))
    made = embed(tower, gather([tmp_path / "in"], False), tmp_path / "out")
    assert made.table["id"].to_pylist() == ["b.dcm"]
    (failed,) = made.failures
    assert failed["problem"].startswith("its PixelSpacing is not two numbers above 0")


def test_files_that_are_passed_over_are_listed_in_the_folder(
    tower: VisionModel, photos: Photos, tmp_path: Path
) -> None:
    folder = photos(1)
    (folder / "notes.json").write_text("{}")
    (folder / "Thumbs.db").write_bytes(b"x")
    for _ in range(2):
        made = embed(tower, gather([folder], False), tmp_path / "out")
        assert made.manifest["passed_over"] == {
            "count": 2, "reasons": {"system file": 1, "JSON": 1},
            "told": "1 file passed over: 1 JSON (and 1 of the system or of a file beside them)",
        }  # fmt: skip
        lines = (tmp_path / "out" / "passed_over.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == [
            {"file": "Thumbs.db", "reason": "system file"}, {"file": "notes.json", "reason": "JSON"}
        ]  # fmt: skip


def test_the_parts_are_plain_parquet(tower: VisionModel, photos: Photos, tmp_path: Path) -> None:
    embed(tower, gather([photos(2)], False), tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "embeddings" / "part-00000.parquet")
    assert table.column_names == ["id", "number", "of", "x", "y", "digest", "embedding", "problem"]
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_a_folder_whose_request_had_a_word_that_this_one_has_not_is_another_request(
    tower: VisionModel, photos: Photos, tmp_path: Path
) -> None:  # fmt: skip
    """What another version asked and this one does not know, and what it did not ask."""
    folder = gather([photos(3)], False)
    embed(tower, folder, tmp_path / "out", engine="torch")
    whole = json.loads((tmp_path / "out/manifest.json").read_text())
    for key, before in (("stain", "normalised"), ("units_per_part", None), ("precision", "bfloat16")):
        asked = {name: one for name, one in {**whole["asked"], key: before}.items() if one is not None or name != key}
        (tmp_path / "out/manifest.json").write_text(json.dumps({**whole, "asked": asked}))
        with pytest.raises(RunError, match=rf"holds embeddings of another request \({key} differ"):
            embed(tower, folder, tmp_path / "out", engine="torch")

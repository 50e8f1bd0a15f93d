"""Attention pooling through ``evaluate``: slides, volumes, films and patients are bags, and a bag has one class."""

from __future__ import annotations

import base64
import io
import itertools
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import lxml.html
import nibabel
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from healthfm import RunError, evaluate, load_model, load_run
from healthfm.adapt import mil
from healthfm.embed import check, engines
from healthfm.embed.items import gather
from healthfm.embed.run import embed
from healthfm.engine.store import RunFolder
from healthfm.errors import CapabilityError
from healthfm.models.vision.vision_model import VisionModel
from healthfm.report import heat
from healthfm.report.page import render
from healthfm.score.sentences import headline_notes
from tests.cli.command import run as command
from tests.embed.conftest import SMALL, small
from tests.formats.test_damaged_slide import Place
from tests.real_files import ELSEWHERE

TILES = ELSEWHERE / "tcga_luadlusc_patches/assets/data/tcga_luadlusc.zip"
SIDE, TILE = 256, 32  # pixels of a slide and of a tile; the left half is tissue: 32 tiles


@pytest.fixture(scope="module")
def tower() -> VisionModel:
    """A Vision Transformer of width 32 that reads tiles of 32 pixels at 0.5 micrometres; nothing trained its weights."""
    return small()


def fit_briefly(patch: pytest.MonkeyPatch, epochs: int = 5) -> None:
    patch.setitem(mil.attention_mil.__kwdefaults__, "epochs", epochs)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit of five rounds: for tests that do not ask what was learned."""
    fit_briefly(monkeypatch)


@pytest.fixture
def learning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit of 40 rounds, by which these few bags are told apart."""
    fit_briefly(monkeypatch, LEARNED)


LEARNED = 40
BRIEF, LEARNING = pytest.mark.usefixtures("brief"), pytest.mark.usefixtures("learning")


def tissue(rng: np.random.Generator, marked: int) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """Stained noise of a strength of its own; ``marked`` tiles, whose places are returned, are striped."""
    pixels = rng.integers(0, int(rng.integers(30, 90)), (SIDE, SIDE, 3)) + rng.integers(-25, 25, 3) + (140, 50, 130)
    pixels[:, SIDE // 2 :] = 245
    places = [(int(x), int(y)) for y in range(0, SIDE, TILE) for x in range(0, SIDE // 2, TILE)]
    marks = {places[i] for i in rng.choice(len(places), marked, replace=False)}
    for x, y in marks:
        pixels[y : y + TILE, x : x + TILE] = ((np.arange(TILE) // 4 % 2) * 150 + 40)[:, None, None] * (1, 0.3, 0.9)
    return pixels.clip(0, 255).astype(np.uint8), marks


def write_slide(path: Path, pixels: np.ndarray) -> None:
    """A pyramidal TIFF at 0.5 micrometres a pixel."""
    tifffile = pytest.importorskip("tifffile")
    path.parent.mkdir(parents=True, exist_ok=True)
    how = {
        "tile": (128, 128), "photometric": "rgb", "resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER",
    }  # fmt: skip
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, **how)
        file.write(np.ascontiguousarray(pixels[::2, ::2]), **{**how, "subfiletype": 1})


Marks = dict[str, set[tuple[int, int]]]


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Marks]:
    """Class folders of slides, 16 to fit on and 10 to evaluate; in those of class tumour 2 of 32 tiles are striped."""
    folder, rng, marks = tmp_path_factory.mktemp("data") / "slides", np.random.default_rng(0), {}
    for split, count in (("train", 16), ("test", 10)):
        for i in range(count):
            name = f"{split}/{'tumour' if i % 2 else 'normal'}/{i:02}.svs"
            pixels, marks[name] = tissue(rng, 2 * (i % 2))
            write_slide(folder / name, pixels)
    return folder, marks


@pytest.fixture(scope="module")
def finished(tower: VisionModel, slides: tuple[Path, Marks], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on the slides."""
    with pytest.MonkeyPatch.context() as changed:
        fit_briefly(changed, LEARNED)
        return run_apart(tower, slides[0], tmp_path_factory)


@pytest.fixture(scope="module")
def few(slides: tuple[Path, Marks], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of 8 of the slides to fit on and 4 to evaluate."""
    folder = tmp_path_factory.mktemp("few") / "slides"
    for name in [one for one in slides[1] if int(Path(one).stem) < (8 if one.startswith("train") else 4)]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(slides[0] / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def whole(tower: VisionModel, few: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tables of a run on few slides that was never stopped; its fit is brief."""
    with pytest.MonkeyPatch.context() as changed:
        fit_briefly(changed)
        return tables(run_apart(tower, few, tmp_path_factory, baseline=False))


def run_apart(tower: VisionModel, data: Path, folders: pytest.TempPathFactory, baseline: bool = True) -> Path:
    """The folder of a run that finds no vectors of others and leaves none."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("HEALTHFM_HOME", str(folders.mktemp("home")))
        output = folders.mktemp("runs") / "run"
        return evaluate(tower, data, task="mil", output=output, device="cpu", baseline=baseline).path  # type: ignore[return-value]


def tables(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("*/part-*.parquet"))}


def test_slides_are_told_apart_by_the_few_tiles_that_differ_and_attention_shows_them(
    finished: Path, slides: tuple[Path, Marks]
) -> None:
    run = load_run(finished)
    accuracy = run.metrics["accuracy"]
    assert accuracy["low"] > 0.55 and accuracy["n"] == 10, accuracy
    assert run.predictions["id"].to_pylist() == sorted(one for one in slides[1] if one.startswith("test"))
    assert all(sum(row) == pytest.approx(1) for row in run.predictions["probabilities"].to_pylist())
    attention = pq.read_table(finished / "attention/part-00000.parquet").to_pylist()
    on_marks, tiles = [], 0
    for name, rows in itertools.groupby(attention, lambda row: row["id"]):
        found = {(row["x"], row["y"]): row["weight"] for row in rows}
        assert sum(found.values()) == pytest.approx(1, abs=1e-5)
        tiles += len(found)
        assert slides[1][name] <= set(found)
        if slides[1][name]:
            on_marks.append(sum(found[place] for place in slides[1][name]))
    assert tiles == 10 * 32  # every tile of tissue, and no other
    assert np.mean(on_marks) > 0.5  # 2 of 32 tiles are a sixteenth
    assert run.facts["fitted"]["pictures"] == 26 * 32


def test_a_heat_map_shows_where_the_model_looked_and_qupath_can_read_it(
    finished: Path, slides: tuple[Path, Marks], tmp_path: Path
) -> None:
    name = next(one for one in slides[1] if one.startswith("test") and slides[1][one])
    done = command("heatmap", finished, Path(name).name, "--output", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["tiles"], told["span"], told["span_measured"]) == (32, TILE, False)
    shapes = json.loads(Path(told["geojson"]).read_text())
    rows = [one for one in pq.read_table(finished / "attention/part-00000.parquet").to_pylist() if one["id"] == name]
    assert shapes["type"] == "FeatureCollection" and len(shapes["features"]) == 32
    highest = set()
    for feature, row in zip(shapes["features"], rows, strict=True):
        assert feature["type"] == "Feature" and feature["geometry"]["type"] == "Polygon"
        (ring,) = feature["geometry"]["coordinates"]
        x, y = row["x"], row["y"]
        assert ring == [[x, y], [x + TILE, y], [x + TILE, y + TILE], [x, y + TILE], [x, y]]
        kept = feature["properties"]
        assert kept["objectType"] == "tile" and kept["measurements"]["attention"] == pytest.approx(row["weight"])
        assert kept["measurements"]["times even"] == pytest.approx(32 * row["weight"])
        colour = kept["classification"]["color"]
        assert len(colour) == 3 and all(isinstance(one, int) and 0 <= one <= 255 for one in colour)
        if kept["classification"]["name"] == "Attention highest":
            highest.add((x, y))
    assert slides[1][name] <= highest and len(highest) <= 7
    drawn, size = np.asarray(PIL.Image.open(told["png"])), (SIDE, SIDE)
    assert drawn.shape == (*size, 3)
    x, y = next(iter(slides[1][name]))
    assert (
        drawn[y : y + TILE, x : x + TILE, 2].mean() < drawn[:, SIDE // 2 :, 2].mean() - 60
    )  # yellow over it; the glass stays
    assert (drawn[:, SIDE // 2 :] == 245).mean() > 0.95
    picture, again = load_run(finished).heatmap(name, tmp_path / "here")
    assert json.loads(again.read_text()) == shapes and picture.parent == tmp_path / "here"
    unknown = command("heatmap", finished, "nobody.svs")
    assert unknown.returncode == 2 and "no slide with tiles is called 'nobody.svs'" in unknown.stderr


def test_of_a_run_that_does_not_say_how_large_its_tiles_are_neighbours_do(finished: Path) -> None:
    run = load_run(finished)
    assert run.facts["fitted"]["tile"] == {"mpp": 0.5, "side": TILE}
    rows = next(iter(heat.attention(run).values()))
    del run.facts["fitted"]["tile"]  # as runs before had it
    found = heat.of_slide(run, rows, None)
    assert (found.span, found.measured) == (TILE, True)
    rounded = [{**row, "x": round(i * 37.3), "y": 0} for i, row in enumerate(rows)]
    assert heat.of_slide(run, rounded, None).span == pytest.approx(37.3, abs=0.05)
    with pytest.raises(RunError, match="one tile alone does not show it"):
        heat.of_slide(run, rows[:1], None)


def test_the_page_shows_tiles_and_a_heat_map_only_when_asked(
    finished: Path, slides: tuple[Path, Marks], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = load_run(finished)
    assert "<img" not in render(run)
    page = render(run, show_inputs=True)
    looked = page.partition('id="looks"')[2].partition('id="samples"')[0]
    tree = lxml.html.fromstring(looked)
    shown = len(tree.xpath("//h3"))
    assert 1 <= shown <= 4 and len(tree.xpath("//img")) == shown * 9  # a map, four tiles that weighed most, four least
    assert 'class="stamp"' in page
    run.facts["data"]["path"] = str(slides[0] / "gone")
    assert "Where it looked is not shown" in render(run, show_inputs=True)


def test_the_page_speaks_of_slides(finished: Path) -> None:
    run = load_run(finished)
    page = run.report().read_text()
    assert "Of 100 slides like these" in page and "gated attention pooling" in page
    assert "mil · split test · n = 10" in page
    assert "The data name no patients" in page


@BRIEF
@pytest.mark.parametrize(("killed", "left"), [("embeddings/part-00007", 7), ("predictions/part-00000", 13)])
def test_a_run_that_was_killed_ends_with_the_same_bytes(
    tower: VisionModel, few: Path, whole: dict[str, bytes], tmp_path: Path, killed: str, left: int
) -> None:
    real = RunFolder.publish

    def publish(self: RunFolder, number: int, table: pa.Table, room: str = "predictions") -> None:
        if f"{room}/part-{number:05d}" == killed:
            raise KeyboardInterrupt
        real(self, number, table, room)

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(RunFolder, "publish", publish)
        with pytest.raises(KeyboardInterrupt):
            evaluate(tower, few, task="mil", output=tmp_path / "run", device="cpu", baseline=False)
    assert len(tables(tmp_path / "run")) == left < len(whole)
    evaluate(tower, few, task="mil", output=tmp_path / "run", device="cpu", baseline=False)
    assert tables(tmp_path / "run") == whole


@BRIEF
def test_tiles_that_embed_has_made_are_not_computed_again(
    tower: VisionModel, few: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed, real = [], engines.vectors
    monkeypatch.setattr(engines, "vectors", lambda n, inputs, *more: computed.append(len(inputs)) or real(n, inputs, *more))  # fmt: skip
    embed(tower, gather([few], False), tmp_path / "vectors")
    assert sum(computed) == 12 * 32 + check.CHECKED
    evaluate(tower, few, task="mil", output=tmp_path / "run", device="cpu", baseline=False)
    assert sum(computed) == 12 * 32 + 2 * check.CHECKED  # each run holds its arithmetic against torch's
    assert tables(tmp_path / "run") == whole


@BRIEF
def test_a_slide_without_tissue_is_named_left_out_of_the_fit_and_wrong_where_it_is_evaluated(
    tower: VisionModel, few: Path, tmp_path: Path
) -> None:
    shutil.copytree(few, tmp_path / "mine")
    for name in ("train/normal/00.svs", "test/normal/00.svs"):
        write_slide(tmp_path / "mine" / name, np.full((SIDE, SIDE, 3), 245, np.uint8))
    run = evaluate(tower, tmp_path / "mine", task="mil", output=tmp_path / "run", device="cpu")
    rows = {row["id"]: row for row in run.predictions.to_pylist()}
    assert len(rows) == 4 and rows["test/normal/00.svs"]["prediction"] is None
    assert rows["test/normal/00.svs"]["probabilities"] == [0.5, 0.5]
    assert [one for one, row in rows.items() if row["prediction"] is None] == ["test/normal/00.svs"]
    assert run.scores["unanswered"] == 1
    assert run.facts["fitted"]["fitted_on"] + run.facts["fitted"]["held_out"] == 7
    [note] = [one for one in headline_notes(run) if one.startswith("without a picture")]
    assert "test/normal/00.svs" in note and "train/normal/00.svs" in note and "no tissue found" in note
    assert note in run.report().read_text().replace("&#39;", "'")


def write_images(folder: Path, change: Callable[[list[str]], None] = lambda _: None) -> Path:
    """A manifest of pictures, four a patient, of 18 patients in two splits; one of those of class b is striped."""
    folder.mkdir()
    rng, lines = np.random.default_rng(0), ["id,patient,image,label,split,ward"]
    for i in range(18):
        for j in range(4):
            pixels = rng.integers(80, 180, (TILE, TILE, 3), dtype=np.uint8)
            if i % 2 and j == i // 2 % 4:
                pixels[::2] = 0
            PIL.Image.fromarray(pixels).save(folder / f"{i}-{j}.png")
            lines.append(f"{i}-{j},p{i},{i}-{j}.png,{'ab'[i % 2]},{'train' if i < 12 else 'test'},{i % 3}")
    change(lines)
    (folder / "list.csv").write_text("\n".join(lines))
    return folder / "list.csv"


@LEARNING
def test_the_images_of_a_patient_are_one_bag(tower: VisionModel, tmp_path: Path) -> None:
    manifest = write_images(tmp_path / "mine")
    asked = {"subgroups": ["ward"], "output": tmp_path / "run", "device": "cpu", "baseline": False}
    run = evaluate(tower, manifest, task="mil", **asked)  # type: ignore[arg-type]
    assert (
        run.predictions["id"].to_pylist() == run.predictions["patient"].to_pylist() == [f"p{i}" for i in range(12, 18)]
    )
    assert run.predictions["subgroup.ward"].to_pylist() == [str(i % 3) for i in range(12, 18)]
    assert len(set(run.predictions["input"].to_pylist())) == 6
    assert run.metrics["accuracy"]["value"] >= 0.75
    attention = pq.read_table(tmp_path / "run/attention/part-00000.parquet")
    assert attention["record"].to_pylist() == [f"{i}-{j}" for i in range(12, 18) for j in range(4)]
    assert attention["number"].to_pylist() == [0, 1, 2, 3] * 6 and attention["x"].null_count == 24
    assert "Of 100 patients like these" in run.report().read_text()
    looked = lxml.html.fromstring(render(run, show_inputs=True).partition('id="looks"')[2].partition('id="samples"')[0])
    assert looked.xpath("//h3") and len(looked.xpath("//img")) == 4 * len(
        looked.xpath("//h3")
    )  # all four images of each patient


@BRIEF
def test_carved_splits_keep_patients_whole(tower: VisionModel, tmp_path: Path) -> None:
    manifest = write_images(tmp_path / "mine")
    text = manifest.read_text().replace("train", "test")
    manifest.write_text(text)
    with pytest.raises(RunError, match=r"mil is fitted on split 'train', which is absent.*--shots-from test"):
        evaluate(tower, manifest, task="mil", output=tmp_path / "run", device="cpu")
    run = evaluate(tower, manifest, task="mil", shots_from="test", limit=4, output=tmp_path / "run", device="cpu")
    made = pq.ParquetDataset(tmp_path / "run/embeddings").read().to_pylist()
    sides = [{row["id"] for row in made if (row["bag"] < 9) is fit} for fit in (True, False)]
    assert (len(sides[0]), len(sides[1])) == (9, 4) and not sides[0] & sides[1]
    assert set(run.predictions["id"].to_pylist()) == sides[1]
    assert run.facts["split_records"] == 9


def one_label_wrong(lines: list[str]) -> None:
    lines[1] = lines[1].replace(",a,", ",b,")


def one_nobody(lines: list[str]) -> None:
    lines[1] = lines[1].replace("p0", "")


def one_straddles(lines: list[str]) -> None:
    lines[1] = lines[1].replace("train", "test")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (one_label_wrong, "the images of 1 of 18 patients have different classes.*--task linear-probe"),
        (one_nobody, "1 of 72 images name no patient.*--columns patient="),
        (one_straddles, "1 patients stand in both splits"),
    ],
)
def test_what_makes_no_bags_is_refused(
    tower: VisionModel, tmp_path: Path, change: Callable[[list[str]], None], says: str
) -> None:
    with pytest.raises(RunError, match=says):
        evaluate(tower, write_images(tmp_path / "mine", change), task="mil", output=tmp_path / "run", device="cpu")


def write_volumes(folder: Path, suffix: str) -> Path:
    """Class folders of volumes (or films) of 6 pictures; in class b one of them is bright."""
    rng = np.random.default_rng(0)
    for i in range(18):
        path = folder / ("train" if i < 12 else "test") / "ab"[i % 2] / f"{i}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        voxels = rng.integers(0, 120, (TILE, TILE, 6), dtype=np.uint8)
        voxels[:, :, i % 6] += np.uint8(100 * (i % 2))
        if suffix == ".nii.gz":
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
        else:
            write_film(path, voxels)
    return folder


def write_film(path: Path, frames: np.ndarray) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=8)
        stream.width = stream.height = TILE
        stream.pix_fmt = "yuv420p"
        for one in np.moveaxis(frames, 2, 0):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.repeat(one[..., None], 3, 2), "rgb24")))
        film.mux(stream.encode())


@LEARNING
@pytest.mark.parametrize(("suffix", "noun"), [(".nii.gz", "volume"), (".mp4", "film")])
def test_a_volumes_slices_and_a_films_frames_are_bags(
    tower: VisionModel, tmp_path: Path, suffix: str, noun: str
) -> None:
    rivals = noun == "film"  # those of volumes are test_baselines' matter
    data = write_volumes(tmp_path / "mine", suffix)
    run = evaluate(tower, data, task="mil", output=tmp_path / "run", device="cpu", baseline=rivals)
    assert run.metrics["accuracy"]["value"] >= 0.75
    assert f"Of 100 {noun}s like these" in run.report().read_text()
    attention = pq.read_table(tmp_path / "run/attention/part-00000.parquet").to_pylist()
    assert [row["number"] for row in attention] == list(range(6)) * 6
    looked = lxml.html.fromstring(render(run, show_inputs=True).partition('id="looks"')[2].partition('id="samples"')[0])
    bags = {one.text_content().split(":")[0]: one.getnext() for one in looked.xpath("//h3")}
    for name, shown in bags.items():
        order = sorted((row for row in attention if row["id"] == name), key=lambda row: -row["weight"])
        numbers = [
            row["number"] for row in (*order[:4], *order[:3:-1])
        ]  # the four that weighed most, then those that weighed least
        uris = [one.get("src") for one in shown.xpath(".//img")]
        light = [np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(one.split(",")[1])))).mean() for one in uris]
        assert len(light) == 6
        if "/b/" in name:
            assert (
                numbers[int(np.argmax(light))] == int(Path(name).name.split(".")[0]) % 6
            )  # the bright one stands where its weight puts it


@pytest.mark.parametrize(("suffix", "noun"), [(".nii.gz", "volume"), (".mp4", "film")])
def test_volumes_and_films_have_one_vector_each_for_a_probe(
    tower: VisionModel, tmp_path: Path, suffix: str, noun: str
) -> None:
    data = write_volumes(tmp_path / "mine", suffix)
    run = evaluate(tower, data, task="linear-probe", output=tmp_path / "run", device="cpu", baseline=noun == "film")
    made = pq.ParquetDataset(tmp_path / "run/embeddings").read()
    assert made.num_rows == run.facts["request"]["fitted_on"] + run.predictions.num_rows
    assert run.predictions.num_rows == 6 and run.predictions["input"].null_count == 6
    assert run.report().is_file()


@BRIEF
def test_pixels_that_were_made_square_and_files_that_were_passed_over_are_told_of_bags_and_probes(
    tmp_path: Path,
) -> None:
    data = tmp_path / "mine"
    for i in range(18):
        path = data / ("train" if i < 12 else "test") / "ab"[i % 2] / f"{i}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        voxels = np.random.default_rng(i).integers(0, 255, (TILE, TILE // 2, 2), dtype=np.uint8)
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1, 2.0 if i in (3, 13) else 1, 1, 1])), path)
    (data / "test" / "a" / "notes.pdf").write_bytes(b"x")
    for task in ("mil", "knn"):
        done = evaluate(small(), data, task=task, output=tmp_path / task, device="cpu")
        notes = "; ".join(headline_notes(done))
        assert (
            "made square before the network saw them: 2 items, height over width 2 (test/b/13.nii.gz, train/b/3.nii.gz)"
            in notes
        )
        assert "notice: 1 file passed over: 1 document" in notes
        assert "made square" in done.report().read_text()


@BRIEF
def test_a_window_stands_in_the_run_and_a_volume_that_it_blackens_is_named(tmp_path: Path) -> None:
    """A request that failed before anything was computed leaves its folder to the next one."""
    data, run = tmp_path / "mine", tmp_path / "run"
    for i in range(18):
        path = data / ("train" if i < 12 else "test") / "ab"[i % 2] / f"{i}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        voxels = np.random.default_rng(i).integers(-100, 300, (TILE, TILE, 4), dtype=np.int16) - (
            2000 if i == 13 else 0
        )
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
    for task in ("mil", "knn"):
        with pytest.raises(RunError, match=r"need a window"):
            evaluate(small(), data, task=task, output=run, device="cpu")
        done = evaluate(small(), data, task=task, output=run, device="cpu", window=(-160, 240), baseline=False)
        assert done.facts["request"]["window"] == [-160, 240]
        assert "all black or all white as shown (see the window): test/b/13.nii.gz (1 in all)" in headline_notes(done)
        assert "-160 (black) to 240 (white)" in done.report().read_text()
        with pytest.raises(RunError, match="window"):
            evaluate(small(), data, task=task, output=run, device="cpu", window=(-100, 240))
        shutil.rmtree(run)


def test_a_probe_of_whole_slides_points_to_mil(tower: VisionModel, slides: tuple[Path, Marks], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"a slide is a bag of tiles.*--task mil"):
        evaluate(tower, slides[0], task="linear-probe", output=tmp_path / "run", device="cpu")


def test_a_model_that_was_changed_since_does_not_get_the_old_run(tmp_path: Path) -> None:
    """Weights in memory have no file to tell them by: what the network holds, and how it is shown pictures, does."""
    model, manifest = small(), write_images(tmp_path / "mine")

    def again(output: str = "run") -> str:
        run = evaluate(model, manifest, task="knn", output=tmp_path / output, device="cpu", baseline=False)
        return str(run.facts["request"]["weights"])

    first = again()
    assert again() == first
    with torch.no_grad():
        next(model.network.parameters()).mul_(2)
    with pytest.raises(RunError, match=r"holds a run of another request \(weights differ\)"):
        again()
    second = again("other")
    model.show_between(0, 10)
    with pytest.raises(RunError, match=r"weights differ"):
        again("other")
    assert len({first, second, again("third")}) == 3


def test_a_model_that_reads_no_pictures_and_records_that_hold_none_are_refused(
    slides: tuple[Path, Marks], tmp_path: Path
) -> None:
    texts = load_model(lambda items: np.zeros((len(items), 2)), verb="embed", card={"slug": "texts", "name": "Texts"})
    with pytest.raises(CapabilityError, match="texts reads no pictures"):
        evaluate(texts, slides[0], task="mil", output=tmp_path / "run")
    (tmp_path / "own.csv").write_text("id,text,label,split\n1,x,a,train\n2,y,b,test\n")
    with pytest.raises(RunError, match=r"mil needs slides.*these are Document records"):
        evaluate(texts, tmp_path / "own.csv", task="mil", output=tmp_path / "other")


def test_a_card_that_does_not_say_how_tiles_are_read_stops_the_run(slides: tuple[Path, Marks], tmp_path: Path) -> None:
    rule = {**SMALL["transform"], "micrometres_per_pixel": ()}  # type: ignore[dict-item]
    other = small(transform=rule)
    with pytest.raises(RunError, match="micrometres per pixel"):
        evaluate(other, slides[0], task="mil", output=tmp_path / "run", device="cpu")


@BRIEF
@pytest.mark.skipif(not TILES.is_file(), reason="needs the real H&E tiles of UNI's demonstration")
def test_real_tiles_are_bags_by_a_manifest(tower: VisionModel, tmp_path: Path) -> None:
    """Tiles ROW_COLUMN_SLIDE.jpg of four slides: too few to fit on; with a row of tiles a bag there are 13 and 6."""
    with zipfile.ZipFile(TILES) as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if name.endswith(".jpg")])
    files = sorted(tmp_path.rglob("*.jpg"))
    for manifest, who in (("slides", "{2}"), ("rows", "{2}-{0}")):
        lines = [
            f"{file.stem},{who.format(*file.stem.split('_'))},{file.relative_to(tmp_path)},{file.parent.name},{file.parent.parent.name}"
            for file in files
        ]
        (tmp_path / f"{manifest}.csv").write_text("\n".join(["id,patient,image,label,split", *lines]))
    with pytest.raises(RunError, match="two classes and five patients"):
        evaluate(tower, tmp_path / "slides.csv", task="mil", output=tmp_path / "run", device="cpu")
    run = evaluate(tower, tmp_path / "rows.csv", task="mil", output=tmp_path / "run", device="cpu", baseline=False)
    assert (run.facts["request"]["fitted_on"], run.predictions.num_rows) == (13, 6)
    assert run.facts["fitted"]["pictures"] == len(files) == 190
    assert {one.partition("-")[0] for one in run.predictions["id"].to_pylist()} == {"507", "515"}
    assert pq.read_table(tmp_path / "run/attention/part-00000.parquet").num_rows == 60


@BRIEF
def test_a_damaged_tile_is_left_out_of_its_bag_and_told(tower: VisionModel, few: Path, tmp_path: Path) -> None:
    data = tmp_path / "slides"
    shutil.copytree(few, data)
    name = next(path for path in sorted(data.rglob("*.svs")) if "test" in path.parts)
    place = Place(name, 0, 0)
    with name.open("r+b") as handle:
        place.state(handle, offset=3 * place.size + 10**6)
    run = evaluate(tower, data, task="mil", output=tmp_path / "run", device="cpu")
    whose = name.relative_to(data).as_posix()
    notes = [note for note in headline_notes(run) if note.startswith("damaged tiles")]
    assert notes == [f"damaged tiles, left out of their slides: {whose} (16)"]
    assert len(run.predictions) == 4

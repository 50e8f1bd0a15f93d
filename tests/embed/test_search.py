"""Search over a store: exact, over many parts, by words and by a picture; of a large one by an index; another model's is refused in a line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from healthfm import MissingExtra, RunError, load_model
from healthfm.embed import nearest
from healthfm.embed import search as searching
from healthfm.embed.embedder import Embedder
from healthfm.embed.items import gather
from healthfm.embed.run import embed
from healthfm.embed.search import search
from healthfm.engine.store import RunFolder
from healthfm.models.model import Model
from tests.cli.command import run
from tests.evaluate.pairs import weights
from tests.models.vision.test_vision_road import class_folders


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path, Model]:
    """A store of twelve pictures in parts of three; the pictures, the weights, the model."""
    root = tmp_path_factory.mktemp("search")
    pictures, files = class_folders(root / "tiles", 64), weights(root / "weights")
    model = load_model("pathasst", files, device="cpu")
    embed(model, gather([pictures], texts=False), root / "store", units_per_part=3)
    return root / "store", pictures, files, model


def test_words_and_pictures_find_what_is_most_like_them(made: tuple[Path, Path, Path, Model]) -> None:
    store, pictures, files, model = made
    names = sorted(one.relative_to(pictures).as_posix() for one in pictures.rglob("*.*g"))
    vectors = model.embed([pictures / one for one in names])
    done = run("search", store, "no heart failure", "--weights", files, "--device", "cpu", "--top", 5, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    likeness = vectors @ model.embed(["no heart failure"])[0]
    assert told["vectors"] == len(names) == 12 and told["model"] == "pathasst:pathclip"
    assert [one["id"] for one in told["hits"]] == [names[i] for i in np.argsort(-likeness)[:5]]
    assert np.allclose([one["cosine"] for one in told["hits"]], np.sort(likeness)[::-1][:5], atol=1e-5)
    table = run("search", store, pictures / names[7], "--weights", files, "--device", "cpu").stdout
    assert names[7] in table.splitlines()[2] and "1.0000" in table.splitlines()[2]
    cut = search(store, "heart " * 90, model, 1)
    assert any("longer than the model reads" in one for one in cut.notices)


def test_texts_and_pictures_of_one_size_go_through_the_network_together_and_no_vector_changes(
    made: tuple[Path, Path, Path, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, pictures, _, model = made
    monkeypatch.setenv("HEALTHFM_HOME", str(tmp_path))  # nothing is found that was computed before
    contents = ["xyz", "no heart", "zyx", "lungs", *sorted(pictures.rglob("*.*g"))[:5], "no lung"] * 3
    alone = np.concatenate([model.embed([one]) for one in contents])
    seen: dict[str, list[int]] = {"text": [], "image": []}
    network: Any = model.network
    hooks = [
        getattr(network, side).tower.register_forward_hook(lambda *told, side=side: seen[side].append(len(told[2].pooler_output)))
        for side in seen
    ]  # fmt: skip
    found = Embedder(model)(contents)
    for hook in hooks:
        hook.remove()
    assert np.abs(found - alone).max() < 1e-6
    assert max(seen["text"]) > 1 and max(seen["image"]) > 1
    assert np.abs(Embedder(model)(contents[::-1])[::-1] - alone).max() < 1e-6


def test_what_is_equal_comes_in_the_stores_order_and_what_failed_is_none(
    made: tuple[Path, Path, Path, Model], tmp_path: Path
) -> None:
    store, _, _, model = made
    shutil.copytree(store, tmp_path / "store")
    folder, vector = RunFolder(tmp_path / "store", "embeddings"), model.embed(["heart"])[0]
    for number in sorted(folder.published("embeddings")):
        part = folder.part(number, "embeddings")
        same = [(3 * vector).tolist()] * part.num_rows
        same[0] = None  # type: ignore[call-overload]
        failed = ["cannot be read", *([None] * (part.num_rows - 1))]
        for name, column in (
            ("embedding", pa.array(same, pa.list_(pa.float32()))),
            ("problem", pa.array(failed, pa.string())),
        ):
            part = part.set_column(part.column_names.index(name), name, column)
        folder.publish(number, part, "embeddings")
    found = search(tmp_path / "store", "heart", model, 20)
    ids = [
        row
        for n in sorted(folder.published("embeddings"))
        for row in folder.part(n, "embeddings")["id"].to_pylist()[1:]
    ]
    assert [one.id for one in found.hits] == ids and found.vectors == len(ids) == 8
    assert all(one.cosine == pytest.approx(1, abs=1e-6) for one in found.hits)


def test_a_store_of_another_model_or_no_store_is_refused_in_a_line(
    made: tuple[Path, Path, Path, Model], tmp_path: Path
) -> None:
    store, pictures, files, model = made
    others = weights(tmp_path / "other", "plip")
    words, broken, cut, bare = (tmp_path / name for name in ("notes.txt", "broken.png", "cut", "bare"))
    words.write_text("heart")
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    for folder, text in ((cut, '{"format": "healthfm'), (bare, '{"format": "healthfm embeddings 1"}')):
        folder.mkdir()
        (folder / "manifest.json").write_text(text)
    for given, why in (
        (
            (store, "heart", "--model", "plip", "--weights", others),
            "was made by pathasst:pathclip, not as plip is loaded here",
        ),
        ((store, " ", "--weights", files), "the query is empty"),
        ((store, tmp_path / "gone.png", "--weights", files), "no file"),
        ((pictures, "heart"), "no embeddings of healthfm embed"),
        ((words, "heart"), "no folder"),
        ((cut, "heart"), "its manifest.json is damaged"),
        ((bare, "heart"), "no embeddings of healthfm embed"),
        ((store, words, "--weights", files), "a file of text"),
        ((store, pictures, "--weights", files), "a folder, and a query is words"),
        ((store, broken, "--weights", files), "not a readable image"),
    ):
        done = run("search", *given, "--device", "cpu")
        assert done.returncode == 2 and why in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    moved = load_model("pathasst", files, device="cpu")
    assert moved.network is not None
    next(moved.network.parameters()).data.mul_(1.01)
    with pytest.raises(RunError, match="with other weights of pathasst"):
        search(store, "heart", moved)
    tall = load_model("pathasst", files, config={"image": {"transform": {"resize": [64, 64], "mean": [0.0] * 3, "std": [1.0] * 3}}}, device="cpu")  # fmt: skip
    with pytest.raises(RunError, match="other settings"):
        search(store, "heart", tall)
    (shutil.copytree(store, tmp_path / "none") / "embeddings").rename(tmp_path / "parts")
    none = search(tmp_path / "none", "heart", model)
    assert (none.hits, none.vectors, none.notices) == ([], 0, ["the store holds no vectors"])
    part = sorted((shutil.copytree(store, tmp_path / "copy") / "embeddings").iterdir())[0]
    part.write_bytes(part.read_bytes()[:50])
    with pytest.raises(RunError, match="a part is damaged"):
        search(tmp_path / "copy", "heart", model)


def filled(store: Path, seed: int) -> np.ndarray:
    """Put 80 random vectors into each part of a store, none in its first row; return those that are there, by part and row."""
    random, folder, every = np.random.default_rng(seed), RunFolder(store, "embeddings"), []
    for number in sorted(folder.published("embeddings")):
        part = pa.concat_tables([folder.part(number, "embeddings")] * 27)[:80]
        vectors = random.normal(size=(80, len(part["embedding"][0])))
        for name, column in (
            ("id", pa.array([f"{number} {i}" for i in range(80)])),
            ("embedding", pa.array([None, *vectors[1:].tolist()], pa.list_(pa.float32()))),
            ("problem", pa.array(["cannot be read", *([None] * 79)], pa.string())),
        ):
            part = part.set_column(part.column_names.index(name), name, column)
        folder.publish(number, part, "embeddings")
        every.append(vectors[1:])
    return np.concatenate(every).astype(np.float32)


def test_a_store_above_the_limit_is_asked_by_an_index_whose_recall_is_the_measured_one(
    made: tuple[Path, Path, Path, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Index = pytest.importorskip("usearch.index").Index  # noqa: N806
    one, two = (shutil.copytree(made[0], tmp_path / name) for name in ("one", "two"))
    vectors, _ = filled(one, 0), filled(two, 1)
    exact = [search(store, "heart", made[3], 5) for store in (one, two)]
    monkeypatch.setattr(searching, "EXACT", 4 * 80)
    assert search(one, "heart", made[3], 5) == exact[0] and not (one / nearest.FILES[0]).exists()
    monkeypatch.setattr(searching, "EXACT", 4 * 80 - 1)
    monkeypatch.setattr(nearest, "SAMPLE", 4 * 80)
    good = search(one, "heart", made[3], 5)
    cosines = {one.id: one.cosine for one in exact[0].hits}  # threads build the index: it may miss one
    both = [one for one in good.hits if one.id in cosines]
    assert len(both) >= 4 and all(abs(one.cosine - cosines[one.id]) < 1e-6 for one in both)
    assert good.vectors == 4 * 79 and good.recall is not None and 0.95 < good.recall <= 1
    for name in nearest.FILES:
        shutil.copy2(one / name, two / name)
    other = search(two, "heart", made[3], 5)
    assert (
        len({one.id for one in other.hits} & {one.id for one in exact[1].hits}) >= 4
    )  # another store's index is not asked
    poor = {"connectivity": 4, "expansion_add": 8, "expansion_search": 8}
    monkeypatch.setattr(nearest, "SETTINGS", {**nearest.SETTINGS, **poor})
    told = run("search", one, "heart", "--weights", made[2], "--device", "cpu", "--top", 5)
    index = Index.restore(str(one / nearest.FILES[0]))
    index.expansion_search = 8
    keys = np.array([80 * part + row for part in range(4) for row in range(79)])  # of those that have a vector
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -1)
    true = keys[np.argsort(-likeness, 1)[:, :5]]
    asked = [index.search(vector, 6).keys.astype(np.int64) for vector in vectors]
    hits = [len({*some[some != key][:5]} & {*best}) for some, key, best in zip(asked, keys, true, strict=True)]
    assert 0.05 < np.mean(hits) / 5 < 0.95
    assert f"of the 5 nearest of this store's own vectors the index finds {np.mean(hits) / 5:.1%}" in told.stdout


def test_a_store_above_the_limit_names_the_extra_that_it_needs(
    made: tuple[Path, Path, Path, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "EXACT", 11)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(MissingExtra, match=r"healthfm\[search\]"):
        search(made[0], "heart", made[3])

"""The map of embeddings: axes equal scikit-learn's, items have their own colour and sign, and the page holds nothing else."""

from __future__ import annotations

from pathlib import Path

import lxml.html
import numpy as np
import pytest
from sklearn.decomposition import PCA

from healthfm.embed.items import Item
from healthfm.errors import RunError
from healthfm.records import Document
from healthfm.report import embedding
from tests.report.made import EVIL, documents, embedded, text_of


def test_the_axes_are_the_principal_components(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 6)) * [5, 3, 1, 1, 0.5, 0.1]
    theirs = PCA(2).fit(vectors)
    first = embedding.layouts_of(vectors)[0]
    assert np.abs(first.places) == pytest.approx(np.abs(theirs.transform(vectors)))
    assert [f"{one:.0%}" in axis for one, axis in zip(theirs.explained_variance_ratio_, first.axes, strict=True)] == [
        True,
        True,
    ]
    assert embedding.layouts_of(vectors)[0].places == pytest.approx(first.places)
    line = embedding.layouts_of(vectors[:, :1])[0]
    assert (
        np.abs(line.places[:, 0]) == pytest.approx(np.abs(vectors[:, 0] - vectors[:, 0].mean()))
        and not line.places[:, 1].any()
    )


def test_the_page_is_coloured_by_class_site_and_split_with_counts(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 4))
    items = documents(30)
    html = embedding.write(embedded(tmp_path / "out", vectors, [one.id for one in items]), items).read_text()
    assert (tmp_path / "out/map.html").stat().st_mode & 0o077 == 0
    tree = lxml.html.fromstring(html)
    assert [one.text_content() for one in tree.xpath("//h3")][:3] == ["By grade", "By site", "By split"]
    keys = [" ".join(one.text_content().split()) for one in tree.find_class("key")][
        :3
    ]  # of the components; UMAP's may follow
    assert keys == ["low 15high 15", "site 0 10site 1 10site 2 10", "train 22test 8"]
    for plot, counts in zip(tree.find_class("plot")[:3], ((15, 15), (10, 10, 10), (22, 8)), strict=True):
        paths = [one.get("d") for one in plot.iter() if "point" in (one.get("class") or "")]
        assert tuple(one.count("z") for one in paths) == counts
        assert len({one[one.index("m") :].split("M")[0] for one in paths}) == len(paths)  # a sign of its own
    assert "said of it" in html and "<script" not in html and "default-src 'none'" in html


def test_of_items_with_several_vectors_the_mean_is_drawn_and_of_many_values_six_have_a_colour(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 4))
    items = [Item(f"d{i}", Document(id=f"d{i}", labels={"x": f"c{i % 8}"}, text="t")) for i in range(10)]
    made = embedded(tmp_path / "out", vectors, [f"d{i // 2}" for i in range(20)])
    page = text_of(embedding.render(made, items))
    assert "of 10 items with several vectors" in page and "2 other values 2" in page
    means = vectors.reshape(10, 2, 4).mean(axis=1)
    assert embedding._by_item(made)[1] == pytest.approx(means, abs=1e-6)


def test_files_are_coloured_by_their_folder_and_nothing_known_is_said(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 3))
    names = [f"{'cyst' if i < 3 else 'polyp'}/{i}.png" for i in range(6)]
    found = embedding.render(embedded(tmp_path / "a", vectors, names), [Item(one, Path(one)) for one in names])
    assert "By folder" in found and "cyst" in found
    plain = [f"{i}.png" for i in range(6)]
    bare = embedding.render(embedded(tmp_path / "b", vectors, plain), [Item(one, Path(one)) for one in plain])
    assert "The items name no class, site or split" in bare
    with pytest.raises(RunError, match="needs 3 items with vectors, there are 2"):
        embedding.render(embedded(tmp_path / "c", vectors[:2], plain[:2]), [])


def test_umap_keeps_apart_what_lies_apart_and_draws_the_same_picture_again(tmp_path: Path) -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed: the second layout was not drawn")
    items = documents(40)
    kind = np.array([one.content.labels["grade"] == "high" for one in items])  # type: ignore[union-attr]
    vectors = np.random.default_rng(0).normal(size=(40, 5)) + 20 * kind[:, None]
    first, again = embedding.layouts_of(vectors)[1], embedding.layouts_of(vectors)[1]
    assert first.name == "UMAP" and first.places.shape == (40, 2) and np.array_equal(first.places, again.places)
    middle = first.places[kind].mean(0), first.places[~kind].mean(0)
    spread = max(first.places[one].std(0).max() for one in (kind, ~kind))
    assert np.linalg.norm(middle[0] - middle[1]) > 4 * spread
    page = embedding.render(embedded(tmp_path / "out", vectors, [one.id for one in items]), items)
    assert "<h2>UMAP</h2>" in page and "first axis, without a unit" in page
    assert len(embedding.layouts_of(vectors[:15])) == 1  # fewer than the neighbours it looks at, and itself


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    items = [Item(f"d{i}", Document(id=f"d{i}", site=EVIL + str(i % 2), text="t")) for i in range(8)]
    vectors = np.random.default_rng(0).normal(size=(8, 3))
    html = embedding.render(embedded(tmp_path / "out", vectors, [one.id for one in items]), items)
    assert "<script" not in html and "<img" not in html and EVIL in text_of(html)

"""Vectors as one self-contained page: two axes of them, coloured by class, site and split."""

from __future__ import annotations

import importlib
import importlib.util
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from healthfm.embed.items import Item
from healthfm.embed.plan import matrix
from healthfm.embed.run import Embeddings
from healthfm.errors import RunError
from healthfm.records import Record
from healthfm.report import comparison, svg
from healthfm.report.page import PAGES
from healthfm.report.svg import Axis, PlotArea, covering

FILE = "map.html"
FEWEST = 3  # items that two axes are fitted to
FEWEST_UMAP = 16  # it looks at fifteen neighbours
MOST_POINTS = 5_000  # drawn; the axes are fitted to all
SIGNS = tuple(svg.SIGNS)  # a sign and a colour for each of the commonest values
SPACES = 3  # label spaces that are drawn
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Layout:
    """Items on two axes [n, 2]: how they were found and what the axes are called."""

    name: str
    places: Floats
    axes: tuple[str, str]


@dataclass(frozen=True)
class Colouring:
    """What items are coloured by: its ``name``, and the value of each (None where it has none)."""

    name: str
    values: Sequence[str | None]


def write(made: Embeddings, items: Sequence[Item]) -> Path:
    """Write ``map.html`` into the folder of embeddings, private to the user, and return where. Raises ``RunError``: too few items."""
    return comparison.put(render(made, items), made.path / FILE)


def render(made: Embeddings, items: Sequence[Item]) -> str:
    """Return the page of a folder of embeddings. ``items``: those that were embedded, which know classes, sites and splits."""
    ids, vectors, several = _by_item(made)
    if len(ids) < FEWEST:
        raise RunError(f"{made.path}: a map needs {FEWEST} items with vectors, there are {len(ids)}")
    by_id = {one.id: one for one in items}
    shown = [by_id[i] for i in ids if i in by_id]
    kept = np.array([i in by_id for i in ids])
    layouts, colours = layouts_of(vectors), colourings(shown)
    drawn = np.flatnonzero(kept)
    thin = np.unique(np.linspace(0, len(drawn) - 1, min(MOST_POINTS, len(drawn))).round().astype(int))
    plots = [(one, [(colour, *_plot(one, colour, drawn[thin], thin)) for colour in colours]) for one in layouts]
    return PAGES.get_template("embedding.html.j2").render(
        title=f"{made.manifest['asked']['model']}: a map of {len(ids):,} items", manifest=made.manifest, n=len(ids), size=vectors.shape[1],
        several=several, plots=plots, drawn=len(thin), nothing=colours[0].name == "", umap=len(layouts) > 1, signs=svg.SIGNS,
    )  # fmt: skip


def _by_item(made: Embeddings) -> tuple[list[str], Floats, int]:
    """Return the ids of items with vectors in order, the mean vector of each, and how many items have several."""
    table = made.table
    names, vectors = table["id"].to_pylist(), matrix(table).astype(np.float64)
    ids = list(dict.fromkeys(names))
    place = {name: i for i, name in enumerate(ids)}
    where = np.array([place[name] for name in names], np.int64)
    counts = np.bincount(where, minlength=len(ids))
    sums = np.zeros((len(ids), vectors.shape[1]))
    np.add.at(sums, where, vectors)
    return ids, sums / np.maximum(counts, 1)[:, None], int((counts > 1).sum())


def layouts_of(vectors: Floats) -> list[Layout]:
    """Return the first two principal components and, where the package umap is installed and items are many enough, UMAP's two axes."""
    centred = vectors - vectors.mean(axis=0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    total = float((sizes**2).sum()) or 1.0
    if len(sizes) < 2:
        left, sizes, right = np.hstack([left, np.zeros_like(left)]), np.append(sizes, 0.0), np.vstack([right, right])
    turn = np.sign(
        right[np.arange(2), np.abs(right[:2]).argmax(axis=1)]
    )  # the largest loading is positive: the same picture each time
    shares = sizes[:2] ** 2 / total
    axes = (f"first component ({shares[0]:.0%} of the variance)", f"second component ({shares[1]:.0%})")
    found = [Layout("Principal components", left[:, :2] * sizes[:2] * turn, axes)]
    if importlib.util.find_spec("umap") is not None and len(vectors) >= FEWEST_UMAP:
        umap = importlib.import_module("umap")
        places = umap.UMAP(n_components=2, random_state=0, n_jobs=1).fit_transform(vectors)
        found.append(
            Layout(
                "UMAP", np.asarray(places, np.float64), ("first axis, without a unit", "second axis, without a unit")
            )
        )
    return found


def colourings(items: Sequence[Item]) -> list[Colouring]:
    """Return what items can be coloured by: up to three label spaces, site, split; of files their folder. One without a name where nothing tells."""
    records = [item.content if isinstance(item.content, Record) else None for item in items]
    spaces = Counter(
        name for one in records if one is not None for name, value in one.labels.items() if _class(value) is not None
    )
    names = sorted(spaces, key=lambda name: (-spaces[name], list(spaces).index(name)))[:SPACES]
    found = [
        Colouring(name, [None if one is None else _class(one.labels.get(name)) for one in records]) for name in names
    ]
    found += [
        Colouring(what, [None if one is None else getattr(one, what) for one in records]) for what in ("site", "split")
    ]
    if not any(records):
        folders = [str(PurePath(item.id).parent) for item in items]
        found.append(Colouring("folder", folders if 1 < len(set(folders)) <= len(items) / 2 else [None] * len(items)))
    told = [one for one in found if len(set(one.values) - {None}) > 1 or (one.name in names and any(one.values))]
    return told or [Colouring("", [None] * len(items))]


def _class(value: Any) -> str | None:
    """Return a label as the name of a class: a word, or several joined; None of numbers and of what is not known."""
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or "none"
    return value if isinstance(value, str) else None


def _plot(
    layout: Layout, colour: Colouring, at: npt.NDArray[Any], rows: npt.NDArray[Any]
) -> tuple[Markup, list[tuple[str, str, str, int]]]:
    """Return the plot of some items, and its key: value, class of colour, sign, count. ``at``: their places, ``rows``: their values."""
    places, values = layout.places[at], [colour.values[i] for i in rows]
    counts = Counter(one for one in values if one is not None)
    told = [name for name, _ in counts.most_common(len(SIGNS))]
    x, y = (covering(layout.places[:, i].tolist()) for i in (0, 1))
    frame = PlotArea(Axis(layout.axes[0], x.low, x.high), Axis(layout.axes[1], y.low, y.high))
    groups = [("rest", "circle", [i for i, one in enumerate(values) if one not in told])]
    groups += [
        (f"c{k}", sign, [i for i, one in enumerate(values) if one == name])
        for k, (name, sign) in enumerate(zip(told, SIGNS, strict=False), 1)
    ]
    marks = [
        frame.signs(places[rows, 0].tolist(), places[rows, 1].tolist(), sign, kind)
        for kind, sign, rows in groups
        if rows
    ]
    key = [(name, f"c{k}", sign, counts[name]) for k, (name, sign) in enumerate(zip(told, SIGNS, strict=False), 1)]
    if groups[0][2]:
        others = len(counts) - len(told)
        key.append(
            (
                f"{others} other values" if others else "not known" if colour.name else "items",
                "rest",
                "circle",
                len(groups[0][2]),
            )
        )
    says = f"{len(values)} items; " + ", ".join(f"{name} {count}" for name, _, _, count in key)
    return frame.svg(f"{layout.name}, by {colour.name or 'nothing'}", says, *marks), key

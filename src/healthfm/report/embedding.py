"""Vectors as one self-contained page: two axes of them, coloured by class, site and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.embed.items import Item
from healthfm.embed.plan import matrix
from healthfm.embed.run import Embeddings
from healthfm.errors import RunError
from healthfm.records import Record
from healthfm.report import comparison, svg
from healthfm.report.maps import Colouring, layouts_of, plot
from healthfm.report.page import PAGES

FILE = "map.html"
FEWEST = 3  # items that two axes are fitted to
MOST_POINTS = 5_000  # drawn; the axes are fitted to all
SPACES = 3  # label spaces that are drawn
Floats = npt.NDArray[np.float64]


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
    plots = [(one, [(colour, *plot(one, colour, drawn[thin], thin)) for colour in colours]) for one in layouts]
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

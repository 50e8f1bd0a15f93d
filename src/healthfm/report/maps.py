"""Vectors on two axes, coloured by what is known of the items: a page of its own, and a part of a probe's report."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from markupsafe import Markup

from healthfm.engine.store import RunFolder
from healthfm.records import Record
from healthfm.report import svg
from healthfm.report.svg import Axis, PlotArea, covering

ROOM = "map"  # the part of a run folder that holds the places
MOST = 2_000  # items that a report's axes are fitted to and that it draws
FEWEST = 3
FEWEST_UMAP = 16  # it looks at fifteen neighbours
SIGNS = tuple(svg.SIGNS)  # a sign and a colour for each of the commonest values
QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")
AXES = "axes"
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


def plot(
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


def places(vectors: Floats, records: Sequence[Record], labels: Sequence[Any], fitted_on: int) -> pa.Table:
    """Return where items lie (evenly chosen, ``MOST`` of them), with label, site and side; the first ``fitted_on`` are those to fit on.

    Numbers are told by the quarter of all that they are in. The table's metadata name the axes.
    """
    rows = np.unique(np.linspace(0, len(records) - 1, min(MOST, len(records))).round().astype(int))
    layouts = layouts_of(np.asarray(vectors, np.float64)[rows]) if len(rows) >= FEWEST else []
    ends = np.quantile(list(labels), (0.25, 0.5, 0.75)) if isinstance(labels[0], float) else None
    columns: dict[str, Any] = {
        "label": [_named(labels[i], ends) for i in rows], "site": pa.array([records[i].site for i in rows], pa.string()),
        "side": ["fitted on" if i < fitted_on else "evaluated" for i in rows],
    }  # fmt: skip
    for number, one in enumerate(layouts):
        columns |= {f"x{number}": one.places[:, 0], f"y{number}": one.places[:, 1]}
    axes = [[one.name, *one.axes] for one in layouts]
    return pa.table(columns).replace_schema_metadata({AXES: json.dumps(axes)})


def _named(label: Any, ends: npt.NDArray[Any] | None) -> str:
    if ends is not None:
        return QUARTERS[int(np.searchsorted(ends, label))]
    return label if isinstance(label, str) else ", ".join(sorted(label)) or "none"


def drawn(path: Path | None) -> list[tuple[Layout, list[tuple[Colouring, Markup, Any]]]]:
    """Return a run's layouts, each with a drawing and its key by label, site and side; none where the run kept no places."""
    if path is None or not RunFolder(path).published(ROOM):
        return []
    folder = RunFolder(path)
    table = folder.predictions(ROOM)
    axes = json.loads((table.schema.metadata or {}).get(AXES.encode(), b"[]"))
    every = np.arange(table.num_rows)
    colours = [Colouring(name, table[name].to_pylist()) for name in ("label", "site", "side")]
    told = [one for one in colours if len(set(one.values) - {None}) > 1]
    found = []
    for number, (name, x, y) in enumerate(axes):
        at = np.stack([table[f"{axis}{number}"].to_numpy() for axis in "xy"], axis=1)
        layout = Layout(name, at, (x, y))
        found.append((layout, [(one, *plot(layout, one, every, every)) for one in told]))
    return found

"""Where a model looked on a slide: the weights of its tiles, drawn over the slide, and as GeoJSON that QuPath opens.

QuPath's layout is read from its own reader and writer (qupath-core, ``QuPathTypeAdapters``, commit e7662d8): a FeatureCollection of
polygons in level-0 pixels, whose properties have ``objectType``, ``classification`` with a colour, and ``measurements`` by name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw

from healthfm.datasets.cellwise import cellwise
from healthfm.datasets.open import open_dataset
from healthfm.datasets.splits import divide
from healthfm.engine.store import RunFolder
from healthfm.errors import RunError
from healthfm.formats.slide.tiling import scale_of
from healthfm.records import Slide
from healthfm.score.metrics.arrays import midranks
from healthfm.score.result import Result

ROOM = "attention"
RAMP = (
    (68, 1, 84),
    (59, 82, 139),
    (33, 145, 140),
    (94, 201, 98),
    (253, 231, 37),
)  # dark to bright, also in grey and for the colour-blind
FIFTHS = ("lowest", "low", "middle", "high", "highest")
LONGEST = 2048  # pixels of a heat map's longer side
OPACITY = 0.55
Grid = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Heat:
    """The tiles of one slide: ``corners`` [n, 2] in level-0 pixels, the side they ``span`` there, and the ``weights`` [n], which sum to 1."""

    corners: npt.NDArray[np.int64]
    span: float
    weights: Grid
    measured: bool  # the span was measured from the distance of neighbours, as the run does not say it

    @property
    def ranks(self) -> Grid:
        """The place of each tile's weight among all, 0 the lowest to 1 the highest; equal weights share theirs."""
        n = len(self.weights)
        return np.full(n, 0.5) if n == 1 else np.asarray((midranks(self.weights) - 1) / (n - 1))


def attention(run: Result) -> dict[str, list[dict[str, Any]]]:
    """Return what each picture of each bag weighed, by the bag's id. Raises ``RunError``: a run that kept none."""
    if run.path is None or not RunFolder(run.path).published(ROOM):
        raise RunError(f"{run.title}: no attention is kept; a run of --task mil keeps what each tile weighed")
    found: dict[str, list[dict[str, Any]]] = {}
    for row in RunFolder(run.path).predictions(ROOM).to_pylist():
        found.setdefault(row["id"], []).append(row)
    return found


def of_slide(run: Result, rows: Sequence[Mapping[str, Any]], opened: Any) -> Heat:
    """Return the tiles of an open slide with their weights. Raises ``RunError`` where nothing says how large they are."""
    corners = np.array([[row["x"], row["y"]] for row in rows], np.int64)
    weights = np.array([row["weight"] for row in rows], np.float64)
    told = (run.facts.get("fitted") or {}).get("tile")
    if told:
        return Heat(corners, told["side"] * scale_of(opened, told["mpp"]), weights, False)
    return Heat(corners, _step(corners), weights, True)


def _step(corners: npt.NDArray[np.int64]) -> float:
    """Return the distance of neighbouring tiles, which do not overlap."""
    steps = [np.diff(np.unique(corners[:, axis])) for axis in (0, 1)]
    least = min((int(one.min()) for one in steps if len(one)), default=0)
    if not least:
        raise RunError(
            "the run does not say how large its tiles are, and one tile alone does not show it; evaluate again"
        )
    spans = [(one.sum(), np.rint(one / least).sum()) for one in steps if len(one)]
    return float(sum(length for length, _ in spans) / sum(count for _, count in spans))


def colours(ranks: Grid) -> npt.NDArray[np.uint8]:
    """Return a colour for each rank from 0 to 1, uint8 [n, 3]."""
    places = np.linspace(0, 1, len(RAMP))
    return (
        np.stack([np.interp(ranks, places, [one[c] for one in RAMP]) for c in range(3)], axis=1)
        .round()
        .astype(np.uint8)
    )


def draw(opened: Any, heat: Heat, longest: int = LONGEST) -> PIL.Image.Image:
    """Return the slide from afar with each tile in the colour of its rank over it."""
    width, height = opened.size
    below = PIL.Image.fromarray(opened.thumbnail(max(1.0, max(width, height) / longest))).convert("RGB")
    over = below.copy()
    pen, across, down = PIL.ImageDraw.Draw(over), below.width / width, below.height / height
    for (x, y), colour in zip(heat.corners.tolist(), colours(heat.ranks).tolist(), strict=True):
        left, top = round(x * across), round(y * down)
        right, bottom = round((x + heat.span) * across), round((y + heat.span) * down)
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), fill=tuple(colour))
    return PIL.Image.blend(below, over, OPACITY)


def geojson(heat: Heat, size: tuple[int, int]) -> dict[str, Any]:
    """Return the tiles as a FeatureCollection that QuPath opens: ``size`` is the slide's, beyond which no polygon goes.

    Measurements: ``attention`` (all sum to 1), ``times even`` (1 where all tiles weigh the same), ``rank`` (0 to 1). The class is the fifth
    that the rank lies in.
    """
    n, ranks = len(heat.weights), heat.ranks
    fifths = np.minimum((ranks * len(FIFTHS)).astype(int), len(FIFTHS) - 1)
    names = [{"name": f"Attention {name}", "color": list(RAMP[i])} for i, name in enumerate(FIFTHS)]

    def feature(i: int) -> dict[str, Any]:
        x, y = heat.corners[i].tolist()
        right, bottom = min(round(x + heat.span), size[0]), min(round(y + heat.span), size[1])
        ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
        weight = float(heat.weights[i])
        measured = {"attention": weight, "times even": weight * n, "rank": float(ranks[i])}
        kept = {"objectType": "tile", "classification": names[fifths[i]], "isLocked": False, "measurements": measured}
        return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": kept}

    return {"type": "FeatureCollection", "features": [feature(i) for i in range(n)]}


def heatmap(run: Result, slide: str, output: Path | str | None = None) -> tuple[Path, Path, Heat]:
    """Write a slide's heat map, PNG and GeoJSON, and return where with the tiles. ``slide``: its id in the run, or its file's name alone.

    ``output``: a folder (default: ``heatmaps`` in the run's). Raises ``RunError``: no such slide, no attention, a bag that is none.
    """
    every = attention(run)
    name = _named(slide, every)
    record = _record(run, name)
    folder = Path(output) if output is not None else Path(str(run.path)) / "heatmaps"
    stem = "--".join(Path(name).parts).removeprefix("/--")
    opened: Any = record.open()
    try:
        heat = of_slide(run, every[name], opened)
        picture, shapes = draw(opened, heat), geojson(heat, opened.size)
    finally:
        opened.close()
    places = folder / f"{stem}.png", folder / f"{stem}.geojson"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _put(places[0], lambda draft: picture.save(draft, "PNG"))
        _put(places[1], lambda draft: draft.write_text(json.dumps(shapes), encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror})") from None
    return *places, heat


def _put(place: Path, write: Any) -> None:
    """Write a file whole or not at all, private to the user."""
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        draft.touch(mode=0o600)
        write(draft)
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def _named(slide: str, every: Mapping[str, Any]) -> str:
    """Return the id that is meant. Raises ``RunError``: none, or several."""
    if slide in every:
        return slide
    same = [one for one in every if slide in (Path(one).name, Path(one).stem)]
    if len(same) == 1:
        return same[0]
    some = ", ".join(list(same or every)[:5])
    raise RunError(
        f"{'several slides are' if same else 'no slide with tiles is'} called '{slide}' in this run; there are: {some}{', ...' if len(same or every) > 5 else ''}"
    )


def _record(run: Result, name: str) -> Slide:
    """Return the record of a slide, opened from where the run's data lie. Raises ``RunError``, ``DatasetError``: gone, or no slide."""
    found = next((one for one in reopened(run) if one.id == name), None)
    if found is None:
        raise RunError(f"{name}: is no longer among the run's data")
    if not isinstance(found, Slide):
        raise RunError(f"{name}: is no slide but a {found.noun}; a heat map is of a slide")
    return found


def reopened(run: Result) -> Any:
    """Return the records of the split that a run evaluated, opened again from where ``run.json`` says they are.

    Raises ``DatasetError`` where they are gone, ``RunError`` for a table made elsewhere.
    """
    facts, data = run.facts, run.facts.get("data")
    if data is None:
        raise RunError("a table of predictions names no data")
    name: Path | str = (
        Path(data["path"]) if data.get("path") else facts["request"]["dataset"].partition("@")[0].partition("#")[0]
    )
    if data.get("split_by") or data.get("label"):
        whole = open_dataset(name, facts.get("root"), columns=data.get("columns"))
        whole = cellwise(whole, data["label"]) if data.get("label") else whole
        return (divide(whole, data["split_by"]) if data.get("split_by") else whole)[facts["request"]["split"]]
    return open_dataset(name, facts.get("root"), facts["request"]["split"], columns=data.get("columns"))

"""Tiles that other tools chose, in; features for other tools, out: TRIDENT, CLAM, slide2vec (``formats.tile_files``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from healthfm.embed.items import Item
from healthfm.embed.plan import Plan, matrix
from healthfm.embed.tiles import is_tiled, open_slide, slide_name, tile_at
from healthfm.errors import DatasetError, RunError
from healthfm.formats.slide import tile_files
from healthfm.formats.slide.tiling import Tiles, scale_of
from healthfm.models.model import Model


def slides_among(items: Sequence[Item], model: Model) -> list[tuple[int, Item]]:
    """Return the slides of a run with their places in it. Raises ``RunError``: none, or two whose files would be one."""
    slides = [(place, item) for place, item in enumerate(items) if is_tiled(item, model)]
    if not slides:
        raise RunError("coordinates and features are for slides, and no item is one")
    names: dict[str, str] = {}
    for _, item in slides:
        other = names.setdefault(slide_name(item), item.id)
        if other != item.id:
            raise RunError(f"{other} and {item.id} have one name for coordinates and features: embed them in two runs")
    return slides


def digests(slides: Sequence[tuple[int, Item]], folder: Path) -> dict[str, str]:
    """Return, for each slide that has a file of coordinates in the folder, the digest of that file."""
    if not folder.is_dir():
        raise RunError(f"{folder}: no folder of coordinates")
    found = {}
    for _, item in slides:
        try:
            path = tile_files.file_of(folder, slide_name(item))
        except DatasetError:  # told where the slide's tiles are asked for
            continue
        if path is not None:
            with path.open("rb") as handle:
                found[item.id] = hashlib.file_digest(handle, "sha256").hexdigest()[:16]
    return found


def stamp(key: Mapping[str, Any] | None, tiles: str | float | None) -> str:
    """Return what tells a slide's vectors from others, as it stands in a file of features: their key, and which tiles they are of."""
    return f"healthfm {hashlib.sha256(json.dumps([key, tiles], sort_keys=True).encode()).hexdigest()[:16]}"


def refuse_others(folder: Path, slides: Sequence[tuple[int, Item]], stamps: Mapping[str, str]) -> None:
    """Raise ``RunError`` where the folder holds features of these slides that others made, of another model or of other tiles."""
    for _, item in slides:
        path = folder / f"{slide_name(item)}.h5"
        if path.exists() and tile_files.made_by(path) != stamps[item.id]:
            raise RunError(f"{path}: holds features that were made otherwise; choose another folder with --features")


def write_features(plan: Plan, slides: Sequence[tuple[int, Item]], folder: Path, stamps: Mapping[str, str]) -> None:
    """Write one ``NAME.h5`` a slide: the vectors that its tiles have, and where those tiles lie.

    A slide without any vector has no file. Raises ``DatasetError``: a slide that cannot be opened any more, or no room.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot write there ({error.strerror})") from None
    for place, item in slides:
        rows = plan.vectors(place)
        if rows is None:
            continue
        x, y = (rows[axis].to_numpy() for axis in ("x", "y"))
        with open_slide(item) as slide:
            if plan.coords is not None:
                like = tile_files.of_slide(plan.coords, slide_name(item), slide)
            else:
                mpp, side = tile_at(plan.model, plan.mpp)
                like = Tiles(np.empty((0, 2), np.int64), side, side * scale_of(slide, mpp))
            tiles = Tiles(np.stack([x, y], axis=1), like.size, like.span, like.overlap)
            target = folder / f"{slide_name(item)}.h5"
            tile_files.write(target, slide, tiles, matrix(rows), stamps[item.id], plan.model.name)

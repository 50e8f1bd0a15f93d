"""Coordinates and features of tiles as other tools store them: TRIDENT and CLAM (HDF5), slide2vec (npz with a JSON beside it).

Layouts: TRIDENT ``trident/IO.py: coords_to_h5``, CLAM ``wsi_core/WholeSlideImage.py: process_contour``, hs2p ``tiling/io.py``,
slide2vec ``artifacts.py: write_tile_embeddings``. Coordinates of all of them are level-0 pixels of the upper left corner. Files go by
the name of the slide: TRIDENT's ``patches/NAME_patches.h5`` and features ``NAME.h5``, CLAM's ``NAME.h5``, slide2vec's
``NAME.coordinates.npz``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError, MissingExtra
from healthfm.formats.npz import Arrays
from healthfm.formats.slide.pyramid import SlideFile
from healthfm.formats.slide.tiling import Tiles, level_of
from healthfm.formats.source import Source

Features = npt.NDArray[np.floating[Any]]
NAMES = ("{}_patches.h5", "{}.h5", "{}.coordinates.npz")


@contextmanager
def _h5(path: Path, mode: str) -> Iterator[Any]:
    try:
        import h5py
    except ImportError:
        raise MissingExtra("pathology", "h5py") from None
    try:
        with h5py.File(path, mode) as file:
            yield file
    except (
        OSError,
        KeyError,
        ValueError,
        RuntimeError,
        TypeError,
        AttributeError,
    ) as error:  # a damaged file, as h5py says it
        reason = str(error) if isinstance(error, BadValue) else type(error).__name__
        what = "not a readable file of tiles" if mode == "r" else "cannot be written"
        raise DatasetError(f"{path}: {what} ({reason})") from None


def file_of(folder: Path, name: str) -> Path | None:
    """Return the file of a slide's tiles in a folder, None where there is none. Raises ``DatasetError``: several."""
    found = [path for path in (folder / one.format(name) for one in NAMES) if path.is_file()]
    if len(found) > 1:
        raise DatasetError(f"{folder}: holds {' and '.join(one.name for one in found)}; keep the one that is meant")
    return found[0] if found else None


def of_slide(folder: Path, name: str, slide: SlideFile) -> Tiles:
    """Return the tiles that a folder has for an open slide of this name.

    Raises ``DatasetError``: no file, several, no tile, or tiles that begin outside the slide (those of another).
    """
    path = file_of(folder, name)
    if path is None:
        raise DatasetError(f"no coordinates: {folder} holds none of {', '.join(one.format(name) for one in NAMES)}")
    tiles = read_coords(path, slide, name)
    if not len(tiles):
        raise DatasetError(f"{path}: names no tile")
    outside = int(((tiles.coords < 0) | (tiles.coords >= slide.size)).any(1).sum())
    if outside:
        raise DatasetError(
            f"{path}: {outside} of {len(tiles)} tiles begin outside the slide of {slide.size[0]} x {slide.size[1]} pixels; "
            "they are another slide's"
        )
    return tiles


def read_coords(path: Path, slide: SlideFile | None = None, name: str | None = None) -> Tiles:
    """Return the tiles a file of TRIDENT, CLAM or slide2vec (``.coordinates.npz``) names.

    ``slide`` is needed for CLAM's tiles of a level other than 0. Raises ``DatasetError``: damaged, without the size of a tile, or
    of a slide of another size, or, where ``name`` is given, of another name.
    """
    try:
        if path.suffix == ".npz":
            return _slide2vec(path, slide)
        with _h5(path, "r") as file:
            if "coords" not in file:
                raise BadValue("it has no 'coords'")
            coords = np.asarray(file["coords"][:], np.int64).reshape(-1, 2)
            attributes = dict(file["coords"].attrs)
            if name is not None and str(attributes.get("name", name)) != name:
                raise BadValue(f"it was written for the slide {attributes['name']}")
            if "level0_width" in attributes:
                _belongs(slide, attributes["level0_width"], attributes["level0_height"])
            return Tiles(coords, *_size_and_span(attributes, slide), int(attributes.get("overlap", 0)))
    except BadValue as error:
        raise DatasetError(f"{path}: not a readable file of tiles ({error})") from None


def _size_and_span(attributes: Mapping[str, Any], slide: SlideFile | None) -> tuple[int, float]:
    if "patch_size" not in attributes:
        raise BadValue(
            "its coordinates do not say the size of a tile (CLAM's feature files do not: give the patches file)"
        )
    size = int(attributes["patch_size"])
    if "patch_size_level0" in attributes:
        return size, float(attributes["patch_size_level0"])
    level = int(attributes.get("patch_level", 0))
    if level == 0:
        return size, float(size)
    if slide is None:
        raise BadValue(f"its tiles were cut from level {level}: give the slide too")
    if level >= len(slide.levels):
        raise BadValue(f"its tiles were cut from level {level}, the slide has {len(slide.levels)}")
    return size, size * slide.levels[level].downsample


def _belongs(slide: SlideFile | None, width: Any, height: Any) -> None:
    """Refuse tiles of a slide of another size."""
    if slide is not None and (int(width), int(height)) != slide.size:
        raise BadValue(
            f"its slide has {int(width)} x {int(height)} pixels, this one {slide.size[0]} x {slide.size[1]}: it is another's"
        )


def _slide2vec(path: Path, slide: SlideFile | None) -> Tiles:
    beside = path.with_name(path.name.removesuffix(".npz") + ".meta.json")
    try:
        facts = json.loads(beside.read_text(encoding="utf-8"))
        tiling = facts["tiling"]
        size, span, shared = (
            int(tiling["requested_tile_size_px"]),
            float(tiling["tile_size_lv0"]),
            tiling.get("overlap", 0),
        )
        if "slide" in facts:
            _belongs(slide, *facts["slide"]["dimensions"])
        arrays = Arrays(Source(path))
        coords = np.stack([arrays["x"], arrays["y"]], axis=1).astype(np.int64)
        return Tiles(coords, size, span, round(size * float(shared)))
    except BadValue:
        raise
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadValue(
            f"the file {beside.name} beside it is absent or another layout, {type(error).__name__}"
        ) from None


def read_features(path: Path) -> tuple[Features, npt.NDArray[np.int64] | None]:
    """Return features [n, d], and coordinates [n, 2] where the file holds them, of an ``.h5`` or slide2vec's ``.npz``."""
    if path.suffix == ".npz":
        arrays = Arrays(Source(path))
        if "features" not in arrays:
            raise DatasetError(f"{path}: not a readable file of tiles (it has no 'features')")
        return _table(path, arrays["features"]), None
    with _h5(path, "r") as file:
        if "features" not in file:
            raise BadValue("it has no 'features'")
        features = _table(path, file["features"][:])
        coords = np.asarray(file["coords"][:], np.int64).reshape(-1, 2) if "coords" in file else None
        if coords is not None and len(coords) != len(features):
            raise BadValue(f"{len(features)} features, {len(coords)} coordinates")
        return features, coords


def _table(path: Path, features: npt.NDArray[Any]) -> Features:
    """Return features as [n, d]; TRIDENT and CLAM files of single batches carry a first axis of one."""
    squeezed = features[0] if features.ndim == 3 and len(features) == 1 else features
    if squeezed.ndim != 2 or squeezed.dtype.kind != "f":
        raise DatasetError(
            f"{path}: its features have the shape {features.shape} and type {features.dtype}, not [n, d] floats"
        )
    return squeezed


def made_by(path: Path) -> str | None:
    """Return what a file of features says of its maker (``write``), None where it says nothing."""
    with _h5(path, "r") as file:
        found = file["features"].attrs.get("made_by") if "features" in file else None
    return str(found) if found is not None else None


def write(
    path: Path, slide: SlideFile, tiles: Tiles, features: Features | None = None, made_by: str = "healthfm", encoder: str = "",
) -> None:  # fmt: skip
    """Write tiles, and features if given, as an ``.h5`` that TRIDENT reads, and CLAM where the tiles are pixels of one level.

    ``made_by`` and ``encoder`` (the model) stand beside the features. The file appears whole or not at all. Raises ``BadValue``: as many features as tiles are needed.
    """
    if features is not None and len(features) != len(tiles):
        raise BadValue(f"{len(features)} features for {len(tiles)} tiles")
    level, side = level_of(slide, tiles)
    attributes: dict[str, Any] = {
        "patch_size": tiles.size, "patch_size_level0": round(tiles.span), "overlap": tiles.overlap,
        "level0_width": slide.size[0], "level0_height": slide.size[1], "name": path.stem, "savetodir": str(path.parent),
    }  # fmt: skip
    power = _power(slide)
    if power is not None:
        target = round(power * tiles.size / tiles.span)
        attributes |= {"level0_magnification": round(power), "target_magnification": target}
    if side == tiles.size:
        attributes |= {"patch_level": level, "downsample": (slide.levels[level].downsample,) * 2}
    half = path.with_name(path.name + ".part")
    try:
        with _h5(half, "w") as file:
            file.create_dataset("coords", data=tiles.coords).attrs.update(attributes)
            if features is not None:
                file.create_dataset("features", data=features).attrs.update({"made_by": made_by, "encoder": encoder})
        os.replace(half, path)  # noqa: PTH105  the atomic rename
    finally:
        half.unlink(missing_ok=True)


def _power(slide: SlideFile) -> float | None:
    """Return the objective's magnification: as the slide says, or from its resolution; None where it tells neither."""
    stated = slide.properties.get("openslide.objective-power")
    try:
        return float(stated) if stated else 10 / slide.mpp
    except (DatasetError, ValueError):
        return None

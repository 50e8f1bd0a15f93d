"""Slides with outlines and tiles of stained tissue with masks. Outlines are in pixels of level 0, y downwards, whatever the owners' axis."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.datasets import media
from healthfm.datasets.locate import Files
from healthfm.datasets.pictures import Pictures, named, on_grid, tail
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, image, xml
from healthfm.formats.source import Row, Source
from healthfm.records import Image, Polygon, Slide

PANELS = 6  # of a DeepLIIF picture, side by side: the stained tissue first, the mask last
SEEN = 127  # a colour above it is one
MIXED = 0.01  # share of a mask's pixels that may be of two colours: between them, where it was scaled
RING = re.compile(r"\(([^()]*)\)")
Mask = npt.NDArray[Any]


def slide_of(source: Source) -> dict[str, Any]:
    """Return the fields of a record that open a slide on demand. Raises ``BadValue``: it is packed, and is read by window from a file."""
    if source.member is not None:
        raise BadValue("a slide inside an archive; unpack it")
    return media.fields_of("Slide", source)


def _folder(source: Source) -> str:
    return tail(source, 2).split("/")[0]


# SNOW -------------------------------------------------------------------------------------------------------------------------


@dataset("snow", record=Image)
def snow(files: Files, split: str) -> Iterator[Image]:
    """Tiles by name with a MATLAB file of nuclei: a map of instances, and the type of each. Pictures that show both are no tiles."""
    masks = Pictures(files, "masks", bare=True)
    for source in files.all("tiles"):
        if _folder(source) == "overlay":
            files.problems.passed.append((str(source), "a picture of the outlines on a tile"))
            continue
        with named(source) as row:
            name = str(row.number).rpartition(".")[0]
            mat = masks.source(name)
            yield Image(
                id=name, split=split, **Pictures.of(source),
                masks={what: functools.partial(_nuclei, mat, source, what) for what in ("nuclei", "instances", "types")},
            )  # fmt: skip
    masks.told("a mask without its tile")


def _nuclei(mat: Source, picture: Source, what: str) -> Mask:
    """Return where nuclei are, their numbers, or their types, 0 where none is. Raises ``DatasetError``: damage, another grid, no type."""
    held = _matlab(mat, ("inst_map", "inst_uid", "inst_type"))
    if "inst_map" not in held:
        raise DatasetError(f"{mat}: no 'inst_map'")
    instances = np.asarray(held["inst_map"]).astype(np.int32)
    on_grid(instances > 0, picture, str(mat))
    if what != "types":
        return instances if what == "instances" else instances > 0
    types = np.ravel(held.get("inst_type", ())).astype(int)
    numbers = np.ravel(held.get("inst_uid", np.arange(1, len(types) + 1))).astype(int)
    if len(types) != len(numbers) or not np.isin(np.unique(instances[instances > 0]), numbers).all():
        raise DatasetError(f"{mat}: not a type for each nucleus")
    table = np.zeros(max(numbers.max(initial=0), instances.max(initial=0)) + 1, np.int32)
    table[numbers] = types
    return np.asarray(table[instances])


def _matlab(source: Source, names: tuple[str, ...]) -> dict[str, Any]:
    from scipy.io import loadmat

    try:
        with source.open() as handle:
            return dict(loadmat(handle, variable_names=names))
    except DatasetError:
        raise
    except Exception as error:  # what a decoder throws at damage is not foreseeable
        raise DatasetError(f"{source}: not a MATLAB file that can be read ({type(error).__name__})") from None


# DeepLIIF ---------------------------------------------------------------------------------------------------------------------


@dataset("deepliif", record=Image)
def deepliif(files: Files, split: str) -> Iterator[Image]:
    """Six panels a picture: the first is the record, the last its mask. The four fluorescence panels between are not given."""
    folder = f"{'BC-' if files.variant == 'breast' else ''}DeepLIIF_{files.card.splits[split]}_Set"
    for source in files.all("tiles"):
        with named(source) as row:
            if files.variant != "sample" and _folder(source) != folder:
                raise BadValue(f"it is not in {folder}: which split is it of?")
            height, width = image.size(source)
            if width != PANELS * height:
                raise BadValue(f"{width} x {height} pixels are no {PANELS} square panels side by side")
            name = str(row.number).rpartition(".")[0]
            yield Image(
                id=name, split=split, load=functools.partial(_panel, source, 0), meta={"tissue": "Breast" if files.variant == "breast" else _tissue(name)},
                masks={cell: functools.partial(_cells, source, channel) for channel, cell in enumerate(("positive", "boundary", "negative"))},
            )  # fmt: skip


def _tissue(name: str) -> str | None:
    """Return the letters that a tile's name begins with (Lung_1, Bladder1); None of those that are numbered alone."""
    found = re.match(r"[A-Za-z]+", name)
    return found[0] if found else None


def _panel(source: Source, number: int) -> Mask:
    pixels = image.pixels(source)
    side = pixels.shape[0]
    return np.ascontiguousarray(pixels[:, number * side : (number + 1) * side, :3])


def _cells(source: Source, channel: int) -> Mask:
    """Return where the last panel is of a colour: red cells are positive, blue ones negative, green is around each.

    Raises ``DatasetError``: it is no mask (the pictures for testing in the owners' repository repeat the stained tissue six times).
    """
    seen = _panel(source, PANELS - 1) > SEEN
    if (seen.sum(axis=2) > 1).mean() > MIXED:
        raise DatasetError(f"{source}: its last panel is no mask, whose pixels are red, green, blue or black")
    return np.asarray(seen[..., channel])


# TissueNet --------------------------------------------------------------------------------------------------------------------


@dataset("tissuenet", record=Slide)
def tissuenet(files: Files, split: str) -> Iterator[Slide]:
    """Slides with one of four columns set to 1; outlines are WKT whose y axis points up from the bottom of the slide."""
    slides = Pictures(files, "slides")
    sizes = {row["filename"]: row for row in delimited.rows(files["metadata"], ",")}
    outlines = dict[str, list[Row]]()
    for source in files.all("annotations"):
        for row in delimited.rows(source, ","):
            with row:
                outlines.setdefault(row["filename"], []).append(row)
    for row in slides.named_by(delimited.rows(files["labels"], ",")):
        with row:
            name = row["filename"]
            set_ = [one for one in files.space("lesion class").classes if float(row[one]) == 1]
            if len(set_) != 1:
                raise BadValue(f"{len(set_)} classes are set, of which a slide has one")
            if name not in sizes:
                raise BadValue("the slide is not in the table of sizes")
            height = float(sizes[name]["height"])
            yield Slide(
                id=name.rpartition(".")[0] or name, split=split, site=name.split("_")[0], labels={"lesion class": files.label("lesion class", set_[0])},
                polygons=tuple(one for outline in outlines.get(name, ()) for one in _outlines(files, outline, height)),
                meta={key: sizes[name].get(key) for key in ("width", "height", "resolution", "magnification")}, **slide_of(slides.source(name)),
            )  # fmt: skip


def _outlines(files: Files, row: Row, height: float) -> Iterator[Polygon]:
    """Yield the rings of a WKT polygon, the first around it and the others its holes."""
    text = row["geometry"].strip()
    rings = RING.findall(text)
    if not text.upper().startswith("POLYGON") or not rings:
        raise BadValue(f"annotation {row['annotation_id']} is no POLYGON")
    for number, ring in enumerate(rings):
        pairs = [one.split() for one in ring.split(",")]
        if any(len(pair) != 2 for pair in pairs):
            raise BadValue(f"annotation {row['annotation_id']} has a point without x and y")
        label = f"{files.one('lesion class', row['annotation_class'])}{' hole' if number else ''}"
        yield Polygon(label, tuple((float(x), height - float(y)) for x, y in pairs))


# PAIP -------------------------------------------------------------------------------------------------------------------------


@dataset("paip", record=Slide)
def paip(files: Files, split: str) -> Iterator[Slide]:
    """A folder a slide; its outlines are Aperio's XML. The masks, images of level 0 too large to hold, are named in ``meta``."""
    beside: Mapping[str, dict[str, Source]] = {
        role: _by_folder(files, role) for role in ("annotations", "whole masks", "viable masks")
    }
    for source in files.all("slides"):
        with named(source, 2) as row:
            folder = _folder(source)
            if folder not in beside["annotations"]:
                raise BadValue("no annotation lies beside it")
            masks = {
                role: str(found[folder]) for role, found in beside.items() if role != "annotations" and folder in found
            }
            yield Slide(
                id=PurePosixPath(str(row.number)).stem, split=split, polygons=tuple(_regions(files, beside["annotations"][folder])),
                meta={"folder": folder, **masks}, **slide_of(source),
            )  # fmt: skip


def _by_folder(files: Files, role: str) -> dict[str, Source]:
    found = dict[str, Source]()
    for source in files.all(role):
        if found.setdefault(_folder(source), source) is not source:
            files.problems.add(DatasetError(f"{source}: a second file of its kind in the folder of one slide"))
    return found


def _regions(files: Files, source: Source) -> Iterator[Polygon]:
    for layer in xml.root(source).iter("Annotation"):
        name = files.one("tumour", layer.get("Id"))
        for region in layer.iter("Region"):
            points = tuple((float(one.get("X", "")), float(one.get("Y", ""))) for one in region.iter("Vertex"))
            if len(points) < 3:
                raise BadValue("a region of fewer than three points")
            yield Polygon(name + {"0": "", "1": " hole"}[region.get("NegativeROA", "0")], points)

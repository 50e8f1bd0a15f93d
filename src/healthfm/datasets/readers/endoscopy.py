"""Frames and films of endoscopy: a video, or a case, is the unit that must not straddle a split."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.datasets import media
from healthfm.datasets.locate import Files
from healthfm.datasets.pictures import Pictures, named, on_grid, tail
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, image, jsonl, table
from healthfm.formats.source import Row, Source, lines
from healthfm.records import Box, Image, Record, Video

WHITE = 128  # from which a mask that was saved as JPEG marks


def _threshold(source: Source, picture: Source) -> npt.NDArray[np.bool_]:
    """Decode a mask whose marks are white, whatever its compression made of them."""
    found = image.pixels(source)
    return on_grid((found if found.ndim == 2 else found[..., :3].max(axis=2)) >= WHITE, picture, str(source))


def _box(label: str, corners: list[float]) -> Box:
    left, top, right, bottom = corners
    if left >= right or top >= bottom:
        raise BadValue("a box without an inside")
    return Box(label, (left, top, right, bottom))


# LDPolypVideo -----------------------------------------------------------------------------------------------------------------


@dataset("ldpolypvideo", record=Image)
def ldpolypvideo(files: Files, split: str) -> Iterator[Record]:
    """VIDEO/FRAME.jpg and, of the same name, a text: how many boxes, then a line each; or films in two folders."""
    if files.variant == "unboxed":
        for source in files.all("videos"):
            with named(source, 2) as row:
                folder = str(row.number).split("/")[0]
                label = files.label("has polyp", folder.removeprefix("videos ").removesuffix(" polyps"))
                yield Video(
                    id=str(row.number), split=split, labels={"has polyp": label}, **media.fields_of("Video", source)
                )
        return
    texts = Pictures(files, "boxes", parts=2, bare=True)
    for source in files.all("images"):
        with named(source, 2) as row:
            name = str(row.number).rpartition(".")[0]
            yield Image(
                id=name, split=split, patient=f"video {name.split('/')[0]}", boxes=_counted(texts.source(name)), **Pictures.of(source)
            )  # fmt: skip
    texts.told("a text of boxes without its frame")


def _counted(source: Source) -> tuple[Box, ...]:
    first, *rest = [text.split() for _, text in lines(source) if text.strip()] or [[""]]
    if len(first) != 1 or int(first[0]) != len(rest) or any(len(one) != 4 for one in rest):
        raise BadValue(f"{source.name} does not hold as many lines of four numbers as its first line says")
    return tuple(_box("polyp", [float(number) for number in one]) for one in rest)


# SUN --------------------------------------------------------------------------------------------------------------------------


@dataset("sun", record=Image)
def sun(files: Files, split: str) -> Iterator[Image]:
    """Cases of one patient each: 1 to 100 with a polyp and a text of boxes, the others without; or (``sun-seg``) frames with masks."""
    if files.variant == "sun-seg":
        yield from _sun_seg(files, split)
        return
    boxes = dict[str, Box]()
    for source in files.all("boxes"):
        for number, text in lines(source):
            with Row({}, source, number):
                name, _, numbers = text.strip().rpartition(" ")
                *corners, kind = (float(one) for one in numbers.split(","))
                if kind != 0:
                    raise BadValue("a box of another kind than 0, a polyp")
                boxes[f"{source.name.removesuffix('.txt')}/{name.strip()}"] = _box("polyp", corners)
    frames = Pictures(files, parts=2)
    for source in files.all("images"):
        with named(source, 2) as row:
            case = str(row.number).split("/")[0]
            frames.know(str(row.number))
            with_polyp = int(case.removeprefix("case")) <= 100
            if with_polyp and str(row.number) not in boxes:
                raise BadValue("a frame of a case with a polyp, and no line of its text holds its box")
            box = boxes.pop(str(row.number), None)
            yield Image(
                id=str(row.number), split=split, patient=case, boxes=() if box is None else (box,), **Pictures.of(source),
                labels={"has polyp": "with" if with_polyp else "without"},
            )  # fmt: skip
    if boxes:
        files.problems.add(
            DatasetError(f"sun: {len(boxes)} boxes of frames that are not here: {', '.join(sorted(boxes)[:3])}")
        )


def _sun_seg(files: Files, split: str) -> Iterator[Image]:
    masks = Pictures(files, "masks", parts=2, bare=True)
    for source in files.all("images"):
        with named(source, 2) as row:
            name = str(row.number).rpartition(".")[0]
            mask = functools.partial(_threshold, masks.source(name), source)
            yield Image(
                id=name,
                split=split,
                patient=name.split("/")[0].split("_")[0],
                masks={"polyp": mask},
                **Pictures.of(source),
            )
    masks.told("a mask without its frame")


# Kvasir -----------------------------------------------------------------------------------------------------------------------


@dataset("kvasir-capsule", record=Image)
def kvasir_capsule(files: Files, split: str) -> Iterator[Record]:
    """Frames by a table whose rows are cut short where there is no box; folds by lists of names; films with their findings' intervals."""
    if files.variant != "labelled-images":
        yield from _capsule_films(files, split)
        return
    pictures, rows = Pictures(files), _capsule_rows(files)
    fold = {row["filename"] for one in files.all("split") for row in table.rows(one)} if split != "all" else set(rows)
    for name, found in rows.items():
        pictures.know(name)
        if name not in fold:
            continue
        with found[0] as row:
            if len({one["finding_class"] for one in found}) > 1:
                raise BadValue("the rows of one frame name two findings")
            boxes = [
                [float(one[f"{axis}{corner}"]) for corner in "1234" for axis in "xy"] for one in found if one["x1"]
            ]
            yield Image(
                id=name, split=split, patient=row["video_id"], labels={"finding_class": files.label("finding_class", row["finding_class"])},
                boxes=tuple(_box(row["finding_class"], [min(one[::2]), min(one[1::2]), max(one[::2]), max(one[1::2])]) for one in boxes),
                meta={"frame": int(row["frame_number"]), "category": row["finding_category"]}, **pictures.fields(name),
            )  # fmt: skip
    pictures.told("a picture that no row of metadata.csv names")
    if absent := sorted(fold - set(rows)):
        files.problems.add(
            DatasetError(f"{files['split']}: {len(absent)} names that metadata.csv has not: {', '.join(absent[:3])}")
        )


def _capsule_rows(files: Files) -> dict[str, list[Row]]:
    """Return the rows of each frame, filled up to the header: the owners' script leaves out the cells of corners that are not there."""
    found: dict[str, list[Row]] = {}
    header: list[str] = []
    source = files["metadata"]
    for number, text in lines(source):
        cells = [one.strip() for one in text.split(";")]
        if not header:
            header = cells
            continue
        with Row({}, source, number):
            if len(cells) > len(header) or len(cells) < 5:
                raise BadValue(f"{len(cells)} cells, the header has {len(header)}")
            row = Row(dict(zip(header, [*cells, *[""] * (len(header) - len(cells))], strict=True)), source, number)
            found.setdefault(row["filename"], []).append(row)
    return found


def _capsule_films(files: Files, split: str) -> Iterator[Video]:
    known: dict[str, Any] = {}
    for source in files.all("intervals"):
        known = jsonl.load(source)
    for source in files.all("videos"):
        with named(source) as row:
            name = str(row.number).rpartition(".")[0]
            segments = known.get(name, {}).get("segments", {}).values()
            spans = [
                {"class": one["metadata"]["pillcam_subtype"] or one["metadata"]["segment_type"], "first": first, "last": last}
                for one in segments for first, last in one["seen"]
            ]  # fmt: skip
            yield Video(
                id=name, split=split, patient=name, meta={"intervals": spans}, **media.fields_of("Video", source)
            )


@dataset("hyperkvasir", record=Image)
def hyperkvasir(files: Files, split: str) -> Iterator[Record]:
    """Class folders (with the owners' two folds), masks and boxes of polyps, films with what they show, pictures without labels."""
    if files.variant == "labeled-images":
        yield from _hyper_images(files, split)
    elif files.variant == "segmented-images":
        yield from _hyper_masks(files, split)
    elif files.variant == "labeled-videos":
        films = Pictures(files, "videos", bare=True)
        for row in films.named_by(table.rows(files["labels"])):
            with row:
                name = row["Video file"].removesuffix(".avi")
                yield Video(id=name, split=split, labels={"film": files.label("film", row["Finding"])}, meta={key: row[key] for key in ("Organ", "Finding", "Classification")}, **media.fields_of("Video", films.source(name)))  # fmt: skip
    else:
        for source in files.all("images"):
            yield Image(id=tail(source), split=split, **Pictures.of(source))


def _hyper_images(files: Files, split: str) -> Iterator[Image]:
    fold = None if split == "all" else split.removeprefix("fold-")
    folds = {row["file-name"]: row for one in files.all("folds") for row in delimited.rows(one, ";")}
    about = {row["Video file"].removesuffix(".jpg"): row for one in files.all("labels") for row in table.rows(one)}
    for source in files.all("images"):
        with named(source, 4) as row:
            *_, group, folder, name = str(row.number).split("/")
            finding = files.label("Finding", folder)
            if fold is not None:
                if name not in folds or files.label("Finding", folds[name]["class-name"]) != finding:
                    raise BadValue("the list of folds has not this picture, or in another class")
                if folds[name]["split-index"] != fold:
                    continue
            row_of = about.get(name.removesuffix(".jpg"), {})
            yield Image(
                id=name, split=split, labels={"Finding": finding},
                meta={"group": group, **{key: row_of[key] for key in ("Organ", "Finding") if key in row_of}}, **Pictures.of(source),
            )  # fmt: skip


def _hyper_masks(files: Files, split: str) -> Iterator[Image]:
    masks, boxes = Pictures(files, "masks", bare=True), jsonl.load(files["boxes"])
    for source in files.all("images"):
        with named(source) as row:
            name = str(row.number).rpartition(".")[0]
            if name not in boxes:
                raise BadValue("bounding-boxes.json has not this picture")
            yield Image(
                id=name, split=split, masks={"polyp": functools.partial(_threshold, masks.source(name), source)},
                boxes=tuple(_box(one["label"], [float(one[key]) for key in ("xmin", "ymin", "xmax", "ymax")]) for one in boxes[name]["bbox"]),
                **Pictures.of(source),
            )  # fmt: skip
    masks.told("a mask without its picture")

"""Frames of operations with tables of what is done in each; a video is the unit that must not straddle a split."""

from __future__ import annotations

from collections.abc import Iterator

from healthfm.datasets.locate import Files
from healthfm.datasets.pictures import Pictures
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited
from healthfm.formats.source import Row, Source, lines
from healthfm.records import MISSING, Image, Label

PARTS = ("triplet", "instrument", "verb", "target")


@dataset("cholect45", record=Image)
def cholect45(files: Files, split: str) -> Iterator[Image]:
    """Frames, one a second, and for each of four kinds of label a table of 0 and 1 a video, without a header."""
    names = {part: _names(files, part) for part in PARTS}
    frames = Pictures(files, parts=2)
    wanted = [f"VID{int(number):02d}" for number in files.card.splits[split].split()]
    tables = {part: {one.name.removesuffix(".txt"): one for one in files.all(f"{part} labels")} for part in PARTS}
    for video in wanted:
        if absent := [part for part in PARTS if video not in tables[part]]:
            files.problems.add(
                DatasetError(f"cholect45: no {' nor '.join(absent)} labels of {video}, which is of split '{split}'")
            )
            continue
        marked = {part: _marked(tables[part][video], names[part]) for part in PARTS}
        for number, row in marked["triplet"][1].items():
            with row:
                labels: dict[str, Label] = {part: found.get(number, MISSING) for part, (found, _) in marked.items()}
                if MISSING in labels.values():
                    raise BadValue("a frame that not all four tables have")
                yield Image(
                    id=f"{video}/{number:06d}", split=split, patient=video, labels=labels, meta={"frame": number, "second": float(number)},
                    **frames.fields(f"{video}/{number:06d}.png"),
                )  # fmt: skip
    frames.told("a frame without labels", lambda name: name.split("/")[0] in wanted)


def _names(files: Files, part: str) -> list[str]:
    """Return the names of a kind of label by their numbers: lines such as ``0:grasper``."""
    source = next((one for one in files.all("label names") if one.name == f"{part}.txt"), None)
    if source is None:
        raise DatasetError(f"cholect45: no dict/{part}.txt, which names the labels")
    found = [text.strip().partition(":") for _, text in lines(source) if text.strip()]
    if [number.strip() for number, _, _ in found] != [str(place) for place in range(len(found))]:
        raise DatasetError(f"{source}: the labels are not numbered from 0 on")
    return [name.strip() for _, _, name in found]


def _marked(source: Source, names: list[str]) -> tuple[dict[int, frozenset[str]], dict[int, Row]]:
    """Return the labels of each frame by its number, and the row that holds them."""
    found, rows = dict[int, frozenset[str]](), dict[int, Row]()
    for row in delimited.rows(source, ",", names=("frame", *names)):
        with row:
            number = int(row["frame"])
            if strange := {one for one in names if row[one].strip() not in ("0", "1")}:
                raise BadValue(f"{len(strange)} labels that are neither 0 nor 1")
            found[number] = frozenset(one for one in names if row[one].strip() == "1")
            rows[number] = row
    return found, rows

"""Ultrasound films of the heart with the owners' tables of measurements and tracings."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.datasets import media
from healthfm.datasets.locate import Files
from healthfm.datasets.pictures import Pictures
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import notices, table, video
from healthfm.formats.source import Row, Source
from healthfm.records import Label, Polygon, Video

Points = tuple[tuple[float, float], ...]


@dataset("echonet-dynamic", record=Video)
def echonet_dynamic(files: Files, split: str) -> Iterator[Video]:
    """A row a film in one table, a row a chord of the left ventricle in another, on two frames of nearly every film."""
    films, chords = Pictures(files, "videos", bare=True), _chords(files)
    listed = set[str]()
    for row in films.named_by(table.rows(files["labels"])):
        with row:
            name = row["FileName"].removesuffix(".avi")
            films.know(name)
            listed.add(name)
            if row["Split"].upper() not in files.card.splits.values():
                raise BadValue("'Split' is none of TRAIN, VAL and TEST")
            if row["Split"].upper() != files.card.splits[split]:
                continue
            length = int(float(row["NumberOfFrames"]))
            traced = {frame: _outline(those) for frame, those in chords.get(name, {}).items()}
            if max(traced, default=0) >= length:
                raise BadValue("a tracing of a frame behind the last")
            by_area = sorted(traced, key=lambda frame: _area(traced[frame]))
            yield Video(
                id=name, split=split, labels={one: files.label(one, row[one]) for one in ("EF", "ESV", "EDV")},
                polygons=tuple(Polygon("left ventricle", points, frame) for frame, points in sorted(traced.items())),
                meta={
                    "rate": float(row["FPS"]), "frames": length, "systole": by_area[0] if len(by_area) > 1 else None,
                    "diastole": by_area[-1] if len(by_area) > 1 else None,
                },
                **_film(films.source(name), length),
            )  # fmt: skip
    if strange := sorted(set(chords) - listed):
        files.problems.add(
            DatasetError(f"{files['tracings']}: {len(strange)} films that FileList.csv does not list: {', '.join(strange[:3])}")
        )  # fmt: skip


def _film(source: Source, length: int) -> dict[str, Any]:
    return {**media.fields_of("Video", source), "frames": functools.partial(_frames, source, length)}


def _frames(source: Source, length: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield a film's frames, and say it where they are not as many as the owners' table has."""
    count = 0
    for frame in video.frames(source):
        count += 1
        yield frame
    if count != length:
        notices.say("a film has another number of frames than the owners' table says")


def _chords(files: Files) -> dict[str, dict[int, list[tuple[float, ...]]]]:
    """Return the chords (x1, y1, x2, y2) of each film and frame, in the table's order; its names end in .avi."""
    found: dict[str, dict[int, list[tuple[float, ...]]]] = {}
    for row in table.rows(files["tracings"]):
        with row:
            frames = found.setdefault(row["FileName"].removesuffix(".avi"), {})
            chord = tuple(float(row[one]) for one in ("X1", "Y1", "X2", "Y2"))
            frames.setdefault(int(row["Frame"]), []).append(chord)
    return found


def _outline(chords: Sequence[tuple[float, ...]]) -> Points:
    """Return the outline that chords make, down one side and up the other; the first is the long axis, which is none of its points."""
    if len(chords) < 3:
        raise BadValue("a tracing with fewer than two chords beside its long axis")
    across = chords[1:]
    return tuple((x, y) for x, y, _, _ in across) + tuple((x, y) for _, _, x, y in reversed(across))


def _area(points: Points) -> float:
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, (*points[1:], points[0]), strict=True))) / 2


@dataset("echonet-lvh", record=Video)
def echonet_lvh(files: Files, split: str) -> Iterator[Video]:
    """A row a pair of calipers: a film has several, of one length or of more; a length measured twice is the mean of both."""
    films = Pictures(files, "videos", bare=True)
    by_film = dict[str, list[Row]]()
    for row in films.named_by(table.rows(files["measurements"])):
        with row:
            films.know(row["HashedFileName"])
            if row["split"] not in files.card.splits.values():
                raise BadValue("'split' is none of train, val and test")
            by_film.setdefault(row["HashedFileName"], []).append(row)
    spaces = [space.name for space in files.card.labels]
    for name, rows in by_film.items():
        if rows[0]["split"] != files.card.splits[split]:
            continue
        with rows[0]:
            if len({row["split"] for row in rows}) > 1:
                raise BadValue("the rows of one film name two splits")
            if strange := {row["Calc"] for row in rows} - set(spaces):
                raise BadValue(f"{len(strange)} kinds of length in 'Calc' that the card does not know")
            if any(not 0 <= int(row["Frame"]) < int(row["Frames"]) for row in rows):
                raise BadValue("calipers on a frame behind the last")
            values = {one: [float(row["CalcValue"]) for row in rows if row["Calc"] == one] for one in spaces}
            labels: dict[str, Label] = {one: files.label(one, fmean(those) if those else None) for one, those in values.items()}  # fmt: skip
            yield Video(
                id=name, split=split, labels=labels, polygons=tuple(map(_calipers, rows)),
                meta={"rate": float(rows[0]["FPS"]), "frames": int(rows[0]["Frames"]), "size": (int(rows[0]["Height"]), int(rows[0]["Width"]))},
                **_film(films.source(name), int(rows[0]["Frames"])),
            )  # fmt: skip


def _calipers(row: Row) -> Polygon:
    ends = (float(row["X1"]), float(row["Y1"])), (float(row["X2"]), float(row["Y2"]))
    return Polygon(row["Calc"], ends, int(row["Frame"]))

"""Recordings of a moving camera as frames, with the camera's pose at each and its calibration."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.datasets.locate import Files
from healthfm.datasets.pictures import named, tail
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import image, spreadsheet
from healthfm.formats.source import Row, Source, lines
from healthfm.formats.video import Track
from healthfm.records import Video

NUMBER = re.compile(r"frame_(\d+)\.jpg")
FRAME, PLACE, TURN = (
    1,
    slice(3, 6),
    slice(6, 10),
)  # columns of a sheet of poses, which its header names otherwise from sheet to sheet
UNIT = 0.01  # how far a quaternion's length may lie from 1


@dataset("endoslam", record=Video)
def endoslam(files: Files, split: str) -> Iterator[Video]:
    """A folder a trajectory of an organ: frames, and a sheet whose columns say frame, place and quaternion by their order."""
    by_path = dict[str, dict[int, Source]]()
    for source in files.all("frames"):
        with named(source, 4) as row:
            organ, trajectory, _, name = str(row.number).split("/")
            if (found := NUMBER.fullmatch(name)) is None:
                raise BadValue("its name is not frame_{number}.jpg")
            by_path.setdefault(f"{organ}/{trajectory}", {})[int(found[1])] = source
    sheets = {"/".join(tail(one, 4).split("/")[:2]): one for one in files.all("poses")}
    calibration = {key: one for source in files.all("calibration") for key, one in _calibration(source).items()}
    for name, frames in by_path.items():
        with Row({}, next(iter(frames.values())), name):
            if name not in sheets:
                raise BadValue("the trajectory has no sheet of poses")
            ordered = tuple(frames[number] for number in sorted(frames))
            yield Video(
                id=name, split=split, patient=name.split("/")[0], frames=functools.partial(_decoded, ordered),
                track=functools.partial(_track, ordered),
                meta={"numbers": sorted(frames), "poses": _poses(sheets[name], frames), "calibration": calibration, "tumour": not name.split("/")[1].startswith("Tumorfree")},
            )  # fmt: skip
    for name in sorted(set(sheets) - set(by_path)):
        files.problems.add(DatasetError(f"{sheets[name]}: poses of a trajectory without frames"))


def _poses(source: Source, frames: dict[int, Source]) -> list[dict[str, Any]]:
    """Return frame, translation and quaternion (x, y, z, w) of each row; a pose of a frame that is not there is an error of its row."""
    found = []
    for number, cells in enumerate(spreadsheet.cells(source)[1:], 2):
        with Row({}, source, number):
            if len(cells) < TURN.stop:
                raise BadValue(f"{len(cells)} columns, a pose needs {TURN.stop}")
            place, turn = [float(one) for one in cells[PLACE]], [float(one) for one in cells[TURN]]
            if abs(np.linalg.norm(turn) - 1) > UNIT:
                raise BadValue("its quaternion is not of length 1")
            if int(cells[FRAME]) not in frames:
                raise BadValue(f"a pose of frame {int(cells[FRAME])}, which is not there")
            found.append({"frame": int(cells[FRAME]), "translation": place, "quaternion": turn})
    return found


def _calibration(source: Source) -> dict[str, float]:
    """Return the numbers of a camera: lines such as ``fx: 957.4``."""
    parts = [text.split(":", 1) for _, text in lines(source) if ":" in text]
    return {key.strip(): float(one) for key, one in parts if re.fullmatch(r"\s*-?\d+(\.\d+)?(e-?\d+)?\s*", one)}


def _decoded(sources: tuple[Source, ...]) -> Iterator[npt.NDArray[np.uint8]]:
    for source in sources:
        yield image.rgb8(image.pixels(source))


def _track(sources: tuple[Source, ...]) -> Track:
    """Return what is known of the frames: no rate, for the owners give none."""
    return Track(0.0, len(sources), image.size(sources[0]))

"""EndoSLAM: frames, sheets of poses whose columns count by their order, calibration files with a doubled suffix."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.records import Video
from tests.datasets.drawn import picture, text

POSE = [0.1, 0.2, 0.3, 0.0, 0.0, 0.6, 0.8]


def sheet(path: Path, *rows: list[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    for row in ([None, "img", "time", "x", "y", "z", "qx", "qy", "qz", "qw"], *rows):
        book.active.append(row)
    book.save(path)


def endoslam(root: Path, *rows: list[object]) -> Path:
    top = root / "Cameras/HighCam/Colon-IV/TumorfreeTrajectory_1"
    for number in (0, 1, 2, 10):
        picture(top / f"Frames/frame_{number:06d}.jpg", number, colour=True)
    sheet(
        top / "Poses/low_high_pose_colon_test_1_high_images.xlsx", *(rows or ([0, 0, 9.5, *POSE], [1, 10, 9.9, *POSE]))
    )
    text(
        root / "Cameras/HighCam/Calibration/cam.txt.txt",
        "fx: 957.411",
        "fy: 959.386",
        "cx: 282.192",
        "cy: 170.731",
        "model: pinhole",
    )
    return root


@pytest.mark.evidence("endoslam", "layout")
def test_endoslam_poses_are_read_by_place_and_belong_to_frames(tmp_path: Path) -> None:
    """README of CapsuleEndoscope/EndoSLAM, Dataset Organization; columns as two public loaders of HighCam take them."""
    [record] = open_dataset("endoslam", endoslam(tmp_path))
    assert isinstance(record, Video) and (record.id, record.patient) == ("Colon-IV/TumorfreeTrajectory_1", "Colon-IV")
    assert [p["frame"] for p in record.meta["poses"]] == [0, 10] and record.meta["numbers"] == [0, 1, 2, 10]
    assert record.meta["poses"][1] == {"frame": 10, "translation": [0.1, 0.2, 0.3], "quaternion": [0.0, 0.0, 0.6, 0.8]}
    assert (
        record.meta["calibration"] == {"fx": 957.411, "fy": 959.386, "cx": 282.192, "cy": 170.731}
        and not record.meta["tumour"]
    )
    assert [f.shape for f in record.frames()] == [(6, 5, 3)] * 4 and record.track() == (0.0, 4, (6, 5))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([0, 3, 9.5, *POSE], "row 2: cannot be read: a pose of frame 3, which is not there"),
        ([0, 1, 9.5, *POSE[:6], 7.0], "row 2: cannot be read: its quaternion is not of length 1"),
        ([0, 1, 9.5, "x", *POSE[1:]], "row 2: cannot be read: ValueError"),
    ],
)
def test_endoslam_poses_that_are_none_are_named(tmp_path: Path, row: list[object], reason: str) -> None:
    opened = open_dataset("endoslam", endoslam(tmp_path, row, [1, 10, 9.9, *POSE]), on_error="collect")
    [record] = opened
    assert [p["frame"] for p in record.meta["poses"]] == [10] and reason in str(opened.errors[0])


def test_endoslam_trajectories_without_poses_or_frames_are_named(tmp_path: Path) -> None:
    endoslam(tmp_path)
    picture(tmp_path / "Cameras/HighCam/Colon-IV/TumorTrajectory_2/Frames/frame_000000.jpg")
    sheet(tmp_path / "Cameras/HighCam/Stomach-I/TumorfreeTrajectory_1/Poses/a.xlsx", [0, 0, 9.5, *POSE])
    opened = open_dataset("endoslam", tmp_path, on_error="collect")
    assert len(list(opened)) == 1
    assert "row Colon-IV/TumorTrajectory_2: cannot be read: the trajectory has no sheet of poses" in str(
        opened.errors[0]
    )
    assert "Stomach-I/TumorfreeTrajectory_1/Poses/a.xlsx: poses of a trajectory without frames" in str(opened.errors[1])
    with pytest.raises(DatasetError, match="this part is not read yet"):
        open_dataset("endoslam:mirocam", tmp_path)

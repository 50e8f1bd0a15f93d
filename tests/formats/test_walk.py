"""What lies below a folder: every file once, links without circles, and a reason for what is left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from healthfm.formats.walk import told, walk


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def listed(folder: Path) -> dict[str, str | None]:
    return {e.path.relative_to(folder).as_posix(): e.problem or e.reason for e in walk(folder)}


def test_every_file_is_there_in_order_and_hidden_and_system_ones_have_their_reason(tmp_path: Path) -> None:
    for name in (
        "b.png",
        "a/c.png",
        ".h.png",
        ".git/config",
        "a/.DS_Store",
        "a/Thumbs.db",
        "__MACOSX/a/._c.png",
        "a/._c.png",
    ):
        put(tmp_path / name)
    found = listed(tmp_path)
    assert list(found) == [".git", ".h.png", "__MACOSX", "a/.DS_Store", "a/._c.png", "a/Thumbs.db", "a/c.png", "b.png"]
    assert {name for name, reason in found.items() if reason is None} == {"a/c.png", "b.png"}
    assert {name for name, reason in found.items() if reason == "hidden"} == {".git", ".h.png"}
    assert {name for name, reason in found.items() if reason == "system file"} == {
        "__MACOSX", "a/.DS_Store", "a/._c.png", "a/Thumbs.db"
    }  # fmt: skip


def test_links_are_followed_once_and_never_in_circles(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root / "z" / "1.png")
    put(tmp_path / "elsewhere" / "2.png")
    (root / "a").symlink_to(root / "z")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "z" / "up").symlink_to(root)
    (root / "gone.png").symlink_to(tmp_path / "nothing")
    again = "a link to a folder that is read already"
    assert listed(root) == {
        "a": again, "gone.png": "cannot be opened (No such file or directory)", "out/2.png": None, "z/1.png": None, "z/up": again
    }  # fmt: skip


def test_a_folder_that_may_not_be_opened_is_a_problem_and_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    assert listed(tmp_path) == {"pipe.dcm": "no file but a device or pipe"}
    if os.geteuid() == 0:
        pytest.skip("root may open everything")
    put(tmp_path / "shut" / "1.png")
    (tmp_path / "shut").chmod(0)
    try:
        assert listed(tmp_path)["shut"] == "the folder cannot be opened (Permission denied)"
    finally:
        (tmp_path / "shut").chmod(0o700)


def test_a_mirax_slides_own_folder_is_part_of_it(tmp_path: Path) -> None:
    put(tmp_path / "S.mrxs")
    put(tmp_path / "S" / "Data0000.dat")
    put(tmp_path / "T" / "Data0000.dat")
    assert listed(tmp_path) == {"S": "part of the slide beside it", "S.mrxs": None, "T/Data0000.dat": None}


def test_the_line_counts_by_reason_and_is_quiet_about_what_nobody_misses() -> None:
    assert told([]) == told([("Thumbs.db", "system file"), ("a.raw", "voxels of a header beside them")]) == ""
    some = [("a", "empty"), ("b", "hidden"), ("c", "hidden"), ("Thumbs.db", "system file")]
    assert told(some) == "3 files passed over: 2 hidden; 1 empty (and 1 of the system or of a file beside them)"
    assert told(some[:1]) == "1 file passed over: 1 empty"

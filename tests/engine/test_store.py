"""The run folder: whole parts, one writer, and failures that cost nothing that was published."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from healthfm.engine.store import RunFolder
from healthfm.errors import RunError


def rows(*ids: str) -> pa.Table:
    return pa.table({"id": list(ids)})


def python(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def one_line(error: pytest.ExceptionInfo[RunError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_parts_come_back_as_one_table_in_part_order_whatever_order_they_were_written_in(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        folder.publish(10, rows("e"))
        folder.publish(2, rows("c", "d"))
        folder.publish(0, rows("a", "b"))
    assert folder.published() == {0, 2, 10}
    assert folder.predictions()["id"].to_pylist() == ["a", "b", "c", "d", "e"]


def test_a_part_number_of_six_digits_is_found_again(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.publish(123_456, rows("a"))
    assert folder.published() == {123_456}
    assert folder.predictions().num_rows == 1


def test_a_process_killed_while_writing_leaves_only_whole_parts(tmp_path: Path) -> None:
    code = """
import sys, numpy, pyarrow
from pathlib import Path
from healthfm.engine.store import RunFolder
table = pyarrow.table({"x": numpy.random.default_rng(0).random(400_000)})
with RunFolder(Path(sys.argv[1])) as folder:
    for number in range(10_000):
        folder.publish(number, table)
        print(number, flush=True)
"""
    writer = python(code, tmp_path)
    assert writer.stdout is not None
    for _ in range(3):
        assert writer.stdout.readline().strip().isdigit(), writer.communicate()[1]
    time.sleep(0.007)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    folder = RunFolder(tmp_path)
    there = folder.published()
    assert len(there) >= 3
    assert there == set(range(len(there)))
    assert {pq.read_table(path).num_rows for path in (tmp_path / "predictions").glob("part-*")} == {400_000}
    with folder:  # and the lock went with the process
        assert not list((tmp_path / "predictions").glob(".*"))


def test_half_written_drafts_are_cleaned_and_other_hidden_files_are_left(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.publish(0, rows("a"))
    drafts = [tmp_path / "predictions" / ".part-00001.parquet.4711", tmp_path / ".run.json.4711"]
    drafts += [tmp_path / ".report.html.4711"]
    for draft in drafts:
        draft.write_bytes(b"PAR1 half")
    (tmp_path / "predictions" / ".snapshot").mkdir()
    with RunFolder(tmp_path) as folder:
        assert not any(draft.exists() for draft in drafts)
        assert folder.published() == {0}
    assert (tmp_path / "predictions" / ".snapshot").is_dir()


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from healthfm.engine.store import RunFolder
with RunFolder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
    holder = python(code, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match="another process is writing this run") as error, RunFolder(tmp_path):
        pass
    assert str(tmp_path) in one_line(error)
    holder.communicate(input="")
    with RunFolder(tmp_path) as folder:
        folder.publish(0, rows("a"))


def test_a_place_that_cannot_be_written_gives_one_line_with_the_way_out() -> None:
    with pytest.raises(RunError, match="cannot write there") as error, RunFolder(Path("/proc/healthfm-run")):
        pass
    assert "/proc/healthfm-run" in one_line(error) and "--output" in one_line(error)


def test_a_file_where_the_folder_should_be_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("not a folder")
    with pytest.raises(RunError, match="cannot write there") as error, RunFolder(tmp_path / "run"):
        pass
    one_line(error)
    assert (tmp_path / "run").read_text() == "not a folder"


def test_a_full_disk_gives_one_line_and_keeps_what_was_published(tmp_path: Path) -> None:
    code = """
import resource, sys, numpy, pyarrow
from pathlib import Path
from healthfm.engine.store import RunFolder
from healthfm.errors import RunError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
with RunFolder(Path(sys.argv[1])) as folder:
    folder.write_json("run.json", {"asked": "this"})
    folder.publish(0, pyarrow.table({"x": [1.0]}))
    for write in (
        lambda: folder.publish(1, pyarrow.table({"x": numpy.random.default_rng(0).random(100_000)})),
        lambda: folder.publish(0, pyarrow.table({"x": numpy.random.default_rng(0).random(100_000)})),
        lambda: folder.write_json("run.json", {"x": "y" * 200_000}),
    ):
        try:
            write()
        except RunError as error:
            print(str(error).replace("\\n", "NEWLINE"))
"""
    out, errors = python(code, tmp_path).communicate()
    assert errors == ""
    lines = out.splitlines()
    assert len(lines) == 3
    assert all("cannot be written" in line and "make room" in line and "NEWLINE" not in line for line in lines)
    folder = RunFolder(tmp_path)
    assert folder.published() == {0}
    assert folder.predictions()["x"].to_pylist() == [1.0]
    assert folder.read_json("run.json") == {"asked": "this"}
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        ".lock",
        "part-00000.parquet",
        "predictions",
        "run.json",
    ]


@pytest.mark.parametrize("content", ["", '{"asked": ', "[1]", "3", "null", '"text"', b"\xff\xfe{}"])
def test_a_damaged_json_file_is_an_error_that_names_it(tmp_path: Path, content: str | bytes) -> None:
    (tmp_path / "run.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RunError, match=r"run\.json: damaged") as error:
        RunFolder(tmp_path).read_json("run.json")
    one_line(error)


def test_a_json_file_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).read_json("run.json") is None


def test_json_keeps_text_of_every_script(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.write_json("run.json", {"dataset": "中文 ü"})
    assert folder.read_json("run.json") == {"dataset": "中文 ü"}


@pytest.mark.parametrize("keep", [0, 4, 0.5, -1])
def test_a_damaged_part_is_an_error_that_names_its_folder(tmp_path: Path, keep: float) -> None:
    with RunFolder(tmp_path) as folder:
        folder.publish(0, rows("a"))
        folder.publish(1, rows(*map(str, range(1_000))))
    part = tmp_path / "predictions" / "part-00001.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[: int(len(whole) * keep) if 0 < keep < 1 else int(keep)])
    with pytest.raises(RunError, match="a part is damaged") as error:
        folder.predictions()
    assert str(tmp_path / "predictions") in one_line(error)


def test_a_part_with_other_columns_is_an_error(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.publish(0, rows("a"))
        folder.publish(1, pa.table({"other": [1]}))
    with pytest.raises(RunError, match="a part is damaged"):
        folder.predictions()


def test_a_folder_without_parts_says_so(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).published() == set()
    with pytest.raises(RunError, match="no predictions yet"):
        RunFolder(tmp_path).predictions()


def test_a_run_folder_is_private_to_its_user(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        folder.publish(0, rows("a"))
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0
    assert (tmp_path / "run" / "predictions").stat().st_mode & 0o077 == 0


def test_everything_is_on_the_disk_before_it_is_published(tmp_path: Path) -> None:
    """Python's own audit of ``open`` and ``os.rename``, and the kernel's file numbers: each draft is synced, whole, and then put in place."""
    code = """
import os, sys, pyarrow
from pathlib import Path
from healthfm.engine.store import RunFolder

synced, published = {}, []
fsync = os.fsync

def noted(number):
    fsync(number)
    synced[os.readlink(f"/proc/self/fd/{number}")] = os.fstat(number).st_size

def audit(event, arguments):
    if event == "os.rename":
        draft, place = map(str, arguments[:2])
        published.append(place)
        print(os.path.basename(place), synced.pop(draft, None) == os.path.getsize(draft))

os.fsync = noted
sys.addaudithook(audit)
with RunFolder(Path(sys.argv[1])) as folder:
    folder.write_json("run.json", {"asked": "this"})
    folder.publish(0, pyarrow.table({"x": list(range(1000))}))
    folder.publish(7, pyarrow.table({"x": [1]}), "embeddings")
    folder.write("report.html", "<html>")
"""
    out, errors = python(code, tmp_path / "run").communicate()
    assert errors == ""
    names = ["run.json", "part-00000.parquet", "part-00007.parquet", "report.html"]
    assert out.splitlines() == [f"{name} True" for name in names]


def test_a_part_is_never_written_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that stops half way leaves the part before it as it was, and no draft."""
    with RunFolder(tmp_path) as folder:
        folder.publish(0, rows("a"))

        def half(table: pa.Table, where: Path) -> None:
            Path(where).write_bytes(b"PAR1 half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(pq, "write_table", half)
        with pytest.raises(RunError, match="No space left on device"):
            folder.publish(0, rows("b"))
    assert folder.predictions()["id"].to_pylist() == ["a"]
    assert not list((tmp_path / "predictions").glob(".*"))

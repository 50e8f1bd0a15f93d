"""Archives read in place: same bytes as unpacked, nothing leaves the archive, nothing explodes, damage is noticed."""

from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from healthfm.errors import DatasetError
from healthfm.formats import archive
from healthfm.formats.source import Source, lines

CONTENT = {"data/a.txt": b"one\ntwo\n", "data/sub/b.bin": random.Random(0).randbytes(50_000)}


def make(path: Path, content: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.mkdir("data") if "data/a.txt" in content else None
            for name, value in content.items():
                packed.writestr(name, value)
        return path
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, value in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(value)
            tar.addfile(entry, io.BytesIO(value))
    return path


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
def test_members_are_listed_and_read_byte_for_byte(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name, CONTENT)
    assert archive.is_archive(name)
    assert sorted(archive.members(path)) == sorted(CONTENT)
    assert {member: archive.open_member(path, member).read() for member in archive.members(path)} == CONTENT


def test_an_upper_case_suffix_is_an_archive_and_a_gzipped_file_is_none() -> None:
    assert archive.is_archive("DATA.ZIP")
    assert not archive.is_archive("a.jsonl.gz")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize("member", ["../evil.txt", "data/../../evil.txt", "/etc/evil.txt", "..\\evil.txt"])
def test_a_member_whose_path_leaves_the_archive_is_refused(tmp_path: Path, name: str, member: str) -> None:
    with pytest.raises(DatasetError, match="a member's path leaves the archive; refused"):
        list(archive.members(make(tmp_path / name, {"ok.txt": b"", member: b"x"})))


def test_links_in_a_tar_are_no_members(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for kind, name in ((tarfile.SYMTYPE, "soft"), (tarfile.LNKTYPE, "hard")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
    assert list(archive.members(tmp_path / "a.tar")) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_a_link_or_device_is_not_opened_whatever_it_points_to(tmp_path: Path, name: str, kind: bytes) -> None:
    """A link to a member beside it, or out of the archive; "inside.txt" itself is read."""
    for target in ("inside.txt", "/etc/passwd", "../../etc/passwd"):
        with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as tar:
            inside = tarfile.TarInfo("inside.txt")
            inside.size = 4
            tar.addfile(inside, io.BytesIO(b"fine"))
            link = tarfile.TarInfo("link.txt")
            link.type, link.linkname = kind, target
            tar.addfile(link)
        assert list(archive.members(tmp_path / name)) == ["inside.txt"]
        with pytest.raises(DatasetError, match=r"has no member link\.txt"):
            archive.open_member(tmp_path / name, "link.txt")
        assert archive.open_member(tmp_path / name, "inside.txt").read() == b"fine"


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
def test_unpacking_gives_the_files_and_nothing_else(tmp_path: Path, name: str) -> None:
    archive.unpack(make(tmp_path / name, CONTENT), tmp_path / "out")
    there = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert there == CONTENT


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize(
    "member", ["../evil.txt", "data/../../evil.txt", "ABSOLUTE/evil.txt", "..\\evil.txt", "data\\..\\..\\evil.txt"]
)
def test_unpacking_writes_nothing_outside_its_folder(tmp_path: Path, name: str, member: str) -> None:
    """Before it and behind it, what is sound is unpacked or not; the file outside, which is there already, stays as it was."""
    outside = tmp_path / "evil.txt"
    outside.write_text("mine")
    path = make(tmp_path / name, {"ok.txt": b"", member.replace("ABSOLUTE", str(tmp_path)): b"x"})
    with pytest.raises(DatasetError, match="a member's path leaves the archive; refused"):
        archive.unpack(path, tmp_path / "deep" / "out")
    assert outside.read_text() == "mine"
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} <= {"evil.txt", name, "ok.txt"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_unpacking_leaves_links_out_so_that_nothing_is_written_or_read_through_one(tmp_path: Path, kind: bytes) -> None:
    """The old attack: a link "data" to a folder outside, then a file "data/a.txt"; and a link to a file that is there."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.txt").write_text("secret")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, target in (("data", "../outside"), ("copy.txt", "ok.txt"), ("secret.txt", "../outside/secret.txt")):
            if name == "copy.txt":
                entry = tarfile.TarInfo("ok.txt")
                entry.size = 2
                tar.addfile(entry, io.BytesIO(b"ok"))
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            tar.addfile(link)
        entry = tarfile.TarInfo("data/a.txt")
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    archive.unpack(tmp_path / "a.tar", tmp_path / "out")
    there = {
        str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if not p.is_dir() or p.is_symlink()
    }
    assert there == {"ok.txt", "data/a.txt"} and not any(p.is_symlink() for p in (tmp_path / "out").rglob("*"))
    assert [p.name for p in (tmp_path / "outside").iterdir()] == ["secret.txt"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize("pieces", [1, 8])
def test_unpacking_stops_before_the_disk_is_full(
    tmp_path: Path, name: str, pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 MiB of zeros in an archive of some KiB, in one member or in eight that are harmless each."""
    monkeypatch.setattr(archive, "SMALL", 1 << 20)
    monkeypatch.setattr(archive, "MAX_RATIO", 50)
    path = make(tmp_path / name, {f"{i}.txt": bytes((8 << 20) // pieces) for i in range(pieces)})
    with pytest.raises(DatasetError, match="unpacks to over 50 times its size; refused"):
        archive.unpack(path, tmp_path / "out")
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("*.txt")) <= 2 << 20
    monkeypatch.setattr(archive, "SMALL", 8 << 20)
    archive.unpack(path, tmp_path / "whole")
    assert sum(p.stat().st_size for p in (tmp_path / "whole").rglob("*.txt")) == 8 << 20


def test_a_gzipped_file_that_explodes_is_stopped_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zeros.gz").write_bytes(gzip.compress(bytes(8 << 20)))
    monkeypatch.setattr(archive, "MAX_RATIO", 100)
    assert len(archive.gunzipped(tmp_path / "zeros.gz").read()) == 8 << 20  # small enough for any ratio
    monkeypatch.setattr(archive, "SMALL", 1 << 20)
    with (
        archive.gunzipped(tmp_path / "zeros.gz") as handle,
        pytest.raises(DatasetError, match="over 100 times its size"),
    ):
        while handle.read(1 << 16):
            assert handle.tell() <= 2 << 20


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_member_that_explodes_is_refused_before_it_is_unpacked(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "SMALL", 1 << 20)
    path = make(tmp_path / name, {"zeros.txt": bytes(8 << 20), "notes.txt": b"fine"})
    if name == "a.zip":  # deflate cannot exceed a ratio of 1,032
        monkeypatch.setattr(archive, "MAX_RATIO", 500)
    else:
        monkeypatch.setattr(archive, "MAX_RATIO", 100)
    with pytest.raises(DatasetError, match=r"!zeros\.txt: unpacks to over \d+ times its size; refused"):
        archive.open_member(path, "zeros.txt")
    assert archive.open_member(path, "notes.txt").read() == b"fine"


def test_data_that_packs_well_is_read(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", {"zeros.txt": bytes(4 << 20)})
    assert len(archive.open_member(path, "zeros.txt").read()) == 4 << 20


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_an_archive_that_was_cut_short_is_an_error_that_names_it(tmp_path: Path, name: str, keep: float) -> None:
    path = make(tmp_path / name, CONTENT)
    whole = path.read_bytes()
    end = len(whole) if name != "a.tar" else 2 * 512 + 512 + 50_000  # behind it, a tar is padded with zeros
    path.write_bytes(whole[: int(end * keep)])
    with pytest.raises(DatasetError, match=rf"{name}: not a readable archive"):
        list(archive.members(path))


def test_a_changed_byte_in_a_gzipped_tar_is_noticed(tmp_path: Path) -> None:
    path = make(tmp_path / "a.tar.gz", CONTENT)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0x01
    path.write_bytes(whole)
    with pytest.raises(DatasetError, match="not a readable archive"):
        list(archive.members(path))


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_changed_byte_in_a_zip_member_is_noticed(tmp_path: Path, packing: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", packing) as packed:
        packed.writestr("a.txt", "\n".join(map(str, random.Random(0).sample(range(10**9), 3000))))
    whole = bytearray((tmp_path / "a.zip").read_bytes())
    whole[3000] ^= 0x01
    (tmp_path / "a.zip").write_bytes(whole)
    with pytest.raises(DatasetError, match=r"a\.zip!a\.txt, after line \d+: the file is damaged or cut short"):
        list(lines(Source(tmp_path / "a.zip", "a.txt")))


def test_an_encrypted_member_is_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", {"a.txt": b"x"})
    whole = bytearray(path.read_bytes())
    whole[6] |= 1  # the local header's flag
    whole[whole.index(b"PK\x01\x02") + 8] |= 1  # the directory's
    path.write_bytes(whole)
    with pytest.raises(DatasetError, match=r"a\.zip!a\.txt: cannot be read"):
        archive.open_member(path, "a.txt")


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_a_member_that_is_not_there_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=r"has no member b\.txt"):
        archive.open_member(make(tmp_path / name, {"a.txt": b"x"}), "b.txt")


# Members one after another ----------------------------------------------------------------------------------------------------

MANY = {f"data/{number:03d}.bin": random.Random(number).randbytes(3_000) for number in range(40)}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize("order", ["forward", "backward", "mixed", "twice"])
def test_members_are_found_in_any_order_and_by_several_threads(tmp_path: Path, name: str, order: str) -> None:
    path = make(tmp_path / name, MANY)
    names = sorted(MANY, reverse=order == "backward")
    if order == "mixed":
        random.Random(0).shuffle(names)
    asked = [one for one in names for _ in range(2 if order == "twice" else 1)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda one: archive.open_member(path, one).read(), asked)) == [
            MANY[one] for one in asked
        ]


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_a_directory_is_read_once_for_all_members(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / name, MANY)
    opened: list[object] = []
    for module, word in ((zipfile, "ZipFile"), (tarfile, "open")):
        real = getattr(module, word)
        monkeypatch.setattr(module, word, lambda *a, real=real, **k: (opened.append(1), real(*a, **k))[1])
    for one in MANY:
        archive.open_member(path, one).close()
    assert len(opened) == 1


def test_a_packed_tar_is_read_once_where_members_are_asked_for_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "a.tar.gz", MANY)
    opened: list[object] = []
    real = tarfile.open
    monkeypatch.setattr(tarfile, "open", lambda *a, **k: (opened.append(1), real(*a, **k))[1])
    assert [archive.open_member(path, one).read() for one in MANY] == list(MANY.values()) and len(opened) == 1
    assert archive.open_member(path, "data/000.bin").read() == MANY["data/000.bin"] and len(opened) == 2


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_an_archive_that_is_written_anew_is_read_anew(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name, MANY)
    assert archive.open_member(path, "data/001.bin").read() == MANY["data/001.bin"]
    path.unlink()
    make(path, {"data/001.bin": b"other"})
    assert archive.open_member(path, "data/001.bin").read() == b"other"


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_a_forked_process_reads_its_own_members(tmp_path: Path, name: str) -> None:
    """A fork shares the position in an open file: two processes that seek in one would read each other's bytes."""
    path = make(tmp_path / name, MANY)
    archive.open_member(path, "data/000.bin").close()
    child, same = os.fork(), False
    try:
        names = sorted(MANY, reverse=bool(child))
        same = all(archive.open_member(path, one).read() == MANY[one] for _ in range(3) for one in names)
    finally:
        if not child:
            os._exit(0 if same else 1)
    assert same and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

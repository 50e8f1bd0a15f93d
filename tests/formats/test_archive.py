"""Archives read in place: same bytes as unpacked, nothing leaves the archive, nothing explodes, damage is noticed."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
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

"""Fingerprints of weight files: whatever differs in them shows, as far as the whole of them is read."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from healthfm import CheckpointError, ModelCard, card
from healthfm.models.files import weights
from healthfm.models.files.weights import fingerprint

END = 1 << 20


def written(path: Path, data: bytes) -> tuple[Path, ...]:
    path.write_bytes(data)
    return (path,)


def test_a_file_is_known_by_all_of_its_bytes(tmp_path: Path) -> None:
    found = {fingerprint(written(tmp_path / "a.bin", data)) for data in (b"abc", b"abd", b"bbc", b"abcd", b"")}
    assert len(found) == 5 and all(one.startswith("sha256:") for one in found)


def test_a_file_that_stays_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before its last change is some seconds ago; and another file in its place is another."""
    read: list[object] = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *words: read.append(1) or digest(*words))
    files = written(tmp_path / "a.bin", b"abc")
    assert fingerprint(files) == fingerprint(files) and len(read) == 2
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 60)
    first = fingerprint(files)
    assert fingerprint(files) == first and len(read) == 3
    [other] = written(tmp_path / "b.bin", b"abd")
    os.utime(other, ns=(files[0].stat().st_atime_ns, files[0].stat().st_mtime_ns))
    other.replace(files[0])
    assert fingerprint(files) == f"sha256:{hashlib.sha256(b'abd').hexdigest()}" != first


def test_a_folder_is_known_by_every_file_and_their_order(tmp_path: Path) -> None:
    one, two, other = (written(tmp_path / name, name.encode()) for name in ("1.bin", "2.bin", "3.bin"))
    assert len({fingerprint(files) for files in (one + two, two + one, one + other, other + two, one)}) == 5


def test_a_large_file_is_known_by_its_size_its_beginning_and_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two and a half ends of nothing: a byte at either end shows, or one more; one in the middle cannot."""
    assert weights.ENDS == 64 << 20  # else runs with such files would not go on
    monkeypatch.setattr(weights, "FULL_HASH", END)
    monkeypatch.setattr(weights, "ENDS", END)

    def made(size: int, at: int | None = None) -> str:
        with (tmp_path / "large.bin").open("wb") as handle:
            handle.truncate(size)
            if at is not None:
                handle.seek(at)
                handle.write(b"x")
        return fingerprint((tmp_path / "large.bin",))

    size = 5 * END // 2
    found = {
        made(size),
        made(size, 0),
        made(size, END - 1),
        made(size, size - 1),
        made(size, size - END),
        made(size + 1),
    }
    assert len(found) == 6 and all(one.startswith("sampled:") for one in found)
    assert made(size, size // 2) == made(size)


def test_the_folder_of_one_variant_is_no_weights_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTHFM_HOME", str(tmp_path))
    folder = tmp_path / "models" / "meditron" / "7b"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x")
    found = card("meditron")
    assert isinstance(found, ModelCard) and weights.locate(found, "7b") == folder
    with pytest.raises(CheckpointError, match="no weights for meditron on this machine"):
        weights.locate(found, "70b")
    (folder.parent / "model.safetensors").write_bytes(b"x")
    assert weights.locate(found, "70b") == folder.parent

"""Members of zip and tar archives, read in place, with guards on paths and sizes (only ``unpack`` writes to disk)."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from healthfm.errors import DatasetError
from healthfm.formats import packed

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_RATIO = 1_000  # a member that grows more than this from its packed size is a bomb, not data
SMALL = 64 << 20  # below this size the ratio says nothing


def is_archive(name: str) -> bool:
    """Whether a file's name says zip or tar."""
    return name.lower().endswith(SUFFIXES)


def _is_zip(path: Path) -> bool:
    """Whether a file begins as a zip does (``zipfile.is_zipfile`` also says yes to a tar whose last member is one)."""
    with path.open("rb") as handle:
        return handle.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def members(path: Path) -> Iterator[str]:
    """Yield the names of the regular files inside. Raises ``DatasetError`` on damage or on a path that leaves the archive."""
    try:
        if _is_zip(path):
            with zipfile.ZipFile(path) as zipped:
                names = [info.filename for info in zipped.infolist() if not info.is_dir()]
        else:
            with tarfile.open(path) as tar:
                names = [info.name for info in tar if info.isreg()]
                while tar.fileobj.read(1 << 20):  # to the end, where the checksum stands
                    pass
    except (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: not a readable archive ({type(error).__name__}); download it again") from None
    for name in names:
        inside = PurePosixPath(name.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts:
            raise DatasetError(f"{path}: a member's path leaves the archive; refused")
        yield str(inside)


def open_member(path: Path, member: str) -> IO[bytes]:
    """Open one member for reading. Raises ``DatasetError`` when it is damaged, encrypted or suspiciously packed."""
    with _told(path, member):
        if _is_zip(path):
            zipped = packed.zipped(path)
            info = zipped.info(member)
            refuse_bomb(f"{path}!{member}", info.file_size, info.compress_size)
            return zipped.open(info)
        tar = packed.tarred(path)
        refuse_bomb(f"{path}!{member}", tar.size(member), path.stat().st_size)
        return tar.read(member)


def size_of(path: Path, member: str) -> int:
    """Return how many bytes a member says it holds. Raises ``DatasetError`` when the archive is damaged or has none of the name."""
    with _told(path, member):
        return packed.zipped(path).info(member).file_size if _is_zip(path) else packed.tarred(path).size(member)


@contextmanager
def _told(path: Path, member: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}!{member}: cannot be read ({type(error).__name__})") from None
    except KeyError:
        raise DatasetError(f"{path}: has no member {member}") from None


def _gzip(raw: IO[bytes]) -> Any:
    return gzip.GzipFile(fileobj=raw)


def _bzip2(raw: IO[bytes]) -> Any:
    return bz2.BZ2File(raw)


def _zstandard(raw: IO[bytes]) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")


# Streams that are unpacked while they are read, by the end of a file's name: RFC 1952, bzip2, RFC 8878. Frames or members may follow on
# one another. Not xz: a header can ask for gigabytes of memory before its first byte.
STREAMS: dict[str, Callable[[IO[bytes]], Any]] = {".gz": _gzip, ".zst": _zstandard, ".bz2": _bzip2}


class _Guarded(io.RawIOBase):
    """A packed stream that may grow to so many bytes, read forward; going back reads it from its start."""

    def __init__(
        self, name: str, begin: Callable[[], IO[bytes]], unpack: Callable[[IO[bytes]], Any], room: int
    ) -> None:
        self.name, self.room, self.at = name, room, 0
        self._begin, self._unpack = begin, unpack
        self._raw = begin()
        try:
            self.inner = unpack(self._raw)
        except BaseException:
            self._raw.close()
            raise

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        target = offset + (self.at if whence == io.SEEK_CUR else self._length() if whence == io.SEEK_END else 0)
        if target < self.at:
            self._close_both()
            self._raw = self._begin()
            self.inner, self.at = self._unpack(self._raw), 0
        while self.at < target and self.read(min(1 << 20, target - self.at)):
            pass
        return self.at

    def _length(self) -> int:
        while self.read(1 << 20):
            pass
        return self.at

    def readinto(self, buffer: Any) -> int:
        read = getattr(
            self.inner, "read1", self.inner.read
        )  # what is there: damage further on takes nothing away from it
        data = read(len(buffer))
        self.at += len(data)
        if self.at > self.room:
            raise DatasetError(f"{self.name}: unpacks to over {MAX_RATIO} times its size; refused")
        buffer[: len(data)] = data
        return len(data)

    def _close_both(self) -> None:
        self.inner.close()
        self._raw.close()

    def close(self) -> None:
        if not self.closed:
            self._close_both()
        super().close()


def stream_of(name: str) -> str | None:
    """Return the end of a file's name that says it is a packed stream (``.gz``), in lower case; None where it is none."""
    return next((end for end in STREAMS if name.lower().endswith(end)), None)


def unpacked(name: str, begin: Callable[[], IO[bytes]], size: int, what: str) -> IO[bytes]:
    """Open a packed stream of ``size`` bytes for reading what it holds; ``name`` says how it is packed, ``begin`` opens it, errors call it ``what``.

    Reading raises ``DatasetError`` where it is suspiciously packed.
    """
    kind = stream_of(name)
    assert kind is not None
    return io.BufferedReader(_Guarded(what, begin, STREAMS[kind], max(SMALL, MAX_RATIO * size)))


def gunzipped(path: Path) -> IO[bytes]:
    """Open a ``.gz`` for reading what it holds; reading raises ``DatasetError`` where that is suspiciously packed."""
    return unpacked(".gz", lambda: path.open("rb"), path.stat().st_size, str(path))


def unpack(path: Path, folder: Path) -> None:
    """Write the regular files of an archive into a folder, in one pass, with the guards of ``each``. Links and devices are left out."""
    for name, handle in each(path, ""):
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                shutil.copyfileobj(handle, out, 1 << 20)
        except (
            RuntimeError,
            OSError,
            EOFError,
            zlib.error,
            lzma.LZMAError,
            tarfile.TarError,
            zipfile.BadZipFile,
        ) as error:
            raise DatasetError(f"{path}: not a readable archive ({type(error).__name__}); download it again") from None


def each(path: Path, suffix: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and open handle of the regular files whose names end so, in one pass.

    For archives of very many files: opening each by its name reads the list of all of them every time. Raises ``DatasetError``: damage, a
    path that leaves the archive, or more unpacked than ``MAX_RATIO`` times the archive's size.
    """
    room = max(SMALL, MAX_RATIO * path.stat().st_size)
    try:
        for name, size, handle in _contents(path):
            inside = PurePosixPath(name.replace("\\", "/"))
            if inside.is_absolute() or ".." in inside.parts:
                raise DatasetError(f"{path}: a member's path leaves the archive; refused")
            room -= size
            if room < 0:
                raise DatasetError(f"{path}: unpacks to over {MAX_RATIO} times its size; refused")
            if name.lower().endswith(suffix):
                with handle:
                    yield str(inside), handle
    except (RuntimeError, OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: not a readable archive ({type(error).__name__}); download it again") from None


def _contents(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yield name, size and open handle of each regular file."""
    if _is_zip(path):
        with zipfile.ZipFile(path) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    yield info.filename, info.file_size, zipped.open(info)
    else:
        with tarfile.open(path, "r|*") as tar:
            for entry in tar:
                handle = tar.extractfile(entry) if entry.isreg() else None
                if handle is not None:
                    yield entry.name, entry.size, handle


def refuse_bomb(name: str, size: int, packed: int) -> None:
    """Raise ``DatasetError`` where a member would grow suspiciously from its packed size."""
    if size > SMALL and size > MAX_RATIO * max(1, packed):
        raise DatasetError(f"{name}: unpacks to over {MAX_RATIO} times its size; refused")

"""Members of zip and tar archives, read in place, with guards on paths and sizes (nothing is unpacked to disk)."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from healthfm.errors import DatasetError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_RATIO = 1_000  # a member that grows more than this from its packed size is a bomb, not data
SMALL = 64 << 20  # below this size the ratio says nothing


def is_archive(path: Path) -> bool:
    """Whether the file name says zip or tar."""
    return path.name.lower().endswith(SUFFIXES)


def members(path: Path) -> Iterator[str]:
    """Yield the names of the regular files inside. Raises ``DatasetError`` on damage or on a path that leaves the archive."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                names = [info.filename for info in packed.infolist() if not info.is_dir()]
        else:
            with tarfile.open(path) as tar:
                names = [info.name for info in tar if info.isreg()]
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: not a readable archive ({type(error).__name__}); download it again") from None
    for name in names:
        inside = PurePosixPath(name.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts:
            raise DatasetError(f"{path}: a member's path leaves the archive; refused")
        yield str(inside)


def open_member(path: Path, member: str) -> IO[bytes]:
    """Open one member for reading. Raises ``DatasetError`` when it is damaged, encrypted or suspiciously packed."""
    try:
        if zipfile.is_zipfile(path):
            packed = zipfile.ZipFile(path)
            info = next(i for i in packed.infolist() if str(PurePosixPath(i.filename.replace("\\", "/"))) == member)
            if info.file_size > SMALL and info.file_size > MAX_RATIO * max(1, info.compress_size):
                raise DatasetError(f"{path}!{member}: unpacks to over {MAX_RATIO} times its size; refused")
            return packed.open(info)
        with tarfile.open(path) as tar:
            handle = tar.extractfile(next(i for i in tar if i.isreg() and str(PurePosixPath(i.name)) == member))
            assert handle is not None
            return io.BytesIO(handle.read())
    except (RuntimeError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}!{member}: cannot be read ({type(error).__name__})") from None
    except StopIteration:
        raise DatasetError(f"{path}: has no member {member}") from None

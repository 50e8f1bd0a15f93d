"""Lay files out as their owners do, in a folder of the test's: real ones by a link, others by their text or bytes."""

from __future__ import annotations

import gzip
from pathlib import Path


def lay(root: Path, files: dict[str, Path | str | bytes]) -> Path:
    """Put files below ``root``; text for a name that ends in .gz is packed."""
    for name, what in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, Path):
            path.symlink_to(what)
        else:
            raw = what.encode() if isinstance(what, str) else what
            path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return root

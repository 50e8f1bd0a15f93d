"""What lies below a folder, each file once: links followed but never in circles, nothing left out without being named."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

Passed = tuple[str, str]  # a file, as it is named to the user, and why it is passed over
SYSTEM, HIDDEN, BELONGS = "system file", "hidden", "part of the slide beside it"
VOXELS = "voxels of a header beside them"
QUIET = (SYSTEM, BELONGS, VOXELS)  # of no interest unless asked for
SYSTEM_NAMES = (
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    ".ds_store",
    "__macosx",
    "$recycle.bin",
    ".directory",
    ".localized",
)


class Entry(NamedTuple):
    """A file, or a folder that is not gone into. ``reason``: why it is passed over; ``problem``: why it cannot be."""

    path: Path
    reason: str | None = None
    problem: str | None = None


def walk(folder: Path) -> list[Entry]:
    """Return what lies below a folder, in the order of the paths.

    Folders that links lead to are gone into once. A hidden, system or slide's own folder is one entry.
    """
    found: list[Entry] = []
    seen: set[tuple[int, int]] = set()
    places, linked = [folder], list[Path]()
    while places or linked:
        place = places.pop() if places else linked.pop(0)
        try:
            facts = place.stat()
            if (facts.st_dev, facts.st_ino) in seen:
                found.append(Entry(place, "a link to a folder that is read already"))
                continue
            seen.add((facts.st_dev, facts.st_ino))
            children = list(os.scandir(place))
        except OSError as error:
            found.append(Entry(place, problem=f"the folder cannot be opened ({error.strerror})"))
            continue
        names = {child.name.lower() for child in children}
        for child in children:
            path = place / child.name
            reason = by_name(child.name) or (BELONGS if f"{child.name}.mrxs".lower() in names else None)
            if reason is None and child.is_dir():
                (linked if child.is_symlink() else places).append(path)
            else:
                found.append(Entry(path, reason) if reason is not None else _of_file(path))
    return sorted(found)


def files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that may be read, in order."""
    return (entry.path for entry in walk(folder) if entry.reason is None and entry.problem is None)


def by_name(name: str) -> str | None:
    """Return why a file or folder of this name is passed over, or None."""
    if name.lower() in SYSTEM_NAMES or name.startswith("._"):
        return SYSTEM
    return HIDDEN if name.startswith(".") else None


def _of_file(path: Path) -> Entry:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return Entry(path, problem=f"cannot be opened ({error.strerror})")
    return Entry(path) if stat.S_ISREG(mode) else Entry(path, "no file but a device or pipe")


def summary(passed: Iterable[Passed]) -> dict[str, int]:
    """Return how many files were passed over for each reason, the commonest first."""
    return dict(Counter(reason for _, reason in passed).most_common())


def told(passed: Iterable[Passed]) -> str:
    """Say in one line how many files were passed over and why; "" where none was that anybody would miss."""
    counts = summary(passed)
    loud = {reason: count for reason, count in counts.items() if reason not in QUIET}
    if not loud:
        return ""
    total, quiet = sum(loud.values()), sum(counts.values()) - sum(loud.values())
    reasons = "; ".join(f"{count} {reason}" for reason, count in loud.items())
    rest = f" (and {quiet} of the system or of a file beside them)" if quiet else ""
    return f"{total} {'file' if total == 1 else 'files'} passed over: {reasons}{rest}"

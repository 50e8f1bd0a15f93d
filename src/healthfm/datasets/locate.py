"""Find a dataset's official files below a folder, packed or not; say what was looked for when they are not there."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from healthfm.cards.schema import DatasetCard, OfficialFile
from healthfm.errors import DatasetError
from healthfm.formats import archive
from healthfm.formats.source import Problems, Source

LEVELS = 3  # how far below the folder given the official tree may begin


class AbsentFile(DatasetError):
    """No file answers to one of the card's patterns: the split is not here."""


Entry = tuple[tuple[str, ...], str, str | None]


@dataclass
class Files:
    """The official files of one variant and split, by role. ``files["questions"]`` is the one file of that role."""

    variant: str | None
    found: Mapping[str, list[Source]]
    problems: Problems = field(default_factory=Problems)

    def __getitem__(self, role: str) -> Source:
        sources = self.all(role)
        if len(sources) != 1:
            raise DatasetError(
                f"{len(sources)} files serve as '{role}', one was expected: {', '.join(map(str, sources[:5]))}"
            )
        return sources[0]

    def all(self, role: str) -> list[Source]:
        """Return every file of a role, sorted by name."""
        return [Source(s.path, s.member, self.problems) for s in self.found.get(role, [])]


class Tree:
    """The files below a folder, those inside archives included, listed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: list[Entry] | None = None

    def files(self) -> list[Entry]:
        """Return (parts of the path relative to the root, file, member of an archive or None) of every file, in sorted order."""
        if self._files is None:
            found: list[Entry] = []
            for place, folders, names in os.walk(self.root):
                folders[:] = sorted(f for f in folders if not f.startswith("."))
                above = Path(place).relative_to(self.root).parts
                for name in sorted(names):
                    path = os.path.join(place, name)  # noqa: PTH118  a Path a file is slow in a tree of a million
                    found.append(((*above, name), path, None))
                    if len(above) < LEVELS and archive.is_archive(name):
                        found += [((*above, *m.split("/")), path, m) for m in archive.members(Path(path))]
            self._files = found
        return self._files

    def match(self, pattern: str) -> list[Source]:
        """Return the sources that ``pattern`` means: at the root or up to three levels below, else from inside the tree.

        The shallowest level with a match wins, and an unpacked file wins over the same path inside an archive. A pattern
        ``a/b/c.json`` also finds ``b/c.json`` and ``c.json`` at the root itself, for a user who points into the official
        tree. A file that stands where the card says is found without listing the folder.
        """
        literal = self.root / pattern
        if "*" not in pattern and literal.is_file():
            return [Source(literal)]
        parts = PurePosixPath(pattern).parts
        for level in range(LEVELS + 1):
            hits = [e for e in self.files() if len(e[0]) == level + len(parts) and _fits(e[0][level:], parts)]
            if hits:
                return _unpacked_first(hits)
        for skipped in range(1, len(parts)):
            hits = [e for e in self.files() if _fits(e[0], parts[skipped:])]
            if hits:
                return _unpacked_first(hits)
        return []


def _unpacked_first(hits: list[Entry]) -> list[Source]:
    plain = {parts for parts, _, member in hits if member is None}
    return [Source(Path(path), member) for parts, path, member in hits if member is None or parts not in plain]


def _fits(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    return len(path) == len(pattern) and all(
        fnmatch.fnmatchcase(p, q) or fnmatch.fnmatchcase(p, q + ".gz") for p, q in zip(path, pattern, strict=True)
    )


def _places(hits: list[Source]) -> int:
    """Count the folders, in and outside archives, that hold the hits."""
    return len({(s.path, PurePosixPath(s.member).parent) if s.member else (s.path.parent, None) for s in hits})


def wanted(card: DatasetCard, variant: str | None, split: str) -> list[tuple[OfficialFile, str]]:
    """Return the card's files for a variant and split, each with its pattern filled in."""
    return [
        (file, file.path.replace("{split}", card.splits.get(split, split)))
        for file in card.files
        if file.variant in (None, variant) and (not file.splits or split in file.splits)
    ]


def locate(card: DatasetCard, tree: Tree, variant: str | None, split: str, problems: Problems) -> Files:
    """Find every file a split needs. Raises ``DatasetError``: which patterns matched nothing, or more than they should."""
    found: dict[str, list[Source]] = {}
    asked = wanted(card, variant, split)
    if not asked:
        raise DatasetError(
            f"{card.slug}: the card names no files for split '{split}'"
            + (f" of variant '{variant}'" if variant else "")
        )
    for file, pattern in asked:
        hits = tree.match(pattern)
        if not hits and not file.optional:
            raise AbsentFile(_absent(card, tree, file, pattern))
        above, _, name = pattern.rpartition("/")
        if "*" not in above and (_places(hits) if "*" in name else len(hits)) > 1:
            raise DatasetError(
                f"{card.slug}: {pattern} is ambiguous, found: {', '.join(str(h) for h in hits[:5])}; point root at one of them"
            )
        found[file.role] = found.get(file.role, []) + hits
    return Files(variant, found, problems)


def _absent(card: DatasetCard, tree: Tree, file: OfficialFile, pattern: str) -> str:
    if not tree.root.is_dir():
        return f"{card.slug}: no folder {tree.root} (root is the folder with the official files; from {card.homepage or card.owner})"
    present = ["/".join(parts) for parts, _, _ in tree.files()[:6]]
    seen = ", ".join(present) + (" ..." if len(tree.files()) > 6 else "") if present else "nothing"
    return (
        f"{card.slug}: no {file.role} file '{pattern}' in {tree.root} or up to {LEVELS} levels below; "
        f"found there: {seen}. Official files: {card.homepage or card.owner}"
    )

"""Find a dataset's official files below a folder, packed or not; say what was looked for when they are not there."""

from __future__ import annotations

import fnmatch
import glob
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from healthfm.cards.schema import DatasetCard, Labels, OfficialFile
from healthfm.cards.schema.dataset import OR
from healthfm.errors import BadValue, CardError, DatasetError
from healthfm.formats import archive
from healthfm.formats.source import Problems, Source, plain_name
from healthfm.records import MISSING, UNCERTAIN, Label

SHOWN = 6  # up to how many of the card's codes an error names them
SHADOW = (
    "._"  # what macOS puts beside each file that it copies or packs: not a file of the set, whatever its name ends in
)
LEVELS = 3  # how far below the folder given the official tree may begin


class AbsentFile(DatasetError):
    """No file answers to one of the card's patterns: the split is not here."""


Entry = tuple[tuple[str, ...], str, str | None]


@dataclass
class Files:
    """The official files of one variant and split, by role. ``files["questions"]`` is the one file of that role.

    ``card`` is the dataset's, with the label spaces of this variant; ``label`` and ``answer`` say what a raw value means by it.
    """

    card: DatasetCard
    variant: str | None
    found: Mapping[str, list[Source]]
    problems: Problems = field(default_factory=Problems)
    met: dict[tuple[str, str], str | None] = field(
        default_factory=dict
    )  # classes of values that were asked for, by space

    def __getitem__(self, role: str) -> Source:
        sources = self.all(role)
        if len(sources) != 1:
            raise DatasetError(
                f"{len(sources)} files serve as '{role}', one was expected: {', '.join(map(str, sources[:5]))}"
            )
        return sources[0]

    def all(self, role: str) -> list[Source]:
        """Return every file of a role, sorted by name."""
        shared = any(
            file.role == role and "{split}" not in file.path and len(file.splits or self.card.splits) > 1
            for file in self.card.files
            if file.variant in (None, self.variant)
        )
        return [Source(s.path, s.member, self.problems, shared=shared) for s in self.found.get(role, [])]

    def space(self, name: str) -> Labels:
        """Return the card's label space of this name. Raises ``CardError``: it has none of that name for this variant."""
        found = next((one for one in self.card.labels if one.name == name), None)
        if found is None:
            known = ", ".join(one.name for one in self.card.labels) or "none"
            raise CardError(f"{self.card.slug}: its reader needs the label space '{name}' (on the card: {known})")
        return found

    def label(self, space: str, raw: Any) -> Label:
        """Return the label that the owner's raw value means by the card: ``MISSING`` where there is none, ``UNCERTAIN`` where it is left open.

        A class for its code or name, the set of them for a list where the space is multi-label, a number, or text.
        Raises ``BadValue``: the card does not know the value.
        """
        found = self.space(space)
        if found.kind == "multi-label" and isinstance(raw, list | tuple | set | frozenset):
            several = [_class_of(one, found) for one in raw]
            if None in several:
                raise BadValue(f"'{space}' has an entry that holds nothing")
            return frozenset(one for one in several if one is not None)
        if found.uncertain and _plain(raw) in found.uncertain:
            return UNCERTAIN
        one = _class_of(raw, found)
        if one is None or found.kind != "multi-label":
            return MISSING if one is None else _number(one, found) if found.kind == "number" else one
        return frozenset({one})

    def one(self, space: str, raw: Any) -> str:
        """Return the one class that a raw value means. Raises ``BadValue``: it means none, or the card does not know it."""
        found = self.answer(space, raw)
        if found is None:
            raise BadValue(f"'{space}' holds nothing")
        return found

    def answer(self, space: str, raw: Any) -> str | None:
        """Return the class that a raw value means, as the answer to a question: None where it is withheld."""
        if type(raw) is not str:
            return _class_of(raw, self.space(space))
        if (space, raw) not in self.met:
            named = self.space(space)
            found = _class_of(raw, named)
            if not named.classes:  # any text: there may be as many as rows
                return found
            self.met[space, raw] = found
        return self.met[space, raw]


def _class_of(raw: Any, space: Labels) -> str | None:
    """Return the class of a raw code or name, None for an empty one or one that the card calls missing; never guess a spelling."""
    if isinstance(raw, Mapping | list | tuple | set | frozenset):
        raise BadValue(f"'{space.name}' has several values where one is needed")
    text = _plain(raw)
    if not text or raw != raw or text in space.missing:
        return None
    named = next((one for one, code in space.codes.items() if code == text), text)
    if space.classes and named not in space.classes:
        known = list(space.codes.values()) or list(space.classes)
        shown = ", ".join(known) if len(known) <= SHOWN else f"{len(known)} others"
        of = f" of variant {space.variant}" if space.variant else ""
        raise BadValue(f"'{space.name}' has a value that the card{of} does not know (it knows {shown})")
    return named


def _plain(raw: Any) -> str:
    """Return a raw value as the card writes it: a column with gaps holds 1.0 for 1."""
    whole = not isinstance(raw, str | bool) and hasattr(raw, "is_integer") and raw.is_integer()
    return "" if raw is None else str(int(raw) if whole else raw).strip()


def _number(text: str, space: Labels) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise BadValue(f"'{space.name}' is no number")
    return found


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
                    if name.startswith(SHADOW):
                        continue
                    path = os.path.join(place, name)  # noqa: PTH118  a Path a file is slow in a tree of a million
                    found.append(((*above, name), path, None))
                    if len(above) < LEVELS and archive.is_archive(name):
                        members = [
                            m for m in archive.members(Path(path)) if not m.rpartition("/")[2].startswith(SHADOW)
                        ]
                        found += [((*above, *m.split("/")), path, m) for m in members]
            self._files = found
        return self._files

    def match(self, pattern: str) -> list[Source]:
        """Return the sources that ``pattern`` means: at the root or up to three levels below, else from inside the tree.

        The shallowest level with a match wins, and an unpacked file wins over the same path inside an archive. A pattern
        ``a/b/c.json`` also finds ``b/c.json`` and ``c.json`` at the root itself, for a user who points into the official
        tree. A file that stands where the card says is found without listing the folder. Of several patterns, " | " between
        them, the first that means anything is taken.
        """
        return next((hits for one in pattern.split(OR) if (hits := self._match(one))), [])

    def _match(self, pattern: str) -> list[Source]:
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
        fnmatch.fnmatchcase(p, q) or (p != plain_name(p) and fnmatch.fnmatchcase(plain_name(p), q))
        for p, q in zip(path, pattern, strict=True)
    )


def official(pattern: str) -> str:
    """Return the owner's own place of a file, without those of copies."""
    return pattern.split(OR)[0]


def fitting(path: str) -> str:
    """Return the pattern that means a path and no other."""
    return glob.escape(path)


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
        pattern = next((one for one in pattern.split(OR) if tree.match(one)), pattern)
        above, _, name = pattern.rpartition("/")
        if "*" not in above and (_places(hits) if "*" in name else len(hits)) > 1:
            raise DatasetError(
                f"{card.slug}: {pattern} is ambiguous, found: {', '.join(str(h) for h in hits[:5])}; point root at one of them"
            )
        found[file.role] = found.get(file.role, []) + hits
    return Files(card, variant, found, problems)


def _absent(card: DatasetCard, tree: Tree, file: OfficialFile, pattern: str) -> str:
    if not tree.root.is_dir():
        return f"{card.slug}: no folder {tree.root} (root is the folder with the official files; from {card.homepage or card.owner})"
    present = ["/".join(parts) for parts, _, _ in tree.files()[:6]]
    seen = ", ".join(present) + (" ..." if len(tree.files()) > 6 else "") if present else "nothing"
    return (
        f"{card.slug}: no {file.role} file '{official(pattern)}' in {tree.root} or up to {LEVELS} levels below; "
        f"found there: {seen}. Official files: {card.homepage or card.owner}"
    )

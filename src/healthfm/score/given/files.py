"""The user's files of masks by the record they are for: one a record, or a folder a record with one a label."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from healthfm.errors import RunError
from healthfm.formats import image, volume
from healthfm.formats.source import Source
from healthfm.records import Record
from healthfm.spelling import fold

INDEX = "dataset.json"  # nnU-Net's and the Decathlon's file, whose labels say which value of a mask is which
SUFFIXES = (".nii", ".mha", ".mhd", ".nrrd", *image.SUFFIXES)
ENDINGS = re.compile(r"(?:\.(?:nii|hdr|mha|mhd|nrrd|png|jpe?g|bmp|tiff?))?(?:\.(?:gz|bz2|zst))?$", re.IGNORECASE)
TAILS = re.compile(r"_0000$")  # of the first channel of an image, which its mask's name lacks
NAMED = 5


@dataclass(frozen=True)
class Files:
    """What was given for one record: a file with everything (``whole``), or one a label (``parts``)."""

    whole: Source | None = None
    parts: Mapping[str, Source] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.whole is not None or bool(self.parts)


@dataclass
class Folder:
    """A folder of masks. ``values``: the value of each label by the folder's ``dataset.json``, {} without one; ``used``: files that a record took."""

    path: Path
    found: Mapping[str, Source]
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    @functools.cached_property
    def _named(self) -> dict[str, set[str]]:
        """The files by their name, with and without the folders they stand in."""
        held = dict[str, set[str]]()
        for name in self.found:
            for key in {name, PurePosixPath(name).name}:
                held.setdefault(key, set()).add(name)
        return held

    @functools.cached_property
    def _below(self) -> dict[str, list[str]]:
        """The files by each folder that they stand in, however deep."""
        held = dict[str, list[str]]()
        for name in self.found:
            for one in PurePosixPath(name).parents:
                held.setdefault(str(one), []).append(name)
        return held

    def of(self, record: Record, labels: Collection[str]) -> Files:
        """Return what is there for a record. Raises ``RunError``: two files that could both be meant."""
        keys = names(record)
        whole = sorted(set[str]().union(*(self._named.get(key, ()) for key in keys)))
        if len(whole) > 1:
            one, other = (self.found[name] for name in whole[:2])
            raise RunError(f"{one} and {other}: both are named after {record.id}; keep one")
        if whole:
            self.used |= set(whole)
            return Files(self.found[whole[0]])
        spelled = {fold(one): one for one in labels}
        parts: dict[str, Source] = {}
        for name in (name for key in sorted(keys) for name in self._below.get(key, ())):
            label = spelled.get(fold(PurePosixPath(name).name))
            if label is not None and label in parts:
                raise RunError(f"{self.found[name]} and {parts[label]}: both are '{label}' of {record.id}; keep one")
            if label is not None:
                parts[label] = self.found[name]
                self.used.add(name)
        return Files(parts=parts)

    def unused(self) -> list[str]:
        """Return the names of files that no record took."""
        return [str(self.found[name].path.relative_to(self.path)) for name in self.found if name not in self.used]


def folder(path: Path) -> Folder:
    """Return the masks of a folder. Raises ``RunError``: it holds none."""
    found: dict[str, Source] = {}
    for one in sorted(path.rglob("*")):
        source = Source(one)
        relative = one.relative_to(path)
        if not source.name.lower().endswith(SUFFIXES) or any(part.startswith(".") for part in relative.parts):
            continue
        name = str(PurePosixPath(*relative.parts[:-1], stem(one.name)))
        if name in found:
            raise RunError(f"{one} and {found[name]}: the same name twice; keep one")
        found[name] = source
    if not found:
        raise RunError(f"{path}: no mask in this folder ({', '.join((*volume.SUFFIXES, *image.SUFFIXES))})")
    return Folder(path, found, _values(path / INDEX))


def _values(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the values of each label, as nnU-Net ({name: value or values}) or the Decathlon ({value: name}) writes them."""
    if not path.is_file():
        return {}
    try:
        labels = json.loads(path.read_text())["labels"]
        pairs = [(key, one) if not str(key).isdigit() else (one, key) for key, one in labels.items()]
        return {
            str(name): tuple(f"{float(v):g}" for v in _listed(value))
            for name, value in pairs
            if str(name) != "background"
        }
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        raise RunError(f"{path}: no 'labels' with a value for each name, as nnU-Net writes them") from None


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else [value]


def stem(name: str) -> str:
    """Return a file's name without its endings (.nii.gz, .png)."""
    return ENDINGS.sub("", name)


def names(record: Record) -> set[str]:
    """Return the names that a file of this record may have: its id, with and without an ending, and its image's file's."""
    known = {record.id, stem(record.id), *(stem(one.name) for one in sources(getattr(record, "load", None)))}
    return known | {TAILS.sub("", one) for one in known}


def sources(load: Any) -> Iterator[Source]:
    """Yield the files that a record's pixels are loaded from, as far as its loader holds them."""
    if isinstance(load, functools.partial):
        for held in (*load.args, *load.keywords.values()):
            yield from sources(held)
    elif isinstance(load, list | tuple):
        for one in load:
            yield from sources(one)
    elif isinstance(load, Source):
        yield load


def some(found: Collection[str]) -> str:
    """Return the first of these names, and how many more there are."""
    first = ", ".join(sorted(found)[:NAMED])
    return first + (f" and {len(found) - NAMED:,} more" if len(found) > NAMED else "")


def told(problems: Sequence[str]) -> str:
    """Return, for the end of an error, that files of the set itself could not be read, and the first of why."""
    return f"; {len(problems)} of the set's own could not be read, the first: {problems[0]}" if problems else ""

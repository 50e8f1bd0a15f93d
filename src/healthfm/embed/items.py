"""What to embed: paths, folders, globs, manifests, datasets by name; each item with an id that is unique in its run."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from healthfm.datasets import media
from healthfm.datasets.dataset import Dataset
from healthfm.datasets.open import open_dataset
from healthfm.datasets.own import contents
from healthfm.embed import identity
from healthfm.errors import DatasetError
from healthfm.formats import image, table
from healthfm.formats.dicom import file as dicom
from healthfm.formats.slide import files as slide_files
from healthfm.formats.slide import pyramid as slide
from healthfm.formats.source import Source, plain_name
from healthfm.formats.walk import BELONGS, Entry, Passed, by_name, told, walk
from healthfm.records import Record, TextRecord, Visual

TEXTS = (".txt",)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to embed: a path, a text, an array, a PIL image, or a record. ``stamp`` tells cheaply when a file has changed."""

    id: str
    content: Any
    stamp: tuple[Any, ...] = ()


@dataclass
class Items:
    """What the arguments mean: the items in order, (id, problem) of what cannot be one, (file, reason) of what is passed over."""

    found: list[Item] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)

    def add(self, item: Item) -> None:
        """Take an item in; one whose id is there already becomes a problem."""
        if item.id in self._ids:
            self.problems.append((item.id, "the id occurs twice; the first is kept"))
            return
        self._ids.add(item.id)
        self.found.append(item)

    @classmethod
    def of(cls, items: Iterable[Item]) -> Items:
        """Take in all of these."""
        made = cls()
        for item in items:
            made.add(item)
        return made

    def __post_init__(self) -> None:
        self._ids = {item.id for item in self.found}


def gather(
    words: Sequence[str | Path | Dataset], texts: bool, root: Path | None = None, split: str | None = None,
    columns: Mapping[str, Any] | None = None,
) -> Items:  # fmt: skip
    """Return what the arguments mean. ``texts``: .txt files are wanted of a folder, not pictures and slides.

    A word is a file, a folder (all files below it that the model takes, in order of their names; the others are passed over, and
    ``passed`` says why), a glob, a manifest (CSV,
    TSV, Parquet, JSONL), a folder with a ``dataset.toml``, or the name of a dataset (``root``, ``split``). Ids are paths below a folder and
    the ids of records; of several words, paths as given, and the word before a record's id. Raises ``DatasetError`` where a word
    means nothing, or nothing at all is found.
    """
    items = Items()
    for word in words:
        for item in _of_word(word, texts, root, split, columns, items, len(words) > 1):
            items.add(item)
    if not items.found and not items.problems:
        why = told(items.passed)
        raise DatasetError(f"nothing to embed in {', '.join(map(str, words))}{f': {why}' if why else ''}")
    return items


def _of_word(
    word: str | Path | Dataset, texts: bool, root: Path | None, split: str | None, columns: Mapping[str, Any] | None,
    items: Items, several: bool,
) -> Iterator[Item]:  # fmt: skip
    path = Path(word).expanduser() if isinstance(word, str | Path) else None
    if isinstance(word, Dataset) or path is None:
        yield from _of_dataset(word, split, items, word.name if several else "")  # type: ignore[arg-type,union-attr]
    elif path.is_dir() and not (path / "dataset.toml").is_file():
        yield from _of_entries(walk(path), texts, items, None if several else path)
    elif path.exists() and (path.is_dir() or path.name == "dataset.toml" or _is_table(path)):
        opened = open_dataset(path, split=split, on_error="collect", columns=columns)
        yield from _of_dataset(opened, None, items, path.as_posix() if several else "")
    elif path.is_file():
        yield of_file(path, path.as_posix())
    elif glob.has_magic(str(path)):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if not matches:
            raise DatasetError(f"no file fits {word}")
        yield from _of_entries([Entry(Path(match), by_name(Path(match).name)) for match in matches], texts, items, None)
    elif (
        isinstance(word, Path)
        or "/" in word
        or path.suffix.lower() in (*image.SUFFIXES, *slide.SLIDE_ONLY, *TEXTS, *table.SUFFIXES)
    ):
        raise DatasetError(f"no file or folder {word}")
    else:
        yield from _of_dataset(
            open_dataset(word, root, split, on_error="collect"), None, items, word if several else ""
        )


def _of_entries(entries: Iterable[Entry], texts: bool, items: Items, below: Path | None) -> Iterator[Item]:
    """Yield what can be embedded of files, named as they are or by their path ``below`` a folder; note the others."""
    taken: set[Path] = set()
    entries = list(entries)
    stands = slide_files.stands([one.path for one in entries if one.reason is None and one.problem is None])
    for path, reason, problem in entries:
        place = stands.get(path)
        if place is not None and place not in taken:
            taken.add(place)
            yield of_file(place, (place if below in (None, place) else place.relative_to(below)).as_posix())
            continue
        name = (path if below is None else path.relative_to(below)).as_posix()
        reason = reason or (BELONGS if place is not None else None if problem else contents.unfit(path, texts))
        if problem is not None:
            items.problems.append((name, problem))
        elif reason is not None:
            items.passed.append((name, reason))
        else:
            yield of_file(path, name)


def _is_table(path: Path) -> bool:
    return plain_name(path.name).lower().endswith(table.SUFFIXES)


def of_file(path: Path, name: str) -> Item:
    """Return the item of a file: its path, or the record it becomes where it is no plain picture or text."""
    stamp = identity.stamp(path)
    tiff = path.suffix.lower() in slide_files.TIFF and slide_files.is_slide_tiff(path)
    plain = path.suffix.lower() in TEXTS or (
        path.suffix.lower() in image.SUFFIXES and not tiff and not dicom.holds_dicom(path)
    )
    kind = None if plain else media.kind_of(path)
    if kind is None:
        return Item(name, path, stamp)
    return Item(name, media.VISUAL[kind](id=name, **media.fields_of(kind, Source(path))), stamp)


def _of_dataset(opened: Dataset, split: str | None, items: Items, before: str) -> Iterator[Item]:
    """Yield a dataset's items; ``before`` (unless empty) and, of several splits, the split stand before a record's id."""
    chosen = opened[split] if split is not None else opened
    for record in chosen:
        several = len(chosen.selected) > 1
        item = of_record(
            record, "/".join(part for part in (before, record.split if several else "", record.id) if part)
        )
        yield replace(item, stamp=(*item.stamp, opened.name, str(opened.root)))
    items.problems += [("", str(error)) for error in chosen.errors]
    items.passed += chosen.passed_over


def of_record(record: Record, name: str | None = None) -> Item:
    """Return the item of a record; a text record stands for its text."""
    if isinstance(record, TextRecord):
        return Item(name or record.id, record.as_text, (record.digest(),))
    place = identity.origin(record)
    if place is None and not isinstance(record, Visual):
        return Item(name or record.id, record, (identity.of_record(record),))
    return Item(name or record.id, record, identity.stamp(place) if place is not None else ())


def of_contents(contents: Iterable[Any]) -> list[Item]:
    """Return items of records and paths, and of texts, arrays and pictures, numbered."""
    return [_of_content(number, one) for number, one in enumerate(contents)]


def _of_content(number: int, one: Any) -> Item:
    if isinstance(one, Record):
        return of_record(one)
    if isinstance(one, Path):
        return of_file(one, one.as_posix()) if one.exists() else Item(one.as_posix(), one)
    data = one.encode() if isinstance(one, str) else np.ascontiguousarray(one).tobytes()
    return Item(str(number), one, (hashlib.sha256(data).hexdigest()[:16],))

"""Pictures of a benchmark, and of what is searched: those of a dataset, or all below a folder. One is held at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from healthfm.datasets import media
from healthfm.datasets.dataset import Dataset
from healthfm.errors import DatasetError
from healthfm.formats.source import Problems, Source
from healthfm.formats.walk import files
from healthfm.records import Image, Record

PAPER = re.compile(r"PMC\d+")


class Picture(NamedTuple):
    """A picture by the record it is of: ``load`` decodes it (None: it is not here), ``figure`` names it as its paper's archive does."""

    name: str
    load: Callable[[], npt.NDArray[Any]] | None
    figure: str | None

    @property
    def paper(self) -> str | None:
        """The PMCID of the paper it stands in."""
        found = PAPER.match(self.figure or "")
        return found[0] if found else None


def pictures_of(record: Record, name: str | None = None) -> Iterator[Picture]:
    """Yield the pictures of a record: its own, those that a text goes with, or the name alone of a figure that is not here."""
    figure = str(record.meta["figure"]) if record.meta.get("figure") else None
    here = [one for one in (record, *getattr(record, "media", ())) if isinstance(one, Image)]
    for one in here:
        yield Picture(name or record.id, one.load, figure)
    if figure and not here:
        yield Picture(name or record.id, None, figure)


@dataclass
class Gallery:
    """Pictures to search, read once. ``skipped`` (files that are no pictures) and ``problems`` (pictures not read) fill meanwhile."""

    origin: Path | Dataset
    skipped: list[str] = field(default_factory=list)
    problems: Problems = field(default_factory=lambda: Problems("collect"))
    files: int = 0

    def __iter__(self) -> Iterator[Picture]:
        if isinstance(self.origin, Dataset):
            for split in self.origin.selected:
                for record in self.origin[split]:
                    yield from pictures_of(record, f"{split}/{record.id}")
            return
        for path in _below(self.origin):
            name = path.relative_to(self.origin).as_posix() if path != self.origin else path.name
            if media.kind_of(path) != "Image":
                self.skipped.append(name)
                continue
            self.files += 1
            yield Picture(
                name, media.fields_of("Image", Source(path))["load"], path.stem if PAPER.match(path.stem) else None
            )


def holds_pictures(place: Path | Dataset) -> bool:
    """Whether there is a picture to search, or the name of a figure: of a dataset, in its first record that says so."""
    if isinstance(place, Dataset):
        return any(True for split in place.selected for record in _some(place[split]) for _ in pictures_of(record))
    return any(media.kind_of(path) == "Image" for path in _below(place))


def _some(records: Iterable[Record], count: int = 50) -> Iterator[Record]:
    """Yield the first records: a set has pictures or has none, though some of its records may lack theirs."""
    for record, _ in zip(records, range(count), strict=False):
        yield record


def _below(place: Path) -> Iterator[Path]:
    place = place.expanduser()
    yield from [place] if place.is_file() else files(place)


def decoded(picture: Picture, problems: Problems) -> npt.NDArray[Any] | None:
    """Return a picture's pixels; None where there are none, or they cannot be decoded, which is noted."""
    try:
        return None if picture.load is None else picture.load()
    except DatasetError as error:
        problems.add(error)
        return None

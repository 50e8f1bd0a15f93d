"""The generators that read official files, by the slug of their card."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from healthfm.cards import catalog
from healthfm.cards.schema import DatasetCard
from healthfm.datasets.locate import Files
from healthfm.errors import CardError, DatasetError
from healthfm.formats.source import Source
from healthfm.records import KINDS, Record

T = TypeVar("T")
Reader = Callable[[Files, str], Iterator[Record]]
READERS: dict[str, Reader] = {}


def dataset(slug: str, *, record: type[Record]) -> Callable[[Reader], Reader]:
    """Register a generator ``(files, split) -> records`` as the reader of the card ``slug``."""

    def register(reader: Reader) -> Reader:
        if slug in READERS:
            raise CardError(f"'{slug}' already has a reader")
        reader.record = record  # type: ignore[attr-defined]
        READERS[slug] = reader
        return reader

    return register


def reader_of(card: DatasetCard) -> Reader:
    """Return the registered reader of a card. Raises ``DatasetError`` when the row has none yet, ``CardError`` when the card names one that is not there."""
    if card.reader is None:
        raise DatasetError(
            f"{card.slug}: healthfm has no reader for this dataset yet (healthfm show {card.slug} says what is known)"
        )
    record_kind(card)
    home = f"healthfm.datasets.readers.{card.reader}"
    if importlib.util.find_spec(home) is None:
        raise CardError(f"{_file(card)}: reader: there is no module {home}")
    importlib.import_module(home)
    if card.slug not in READERS:
        raise CardError(f'{_file(card)}: reader: {home} has no generator @dataset("{card.slug}", record=...)')
    return READERS[card.slug]


def _file(card: DatasetCard) -> str:
    return str(catalog.lookup(card.slug, "dataset")["path"])


def one_by_one(sources: Iterable[Source], read: Callable[[Source], Iterator[T]]) -> Iterator[T]:
    """Yield what each of several files holds; one that is no such file, or ends in damage, is a problem and the next is read."""
    for source in sources:
        try:
            yield from read(source)
        except DatasetError as error:
            source.problems.add(error)


def borrowed(slug: str, variant: str | None = None) -> Reader:
    """Return a reader for a suite's part that is another row: that row's own reader, by that row's own label spaces."""

    def read(files: Files, split: str) -> Iterator[Record]:
        card = catalog.card(slug, "dataset")
        assert isinstance(card, DatasetCard)
        return reader_of(card)(replace(files, card=card.of_variant(variant), variant=variant), split)

    return read


def record_kind(card: DatasetCard) -> type[Record]:
    """Return the record class a card names. Raises ``CardError`` when there is none of that name."""
    try:
        return KINDS[card.record]
    except KeyError:
        raise CardError(f"{_file(card)}: record: '{card.record}' is not one of {', '.join(KINDS)}") from None

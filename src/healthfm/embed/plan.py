"""The plan of a run: which units there are, in which part each belongs, and which have no vector yet."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.embed.items import Item
from healthfm.embed.tiles import is_tiled, open_tiles
from healthfm.embed.units import Unit, told
from healthfm.engine.store import RunFolder
from healthfm.errors import HealthfmError, MissingExtra
from healthfm.models.model import Float32, Model
from healthfm.models.vision.transform import is_square

ROOM = "embeddings"
UNITS_PER_PART = 128
PLACES = 10_000_000  # units an item can have; part number = item * PLACES + first unit
SCHEMA = pa.schema([
    ("id", pa.string()), ("number", pa.int32()), ("of", pa.int32()), ("x", pa.int64()), ("y", pa.int64()),
    ("digest", pa.string()), ("embedding", pa.list_(pa.float32())), ("problem", pa.string()),
])  # fmt: skip


class Plan:
    """Which units there are, and which of them have no vector yet. A pure function of the items and ``size``, the units of a part.

    Single pictures and texts share parts; a slide has its own, so that its tiles need not be counted before it is opened.
    ``mpp``, ``coords``: which tiles a slide has (``tiles.open_tiles``).
    """

    def __init__(
        self, items: Sequence[Item], model: Model, mpp: float | None, folder: RunFolder, size: int = UNITS_PER_PART,
        coords: Path | None = None,
    ) -> None:  # fmt: skip
        self.items, self.model, self.mpp, self.folder, self.size, self.coords = items, model, mpp, folder, size, coords
        self.published = folder.published(ROOM)
        self.kept: dict[int, pa.Table] = {}  # parts some of whose units are tried again
        self.total = len(items)  # units to be made, as far as they are known: a slide is one until it is open

    def units(self, todo: bool = True) -> Iterator[Unit]:
        """Yield units in order; with ``todo`` only those that have no vector yet."""
        self.total = len(self.items)
        for slide, group in itertools.groupby(enumerate(self.items), lambda one: is_tiled(one[1], self.model)):
            if slide:
                for index, item in group:
                    yield from self._of_slide(index, item, todo)
            else:
                numbered = list(group)
                for start in range(0, len(numbered), self.size):
                    some = numbered[start : start + self.size]
                    part = some[0][0] * PLACES
                    yield from self._of_part([Unit(item, item.content, part=part) for _, item in some], part, todo)

    def _of_part(self, units: list[Unit], part: int, todo: bool) -> Iterator[Unit]:
        """Yield a part's units (those that failed, where it is published), the last one marked."""
        if todo and part in self.published:
            failed = [row for row, bad in enumerate(self._failed(part)) if bad]
            if not failed:
                self.total -= len(units)
                return
            table = self.folder.part(part, ROOM)
            if table.num_rows == len(units):
                self.kept[part] = table
                self.total -= len(units) - len(failed)
                units = [units[row] for row in failed]
        yield from units[:-1]
        yield replace(units[-1], last=True)

    def _of_slide(self, index: int, item: Item, todo: bool) -> Iterator[Unit]:
        first = index * PLACES
        if todo and first in self.published and self._whole(first):
            self.total -= 1
            return
        try:
            bag = open_tiles(item, self.model, self.mpp, self.coords)
        except MissingExtra:
            raise
        except HealthfmError as error:
            yield Unit(item, None, of=0, part=first, last=True, problem=told(item, error))
            return
        count = len(bag.places)
        self.total += count - 1

        def units() -> Iterator[Unit]:
            for start in range(0, count, self.size):
                some = [
                    Unit(
                        item,
                        functools.partial(bag.load, i),
                        i,
                        count,
                        tuple(bag.places[i].tolist()),
                        first + start,
                        notice=bag.notice,
                    )
                    for i in range(start, min(start + self.size, count))
                ]
                yield from self._of_part(some, first + start, todo)

        yield from _closing(units(), bag.close)

    def _whole(self, first: int) -> bool:
        """Say whether every tile of a slide has its vector, by its parts alone."""
        parts = self._parts(first)
        return bool(parts) and all(p in self.published and not any(self._failed(p)) for p in parts)

    def begun(self, index: int) -> bool:
        """Say whether tiles of a slide were made before."""
        return index * PLACES in self.published and bool(self._parts(index * PLACES))

    def _parts(self, first: int) -> list[int]:
        """Return the parts of a slide whose first one is published; none where it could not be opened."""
        of = self.folder.part(first, ROOM, ["of"])["of"][0].as_py()
        return [first + start for start in range(0, of, self.size)]

    def _failed(self, part: int) -> list[bool]:
        """Say for each row of a published part whether it has no vector; the vectors are not read."""
        return [one is not None for one in self.folder.part(part, ROOM, ["problem"])["problem"].to_pylist()]

    def vectors(self, index: int) -> pa.Table | None:
        """Return the rows of a slide's tiles that have a vector, in order, once the run is finished; None where none has."""
        parts = [self.folder.part(part, ROOM) for part in self._parts(index * PLACES)]
        rows = [part.filter(pa.compute.is_null(part["problem"])) for part in parts]
        return pa.concat_tables(rows) if any(part.num_rows for part in rows) else None


def _closing(units: Iterator[Unit], close: Callable[[], None]) -> Iterator[Unit]:
    """Yield units, the last of them with ``close``; without any, close at once."""
    last = None
    for unit in units:
        if last is not None:
            yield last
        last = unit
    if last is None:
        close()
    else:
        yield replace(last, close=close)


def items_digest(items: Sequence[Item]) -> str:
    """Return the digest of a list of items: their ids, and what tells that a file has changed."""
    return hashlib.sha256(json.dumps([[item.id, *item.stamp] for item in items]).encode()).hexdigest()[:16]


def batches(units: Iterable[Unit], pictures: int, texts: int) -> Iterator[list[Unit]]:
    """Yield neighbours that can be computed together: up to ``pictures`` of one shape, or ``texts``, in one part."""
    batch: list[Unit] = []
    for unit in units:
        most = texts if batch and _shape(batch[0]) == [None] else pictures
        if batch and (len(batch) >= most or batch[0].part != unit.part or _shape(batch[0]) != _shape(unit)):
            yield batch
            batch = []
        batch.append(unit)
    if batch:
        yield batch


def _shape(unit: Unit) -> Any:
    """Return the shapes of a unit's inputs, a film's without decoding; texts go together whatever their length."""
    if unit.inputs is None:
        return None
    if hasattr(unit.inputs, "shape"):
        return [unit.inputs.shape]
    return [one.shape if getattr(one, "ndim", 0) > 1 else None for one in unit.inputs]


def merged(kept: pa.Table | None, units: Sequence[Unit]) -> pa.Table:
    """Return a part: its units, or the part as it was with the units that were tried again in their places.

    The table's metadata holds, where there are any, the ids of blank volumes ("blank") and of texts that were cut ("cut"), by id the ratio
    of pixels that were made square ("square"), the ids of which something was said, by what it was ("notices"), and what is said of a
    slide ("slides").
    """
    columns = {
        "id": [u.item.id for u in units], "number": [u.number for u in units], "of": [u.of for u in units],
        "x": [u.place[0] if u.place else None for u in units], "y": [u.place[1] if u.place else None for u in units],
        "digest": [u.digest if u.problem is None else None for u in units], "embedding": [u.vector for u in units],
        "problem": [u.problem for u in units],
    }  # fmt: skip
    said = notices_of(kept) if kept is not None else {}
    for unit in units:
        for notice in unit.notices:
            said.setdefault(notice, []).append(unit.item.id)
    noted: dict[str, Any] = {
        what: [*(ids_of(kept, what) if kept is not None else []), *(u.item.id for u in units if getattr(u, what))]
        for what in ("blank", "cut")
    }  # fmt: skip
    before = squared_of(kept) if kept is not None else {}
    noted["notices"] = said
    noted["slides"] = {
        **(slides_of(kept) if kept is not None else {}), **{u.item.id: u.notice for u in units if u.notice},
    }  # fmt: skip
    noted["square"] = {**before, **{u.item.id: u.ratio for u in units if not is_square(u.ratio)}}
    metadata = {name: json.dumps(value) for name, value in noted.items() if value}
    table = pa.table(columns, schema=SCHEMA.with_metadata(metadata) if metadata else SCHEMA)
    if kept is None:
        return table
    fresh = iter(range(table.num_rows))
    order = [
        row if problem is None else kept.num_rows + next(fresh)
        for row, problem in enumerate(kept["problem"].to_pylist())
    ]
    both = pa.concat_tables([kept.replace_schema_metadata(table.schema.metadata), table])
    return both.take(order).combine_chunks()


def matrix(table: pa.Table) -> Float32:
    """Return the column ``embedding`` as float32 [n, d]."""
    values = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float32).reshape(table.num_rows, -1)


def ids_of(part: pa.Table, what: str) -> list[str]:
    """Return the ids of a part's items that are "blank" (volumes all black or all white) or were "cut" (texts)."""
    return list(json.loads((part.schema.metadata or {}).get(what.encode(), b"[]")))


def slides_of(part: pa.Table) -> dict[str, str]:
    """Return what is to be said of the slides of a part, by id."""
    return dict(json.loads((part.schema.metadata or {}).get(b"slides", b"{}")))


def squared_of(part: pa.Table) -> dict[str, float]:
    """Return, by id, the height over width of the pixels of a part's pictures that were made square."""
    return dict(json.loads((part.schema.metadata or {}).get(b"square", b"{}")))


def notices_of(part: pa.Table) -> dict[str, list[str]]:
    """Return what was said while the items of a part were decoded, and of which it was said, by their ids."""
    return dict(json.loads((part.schema.metadata or {}).get(b"notices", b"{}")))

"""Vectors of any contents at once, each computed once on this machine: what probes, retrieval and attention pooling call."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from healthfm.embed import check, engines, first
from healthfm.embed.engines import Network
from healthfm.embed.items import of_contents, of_record
from healthfm.embed.key import key_of
from healthfm.embed.plan import UNITS_PER_PART, batches
from healthfm.embed.preparer import Preparer
from healthfm.embed.run import finite, readers
from healthfm.embed.shared import Shared
from healthfm.embed.tiles import open_tiles
from healthfm.embed.units import Unit
from healthfm.engine.pipeline import Clock, ordered
from healthfm.errors import RunError
from healthfm.formats import notices
from healthfm.models.model import Float32, Model
from healthfm.models.vision import pictures, transform
from healthfm.records import Slide, Visual, Volume


class Embedder:
    """A model's vectors of records, paths, texts or arrays, in its own precision; what was computed before is found (``shared``).

    ``settled``: the ``facts`` of an embedder before, whose work this one goes on with: its arithmetic is not checked again.
    """

    def __init__(self, model: Model, engine: str = "auto", settled: Mapping[str, Any] | None = None) -> None:
        self.model, self.engine, self.settled = model, engine, settled
        self._network: Network | None = None
        self._shared = Shared(None)
        self._prepare = Preparer(model, Clock())

    @property
    def facts(self) -> dict[str, Any]:
        """After the first call: engine, precision, and the check against torch's float32."""
        return {} if self._network is None else {**self._network.facts, "check": self._network.check}

    def __call__(self, contents: Sequence[Any]) -> Float32:
        """Return the vectors, float32 [n, d]. Raises ``RunError`` naming the first item that has none."""
        return np.stack([unit.vector for unit in self.units(contents) if unit.vector is not None])

    def units(self, contents: Sequence[Any], sources: Sequence[str] | None = None) -> list[Unit]:
        """Return a unit with its vector for each content. ``sources``: their identities (``embed.identity``), where they are known."""
        items = of_contents(contents)
        known = sources if sources is not None else [""] * len(items)
        return list(self.stream(Unit(item, item.content, source=one) for item, one in zip(items, known, strict=True)))

    def stream(self, units: Iterable[Unit], *, tiles_may_fail: bool = False) -> Iterator[Unit]:
        """Yield units with their vectors, in order. Few are in flight, and what was computed is kept as it goes.

        Raises ``RunError`` naming the item of the first unit that has no vector; ``tiles_may_fail``: a tile of a slide comes with its problem.
        """
        units = iter(units)
        if self._network is None:
            begin = list(itertools.islice(units, check.CHECKED))
            if not begin:
                return
            self._network, begin = self._begin(begin)
            units = itertools.chain(begin, units)
        network, prepare, fresh = self._network, self._prepare, []

        def compute(some: list[Unit]) -> list[Unit]:
            made = engines.fill(network, some)
            prepare.computed(made)
            return made

        ahead = 2 * max(network.threads, network.batch) + readers(network)
        prepared = ordered(prepare, units, readers(network), ahead)
        try:
            with network.around():
                made = ordered(
                    compute, batches(prepared, network.batch, network.texts), network.threads, 2 * network.threads
                )
                for unit in map(finite, itertools.chain.from_iterable(made)):
                    if unit.problem is not None and tiles_may_fail and unit.place is not None:
                        yield unit
                        continue
                    if unit.problem is not None:
                        raise RunError(f"record {unit.item.id}: {unit.problem}")
                    if not unit.shared and not unit.lone:
                        fresh.append(unit)
                    if len(fresh) == UNITS_PER_PART:
                        self._keep(fresh)
                        fresh = []
                    yield unit
        finally:
            prepared.close()  # type: ignore[attr-defined]  # its threads end before the caller closes what they read
            self._keep(fresh)

    def _keep(self, units: Sequence[Unit]) -> None:
        self._shared.add([unit.digest for unit in units], [unit.vector for unit in units])

    def _begin(self, units: Sequence[Unit]) -> tuple[Network, list[Unit]]:
        """Return the network, checked on the first units or as it was ``settled``, and those units, as far as they are prepared."""
        network = engines.choose(self.model, engine=self.engine)
        if self.settled is not None:
            before = self.settled.get("check", {})
            if "openvino" in before:
                network = engines.by_torch(self.model)
            if {**network.facts, "check": before} == self.settled:
                network.check = dict(before)
                self._take(network)
                return network, list(units)
        self._take(network)
        if not check.needed(network):
            return network, list(units)
        made = first.prepared(self._prepare, units, len(units))
        found = first.checked(self.model, network, self._prepare, made)
        shared = self._shared if found is network else Shared(key_of(self.model, found))
        self._shared = shared
        return found, first.settled(self._prepare, shared, units, made)

    def _take(self, network: Network) -> None:
        self._shared = Shared(key_of(self.model, network))
        self._prepare = Preparer(self.model, Clock(), self._shared)


@contextmanager
def instances(record: Visual, model: Model) -> Iterator[Iterator[Unit]]:
    """Give the pictures that a record is a bag of: a slide's tiles as the card says, a volume's axial slices, a film's frames.

    An image is one. The record is open inside ``with``. Raises ``DatasetError``: no tissue, or not to be opened;
    ``RunError``: the card does not say how tiles are read.
    """
    item = of_record(record)
    if not isinstance(record, Slide):
        with notices.listening() as said:
            found = pictures.pictures(record, model.transform)  # of a film one after another, as they are asked for
            blank, ratio = isinstance(record, Volume) and pictures.is_blank(found), transform.pixel_ratio(record)
        yield _pictures(Unit(item, None, blank=blank, ratio=ratio, notices=tuple(said)), found)
        return
    if model.transform is None or not model.transform.micrometres_per_pixel:
        raise RunError(
            f"{model.name}: its card does not say at how many micrometres per pixel it reads tiles; "
            "load_model(..., config={'transform': {...}}) does, with micrometres_per_pixel"
        )
    tiles = open_tiles(item, model, None)
    places = [(int(x), int(y)) for x, y in tiles.places]
    try:
        yield (
            Unit(item, functools.partial(tiles.load, i), i, len(places), one, notice=tiles.notice)
            for i, one in enumerate(places)
        )
    finally:
        tiles.close()


def _pictures(unit: Unit, found: Iterable[Any]) -> Iterator[Unit]:
    """Yield a unit for each picture, with what is said while it is decoded."""
    numbered = enumerate(found)
    while True:
        with notices.listening() as said:
            number, one = next(numbered, (0, None))
        if one is None:
            return
        yield replace(unit, content=one, number=number, notices=tuple(dict.fromkeys((*unit.notices, *said))))

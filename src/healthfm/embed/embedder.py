"""Vectors of any contents at once, each computed once on this machine: what probes, retrieval and attention pooling call."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from healthfm.embed import network as networks
from healthfm.embed.items import of_contents, of_record
from healthfm.embed.network import Network
from healthfm.embed.plan import UNITS_PER_PART, batches
from healthfm.embed.run import finite, readers
from healthfm.embed.shared import Shared
from healthfm.embed.units import Preparer, Unit, is_blank, open_tiles
from healthfm.engine.pipeline import Clock, ordered
from healthfm.errors import RunError
from healthfm.models import transform, vision
from healthfm.models.model import Float32, Model
from healthfm.models.vision import VisionModel
from healthfm.records import Slide, Video, Visual, Volume


class Embedder:
    """A model's vectors of records, paths, texts or arrays, in its own precision; what was computed before is found (``shared``)."""

    def __init__(self, model: Model, engine: str = "auto") -> None:
        self.model, self.engine = model, engine
        self.blank: dict[str, None] = {}  # ids of volumes that came out all black or all white
        self.squared: dict[str, float] = {}  # by id: a pixel's height over its width, where pictures were made square
        self.said: dict[str, dict[str, None]] = {}  # notices of decoding, each with the ids it holds for
        self._network: Network | None = None
        self._shared = Shared(None)

    @property
    def facts(self) -> dict[str, Any]:
        """After the first call: engine, precision, and the check against torch's float32."""
        return {} if self._network is None else {**self._network.facts, "check": self._network.check}

    def __call__(self, contents: Sequence[Any]) -> Float32:
        """Return the vectors, float32 [n, d]. Raises ``RunError`` naming the first item that has none."""
        made = self.stream(Unit(item, item.content) for item in of_contents(contents))
        return np.stack([unit.vector for unit in made if unit.vector is not None])

    def stream(self, units: Iterable[Unit], *, tiles_may_fail: bool = False) -> Iterator[Unit]:
        """Yield units with their vectors, in order. Few are in flight, and what was computed is kept as it goes.

        Raises ``RunError`` naming the item of the first unit that has no vector; ``tiles_may_fail``: a tile of a slide comes with its problem.
        """
        units = iter(units)
        if self._network is None:
            first = list(itertools.islice(units, networks.CHECKED))
            if not first:
                return
            self._network = self._begin(first)
            self._shared = Shared(networks.key_of(self.model, self._network))
            units = itertools.chain(first, units)
        network, fresh = self._network, []

        def compute(some: list[Unit]) -> list[Unit]:
            return networks.fill(network, some)

        ahead = 2 * max(network.threads, network.batch) + readers(network)
        prepared = ordered(Preparer(self.model, Clock(), self._shared.find), units, readers(network), ahead)
        try:
            with network.around():
                made = ordered(compute, batches(prepared, network.batch), network.threads, 2 * network.threads)
                for unit in map(finite, itertools.chain.from_iterable(made)):
                    if unit.problem is not None and tiles_may_fail and unit.place is not None:
                        yield unit
                        continue
                    if unit.problem is not None:
                        raise RunError(f"record {unit.item.id}: {unit.problem}")
                    if unit.blank:
                        self.blank[unit.item.id] = None
                    if not transform.is_square(unit.ratio):
                        self.squared[unit.item.id] = unit.ratio
                    for notice in unit.notices:
                        self.said.setdefault(notice, {})[unit.item.id] = None
                    if not unit.shared:
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

    def _begin(self, units: Sequence[Unit]) -> Network:
        network = networks.choose(self.model, engine=self.engine)
        made = map(Preparer(self.model, Clock()), units[: networks.CHECKED])
        inputs = [[one.inputs[len(one.inputs) // 2]] for one in made if one.problem is None and one.inputs]
        return networks.checked(self.model, network, inputs) if inputs else network


@contextmanager
def instances(record: Visual, model: VisionModel) -> Iterator[Iterator[Unit]]:
    """Give the pictures that a record is a bag of: a slide's tiles as the card says, a volume's axial slices, a film's frames.

    An image is one. The record is open inside ``with``. Raises ``DatasetError``: no tissue, or not to be opened;
    ``RunError``: the card does not say how tiles are read.
    """
    item = of_record(record)
    if not isinstance(record, Slide):
        found = transform.frames(record) if isinstance(record, Video) else vision.pictures(record, model.transform)
        blank, ratio = isinstance(record, Volume) and is_blank(found), transform.pixel_ratio(record)
        yield (Unit(item, one, number, blank=blank, ratio=ratio) for number, one in enumerate(found))
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

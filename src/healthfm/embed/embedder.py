"""Vectors of any contents at once, each computed once on this machine: what probes, retrieval and attention pooling call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from healthfm.embed import network as networks
from healthfm.embed.items import of_contents
from healthfm.embed.network import Network
from healthfm.embed.plan import batches
from healthfm.embed.run import finite, readers
from healthfm.embed.shared import Shared
from healthfm.embed.units import Preparer, Unit
from healthfm.engine.pipeline import Clock, ordered
from healthfm.errors import RunError
from healthfm.models.model import Float32, Model


class Embedder:
    """A model's vectors of records, paths, texts or arrays, in its own precision; what was computed before is found (``shared``)."""

    def __init__(self, model: Model, engine: str = "auto") -> None:
        self.model, self.engine = model, engine
        self._network: Network | None = None
        self._shared = Shared(None)

    @property
    def facts(self) -> dict[str, Any]:
        """After the first call: engine, precision, and the check against torch's float32."""
        return {} if self._network is None else {**self._network.facts, "check": self._network.check}

    def __call__(self, contents: Sequence[Any]) -> Float32:
        """Return the vectors, float32 [n, d]. Raises ``RunError`` naming the first item that has none."""
        units = [Unit(item, item.content) for item in of_contents(contents)]
        if self._network is None:
            self._network = self._begin(units)
            self._shared = Shared(networks.key_of(self.model, self._network))
        network, made = self._network, []

        def compute(some: list[Unit]) -> list[Unit]:
            return networks.fill(network, some)

        with network.around():
            ahead = 2 * max(network.threads, network.batch) + readers(network)
            prepared = ordered(Preparer(self.model, Clock(), self._shared.find), units, readers(network), ahead)
            for some in ordered(compute, batches(prepared, network.batch), network.threads, 2 * network.threads):
                made += [finite(unit) for unit in some]
                if made[-1].problem is not None or any(unit.problem is not None for unit in some):
                    bad = next(unit for unit in made if unit.problem is not None)
                    raise RunError(f"record {bad.item.id}: {bad.problem}")
        fresh = [unit for unit in made if not unit.shared]
        self._shared.add([unit.digest for unit in fresh], [unit.vector for unit in fresh])
        return np.stack([unit.vector for unit in made if unit.vector is not None])

    def _begin(self, units: Sequence[Unit]) -> Network:
        network = networks.choose(self.model, engine=self.engine)
        made = map(Preparer(self.model, Clock()), units[: networks.CHECKED])
        inputs = [one.inputs for one in made if one.problem is None]
        return networks.checked(self.model, network, inputs) if inputs else network

"""The network of a run of embedding: the one its folder began with, or one that is checked on the first units as it begins."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from healthfm.embed import check, engines, first
from healthfm.embed.engines import Network
from healthfm.embed.items import Items
from healthfm.embed.key import key_of
from healthfm.embed.plan import Plan
from healthfm.embed.preparer import Preparer
from healthfm.embed.shared import Shared
from healthfm.embed.units import Unit
from healthfm.engine.store import RunFolder
from healthfm.errors import RunError
from healthfm.models.arithmetic import openvino

CALIBRATE_ON = 32  # units that 8 bit ranges are taken from; never those that are checked
Ready = dict[tuple[str, int], Unit]  # units that are prepared already, by item and number


def network_of(
    plan: Plan, prepare: Preparer, precision: str, engine: str, compiled: bool, calibration: Items | None, folder: RunFolder,
    manifest: dict[str, Any],
) -> tuple[Network, Ready]:  # fmt: skip
    """Return how the vectors are made: as this folder began, or, checked on the first units, as it begins now; and those units.

    From then on ``prepare`` looks for vectors under that network's key.
    """
    model = plan.model
    units: list[Unit] = []
    made: list[Unit] = []
    before, settled = manifest.get("key") or {}, manifest.get("check")
    if precision == "int8" and model.stacks:
        openvino.needed()
        if settled is not None:
            network = engines.saved(folder.path / "int8.xml", before["calibration"])
        else:
            units, made = _to_calibrate(plan, prepare, calibration)
            inputs = [one[0] for one in first.middles(made)]
            if not inputs:
                raise RunError("int8 needs more pictures than the first 8, or --calibration, to take its ranges from")
            network = engines.quantised(model, inputs)
            assert network.quantised is not None
            network.quantised.save(folder.path / "int8.xml")
            network = engines.saved(folder.path / "int8.xml", network.facts["calibration"])
            units, made = (units, made) if calibration is None else ([], [])
    elif settled is not None and "openvino" in settled:
        network = engines.by_torch(model)
    else:
        network = engines.choose(model, precision, compiled, engine)
    shared = Shared(key_of(model, network))
    if settled is not None:
        network.check = settled
    elif check.needed(network):
        made = first.settled(prepare, shared, units, made)
        begin = list(itertools.islice(plan.units(todo=False), 4 * check.CHECKED))
        found = first.prepared(prepare, begin, check.CHECKED)
        begin, chosen = begin[: len(found)], first.checked(model, network, prepare, found)
        shared = shared if chosen is network else Shared(key_of(model, chosen))
        network, units, made = chosen, [*begin, *units], [*found, *made]
    ready = first.settled(prepare, shared, units, made)
    return network, {(unit.item.id, unit.number): one for unit, one in zip(units, ready, strict=True)}


def _to_calibrate(plan: Plan, prepare: Preparer, items: Items | None) -> tuple[list[Unit], list[Unit]]:
    """Return some units to calibrate on, and the same prepared: others than those that are checked, or of other ``items``."""
    if items is not None:
        every: Iterator[Unit] = Plan(items.found, plan.model, plan.mpp, plan.folder).units(todo=False)
    else:
        every = itertools.islice(plan.units(todo=False), check.CHECKED, None)
    units = list(itertools.islice(every, 4 * CALIBRATE_ON))
    made = first.prepared(prepare, units, CALIBRATE_ON)
    return units[: len(made)], made

"""The first units of a run: prepared once, to hold the arithmetic against torch's on, and then used as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from healthfm.embed import check
from healthfm.embed.engines import Network
from healthfm.embed.preparer import Preparer
from healthfm.embed.shared import Shared
from healthfm.embed.units import Unit
from healthfm.models.model import Model


def middles(made: Sequence[Unit]) -> list[list[Any]]:
    """Return one picture of each unit that has inputs: of a volume or film the middle one."""
    return [[one.inputs[len(one.inputs) // 2]] for one in made if one.problem is None and one.inputs]


def prepared(prepare: Preparer, units: Iterable[Unit], count: int) -> list[Unit]:
    """Return units from the first on as they were prepared, until ``count`` of them could be read; at most four times as many."""
    made: list[Unit] = []
    prepare.both = True
    try:
        for unit in units:
            made.append(prepare(unit))
            if sum(one.problem is None for one in made) == count or len(made) == 4 * count:
                break
    finally:
        prepare.both = False
    return made


def checked(model: Model, network: Network, prepare: Preparer, made: Sequence[Unit]) -> Network:
    """Return the network, held against torch's float32 on the inputs of these units.

    Units that are known need not be decoded and have none: where that is so of all, what was found of such vectors before stands.
    """
    shared, inputs = prepare.shared, middles(made)
    if not inputs:
        network.check = shared.check or {}
        return network
    found = check.checked(model, network, inputs)
    if found is network:
        shared.keep_check(network.check)
    return found


def settled(prepare: Preparer, shared: Shared, units: Sequence[Unit], made: Sequence[Unit]) -> list[Unit]:
    """Return units as they are to be worked on: prepared, and with the vectors that are known in ``shared``, from now on ``prepare``'s."""
    moved, prepare.shared = shared is not prepare.shared, shared
    return [_settled(prepare, moved, unit, one) for unit, one in zip(units, made, strict=False)]


def _settled(prepare: Preparer, moved: bool, unit: Unit, made: Unit) -> Unit:
    if made.problem is not None or (made.inputs is None and not moved):
        return made
    if made.inputs is None:
        return unit
    if moved:
        prepare.tell(made)
    vector = prepare.shared.find(made.digest, fresh=bool(made.source))
    return replace(made, inputs=made.inputs if vector is None else None, vector=vector, shared=vector is not None)

"""Published key names of pairs of towers to ours, a table a paper: where each side's tower and projection stand in its checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from healthfm.errors import CheckpointError
from healthfm.models.files.checkpoint import Tensors


@dataclass(frozen=True)
class Names:
    """A paper's key names. ``fronts``: their beginnings (or whole names), the most exact one counts, and ours. ``turned``: matrices of ours
    that stand before the product there, behind it in a linear layer. ``spare``: patterns of what is no weight of either side.
    """

    fronts: Mapping[str, str]
    turned: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()


TABLES: Mapping[str, Names] = {}


def own_names(tensors: Tensors, dialect: str | None) -> dict[str, torch.Tensor]:
    """Return published tensors under our names. Raises ``CheckpointError``: no such dialect, or no name of it."""
    table = TABLES.get(dialect or "")
    if table is None:
        raise CheckpointError(f"key dialect is '{dialect}'; pairs of towers have {', '.join(TABLES) or 'none'}")
    fronts = sorted(table.fronts, key=len, reverse=True)
    found: dict[str, torch.Tensor] = {}
    known = 0
    for key, value in tensors.items():
        if any(re.fullmatch(one, key) for one in table.spare):
            continue
        front = next((one for one in fronts if key.startswith(one)), None)
        known += front is not None
        name = key if front is None else table.fronts[front] + key.removeprefix(front)
        found[name] = value.T if name in table.turned else value
    if not known:
        raise CheckpointError(
            f"no key names of such a pair ({', '.join(table.fronts)}); found {', '.join(list(tensors)[:3]) or 'none'}"
        )
    return found

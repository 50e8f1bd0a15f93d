"""Predicted structures: a row a chain, ``target`` and ``prediction`` as files (mmCIF, PDB), or as positions of CA, [x, y, z] a residue.

In lists a residue without a place is null; in files residues are matched by chain and number (by number alone where each has one chain).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from healthfm.errors import HealthfmError, RunError
from healthfm.formats import structure
from healthfm.formats.source import Source
from healthfm.score.kinds import kind
from healthfm.score.kinds.kind import Read
from healthfm.score.metrics.structure import lddt
from healthfm.score.metrics.superposition import scores, superpose
from healthfm.score.statistics.statistic import Floats, of_mean

PLACES = pa.list_(pa.list_(pa.float64()))
FEWEST = 3  # residues that both have, below which nothing is laid over anything
Residue = tuple[str, int, str]


def check(table: pa.Table) -> pa.Table:
    """Return the table with lists of places, residue by residue of the target. Raises ``RunError`` naming rows."""
    kind.need(table, "id", "target", "prediction")
    ids = kind.check_ids(table)
    pairs = []
    for name, a, b in zip(ids, table["target"].to_pylist(), table["prediction"].to_pylist(), strict=True):
        try:
            pairs.append(
                _of_files(Path(a), Path(b)) if isinstance(a, str) and isinstance(b, str) else (_rows(a), _rows(b))
            )
        except (HealthfmError, TypeError, ValueError, OSError) as error:
            why = str(error) if isinstance(error, HealthfmError) else "its places are no lists of three numbers"
            raise RunError(f"row {name}: {why}") from None
    kind.refuse(
        "do not have as many residues as their target",
        [i for i, (a, b) in zip(ids, pairs, strict=True) if len(a) != len(b)],
    )
    kind.refuse(
        f"have fewer than {FEWEST} residues that both have",
        [
            i
            for i, (a, b) in zip(ids, pairs, strict=True)
            if sum(x is not None and y is not None for x, y in zip(a, b, strict=True)) < FEWEST
        ],
    )
    table = kind.put(table, "id", ids, pa.string())
    for column, side in (("target", 0), ("prediction", 1)):
        table = kind.put(table, column, [one[side] for one in pairs], PLACES)
    return table


def _rows(value: Any) -> list[list[float] | None]:
    found: list[list[float] | None] = []
    for one in value:
        if one is None:
            found.append(None)
            continue
        place = [float(x) for x in one]
        if len(place) != 3:
            raise ValueError
        found.append(place if np.isfinite(place).all() else None)
    return found


def _of_files(true: Path, predicted: Path) -> tuple[list[list[float] | None], list[list[float] | None]]:
    a, b = _residues(true), _residues(predicted)
    if len({one[0] for one in a}) == len({one[0] for one in b}) == 1:
        a, b = ({("", *key[1:]): place for key, place in side.items()} for side in (a, b))
    if not set(a) & set(b):
        raise RunError(f"{predicted} has no residue of {true} (they are matched by chain and number)")
    return list(a.values()), [b.get(key) for key in a]


def _residues(path: Path) -> Mapping[Residue, list[float] | None]:
    """Return the place of each residue's CA, in the file's order."""
    if not path.is_file():
        raise RunError(f"no file {path}")
    found = structure.atoms(structure.parse(Source(path)))
    columns = zip(
        found["chains"], found["residues"], found["names"], found["hetero"], found["positions"].tolist(), strict=True
    )
    return {(chain, *residue): place for chain, residue, name, hetero, place in columns if name == "CA" and not hetero}


def read(table: pa.Table, task: str, classes: Sequence[str] | None, uncertain: str) -> Read:
    """Return the mean over chains of lDDT, TM-score, GDT-TS, GDT-HA and RMSD, all of CA."""
    pairs = [
        (_array(a), _array(b))
        for a, b in zip(table["target"].to_pylist(), table["prediction"].to_pylist(), strict=True)
    ]
    measured = [_measured(*one) for one in pairs]
    missing = int(sum((~np.isnan(a[:, 0]) & np.isnan(b[:, 0])).sum() for a, b in pairs))
    found = [of_mean(name, [one[name] for one in measured], lower_is_better=name == "rmsd") for name in measured[0]]
    rules = [
        "all of CA; TM-score and GDT by the number of the target's residues, each a maximum that is searched for (a published program may find a little more or less)",
        *([f"{missing} residues of targets have no predicted place: they count as wrong in all but RMSD"] if missing else []),
    ]  # fmt: skip
    return Read({one.name: one for one in found}, "lddt", rules, {"unanswered": 0})


def _array(rows: Sequence[Sequence[float] | None]) -> Floats:
    return np.array([[np.nan] * 3 if one is None else one for one in rows], np.float64)


def _measured(true: Floats, guess: Floats) -> dict[str, float]:
    here = ~np.isnan(true[:, 0])
    both = here & ~np.isnan(guess[:, 0])
    length = int(here.sum())
    rotation, shift = superpose(guess[both], true[both])
    off = guess[both] @ rotation + shift - true[both]
    tm, total, high = scores(guess, true, both, length)
    rmsd = float(np.sqrt((off**2).sum(axis=1).mean()))
    return {"lddt": lddt(guess, true, here)[0], "tm_score": tm, "gdt_ts": total, "gdt_ha": high, "rmsd": rmsd}

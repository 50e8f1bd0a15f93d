"""Molecules in space: mmCIF (wwPDB's dictionary), PDB (format 3.3), read by gemmi; also what AlphaFold DB adds to them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError, MissingExtra
from healthfm.formats.source import DAMAGE, Source

SUFFIXES = (".cif", ".pdb", ".ent")
LARGEST = 4 << 30
T = TypeVar("T")


@dataclass(frozen=True)
class Facts:
    """What a file says about itself."""

    id: str
    title: str
    method: str
    resolution: float | None
    models: int


def parse(source: Source) -> Any:
    """Return gemmi's Structure of an mmCIF or PDB file, chosen by its name. Raises ``DatasetError``: not one, or it holds no atoms."""
    try:
        import gemmi
    except ImportError:
        raise MissingExtra("bio", "gemmi") from None

    try:
        with source.open() as handle:
            raw = handle.read(LARGEST)
    except DAMAGE as error:
        raise DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})") from None
    try:
        if source.name.lower().endswith(".cif"):
            block = gemmi.cif.read_string(raw).sole_block()
            found = gemmi.make_structure_from_block(block)
        else:
            found = gemmi.read_pdb_string(raw)
    except Exception as error:  # gemmi's own, which repeats the text
        raise DatasetError(
            f"{source}: not readable as {source.name.rsplit('.', 1)[-1]} ({type(error).__name__})"
        ) from None
    if not len(found) or not found[0].count_atom_sites():
        raise DatasetError(f"{source}: no atoms in it")
    found.setup_entities()
    return found


def facts(found: Any) -> Facts:
    """Return what a file says about itself: entry id, title, method, resolution (angstrom), number of models."""
    info = found.info
    said = {key: _of(info, key) for key in ("_entry.id", "_struct.title", "_exptl.method")}
    return Facts(said["_entry.id"], said["_struct.title"], said["_exptl.method"], found.resolution or None, len(found))


def _of(info: Any, key: str) -> str:
    return str(info[key]) if key in info else ""  # gemmi's table has no get


def atoms(found: Any) -> dict[str, Any]:
    """Return the atoms of the first model, in the file's order, column by column; of alternative places the one that is met first.

    ``positions`` and ``b`` are float32, ``hetero`` whether an atom stands in a HETATM record, the others tuples as the file calls them.
    """
    import gemmi

    flat: Any = gemmi.FlatStructure(found)
    count = found[0].count_atom_sites()
    residue_name, part, name = (
        _keys(getattr(flat, one)[:count]) for one in ("residue_names", "subchains", "atom_names")
    )
    chains: list[Any] = list(found[0])
    chain: npt.NDArray[np.int64] = np.repeat(np.arange(len(chains)), [one.count_atom_sites() for one in chains])
    number, insertion = flat.resnums[:count], flat.icodes[:count]
    begins = np.append(True, np.any([one[1:] != one[:-1] for one in (chain, residue_name, part, number, insertion)], 0))
    residue, first = np.cumsum(begins) - 1, np.flatnonzero(begins)
    names, kinds = np.unique(name, return_inverse=True)
    _, kept = np.unique(residue * len(names) + kinds, return_index=True)
    kept.sort()
    of = residue[kept]
    letters = {one: chr(one).strip() for one in np.unique(insertion).tolist()}
    ids = [*zip(number[first].tolist(), map(letters.__getitem__, insertion[first].tolist()), strict=True)]
    elements, element = np.unique(flat.element_names[:count], return_inverse=True)
    return {
        "positions": flat.pos[:count][kept].astype(np.float32), "b": flat.b_iso[:count][kept].astype(np.float32), "hetero": flat.het_flags[:count][kept] == ord("H"),
        "names": _each(_words(names), kinds[kept]), "elements": _each([one.decode() for one in elements.tolist()], element[kept]), "residues": _each(ids, of),
        "residue_names": _each(_words(residue_name[first]), of), "chains": _each([one.name for one in chains], chain[kept]),
    }  # fmt: skip


def _keys(letters: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    """Return texts of eight bytes, a row an atom, as numbers that are equal where the texts are."""
    return np.ascontiguousarray(letters).view(np.int64)[:, 0]


def _words(keys: npt.NDArray[np.int64]) -> list[str]:
    return [one.decode() for one in keys.view("S8").tolist()]


def _each(values: Sequence[T], places: npt.NDArray[np.int64]) -> tuple[T, ...]:
    return tuple(np.fromiter(values, object, len(values))[places].tolist())


def sequences(found: Any) -> dict[str, str]:
    """Return the letters of each polymer chain of the first model: as deposited where the file says so, else of residues with atoms.

    Modified residues have the letter of the one they derive from, others X.
    """
    import gemmi

    letters: dict[str, str] = {}
    for chain in found[0]:
        polymer = chain.get_polymer()
        if not len(polymer):
            continue
        entity = found.get_entity_of(polymer)
        whole = [gemmi.Entity.first_mon(one) for one in entity.full_sequence] if entity is not None else []
        names = whole or [residue.name for residue in polymer.first_conformer()]
        letters[chain.name] = "".join(map(_letter, names))
    return letters


@functools.cache
def _letter(name: str) -> str:
    import gemmi

    found = gemmi.find_tabulated_residue(name).one_letter_code.strip().upper()
    return found or "X"

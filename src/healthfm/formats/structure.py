"""Molecules in space: mmCIF (wwPDB's dictionary), PDB (format 3.3), read by gemmi; also what AlphaFold DB adds to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from healthfm.errors import DatasetError, MissingExtra
from healthfm.formats.source import DAMAGE, Source

SUFFIXES = (".cif", ".pdb", ".ent")
LARGEST = 4 << 30


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
    rows: list[tuple[Any, ...]] = []
    for chain in found[0]:
        for residue in chain:
            met: set[str] = set()
            for atom in residue:
                if atom.name in met:
                    continue
                met.add(atom.name)
                rows.append((
                    (atom.pos.x, atom.pos.y, atom.pos.z), atom.name, atom.element.name, (residue.seqid.num, residue.seqid.icode.strip()),
                    residue.name, chain.name, residue.het_flag == "H", atom.b_iso,
                ))  # fmt: skip
    columns = zip(*rows, strict=True)
    names = ("positions", "names", "elements", "residues", "residue_names", "chains", "hetero", "b")
    kinds = {"positions": np.float32, "hetero": np.bool_, "b": np.float32}
    return {
        name: np.array(one, kinds[name]) if name in kinds else one for name, one in zip(names, columns, strict=True)
    }


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
        letters[chain.name] = "".join(_letter(gemmi, name) for name in names)
    return letters


def _letter(gemmi: Any, name: str) -> str:
    found = gemmi.find_tabulated_residue(name).one_letter_code.strip().upper()
    return found or "X"

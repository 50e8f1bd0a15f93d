"""Small molecules: SDF (CTfile formats, V2000 and V3000) and SMILES, judged by rdkit."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from healthfm.errors import DatasetError, MissingExtra
from healthfm.formats.source import DAMAGE, Row, Source

LONGEST = 1 << 26  # characters in one entry


@functools.cache
def _rdkit() -> Any:
    try:
        from rdkit import Chem, RDLogger
    except ImportError:
        raise MissingExtra("bio", "rdkit") from None
    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]  # what is wrong with a molecule is said in its record
    return Chem


def fault(smiles: str) -> str | None:
    """Say why a SMILES is no molecule that chemistry allows; None: it is one."""
    chem = _rdkit()
    found = chem.MolFromSmiles(smiles, sanitize=False) if smiles else None
    if found is None:
        return "its SMILES does not parse"
    sound = chem.SanitizeMol(found, catchErrors=True) == chem.SanitizeFlags.SANITIZE_NONE
    return None if sound else _unsound(chem, chem.MolFromSmiles(smiles, sanitize=False))  # which says why


def _unsound(chem: Any, molecule: Any) -> str | None:
    """Sanitise a molecule in place, nitro groups and their like put right first as the chemists' programs do; say what fails."""
    chem.Cleanup(molecule)
    problems = chem.DetectChemistryProblems(molecule)
    if not problems:
        chem.SanitizeMol(molecule)
    return None if not problems else f"it does not sanitise: {problems[0].GetType()}"


def same(smiles: str) -> str | None:
    """Return the standard InChIKey, by which the same molecule is known whatever its SMILES; None: it is no molecule."""
    chem = _rdkit()
    found = chem.MolFromSmiles(smiles)
    return None if found is None else str(chem.MolToInchiKey(found)) or None


def sdf(source: Source) -> Iterator[tuple[Row, str, str | None]]:
    """Yield (row of the data items by their names, canonical SMILES, why chemistry refuses it or None) of each entry of an SDF.

    ``row["_Name"]`` is the title line. An entry whose atoms and bonds cannot be read is a problem of that entry.
    """
    chem = _rdkit()
    for number, text in enumerate(_cut(source), 1):
        row = Row({}, source, number)
        block, _, items = text.partition("M  END")
        table = block + "M  END\n"
        found, reason = (
            chem.MolFromMolBlock(table),
            None,
        )  # as rdkit's own reader does it: hydrogens go before valences are judged
        if found is None:
            found = chem.MolFromMolBlock(table, sanitize=False, removeHs=False)
            if found is None:
                source.problems.add(row.error("its table of atoms and bonds cannot be read"))
                continue
            reason = _unsound(chem, found) or "it does not sanitise"
        row.update(_items(items), _Name=block.partition("\n")[0].strip())
        yield row, chem.MolToSmiles(found), reason


def _items(text: str) -> dict[str, str]:
    """Return the data items below a molecule: a line ``> <NAME>``, then lines up to an empty one."""
    found: dict[str, str] = {}
    name, held = "", []  # type: str, list[str]
    for line in [*text.splitlines(), ""]:
        if line.startswith(">"):
            name, held = line[line.find("<") + 1 : line.rfind(">")], []
        elif name and line.strip():
            held.append(line.rstrip())
        elif name:
            found[name], name = "\n".join(held), ""
    return found


def _cut(source: Source) -> Iterator[str]:
    """Yield the text of each entry, up to its line ``$$$$``. One that the file's end cuts short is a problem."""
    held: list[str] = []
    number = size = 0
    try:
        with source.text(errors="replace") as handle:
            for line in handle:
                if line.startswith("$$$$"):
                    number += 1
                    yield "".join(held).replace("\r\n", "\n")
                    held, size = [], 0
                    continue
                held.append(line)
                size += len(line)
                if size > LONGEST:
                    raise DatasetError(f"{source}: an entry is longer than {LONGEST} characters")
    except DAMAGE as error:
        source.problems.add(DatasetError(f"{source}: the file is damaged or cut short ({type(error).__name__})"))
        return
    rest = "".join(held)
    if "M  END" in rest:  # a file of one molecule need not say where it ends
        yield rest.replace("\r\n", "\n")
    elif rest.strip():
        source.problems.add(DatasetError(f"{source}, row {number + 1}: the file ends within it: no M  END"))


BITS, RADIUS = 2048, 2  # of a Morgan fingerprint: ECFP4


def fingerprints(smiles: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return Morgan fingerprints, uint8 [n, BITS]; all zero where rdkit refuses a molecule."""
    chem = _rdkit()
    return morgan((chem.MolFromSmiles(one) for one in smiles), len(smiles))


def morgan(parsed: Iterable[Any], count: int) -> npt.NDArray[np.uint8]:
    """Return the fingerprints of molecules of rdkit's, uint8 [count, BITS]; all zero for None."""
    from rdkit.Chem import rdFingerprintGenerator

    made = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
    found = np.zeros((count, BITS), np.uint8)
    for row, molecule in enumerate(parsed):
        if molecule is not None:
            found[row] = made.GetFingerprintAsNumPy(molecule)
    return found


@functools.lru_cache(1 << 16)
def scaffold(smiles: str, chirality: bool) -> str | None:
    """Return the SMILES of the Bemis-Murcko scaffold, "" of a molecule without rings; None: rdkit refuses the molecule."""
    from rdkit.Chem.Scaffolds import MurckoScaffold

    found = _rdkit().MolFromSmiles(smiles)
    return None if found is None else str(MurckoScaffold.MurckoScaffoldSmiles(mol=found, includeChirality=chirality))  # type: ignore[no-untyped-call]


def drawn(smiles: str, width: int, height: int) -> str | None:
    """Return a drawing of a molecule as SVG; None: rdkit refuses it."""
    from rdkit.Chem.Draw import rdMolDraw2D

    found = _rdkit().MolFromSmiles(smiles)
    if found is None:
        return None
    canvas = rdMolDraw2D.MolDraw2DSVG(width, height)
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, found)
    canvas.FinishDrawing()
    return str(canvas.GetDrawingText())

"""Records of biology: sequences, places on a genome, variants, structures and molecules.

Positions count from 0 and do not include the end, whatever the file's own rule; the assembly is named wherever there is one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Several
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from healthfm.errors import BadValue, DatasetError
from healthfm.records.record import Record

Alphabet = Literal["dna", "rna", "protein"]
Strand = Literal["+", "-"]
Runs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Feature:
    """A marked part of a sequence: ``[start, end)``, or several ``parts`` of it in their order, on a strand.

    An end that the owner does not know at all is None. ``exact``: both ends are known, and neither lies beyond what is written.
    """

    type: str
    start: int | None
    end: int | None
    strand: Strand | None = None
    parts: tuple[tuple[int, int], ...] = ()
    exact: bool = True
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence(Record):
    """One biological sequence, or the chains of a complex. Letters as the file has them (soft masking is lower case)."""

    noun: ClassVar[str] = "sequence"

    chains: tuple[str, ...]
    alphabet: Alphabet
    description: str = ""
    features: tuple[Feature, ...] = ()

    @property
    def letters(self) -> str:
        """The letters of the one chain. Raises ``DatasetError``: there are several."""
        if len(self.chains) != 1:
            raise DatasetError(f"{self.id}: {len(self.chains)} chains, where one is needed")
        return self.chains[0]

    @property
    def as_text(self) -> str:
        """The letters of the one chain."""
        return self.letters

    def digest(self) -> str:
        """Return a short, stable fingerprint of the letters, in capitals."""
        return _short(f"{self.alphabet} {'/'.join(self.chains).upper()}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Region(Record):
    """A stretch of a contig, ``[start, end)`` from 0. ``type`` is the owner's word for what is there; ``values`` its numbers by name.

    ``runs(i, j)`` decodes a track of values within ``[i, j)``: where each begins and ends (int64), from 0 and without the end, and the value (float32).
    """

    noun: ClassVar[str] = "region"

    contig: str
    start: int
    end: int
    strand: Strand | None = None
    assembly: str | None = None
    type: str | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    runs: Callable[[int, int], Runs] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise BadValue("a region does not end where it begins or later, or begins before 0")

    def digest(self) -> str:
        """Return a short, stable fingerprint of the place, of a track also of its id: any two of an assembly have the same places."""
        track = "" if self.runs is None else f" {self.id}"
        return _short(f"{self.assembly} {self.contig} {self.start} {self.end} {self.strand} {self.type}{track}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(Record):
    """A place where genomes differ: ``ref`` stands at ``position`` (from 0), ``alts`` may stand there instead.

    ``genotypes`` decodes on demand: int8 [samples, alleles a sample], 0 for ref, 1 for the first of ``alts``, -1 where it is not known,
    -2 where a sample has fewer alleles. ``samples`` are their names, in that order.
    """

    noun: ClassVar[str] = "variant"

    contig: str
    position: int
    ref: str
    alts: tuple[str, ...]
    assembly: str | None = None
    samples: tuple[str, ...] = ()
    load: Callable[[], npt.NDArray[np.int8]] | None = None

    @property
    def genotypes(self) -> npt.NDArray[np.int8]:
        """Decode and return the alleles of every sample. Raises ``DatasetError``: the file has no samples."""
        if self.load is None:
            raise DatasetError(f"{self.id}: the file gives sites alone, no samples")
        return self.load()

    def digest(self) -> str:
        """Return a short, stable fingerprint of the place and its alleles."""
        return _short(f"{self.assembly} {self.contig} {self.position} {self.ref} {','.join(self.alts)}")


@dataclass(frozen=True, slots=True)
class Atoms:
    """The atoms of a structure, row by row: ``positions`` float32 [n, 3] in angstrom, names, residues and chains as the file calls them.

    ``b`` is the column of B factors, which predicted structures fill with a confidence. ``residues`` are (number, insertion code).
    """

    positions: npt.NDArray[np.float32]
    names: tuple[str, ...]
    elements: tuple[str, ...]
    residues: tuple[tuple[int, str], ...]
    residue_names: tuple[str, ...]
    chains: tuple[str, ...]
    hetero: npt.NDArray[np.bool_]
    b: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure(Record):
    """A model of a molecule in space, lazy: nothing is parsed before it is asked for.

    ``atoms`` are those of the first model, the first of alternative places each. ``sequences``: letters by chain, as deposited where
    the file says so (residues that were not seen included), else of the residues that have atoms. ``confidence`` (predicted structures):
    pLDDT 0 to 100 a residue, float32; None for measured ones.
    """

    noun: ClassVar[str] = "structure"

    load: Callable[[], tuple[Atoms, Mapping[str, str]]]
    predicted: bool = False

    @property
    def atoms(self) -> Atoms:
        """Parse and return the atoms."""
        return self.load()[0]

    @property
    def sequences(self) -> Mapping[str, str]:
        """Parse and return the letters of each polymer chain."""
        return self.load()[1]

    @property
    def confidence(self) -> npt.NDArray[np.float32] | None:
        """Parse and return the confidence of each residue, the mean over its atoms; None where the structure was measured."""
        if not self.predicted:
            return None
        atoms = self.atoms
        places = {key: n for n, key in enumerate(dict.fromkeys(zip(atoms.chains, atoms.residues, strict=True)))}
        of = np.array([places[key] for key in zip(atoms.chains, atoms.residues, strict=True)])
        return (np.bincount(of, atoms.b) / np.bincount(of)).astype(np.float32)

    def decoded(self) -> Self:
        """Return the record with its atoms in memory."""
        found = self.load()
        return replace(self, load=lambda: found)

    def digest(self) -> str:
        """Return a short, stable fingerprint of the atoms and where they are, parsed for it."""
        atoms = self.atoms
        return _short(f"{atoms.names} {atoms.chains} ", np.ascontiguousarray(atoms.positions).tobytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class Molecule(Record):
    """A small molecule as SMILES. ``reason`` says why chemistry refuses it, where it does: the record stays.

    ``texts``: what is written about it, by kind. ``values``: its measured or computed numbers by name.
    """

    noun: ClassVar[str] = "molecule"

    smiles: str
    reason: str | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def as_text(self) -> str:
        """The SMILES."""
        return self.smiles

    def digest(self) -> str:
        """Return a short, stable fingerprint of the SMILES as written."""
        return _short(self.smiles)


def _short(text: str, more: bytes = b"") -> str:
    return hashlib.sha256(text.encode() + more).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Record):
    """Values over named features: a sample's expression, a signature, a cell line's responses. Lazy: float32 [features], NaN where missing."""

    noun: ClassVar[str] = "profile"

    features: tuple[str, ...]
    load: Callable[[], npt.NDArray[np.float32]]

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """Decode and return the values. Raises ``DatasetError``: they are not one a feature."""
        found = self.load()
        if found.shape != (len(self.features),):
            raise DatasetError(f"{self.id}: {list(found.shape)} values for {len(self.features)} features")
        return found

    def decoded(self) -> Self:
        """Return the record with its values in memory."""
        found = self.values
        return replace(self, load=lambda: found)

    def digest(self) -> str:
        """Return a short, stable fingerprint of the features and their values, which are decoded for it."""
        return _short("\t".join(self.features), np.ascontiguousarray(self.values).tobytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells(Record):
    """A matrix of cells by genes, never held whole. ``rows(i, j)`` decodes cells ``[i, j)``: float32 [j - i, genes].

    ``obs`` gives a named column of facts about the cells, ``var`` about the genes, each a list; ``obs_names`` and ``var_names`` the
    columns there are. ``counts``: what the numbers are (raw counts, or what the file says of them).
    ``layers``: other numbers of the same cells and genes, each decoded as ``rows`` is.
    """

    noun: ClassVar[str] = "matrix of cells"
    stacked: ClassVar[bool] = True

    cells: int
    genes: int
    rows: Callable[[int, int], npt.NDArray[np.float32]]
    obs: Callable[[str], list[Any]]
    var: Callable[[str], list[Any]]
    obs_names: tuple[str, ...] = ()
    var_names: tuple[str, ...] = ()
    counts: str | None = None
    scattered: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]] | None = None
    layers: Mapping[str, Callable[[int, int], npt.NDArray[np.float32]]] = field(default_factory=dict)

    def chosen(self, places: Several[int]) -> npt.NDArray[np.float32]:
        """Decode any cells, in the order asked for, each once: float32 [places, genes]. Blocks of neighbours (``rows``) are far cheaper.

        Raises ``DatasetError``: there is no such cell, or one is asked for twice.
        """
        asked = np.asarray(places, np.int64)
        if len(np.unique(asked)) != len(asked) or (len(asked) and not 0 <= asked.min() <= asked.max() < self.cells):
            raise DatasetError(f"{self.id}: of its {self.cells} cells each can be chosen once")
        if self.scattered is not None:
            return self.scattered(asked)
        return np.concatenate([self.rows(one, one + 1) for one in asked.tolist()] or [self.rows(0, 0)])

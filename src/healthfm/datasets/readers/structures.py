"""Molecules in space: measured (PDB) and predicted (AlphaFold DB). Files are parsed when their atoms are asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import DatasetError
from healthfm.formats import structure
from healthfm.formats.source import Source
from healthfm.records import Atoms, Structure

ALPHAFOLD = re.compile(r"AF-(\w+)-F(\d+)-model_v(\d+)")


def load(source: Source) -> tuple[Atoms, Mapping[str, str]]:
    """Parse a file: its atoms and the letters of its chains."""
    found = structure.parse(source)
    return Atoms(**structure.atoms(found)), structure.sequences(found)


@dataset("pdbe", record=Structure)
def pdbe(files: Files, split: str) -> Iterator[Structure]:
    """An entry a file; the id is the entry's, in lower case. PDBe's updated file of an entry is read in place of the archive's."""
    updated = {source.name.removesuffix("_updated.cif").lower(): source for source in files.all("updated structures")}
    archived = (
        source for source in files.all("structures") if source not in updated.values()
    )  # a loose folder holds both
    entries = {source.name.removesuffix(".cif").lower(): source for source in archived} | updated
    for name, source in sorted(entries.items()):
        yield Structure(id=name, split=split, load=partial(load, source), meta={"file": source.name})


@dataset("alphafold-db", record=Structure)
def alphafold_db(files: Files, split: str) -> Iterator[Structure]:
    """A model a file, mmCIF or PDB; long human proteins come in fragments F1, F2 ..., each a record. The B factor is pLDDT."""
    models: dict[str, Source] = {}
    for source in sorted(files.all("structures"), key=lambda one: one.name.endswith(".cif")):
        models[source.name.rpartition(".")[0]] = source  # the mmCIF, where both forms are here
    met: dict[str, str] = {}
    for name, source in sorted(models.items()):
        named = ALPHAFOLD.fullmatch(name)
        if named is None:
            files.problems.add(DatasetError(f"{source}: its name is not AF-ACCESSION-Fn-model_vn"))
            continue
        accession, fragment, version = named.groups()
        id = f"AF-{accession}-F{fragment}"
        if met.setdefault(id, version) != version:
            files.problems.add(DatasetError(f"{source}: {id} is here in versions {met[id]} and {version}"))
            continue
        yield Structure(
            id=id, split=split, predicted=True, load=partial(load, source),
            meta={"accession": accession, "fragment": int(fragment), "version": int(version)},
        )  # fmt: skip

"""Cells by genes: a record a matrix, whose rows are decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset, one_by_one
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import cells, delimited, gct, loom
from healthfm.formats.source import Source, lines
from healthfm.records import Cells

SEEN = 64  # cells that show whether numbers are counts


def _matrix(id: str, split: str, held: cells.Matrix, **meta: object) -> Cells:
    return Cells(
        id=id, split=split, cells=held.cells, genes=held.genes, rows=held.rows, obs=held.obs, var=held.var,
        obs_names=held.obs_names, var_names=held.var_names, counts=held.counts, scattered=held.scattered, layers=held.layers, meta=meta,
    )  # fmt: skip


def _each(files: Files, role: str, split: str) -> Iterator[Cells]:
    """Yield the h5ad files of a role; one that is none is a problem of its own."""

    def opened(source: Source) -> Iterator[Cells]:
        yield _matrix(source.name.removesuffix(".h5ad"), split, _h5ad(source), file=source.name)

    yield from one_by_one(files.all(role), opened)


def _h5ad(source: Source) -> cells.Matrix:
    """Return an h5ad's matrix, and have it said where it keeps no raw counts: neither under raw nor, as the first cells show, in X."""
    found = cells.h5ad(source)
    if not found.raw:
        _changed(source, found, "X")
    return found


def _loom(source: Source) -> cells.Matrix:
    """Return a loom's matrix, and have it said where its main numbers are no counts, as the first cells show: a layer may hold them."""
    found = loom.matrix(source)
    layers = f" (its layers: {', '.join(found.layers)})" if found.layers else ""
    _changed(source, found, f"its matrix{layers}")
    return found


def _changed(source: Source, held: cells.Matrix, what: str) -> None:
    first = held.rows(0, SEEN)
    if not np.array_equal(first, np.floor(np.abs(first))):
        source.problems.notices.append(f"{source}: it keeps no raw counts; the numbers of {what} were changed since")


@dataset("cellxgene-corpus", record=Cells)
def cellxgene(files: Files, split: str) -> Iterator[Cells]:
    """A file a dataset version. Only cells with ``is_primary_data`` are counted once across the corpus: the column is in ``obs``."""
    yield from _each(files, "cells", split)


@dataset("abc-atlas", record=Cells)
def abc_atlas(files: Files, split: str) -> Iterator[Cells]:
    """Raw matrices; what is known of the cells stands in cell_metadata.csv by cell_label, not in the h5ad."""
    yield from _each(files, "matrix", split)


@dataset("10x-genomics", record=Cells)
def ten_x(files: Files, split: str) -> Iterator[Cells]:
    """HDF5 holds features by barcodes by column, which is cells by row; before Cell Ranger 3 a group a genome. The folder forms say the same."""
    if files.variant == "h5":
        yield from one_by_one(files.all("matrix"), lambda source: _genomes(source, split))
        return

    def folder(source: Source) -> Iterator[Cells]:
        beside = {role: _beside(files, role, source) for role in ("features", "barcodes")}
        held = cells.market(source, _table(beside["features"]), [row[0] for row in _table(beside["barcodes"])])
        yield _matrix(_folder(source), split, held, file=source.name)

    yield from one_by_one(files.all("matrix"), folder)


def _genomes(source: Source, split: str) -> Iterator[Cells]:
    for genome, held in cells.ten_x(source):
        yield _matrix(":".join(filter(None, (source.name.removesuffix(".h5"), genome))), split, held, file=source.name)


def _folder(source: Source) -> str:
    return (source.member or str(source.path)).replace("\\", "/").split("/")[-2]


def _beside(files: Files, role: str, matrix: Source) -> Source:
    """Return the file of a role in the matrix' own folder."""
    found = [one for one in files.all(role) if (one.path.parent, _folder(one)) == (matrix.path.parent, _folder(matrix))]
    if len(found) != 1:
        raise DatasetError(f"{matrix}: {len(found)} files of {role} in its folder, one was expected")
    return found[0]


def _table(source: Source) -> list[list[str]]:
    """Return the cells of a table without a header."""
    return [line.rstrip("\r\n").split("\t") for _, line in lines(source) if line.strip()]


@dataset("single-cell-portal", record=Cells)
def single_cell_portal(files: Files, split: str) -> Iterator[Cells]:
    """A study's matrix with its metadata, whose second line says TYPE and is no cell. Cells without metadata are a problem."""
    about = {}
    for row in delimited.rows(files["metadata"], "\t"):
        name = row["NAME"] if "NAME" in row else next(iter(row.values()))  # the portal takes NAME and TYPE in any case
        if name.upper() != "TYPE":
            about[name] = row

    def study(source: Source) -> Iterator[Cells]:
        if source.name.endswith(".mtx"):
            held = cells.market(
                source,
                _table(_beside(files, "genes", source)),
                [one[0] for one in _table(_beside(files, "barcodes", source))],
            )
        else:
            held = _dense(source)
        known = held.obs("barcode")
        if absent := sum(one not in about for one in known):
            files.problems.add(
                DatasetError(f"{source}: {absent} of its {len(known)} cells are not in {files['metadata'].name}")
            )
        names = tuple(next(iter(about.values()), {}))[1:]
        yield Cells(
            id=source.name.split(".")[0], split=split, cells=held.cells, genes=held.genes, rows=held.rows, var=held.var, var_names=held.var_names,
            obs=lambda name, known=known, held=held: held.obs(name) if name == "barcode" else [about.get(one, {}).get(name) for one in known],
            obs_names=("barcode", *names), counts=held.counts, meta={"file": source.name},
        )  # fmt: skip

    yield from one_by_one(files.all("matrix"), study)


def _dense(source: Source) -> cells.Matrix:
    """Return an expression table of genes by cells, held whole."""
    found = gct.wide(source)
    if len(set(found.samples)) < len(found.samples):
        raise BadValue("two cells have the same name")
    return cells.Matrix(
        len(found.samples), len(found.features), lambda i, j: np.stack([found.column(n) for n in range(*slice(i, j).indices(len(found.samples)))]),
        ("barcode",), ("name",), lambda _: list(found.samples), lambda _: list(found.features), "as in the file",
    )  # fmt: skip


FORMS = {"h5ad": _h5ad, "loom": _loom}


@dataset("human-cell-atlas", record=Cells)
def human_cell_atlas(files: Files, split: str) -> Iterator[Cells]:
    """The manifest lists the files of an export, a row each; matrices in h5ad and loom are read, other forms are named, and a listed one must be here."""
    here = {source.name: source for source in files.all("matrix")}
    for row in delimited.rows(files["manifest"], "\t"):
        with row:
            name, form = row["file_name"], row["file_format"]
            if name not in here:
                raise BadValue(f"{name} is listed, but not here")
            if form not in FORMS:
                files.problems.passed.append((name, f"{form}: this form is not read yet"))
                continue
            yield _matrix(row["file_uuid"], split, FORMS[form](here[name]), **row)

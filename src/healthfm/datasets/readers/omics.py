"""Matrices of genes by samples: a record a sample, its values read when they are asked for. Cell lines are the unit that never straddles a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset, one_by_one
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, gct, spreadsheet, table
from healthfm.formats.source import Row, Source, lines
from healthfm.records import Profile

RATIO = " Log Ratio"
UNSHARED = " Unshared Log Ratio"
NO_GENES = ("Mean", "Median", "StdDev")
SIGNATURE = {"clue-2020": "siginfo_beta"}


def _profiles(matrix: gct.Matrix, split: str, about: Mapping[str, Row], unit: str | None = None) -> Iterator[Profile]:
    """Yield a record a sample of a matrix, with what a table says about it; ``unit`` is the table's column of cell lines."""
    for place, sample in enumerate(matrix.samples):
        said = about.get(sample, {})
        yield Profile(
            id=sample, split=split, patient=said.get(unit) if unit else None, features=matrix.features, load=partial(matrix.column, place),
            meta={**{name: values[place] for name, values in matrix.about.items()}, **{k: None if v == "-666" else v for k, v in said.items()}},
        )  # fmt: skip


def _by(source: Source, key: str) -> dict[str, Row]:
    """Return the rows of a table by one of its columns. Raises ``DatasetError``: the column is not there, or names a row twice."""
    found: dict[str, Row] = {}
    for row in delimited.rows(source, "," if source.name.endswith(".csv") else "\t"):
        if row[key] in found:
            raise row.error(f"its {key} occurs twice")
        found[row[key]] = row
    return found


@dataset("lincs-l1000", record=Profile)
def lincs(files: Files, split: str) -> Iterator[Profile]:
    """A signature a record: GCTX holds it as a row; the signature table is joined by sig_id. The cell line is the unit."""
    told = next((one for one in files.all("info") if SIGNATURE.get(str(files.variant), "_sig_info") in one.name), None)
    about = {} if told is None else _by(told, "sig_id")

    def signatures(source: Source) -> Iterator[Profile]:
        matrix = gct.gctx(source) if source.name.endswith((".gctx", ".gctx.gz")) else gct.gct(source)
        absent = len(set(matrix.samples) - set(about)) if about else 0
        if absent:
            files.problems.add(
                DatasetError(f"{source}: {absent} of its {len(matrix.samples)} signatures are not in {told}")
            )
        yield from _profiles(
            matrix, split, about, "cell_id" if told is None or "_sig_info" in told.name else "cell_iname"
        )

    yield from one_by_one(files.all("matrix"), signatures)


@dataset("ccle", record=Profile)
def ccle(files: Files, split: str) -> Iterator[Profile]:
    """CCLE's GCT has genes in rows and names like A549_LUNG; DepMap's table has cell lines in rows and ids like ACH-000681."""
    if files.variant == "ccle":
        about = _by(files["cell lines"], "CCLE_ID")
        yield from _profiles(gct.gct(files["expression"]), split, about, "depMapID")
        return
    models = _by(files["cell lines"], "ModelID")
    for row in table.rows(files["expression"]):
        with row:
            names = list(row)
            genes = tuple(
                name for name in names[1:] if name.endswith(")")
            )  # GENE (Entrez id), behind columns about the profile
            model = row["ModelID"] if "ModelID" in row else row[names[0]]
            values = gct.numbers(row.source, int(row.number), [row[name] for name in genes])
            yield Profile(
                id=model,
                split=split,
                patient=model,
                features=genes,
                load=partial(_same, values),
                meta=dict(models.get(model, {})),
            )


def _same(values: Any) -> Any:
    return values


@dataset("cptac", record=Profile)
def cptac(files: Files, split: str) -> Iterator[Profile]:
    """PDC's table of a study: an aliquot's Log Ratio a record; its first rows are statistics, no genes, and stay out."""

    def aliquots(source: Source) -> Iterator[Profile]:
        matrix = _pdc(source)
        for place, sample in enumerate(matrix.samples):
            yield Profile(
                id=f"{source.name.split('_Proteome')[0]}:{sample}", split=split, features=matrix.features, load=partial(matrix.column, place),
                meta={"aliquot": sample, "file": source.name},
            )  # fmt: skip

    yield from one_by_one(files.all("proteome"), aliquots)


def _pdc(source: Source) -> gct.Matrix:
    genes, values, aliquots = [], [], []  # type: list[str], list[Any], list[str]
    for row in delimited.rows(source, "\t"):
        aliquots = aliquots or [name for name in row if name.endswith(RATIO) and not name.endswith(UNSHARED)]
        if row["Gene"] not in NO_GENES:
            genes.append(row["Gene"])
            values.append(gct.numbers(source, int(row.number), [row[name] for name in aliquots]))
    if not genes or not aliquots:
        raise DatasetError(f"{source}: no genes with columns that end in '{RATIO}'")
    stacked = np.stack(values)
    return gct.Matrix(tuple(genes), tuple(one.removesuffix(RATIO) for one in aliquots), lambda j: stacked[:, j].copy())


@dataset("cgga", record=Profile)
def cgga(files: Files, split: str) -> Iterator[Profile]:
    """A patient's sample a record; the clinical table is joined by CGGA_ID. Censor is 1 for death."""
    clinical = {key: row for source in files.all("clinical") for key, row in _by(source, "CGGA_ID").items()}

    def samples(source: Source) -> Iterator[Profile]:
        matrix = gct.wide(source)
        for place, sample in enumerate(matrix.samples):
            said = clinical.get(sample)
            if said is None and clinical:
                files.problems.add(DatasetError(f"{source}: the sample {sample} is not in the clinical table"))
                continue
            row = said if said is not None else Row({}, source, place)
            with row:
                yield Profile(
                    id=sample, split=split, patient=sample, features=matrix.features, load=partial(matrix.column, place),
                    labels={space.name: files.label(space.name, _given(row, space.name)) for space in files.card.labels if said is not None}, meta=dict(row),
                )  # fmt: skip

    yield from one_by_one(files.all("expression"), samples)


def _given(row: Row, name: str) -> str:
    """Return a clinical value by the beginning of its column's name (``Censor (alive=0; dead=1)``)."""
    found = [value for key, value in row.items() if key.split(" ")[0] == name]
    if len(found) != 1:
        raise BadValue(f"{len(found)} columns begin with {name}")
    return str(found[0])


RESPONSE = ("LN_IC50", "AUC", "RMSE", "Z_SCORE")


@dataset("gdsc", record=Profile)
def gdsc(files: Files, split: str) -> Iterator[Profile]:
    """A cell line's response to a drug a record, of one screen: the two are never pooled. The cell line is the unit."""
    for row in spreadsheet.rows(files["responses"]):
        with row:
            values = gct.numbers(row.source, int(row.number), [str(row[name]) for name in RESPONSE])
            yield Profile(
                id=f"{row['SANGER_MODEL_ID']}:{row['DRUG_ID']}:{row['CURVE_ID']}" if "CURVE_ID" in row else f"{row['SANGER_MODEL_ID']}:{row['DRUG_ID']}",
                split=split, patient=str(row["SANGER_MODEL_ID"]), features=RESPONSE, load=partial(_same, values),
                labels={space.name: files.label(space.name, row[space.name]) for space in files.card.labels}, meta=dict(row),
            )  # fmt: skip


ABSENT = "'--"  # GDC's word for a missing value
STAR = 4  # rows of a STAR table that count reads of no gene


@dataset("tcga", record=Profile)
def tcga(files: Files, split: str) -> Iterator[Profile]:
    """A sample's expression (transcripts a million) a record; the sample sheet says whose it is. The patient is the case."""
    clinical: dict[str, Row] = {}
    for row in chain.from_iterable(
        delimited.rows(source, "\t") for source in files.all("clinical") if source.name == "clinical.tsv"
    ):
        clinical.setdefault(row["cases.submitter_id" if "cases.submitter_id" in row else "case_submitter_id"], row)
    here = {source.name: source for source in files.all("expression")}
    for sheet in files.all("samples"):
        for row in delimited.rows(sheet, "\t"):
            if not row["File Name"].endswith(".rna_seq.augmented_star_gene_counts.tsv"):
                files.problems.passed.append((row["File Name"], "no table of expression"))
                continue
            with row:
                if row["File Name"] not in here:
                    raise BadValue(f"{row['File Name']} is listed, but not here")
                genes = _star(here[row["File Name"]])
                said = clinical.get(row["Case ID"], {})
                yield Profile(
                    id=row["File ID"], split=split, patient=row["Case ID"], site=row["Sample ID"].split("-")[1], features=tuple(genes),
                    load=partial(_same, np.array(list(genes.values()), np.float32)), labels={"project": files.label("project", row["Project ID"])},
                    meta={**row, **{key: None if value == ABSENT else value for key, value in said.items()}},
                )  # fmt: skip


def _star(source: Source) -> dict[str, float]:
    """Return transcripts a million by gene id from STAR's table: a comment, column names, counts of reads of no gene, then genes."""
    held = [line.rstrip("\n").split("\t") for _, line in lines(source) if not line.startswith("#")]
    if not held or "tpm_unstranded" not in held[0] or [one[0][:2] for one in held[1 : STAR + 1]] != ["N_"] * STAR:
        raise DatasetError(f"{source}: not GDC's table of STAR counts")
    place = held[0].index("tpm_unstranded")
    try:
        found = {cells[0]: float(cells[place]) for cells in held[STAR + 1 :]}
    except (IndexError, ValueError):
        raise DatasetError(f"{source}: a gene has no number") from None
    if len(found) != len(held) - STAR - 1:
        raise DatasetError(f"{source}: a gene stands in it twice")
    return found

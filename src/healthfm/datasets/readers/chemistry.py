"""Small molecules: SDF, tables of SMILES, DrugBank's XML, ChEMBL's SQLite, questions about molecules."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, jsonl, molecules, xml
from healthfm.formats.source import Row, Source
from healthfm.records import MISSING, QA, UNMEASURED, Label, Molecule

DRUGBANK = "{http://www.drugbank.ca}"
ABOVE = "RESULT_"  # begins the first cell of the header rows below PubChem's column names
COMPOUNDS = """select d.chembl_id, s.canonical_smiles, s.standard_inchi_key, d.pref_name, d.max_phase
  from molecule_dictionary d join compound_structures s on s.molregno = d.molregno order by d.molregno"""
ACTIVITIES = """select a.activity_id, d.chembl_id, s.canonical_smiles, s.standard_inchi_key, a.pchembl_value, a.standard_type, a.standard_relation,
    a.standard_value, a.standard_units, y.chembl_id as assay, t.chembl_id as target, t.organism as target_organism
  from activities a join molecule_dictionary d on d.molregno = a.molregno join compound_structures s on s.molregno = a.molregno
    join assays y on y.assay_id = a.assay_id left join target_dictionary t on t.tid = y.tid order by a.activity_id"""


def _molecule(id: str, split: str, smiles: str, **more: Any) -> Molecule:
    return Molecule(id=id, split=split, smiles=smiles, reason=molecules.fault(smiles), **more)


@dataset("drugchat", record=QA)
def drugchat(files: Files, split: str) -> Iterator[QA]:
    """A mapping from SMILES to pairs of question and answer; an answer may be a number. The molecule is the context."""
    for role in ("questions", "descriptions"):
        for source in files.all(role):
            for number, (smiles, pairs) in enumerate(_mapping(source).items(), 1):
                row = Row({}, source, number)
                with row:
                    if not isinstance(pairs, list) or not all(isinstance(one, list) and len(one) == 2 for one in pairs):
                        raise BadValue("its questions are no list of pairs")
                    for place, (question, answer) in enumerate(pairs, 1):
                        yield QA(
                            id=f"{split}-{number}-{place}", split=split, question=question, answers=(str(answer),), context=smiles,
                            meta={"smiles": smiles, "number": isinstance(answer, int | float)},
                        )  # fmt: skip


def _mapping(source: Source) -> dict[str, Any]:
    found = jsonl.load(source)
    if not isinstance(found, dict):
        raise DatasetError(f"{source}: a mapping from SMILES was expected, not a {type(found).__name__}")
    return found


@dataset("pubchem", record=Molecule)
def pubchem(files: Files, split: str) -> Iterator[Molecule]:
    """Compounds and substances are SDF, tables have no header, assays have rows of units and descriptions below their column names."""
    key = "PUBCHEM_SUBSTANCE_ID" if files.variant == "substance" else "PUBCHEM_COMPOUND_CID"
    for source in files.all("molecules"):
        for row, smiles, reason in molecules.sdf(source):
            with row:
                yield Molecule(
                    id=row[key],
                    split=split,
                    smiles=smiles,
                    reason=reason,
                    meta={n: v for n, v in row.items() if n != "_Name"},
                )
    for source in files.all("table"):
        for row in delimited.rows(source, "\t", names=["CID", "SMILES"]):
            with row:
                yield _molecule(row["CID"], split, row["SMILES"])
    for source in files.all("assays"):
        for row in delimited.rows(source, ","):
            if row.get("PUBCHEM_RESULT_TAG", "").startswith(ABOVE):
                continue
            with row:
                smiles = row["PUBCHEM_EXT_DATASOURCE_SMILES"]
                yield _molecule(
                    f"{source.name.removesuffix('.csv')}:{row['PUBCHEM_RESULT_TAG']}", split, smiles,
                    labels={"activity": files.label("activity", row["PUBCHEM_ACTIVITY_OUTCOME"])}, meta=dict(row),
                )  # fmt: skip


@dataset("drugbank", record=Molecule)
def drugbank(files: Files, split: str) -> Iterator[Molecule]:
    """Drugs are the elements right below the root: those inside pathways are mentions. Biotech drugs have no structure and say so."""
    for source in files.all("drugs"):
        for row, drug in xml.stream(source, f"{DRUGBANK}drug", top=True):
            with row:
                yield _drug(drug, split)
    names = {row["DrugBank ID"]: row for source in files.all("vocabulary") for row in delimited.rows(source, ",")}
    for source in files.all("structures"):
        for row, smiles, reason in molecules.sdf(source):
            with row:
                about = names.get(row["DATABASE_ID"], {})
                yield Molecule(
                    id=row["DATABASE_ID"], split=split, smiles=smiles, reason=reason,
                    meta={"name": about.get("Common name"), "inchikey": row.get("INCHI_KEY"), "synonyms": about.get("Synonyms")},
                )  # fmt: skip


def _drug(drug: Any, split: str) -> Molecule:
    def of(path: str) -> list[str]:
        found = drug.findall("/".join(DRUGBANK + part for part in path.split("/")))
        return [one.text.strip() for one in found if one.text and one.text.strip()]

    said = {
        one.findtext(f"{DRUGBANK}kind"): one.findtext(f"{DRUGBANK}value")
        for one in drug.findall(f"{DRUGBANK}calculated-properties/{DRUGBANK}property")
    }
    primary = [one.text for one in drug.findall(f"{DRUGBANK}drugbank-id") if one.get("primary") == "true"]
    if len(primary) != 1:
        raise BadValue(f"{len(primary)} primary ids, not one")
    smiles = said.get("SMILES") or ""
    reason = molecules.fault(smiles) if smiles else f"a {drug.get('type')} drug without a structure"
    return Molecule(
        id=primary[0], split=split, smiles=smiles, reason=reason,
        texts={name: found[0] for name in ("description", "indication", "mechanism-of-action", "toxicity") if (found := of(name))},
        meta={
            "name": of("name")[0], "type": drug.get("type"), "groups": of("groups/group"), "categories": of("categories/category/category"),
            "interactions": of("drug-interactions/drug-interaction/drugbank-id"), "targets": of("targets/target/name"), "inchikey": said.get("InChIKey"),
        },
    )  # fmt: skip


@dataset("chembl", record=Molecule)
def chembl(files: Files, split: str) -> Iterator[Molecule]:
    """Compounds with a structure, from SQLite or from the table beside it; the activities variant has a record a measurement."""
    for source in files.all("molecules"):
        for row in delimited.rows(source, "\t"):
            with row:
                yield _molecule(
                    row["chembl_id"], split, row["canonical_smiles"], meta={"inchikey": row["standard_inchi_key"]}
                )
    for source in files.all("database"):
        for row in _queried(source, ACTIVITIES if files.variant == "activities" else COMPOUNDS):
            with row:
                labels = (
                    {"pchembl_value": files.label("pchembl_value", row["pchembl_value"])}
                    if files.variant == "activities"
                    else {}
                )
                id = str(row["activity_id"]) if labels else row["chembl_id"]
                yield _molecule(id, split, row["canonical_smiles"], labels=labels, meta=dict(row))


def _queried(source: Source, question: str) -> Iterator[Row]:
    """Yield what a SQLite file answers, read-only. Raises ``DatasetError``: packed, damaged, or other tables than these."""
    if source.member is not None or source.path.suffix != ".db":
        raise DatasetError(f"{source}: SQLite is read from a file of its own; unpack it first")
    try:
        with closing(sqlite3.connect(f"{source.path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as base:
            base.row_factory = sqlite3.Row
            for number, one in enumerate(base.execute(question), 1):
                yield Row(dict(one), source, number)
    except sqlite3.Error as error:
        raise DatasetError(
            f"{source}: not a ChEMBL database that can be read ({type(error).__name__}: {error})"
        ) from None


SMILES = ("smiles", "mol")  # how MoleculeNet's tables call the column


@dataset("moleculenet", record=Molecule)
def moleculenet(files: Files, split: str) -> Iterator[Molecule]:
    """A table of SMILES with a column a task. An empty cell of several tasks was not measured, and is no negative; the row's number is its id."""
    [space] = files.card.labels
    for row in delimited.rows(files["molecules"], ","):
        with row:
            named = [name for name in SMILES if name in row]
            if len(named) != 1:
                raise BadValue(f"{len(named)} columns of SMILES (smiles or mol)")
            labels = (
                _tasks(files, row)
                if space.kind == "multi-label"
                else {space.name: files.label(space.name, row[space.name])}
            )
            tasks = {space.name, *space.classes, *named}
            yield _molecule(
                str(row.number),
                split,
                row[named[0]].strip(),
                labels=labels,
                meta={key: value for key, value in row.items() if key not in tasks},
            )


def _tasks(files: Files, row: Row) -> dict[str, Label]:
    """Return which tasks are positive, and a mark of each that was not measured; of none measured the set is missing."""
    [space] = files.card.labels
    said = {name: row[name].strip() for name in space.classes}
    if any(one not in ("", "0", "1", "0.0", "1.0") for one in said.values()):
        raise BadValue(f"a task of '{space.name}' is none of 0, 1 and nothing")
    unmeasured: dict[str, Label] = {name: UNMEASURED for name, one in said.items() if not one}
    present = frozenset(name for name, one in said.items() if one.startswith("1"))
    return {space.name: present if len(unmeasured) < len(said) else MISSING, **unmeasured}

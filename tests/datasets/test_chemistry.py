"""Small molecules: DrugChat, PubChem, DrugBank, ChEMBL; SDF beside rdkit's own reader."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from healthfm import open_dataset
from healthfm.errors import DatasetError
from healthfm.formats import molecules
from healthfm.formats.source import Problems, Source
from tests.datasets.laid import lay

ProvesWith = Callable[..., None]
WATER = "962\n  -OEChem-\n\n  1  0  0     0  0  0  0  0  0999 V2000\n    0.0000    0.0000    0.0000 O   0  0  0  0  0  0  0  0  0  0  0  0\nM  END\n"
TAGS = "> <PUBCHEM_COMPOUND_CID>\n{}\n\n> <PUBCHEM_IUPAC_NAME>\noxidane\nsecond line\n\n$$$$\n"


def records(name: str, root: Path, on_error: Any = "raise") -> list[Any]:
    return list(open_dataset(name, root, on_error=on_error))


@pytest.mark.evidence("drugchat", "layout")
def test_each_pair_is_a_question_and_an_answer_may_be_a_number(tmp_path: Path) -> None:
    """As UCSD-AI4H/drugchat's data/ChEMBL_QA_train.json: {SMILES: [[question, answer], ...]}."""
    text = json.dumps({"CCO": [["What is its weight?", 46.07], ["Is it natural?", "Yes"]], "O": [["odd"]]})
    lay(tmp_path, {"data/ChEMBL_QA_train.json": text})
    dataset = open_dataset("drugchat", tmp_path, "train", on_error="collect")
    one, two = dataset
    assert (one.id, one.answers, one.context, one.meta["number"]) == ("train-1-1", ("46.07",), "CCO", True)  # type: ignore[attr-defined]
    assert two.answers == ("Yes",) and "row 2" in str(dataset.errors[0])  # type: ignore[attr-defined]


@pytest.mark.evidence("pubchem", "layout")
def test_pubchems_compounds_tables_and_assays(tmp_path: Path) -> None:
    """PUBCHEM_* tags of an SDF record; Extras/README: CID-SMILES is CID tab SMILES; a bioassay's header rows begin with RESULT_."""
    assay = (
        "PUBCHEM_RESULT_TAG,PUBCHEM_SID,PUBCHEM_CID,PUBCHEM_EXT_DATASOURCE_SMILES,PUBCHEM_ACTIVITY_OUTCOME,PUBCHEM_ACTIVITY_SCORE,Potency\n"
        "RESULT_TYPE,,,,,,FLOAT\nRESULT_DESCR,,,,,,Concentration\nRESULT_UNIT,,,,,,MICROMOLAR\n1,5,962,O,Active,40,1.5\n2,6,7,C1CC,Inactive,0,\n3,6,7,C,Great,0,\n"
    )
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as packed:
        import gzip

        packed.writestr("0000001_0001000/1.csv.gz", gzip.compress(assay.encode()))
    lay(
        tmp_path / "a",
        {
            "Compound/CURRENT-Full/SDF/Compound_000000001_000500000.sdf.gz": WATER
            + TAGS.format(962)
            + "x\n\n\nbroken\nM  END\n$$$$\n"
        },
    )
    lay(
        tmp_path / "b",
        {"Compound/Extras/CID-SMILES.gz": "1\tCC(=O)OC(CC(=O)[O-])C[N+](C)(C)C\n2\tC1CC\n3\tC(C)(C)(C)(C)C\n"},
    )
    lay(tmp_path / "c", {"0000001_0001000.zip": held.getvalue()})
    dataset = open_dataset("pubchem", tmp_path / "a", on_error="collect")
    (water,) = dataset
    assert (water.id, water.smiles, water.meta["PUBCHEM_IUPAC_NAME"]) == ("962", "O", "oxidane\nsecond line")  # type: ignore[attr-defined]
    assert "row 2: its table of atoms and bonds cannot be read" in str(dataset.errors[0])
    fine, unparsed, unsound = records("pubchem:compound-tables", tmp_path / "b")
    assert (
        fine.reason is None
        and unparsed.reason == "its SMILES does not parse"
        and unsound.reason == "it does not sanitise: AtomValenceException"
    )
    tested = open_dataset("pubchem:bioassay", tmp_path / "c", on_error="collect")
    active, inactive = tested
    assert (active.id, active.labels, active.meta["Potency"]) == ("1:1", {"activity": "Active"}, "1.5")
    assert inactive.reason == "its SMILES does not parse" and "does not know" in str(tested.errors[0])  # type: ignore[attr-defined]


DRUGS = """<?xml version="1.0" encoding="UTF-8"?>
<drugbank xmlns="http://www.drugbank.ca" version="5.1">
<drug type="small molecule"><drugbank-id primary="true">DB00001</drugbank-id><drugbank-id>BTD00024</drugbank-id><name>Ethanol</name><description>A drug.</description>
 <groups><group>approved</group></groups><calculated-properties><property><kind>SMILES</kind><value>CCO</value></property></calculated-properties>
 <pathways><pathway><drugs><drug><drugbank-id>DB00002</drugbank-id><name>Inner</name></drug></drugs></pathway></pathways></drug>
<drug type="biotech"><drugbank-id primary="true">DB00003</drugbank-id><name>Antibody</name></drug>
<drug type="small molecule"><drugbank-id>DB00004</drugbank-id><name>Odd</name></drug>
</drugbank>"""


@pytest.mark.evidence("drugbank", "layout")
def test_a_drug_inside_a_pathway_is_a_mention_and_no_record(tmp_path: Path) -> None:
    """Elements as DrugBank's full database.xml has them (dhimmel/drugbank reads the same)."""
    dataset = open_dataset("drugbank", lay(tmp_path, {"full database.xml": DRUGS}), on_error="collect")
    ethanol, antibody = dataset
    assert (ethanol.id, ethanol.smiles, ethanol.meta["groups"], ethanol.texts) == (
        "DB00001",
        "CCO",
        ["approved"],
        {"description": "A drug."},
    )  # type: ignore[attr-defined]
    assert antibody.reason == "a biotech drug without a structure" and "0 primary ids" in str(dataset.errors[0])  # type: ignore[attr-defined]


def test_drugbanks_open_part_joins_structures_with_the_vocabulary(tmp_path: Path) -> None:
    sdf = WATER + "> <DATABASE_ID>\nDB09145\n\n> <INCHI_KEY>\nXLYOFNOQVPJJNP-UHFFFAOYSA-N\n\n$$$$\n"
    vocabulary = "DrugBank ID,Accession Numbers,Common name,CAS,UNII,Synonyms,Standard InChI Key\nDB09145,,Water,,,Aqua,XLYOFNOQVPJJNP-UHFFFAOYSA-N\n"
    (one,) = records(
        "drugbank:open", lay(tmp_path, {"open structures.sdf": sdf, "drugbank vocabulary.csv": vocabulary})
    )
    assert (one.id, one.smiles, one.meta["name"]) == ("DB09145", "O", "Water") and molecules.same(
        one.smiles
    ) == one.meta["inchikey"]


@pytest.fixture
def chembl(tmp_path: Path) -> Path:
    """Tables and columns as ChEMBL's schema documentation names them."""
    path = tmp_path / "chembl_35/chembl_35_sqlite/chembl_35.db"
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as base:
        base.executescript("""
          create table molecule_dictionary (molregno integer, chembl_id text, pref_name text, max_phase real);
          create table compound_structures (molregno integer, canonical_smiles text, standard_inchi_key text);
          create table assays (assay_id integer, chembl_id text, tid integer);
          create table target_dictionary (tid integer, chembl_id text, organism text);
          create table activities (activity_id integer, assay_id integer, molregno integer, standard_relation text, standard_value real, standard_units text,
            standard_type text, pchembl_value real);
          insert into molecule_dictionary values (1,'CHEMBL545','ETHANOL',4),(2,'CHEMBL2',null,null);
          insert into compound_structures values (1,'CCO','LFQSCWFLJHTTHZ-UHFFFAOYSA-N');
          insert into assays values (7,'CHEMBL6',9); insert into target_dictionary values (9,'CHEMBL204','Homo sapiens');
          insert into activities values (31,7,1,'=',100,'nM','IC50',7.0),(32,7,1,'>',9000,'nM','IC50',null);
        """)
    return tmp_path


@pytest.mark.evidence("chembl", "layout")
def test_chembl_from_sqlite_compounds_and_measurements_with_relation_and_unit(chembl: Path) -> None:
    (one,) = records("chembl", chembl)
    assert (one.id, one.smiles, one.meta["max_phase"]) == ("CHEMBL545", "CCO", 4)
    exact, beyond = records("chembl:activities", chembl)
    assert exact.labels == {"pchembl_value": 7.0} and (exact.meta["standard_units"], exact.meta["target"]) == (
        "nM",
        "CHEMBL204",
    )
    assert (
        str(beyond.labels["pchembl_value"]) == "Mark.MISSING" and beyond.meta["standard_relation"] == ">"
    )  # 9,000 is no label


def test_a_packed_or_other_database_is_one_line(chembl: Path, tmp_path: Path) -> None:
    path = chembl / "chembl_35/chembl_35_sqlite/chembl_35.db"
    path.write_bytes(path.read_bytes()[:4096])
    with pytest.raises(DatasetError, match="not a ChEMBL database that can be read"):
        records("chembl", chembl)


@pytest.mark.evidence("chembl", "sample", where="reference")
def test_chembls_own_molecules_of_the_year_split_are_all_molecules(
    reference_data: Path, tmp_path: Path, proves_with: ProvesWith
) -> None:
    """The test year's SMILES, put under the columns of chembl_NN_chemreps.txt: each parses and is judged as rdkit judges it."""
    import gzip

    from rdkit import Chem

    source = reference_data / "chembl_moleculenet/examples/chembl/year_sets/chembl_5thresh_ts_valid.csv.gz"
    proves_with(source)
    smiles = [line.split(",")[0] for line in gzip.decompress(source.read_bytes()).decode().splitlines()[1:]][:1500]
    table = "chembl_id\tcanonical_smiles\tstandard_inchi\tstandard_inchi_key\n" + "".join(
        f"CHEMBL{n}\t{one}\t\t\n" for n, one in enumerate(smiles, 1)
    )
    found = records("chembl:structures", lay(tmp_path, {"chembl_35_chemreps.txt": table}))
    assert len(found) == 1500 and [one.smiles for one in found] == smiles
    assert all((one.reason is None) == (Chem.MolFromSmiles(one.smiles) is not None) for one in found)


@pytest.mark.parametrize(
    "name", ["datasets/gdb1k.sdf", "examples/tutorials/assets/atomic_contributions_tutorial_data/logBB.sdf"]
)
def test_an_sdf_is_read_as_rdkit_reads_it(reference_data: Path, name: str) -> None:
    from rdkit import Chem

    path = reference_data / "chembl_moleculenet" / name
    theirs = list(Chem.SDMolSupplier(str(path)))
    ours = list(molecules.sdf(Source(path)))
    assert [smiles for _, smiles, _ in ours] == [Chem.MolToSmiles(one) for one in theirs]
    for (row, _, reason), other in zip(ours, theirs, strict=True):
        assert reason is None and {key: value for key, value in row.items() if key != "_Name"} == {
            key: other.GetProp(key) for key in other.GetPropNames()
        }


def test_an_sdf_cut_short_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "x.sdf"
    path.write_text(WATER + TAGS.format(1) + WATER[:60])
    problems = Problems("collect")
    assert len(list(molecules.sdf(Source(path, None, problems)))) == 1 and "no M  END" in str(problems.found[0])

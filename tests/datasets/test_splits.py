"""Splits by rule: the owners' index lists, groups that never straddle, what a random split hides."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from healthfm import open_dataset
from healthfm.datasets import families, splits
from healthfm.datasets.dataset import Dataset
from healthfm.errors import DatasetError
from healthfm.records import Molecule, Profile, Sequence, Variant
from tests.datasets.laid import lay

MOLECULES = "chembl_moleculenet"
# sha256 of the sorted indices, with a blank between them, of the molecules that rdkit 2026.09.1 parses, as the owners' own code divided them:
# deepchem 2.8.0 splits/splitters.py; github.com/snap-stanford/pretrain-gnns@8b20528a chem/splitters.py; github.com/mims-harvard/TDC@c310c35f tdc/utils/split.py
OWNERS = {
    ("esol", "scaffold-deepchem"): ("36dda584cfc77000", "82a46a23bed3b7a5", "48ba05e8acf66a86"),
    ("esol", "scaffold-tdc:0"): ("6e6c31acb1ca8733", "327f99d8860e84a0", "61d266f795fe7f63"),
    ("clintox", "scaffold-ogb"): ("15c5e044ff1e640a", "ff5aa4404eb698ac", "8e4c2de82ac4815e"),
}


def table(tmp_path: Path, smiles: list[str], name: str = "esol") -> Dataset:
    rows = [f"{i % 7 - 3.5},{one}" for i, one in enumerate(smiles)]
    lay(
        tmp_path,
        {"delaney-processed.csv": "measured log solubility in mols per litre,smiles\n" + "\n".join(rows) + "\n"},
    )
    return open_dataset(f"moleculenet:{name}", tmp_path, on_error="collect")


@pytest.mark.parametrize("name", ["esol", "clintox"])
def test_scaffold_splits_are_those_of_their_owners(reference_data: Path, name: str) -> None:
    every = list(open_dataset(f"moleculenet:{name}", reference_data / MOLECULES))
    from healthfm.formats import molecules

    scaffolds = {one.id: molecules.scaffold(one.smiles, name == "clintox") for one in every}  # type: ignore[attr-defined]
    read = [one for one in every if scaffolds[one.id] is not None]
    for rule in (rule for of, rule in OWNERS if of == name):
        assigned = splits.RULES[rule.partition(":")[0]].assign(read, 0)
        found = tuple(
            hashlib.sha256(" ".join(str(i) for i, its in enumerate(assigned) if its == split).encode()).hexdigest()[:16]
            for split in splits.SPLITS
        )
        assert found == OWNERS[name, rule], rule


def test_a_molecule_that_chemistry_refuses_is_a_record_in_no_split_and_said(tmp_path: Path) -> None:
    rings = ["c1ccccc1" + "C" * i for i in range(8)] + ["C1CCCCC1" + "C" * i for i in range(1, 3)]
    opened = table(tmp_path, [*rings, "C1CC", "c1cc1"])
    assert [one.reason is not None for one in opened].count(True) == 2  # type: ignore[attr-defined]
    divided = splits.divide(opened, "scaffold-deepchem")
    held = {split: {one.id for one in divided[split]} for split in divided.splits}
    assert held["train"] == {str(i) for i in range(2, 10)} and held["test"] == {
        "10",
        "11",
    }  # the whole larger scaffold, then what is left
    assert divided.division is not None and divided.division.left_out == 2
    list(divided["test"])
    assert (
        "2 records are in no split" in divided["test"].remarks[0]
        and "Numbers under another rule do not compare" in divided.remarks[0]
    )


def test_of_scaffolds_of_one_size_the_later_one_comes_first_as_its_owners_sort_them() -> None:
    rings = [*("c1ccccc1" + "C" * i for i in range(8)), "C1CCCCC1", "C1CCNC1"]
    records = [Molecule(id=str(i), smiles=one) for i, one in enumerate(rings)]
    assert list(splits.RULES["scaffold-deepchem"].assign(records, 0)) == ["train"] * 8 + ["test", "validation"]


def profiles(n: int) -> list[Profile]:
    return [
        Profile(id=str(i), features=("x",), load=lambda: np.zeros(1, np.float32), meta={"DRUG_ID": f"d{i % 10}", "SANGER_MODEL_ID": f"c{i // 10}", "donor_id": f"p{i % 4}"})
        for i in range(n)
    ]  # fmt: skip


def sides(records: list[Any], rule: str, key: Any, seed: int = 0) -> dict[str, set[Any]]:
    assigned = splits.RULES[rule].assign(records, seed)
    return {
        split: {key(one) for one, its in zip(records, assigned, strict=True) if its == split} for split in splits.SPLITS
    }


@pytest.mark.parametrize(
    ("rule", "key"), [("drug", "DRUG_ID"), ("cell-line", "SANGER_MODEL_ID"), ("donor", "donor_id")]
)
def test_a_group_is_on_one_side_alone_and_a_random_split_is_not_so(rule: str, key: str) -> None:
    found = sides(profiles(100), rule, lambda one: one.meta[key])
    assert (
        found["train"]
        and found["test"]
        and not found["train"] & found["test"]
        and not found["train"] & found["validation"]
    )
    loose = sides(profiles(100), "random", lambda one: one.meta[key])
    assert loose["train"] & loose["test"] and "both sides" in splits.RULES["random"].hides


def test_both_new_leaves_neither_the_drug_nor_the_line_of_a_tested_pair_to_fit_on() -> None:
    records = profiles(100)
    for key in ("DRUG_ID", "SANGER_MODEL_ID"):
        found = sides(records, "drug-and-cell-line", lambda one, key=key: one.meta[key], seed=3)
        assert found["test"] and not found["train"] & found["test"]
    assigned = splits.RULES["drug-and-cell-line"].assign(records, 3)
    assert (assigned.count("train"), assigned.count("test"), assigned.count(None)) == (49, 9, 42)  # type: ignore[attr-defined]


def test_a_chromosome_is_one_whatever_a_file_calls_it() -> None:
    records = [
        Variant(id=str(i), contig=one, position=i, ref="A", alts=("C",), assembly="GRCh38")
        for i, one in enumerate(["1", "chr1", "NC_000001.11", *map(str, range(2, 20))])
    ]
    for seed in range(5):
        assert len(set(splits.RULES["chromosome"].assign(records, seed)[:3])) == 1


def test_families_of_proteins_hold_what_is_alike_and_no_more() -> None:
    draw = np.random.default_rng(0)
    first, other = ("".join(draw.choice(list("ACDEFGHIKLMNPQRSTVWY"), 200)) for _ in range(2))
    like = "".join("A" if i % 5 == 0 else one for i, one in enumerate(first))  # four residues of five
    found = families.by_words([first, other, like, first[20:90]])
    assert found[0] == found[2] == found[3] != found[1]
    records = [
        Sequence(id=str(i), chains=(one,), alphabet="protein")
        for i, one in enumerate(
            [first, like, *("".join(draw.choice(list("ACDEFGHIKLMNPQRSTVWY"), 60)) for _ in range(20))]
        )
    ]
    assigned = splits.RULES["protein-identity"].assign(records, 1)
    assert assigned[0] == assigned[1] and len(set(assigned)) > 1 and ("mmseqs2" in families.way())


def test_a_rule_that_cannot_be_followed_is_one_line(tmp_path: Path) -> None:
    opened = table(tmp_path, ["C", "CC"])
    for rule, said in {
        "scaffold": "no split rule is called 'scaffold' (rules: random, scaffold-deepchem",
        "scaffold-ogb:x": "a seed stands behind a colon",
        "chromosome": "does not take a molecule (it takes variant",
        "patient": "2 of 2 records do not say what it goes by",
        "scaffold-deepchem": "nothing to fit on: 2 records are of too few groups",
    }.items():
        with pytest.raises(DatasetError) as error:
            splits.divide(opened, rule)
        assert said in str(error.value) and "\n" not in str(error.value)
    assert isinstance(next(iter(opened)), Molecule)

"""The same molecule, sequence, variant or cell in two sets, however each set writes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from healthfm import card
from healthfm.curate import kin
from healthfm.evaluate.contamination import biology
from healthfm.records import Cells, Sequence, Signal, Variant
from tests.cli.command import run
from tests.datasets.laid import lay


def same(mine: list[Any], theirs: list[Any]) -> list[tuple[str, str, str]]:
    way = kin.way_of(mine[0])
    assert way is not None
    return [
        (one.record, one.other, one.how)
        for one in kin.found_in(kin.units_of(mine, way)[0], kin.units_of(theirs, way)[0])
    ]


def test_a_molecule_is_known_by_its_inchikey_from_the_command_line(tmp_path: Path) -> None:
    """Another SMILES, another stereoisomer, another molecule; one that chemistry refuses is not looked for."""
    lay(tmp_path / "a", {"BBBP.csv": "num,name,p_np,smiles\n1,n,1,OCC\n2,n,1,C[C@H](N)C(=O)O\n3,n,0,CCN\n4,n,0,C1CC\n"})
    lay(tmp_path / "b", {"clintox.csv.gz": "smiles,FDA_APPROVED,CT_TOX\nCCO,1,0\nC[C@@H](N)C(=O)O,1,0\nCCCC,1,0\n"})
    done = run(
        "contamination",
        "moleculenet:bbbp",
        "--root",
        tmp_path / "a",
        "--against",
        "moleculenet:clintox",
        "--against-root",
        tmp_path / "b",
    )
    assert done.returncode == 0, done.stderr
    assert "molecule: 2 of 3 records found in moleculenet:clintox (3 records), 1 the same and 1 nearly" in done.stdout
    assert "1 record has nothing to be known by" in done.stdout and "standard InChIKey" in done.stdout
    other = run(
        "contamination",
        "moleculenet:bbbp",
        "--root",
        tmp_path / "a",
        "--against",
        str(lay(tmp_path / "c", {"t.csv": "id,text\n1,a\n"}) / "t.csv"),
    )
    assert other.returncode != 0 and "in a dataset of its own kind" in other.stderr


def test_a_sequence_is_known_exactly_and_from_nine_tenths_on() -> None:
    draw = np.random.default_rng(1)
    letters = list("ACDEFGHIKLMNPQRSTVWY")
    base = draw.choice(letters, 100)

    def changed(count: int) -> str:
        found = base.copy()
        found[np.linspace(0, 99, count).astype(int)] = "W"
        return "".join(found)

    mine = [
        Sequence(id=name, chains=(text,), alphabet="protein")
        for name, text in (
            ("s", "".join(base).lower()),
            ("near", changed(8)),
            ("far", changed(30)),
            ("new", "".join(draw.choice(letters, 90))),
        )
    ]
    theirs = [Sequence(id="u", chains=("".join(base) + "*",), alphabet="protein")]
    assert same(mine, theirs) == [("s", "u", "exact"), ("near", "u", "near")]
    assert kin.identity("ACDEFG", "ACDEFG") == 1 and kin.identity("ACDEFG", "ACDQFG") == pytest.approx(5 / 6)


def test_a_variant_is_known_whatever_it_is_padded_with_and_called() -> None:
    def variant(id: str, contig: str, position: int, ref: str, *alts: str, assembly: str = "GRCh38") -> Variant:
        return Variant(id=id, contig=contig, position=position, ref=ref, alts=alts, assembly=assembly)

    theirs = [variant("t", "chr1", 101, "C", "T"), variant("d", "chr2", 50, "CA", "C")]
    mine = [
        variant("padded", "1", 100, "ACG", "ATG"), variant("several", "NC_000001.11", 101, "c", "G", "t"), variant("deletion", "2", 49, "TCA", "TC"),
        variant("other", "chr1", 101, "C", "G"), variant("old", "chr1", 101, "C", "T", assembly="GRCh37"),
    ]  # fmt: skip
    assert [(one, other) for one, other, _ in same(mine, theirs)] == [
        ("padded", "t"),
        ("several", "t"),
        ("deletion", "d"),
    ]


def test_a_cell_is_known_with_its_donor_and_copies_are_told() -> None:
    def cells(id: str, barcodes: list[str], donors: list[str], primary: list[bool]) -> Cells:
        columns = {"barcode": barcodes, "donor_id": donors, "is_primary_data": primary}
        nothing: Callable[[int, int], Any] = lambda i, j: np.zeros((j - i, 1), np.float32)  # noqa: E731
        return Cells(
            id=id,
            cells=len(barcodes),
            genes=1,
            rows=nothing,
            obs=columns.__getitem__,
            var=lambda name: [],
            obs_names=tuple(columns),
        )

    mine = [cells("m", ["AAC", "AAG", "AAT"], ["p1", "p1", "p2"], [True, False, True])]
    theirs = [cells("t", ["AAC", "AAC"], ["p1", "p3"], [True, True])]
    assert same(mine, theirs) == [("m", "t cell 0", "exact"), ("m", "t cell 0", "near")]
    units, _ = kin.units_of(mine, kin.WAYS[Cells])
    assert [one.primary for one in units] == [True, False, True]


def test_another_recording_of_a_patient_is_near_and_what_cards_know_is_said() -> None:
    def recording(id: str, patient: str, level: float) -> Signal:
        return Signal(
            id=id, patient=patient, load=lambda: np.full((1, 4), level, np.float32), rate=1.0, channels=("I",)
        )

    assert same(
        [recording("a", "p", 1), recording("b", "q", 2), recording("c", "r", 9)],
        [recording("x", "p", 1), recording("y", "q", 3)],
    ) == [("a", "x", "exact"), ("b", "y", "near")]
    sets = [SimpleNamespace(card=card(name)) for name in ("swissprotclap", "uniprot", "gencode", "ensembl-project")]
    assert "swissprotclap is derived from uniprot" in biology.linked(sets[0], sets[1])[0]  # type: ignore[arg-type]
    assert (
        "gencode overlaps with ensembl-project" in biology.linked(sets[3], sets[2])[0]
        or "ensembl-project overlaps" in biology.linked(sets[3], sets[2])[0]
    )  # type: ignore[arg-type]
    assert biology.linked(sets[0], sets[2]) == []  # type: ignore[arg-type]

"""What a row may claim follows from its ticks, and from nothing else."""

from __future__ import annotations

import pytest

from healthfm.cards.coverage import TICKS, WHOLE, level, rows, speaks_of

CITED = {"layout_source": ["the owner's documentation"]}
FIVE = {"keys", "network", "input", "output", "road"}
MODEL_LEVELS = {"reproduced", "exact", "partial", "architecture", "closed", "none"}
DATASET_LEVELS = {"real", "real-sample", "layout", "assumed", "importer", "none"}


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        (set(), "none"), ({"keys"}, "partial"), ({"road"}, "partial"), (FIVE, "exact"),
        ({"architecture"}, "architecture"), ({"closed"}, "closed"), ({"reproduced"}, "reproduced"),
        (FIVE | {"reproduced"}, "reproduced"), ({"architecture", "network"}, "architecture"),
    ],
)  # fmt: skip
def test_level_of_a_model(ticks: set[str], expected: str) -> None:
    assert level("model", ticks, {}) == expected


@pytest.mark.parametrize("missing", sorted(FIVE))
def test_four_of_five_ticks_are_not_exact(missing: str) -> None:
    assert level("model", FIVE - {missing}, {}) == "partial"


@pytest.mark.parametrize(
    ("ticks", "entry", "expected"),
    [
        (set(), CITED, "none"), ({"files"}, {}, "real"), ({"sample"}, {}, "real-sample"),
        ({"layout"}, CITED, "layout"), ({"layout"}, {}, "assumed"), ({"layout"}, {"layout_source": []}, "assumed"),
        ({"importer"}, {}, "importer"), ({"files", "sample", "layout"}, CITED, "real"),
        ({"sample", "layout"}, CITED, "real-sample"), ({"layout", "importer"}, CITED, "layout"), ({"reader"}, CITED, "none"),
    ],
)  # fmt: skip
def test_level_of_a_dataset(ticks: set[str], entry: dict[str, list[str]], expected: str) -> None:
    assert level("dataset", ticks, entry) == expected


def test_tick_says_its_kind() -> None:
    assert {speaks_of(tick) for tick in (*TICKS["model"], *WHOLE)} == {"model"}
    assert {speaks_of(tick) for tick in TICKS["dataset"]} == {"dataset"}
    with pytest.raises(ValueError, match="no tick 'speed'"):
        speaks_of("speed")


def test_all_207_rows_have_a_known_level() -> None:
    found = rows()
    assert len(found) == 207
    assert [row["kind"] for row in found] == ["model"] * 63 + ["dataset"] * 144
    for row in found:
        assert row["evidence"] in (MODEL_LEVELS if row["kind"] == "model" else DATASET_LEVELS), row


def test_rows_without_claims_claim_nothing() -> None:
    assert {row["evidence"] for row in rows(())} == {"none"}


def test_claim_counts_for_its_own_row_only() -> None:
    claims = tuple({"kind": "model", "slug": "uni", "tick": tick, "where": "ci"} for tick in ("road", "keys"))
    found = {row["slug"]: row for row in rows(claims)}
    assert found["uni"]["evidence"] == "partial"
    assert found["uni"]["ticks"] == ["keys", "road"]
    assert found["uni"]["where"] == {"keys": "ci", "road": "ci"}
    assert {row["evidence"] for slug, row in found.items() if slug != "uni"} == {"none"}


def test_claim_about_a_dataset_reaches_the_level_its_card_allows() -> None:
    claims = ({"kind": "dataset", "slug": "medqa", "tick": "files", "where": "ci"},)
    assert next(row for row in rows(claims) if row["slug"] == "medqa")["evidence"] == "real"


@pytest.mark.parametrize("native", [True, False])
def test_a_row_whose_numbers_were_not_all_read_is_not_exact(native: bool) -> None:
    entry = {
        "run": {"native": native},
        "unverified": ["numbers of [run] (pooling): not all were read in the owners' own files"],
    }
    assert level("model", FIVE, entry) == "partial"
    assert level("model", FIVE, {**entry, "unverified": ["zero-shot numbers of the paper"]}) == "exact"
